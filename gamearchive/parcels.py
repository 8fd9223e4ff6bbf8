"""Parcels, records on their way into the archive, and the order in which they go.

A level of priority is worth `AGEING_SECONDS` of waiting, so that even under endless urgent work nothing waits for ever.
"""

from __future__ import annotations

import asyncio
from functools import lru_cache
from heapq import heappop, heappush
from typing import TypeAlias

from gamearchive.errors import GameArchiveError
from gamearchive.model import ArchivalPriority, ArchivalTrigger, EntityKey, GameRecord, Sender

AGEING_SECONDS = 10.0
"""So much waiting is worth one level of priority."""


_Place: TypeAlias = "tuple[float, int, Parcel]"
"""A place in a queue: its parcel's rank, a number to tell equal ranks apart, and the parcel; void unless it is that one's."""


@lru_cache(maxsize=64)
def live_sender(trigger: ArchivalTrigger, priority: ArchivalPriority, policy: str | None) -> Sender:
    """Who sends games out of play: one and the same for all that go alike."""
    return Sender(trigger, priority, policy, live=True)


class Parcel:
    """A record on its way into the archive.

    ``since`` is when it was first given, in seconds. ``attempts`` counts those that failed, ``error`` is why the last one did.
    """

    __slots__ = ("_done", "attempts", "error", "key", "place", "record", "sender", "since")

    def __init__(self, record: GameRecord, sender: Sender, since: float) -> None:
        self.key = EntityKey(record.entity_type, record.entity_id)
        self.record = record
        self.sender = sender
        self.since = since
        self.attempts = 0
        self.error: Exception | None = None
        self.place: _Place | None = None  # in a queue, if it waits in one
        self._done: asyncio.Future[None] | None = None

    @property
    def rank(self) -> float:
        """The lower, the sooner."""
        return self.since - self.sender.priority * AGEING_SECONDS

    @property
    def is_critical(self) -> bool:
        """Whether it must not wait for anything that is not."""
        return self.sender.priority is ArchivalPriority.CRITICAL

    @property
    def done(self) -> asyncio.Future[None]:
        """For those who wait for what becomes of it."""
        if self._done is None:
            self._done = asyncio.get_running_loop().create_future()
        return self._done

    def take_place_of(self, other: Parcel) -> None:
        """Those who wait for another one wait for this from now on."""
        if self._done is None:
            self._done, other._done = other._done, None

    def answer(self, error: Exception | None = None) -> None:
        """Tell those who wait that it is archived, or why it is not."""
        if self._done is None or self._done.done():
            return
        if error is None:
            self._done.set_result(None)
        else:
            self._done.set_exception(error if isinstance(error, GameArchiveError) else GameArchiveError(str(error)))

    def withdraw(self) -> None:
        """Tell those who wait that nothing will become of it."""
        if self._done is not None:
            self._done.cancel()


class ParcelQueue:
    """Parcels that wait, each game's once, in the order in which they go."""

    def __init__(self) -> None:
        self._parcels: dict[EntityKey, Parcel] = {}
        self._critical: list[_Place] = []  # apart, for those who want no others
        self._others: list[_Place] = []
        self._serial = 0

    def __len__(self) -> int:
        return len(self._parcels)

    @property
    def parcels(self) -> list[Parcel]:
        """All of them, in no order."""
        return [*self._parcels.values()]

    def get(self, key: EntityKey) -> Parcel | None:
        """A game's parcel; None if there is none."""
        return self._parcels.get(key)

    def put(self, parcel: Parcel) -> None:
        """Have a parcel wait for its turn; one that waits already is placed anew if its rank has changed."""
        rank = parcel.rank
        if parcel.place is not None and parcel.place[0] == rank:
            return
        self._serial += 1
        parcel.place = (rank, self._serial, parcel)
        self._parcels[parcel.key] = parcel
        heappush(self._critical if parcel.is_critical else self._others, parcel.place)

    def first(self, *, only_critical: bool = False) -> Parcel | None:
        """The parcel whose turn it is; None if none waits."""
        critical, others = self._critical, self._others
        for places in (critical, others):
            while places and places[0][2].place is not places[0]:  # it was placed anew, or taken away
                heappop(places)
        if others and not only_critical and (not critical or others[0] < critical[0]):
            return others[0][2]
        return critical[0][2] if critical else None

    def pop(self, count: int, *, only_critical: bool = False) -> list[Parcel]:
        """Take the parcels whose turn it is, so many at most."""
        taken: list[Parcel] = []
        while len(taken) < count and (parcel := self.first(only_critical=only_critical)) is not None:
            self.take(parcel.key)
            taken.append(parcel)
        return taken

    def take(self, key: EntityKey) -> Parcel | None:
        """Take a game's parcel away, whosever turn it is; None if there is none."""
        parcel = self._parcels.pop(key, None)
        if parcel is not None:
            parcel.place = None
        return parcel
