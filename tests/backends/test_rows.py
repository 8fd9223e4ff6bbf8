"""Packs taken apart into rows, and which games have documents."""

from __future__ import annotations

import json

import pytest
from packs.pack_samples import binary_entries, entries_of_games, entry_of, make_games, small_dictionary, small_pack

from gamearchive.backends.rows import GameRow, is_document, pack_name, take_apart
from gamearchive.model import PGN
from gamearchive.packs.dictionary import Dictionary
from gamearchive.packs.format import Pack, build_pack


def find(entity_type: str, number: int) -> Dictionary | None:
    return small_dictionary() if (entity_type, number) == ("game", small_dictionary().id) else None


def lose(entity_type: str, number: int) -> Dictionary | None:
    return None


def taken(pack: Pack, dictionary=None) -> list[GameRow]:
    """The rows of a pack, that put together are its bytes."""
    rows = take_apart(pack.key, pack.data, dictionary)
    assert rows is not None
    assert b"".join([*(game.frame for game in rows.games if game.frame), rows.rest]) == pack.data
    assert [(game.entity_type, game.entity_id, game.revision) for game in rows.games] == [
        (entry.entity_type, entry.entity_id, entry.revision) for entry in pack.entries
    ]
    assert [int(game.archived_at.timestamp() * 1e6) for game in rows.games] == [
        entry.provenance.archived_at for entry in pack.entries
    ]
    assert {f"{game.entity_type}/{game.packed_on:%Y/%m/%d}/{game.pack.hex}.zst" for game in rows.games} == {pack.key}
    return rows.games


def test_a_game_has_a_row_with_its_frame() -> None:
    pack, _ = small_pack()
    for game, entry in zip(taken(pack), pack.entries, strict=True):
        place = entry.place
        assert game.frame_offset == place.frame_offset
        assert game.frame == pack.data[place.frame_offset : place.frame_offset + place.frame_bytes]


def test_of_games_that_share_a_frame_each_has_a_row_and_the_first_has_the_frame() -> None:
    pack, games = small_pack(dense=True)
    rows = taken(pack, find)
    assert [game.frame is not None for game in rows] == [True, False, False, False, True, False]
    assert [game.frame_offset for game in rows] == [entry.place.frame_offset for entry in pack.entries]
    assert [game.document for game in rows] == [b"\x01" + payload for payload in games]


@pytest.mark.parametrize("block_bytes", [0, 1000])
def test_games_without_a_byte(block_bytes: int) -> None:
    payloads = [b"", b"", b"\xff", b"", b"ab"]
    rows = taken(build_pack(binary_entries(payloads), payloads, block_bytes=block_bytes))
    assert len({(row.frame_offset, row.position) for row in rows}) == 5


def test_what_is_no_pack_of_its_key_is_not_taken_apart() -> None:
    pack, _ = small_pack()
    other = build_pack(binary_entries([b"1"]), [b"1"])
    digest = pack.key[-36:]
    for key, data in [
        (pack.key, pack.data[:-1]),
        (pack.key, pack.data + b"\0"),
        (pack.key, b""),
        (pack.key, other.data),
        (pack.key.replace("game/", "chess/"), pack.data),
        (f"game/2025/13/01/{digest}", pack.data),
        (f"game/9999/12/31/{digest}", pack.data),
        (f"game/{digest}", pack.data),
        ("game/game-1234567890.zdict", small_dictionary().data),
    ]:
        assert take_apart(key, data, None) is None
    name = pack_name(pack.key)
    assert name is not None
    assert name.entity_type == "game"


def test_documents_are_of_json_alone_and_need_the_dictionary() -> None:
    games = [b'{"a": 1}', b"no JSON", b'{"a": "\\u0000"}', b'{"b": 2}']
    entries = [entry_of(payload, f"g-{number}") for number, payload in enumerate(games)]
    assert [row.document for row in taken(build_pack(entries, games), find)] == [b'\x01{"a": 1}', None, None, b'\x01{"b": 2}']
    entry = entry_of(b"[]", content_type=PGN)
    assert taken(build_pack([entry], [b"[]"]), find)[0].document is None
    typed = entry_of(b"[]", content_type="application/json; schema=3")
    assert taken(build_pack([typed], [b"[]"]), find)[0].document == b"\x01[]"
    payloads = make_games(3)
    pack = build_pack(entries_of_games(payloads), payloads, dictionary=small_dictionary())
    assert [row.document for row in taken(pack, lose)] == [None] * 3
    assert [row.document for row in taken(pack, find)] == [b"\x01" + payload for payload in payloads]


DOCUMENTS = [
    b"{}", b" [1, 2.5, -0.0, 1e300, 1e-300, 1e999] ", b'"\\\\u0000"', b'"\\ud83c\\udfb2 \xc5\x81"', b"null", b'{"a":1,"a":2}',
    b'"550e8400-e29b-41d4-a716-446655440000 1e5000"', b"123456789012345678901234567890", b"9" * 4000, b"[" * 200 + b"]" * 200,
    b'"' + b"x" * 100_000 + b'"',
]  # fmt: skip
NO_DOCUMENTS = [
    b"", b"{", b"NaN", b"\xef\xbb\xbf{}", b'"\\u0000"', b'"\\\\\\u0000"', b'"\\ud800"', b'"\\udc00\\ud800"', b'"\xff"',
    b'"\xed\xa0\x80"', b'"\0"', b'"\n"', b"01", b"1e200000", b"1e-20000", b"0." + b"1" * 17_000, b"[" * 50_000, b"{}{}",
]  # fmt: skip


@pytest.mark.parametrize("payload", DOCUMENTS, ids=lambda payload: repr(payload[:20]))
def test_what_is_a_document(payload: bytes) -> None:
    assert is_document(payload)
    json.loads(payload)


@pytest.mark.parametrize("payload", NO_DOCUMENTS, ids=lambda payload: repr(payload[:20]))
def test_what_is_no_document(payload: bytes) -> None:
    assert not is_document(payload)
