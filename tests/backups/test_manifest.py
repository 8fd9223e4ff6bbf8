"""Manifests and groups of rows come back as they were, and what is damaged is told."""

from __future__ import annotations

from contextlib import suppress

import msgspec
import pytest
from zstandard import ZstdCompressor

from gamearchive.backups.manifest import (
    Group,
    KeptDictionary,
    KeptPack,
    Manifest,
    Section,
    decode_column,
    decode_group,
    decode_manifest,
    encode_group,
    encode_manifest,
    group_name,
)
from gamearchive.errors import IntegrityError, SchemaError

ROWS = [(1, b"\0\xff", None, "é"), (2, b"", 1 << 62, ""), (3, b"x" * 5000, -(1 << 62), "z")]
MANIFEST = Manifest(
    archive="a" * 32,
    created_at=1_750_000_000_000_000,
    tag=None,
    program="1.0",
    schema="0005",
    settings={"max_record": 1},
    games=1,
    revisions=2,
    raw_bytes=3,
    packs=[KeptPack("game/2026/01/01/x.zst", 100), KeptPack("game/2026/01/01/y.zst", 50, "d" * 32)],
    dictionaries=[KeptDictionary("game", 5, "c" * 32, 10)],
    lost=["game/2026/01/01/z.zst"],
    sections={"words": Section(["id", "word"], [Group("n" * 32, 3, 7)])},
)


def test_a_manifest_comes_back() -> None:
    assert decode_manifest(encode_manifest(MANIFEST), "The backup") == MANIFEST
    assert MANIFEST.total_bytes == 100 + 50 + 2 * 10 + 7


def compressed(document: object) -> bytes:
    return ZstdCompressor().compress(msgspec.json.encode(document))


@pytest.mark.parametrize("data", [b"", b"no manifest", compressed({"format": 1}), encode_manifest(MANIFEST)[:-5]])
def test_what_is_no_manifest_is_told(data: bytes) -> None:
    with pytest.raises(IntegrityError, match="The backup is damaged"):
        decode_manifest(data, "The backup")


def test_a_manifest_of_a_later_format_is_not_guessed_at() -> None:
    with pytest.raises(SchemaError, match="newer program"):
        decode_manifest(compressed({"format": 2}), "The backup")


def test_rows_come_back_and_a_column_can_be_read_alone() -> None:
    name, data = group_name(ROWS), encode_group(ROWS)
    assert decode_group(name, data) == ROWS
    assert decode_column(name, data, 1) == [row[1] for row in ROWS]


def test_every_flipped_bit_of_a_group_is_noticed_or_means_nothing() -> None:
    rows = ROWS[:2]
    name, data = group_name(rows), encode_group(rows)
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 1
        with suppress(IntegrityError):
            assert decode_group(name, bytes(damaged)) == rows
