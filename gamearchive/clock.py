"""Time, behind one interface: the system's clock, and one that tests turn by hand.

An instant is an ``int``: microseconds since 1970-01-01T00:00:00Z. Nothing in the package asks the system for the time
except through a `Clock`.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> int:
        """The present instant in microseconds since the epoch, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back; only differences mean anything."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        return time.perf_counter()


class ManualClock:
    """A clock that stands still until it is turned.

    Args:
        start: the first instant, microseconds since the epoch.
    """

    def __init__(self, start: int = 1_750_000_000_000_000) -> None:
        self._now = start

    def now(self) -> int:
        return self._now

    def monotonic(self) -> float:
        return self._now / 1_000_000

    def turn(self, seconds: float) -> None:
        """Move the clock by some seconds, back if negative."""
        self._now += round(seconds * 1_000_000)
