"""When a periodic duty is due: ``daily 03:00``, in UTC, or ``every 6h``, either with a ``budget 60s`` for one run.

It is not asked whether it is a certain hour just now, but whether one has passed since the last run: so a duty whose hour
a daemon was not there for is done when it is back, once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gamearchive.errors import UsageError
from gamearchive.units import SECOND, parse_duration

_DAY = 86_400 * SECOND
_DAILY = re.compile(r"daily ([01][0-9]|2[0-3]):([0-5][0-9])", re.ASCII)
_EVERY = re.compile(r"every (\S+)")


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule.

    Args:
        period: microseconds from one run to the next.
        offset: for one at a certain time, microseconds from midnight; None where runs follow upon each other.
        budget_seconds: how long a run may take; None for as long as it takes.
    """

    period: int
    offset: int | None = None
    budget_seconds: float | None = None

    def __str__(self) -> str:
        if self.offset is None:
            when = f"every {self.period / SECOND:g}s"
        else:
            when = "daily {:02}:{:02}".format(*divmod(self.offset // (60 * SECOND), 60))
        return when if self.budget_seconds is None else f"{when} budget {self.budget_seconds:g}s"

    def due(self, last: int | None, now: int) -> bool:
        """Whether it is time for a run.

        Args:
            last: when the last run began, in microseconds since the epoch; None if there was none.
            now: the present instant. If that is before the last run, a clock was wrong, and the run is due.
        """
        if last is None or last > now:
            return True
        if self.offset is None:
            return now - last >= self.period
        return last < now - (now - self.offset) % self.period


def parse_schedule(text: str) -> Schedule:
    """Read a schedule.

    Raises:
        UsageError: if it is none.
    """
    when, _, budget = text.partition(" budget ")
    daily, every = _DAILY.fullmatch(when), _EVERY.fullmatch(when)
    try:
        allowed = parse_duration(budget) if budget or text != when else None
        if daily:
            return Schedule(_DAY, (int(daily[1]) * 60 + int(daily[2])) * 60 * SECOND, allowed)
        period = round(parse_duration(every[1]) * SECOND) if every else 0
    except (UsageError, OverflowError):
        period = 0
    if period < SECOND or (allowed is not None and allowed <= 0):
        raise UsageError(
            f"{text!r} is not a schedule.",
            hint="Write `daily 03:00` (UTC) or `every 6h`, and `budget 60s` behind it if you like.",
        )
    return Schedule(period, None, allowed)
