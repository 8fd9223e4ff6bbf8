"""JSON in every arrangement: the exact bytes of each game, and each bad record by its line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import Read, split

from gamearchive.facts import FactRules
from gamearchive.model import JSON, Notice, Player, Rejection
from gamearchive.readers import ByteStream, ReadContext, ReadOptions, read_source
from gamearchive.readers.base import derived_id
from gamearchive.readers.json import MAX_BREAKS, JsonReader

GAMES = [json.dumps({"id": f"g{n}", "players": ["Ann", "Bö"], "moves": [[n, {"to": ["a1"]}]]}).encode() for n in range(5)]
IDS = [f"g{n}" for n in range(5)]

ARRANGEMENTS = {
    "lines": b"\n".join(GAMES) + b"\n",
    "no final newline": b"\n".join(GAMES),
    "CRLF": b"\r\n".join(GAMES) + b"\r\n",
    "blank lines": b"\n\n \n".join([b"", *GAMES, b""]),
    "byte-order mark": b"\xef\xbb\xbf" + b"\n".join(GAMES) + b"\n",
    "RFC 7464": b"".join(b"\x1e" + game + b"\n" for game in GAMES),
    "concatenated": b"".join(GAMES),
    "concatenated, pretty": None,
    "several a line": b" ".join(GAMES) + b"\n",
    "array": b"[" + b",".join(GAMES) + b"]",
    "array, a game a line": b"[\n" + b",\n".join(GAMES) + b"\n]\n",
    "two arrays": b"[" + b",".join(GAMES[:3]) + b"]\n[" + b",".join(GAMES[3:]) + b"]",
    "files put together": b"".join(b"\xef\xbb\xbf" + game + b"\n" for game in GAMES),
}


def pretty(game: bytes) -> bytes:
    return json.dumps(json.loads(game), indent=2).encode()


@pytest.mark.parametrize("name", ["games.json", "games", "games.txt"])
@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
def test_every_arrangement(read: Read, arrangement: str, name: str) -> None:
    expected = [pretty(game) for game in GAMES] if arrangement == "concatenated, pretty" else GAMES
    content = ARRANGEMENTS[arrangement] or b"\n".join(expected)
    games, rejections = read(name, content)
    assert rejections == []
    assert [game.payload for game in games] == expected
    assert [game.entity_id for game in games] == IDS
    assert {game.content_type for game in games} == {JSON}
    assert games[0].facts.players == (Player(name="Ann"), Player(name="Bö"))


@pytest.mark.parametrize("arrangement", ["lines", "no final newline", "CRLF", "blank lines", "byte-order mark", "RFC 7464"])
def test_lines_by_name(read: Read, arrangement: str) -> None:
    content = ARRANGEMENTS[arrangement]
    assert content is not None
    games, rejections = read("games.ndjson", content)
    assert rejections == []
    assert [game.payload for game in games] == GAMES


@pytest.mark.parametrize("around", [(b"", b""), (b"\xef\xbb\xbf\n", b"\r\n\r\n"), (b"  ", b"\n")])
@pytest.mark.parametrize("document", [b'{"a": 1}', b'{\n  "a": [1,\n2]\n}', b'{"round1": {}, "round2": {}}'])
def test_a_file_of_one_document_is_that_game_byte_for_byte(read: Read, document: bytes, around: tuple[bytes, bytes]) -> None:
    content = around[0] + document + around[1]
    games, rejections = read("game.json", content)
    assert rejections == []
    assert [game.payload for game in games] == [content]
    assert games[0].entity_id == derived_id(document)


def test_one_line_of_lines_is_the_line(read: Read) -> None:
    games, _ = read("game.ndjson", b' {"a": 1} \r\n')
    assert [game.payload for game in games] == [b'{"a": 1}']
    assert games[0].entity_id == derived_id(b'{"a": 1}')


def test_a_derived_id_is_a_version_8_uuid() -> None:
    assert derived_id(b"{}") == derived_id(b"\xef\xbb\xbf {}\r\n") != derived_id(b"{ }")
    assert derived_id(b"{}")[14] == "8"
    assert derived_id(b"{}")[19] in "89ab"


WRAPPED = b'{"nextupdate": 41, "2009092001": {"home": {"abbr": "DET"}, "away": {"abbr": "MIN"}},\n"2009092002": {"x": 1}}'


@pytest.mark.parametrize("name", ["games.json", "games", "games.json.ndjson"])
def test_an_object_of_games(read: Read, name: str) -> None:
    content = WRAPPED.replace(b"\n", b"") if name.endswith(".ndjson") else WRAPPED
    games, (notice,) = read(name, content)
    assert isinstance(notice, Notice)
    assert (notice.line, notice.reason) == (1, "what stands beside games in their object is left out: 1 in all")
    assert [(game.entity_id, game.payload) for game in games] == [
        ("2009092001", b'{"home": {"abbr": "DET"}, "away": {"abbr": "MIN"}}'),
        ("2009092002", b'{"x": 1}'),
    ]
    assert games[0].facts.players == (Player(name="DET"), Player(name="MIN"))


def test_an_object_of_games_larger_than_a_record_may_be(read: Read) -> None:
    inner = [b'"game-%d": {"moves": "%s"}' % (n, b"m" * 3000) for n in range(2000)]
    huge = b'"game-x1": {"moves": "%s"}' % (b"m" * 200_000)
    content = b"{" + b",".join([*inner[:1000], huge, *inner[1000:]]) + b"}"
    games, rejections = read("games.json", content, max_record_bytes=100_000)
    assert [game.entity_id for game in games] == [f"game-{n}" for n in range(2000)]
    assert [rejection.reason for rejection in rejections] == ["the record has more than 100000 bytes"]


def test_what_stands_beside_games_is_told_once_a_source(read: Read) -> None:
    line = WRAPPED.replace(b"\n", b"").replace(b'"nextupdate"', b'"source": "x", "nextupdate"')
    games, (notice,) = read("games.ndjson", b"\n".join([line] * 5))
    assert len(games) == 10
    assert (notice.line, notice.reason[-9:]) == (1, "10 in all")


def test_a_repeated_name_is_two_games(read: Read) -> None:
    games, _ = read("games.json", b'{"g-1a": {"x": 1}, "g-1a": {"x": 2}}')
    assert [game.payload for game in games] == [b'{"x": 1}', b'{"x": 2}']


@pytest.mark.parametrize(
    "document",
    [
        b'{"id": "1", "2009": {}, "2010": {}}',
        b'{"players": [], "2009": {}}',
        b'{"round1": {"a": 1}, "round2": {"a": 1}}',
        b'{"settings": {}, "board": {}}',
        b'{"2009": 1, "2010": 2, "2011": {}}',
        b'{"1": {"white": "e4", "black": "e5"}, "2": {"white": "f4", "black": "ef"}, "result": "1-0"}',
        b'{"a1b2": {"move": "e4"}, "a1b3": {"move": "e5"}, "result": "1-0"}',
        b"{}",
    ],
)
def test_what_only_looks_like_an_object_of_games(read: Read, document: bytes) -> None:
    games, rejections = read("game.json", document)
    assert [game.payload for game in games] == [document]
    assert rejections == []


def test_facts_from_where_the_user_says(read: Read) -> None:
    rules = FactRules(id="/meta/n", players="/who/*")
    games, _ = read("a.ndjson", b'{"meta": {"n": 7}, "who": ["Ann"], "id": "no"}\n', rules=rules)
    assert (games[0].entity_id, games[0].facts.players) == ("7", (Player(name="Ann"),))


BAD_LINES = {
    b'{"id": "x", "moves": [1, 2': "not valid JSON",
    b'{"id": "x", "name": "M\xfcller"}': "not UTF-8",
    b'{"id": "x", "pad": "' + b"p" * 2000 + b'"}': "more than 1000 bytes",
    b'{"id": "' + b"i" * 600 + b'"}': "600 bytes, more than 512",
    b'{"id": "a\\u0000b"}': "NUL",
    b'{"id": "\\ud83d"}': "surrogate",
    b"[1, 2]": "no JSON object",
    b"null": "no JSON object",
    b'"x"': "no JSON object",
    b'{"x": ' + b"[" * 490 + b'"' + b"]" * 490: "not valid JSON",
    b"garbage": "not valid JSON",
}


@pytest.mark.parametrize("bad", BAD_LINES)
@pytest.mark.parametrize("place", [0, 2, 5])
def test_a_bad_line_is_rejected_and_the_next_is_read(read: Read, bad: bytes, place: int) -> None:
    lines = [*GAMES]
    lines.insert(place, bad)
    games, rejections = read("games.ndjson", b"\n".join(lines) + b"\n", max_record_bytes=1000)
    assert [game.payload for game in games] == GAMES
    (rejection,) = rejections
    assert BAD_LINES[bad] in rejection.reason
    assert (rejection.line, rejection.source[-12:]) == (place + 1, "games.ndjson")
    assert bad.startswith(rejection.raw)
    assert rejection.raw


def test_broken_lines_do_not_hide_the_others_where_no_name_says_lines(read: Read) -> None:
    lines = [b'{"id": "cut", "moves": [1', *GAMES, b'{"cut": "in a stri']
    games, rejections = read("games.json", b"\n".join(lines))
    assert [game.payload for game in games] == GAMES
    assert [rejection.line for rejection in rejections] == [1, 7]


def test_utf16_is_said_once(read: Read) -> None:
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32"):
        games, rejections = read("games.ndjson", b"\n".join(GAMES).decode().encode(encoding))
        assert games == []
        assert ["iconv" in rejection.reason for rejection in rejections] == [True]


def test_a_broken_element_of_an_array_costs_itself(read: Read) -> None:
    content = b"[\n" + b",\n".join([GAMES[0], b'{"id": "cut", "moves": [1', *GAMES[1:]]) + b"\n]"
    games, rejections = read("games.json", content)
    assert [game.payload for game in games] == GAMES
    assert [rejection.line for rejection in rejections] == [3]


def test_a_cut_array_gives_what_it_has(read: Read) -> None:
    content = b"[" + b",".join(GAMES)
    games, rejections = read("games.json", content)
    assert len(games) == 5
    assert [rejection.reason for rejection in rejections] == ["the array is not closed: the file is cut"]
    games, rejections = read("games.json", content[:-3])
    assert len(games) == 4
    assert "cut" in rejections[0].reason


def test_a_broken_document_costs_itself_where_the_next_begins_a_line(read: Read) -> None:
    first = pretty(GAMES[0])
    content = first + b'\n{\n "id": "cut",\n' + b"\n".join([*GAMES[1:]]) + b"\n"
    games, rejections = read("games.json", content)
    assert [game.payload for game in games] == [first, *GAMES[1:]]
    assert [rejection.line for rejection in rejections] == [first.count(b"\n") + 2]


def test_a_file_with_no_end_of_breaks_is_given_up(read: Read) -> None:
    content = b"[\n" + b'{"a": [\n{"id": "x"},\n' * (MAX_BREAKS + 50)
    _, rejections = read("games.json", content)
    assert len(rejections) <= MAX_BREAKS + 2
    assert any("rest is passed over" in rejection.reason for rejection in rejections)


@pytest.mark.parametrize("content", [b"hello world\nthis is no JSON\n" * 100, bytes(range(128, 256)), b"}{"])
def test_what_is_no_json_is_one_rejection(read: Read, content: bytes) -> None:
    games, rejections = read("games.json", content)
    assert (games, len(rejections)) == ([], 1)


def test_a_record_over_the_limit_is_passed_over_in_any_arrangement(read: Read) -> None:
    huge = b'{"id": "huge", "pad": [%s]}' % (b'"p",' * 600_000 + b"0")
    for content in (b"[" + GAMES[0] + b"," + huge + b"," + GAMES[1] + b"]", GAMES[0] + huge + GAMES[1]):
        games, rejections = read("games.json", content, max_record_bytes=1 << 20)
        assert [game.payload for game in games] == GAMES[:2]
        assert ["1048576 bytes" in rejection.reason for rejection in rejections] == [True]


def test_empty_files_hold_nothing(read: Read) -> None:
    for content in (b"", b"\n\n", b"\xef\xbb\xbf"):
        assert read("games.ndjson", content) == ([], [])
        assert read("games.json", content) == ([], [])


def test_numbers_and_strings_that_parsers_dislike_are_kept_exactly(read: Read) -> None:
    lines = [b'{"id":"n1","elo":NaN}', b'{"id":"n2","x":1e400}', b'{"id":"n3","x":"\\ud83d\\u0000"}', b'{"id":"n4","x":0.1000}']
    games, rejections = read("a.ndjson", b"\n".join(lines))
    assert [game.payload for game in games] == lines
    assert rejections == []


def test_games_of_others(data: Path) -> None:
    found = {}
    for path in sorted((data / "json").iterdir()):
        games, others = split(read_source(path))
        assert [each for each in others if isinstance(each, Rejection)] == []
        found[path.name.partition(".")[0]] = games
    assert [game.entity_id for game in found["nfl"]] == ["2009092001", "2009101105"]
    assert all(len(game.facts.players) == 4 for game in found["mahjong_states"])
    assert len({game.entity_id for game in found["boardgame_scores"]}) == 41
    assert found["18xx"][0].facts.status is not None


def chunked(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        for size in sizes:
            if data[at : at + size]:
                yield data[at : at + size]
            at += size


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.sampled_from([*GAMES, *BAD_LINES, b"", WRAPPED.replace(b"\n", b"")]), max_size=8),
    st.sampled_from([b"\n", b"\r\n"]),
    st.lists(st.integers(1, 400), min_size=1, max_size=5),
    st.sampled_from(["a.ndjson", "a.json", None]),
)
def test_the_same_records_at_any_chunk_boundary(lines: list[bytes], end: bytes, sizes: list[int], name: str | None) -> None:
    content = end.join(lines)
    context = ReadContext("source", name, ReadOptions(max_record_bytes=1000))
    at_once = list(JsonReader().read(ByteStream(iter([content] if content else [])), context))
    in_pieces = list(JsonReader().read(ByteStream(chunked(content, sizes)), context))
    assert in_pieces == at_once
