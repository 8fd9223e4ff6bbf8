"""Policies: when a game in play goes to the archive, when it is compressed there, and when it expires. One for each type.

A policy decides and does nothing. It is asked with the facts at hand, knows no clock and no store, and always answers alike.

An unset option is ``None``, and nothing else is: ``timedelta(0)`` is *at once*. A policy never changes. One that differs in
anything has another `ArchivalPolicy.version`, and each archived game keeps the `ArchivalPolicy.label` of the one that sent it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from enum import Enum
from functools import cached_property, lru_cache
from hashlib import blake2b
from typing import Any, TypeAlias

from gamearchive.errors import ConfigurationError, UsageError
from gamearchive.expression import parse
from gamearchive.model import ArchivalPriority, ArchivalTrigger, GameRecord, check_type
from gamearchive.units import parse_duration

Condition: TypeAlias = str | Callable[[GameRecord], bool]
"""Which games: an expression of `gamearchive.expression`, or a function."""

PRIORITIES: Mapping[ArchivalTrigger, ArchivalPriority] = {
    ArchivalTrigger.GAME_COMPLETED: ArchivalPriority.NORMAL,
    ArchivalTrigger.TIME_BASED: ArchivalPriority.LOW,
    ArchivalTrigger.MEMORY_PRESSURE: ArchivalPriority.HIGH,
    ArchivalTrigger.MANUAL: ArchivalPriority.HIGH,
    ArchivalTrigger.SHUTDOWN: ArchivalPriority.CRITICAL,
}
"""How urgent a game is, by what sends it, where its policy does not say."""

MAX_BATCH = 100_000
MAX_CONCURRENT = 100
MAX_ENTITIES = 1_000_000_000

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MICROSECOND = timedelta(microseconds=1)
_HINT = "`help(gamearchive.ArchivalPolicy)`, and the README on [policies], say what a policy takes."


@dataclass(frozen=True, kw_only=True)
class ArchivalPolicy:
    """What becomes of the games of one type.

    Args:
        name: what the policy is called: 1 to 64 letters, digits, ``.``, ``_`` and ``-``.
        entity_type: the type of game that it is for.
        triggers: what sends games to the archive. `ArchivalTrigger.MANUAL` always does, named or not.
        archive_after: so long after anything last happened in it, `ArchivalTrigger.TIME_BASED` sends a game.
        compress_after: so long after it was archived, a game may be packed densely: smaller, at the cost of time.
        retention_period: so long after it was archived, a game expires. None keeps it for ever.
        batch_size: at most so many games are archived together, 1 to 100,000.
        max_concurrent_archives: at most so many batches are on their way at a time, 1 to 100.
        check_interval: how often idle games and the memory are looked at; above zero.
        memory_threshold_percent: of the memory that the process may use; above it, `ArchivalTrigger.MEMORY_PRESSURE` sends
            games. 1 to 100.
        max_entities_in_memory: so many games of this type may be in play; of more, some go to the archive. None for any number.
        archive_timeout: an attempt to archive a batch fails after so long; above zero.
        condition: triggers other than MANUAL send only games that fulfil it: an expression (``status != 'practice'``), or a
            function of the game's record. What such a function raises, `takes` raises.
        priority: how urgent its games are, whatever sends them; None for `PRIORITIES`.

    Raises:
        ConfigurationError: if a value is of the wrong type, out of its range, or contradicts another.
    """

    name: str
    entity_type: str
    triggers: AbstractSet[ArchivalTrigger] = frozenset(
        {
            ArchivalTrigger.GAME_COMPLETED,
            ArchivalTrigger.MEMORY_PRESSURE,
            ArchivalTrigger.MANUAL,
        }
    )
    archive_after: timedelta | None = None
    compress_after: timedelta | None = None
    retention_period: timedelta | None = None
    batch_size: int = 1000
    max_concurrent_archives: int = 5
    check_interval: timedelta = timedelta(seconds=5)
    memory_threshold_percent: float = 80.0
    max_entities_in_memory: int | None = None
    archive_timeout: timedelta = timedelta(seconds=30)
    condition: Condition | None = None
    priority: ArchivalPriority | None = None

    def __post_init__(self) -> None:
        if problem := _problem(self):
            raise ConfigurationError(f"The policy {self.name!r} cannot be: {problem}.", hint=_HINT)
        object.__setattr__(self, "triggers", frozenset(self.triggers))
        object.__setattr__(self, "memory_threshold_percent", float(self.memory_threshold_percent))
        _ = self._fulfilled  # a condition that makes no sense is refused now, and read once

    @cached_property
    def version(self) -> str:
        """A digest of all that is set, 8 hexadecimal digits: the same wherever and whenever the policy is the same.

        A condition that is a function counts by its module and name.
        """
        said = {field.name: _plain(getattr(self, field.name)) for field in fields(self)}
        text = json.dumps({name: value for name, value in said.items() if value is not None}, sort_keys=True)
        return blake2b(text.encode(), digest_size=4).hexdigest()

    @cached_property
    def label(self) -> str:
        """What archived games keep of it: ``name@version``."""
        return f"{self.name}@{self.version}"

    def sends(self, trigger: ArchivalTrigger) -> bool:
        """Whether a trigger sends games of this type to the archive; which of them, `takes` says."""
        return trigger in self.triggers or trigger is ArchivalTrigger.MANUAL

    def takes(self, record: GameRecord, trigger: ArchivalTrigger, now: int) -> bool:
        """Whether a trigger sends this game to the archive.

        Args:
            record: the game as it would be archived.
            trigger: why it would be. One that is sent by hand need not fulfil the condition.
            now: microseconds since the epoch.
        """
        return self.sends(trigger) and (trigger is ArchivalTrigger.MANUAL or self._fulfilled(record, now))

    def priority_of(self, trigger: ArchivalTrigger) -> ArchivalPriority:
        """How urgent a game is that a trigger sends."""
        return PRIORITIES[trigger] if self.priority is None else self.priority

    def due_for_compression(self, archived_at: int, now: int) -> bool:
        """Whether a game that was archived then may be packed densely now; both in microseconds since the epoch."""
        return _passed(self.compress_after, archived_at, now)

    def expired(self, archived_at: int, now: int) -> bool:
        """Whether a game that was archived then has been kept long enough; both in microseconds since the epoch."""
        return _passed(self.retention_period, archived_at, now)

    @cached_property
    def _fulfilled(self) -> Callable[[GameRecord, int], bool]:
        """Whether a game fulfils the condition, now in microseconds since the epoch."""
        condition = self.condition
        if condition is None:
            return lambda _record, _now: True
        if not isinstance(condition, str):
            return lambda record, _now: bool(condition(record))
        try:
            return parse(condition).matches
        except UsageError as error:
            wrong = ConfigurationError(f"The policy {self.name!r} cannot be. {error.message}", hint=error.hint)
            for note in getattr(error, "__notes__", ()):
                wrong.add_note(note)
            raise wrong from None


def _problem(policy: ArchivalPolicy) -> str | None:
    """Why a policy cannot be; None if it can."""
    for option, (right, expected) in _RIGHT.items():
        value = getattr(policy, option)
        if not right(value):
            return f"{option} is {value!r}, and not {expected}"
    if ArchivalTrigger.TIME_BASED in policy.triggers and policy.archive_after is None:
        return "TIME_BASED is one of its triggers, and archive_after does not say after how long"
    compressed, kept = policy.compress_after, policy.retention_period
    if compressed is not None and kept is not None and kept < compressed:
        return f"its games expire after {kept}, before they are compressed after {compressed}"
    return None


def _is_type(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(check_type(value))
    except UsageError:
        return False


def _is_period(value: object) -> bool:
    return value is None or (isinstance(value, timedelta) and value >= timedelta(0))


def _is_time(value: object) -> bool:
    return isinstance(value, timedelta) and value > timedelta(0)


def _is_number(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


_TEXT = "1 to 64 letters, digits, dots, underscores and hyphens, the first a letter or a digit"
_TYPE = "a type: 1 to 64 lower-case letters, digits, underscores and hyphens, the first a letter or a digit"
_PERIOD, _TIME = "a timedelta that is not negative, or None", "a timedelta above zero"
_RIGHT: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "name": (lambda value: isinstance(value, str) and _NAME.fullmatch(value) is not None, _TEXT),
    "entity_type": (_is_type, _TYPE),
    "triggers": (
        lambda value: isinstance(value, AbstractSet) and all(isinstance(each, ArchivalTrigger) for each in value),
        "a set of ArchivalTrigger",
    ),
    "archive_after": (_is_period, _PERIOD),
    "compress_after": (_is_period, _PERIOD),
    "retention_period": (_is_period, _PERIOD),
    "batch_size": (lambda value: _is_number(value, MAX_BATCH), f"a whole number from 1 to {MAX_BATCH:,}"),
    "max_concurrent_archives": (
        lambda value: _is_number(value, MAX_CONCURRENT),
        f"a whole number from 1 to {MAX_CONCURRENT}",
    ),
    "check_interval": (_is_time, _TIME),
    "memory_threshold_percent": (
        lambda value: _is_number(value, 100) or (isinstance(value, float) and 1 <= value <= 100),
        "a number from 1 to 100",
    ),
    "max_entities_in_memory": (
        lambda value: value is None or _is_number(value, MAX_ENTITIES),
        f"a whole number from 1 to {MAX_ENTITIES:,}, or None",
    ),
    "archive_timeout": (_is_time, _TIME),
    "condition": (
        lambda value: value is None or isinstance(value, str) or callable(value),
        "an expression, a function or None",
    ),
    "priority": (lambda value: value is None or isinstance(value, ArchivalPriority), "an ArchivalPriority or None"),
}
"""What each option must be, and how that is said."""


def _passed(period: timedelta | None, since: int, now: int) -> bool:
    return period is not None and now - since >= period // _MICROSECOND


def _plain(value: object) -> object:
    """An option's value as JSON has it, the same in every process."""
    match value:
        case timedelta():
            return value // _MICROSECOND
        case frozenset():
            return sorted(map(_plain, value), key=str)
        case Enum():
            return value.value
        case None | str() | int() | float():
            return value
    return f"{value.__module__}:{getattr(value, '__qualname__', type(value).__qualname__)}"


DEFAULT_GAME_POLICY = ArchivalPolicy(
    name="default-game",
    entity_type="game",
    triggers=frozenset(ArchivalTrigger) - {ArchivalTrigger.SHUTDOWN},
    archive_after=timedelta(hours=1),
)
"""Games go when they are over, idle for an hour or in the way, and by hand; they are kept for ever. Those that are in play when
their server ends are not archived, and wait in its journal for the next start."""

DEFAULT_ROOM_POLICY = replace(DEFAULT_GAME_POLICY, name="default-room", entity_type="room", archive_after=timedelta(days=1))
"""The same for rooms, which may be idle for a day."""

_DEFAULTS = {policy.entity_type: policy for policy in (DEFAULT_GAME_POLICY, DEFAULT_ROOM_POLICY)}


@lru_cache(maxsize=256)
def default_policy(entity_type: str) -> ArchivalPolicy:
    """The policy of a type that nobody made one for: `DEFAULT_ROOM_POLICY` for rooms, `DEFAULT_GAME_POLICY`'s for all others.

    Raises:
        UsageError: if there can be no such type.
    """
    found = _DEFAULTS.get(check_type(entity_type))
    return found or replace(DEFAULT_GAME_POLICY, name=f"default-{entity_type}"[:64], entity_type=entity_type)


class Policies(MutableMapping[str, ArchivalPolicy]):
    """The policies in force, by type. A type that has none of its own has `default_policy`.

    Iterating gives the types that have one of their own.

    Raises:
        ConfigurationError: if what is set is no policy, or one for another type.
    """

    def __init__(self, policies: Mapping[str, ArchivalPolicy] | None = None) -> None:
        self._own: dict[str, ArchivalPolicy] = {}
        self.update(policies or {})

    def __getitem__(self, entity_type: str) -> ArchivalPolicy:
        return self._own.get(entity_type) or default_policy(entity_type)

    def __setitem__(self, entity_type: str, policy: ArchivalPolicy) -> None:
        if not isinstance(policy, ArchivalPolicy):
            raise ConfigurationError(
                f"{policy!r} is not a policy for {entity_type!r}.",
                hint="Make one with ArchivalPolicy(name=..., entity_type=...).",
            )
        if policy.entity_type != entity_type:
            raise ConfigurationError(
                f"The policy {policy.name!r} is for games of type {policy.entity_type!r}, not {entity_type!r}.",
                hint=f"Set it as policies[{policy.entity_type!r}], or make it with entity_type={entity_type!r}.",
            )
        self._own[entity_type] = policy

    def __delitem__(self, entity_type: str) -> None:
        del self._own[entity_type]

    def __contains__(self, entity_type: object) -> bool:
        return entity_type in self._own

    def __iter__(self) -> Iterator[str]:
        return iter(self._own)

    def __len__(self) -> int:
        return len(self._own)

    def __repr__(self) -> str:
        return f"Policies({self._own!r})"


def policies_from(settings: Mapping[str, Mapping[str, object]]) -> Policies:
    """The policies that settings describe, each the type's default policy but for what is said.

    Args:
        settings: the tables of ``[policies.<type>]`` as `gamearchive.settings` checked them: durations, triggers and priority
            are texts. A policy without a name is called after its type.

    Raises:
        ConfigurationError: if one cannot be.
    """
    policies = Policies()
    for entity_type, table in settings.items():
        said: dict[str, Any] = {"name": entity_type}
        said |= {key: _READ[key](value) if key in _READ else value for key, value in table.items()}
        policies[entity_type] = replace(default_policy(entity_type), **said)
    return policies


def _duration(text: str) -> timedelta:
    return timedelta(seconds=parse_duration(text))


_READ: Mapping[str, Callable[[Any], object]] = {
    "triggers": lambda names: frozenset(map(ArchivalTrigger, names)),
    "archive_after": _duration,
    "compress_after": _duration,
    "retention_period": _duration,
    "check_interval": _duration,
    "archive_timeout": _duration,
    "priority": lambda name: ArchivalPriority[name.upper()],
}
"""How a setting becomes an option of a policy, where it is not that already."""
