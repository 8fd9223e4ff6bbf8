"""Plain values as JSON: every value comes back equal and of the same types, or is refused by its path."""

from __future__ import annotations

import json
import math
import struct
from collections import Counter, OrderedDict, defaultdict, deque
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import PurePosixPath
from typing import NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gamearchive.encoding import decode, encode, simplify
from gamearchive.errors import EncodingError, IntegrityError

ANY_TEXT = st.text(st.characters(), max_size=8) | st.text(st.sampled_from("a\\\ud83d\ude00\0é"), max_size=4)
TAGS = st.sampled_from(["$set", "$dict", "$date", "$tuple", "$unknown", "$"])
ZONES: st.SearchStrategy[tzinfo | None] = (
    st.none()
    | st.sampled_from([UTC, ZoneInfo("UTC"), ZoneInfo("Europe/Berlin"), ZoneInfo("America/St_Johns")])
    | st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(timezone)
)
FOLDED = st.builds(lambda when, fold: when.replace(fold=fold), st.datetimes(timezones=ZONES), st.integers(0, 1))
HASHABLE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(1 << 3000), 1 << 3000)
    | st.floats()
    | st.complex_numbers()
    | ANY_TEXT
    | st.binary(max_size=8)
    | FOLDED
    | st.dates()
    | st.times(timezones=ZONES)
    | st.timedeltas()
    | st.decimals(allow_nan=False)
    | st.uuids(),
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=6,
)
VALUES = st.recursive(
    HASHABLE | st.binary(max_size=4).map(bytearray),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.lists(inner, max_size=3).map(lambda items: deque(items, 5))
        | st.sets(HASHABLE, max_size=3)
        | st.dictionaries(HASHABLE, inner, max_size=4)
        | st.dictionaries(ANY_TEXT | TAGS, inner, max_size=2)
        | st.dictionaries(TAGS, inner, min_size=1, max_size=1)
        | st.dictionaries(HASHABLE, inner, max_size=3).map(OrderedDict)
        | st.dictionaries(HASHABLE, st.integers(), max_size=3).map(Counter)
        | st.dictionaries(HASHABLE, inner, max_size=3).map(lambda items: defaultdict(list, items))
    ),
    max_leaves=20,
)


def exact(value: object) -> object:
    """A value as something that is equal only for the same types and values, the order of dicts and NaN included."""
    kind = type(value)
    if isinstance(value, dict):
        factory = value.default_factory if isinstance(value, defaultdict) else None
        return kind, factory, [(exact(key), exact(each)) for key, each in value.items()]
    if isinstance(value, set | frozenset):
        return kind, sorted([exact(each) for each in value], key=repr)
    if isinstance(value, list | tuple | deque):
        return kind, [exact(each) for each in value], value.maxlen if isinstance(value, deque) else None
    if isinstance(value, complex):
        return kind, exact(value.real), exact(value.imag)
    if isinstance(value, float):
        return kind, "nan" if math.isnan(value) else struct.pack(">d", value)
    if isinstance(value, datetime | time):
        zone = value.tzinfo.key if isinstance(value.tzinfo, ZoneInfo) else None
        return kind, value.replace(tzinfo=None), value.utcoffset(), value.fold, zone
    return kind, str(value) if isinstance(value, Decimal) else value


@given(VALUES)
def test_every_value_comes_back_as_it_was(value: object) -> None:
    data = encode(value)
    json.loads(data.decode())
    assert exact(decode(data)) == exact(value)
    assert encode(decode(data)) == data


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(alphabet="abc"), inner)))  # fmt: skip
def test_what_json_knows_is_written_as_everybody_writes_it(value: object) -> None:
    assert exact(json.loads(encode(value))) == exact(value)


@given(st.recursive(st.none() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=3)
                    | st.dictionaries(TAGS | st.text(max_size=3), inner, max_size=2)))  # fmt: skip
def test_whatever_json_there_is_becomes_some_value_that_can_be_kept(value: object) -> None:
    made = decode(json.dumps(value).encode())
    assert exact(decode(encode(made))) == exact(made)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"id": "g", "n": [1, 1.0, True, None, -0.0]}, b'{"id":"g","n":[1,1.0,true,null,-0.0]}'),
        ({"at": datetime.fromisoformat("2025-01-02")}, b'{"at":{"$date":"2025-01-02T00:00:00"}}'),
        (
            {"at": datetime(2025, 10, 26, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1)},
            b'{"at":{"$date":"2025-10-26T02:30:00+01:00[Europe/Berlin][_fold=1]"}}',
        ),
        (
            time(2, 30, tzinfo=timezone(timedelta(microseconds=-5))),
            b'{"$time":"02:30:00-00:00:00.000005"}',
        ),
        ({1: "a"}, b'{"$dict":[[1,"a"]]}'),
        ({"$set": [1]}, b'{"$dict":[["$set",[1]]]}'),
        ({"_id": {"$oid": "5f"}}, b'{"_id":{"$oid":"5f"}}'),
        ({"b", "a", "c"}, b'{"$set":["a","b","c"]}'),
        ((1, (2,)), b'{"$tuple":[1,{"$tuple":[2]}]}'),
        ("\ud83d\ude00", b'{"$text":"\\\\ud83d\\\\ude00"}'),
        (float("-inf"), b'{"$float":"-inf"}'),
    ],
)
def test_the_form_of_what_is_written(value: object, expected: bytes) -> None:
    assert encode(value) == expected
    assert exact(decode(expected)) == exact(value)


class Phase(Enum):
    PLAY = "play"


class Level(IntEnum):
    ONE = 1


class Word(StrEnum):
    GO = "go"


class Point(NamedTuple):
    x: int


class Rows(list[int]):
    pass


@pytest.mark.parametrize("value", [Phase.PLAY, Level.ONE, Word.GO, Point(1), Rows([1]), object(), PurePosixPath("a"), range(3)])
@pytest.mark.parametrize("other", [[], [{1, 2}]])
def test_what_has_no_place_in_json_is_refused_by_its_path(value: object, other: list[object]) -> None:
    with pytest.raises(EncodingError, match=r"/rounds/1/a~1b is of type (\w|\.)+, ") as caught:
        encode({"other": other, "rounds": [{}, {"a/b": value}]})
    assert type(value).__name__ in caught.value.message
    with pytest.raises(EncodingError, match="/x/7 is of type"):
        encode({"x": {7: value}})
    with pytest.raises(EncodingError, match="encoded: it is of type"):
        encode(value)


def test_a_key_of_an_enum_is_refused() -> None:
    with pytest.raises(EncodingError, match="/scores/go is of type"):
        encode({"scores": {Word.GO: 1}})


def test_a_factory_of_ones_own_is_refused() -> None:
    with pytest.raises(EncodingError, match=r"/scores is a .*defaultdict whose factory"):
        encode({"scores": defaultdict(lambda: 3)})


def test_another_may_say_how_to_unfold_a_value() -> None:
    def unfold(value: object) -> object:
        return value.value if isinstance(value, Enum) else NotImplemented

    assert encode([Phase.PLAY, {Level.ONE}], unfold) == b'["play",{"$set":[1]}]'
    with pytest.raises(EncodingError, match="/0 is of type"):
        encode([object()], unfold)


def nested(depth: int, leaf: object) -> object:
    for _ in range(depth):
        leaf = {"in": [leaf]}
    return leaf


@pytest.mark.parametrize("leaf", [1, (1,)])
def test_what_contains_itself_or_is_too_deep_is_refused(leaf: object) -> None:
    circle: list[object] = [leaf]
    circle.append(circle)
    for value in (circle, nested(100_000, leaf)):
        with pytest.raises(EncodingError, match="nested too deeply, or contains itself"):
            encode(value)
    assert exact(decode(encode(nested(100, leaf)))) == exact(nested(100, leaf))


@pytest.mark.parametrize(
    "document",
    [
        b'{"$date": 123}',
        b'{"$date": "soon"}',
        b'{"$date": "2025-01-01[Europe/Berlin"}',
        b'{"$oid": "5f0000000000000000000000"}',
        b'{"$set": {"a": 1}}',
        b'{"$set": [[1]]}',
        b'{"$tuple": "ab"}',
        b'{"$dict": [["a"]]}',
        b'{"$dict": ["ab"]}',
        b'{"$dict": [[[], 1]]}',
        b'{"$defaultdict": [[], "eval"]}',
        b'{"$deque": [[1], -1]}',
        b'{"$bytes": "?"}',
        b'{"$text": "\xc3\xa9"}',
        b'{"$decimal": "x"}',
        b'{"$timedelta": [1]}',
        b'{"$timedelta": [1e300, 0, 0]}',
        b'{"$complex": [{}, 1]}',
        b'{"$int": 5}',
        b'{"$set": [1], "$tuple": [2]}',
    ],
)
def test_a_tag_that_is_unknown_or_whose_value_does_not_fit_is_no_tag(document: bytes) -> None:
    assert decode(document) == json.loads(document)
    assert decode(encode(decode(document))) == json.loads(document)


def test_documents_of_others_are_read() -> None:
    document = (
        b'{"_id": {"$oid": "5f"}, "at": { "$date" : "2025-01-02T03:04:05.678Z" }, "elo": NaN, "x": 1e999, "t": "\\ud83d"}'
    )
    game = decode(document)
    assert isinstance(game, dict)
    assert math.isnan(game.pop("elo"))
    at = datetime(2025, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
    assert game == {"_id": {"$oid": "5f"}, "at": at, "x": math.inf, "t": "\ud83d"}


def test_a_zone_that_is_unknown_here_leaves_the_instant() -> None:
    assert decode(b'{"$date":"2025-01-02T03:04:05+05:00[Mars/Olympus_Mons]"}') == datetime(2025, 1, 1, 22, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[Event]", b"[" * 100_000, b"1" * 10_000])
def test_bytes_that_are_no_json_are_an_error(data: bytes) -> None:
    with pytest.raises(IntegrityError, match="cannot be decoded"):
        decode(data)


def test_what_json_can_say_of_it() -> None:
    value = {
        "id": UUID(int=5),
        "at": datetime(2025, 1, 2, tzinfo=ZoneInfo("Europe/Berlin")),
        "day": date(2025, 1, 2),
        "seats": {0: ("Ann",), 1: deque(["Bo"])},
        "big": 1 << 3000,
        "rest": [frozenset([1]), defaultdict(int, {2: 3}), Decimal("1.50"), "\ud83d", {"$date": 5}],
        "length": timedelta(1),
    }
    assert simplify(json.loads(encode(value))) == {
        "id": "00000000-0000-0000-0000-000000000005",
        "at": "2025-01-02T00:00:00+01:00",
        "day": "2025-01-02",
        "seats": {"0": ["Ann"], "1": ["Bo"]},
        "big": 1 << 3000,
        "rest": [[1], {"2": 3}, "1.50", "\ud83d", {"$date": 5}],
        "length": {"$timedelta": [1, 0, 0]},
    }
