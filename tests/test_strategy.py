"""Games of every class as bytes and back: equal to the last field, known by their ids, and brought up to today's version."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field, make_dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any, NamedTuple, TypedDict
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_encoding import ANY_TEXT, FOLDED, ZONES, exact

from gamearchive import ArchivalStrategy, GameArchivalStrategy
from gamearchive.errors import ConfigurationError, EncodingError, IntegrityError, SchemaError, UsageError
from gamearchive.facts import USUAL_NAMES, FactRules, extract
from gamearchive.model import JSON, PGN, Facts, Player


class Suit(Enum):
    CLUBS = "clubs"
    HEARTS = "hearts"


class Rank(IntEnum):
    TWO = 2
    ACE = 14


class Phase(StrEnum):
    PLAY = "play"
    OVER = "over"


class Square(NamedTuple):
    x: int
    y: int


PARTS: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "id": (str, st.uuids().map(str)),
    "text": (str, ANY_TEXT),
    "whole": (int, st.integers() | st.integers(-(1 << 3000), 1 << 3000)),
    "real": (float, st.floats()),
    "flag": (bool | None, st.none() | st.booleans()),
    "suit": (Suit, st.sampled_from(Suit)),
    "rank": (Rank, st.sampled_from(Rank)),
    "phase": (Phase, st.sampled_from(Phase)),
    "data": (bytes, st.binary()),
    "at": (datetime, FOLDED),
    "day": (date, st.dates()),
    "hour": (time, st.times(timezones=ZONES)),
    "length": (timedelta, st.timedeltas()),
    "price": (Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
    "key": (UUID, st.uuids()),
    "square": (Square, st.builds(Square, st.integers(0, 7), st.integers(0, 7))),
    "seats": (dict[int, str], st.dictionaries(st.integers(0, 3), ANY_TEXT, max_size=3)),
    "hands": (dict[Suit, list[Rank]], st.dictionaries(st.sampled_from(Suit), st.lists(st.sampled_from(Rank), max_size=3))),
    "names": (set[str], st.sets(ANY_TEXT, max_size=3)),
    "marks": (frozenset[int], st.frozensets(st.integers(), max_size=3)),
    "moves": (tuple[int, ...], st.lists(st.integers(), max_size=3).map(tuple)),
    "scores": (list[float], st.lists(st.floats(), max_size=3)),
    "tags": (dict[str, str], st.dictionaries(st.sampled_from(["$set", "$date", "a"]), st.text(max_size=3), max_size=2)),
    "anything": (
        Any,
        st.none() | st.floats() | FOLDED | st.sets(st.integers()) | st.lists(st.tuples(st.integers())) | st.binary(max_size=3),
    ),
}
"""The fields of a game: each with its annotation, and what it may hold."""


def make_attrs(name: str, parts: dict[str, Any]) -> type:
    return attrs.make_class(name, {part: attrs.field(type=kind) for part, kind in parts.items()})


def make_model(name: str, parts: dict[str, Any]) -> type:
    made: type = pydantic.create_model(name, **{part: (kind, ...) for part, kind in parts.items()})
    return made


MAKERS: dict[str, Callable[[str, dict[str, Any]], type]] = {
    "dataclass": lambda name, parts: make_dataclass(name, list(parts.items())),
    "slots": lambda name, parts: make_dataclass(name, list(parts.items()), frozen=True, slots=True, eq=False),
    "attrs": make_attrs,
    "Struct": lambda name, parts: msgspec.defstruct(name, list(parts.items()), rename="camel", tag=True),
    "array": lambda name, parts: msgspec.defstruct(name, list(parts.items()), array_like=True, tag=True),
    "pydantic": make_model,
}
ANNOTATIONS = {name: kind for name, (kind, _) in PARTS.items()}


def compared(value: Any) -> object:
    """A game as something equal only for games that are the same in every field."""
    names = getattr(value, "__struct_fields__", None) or list(getattr(value, "__dataclass_fields__", ()))
    names = (
        names or [each.name for each in getattr(value, "__attrs_attrs__", ())] or list(getattr(type(value), "model_fields", ()))
    )
    if names:
        return type(value), [compared(getattr(value, name)) for name in names]
    if isinstance(value, dict):
        return type(value), [(compared(key), compared(each)) for key, each in value.items()]
    if isinstance(value, list | tuple):
        return type(value), [compared(each) for each in value]
    return exact(value)


@pytest.mark.parametrize("form", MAKERS)
def test_games_come_back_as_they_were(form: str) -> None:
    inner = MAKERS[form]("Inner", ANNOTATIONS)
    outer = "Struct" if form == "array" else form
    game_type = MAKERS[outer]("Game", {**ANNOTATIONS, "inner": inner | None, "others": list[inner]})  # type: ignore[valid-type]
    inners = st.builds(inner, **{name: values for name, (_, values) in PARTS.items()})
    games = st.builds(
        game_type,
        **{name: values for name, (_, values) in PARTS.items()},
        inner=st.none() | inners,
        others=st.lists(inners, max_size=2),
    )
    strategy = GameArchivalStrategy(game_type)

    @settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
    @given(games)
    def comes_back(game: Any) -> None:
        record = strategy.record(game)
        back = strategy.revive(record.payload, record.content_type)
        assert compared(back) == compared(game)

    comes_back()


def round_trip(game: Any) -> Any:
    strategy = GameArchivalStrategy(type(game))
    return strategy.revive(strategy.encode(game), JSON)


@dataclass
class Player1:
    id: str
    score: float = 0


@dataclass(eq=False)
class Table:
    """Its equality says nothing, one of its fields is private, one is not for the constructor, one may be anything."""

    id: str
    players: list[Player1]
    _seed: int = 0
    turn: int = field(init=False, default=0)
    note: Any = field(default=None, compare=False)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Table) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)


@dataclass
class Champion(Player1):
    title: str = ""


@pytest.mark.parametrize(
    "note", [None, {1, 2}, (1, 2), {"a": (1,)}, math.nan, b"\xff", datetime(2025, 1, 1, tzinfo=UTC), {1: 2}]
)
def test_equality_of_a_classs_own_decides_nothing(note: object) -> None:
    game = Table("t", [Player1("ann", 3)], _seed=7, note=note)
    game.turn = 5
    back = round_trip(game)
    assert (back._seed, back.turn, back.players) == (7, 5, game.players)
    assert exact(back.note) == exact(note)


@dataclass
class Card:
    """Its equality is its own, and overlooks what it holds."""

    marks: list[int]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Card)

    __hash__ = None  # type: ignore[assignment]


class Extra(TypedDict):
    level: int


@dataclass
class Move:
    at: datetime | None = None
    extra: Extra | None = None
    before: Move | None = None
    note: Any = None


@dataclass
class Turns:
    id: str
    first: Move
    rest: list[Move]
    cards: list[Card] = field(default_factory=list)


def test_what_equality_overlooks_comes_back_as_well() -> None:
    folded = datetime(2025, 10, 26, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1)
    game = Turns("t", Move(folded, {"level": 3}), [Move(note={1}, before=Move(folded))])
    assert compared(round_trip(game)) == compared(game)
    game.cards = [Card((1, 2))]  # type: ignore[arg-type]
    with pytest.raises(EncodingError, match="/cards/0/marks"):
        round_trip(game)
    game.cards = []
    game.first.extra = {"level": 3, "unknown": 4}  # type: ignore[typeddict-unknown-key]
    with pytest.raises(EncodingError, match="/first/extra"):
        round_trip(game)


def test_an_equal_float_comes_back_for_an_integer_where_a_float_is_wanted() -> None:
    game = Table("t", [Player1("ann", 3)])
    assert exact(round_trip(game).players[0].score) == exact(3.0)


def test_a_built_in_type_comes_back_for_its_subclass_where_that_is_wanted() -> None:
    game = make_dataclass("Game", [("id", str), ("scores", dict[str, int])])("g", defaultdict(int, a=1))
    assert round_trip(game) == game


@pytest.mark.parametrize(
    ("game", "path"),
    [
        (Table("t", [Champion("ann", 1, "GM")]), "/players/0"),
        (Table("t", [Player1("ann"), Champion("bo", 1)]), "/players/1"),
        (Table("t", [], note=Suit.CLUBS), "/note"),
        (Table("t", [], note=Rank.ACE), "/note"),
        (Table("t", [], note=Player1("ann")), "/note"),
        (Table("t", [], note={"by": [Phase.OVER]}), "/note/by/0"),
        (Table("t", [], note=object()), "/note is of type object"),
        (Table("t", (Player1("ann"),)), "/players"),  # type: ignore[arg-type]
        (Table(7, []), "Expected `str`, got `int` - at `$.id`"),  # type: ignore[arg-type]
        (Table("t", [Player1("ann", True)]), "Expected `float`, got `bool`"),
    ],
)
def test_what_would_come_back_different_is_refused(game: Table, path: str) -> None:
    strategy = GameArchivalStrategy(Table)
    with pytest.raises(EncodingError, match=r"encoded|come back") as caught:
        strategy.encode(game)
    assert path in caught.value.message


def test_a_game_of_another_class_is_refused() -> None:
    for game_type in (Table, make_model("Model", {"id": str})):
        with pytest.raises(EncodingError):
            GameArchivalStrategy(game_type).encode(Player1("ann"))


def test_what_contains_itself_is_refused() -> None:
    game = Table("t", [])
    game.note = [game]
    with pytest.raises(EncodingError, match="contains itself"):
        GameArchivalStrategy(Table).encode(game)


class Hand(pydantic.BaseModel):
    cards: list[Suit]


class Room(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow", strict=True)

    game_id: str = pydantic.Field(alias="gameId")
    hands: dict[int, Hand]
    seen: set[bytes]
    players: list[Any] = []
    socket: Any = pydantic.Field(default=None, exclude=True)
    _turn: int = pydantic.PrivateAttr(default=0)

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def size(self) -> int:
        return len(self.hands)


def test_pydantic_models_with_all_that_they_may_have() -> None:
    game = Room(gameId="r", hands={1: Hand(cards=[Suit.CLUBS])}, seen={b"\xff"}, socket=object(), odd=math.inf)
    strategy = GameArchivalStrategy(Room)
    record = strategy.record(game)
    back = strategy.revive(record.payload, record.content_type)
    assert record.entity_id == "r"
    assert (back.game_id, back.hands, back.seen, back.odd, back.socket) == ("r", game.hands, game.seen, math.inf, None)
    game._turn = 1
    with pytest.raises(EncodingError, match="/__pydantic_private__/_turn"):
        strategy.encode(game)
    game._turn = 0
    game.players = [Hand(cards=[])]
    with pytest.raises(EncodingError, match="/players/0"):
        strategy.encode(game)


class Chess(TypedDict):
    id: str


def test_dicts() -> None:
    game = {"id": "g", "board": {(0, 1): "pawn"}, "queue": deque([1]), "left": Counter("ab"), "order": OrderedDict(a=1)}
    for game_type in (dict, Chess):
        strategy: GameArchivalStrategy[Any] = GameArchivalStrategy(game_type)
        back = strategy.revive(strategy.encode(game), JSON)
        assert exact(back) == exact(game)


def test_what_no_game_can_be() -> None:
    class Mixed(Enum):
        ONE = 1
        TWO = "two"

    broken = [
        int,
        list[dict[str, int]],
        Square,
        make_dataclass("Union", [("id", str), ("who", Player1 | Table)]),
        make_dataclass("WithMixed", [("id", str), ("value", Mixed)]),
        make_dataclass("Unknown", [("id", "Nowhere")]),
        msgspec.defstruct("Array", [("id", str)], array_like=True),
    ]
    for game_type in broken:
        with pytest.raises(ConfigurationError, match=r"no dict, dataclass|cannot be archived"):
            GameArchivalStrategy(game_type)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="no field for the id"):
        GameArchivalStrategy(make_dataclass("Nameless", [("score", int)]))
    with pytest.raises(UsageError, match="not a plain name"):
        GameArchivalStrategy(entity_type="Bad Type")


@pytest.mark.parametrize(
    ("game", "expected"),
    [
        ({"id": "g"}, "g"),
        ({"id": 7}, "7"),
        ({"id": UUID(int=7)}, str(UUID(int=7))),
        ({"gameId": UUID(int=7)}, str(UUID(int=7))),
        ({"id": None, "match_id": "m"}, "m"),
        ({"id": "", "match_id": "m"}, "m"),
        ({"_id": {"$oid": "5f"}}, "5f"),
        ({"metadata": {"matchId": "m"}}, "m"),
    ],
)
def test_ids_of_dicts(game: dict[str, object], expected: str) -> None:
    assert GameArchivalStrategy().entity_id(game) == expected


@pytest.mark.parametrize(
    "game", [{}, {"id": True}, {"id": 1.5}, {"id": ""}, {"id": None}, {"id": "x" * 513}, {"id": "a\0"}, [], 7]
)
def test_a_game_without_an_id_is_refused(game: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=r"has no id|cannot be archived"):
        GameArchivalStrategy().entity_id(game)


def test_ids_of_classes() -> None:
    @dataclass
    class Match:
        gameId: int  # noqa: N815
        uuid: str = "u"
        meta: Any = None

        @property
        def id(self) -> str:
            return f"match-{self.gameId}"

    assert GameArchivalStrategy(Match).entity_id(Match(7)) == "match-7"
    by_rule = GameArchivalStrategy(Match, rules=FactRules(id="/meta/id"))
    assert by_rule.entity_id(Match(7, meta=Player1("p"))) == "p"
    with pytest.raises(UsageError, match="has no id"):
        by_rule.entity_id(Match(7))
    with pytest.raises(ConfigurationError, match="no field for the id"):
        GameArchivalStrategy(Match, rules=FactRules(id="/metas/*/id"))
    assert GameArchivalStrategy(rules=FactRules(id="/metas/0/id")).entity_id({"id": "x", "metas": [{"id": 5}]}) == "5"


def test_a_game_is_recorded_with_its_facts() -> None:
    began = datetime(2025, 10, 26, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    game = {"id": 7, "players": ({"id": "a"}, {"id": "b"}), "winner": "b", "created_at": began, "status": "over"}
    strategy = GameArchivalStrategy(entity_type="chess", rules=FactRules(status="/status"))
    record = strategy.record(game, tags=(("k", "v"),))
    assert (record.entity_type, record.entity_id, record.content_type, record.tags) == ("chess", "7", JSON, (("k", "v"),))
    micros = int(began.timestamp()) * 1_000_000
    assert record.facts == Facts((Player("a"), Player("b")), Player("b"), "over", micros)
    assert strategy.record(game, record.payload) == strategy.record(game)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), 1 << 64) | st.floats(allow_nan=False, allow_infinity=False) | ANY_TEXT,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "name", "user", "$set"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(sorted(USUAL_NAMES)), JSON_VALUES, max_size=8))
def test_a_game_in_play_has_the_facts_that_its_json_has(document: dict[str, object]) -> None:
    record = GameArchivalStrategy().record(document | {"id": "g"})
    assert record.facts == extract(record.payload)[1]


@pytest.mark.parametrize("later", [{"a": [1, 3]}, {"a": 1, "b": 2}, {"a": {3}}, {"a": b"12"}, {"a": object()}])
def test_a_game_that_has_changed_is_not_what_was_recorded(later: dict[str, object]) -> None:
    strategy: GameArchivalStrategy[dict[str, object]] = GameArchivalStrategy()
    for game in ({"a": [1, 2]}, {"a": {"x", "y", "z"}}, {"a": (1, 2)}, {"a": datetime(2025, 1, 1, tzinfo=UTC)}):
        record = strategy.record({"id": "g"} | game)
        for at_first_sight in (False, True):
            assert strategy.is_still({"id": "g"} | game, record, at_first_sight=at_first_sight)
            assert not strategy.is_still({"id": "g"} | later, record, at_first_sight=at_first_sight)


def test_a_game_of_other_types_is_not_what_was_recorded() -> None:
    strategy: GameArchivalStrategy[dict[str, object]] = GameArchivalStrategy()
    record = strategy.record({"id": "g", "a": [1, 2]})
    assert not strategy.is_still({"id": "g", "a": (1, 2)}, record)
    assert not strategy.is_still({"id": "g", "a": {1, 2}}, record)


@pytest.mark.parametrize(
    ("facts", "finished"),
    [
        (Facts(), False),
        (Facts(status="playing", created_at=5), False),
        (Facts(status="Game Over"), True),
        (Facts(status="out-of-time"), True),
        (Facts(completed_at=0), True),
        (Facts(winner=Player("a")), True),
    ],
)
def test_when_a_game_is_over(facts: Facts, finished: bool) -> None:
    assert GameArchivalStrategy().is_finished(facts) is finished


def test_rooms() -> None:
    @dataclass
    class Seat:
        id: str
        roomId: UUID  # noqa: N815

    games: GameArchivalStrategy[Any] = GameArchivalStrategy()
    rooms = [
        games.room_of(game) for game in ({"room_id": "r"}, {"room": 5}, {"room_id": None, "roomId": "s"}, {"room": {}}, {})
    ]
    assert rooms == ["r", "5", "s", None, None]
    assert GameArchivalStrategy(Seat).room_of(Seat("g", UUID(int=1))) == str(UUID(int=1))


@dataclass
class GameOfToday:
    id: str
    players: list[str]
    began: datetime


def split_names(document: dict[str, Any]) -> dict[str, Any]:
    return {**document, "players": document["players"].split(",")}


def name_the_beginning(document: dict[str, Any]) -> dict[str, Any]:
    document["began"] = document.pop("start")
    return document


UPCASTERS = {1: split_names, 2: name_the_beginning}


def test_old_games_are_brought_up_when_read() -> None:
    began = datetime(2025, 1, 2, tzinfo=UTC)
    today = GameOfToday("g", ["Ann", "Bo"], began)
    strategy = GameArchivalStrategy(GameOfToday, upcasters=UPCASTERS)
    first, second = (
        GameArchivalStrategy(upcasters=upcasters).record({"id": "g", "players": players, "start": began})
        for upcasters, players in (({}, "Ann,Bo"), ({1: split_names}, ["Ann", "Bo"]))
    )
    assert (first.content_type, second.content_type) == (JSON, "application/json; schema=2")
    third = strategy.record(today)
    assert third.content_type == "application/json; schema=3"
    for record in (first, second, third):
        assert strategy.revive(record.payload, record.content_type) == today
    text = b'{"id":"g","players":"Ann,Bo","start":"2025-01-02T00:00:00Z"}'
    assert strategy.revive(text, "application/json; charset=utf-8") == today
    with pytest.raises(SchemaError, match="schema version 3, newer than the 1 known") as caught:
        GameArchivalStrategy().revive(third.payload, third.content_type)
    assert "upcasters" in caught.value.hint


@pytest.mark.parametrize("upcasters", [{2: split_names}, {1: split_names, 3: split_names}, {0: split_names, 1: split_names}])
def test_a_missing_step_is_refused(upcasters: dict[int, Any]) -> None:
    with pytest.raises(ConfigurationError, match="a step is missing"):
        GameArchivalStrategy(upcasters=upcasters)


def test_what_is_no_such_game() -> None:
    models = make_model("Model", {"id": str, "players": list[str]})
    for strategy in (GameArchivalStrategy(GameOfToday), GameArchivalStrategy(models)):
        for payload in (b'{"id":"g"}', b'{"id":"g","players":7}', b"[]", b'{"id":{"$set":[1]}}'):
            with pytest.raises(SchemaError, match="is no ") as caught:
                strategy.revive(payload, JSON)
            assert "upcasters" in caught.value.hint
    with pytest.raises(SchemaError, match="is no dict"):
        GameArchivalStrategy().revive(b"[1]", JSON)
    with pytest.raises(SchemaError, match="is no dict"):
        GameArchivalStrategy(upcasters={1: split_names}).revive(b"[1]", JSON)
    with pytest.raises(SchemaError, match=r"archived as application/vnd\.chess-pgn"):
        GameArchivalStrategy().revive(b"[Event]", PGN)
    for made in (GameArchivalStrategy(), GameArchivalStrategy(GameOfToday)):
        with pytest.raises(IntegrityError, match="no JSON"):
            made.revive(b"{", JSON)


class PgnGame:
    def __init__(self, moves: str) -> None:
        self.key = 7
        self.moves = moves


class PgnStrategy(ArchivalStrategy[PgnGame]):
    """As one of a user's own."""

    entity_type = "chess"
    content_type = PGN
    schema_version = 2

    def id_of(self, entity: PgnGame) -> object:
        return entity.key

    def encode(self, entity: PgnGame) -> bytes:
        return entity.moves.encode()

    def decode(self, payload: bytes, schema_version: int) -> PgnGame:
        return PgnGame(f"{payload.decode()} ({schema_version})")


def test_a_strategy_of_ones_own() -> None:
    strategy = PgnStrategy()
    record = strategy.record(PgnGame("1. e4"))
    assert (record.entity_type, record.entity_id, record.payload, record.facts) == ("chess", "7", b"1. e4", Facts())
    assert record.content_type == f"{PGN}; schema=2"
    assert strategy.revive(record.payload, record.content_type).moves == "1. e4 (2)"
    assert strategy.revive(record.payload, PGN).moves == "1. e4 (1)"


def test_the_facts_are_what_describe_says() -> None:
    class Described(PgnStrategy):
        def describe(self, entity: PgnGame) -> Facts:
            return Facts(status=entity.moves)

    assert Described().record(PgnGame("draw")).facts == Facts(status="draw")
