"""What a daemon remembers of its own events, for those who look at it: rates, times, and the last errors.

`Status` is what it says of itself to everybody, through its row in the database.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from gamearchive.clock import Clock
from gamearchive.events import Batch, Event, Failed, LeaseLost, Trouble, Unreachable

RATE_SECONDS = 10
"""Rates are means over so many seconds."""
_BATCHES = 500
_ERRORS = 20


class SlotStatus(msgspec.Struct, frozen=True):
    """What a slot is doing, with how many games, and for how many seconds it has."""

    doing: str
    games: int
    seconds: float


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What a daemon says of itself. Rates are means over `RATE_SECONDS`; times of batches are those of the last ones."""

    state: str
    slots: Sequence[SlotStatus] = ()
    games: int = 0
    failures: int = 0
    dead_letters: int = 0
    raw_bytes: int = 0
    stored_bytes: int = 0
    games_per_second: float = 0.0
    raw_bytes_per_second: float = 0.0
    stored_bytes_per_second: float = 0.0
    batch_p50_seconds: float | None = None
    batch_p95_seconds: float | None = None
    storage: str = "closed"
    database: str = "closed"
    trouble: str | None = None

    @property
    def success_rate(self) -> float:
        """The share of all attempts that archived their game."""
        tries = self.games + self.failures
        return self.games / tries if tries else 1.0


class Noted(NamedTuple):
    """An error, and when it happened, in microseconds since the epoch."""

    at: int
    text: str


class Tally:
    """A listener of a daemon's events; several threads may tell it.

    Args:
        clock: the time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._began = clock.monotonic()
        self._recent: deque[tuple[float, int, int, int]] = deque()
        self._seconds: deque[float] = deque(maxlen=_BATCHES)
        self.errors: deque[Noted] = deque(maxlen=_ERRORS)

    def listen(self, event: Event) -> None:
        """Take in an event."""
        with self._lock:
            match event:
                case Batch():
                    self._counts.update(games=event.games, raw_bytes=event.raw_bytes, stored_bytes=event.stored_bytes)
                    self._recent.append((self._clock.monotonic(), event.games, event.raw_bytes, event.stored_bytes))
                    self._seconds.append(event.seconds)
                case Failed():
                    self._counts.update(failures=1, dead_letters=event.final)
                    self._note(f"{event.entity_type} {event.entity_id}: {event.message}")
                case LeaseLost() | Unreachable() | Trouble():
                    self._note(event.message)

    def _note(self, text: str) -> None:
        self.errors.append(Noted(self._clock.now(), text))

    def games(self) -> int:
        """How many games have been archived."""
        return self._counts["games"]

    def failures(self) -> int:
        """How many attempts have failed."""
        return self._counts["failures"]

    def status(self, state: str, slots: Sequence[SlotStatus], *, storage: str, database: str, trouble: str | None) -> Status:
        """All of it, with what the daemon adds."""
        with self._lock:
            now = self._clock.monotonic()
            while self._recent and self._recent[0][0] < now - RATE_SECONDS:
                self._recent.popleft()
            seconds = min(max(now - self._began, 1.0), RATE_SECONDS)
            rates = [sum(numbers) / seconds for numbers in zip(*self._recent, strict=True)][1:] or [0.0] * 3
            times = sorted(self._seconds)
        return Status(
            state=state,
            slots=slots,
            games=self._counts["games"],
            failures=self._counts["failures"],
            dead_letters=self._counts["dead_letters"],
            raw_bytes=self._counts["raw_bytes"],
            stored_bytes=self._counts["stored_bytes"],
            games_per_second=rates[0],
            raw_bytes_per_second=rates[1],
            stored_bytes_per_second=rates[2],
            batch_p50_seconds=times[len(times) // 2] if times else None,
            batch_p95_seconds=times[len(times) * 95 // 100] if times else None,
            storage=storage,
            database=database,
            trouble=trouble,
        )


def status_of(text: str) -> Status | None:
    """What a worker said of itself; None where it has not yet, or is of another version and says it otherwise."""
    try:
        return msgspec.json.decode(text, type=Status)
    except msgspec.MsgspecError:
        return None
