"""Conditions tried on games: what matches, what is unknown, and what each kind of value may be compared with."""

from __future__ import annotations

import json
from itertools import product

import pytest
from expression.conditions import expressions
from hypothesis import given
from hypothesis import strategies as st

from gamearchive.expression import Expression, parse
from gamearchive.expression.tree import And, Comparison, Game, Not, Or, Path
from gamearchive.model import JSON, PGN, Facts, GameRecord, Player
from gamearchive.units import SECOND, parse_instant

NOW = parse_instant("2025-06-15T12:00:00Z")
DAY = 86_400 * SECOND
DOCUMENT = {
    "map": "inferno",
    "ranked": True,
    "elo": 1500,
    "share": 0.5,
    "ended": "2025-06-14T12:00:00Z",
    "ended_ms": NOW // 1000,
    "nothing": None,
    "empty": [],
    "rounds": [{"winner_id": "p1", "score": 3}, {"winner_id": "p7", "score": 9}, {"score": "many"}],
    "seats": {"north": "p1", "south": "p7"},
    "a key": {"": 1},
}
GAME = GameRecord(
    "game",
    "g-1",
    json.dumps(DOCUMENT).encode(),
    JSON,
    Facts(
        (Player("p1", "Anna"), Player("p7", "Bob"), Player(name="Cem")),
        Player("p1", "Anna"),
        "completed",
        None,
        NOW - 2 * DAY,
    ),
    (("ranked", "yes"), ("season", "2025")),
)
BARE = GameRecord("room", "r/1", b"\xff no JSON", PGN)


@pytest.mark.parametrize(
    "condition",
    [
        "entity_type = 'game'",
        "entity_id = 'g-1'",
        "content_type = 'application/json'",
        "status = 'completed'",
        "status != 'Completed'",
        "status < 'd' AND status >= 'completed'",
        "status IN ('over', 'completed')",
        "status NOT IN ('over')",
        "status BETWEEN 'completed' AND 'completed'",
        "players = 'Anna' AND players = 'p7' AND players = 'Cem'",
        "players != 'Dora'",
        "players NOT IN ('Dora', 'Eve')",
        "winner = 'Anna' AND winner = 'p1'",
        "created_at IS NULL",
        "created_at != 7d",
        "NOT created_at > 7d AND NOT created_at < 7d",
        "completed_at IS NOT NULL",
        "completed_at > 7d AND completed_at < 1d",
        "completed_at = 2d AND completed_at >= 2d",
        "completed_at BETWEEN 2025-06-13 AND 2025-06-14",
        "completed_at > 2025-06-13T11:59:59.999999Z AND completed_at <= 2025-06-13T14:00:00+02:00",
        "raw_bytes > 100 AND raw_bytes < 1KB",
        "tags.season = '2025' AND tags.ranked LIKE 'y%'",
        "tags.mode IS NULL AND tags.mode != 'duel'",
        "$.map = 'inferno'",
        "$.ranked = TRUE AND $.ranked != FALSE",
        "$.elo = 1500 AND $.elo = 1500.0 AND $.elo BETWEEN 1e3 AND 2000 AND $.share < 1",
        "$.ended > 2d AND $.ended < 2h",
        "$.ended_ms = 0s",
        "$.ended > '2025-06-14'",
        "$.nothing IS NULL AND $.nowhere IS NULL AND $.map.deeper IS NULL AND $.empty[*] IS NULL",
        "$.empty IS NOT NULL AND $.seats IS NOT NULL AND $ IS NOT NULL",
        "$.rounds[*].winner_id = 'p7'",
        "$.rounds[0].winner_id = 'p1' AND $.rounds[-1].winner_id IS NULL AND $.rounds[3] IS NULL",
        "$.rounds[*].winner_id != 'p9'",
        "$.rounds[*].score > 5 AND $.rounds[*].score LIKE '%an%'",
        "$.seats.* = 'p7' AND $[*].north = 'p1'",
        "$['a key'][\"\"] = 1",
    ],
)
def test_what_matches(condition: str) -> None:
    assert parse(condition).matches(GAME, NOW)
    assert not parse(f"NOT ({condition})").matches(GAME, NOW)


@pytest.mark.parametrize(
    "condition",
    [
        "status = 'Completed'",
        "winner != 'Anna'",
        "players NOT IN ('Cem')",
        "players BETWEEN 'D' AND 'a'",
        "completed_at > 2d",
        "created_at > 1000y OR created_at <= 0s",
        "tags.mode = '' OR tags.mode < 'z'",
        "$.ranked = 1 OR $.elo = '1500' OR $.elo = TRUE OR $.map > 1 OR $.seats = 'p1'",
        "$.elo > 7d OR $.map > 7d",
        "$.rounds[*].score BETWEEN 4 AND 8",
        "$.rounds.winner_id = 'p1' OR $.seats[0] = 'p1' OR $.map[0] = 'i'",
    ],
)
def test_what_does_not_match(condition: str) -> None:
    assert not parse(condition).matches(GAME, NOW)
    assert parse(f"NOT ({condition})").matches(GAME, NOW)


def test_what_is_unknown_is_equal_to_nothing_and_different_from_everything() -> None:
    for name in ["status", "players", "winner", "created_at", "completed_at", "tags.x", "$", "$.a", "$[*]"]:
        value = "7d" if name.endswith("_at") else "'x'"
        assert parse(f"{name} IS NULL AND {name} != {value}").matches(BARE, NOW)
        for sign in ["=", "<", "<=", ">", ">="]:
            assert not parse(f"{name} {sign} {value}").matches(BARE, NOW)


def test_a_game_is_decoded_only_where_the_answer_hangs_on_a_path() -> None:
    game = Game(GAME, NOW)
    assert not parse("status = 'over' AND $.map = 'inferno'").holds(game)
    assert "document" not in vars(game)
    assert parse("status = 'completed' AND $.map = 'inferno'").holds(game)
    assert "document" in vars(game)


@pytest.mark.parametrize(
    ("payload", "condition"),
    [
        (b'{"a": NaN, "b": "x"}', "$.b = 'x' AND NOT $.a = 1 AND NOT $.a < 1 AND NOT $.a >= 1"),
        (b'{"a": "\\ud800", "b": "x"}', "$.b = 'x' AND $.a LIKE '_'"),
        (b'{"a": 123456789012345678901234567890}', "$.a = 123456789012345678901234567890"),
        (b"[" * 100_000, "$ IS NULL"),
        (b'{"a": ' + b"9" * 5000 + b"}", "$.a IS NULL OR $.a > 1"),
        (b"3", "$ = 3 AND $[*] IS NULL"),
        (b"", "$ IS NULL"),
    ],
)
def test_a_game_beyond_the_standard_is_taken_as_it_is(payload: bytes, condition: str) -> None:
    assert parse(condition).matches(GameRecord("game", "g", payload, JSON), NOW)


def like(pattern: str, text: str) -> bool:
    """LIKE by its definition."""
    if not pattern:
        return not text
    if pattern[0] == "%":
        return any(like(pattern[1:], text[at:]) for at in range(len(text) + 1))
    if pattern[0] == "\\" and pattern[1:2] and pattern[1] in "%_\\":
        return text[:1] == pattern[1] and like(pattern[2:], text[1:])
    return bool(text) and pattern[0] in ("_", text[0]) and like(pattern[1:], text[1:])


@given(st.text("ab%_\\\n.", max_size=7), st.text("ab%_\\\n.", max_size=7))
def test_like_is_what_its_definition_says(pattern: str, text: str) -> None:
    record = GameRecord("game", "g", json.dumps(text).encode(), JSON)
    assert Comparison(Path(()), "LIKE", (pattern,)).matches(record, NOW) == like(pattern, text)


def test_no_pattern_takes_for_ever() -> None:
    record = GameRecord("game", "g", json.dumps("a" * 5000).encode(), JSON)
    assert parse(f"$ LIKE '{'%a' * 2000}'").matches(record, NOW)
    assert not parse(f"$ LIKE '{'%a' * 2000}%b'").matches(record, NOW)


@given(expressions, expressions)
def test_and_or_and_not_are_those_of_logic(one: Expression, other: Expression) -> None:
    for record, tree in product([GAME, BARE], [one, other]):
        assert Not(tree).matches(record, NOW) is not tree.matches(record, NOW)
        first, second = one.matches(record, NOW), other.matches(record, NOW)
        assert And((one, other)).matches(record, NOW) is (first and second)
        assert Or((one, other)).matches(record, NOW) is (first or second)
