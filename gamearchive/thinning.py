"""Which games in play must go to the archive, though nobody sent them: the idle ones, and those that there is no room for."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass

from gamearchive.active import ActiveGames, Excess
from gamearchive.errors import ConfigurationError
from gamearchive.memory import Pressure, read_memory
from gamearchive.model import ArchivalTrigger
from gamearchive.policy import ArchivalPolicy

PRESSURE_SECONDS = 1.0
"""So often the machine's memory is looked at."""

PRESSURE_SHARE = 0.05
"""Such a share of the games is let go of each time, while memory is short."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may be in play.

    Args:
        games: above so many, games are evicted.
        bytes: above such a weight; None for any.
        hard: so many there may be at all, handed over or not.

    Raises:
        ConfigurationError: if they are absurd.
    """

    games: int
    bytes: int | None
    hard: int

    def __post_init__(self) -> None:
        if self.games < 1 or (self.bytes is not None and self.bytes < 1):
            raise ConfigurationError("A repository must have room for at least one game, and for its bytes.")
        if self.hard < self.games:
            raise ConfigurationError(f"The hard limit of {self.hard} games is below the {self.games} that may be in play.")


class Thinning:
    """Chooses the games that go.

    Args:
        active: the games in play.
        limits: how much may be.
        busy: the games that must stay.
    """

    def __init__(self, active: ActiveGames, limits: Limits, busy: Container[str]) -> None:
        self._active = active
        self._limits = limits
        self._busy = busy
        self._pressure = Pressure(100)
        self._next_look = self._next_check = 0.0

    @property
    def is_full(self) -> bool:
        """Whether no new game may come into play."""
        return len(self._active) >= self._limits.hard

    @property
    def is_short_of_memory(self) -> bool:
        """Whether games go because the machine's memory is short."""
        return self._pressure.active

    def choose(self, policy: ArchivalPolicy, now: float) -> Iterator[tuple[Sequence[str], ArchivalTrigger]]:
        """The games that must go, some at a time, and why."""
        if ArchivalTrigger.TIME_BASED in policy.triggers and policy.archive_after is not None and now >= self._next_check:
            self._next_check = now + policy.check_interval.total_seconds()
            while keys := self._active.idle(now - policy.archive_after.total_seconds(), now, self._busy):
                yield keys, ArchivalTrigger.TIME_BASED
        if ArchivalTrigger.MEMORY_PRESSURE not in policy.triggers:
            return
        only_finished = self._active.thrashing(now) and not self.is_full
        games = min(self._limits.games, policy.max_entities_in_memory or self._limits.games)
        while any(excess := self._active.over(games, self._limits.bytes)):
            keys = self._active.victims(excess, now, self._busy, finished_only=only_finished)
            if not keys:
                break
            yield keys, ArchivalTrigger.MEMORY_PRESSURE
        if now >= self._next_look:
            self._next_look = now + PRESSURE_SECONDS
            if self._pressure.threshold_percent != policy.memory_threshold_percent:
                self._pressure = Pressure(policy.memory_threshold_percent)
            if self._pressure.update(read_memory()):
                wanted = 1 + int(len(self._active) * PRESSURE_SHARE)
                while keys := self._active.victims(Excess(wanted, 0), now, self._busy, finished_only=only_finished):
                    wanted -= len(keys)
                    yield keys, ArchivalTrigger.MEMORY_PRESSURE
