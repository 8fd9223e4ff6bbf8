"""How well the parts of a storage answer, and which of them is asked first.

Two moving averages for each part: how long an answer takes, and the share of calls that failed. What fails is left alone for
a while (`Breaker`), and is asked last until the average says that it is well again, so that one that comes and goes is not
come back to each time. Of those that are well the nearest is asked first, and another one only where it is clearly nearer: two
that are about as near do not take turns. So that it is known how the others are, one whose figures are old is asked as well now
and then, aside, and nobody waits for its answer.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Protocol, TypeVar

from gamearchive.breaker import Breaker, Circuit
from gamearchive.clock import Clock

WEIGHT = 0.25
"""That of the latest call in an average."""
WELL = 0.3
"""A part of whose latest calls a larger share failed is not well: one failure after long success is no sign of that."""
CLEARLY = 0.7
"""A part is clearly nearer than another if it takes less than this share of its time."""
FIRST_PAUSE_SECONDS = 5.0
"""So long a part is left alone after a first failure."""
MEASURE_SECONDS = 30.0
"""Figures older than this are taken anew."""


class Health:
    """That of one part; shared by threads.

    Args:
        clock: the time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self.breaker = Breaker(clock, first=FIRST_PAUSE_SECONDS)
        self.seconds: float | None = None
        """How long an answer takes, on average; None as long as there was none."""
        self.failing = 0.0
        """The share of calls that failed, on average."""
        self._measured = float("-inf")

    @property
    def is_well(self) -> bool:
        """Whether there is nothing against asking it."""
        return self.breaker.circuit is Circuit.CLOSED and self.failing < WELL

    @property
    def is_stale(self) -> bool:
        """Whether its figures are old, or there are none, and nobody is about to take them anew."""
        return self._clock.monotonic() - self._measured >= MEASURE_SECONDS

    def begin_measuring(self) -> None:
        """Somebody is about to."""
        self._measured = self._clock.monotonic()

    def succeed(self, seconds: float | None = None) -> None:
        """It answered; after so many seconds, if that says how near it is."""
        with self._lock:
            if seconds is not None:
                self.seconds = seconds if self.seconds is None else self.seconds + WEIGHT * (seconds - self.seconds)
                self._measured = self._clock.monotonic()
            self.failing -= WEIGHT * self.failing
        self.breaker.succeed()

    def fail(self, reason: str) -> None:
        """It did not."""
        with self._lock:
            self.failing += WEIGHT * (1 - self.failing)
            self._measured = self._clock.monotonic()
        self.breaker.fail(reason)


class HasHealth(Protocol):
    """What can be chosen from."""

    @property
    def health(self) -> Health:
        """How well it is."""
        ...


P = TypeVar("P", bound=HasHealth)


class Preference:
    """Which of several replicas is asked first: it remembers its choice.

    Args:
        parts: the replicas, in the order that they are taken in as long as nothing is known.
    """

    def __init__(self, parts: Sequence[HasHealth]) -> None:
        self._favourite = parts[0]

    def order(self, parts: Sequence[P]) -> list[P]:
        """The replicas in the order in which to ask them; the later ones, in case that the earlier ones cannot answer."""

        def rank(part: P) -> tuple[int, float, bool]:
            health = part.health
            unwell = 0 if health.is_well else 2 if health.breaker.circuit is Circuit.OPEN else 1
            seconds = float("inf") if health.seconds is None else health.seconds
            return unwell, seconds * (CLEARLY if part is self._favourite else 1.0), part is not self._favourite

        ordered = sorted(parts, key=rank)
        self._favourite = ordered[0]
        return ordered


def to_measure(parts: Sequence[P]) -> P | None:
    """The one that is to be asked aside, if any is."""
    return next((part for part in parts if part.health.is_stale and part.health.breaker.circuit is not Circuit.OPEN), None)
