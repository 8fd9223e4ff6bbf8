"""The tree that a condition is read into: what its names stand for in a game, what matches, and its text."""

from __future__ import annotations

import json
import operator
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property, lru_cache
from typing import Any, Literal, Protocol, TypeAlias

import msgspec

from gamearchive.errors import UsageError
from gamearchive.facts import parse_time
from gamearchive.model import Facts, Player, Tags
from gamearchive.units import format_instant, parse_instant, parse_moment

KEY = re.compile(r"[\w-]+")
"""A key of a game's JSON that a path has without quotes."""
TAG = re.compile(r"[\w.-]+")
"""A tag's key that needs no quotes."""


class Kind(Enum):
    """What a name stands for: it decides how a value compared with it is read."""

    TEXT = "a text"
    SIZE = "a size"
    INSTANT = "a time"
    ANY = "a value of the game's own"


class Subject(Protocol):
    """What conditions may be tried on: a `GameRecord`, or whatever knows as much of a game."""

    @property
    def entity_type(self) -> str: ...
    @property
    def entity_id(self) -> str: ...
    @property
    def content_type(self) -> str: ...
    @property
    def facts(self) -> Facts: ...
    @property
    def tags(self) -> Tags: ...
    @property
    def raw_bytes(self) -> int: ...
    @property
    def payload(self) -> bytes: ...


class Game:
    """A game while conditions are tried on it. Its payload is decoded when a path first asks for it."""

    def __init__(self, record: Subject, now: int) -> None:
        self.record = record
        self.now = now

    @cached_property
    def document(self) -> object:
        """What the payload says as JSON; None if it is none."""
        try:
            return msgspec.json.decode(self.record.payload)
        except (msgspec.MsgspecError, RecursionError):
            pass
        try:  # what goes beyond the standard, as games do: NaN, half a surrogate pair
            return json.loads(self.record.payload)
        except (ValueError, RecursionError):
            return None


def _people(*players: Player | None) -> list[str | None]:
    return [text for player in players if player is not None for text in (player.id, player.name)]


FIELDS: dict[str, tuple[Kind, Callable[[Subject], Sequence[str | int | None]]]] = {
    "entity_type": (Kind.TEXT, lambda record: [record.entity_type]),
    "entity_id": (Kind.TEXT, lambda record: [record.entity_id]),
    "status": (Kind.TEXT, lambda record: [record.facts.status]),
    "players": (Kind.TEXT, lambda record: _people(*record.facts.players)),
    "winner": (Kind.TEXT, lambda record: _people(record.facts.winner)),
    "created_at": (Kind.INSTANT, lambda record: [record.facts.created_at]),
    "completed_at": (Kind.INSTANT, lambda record: [record.facts.completed_at]),
    "content_type": (Kind.TEXT, lambda record: [record.content_type]),
    "raw_bytes": (Kind.SIZE, lambda record: [record.raw_bytes]),
}
"""The fields that may be asked about, by their names in listings: what each holds, and how a game tells it."""


@dataclass(frozen=True)
class Moment:
    """A time in a condition, as `parse_moment` reads it: an instant, or a duration back from when the condition is tried."""

    text: str

    @classmethod
    def read(cls, text: str) -> Moment:
        """The moment that a text means, in a form that needs no quotes.

        Raises:
            UsageError: if it means none.
        """
        parse_moment(text, 0)
        try:
            return cls(format_instant(parse_instant(text)))
        except UsageError:
            return cls(text)

    def __str__(self) -> str:
        return self.text


Value: TypeAlias = str | int | float | bool | Moment
Sign: TypeAlias = Literal["=", "<", "<=", ">", ">="]
Operator: TypeAlias = Sign | Literal["IN", "BETWEEN", "LIKE", "IS NOT NULL"]

SIGNS: tuple[Sign, ...] = ("=", "<", "<=", ">", ">=")
_SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ORDERS: dict[str, tuple[tuple[int, ...], ...]] = {
    "=": ((0,),),
    "<": ((-1,),),
    "<=": ((-1, 0),),
    ">": ((1,),),
    ">=": ((0, 1),),
    "BETWEEN": ((0, 1), (-1, 0)),
    "IS NOT NULL": (),
}
"""How what is found may compare with each of the values; IN and LIKE are settled otherwise."""


class Name(ABC):
    """What a comparison is about."""

    @property
    @abstractmethod
    def kind(self) -> Kind:
        """What it stands for."""

    @abstractmethod
    def values(self, game: Game) -> Iterable[object]:
        """All that it stands for in a game, unknown ones (None) among them."""


@dataclass(frozen=True)
class Field(Name):
    """One of `FIELDS`."""

    name: str

    @property
    def kind(self) -> Kind:
        return FIELDS[self.name][0]

    def values(self, game: Game) -> Iterable[object]:
        return FIELDS[self.name][1](game.record)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Tag(Name):
    """The value of the tag of this key."""

    key: str

    @property
    def kind(self) -> Kind:
        return Kind.TEXT

    def values(self, game: Game) -> Iterable[object]:
        return [value for key, value in game.record.tags if key == self.key]

    def __str__(self) -> str:
        return f"tags.{self.key if TAG.fullmatch(self.key) else _written(self.key)}"


@dataclass(frozen=True)
class Path(Name):
    """A path into the game's JSON. A step is a key, an index, or None for all that there is."""

    steps: tuple[str | int | None, ...]

    @property
    def kind(self) -> Kind:
        return Kind.ANY

    def values(self, game: Game) -> Iterable[object]:
        found = [game.document]
        for step in self.steps:
            found = [inner for value in found for inner in _inside(value, step)]
        return found

    def __str__(self) -> str:
        return "$" + "".join(map(_written_step, self.steps))


class Expression(ABC):
    """A condition. Its text is one that `parse` reads into an equal tree."""

    def matches(self, record: Subject, now: int) -> bool:
        """Whether a game fulfils it.

        Args:
            record: the game. Its payload is decoded only where the answer hangs on a path; what is no JSON has nothing at any.
            now: what durations are counted back from, in microseconds since the epoch.
        """
        return self.holds(Game(record, now))

    @abstractmethod
    def holds(self, game: Game) -> bool:
        """Whether a game that several conditions are tried on fulfils it."""

    @abstractmethod
    def names(self) -> Iterator[Name]:
        """All that it asks about."""


@dataclass(frozen=True)
class Comparison(Expression):
    """What one of a name's values must be. ``IN`` has some values to compare with, ``BETWEEN`` two, ``IS NOT NULL`` none."""

    name: Name
    operator: Operator
    values: tuple[Value, ...] = ()

    def holds(self, game: Game) -> bool:
        admits = self._tests.get(game.now)
        if admits is None:
            self._tests.clear()
            admits = self._tests[game.now] = self._test(game.now)
        for found in self.name.values(game):  # noqa: SIM110 - a generator takes as long as all the rest
            if found is not None and admits(found):
                return True
        return False

    @cached_property
    def _tests(self) -> dict[int, Callable[[object], bool]]:
        """What tells whether a value fits, by the moment that it is tried at: a million games are tried at one."""
        return {}

    def _test(self, now: int) -> Callable[[object], bool]:
        if self.name.kind is not Kind.ANY and self.operator in _SIGNS:
            value = self.values[0]
            fixed = parse_moment(value.text, now) if isinstance(value, Moment) else value
            compare = _SIGNS[self.operator]
            return lambda found: compare(found, fixed)
        return lambda found: self._admits(found, now)

    def names(self) -> Iterator[Name]:
        yield self.name

    def _admits(self, found: object, now: int) -> bool:
        if self.operator == "LIKE":
            return isinstance(found, str) and _like(str(self.values[0])).fullmatch(found) is not None
        orders = [self._order(found, value, now) for value in self.values]
        if self.operator == "IN":
            return 0 in orders
        return all(order in wanted for order, wanted in zip(orders, _ORDERS[self.operator], strict=True))

    def _order(self, found: object, value: Value, now: int) -> int | None:
        """Whether what was found is below (-1), equal to (0) or above (1) a value; None if they cannot be compared."""
        if isinstance(value, Moment):
            value = parse_moment(value.text, now)
            found = parse_time(found) if self.name.kind is Kind.ANY else found
        return _order(found, value)

    def __str__(self) -> str:
        texts = [_written(value) for value in self.values]
        together = f"({', '.join(texts)})" if self.operator == "IN" else " AND ".join(texts)
        return f"{self.name} {self.operator}" + (together and f" {together}")


@dataclass(frozen=True)
class Not(Expression):
    """What holds exactly where its part does not."""

    part: Expression

    def holds(self, game: Game) -> bool:
        return not self.part.holds(game)

    def names(self) -> Iterator[Name]:
        return self.part.names()

    def __str__(self) -> str:
        return f"NOT {_enclosed(self.part)}"


@dataclass(frozen=True)
class And(Expression):
    """What holds where all of its parts do, of which there are at least two."""

    parts: tuple[Expression, ...]

    def holds(self, game: Game) -> bool:
        return all(part.holds(game) for part in self.parts)

    def names(self) -> Iterator[Name]:
        return (name for part in self.parts for name in part.names())

    def __str__(self) -> str:
        return " AND ".join(map(_enclosed, self.parts))


@dataclass(frozen=True)
class Or(Expression):
    """What holds where one of its parts does, of which there are at least two."""

    parts: tuple[Expression, ...]

    def holds(self, game: Game) -> bool:
        return any(part.holds(game) for part in self.parts)

    def names(self) -> Iterator[Name]:
        return (name for part in self.parts for name in part.names())

    def __str__(self) -> str:
        return " OR ".join(map(_enclosed, self.parts))


def _order(found: object, value: str | float) -> int | None:
    """How a value found compares with one given: texts with texts, numbers with numbers, truths with truths."""
    if isinstance(found, bool) is not isinstance(value, bool):
        return None
    if isinstance(found, str) and isinstance(value, str):
        return (found > value) - (found < value)
    if isinstance(found, int | float) and isinstance(value, int | float) and found == found:  # noqa: PLR0124 - no NaN
        return (found > value) - (found < value)
    return None


@lru_cache(maxsize=256)
def _like(pattern: str) -> re.Pattern[str]:
    """What LIKE takes. The parts between the ``%`` are sought from left to right, each once, so that no pattern takes long."""
    parts: list[str] = [""]
    for piece in re.findall(r"\\[%_\\]|.", pattern, re.DOTALL):
        if piece == "%":
            parts.append("")
        else:
            parts[-1] += "." if piece == "_" else re.escape(piece[-1])
    if len(parts) == 1:
        return re.compile(parts[0], re.DOTALL)
    first, *middle, last = parts
    return re.compile(f"{first}{''.join(f'(?>.*?{part})' for part in middle)}.*{last}", re.DOTALL)


def _inside(value: object, step: str | int | None) -> Iterable[object]:
    """What one step of a path leads to."""
    if isinstance(value, dict):
        return value.values() if step is None else [value[step]] if step in value else ()
    if isinstance(value, list):
        if step is None:
            return value
        return [value[step]] if isinstance(step, int) and -len(value) <= step < len(value) else ()
    return ()


def _written_step(step: str | int | None) -> str:
    if isinstance(step, str):
        return f".{step}" if KEY.fullmatch(step) else f"[{_written(step)}]"
    return "[*]" if step is None else f"[{step}]"


def _written(value: Value) -> str:
    if isinstance(value, str):
        return '"' + value.replace('"', '""') + '"'
    return str(value).upper() if isinstance(value, bool) else str(value)


def _enclosed(part: Expression) -> str:
    return f"({part})" if isinstance(part, And | Or) else str(part)
