"""Retention: which archived games are kept and which expire, by rules; pure, from what the catalog knows of games.

The first rule that matches a game decides about it; one that none matches is kept. A rule keeps its games for ever, or for as
long as one of these does: a time since they were archived or completed, that they are among the last so many (of a player, in a
room, or of all that the rule decides about), that chance has chosen them for a sample. What is unknown never makes a game
expire: one without the time that is counted from is kept.
"""

from __future__ import annotations

import re
from array import array
from bisect import insort
from collections import deque
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from functools import cached_property
from hashlib import blake2b

from gamearchive.candidates import Candidate, Shared
from gamearchive.errors import ConfigurationError, UsageError
from gamearchive.expression import Expression, Field, Path, Tag, parse
from gamearchive.expression.tree import Subject
from gamearchive.model import check_type
from gamearchive.policy import ArchivalPolicy
from gamearchive.units import format_duration, format_instant, parse_duration

MAX_LAST = 1_000_000
KEPT = -1
"""Stands for no rule, where a rule's position says which one lets games go."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_MICROSECOND = timedelta(microseconds=1)
_SHARED = ("entity_type", "content_type", "status")
_HINT = "The README on [[retention]] says what a rule takes."
_NUMBER = (1 << 48) - 1


class Since(Enum):
    """What a rule's time is counted from."""

    ARCHIVED = "archived"
    COMPLETED = "completed"


class Per(Enum):
    """Among which games the last so many are kept; a room is what the tag ``room`` says."""

    ALL = "all"
    PLAYER = "player"
    ROOM = "room"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule.

    Args:
        name: what it is called.
        entity_type: the type of game that it is about; None for all.
        where: a condition on its games, not on what their own JSON says; None for all.
        forever: whether it keeps them for ever.
        keep_for: it keeps them so long. Zero is at once.
        since: from when on.
        keep_last: it keeps the last so many.
        per: among which games.
        keep_sample: it keeps this share of them, above 0 and below 1, always the same ones.

    Raises:
        ConfigurationError: if it makes no sense.
    """

    name: str
    entity_type: str | None = None
    where: str | None = None
    forever: bool = False
    keep_for: timedelta | None = None
    since: Since = Since.ARCHIVED
    keep_last: int | None = None
    per: Per = Per.ALL
    keep_sample: float | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigurationError(f"{self.name!r} cannot be the name of a retention rule.", hint=_HINT)
        problem = self._problem()
        if problem:
            raise ConfigurationError(f"The retention rule {self.name!r} cannot be: {problem}.", hint=_HINT)
        _ = self.condition

    def _problem(self) -> str | None:
        bounded = [self.keep_for, self.keep_last, self.keep_sample]
        if self.forever and bounded != [None, None, None]:
            return "it keeps games for ever, and only for some time as well"
        if not self.forever and bounded == [None, None, None]:
            return 'it does not say what it keeps: keep = "forever", keep_for, keep_last or keep_sample'
        if self.keep_for is not None and self.keep_for < timedelta(0):
            return "keep_for is negative"
        if self.keep_last is not None and not 1 <= self.keep_last <= MAX_LAST:
            return f"keep_last is {self.keep_last:,}, and not 1 to {MAX_LAST:,}"
        if self.keep_sample is not None and not 0 < self.keep_sample < 1:
            return "keep_sample is not above 0% and below 100%"
        if self.per is not Per.ALL and self.keep_last is None:
            return f"it says per {self.per.value}, and not keep_last"
        if self.since is not Since.ARCHIVED and self.keep_for is None and self.keep_last is None:
            return f"it says from {self.since.value}, and neither keep_for nor keep_last"
        try:
            if self.entity_type is not None:
                check_type(self.entity_type)
        except UsageError as error:
            return error.message.rstrip(".")
        return None

    @cached_property
    def condition(self) -> Expression | None:
        """The condition, read."""
        if self.where is None:
            return None
        try:
            found = parse(self.where)
        except UsageError as error:
            raise ConfigurationError(f"The retention rule {self.name!r} cannot be. {error.message}", hint=error.hint) from None
        asked = next((name for name in found.names() if isinstance(name, Path)), None)
        if asked is not None:
            raise ConfigurationError(
                f"The retention rule {self.name!r} asks for {asked}, which is in the games themselves: for that, every game of "
                "the archive would have to be read.",
                hint="Ask for what the catalog knows: the fields of a game, and its tags.",
            )
        return found

    @cached_property
    def _asks_shared(self) -> bool:
        """Whether all that it asks for is common to games that were archived together."""
        names = () if self.condition is None else tuple(self.condition.names())
        return all(isinstance(name, Tag) or (isinstance(name, Field) and name.name in _SHARED) for name in names)

    @property
    def asks_players(self) -> bool:
        """Whether it asks who played, or who won."""
        names = () if self.condition is None else self.condition.names()
        return any(isinstance(name, Field) and name.name in ("players", "winner") for name in names)

    @property
    def takes_all(self) -> bool:
        """Whether it decides about every game of its type."""
        return self.condition is None

    def matches_shared(self, shared: Shared, now: int) -> bool | None:
        """Whether it matches all games that have this in common (True), or none of them; None where some may and some not."""
        if self.entity_type not in (None, shared.entity_type):
            return False
        if self.condition is None:
            return True
        return self.condition.matches(shared, now) if self._asks_shared else None

    def matches(self, game: Subject, now: int) -> bool:
        """Whether it decides about a game, if none before it does."""
        return self.entity_type in (None, game.entity_type) and (self.condition is None or self.condition.matches(game, now))

    @property
    def is_by_age(self) -> bool:
        """Whether nothing but the time since they were archived decides about its games."""
        return not self.forever and self.since is Since.ARCHIVED and self.keep_last is None and self.keep_sample is None

    def instant(self, game: Candidate) -> int | None:
        """When a game's time began; None if that is unknown."""
        return game.archived_at if self.since is Since.ARCHIVED else game.completed_at

    def over(self, instant: int, now: int) -> bool:
        """Whether the time of a game that began then is over."""
        return self.keep_for is None or now - instant >= self.keep_for // _MICROSECOND

    def end(self, instant: int | None) -> int | None:
        """When a game whose time began then expires; None if never, or if that is for more than its time to say."""
        if self.keep_for is None or instant is None or self.keep_last is not None or self.keep_sample is not None:
            return None
        return instant + self.keep_for // _MICROSECOND

    def samples(self, game: Subject) -> bool:
        """Whether chance has chosen a game."""
        if self.keep_sample is None:
            return False
        key = f"{game.entity_type}/{game.entity_id}".encode()
        return int.from_bytes(blake2b(key, digest_size=6).digest(), "big") < self.keep_sample * (1 << 48)

    def groups(self, game: Candidate) -> Iterable[Hashable]:
        """Among whose games a game is counted."""
        match self.per:
            case Per.PLAYER:
                return game.players or (None,)
            case Per.ROOM:
                return (next((value for key, value in game.tags if key == "room"), None),)
        return (None,)

    def __str__(self) -> str:
        if self.forever:
            return "kept for ever"
        kept = []
        if self.keep_for is not None:
            kept.append(f"for {format_duration(self.keep_for.total_seconds())} after it was {self.since.value}")
        if self.keep_last is not None:
            among = {Per.ALL: "of all", Per.PLAYER: "of each player", Per.ROOM: "of each room"}[self.per]
            kept.append(f"as one of the last {self.keep_last:,} {among}")
        if self.keep_sample is not None:
            kept.append(f"as one of a sample of {self.keep_sample:.6g}")
        return f"kept {', or '.join(kept)}"

    def reason(self, game: Candidate) -> str:
        """Why it lets a game go, as a sentence without its end."""
        instant = self.instant(game)
        when = "" if instant is None else f"{self.since.value} {format_instant(instant)}, and "
        return f"{when}{self}"


class Trial:
    """Rules tried on all games of an archive, each shown once, in any order.

    Memory is bounded by what expires, and by what ``keep_last`` keeps.

    Args:
        rules: in their order.
        now: microseconds since the epoch.
    """

    def __init__(self, rules: Sequence[Rule], now: int) -> None:
        self._rules = rules
        self._now = now
        self._due = [array("q") for _ in rules]
        self._last: list[dict[Hashable, deque[int]]] = [{} for _ in rules]

    @cached_property
    def asks_players(self) -> bool:
        """Whether a rule asks who played, or who won."""
        return any(rule.per is Per.PLAYER or rule.asks_players for rule in self._rules)

    def open(self, shared: Shared) -> Sequence[tuple[int, bool]]:
        """Which rules may decide about games that have this in common: their positions, and whether one decides about all
        that come so far. None decides about them where there is none.
        """
        found: list[tuple[int, bool]] = []
        for position, rule in enumerate(self._rules):
            matches = rule.matches_shared(shared, self._now)
            if matches is not False:
                found.append((position, matches is True))
                if matches:
                    break
        return found

    def settle(self, shared: Shared, opened: Sequence[tuple[int, bool]]) -> int | None:
        """What becomes of all games that have this in common: `KEPT`, or the position of the rule that lets all of them go;
        None if each has to be looked at.
        """
        rules = [self._rules[position] for position, _ in opened]
        if all(rule.forever or (rule.is_by_age and not rule.over(shared.archived_at, self._now)) for rule in rules):
            return KEPT
        position, sure = opened[0]
        return position if sure and rules[0].is_by_age else None

    def completed_until(self, opened: Sequence[tuple[int, bool]]) -> int | None:
        """Of the games that these rules may decide about, only those completed by then can expire; None if that is not
        so."""
        rules = [rule for rule in (self._rules[position] for position, _ in opened) if not rule.forever]
        if any(rule.since is Since.ARCHIVED or rule.keep_last is not None or rule.keep_for is None for rule in rules):
            return None
        return max((self._now - rule.keep_for // _MICROSECOND for rule in rules if rule.keep_for is not None), default=None)

    def let_go(self, position: int, number: int) -> None:
        """Note that a rule lets a game go."""
        self._due[position].append(number)

    def look(self, opened: Sequence[tuple[int, bool]], game: Candidate) -> None:
        """Look at one game."""
        for position, sure in opened:
            rule = self._rules[position]
            if sure or rule.matches(game, self._now):
                break
        else:
            return
        instant = None if rule.forever else rule.instant(game)
        if instant is None:
            return
        if rule.keep_last is not None:
            self._enter(position, rule.keep_last, rule.groups(game), instant, game.number)
        if rule.over(instant, self._now) and not rule.samples(game):
            self._due[position].append(game.number)

    def _enter(self, position: int, most: int, groups: Iterable[Hashable], instant: int, number: int) -> None:
        """Keep a game among the last of its groups, if it is one: in each a queue in their order."""
        key = (instant << 48) | number  # of two at one instant the one that was accepted later
        queues = self._last[position]
        for group in groups:
            queue = queues.get(group)
            if queue is None:
                queues[group] = deque((key,), maxlen=most)
            elif key > queue[-1]:
                queue.append(key)
            elif len(queue) < most:
                insort(queue, key)
            elif key > queue[0]:
                queue.popleft()
                insort(queue, key)

    def expired(self) -> Iterator[tuple[int, Rule]]:
        """The numbers of the games that expire, each with the rule that lets it go."""
        for rule, due, queues in zip(self._rules, self._due, self._last, strict=True):
            kept = {key & _NUMBER for queue in queues.values() for key in queue}
            yield from ((number, rule) for number in due if number not in kept)


def expire(rules: Sequence[Rule], games: Iterable[Candidate], now: int) -> dict[int, Rule]:
    """Which of all the games of an archive expire: their numbers, each with the rule that lets it go."""
    trial = Trial(rules, now)
    for game in games:
        shared = Shared(game.entity_type, game.content_type, game.facts.status, game.tags, game.archived_at)
        opened = trial.open(shared)
        settled = trial.settle(shared, opened)
        if settled is None:
            trial.look(opened, game)
        elif settled != KEPT:
            trial.let_go(settled, game.number)
    return dict(trial.expired())


def rules_from(tables: Sequence[Mapping[str, object]], policies: Mapping[str, ArchivalPolicy]) -> tuple[Rule, ...]:
    """The rules that settings describe.

    Args:
        tables: those of ``[[retention]]``, as `gamearchive.settings` checked them.
        policies: by type; each one's ``retention_period``, where it has one, is a rule behind the others.

    Raises:
        ConfigurationError: if one cannot be, or can never decide.
    """
    rules = [_rule(table) for table in tables]
    rules += [
        Rule(name=f"policies.{entity_type}", entity_type=entity_type, keep_for=policy.retention_period)
        for entity_type, policy in policies.items()
        if policy.retention_period is not None
    ]
    for position, rule in enumerate(rules):
        for before in rules[:position]:
            if before.name == rule.name:
                raise ConfigurationError(f"Two retention rules are called {rule.name!r}.", hint="Give each a name of its own.")
            if before.takes_all and before.entity_type in (None, rule.entity_type):
                raise ConfigurationError(
                    f"The retention rule {rule.name!r} can never decide: {before.name!r} before it takes all its games.",
                    hint="Put it before that one, or take it away.",
                )
    return tuple(rules)


def version(rules: Sequence[Rule]) -> str:
    """A digest of rules: the same wherever and whenever they are the same."""
    return blake2b("\n".join(map(repr, rules)).encode(), digest_size=8).hexdigest()


def _rule(table: Mapping[str, object]) -> Rule:
    said = dict(table)
    keep_for = said.pop("keep_for", None)
    try:
        period = None if keep_for is None else timedelta(seconds=parse_duration(str(keep_for)))
    except OverflowError:
        period = timedelta.max
    options: dict[str, object] = {"keep_for": period, "forever": said.pop("keep", None) is not None}
    if "from" in said:
        options["since"] = Since(said.pop("from"))
    if "per" in said:
        options["per"] = Per(said.pop("per"))
    return Rule(**options, **said)  # type: ignore[arg-type]
