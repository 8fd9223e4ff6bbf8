"""The manifest of a backup, and the groups of rows that it names: the specification of both, version 1.

A *manifest* is JSON, compressed as a Zstandard file: ``zstd -dc`` prints it. It names all that there was in the archive at
one instant, and where that lies beside it: packs and dictionaries by their keys, groups of rows by their checksums. It says by
which archive it was made, when, by which program, and with which settings, secrets masked.

A *group* holds rows of one section of the database (see `database.dump`): MessagePack, compressed as a Zstandard file. It is
an array with a binary for each column, which is itself the array of that column's cells in MessagePack: so that one column is
read without the others. Its name is the BLAKE2b-128 of the same rows one after another, an array of arrays in MessagePack.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from gamearchive.errors import IntegrityError, SchemaError
from gamearchive.model import CHECKSUM_BYTES

FORMAT = 1
NOTES = "notes"
"""The section that is none of the database's: notes that lie beside the packs, by their names."""

_LEVEL = 6
_MAX_BYTES = 1 << 31
"""What a manifest or a group is never larger than, decompressed."""

_encode = msgspec.msgpack.Encoder().encode
_columns = msgspec.msgpack.Decoder(list[msgspec.Raw])
_cells = msgspec.msgpack.Decoder(list[Any])


class Group(msgspec.Struct, frozen=True, array_like=True):
    """A group of rows: its name, how many rows it has, and its length as it lies there."""

    name: str
    rows: int
    stored_bytes: int


class Section(msgspec.Struct, frozen=True):
    """The rows of a section: their columns' names, and their groups in order."""

    columns: list[str]
    groups: list[Group]


class KeptPack(msgspec.Struct, frozen=True, array_like=True):
    """A pack: its key, its length, and, if it was damaged when it was kept, the checksum of what it was then."""

    key: str
    stored_bytes: int
    damaged: str | None = None


class KeptDictionary(msgspec.Struct, frozen=True, array_like=True):
    """A dictionary: its type, its id, its checksum and its length."""

    entity_type: str
    id: int
    checksum: str
    stored_bytes: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A backup.

    Args:
        format: of this specification.
        archive: the id of the archive.
        created_at: the instant that it shows, in microseconds since the epoch.
        tag: what its maker called it.
        program: the version of the program that made it.
        schema: the revision of the tables.
        settings: as ``config show`` has them.
        games, revisions, raw_bytes: how many games, how many revisions of them, and the bytes of all of these.
        packs, dictionaries: what must be in the storage.
        lost: the keys of packs and dictionaries that the catalog named and that were not to be had.
        sections: the rows of the database.
    """

    format: int = FORMAT
    archive: str
    created_at: int
    tag: str | None
    program: str
    schema: str
    settings: dict[str, Any]
    games: int
    revisions: int
    raw_bytes: int
    packs: list[KeptPack]
    dictionaries: list[KeptDictionary]
    lost: list[str]
    sections: dict[str, Section]

    @property
    def total_bytes(self) -> int:
        """What all that it names takes."""
        groups = sum(group.stored_bytes for section in self.sections.values() for group in section.groups)
        learnt = sum(2 * dictionary.stored_bytes for dictionary in self.dictionaries)
        return groups + learnt + sum(pack.stored_bytes for pack in self.packs)


def encode_manifest(manifest: Manifest) -> bytes:
    """A manifest as it is kept."""
    return _compress(msgspec.json.encode(manifest))


def decode_manifest(data: bytes, subject: str) -> Manifest:
    """Read a manifest.

    Raises:
        IntegrityError: if it is none; SchemaError: if it is of a later format.
    """
    text = _decompress(data, subject)
    try:
        if msgspec.json.decode(text, type=_Format).format > FORMAT:
            raise SchemaError(f"{subject} was made by a newer program.", hint="Upgrade gamearchive.")
        return msgspec.json.decode(text, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise IntegrityError(f"{subject} is damaged: {error}.", hint=_HINT) from error


class _Format(msgspec.Struct):
    format: int


def group_name(rows: Sequence[Sequence[Any]]) -> str:
    """The name of a group of these rows."""
    return blake2b(_encode(rows), digest_size=CHECKSUM_BYTES).hexdigest()


def encode_group(rows: Sequence[Sequence[Any]]) -> bytes:
    """Rows as they are kept."""
    return _compress(_encode([msgspec.Raw(_encode(cells)) for cells in zip(*rows, strict=True)]))


def decode_group(name: str, data: bytes) -> list[tuple[Any, ...]]:
    """The rows of a group.

    Raises:
        IntegrityError: if they are not those that it is named by.
    """
    subject = f"The group of rows {name}"
    try:
        rows = list(zip(*(_cells.decode(column) for column in _columns.decode(_decompress(data, subject))), strict=True))
    except (msgspec.DecodeError, ValueError, UnicodeDecodeError) as error:
        raise IntegrityError(f"{subject} is damaged: {error}.", hint=_HINT) from error
    if group_name(rows) != name:
        raise IntegrityError(f"{subject} is damaged: its rows are not those that it is named by.", hint=_HINT)
    return rows


def decode_column(name: str, data: bytes, place: int) -> list[Any]:
    """The cells of one column of a group; whether they are those that it is named by is not looked at.

    Raises:
        IntegrityError: if they cannot be read.
    """
    subject = f"The group of rows {name}"
    try:
        return _cells.decode(_columns.decode(_decompress(data, subject))[place])
    except (msgspec.DecodeError, IndexError, UnicodeDecodeError) as error:
        raise IntegrityError(f"{subject} is damaged: {error}.", hint=_HINT) from error


def _compress(data: bytes) -> bytes:
    from zstandard import ZstdCompressor

    return ZstdCompressor(level=_LEVEL, write_checksum=True).compress(data)


def _decompress(data: bytes, subject: str) -> bytes:
    from zstandard import ZstdDecompressor, ZstdError, frame_content_size

    try:
        if not 0 <= frame_content_size(data) <= _MAX_BYTES:
            raise IntegrityError(f"{subject} is damaged: it does not say how long it is.", hint=_HINT)
        return ZstdDecompressor().decompress(data)
    except ZstdError as error:
        raise IntegrityError(f"{subject} is damaged: {error}.", hint=_HINT) from error


_HINT = "Run `gamearchive backup verify DEST --full` to see all that is damaged there."
