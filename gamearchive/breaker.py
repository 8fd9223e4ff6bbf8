"""A circuit breaker: what cannot be reached is left alone for a while, and then asked for little.

    closed ---failure---> open ---the pause is over---> half-open ---success---> closed
                           ^                                |
                           '-------failure, longer pause----'

Closed, everything goes through. Open, nothing does. Half-open, one caller at a time gets through, with a probe; what becomes of
it decides. Each failure in a row doubles the pause, up to the longest. Several threads may share one.
"""

from __future__ import annotations

import threading
from enum import Enum

from gamearchive.clock import Clock

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0


class Circuit(Enum):
    """Whether anything goes through."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Breaker:
    """A circuit breaker.

    Args:
        clock: the time.
        first: seconds of the first pause.
        longest: seconds of the longest.
    """

    def __init__(self, clock: Clock, *, first: float = FIRST_PAUSE_SECONDS, longest: float = LONGEST_PAUSE_SECONDS) -> None:
        self._clock, self._first, self._longest = clock, first, longest
        self._lock = threading.Lock()
        self._pause = 0.0
        self._until = 0.0
        self._probing = False
        self.failures = 0
        """How many in a row have opened it, or kept it open."""
        self.reason: str | None = None
        """Why it is not closed."""

    @property
    def circuit(self) -> Circuit:
        """The state it is in now."""
        if not self._pause:
            return Circuit.CLOSED
        return Circuit.OPEN if self.seconds_left() else Circuit.HALF_OPEN

    def seconds_left(self) -> float:
        """How long it stays open; 0 where it is not."""
        return max(self._until - self._clock.monotonic(), 0.0) if self._pause else 0.0

    def admit(self, full: int, probe: int) -> int:
        """How much may go through now: ``full``, a ``probe``, or 0. What became of it must be told: see below."""
        with self._lock:
            match self.circuit:
                case Circuit.CLOSED:
                    return full
                case Circuit.HALF_OPEN if not self._probing:
                    self._probing = True
                    return min(full, probe)
            return 0

    def succeed(self) -> bool:
        """Something went well: it is closed. Whether it was not before."""
        with self._lock:
            was_open, self._pause, self._probing, self.failures, self.reason = bool(self._pause), 0.0, False, 0, None
            return was_open

    def abstain(self) -> None:
        """There was nothing to probe with: the next one may try."""
        with self._lock:
            self._probing = False

    def fail(self, reason: str) -> bool:
        """What is behind it cannot be reached: it is open. Whether that is news: several may fail together."""
        with self._lock:
            if self._pause and not self._probing:
                return False
            self._pause = min(self._pause * 2 or self._first, self._longest)
            self._until = self._clock.monotonic() + self._pause
            self._probing = False
            self.failures += 1
            self.reason = reason
            return True
