"""Games' records as cells of a row, and back: what the journal and the queue keep of a game beside its key."""

from __future__ import annotations

from typing import Any

import msgspec

from gamearchive.model import Facts, GameRecord, Tags, decode_id

MAX_ERROR = 1_000
"""Characters of an error that are kept."""

_encode = msgspec.msgpack.Encoder().encode
_facts = msgspec.msgpack.Decoder(Facts)
_tags = msgspec.msgpack.Decoder(Tags)


def cells(record: GameRecord) -> tuple[str, bytes, bytes | None, bytes]:
    """Its content type, facts, tags and payload, in that order."""
    return record.content_type, _encode(record.facts), _encode(record.tags) if record.tags else None, record.payload


def record_of(entity_type: str, key: bytes, content_type: str, facts: bytes, tags: bytes | None, payload: Any) -> GameRecord:
    """The record that these cells are of, and its key as `model.encode_id` has it."""
    return GameRecord(
        entity_type, decode_id(key), payload, content_type, _facts.decode(facts), _tags.decode(tags) if tags else ()
    )


def plain(error: str) -> str:
    """An error as every database takes it."""
    return error[:MAX_ERROR].encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
