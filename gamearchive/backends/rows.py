"""A pack as the rows of a table: one for each game, and the rest of the pack, so that its very bytes can be put together again.

The frames of a pack lie one after another from its beginning (see `gamearchive.packs.format`); what follows them, the index and
the seek table, is its *rest*. A game's row has the game's frame. Where several games share a frame, the row of the first has
it, and the others have none.

A row may also have the game's document: its JSON as it is, for a column of type ``jsonb``. That type does not take all that is
JSON (no NUL character, no number of any size), and these games have none; their bytes are in their frames whatever they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

import msgspec

from gamearchive.errors import IntegrityError
from gamearchive.model import JSON, media_type
from gamearchive.packs.dictionary import Dictionary
from gamearchive.packs.format import PackReader, is_pack_key, verify_pack
from gamearchive.packs.frames import MAX_CONTENT_BYTES

MAX_DOCUMENT_BYTES = 32 << 20
"""A longer game has no document: ``jsonb`` takes 256 MiB, and up to six times the text."""

_JSONB_VERSION = b"\x01"  # the binary form of jsonb is its version, and the text
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KEY = re.compile(
    r"(?P<type>[^/]+)/(?P<year>(?!9999)\d{4})/(?P<month>\d\d)/(?P<day>\d\d)/(?P<digest>[0-9a-f]{32})\.zst", re.ASCII
)
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_LONG_NUMBER = re.compile(r".{300}|.*[eE][+-]?0*[1-9][0-9]{3}")

FindDictionary = Callable[[str, int], Dictionary | None]
"""Finds a dictionary by its entity type and id."""


class PackName(NamedTuple):
    """What a pack's key says: the type of its games, the day on which its newest was archived, the BLAKE2b-128 of its bytes."""

    entity_type: str
    packed_on: date
    pack: UUID


class GameRow(NamedTuple):
    """A game's row, in the order of the table's columns.

    ``position`` is the game's place in the pack's index, from 0; ``document`` is in the binary form of ``jsonb``.
    """

    archived_at: datetime
    frame_offset: int
    packed_on: date
    position: int
    revision: int
    pack: UUID
    entity_type: str
    entity_id: str
    frame: bytes | None
    document: bytes | None


class PackRows(NamedTuple):
    """A pack taken apart."""

    name: PackName
    games: list[GameRow]
    rest: bytes


def pack_name(key: str) -> PackName | None:
    """What a key says of the pack that it names; None if it is no pack's, or its day is none."""
    found = _KEY.fullmatch(key)
    if found is None:
        return None
    try:
        day = date(int(found["year"]), int(found["month"]), int(found["day"]))
    except ValueError:
        return None
    return PackName(found["type"], day, UUID(found["digest"]))


def take_apart(key: str, data: bytes, dictionary: FindDictionary | None) -> PackRows | None:
    """Take a pack apart into rows; None for what is no pack, or not the one that its key names.

    Args:
        key: its key.
        data: its bytes.
        dictionary: finds what the documents are read with; None if there are to be no documents.
    """
    name = pack_name(key)
    if name is None:
        return None
    try:
        verify_pack(key, data)
        reader = PackReader(key, len(data), lambda at, length: data[at : at + length], max_record_bytes=MAX_CONTENT_BYTES)
    except IntegrityError:
        return None
    entries = reader.entries()
    if not is_pack_key(key, entries[0].entity_type):
        return None
    documents = iter([None] * len(entries)) if dictionary is None else _documents(reader, name.entity_type, dictionary)
    rows: list[GameRow] = []
    end = 0
    for position, (entry, document) in enumerate(zip(entries, documents, strict=True)):
        offset = entry.place.frame_offset
        frame = None
        if offset == end:
            end += entry.place.frame_bytes
            frame = data[offset:end]
        rows.append(
            GameRow(
                _instant(entry.provenance.archived_at), offset, name.packed_on, position, entry.revision, name.pack,
                name.entity_type, entry.entity_id, frame, document,
            )
        )  # fmt: skip
    return PackRows(name, rows, data[end:])


def is_document(payload: bytes) -> bool:
    """Whether a game's bytes are JSON that PostgreSQL's ``jsonb`` takes."""
    if len(payload) > MAX_DOCUMENT_BYTES or (b"\\u0000" in payload and _NUL.search(payload)):
        return False
    try:
        _JSON.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False
    return True


def _check_number(digits: str) -> None:
    """Refuse a number with a point or an exponent whose places might be more than the server counts."""
    if _LONG_NUMBER.match(digits):
        raise ValueError(digits)


_JSON = msgspec.json.Decoder(float_hook=_check_number)


def _documents(reader: PackReader, entity_type: str, dictionary: FindDictionary) -> Iterator[bytes | None]:
    needed = reader.dictionary
    found = dictionary(entity_type, needed[0]) if needed else None
    if needed and (found is None or found.checksum != needed[1]):
        yield from (None for _ in reader.entries())
        return
    for entry, payload in reader.records(found):
        if isinstance(payload, bytes) and media_type(entry.content_type) == JSON and is_document(payload):
            yield _JSONB_VERSION + payload
        else:
            yield None


@lru_cache(maxsize=64)
def _instant(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)
