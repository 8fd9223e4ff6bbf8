"""PGN as the world writes it: the exact bytes of each game, its facts, and what is cut or left open."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import Read, split

from gamearchive.model import PGN, GameRecord, Player, Rejection
from gamearchive.readers import ReadContext, ReadOptions, read_source
from gamearchive.readers.base import derived_id
from gamearchive.readers.pgn import PgnReader
from gamearchive.readers.streams import ByteStream
from gamearchive.units import parse_instant


def game(number: int, moves: str = "1. e4 e5", result: str = "1-0", extra: str = "") -> bytes:
    tags = f'[Event "Test {number}"]\n[White "W{number}"]\n[Black "B{number}"]\n{extra}[Result "{result}"]\n'
    return f"{tags}\n{moves} {result}".encode()


ONE, TWO, THREE = game(1), game(2, result="1/2-1/2"), game(3, result="*")


def payloads(games: list[GameRecord]) -> list[bytes]:
    return [each.payload for each in games]


@pytest.mark.parametrize("between", [b"\n\n", b"\n", b"\n\n\n\n", b"\r\n\r\n"])
@pytest.mark.parametrize("name", ["games.pgn", "games"])
def test_many_games(read: Read, name: str, between: bytes) -> None:
    games, rejections = read(name, between.join([ONE, TWO, THREE]) + between)
    assert rejections == []
    assert payloads(games) == [ONE, TWO, THREE]
    assert {each.content_type for each in games} == {PGN}
    assert [each.facts.status for each in games] == ["completed", "completed", "unfinished"]
    assert [each.facts.winner for each in games] == [Player(name="W1"), None, None]
    assert games[1].facts.players == (Player(name="W2"), Player(name="B2"))


@pytest.mark.parametrize("around", [(b"", b""), (b"\xef\xbb\xbf", b"\r\n\r\n"), (b"% escaped\n; a file\n\n", b"\n\x1a")])
def test_a_file_of_one_game_is_that_game_byte_for_byte(read: Read, around: tuple[bytes, bytes]) -> None:
    content = around[0] + ONE + around[1]
    games, rejections = read("game.pgn", content)
    assert (payloads(games), rejections) == ([content], [])
    assert games[0].entity_id == derived_id(ONE)


@pytest.mark.parametrize(
    "moves",
    [
        '1. e4 {a comment\n\n[Event "inside"]\n\nand on} e5',
        "1. e4 (1. d4 d5 (1... Nf6 {a (b} 2. c4) 2. c4) 1... e5 $1",
        '1. e4 ; to the end { ( [Event "x"]\ne5',
        "1. e4\n% {escaped ( \ne5",
        "1. e4 {[%clk 1:30:56] [%eval 0,1]} e5 {[%clk\n1:29:53]}",
        "1. e4 {a { in it} e5",
        "1. e4\n\n\ne5",
    ],
)
def test_nothing_in_the_movetext_ends_a_game(read: Read, moves: str) -> None:
    middle = game(2, moves)
    games, rejections = read("games.pgn", b"\n\n".join([ONE, middle, THREE]))
    assert rejections == []
    assert payloads(games) == [ONE, middle, THREE]


def test_games_without_tags_and_tags_without_moves(read: Read) -> None:
    bare = [b"1. e4 e5 2. Nf3\n1-0", b"1. d4 {closed} d5 *"]
    only_tags = b'[Event "forfeit"]\n[White "A"]\n[Black "B"]\n[Result "1-0"]'
    games, rejections = read("games.pgn", b"\n\n".join([*bare, ONE, only_tags, TWO]))
    assert rejections == []
    assert payloads(games) == [*bare, ONE, only_tags, TWO]
    assert games[3].facts.winner == Player(name="A")
    assert games[1].facts.status == "unfinished"


def test_a_missing_result_is_forgiven_within_a_file_and_not_at_its_end(read: Read) -> None:
    open_ended = b'[Event "x"]\n\n1. e4 e5'
    games, rejections = read("games.pgn", b"\n\n".join([open_ended, ONE]))
    assert (payloads(games), rejections) == ([open_ended, ONE], [])
    games, rejections = read("games.pgn", b"\n\n".join([ONE, open_ended]))
    assert payloads(games) == [ONE]
    assert [(each.line, each.reason, each.raw) for each in rejections] == [
        (8, "the file ends within the game: no result ends it", open_ended)
    ]


@pytest.mark.parametrize(
    ("moves", "reason"), [("1. e4 {never closed", "a comment is not closed"), ("1. e4 (1. d4", "a variation is not closed")]
)
@pytest.mark.parametrize("after", ["1. e4 e5", "1. e4 {a comment} e5"])
def test_what_is_left_open_costs_its_own_game(read: Read, moves: str, reason: str, after: str) -> None:
    broken = game(2, moves)
    last = [game(number, after) for number in (3, 4)]
    games, rejections = read("games.pgn", b"\n\n".join([ONE, broken, *last]) + b"\n")
    assert payloads(games) == [ONE, *last]
    assert [(each.line, each.reason, each.raw) for each in rejections] == [(8, reason, broken)]


def test_a_game_over_the_limit_costs_itself(read: Read) -> None:
    huge = game(2, "1. e4 e5\n" * 1000)
    games, rejections = read("games.pgn", b"\n\n".join([ONE, huge, THREE]), max_record_bytes=1000)
    assert payloads(games) == [ONE, THREE]
    assert [(each.line, each.reason) for each in rejections] == [(8, "the record has more than 1000 bytes")]


@pytest.mark.parametrize("content", [b"hello world\n", b"\x89PNG\r\n\x1a\n\0\0", b"<html></html>\n"])
def test_what_is_no_pgn_is_rejected(read: Read, content: bytes) -> None:
    games, rejections = read("games.pgn", content)
    assert (games, len(rejections)) == ([], 1)


def test_utf16_is_said(read: Read) -> None:
    games, rejections = read("games.pgn", ONE.decode().encode("utf-16"))
    assert games == []
    assert "iconv" in rejections[0].reason


def test_names_in_utf8_and_in_latin1(read: Read) -> None:
    tagged = ONE.decode().replace("W1", "Gösta Stoltz")
    games, _ = read("games.pgn", tagged.encode() + b"\n\n" + tagged.encode("latin-1"))
    assert [each.facts.players[0].name for each in games] == ["Gösta Stoltz"] * 2
    assert payloads(games) == [tagged.encode(), tagged.encode("latin-1")]


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ('[GameId "abc"]\n', "abc"),
        ('[Site "https://lichess.org/q7ZvsdUF"]\n', "q7ZvsdUF"),
        ('[Site "https://lichess.org/q7ZvsdUF/black#12"]\n', "q7ZvsdUF"),
        ('[Link "https://www.chess.com/game/live/123456?move=3"]\n', "123456"),
        ('[FICSGamesDBGameNo "317348178"]\n', "317348178"),
        ('[Site "Lund SWE"]\n[Link ""]\n', None),
    ],
)
def test_ids(read: Read, extra: str, expected: str | None) -> None:
    content = game(1, extra=extra)
    games, _ = read("games.pgn", content)
    assert games[0].entity_id == (expected or derived_id(content))


@pytest.mark.parametrize(
    ("extra", "created", "completed"),
    [
        ('[Date "2012.11.08"]\n', "2012-11-08", None),
        ('[Date "2012.11.08"]\n[Time "12:43:00"]\n', "2012-11-08T12:43:00Z", None),
        ('[Date "2012.11.08"]\n[Time "7:57:01 a.m."]\n', "2012-11-08", None),
        ('[Date "2012.11.07"]\n[UTCDate "2012.11.08"]\n[UTCTime "01:02:03"]\n', "2012-11-08T01:02:03Z", None),
        ('[Date "1857.??.??"]\n', None, None),
        ('[Date "2012.13.08"]\n', None, None),
        ('[EndDate "2024.1.2"]\n[EndTime "4:31:22 GMT+0000"]\n', None, "2024-01-02T04:31:22Z"),
    ],
)
def test_times(read: Read, extra: str, created: str | None, completed: str | None) -> None:
    games, _ = read("games.pgn", game(1, extra=extra))
    assert games[0].facts.created_at == (created and parse_instant(created))
    assert games[0].facts.completed_at == (completed and parse_instant(completed))


def test_players_nobody_knows_and_fide_ids(read: Read) -> None:
    content = game(1, extra='[WhiteFideId "5000017"]\n[BlackFideId "0"]\n').replace(b'"B1"', b'"?"')
    games, _ = read("games.pgn", content)
    assert games[0].facts.players == (Player("5000017", "W1"),)
    assert games[0].facts.winner == Player("5000017", "W1")


def test_tags_that_are_badly_written(read: Read) -> None:
    content = b'[Event "Ugra Cup \\"]\n[White "O\\"Neil"] [Black "B"]\n[Result "0-1"] 1. e4 0-1'
    games, rejections = read("games.pgn", content)
    assert rejections == []
    assert games[0].facts.players == (Player(name='O"Neil'), Player(name="B"))


def test_an_empty_file_holds_nothing(read: Read) -> None:
    for content in (b"", b"\n", b"\xef\xbb\xbf\r\n", b"; only a comment\n"):
        assert read("games.pgn", content) == ([], [])


EXPECTED = {
    "cct13.pgn": 3, "demo.pgn": 2, "err.pgn": 1, "finalmast.pgn": 30, "informant.pgn": 5, "promoting.pgn": 1,
    "redqueen_bom_crlf.pgn": 3, "startpos.pgn": 1, "tilburg.pgn": 6, "time_annotated.pgn": 4, "z0.pgn": 1,
}  # fmt: skip


def test_games_of_others(data: Path) -> None:
    found = {}
    for path in [*(data / "pgn").iterdir(), *(data / "games").glob("*.pgn")]:
        games, rejections = split(read_source(path))
        assert rejections == []
        content = path.read_bytes()
        assert content.count(b"[Event ") == len(games)
        assert all(each.payload in content for each in games)
        assert sum(len(each.payload) for each in games) > 0.99 * len(content)
        found[path.name] = len(games)
    assert found == EXPECTED


def outcomes(content: bytes, *, limit: int = 1 << 20) -> list[GameRecord | Rejection]:
    context = ReadContext("games.pgn", "games.pgn", ReadOptions(max_record_bytes=limit))
    return list(PgnReader().read(ByteStream(iter([content])), context))


COMMENTED = [game(1, "1. e4 {good} (1. d4 d5) e5 ; well\n"), game(2, result="1/2-1/2"), game(3, "1. c4\n{b\n\nc}\nc5", "0-1")]
FILE = b"\n\n".join(COMMENTED) + b"\n"


@pytest.mark.parametrize("length", range(len(FILE)))
def test_a_file_cut_at_any_byte_never_gives_a_wrong_game(length: int) -> None:
    games, rejections = split(outcomes(FILE[:length]))
    whole = [each for each in COMMENTED if FILE.index(each) + len(each) <= length]
    assert [each.payload.strip() for each in games] == whole
    rest = FILE[FILE.index(whole[-1]) + len(whole[-1]) if whole else 0 : length].strip()
    assert len(rejections) == bool(rest)


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.sampled_from([*COMMENTED, b"\n", b"{", b"}", b"(", b")", b";", b"[", b"\n\n[Event ", b'"]', b"%", b"*", b"x"]))
)
def test_any_text_is_read_without_losing_its_place(parts: list[bytes]) -> None:
    content = b"".join(parts)
    for outcome in outcomes(content, limit=400):
        if isinstance(outcome, GameRecord):
            assert outcome.payload in content
        else:
            assert outcome.line is not None
            assert outcome.line <= content.count(b"\n") + 1


def test_blanks_around_a_name_are_no_part_of_it(read: Read) -> None:
    ((game,), _) = read("a.pgn", b'[White "Svidler, Peter "]\n[Black " "]\n[Result "1-0"]\n\n1. e4 1-0\n')
    assert [player.name for player in game.facts.players] == ["Svidler, Peter"]


@pytest.mark.parametrize(
    "piece", [b'[Event "', b"[", b'["', b'[a "\\', b"[ ", b'"]', b"(", b"{", b";", b"1. e4 {[Event ", b"[a]"]
)
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_hostile_line_takes_no_more_time_than_another(read: Read, piece: bytes, end: bytes) -> None:
    """It would take minutes, and the test's time-out, if each of its tags were looked for to its end."""
    content = b'[Event "x"]' + (piece + end) * (1 << 16) + b"\n\n1-0\n"
    games, rejections = read("a.pgn", content, format="pgn")
    assert games or rejections
