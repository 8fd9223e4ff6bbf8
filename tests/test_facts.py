"""Facts of JSON games: names in the wild, pointers, times, and what no parser likes."""

from __future__ import annotations

import json
from collections import deque
from datetime import date, datetime
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gamearchive import encoding
from gamearchive.errors import ConfigurationError, SourceError
from gamearchive.facts import USUAL, FactRules, extract, facts_of, parse_time
from gamearchive.model import Facts, Player
from gamearchive.units import parse_instant

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(
    ["id", "_id", "players", "winner", "status", "created_at", "date", "time", "white", "black", "info", "completed_at"]
)


def taken(game: object, rules: FactRules = USUAL) -> tuple[str | None, Facts]:
    return extract(json.dumps(game).encode(), rules)


def test_a_board_game_with_the_usual_names() -> None:
    game = {
        "id": "g1",
        "players": [{"id": "p1", "name": "Ann"}, {"id": "p2", "name": "Bo"}],
        "winner": "p2",
        "status": "completed",
        "created_at": "2025-03-23T20:31:18.390385Z",
        "completed_at": "2025-03-23T20:35:36.546993Z",
        "rounds": [{"winner": "p1"}],
    }
    assert taken(game) == (
        "g1",
        Facts(
            players=(Player("p1", "Ann"), Player("p2", "Bo")),
            winner=Player("p2", "Bo"),
            status="completed",
            created_at=parse_instant("2025-03-23T20:31:18.390385Z"),
            completed_at=parse_instant("2025-03-23T20:35:36.546993Z"),
        ),
    )


@pytest.mark.parametrize("top", [{}, {7: "a name that is no text"}])
def test_a_game_in_play_has_types_of_python(top: dict[object, object]) -> None:
    """Each of which `encoding` writes in its own way."""
    ann, bo = UUID(int=1), UUID(int=2)
    began = datetime(2025, 10, 26, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1)
    game = {"id": UUID(int=9), "players": ({"id": ann, "name": "Ann"}, {"id": bo}), "winner": bo, "created_at": began, **top}
    game["ended"] = date(2025, 10, 27)
    assert extract(encoding.encode(game)) == (
        str(UUID(int=9)),
        Facts(
            players=(Player(str(ann), "Ann"), Player(str(bo))),
            winner=Player(str(bo)),
            created_at=parse_instant("2025-10-26T01:30:00Z"),
            completed_at=parse_instant("2025-10-27T00:00:00Z"),
        ),
    )
    seats = {"players": {0: {"name": "Ann"}, 1: {"name": "Bo"}}, "winner": 1}
    assert extract(encoding.encode(seats))[1] == Facts((Player(name="Ann"), Player(name="Bo")), Player(name="Bo"))
    rules = FactRules(players="/table/seats/*", id="/table/7")
    assert extract(encoding.encode({"table": {"seats": deque(["Ann"]), 7: "g"}}), rules) == ("g", Facts((Player(name="Ann"),)))


def test_lichess() -> None:
    seat = {"user": {"name": "Zoë", "id": "zoe"}, "rating": 1500}
    game = {
        "id": "q7ZvsdUF",
        "createdAt": 1514505150384,
        "lastMoveAt": 1514505592843,
        "status": "draw",
        "players": {"white": seat, "black": {"aiLevel": 3}},
        "winner": "white",
    }
    entity_id, facts = taken(game)
    assert entity_id == "q7ZvsdUF"
    assert facts.players == (Player("zoe", "Zoë"),)
    assert facts.winner == Player("zoe", "Zoë")
    assert facts.created_at == 1514505150384000
    assert facts.completed_at == 1514505592843000


def test_chess_com_says_who_won_in_the_players() -> None:
    game = {"uuid": "u-1", "end_time": 1700000000, "white": {"username": "a", "result": "win"}, "black": {"username": "b"}}
    entity_id, facts = taken(game)
    assert entity_id == "u-1"
    assert facts.winner == Player(name="a")
    assert facts.completed_at == 1700000000_000000


def test_riot_keeps_them_one_level_down() -> None:
    game = {
        "metadata": {"matchId": "EUW1_1", "participants": ["x", "y"]},
        "info": {"gameCreation": 1700000000000, "participants": [{"puuid": "x", "riotIdGameName": "Ix", "win": True}]},
    }
    entity_id, facts = taken(game)
    assert entity_id == "EUW1_1"
    assert facts.players == (Player("x", "Ix"),)
    assert facts.winner == Player("x", "Ix")


@pytest.mark.parametrize(
    ("game", "expected"),
    [
        ({"id": 42}, "42"),
        ({"_id": {"$oid": "5f"}}, "5f"),
        ({"matchId": 7}, "7"),
        ({"id": 1.5, "game_id": "g"}, "g"),
        ({"id": True}, None),
        ({"id": ""}, None),
        ({"id": None, "uuid": "u"}, "u"),
        ({"id": "a\0b"}, "a\0b"),
        ({"ident": "x"}, None),
    ],
)
def test_ids(game: object, expected: str | None) -> None:
    assert taken(game)[0] == expected


@pytest.mark.parametrize(
    ("game", "expected"),
    [
        ({"players": ["a", "", " ", None, "b"]}, (Player(name="a"), Player(name="b"))),
        ({"players": [1, 2]}, (Player("1"), Player("2"))),
        ({"players": {"0": {"name": "a"}, "1": {"name": "b"}}}, (Player(name="a"), Player(name="b"))),
        ({"players": {"alice": {"score": 3}, "bob": {"score": 4}}}, (Player(name="alice"), Player(name="bob"))),
        ({"players": 4, "participants": ["a"]}, (Player(name="a"),)),
        ({"team1": "A", "team2": "B"}, (Player(name="A"), Player(name="B"))),
        ({"home": {"abbr": "DET"}, "away": {"abbr": "MIN"}}, (Player(name="DET"), Player(name="MIN"))),
        ({"publicObservation": {"playerIds": ["ワイルド"]}}, (Player(name="ワイルド"),)),
        ({"players": [{"user": {"user": {"name": "too deep"}}}]}, ()),
        ({"players": []}, ()),
    ],
)
def test_players(game: object, expected: tuple[Player, ...]) -> None:
    assert taken(game)[1].players == expected


ANN, BO = Player("7", "Ann"), Player("8", "Bo")


@pytest.mark.parametrize(
    ("winner", "expected"),
    [
        ("7", ANN),
        (7, ANN),
        ("Bo", BO),
        (1, BO),
        ("1", BO),
        ({"id": 8}, BO),
        ({"name": "Ann", "score": 3}, ANN),
        (["Bo"], BO),
        (["Ann", "Bo"], None),
        ("draw", None),
        (-1, None),
        (5, None),
        (False, None),
        ("Cy", Player(name="Cy")),
    ],
)
def test_winners(winner: object, expected: Player | None) -> None:
    game = {"players": [{"id": 7, "name": "Ann"}, {"id": 8, "name": "Bo"}], "winner": winner}
    assert taken(game)[1].winner == expected


def test_a_seat_is_counted_with_those_that_nobody_sits_on() -> None:
    assert taken({"players": [None, "a", "b"], "winner": 2})[1].winner == Player(name="b")


def test_names_are_made_storable() -> None:
    _, facts = extract(b'{"players":["\\ud83d x","a\\u0000b"],"status":"' + b"s" * 100 + b'"}')
    assert [player.name for player in facts.players] == ["\ufffd x", "a\ufffdb"]
    assert facts.status == "s" * 64
    assert len(taken({"players": ["n" * 9999]})[1].players[0].label) == 256


def test_no_more_than_a_thousand_players() -> None:
    assert len(taken({"players": [str(n) for n in range(2000)]})[1].players) == 1000


INSTANT = parse_instant("2025-03-23T20:31:44.553Z")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1742761904553, INSTANT),
        ("1742761904553", INSTANT),
        (1742761904.553, INSTANT),
        (1742761904553000, INSTANT),
        (1742761904553000000, INSTANT),
        ("2025-03-23T20:31:44.553Z", INSTANT),
        ("2025-03-23T21:31:44.553+01:00", INSTANT),
        ("2025-03-23 20:31:44.553", INSTANT),
        ({"$date": "2025-03-23T20:31:44.553Z"}, INSTANT),
        ("2025-03-23", parse_instant("2025-03-23")),
        ("20250323", parse_instant("2025-03-23")),
        (-2_000_000_000, -2_000_000_000_000_000),
        ("1712030410523", 1712030410523000),
        (0, None),
        (12, None),
        (True, None),
        (float("nan"), None),
        (float("inf"), None),
        (10**400, None),
        ("9" * 400, None),
        ("", None),
        ("soon", None),
        ("2025-13-01", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("9999-12-31T23:59:59-12:00", None),
        ([], None),
        ({"$date": {"$date": 1}}, None),
    ],
)
def test_times(value: object, expected: int | None) -> None:
    assert parse_time(value) == expected


def test_a_kick_off_is_a_date_and_a_time() -> None:
    assert taken({"date": "2010-08-07", "time": "12:15"})[1].created_at == parse_instant("2010-08-07T12:15:00Z")
    assert taken({"date": "2010-08-07", "time": "noon"})[1].created_at == parse_instant("2010-08-07")


def test_pointers_decide_alone() -> None:
    game = {
        "id": "wrong",
        "meta": {"matchId": "right"},
        "participants": [{"name": "a"}, {"name": "b"}],
        "info": {"end": 1700000000, "a/b": {"~": "done"}},
        "players": ["c"],
        "status": "no",
    }
    rules = FactRules(
        id="/meta/matchId", players="/participants/*/name", completed_at="/info/end", status="/info/a~1b/~0", winner="/nowhere"
    )
    entity_id, facts = taken(game, rules)
    assert entity_id == "right"
    assert facts.players == (Player(name="a"), Player(name="b"))
    assert facts.completed_at == 1700000000_000000
    assert facts.status == "done"
    assert facts.winner is None
    assert taken(game, FactRules(id="/meta"))[0] is None
    assert taken(game, FactRules(players="/participants"))[1].players == facts.players
    assert taken(game, FactRules(id="/participants/1/name"))[0] == "b"
    assert taken(game, FactRules(id="/*/matchId"))[0] == "right"


@pytest.mark.parametrize("pointer", ["", "id", "$.id", "/a~2", "/a~"])
def test_a_bad_pointer_is_refused(pointer: str) -> None:
    with pytest.raises(ConfigurationError):
        FactRules(winner=pointer)


@pytest.mark.parametrize(
    "payload",
    [
        b'{"id":"x","n":NaN}',
        b'{"id":"x","n":-Infinity}',
        b'{"id":"x","n":1e400}',
        b'{"id":"x","n":"\\ud83d"}',
        b'{"id":"x","n":' + b"9" * 5000 + b"}",
        b'{"n":NaN,"m":' + b"9" * 5000 + b',"id":"x"}',
        b'{"id":"w","id":"x"}',
    ],
)
def test_what_the_standard_library_takes_is_taken(payload: bytes) -> None:
    assert extract(payload)[0] == "x"


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b'{"id":"u1","name":"M\xfcller"}', "not UTF-8: byte 0xFC at offset 20"),
        (b'{"id":"\xed\xa0\x80"}', "not UTF-8"),
        (b'{"id":1', "not valid JSON"),
        (b'{"id":01}', "not valid JSON"),
        (b"", "not valid JSON"),
        (b"[{}]", "no JSON object"),
        (b"null", "no JSON object"),
        (b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
    ],
)
def test_what_is_no_game_is_said_to_be_none(payload: bytes, reason: str) -> None:
    with pytest.raises(SourceError, match=reason):
        extract(payload)


@settings(deadline=None, max_examples=200)
@given(st.dictionaries(NAMES, JSON_VALUES, max_size=6))
def test_any_object_has_facts_that_any_database_can_store(game: dict[str, object]) -> None:
    payload = json.dumps(game).encode()
    _, facts = extract(payload)
    for player in (*facts.players, facts.winner or Player(name="nobody")):
        assert player.label
        for text in (player.id, player.name):
            assert text is None or "\0" not in text.encode().decode()
    assert facts.status is None or len(facts.status.encode().decode()) <= 64


@settings(deadline=None, max_examples=200)
@given(st.dictionaries(NAMES, JSON_VALUES, max_size=6))
def test_a_live_game_has_the_same_facts_as_its_json(game: dict[str, object]) -> None:
    payload = json.dumps(game).encode()
    assert facts_of(json.loads(payload)) == extract(payload)


@given(JSON_VALUES)
def test_no_value_breaks_the_reading_of_times(value: object) -> None:
    instant = parse_time(value)
    assert instant is None or isinstance(instant, int)


TEXTS = st.text(max_size=80) | st.sampled_from(
    ["p1", "Ann", " ", "2025-03-01T12:00:00Z", "2025-03-01", "draw", "0", "1740830400"]
)
PLAIN_GAMES = st.fixed_dictionaries(
    {
        "id": TEXTS,
        "players": st.lists(st.fixed_dictionaries({"id": TEXTS, "name": TEXTS}), max_size=4),
        "winner": TEXTS,
        "status": TEXTS,
        "created_at": TEXTS,
        "completed_at": TEXTS,
    },
    optional={"game_id": TEXTS, "endTime": TEXTS, "state": TEXTS, "rounds": JSON_VALUES},
)


@given(PLAIN_GAMES)
@settings(deadline=None, max_examples=400)
def test_a_game_of_the_most_usual_form_has_the_facts_that_the_rules_for_all_games_find(game):
    assert extract(json.dumps(game).encode()) == facts_of(game)
