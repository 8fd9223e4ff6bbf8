"""Games in play, by how much each would be missed: what is known of them beside the games themselves.

The games are in a dict of the repository's, and reading one costs nothing here. What happens to them is told at ticks, in bulk:
that they came, were saved, ended, grew, went. From this `ActiveGames` knows how many there are and how much they weigh, which
of them have been idle for long, and which to let go of first: the finished ones, then those that, going by how often and how
lately they were saved, are the least likely to be saved again.

The order is that of W-TinyLFU (Einziger, Friedman and Manes, "TinyLFU: A Highly Efficient Cache Admission Policy", ACM
Transactions on Storage 13(4), 2017), as Caffeine has it. A game that comes stands in a *window*, in the order of last
activity. What the window has no more room for goes on *probation*, and from there, once it is active again, to the *protected*,
which fall back on probation when they are too many. When games must go, the window's first is held against the first on
probation, and that which was seen less often goes: so a crowd of games that nobody comes back to drives out no other. How large
the window is follows from what comes of it.

It differs in that games go in bulk, down to a low watermark, and not one for each that comes; so the window may outgrow its
share by as much before anything flows out of it unopposed. Shares are of the number of games: what they weigh does not count in
the order.

Time is a ``float``: seconds on a clock that never goes back. Nothing here is safe to use in two threads.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container, Iterable
from typing import NamedTuple, TypeAlias

import msgspec

from gamearchive.refaults import History, Returns, WindowShare

_Segment: TypeAlias = OrderedDict[str, None]

_DROP = 10  # once a limit is passed, a tenth of it goes
_GLANCES = 100  # how many games of a segment a search passes over in vain before it leaves off: 0.1 ms


class Excess(NamedTuple):
    """How many games are too many, and by how many bytes all are too heavy; 0 and 0 if nothing must go."""

    games: int
    bytes: int


class _Slot(msgspec.Struct, gc=False):
    """What is known of a game: its weight in bytes, when it came and was last active, and the segment that it stands in."""

    weight: int
    arrived: float
    active: float
    segment: _Segment
    finished: bool = False


class ActiveGames:
    """The bookkeeping of the games in play, and the order in which they go.

    A game that `victims`, `idle` or `leave` has named is *leaving*: being archived. It counts in ``len`` and `bytes` until
    it is evicted or removed, but no more in what is `over`, and is not named again. Once touched, it stays.

    Args:
        minimum_residency: how long a game that is not finished stays at least, in seconds from when it came.
    """

    def __init__(self, minimum_residency: float = 0.0) -> None:
        self._residency = minimum_residency
        self._slots: OrderedDict[str, _Slot] = OrderedDict()  # the longest idle first; those leaving were put last
        self._window: _Segment = OrderedDict()
        self._probation: _Segment = OrderedDict()
        self._protected: _Segment = OrderedDict()
        self._finished: _Segment = OrderedDict()
        self._leaving: _Segment = OrderedDict()
        self._bytes = 0
        self._leaving_bytes = 0
        self._draining = False
        self._history = History()
        self._share = WindowShare()
        self._returns = Returns()

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, key: str) -> bool:
        return key in self._slots

    @property
    def bytes(self) -> int:
        """The weight of all games."""
        return self._bytes

    @property
    def leaving(self) -> int:
        """How many games are leaving."""
        return len(self._leaving)

    @property
    def evictions(self) -> int:
        """How many games went to the archive unfinished, ever."""
        return self._returns.evictions

    @property
    def refaults(self) -> int:
        """How many of them came straight back, ever."""
        return self._returns.refaults

    # What happens to games

    def add(self, key: str, weight: int, now: float, *, returned: bool = False) -> None:
        """A game came into play.

        Args:
            key: its id.
            weight: how much it weighs, in bytes.
            now: the present.
            returned: whether it comes from the archive.

        Raises:
            ValueError: if it is in play already.
        """
        if key in self._slots:
            raise ValueError(f"The game {key!r} is in play already.")
        hashed = hash(key)
        if returned and self._history.has_left(hashed):
            self._returns.add_refault(now)
            self._share.add_refault(len(self))
        self._history.see(hashed)
        self._slots[key] = _Slot(weight, now, now, self._window)
        self._window[key] = None
        self._bytes += weight
        if len(self) > self._history.games:
            self._history.double()
        self._flow(1)

    def touch(self, keys: Iterable[str], now: float) -> None:
        """Games were active: those of them that were leaving stay. Unknown ones, gone since, are passed over."""
        slots, see = self._slots, self._history.see
        touched = risen = 0
        for key in keys:
            slot = slots.get(key)
            if slot is None:
                continue
            touched += 1
            see(hash(key))
            slot.active = now
            slots.move_to_end(key)
            segment = slot.segment
            if segment is self._probation or segment is self._leaving:
                self._move(key, slot, self._finished if slot.finished else self._protected)
                risen += 1
            else:
                segment.move_to_end(key)
        self._share.hits += touched
        self._flow(risen)

    def set_weight(self, key: str, weight: int) -> None:
        """A game now weighs so many bytes.

        Raises:
            KeyError: if it is not in play.
        """
        slot = self._slots[key]
        grown = weight - slot.weight
        slot.weight = weight
        self._bytes += grown
        if slot.segment is self._leaving:
            self._leaving_bytes += grown

    def set_finished(self, key: str, finished: bool = True) -> None:
        """A game has ended: it goes before any that has not, however young. Or it goes on after all.

        Raises:
            KeyError: if it is not in play.
        """
        slot = self._slots[key]
        if slot.finished != finished:
            slot.finished = finished
            if slot.segment is not self._leaving:
                self._move(key, slot, self._finished if finished else self._window)

    def leave(self, key: str) -> None:
        """A game is being archived for a reason of the caller's: from now on it is leaving.

        Raises:
            KeyError: if it is not in play.
        """
        slot = self._slots[key]
        if slot.segment is not self._leaving:
            self._move(key, slot, self._leaving)
            self._slots.move_to_end(key)  # a search for idle games does not meet it again

    def evicted(self, key: str, now: float) -> None:
        """A game is in the archive and no more in memory. Should it come straight back, that is a refault, if it is unfinished.

        If it is not in play, nothing happens.
        """
        slot = self._slots.get(key)
        if slot is not None:
            if not slot.finished:
                self._history.leave(hash(key))
                self._returns.add_eviction(now)
            self.remove(key)

    def remove(self, key: str) -> None:
        """A game is gone for good; if it is not in play, nothing happens."""
        slot = self._slots.pop(key, None)
        if slot is not None:
            del slot.segment[key]
            self._bytes -= slot.weight
            if slot.segment is self._leaving:
                self._leaving_bytes -= slot.weight

    # What to do about them

    def over(self, max_games: int | None = None, max_bytes: int | None = None) -> Excess:
        """What is too much, those leaving not counted: nothing until a limit is passed, then all above nine tenths of it.

        Args:
            max_games: how many games there may be; any number if None.
            max_bytes: how much they may weigh together; anything if None.
        """
        games, weight = len(self) - len(self._leaving), self._bytes - self._leaving_bytes
        passed = (max_games is not None and games > max_games) or (max_bytes is not None and weight > max_bytes)
        excess = Excess(_above_low(games, max_games), _above_low(weight, max_bytes))
        self._draining = passed or (self._draining and any(excess))
        return excess if self._draining else Excess(0, 0)

    def victims(
        self, excess: Excess, now: float, busy: Container[str] = (), *, limit: int = 100, finished_only: bool = False
    ) -> list[str]:
        """The games to let go of, the least valuable first; from now on they are leaving.

        These are enough to make up for the excess, unless there are none, or none found in the time a call may take: call again
        at the next tick. Being busy is activity: what is passed over for it is not met again soon.

        Args:
            excess: what is too much.
            now: the present.
            busy: the games that must not go now.
            limit: how many at most.
            finished_only: whether unfinished games stay.
        """
        segments = (self._finished, self._window, self._probation, self._protected)
        finished, window, probation, protected = [_Search(each, self._slots, busy, now - self._residency) for each in segments]
        window_room = int(self._share.share * self._unfinished())
        games, weight = excess
        found: list[str] = []
        while (games > 0 or weight > 0) and len(found) < limit:
            key = finished.first()
            if key is None and not finished_only:
                key = self._least_valuable(window, probation, protected, window_room)
            if key is None:
                break
            games -= 1
            weight -= self._slots[key].weight
            self.leave(key)
            found.append(key)
        return found

    def idle(self, since: float, now: float, busy: Container[str] = (), *, limit: int = 100) -> list[str]:
        """The games that were last active before a time, the longest idle first; from now on they are leaving.

        Like `victims`, this may find none in the time a call may take, and being busy is activity.

        Args:
            since: the time.
            now: the present.
            busy: the games that must not go now.
            limit: how many at most.
        """
        found: list[str] = []
        passed: list[str] = []
        for key, slot in self._slots.items():
            if slot.active >= since or len(found) == limit or len(passed) == 10 * _GLANCES:  # a glance here costs a tenth
                break
            (passed if slot.segment is self._leaving or key in busy else found).append(key)
        for key in passed:
            slot = self._slots[key]
            if slot.segment is not self._leaving:
                slot.active = now
            self._slots.move_to_end(key)
        for key in found:
            self.leave(key)
        return found

    def thrashing(self, now: float) -> bool:
        """Whether so many of the games evicted of late came straight back that evicting more of them does harm.

        The alarm is raised when within about a minute more than ten came back, and more than half of those evicted. It ends
        when that has fallen by half; so it does when no game is evicted for a while.
        """
        return self._returns.alarm(now)

    def _least_valuable(self, window: _Search, probation: _Search, protected: _Search, window_room: int) -> str | None:
        """The unfinished game that goes next, if any may go."""
        victim = probation.first()
        if victim is None:
            victim = protected.first()
        if victim is not None and len(self._window) <= window_room:
            return victim
        candidate = window.first()
        if candidate is None:
            return victim
        if victim is None:
            return candidate
        if self._history.frequency(hash(candidate)) <= self._history.frequency(hash(victim)):
            return candidate
        self._move(candidate, self._slots[candidate], self._probation)
        return victim

    def _unfinished(self) -> int:
        return len(self._window) + len(self._probation) + len(self._protected)

    def _flow(self, came: int) -> None:
        """Let flow on what has no room where it stands: of each segment twice as many as came, so that it ends at its size."""
        unfinished = self._unfinished()
        window = int(self._share.share * unfinished)
        slack = unfinished // (_DROP - 2)  # somewhat more than goes at a time when games must go
        for segment, room in ((self._window, window + slack), (self._protected, (unfinished - window) * 4 // 5)):
            for _ in range(min(len(segment) - room, 2 * came)):
                key = next(iter(segment))
                self._move(key, self._slots[key], self._probation)

    def _move(self, key: str, slot: _Slot, segment: _Segment) -> None:
        """Put a game last in another segment."""
        del slot.segment[key]
        if slot.segment is self._leaving:
            self._leaving_bytes -= slot.weight
        elif segment is self._leaving:
            self._leaving_bytes += slot.weight
        slot.segment = segment
        segment[key] = None


def _above_low(amount: int, limit: int | None) -> int:
    return 0 if limit is None else max(0, amount - (limit - limit // _DROP))


class _Search:
    """One call's search of a segment for games that may go; it leaves off when it has passed over too many that may not."""

    def __init__(self, segment: _Segment, slots: OrderedDict[str, _Slot], busy: Container[str], arrived_by: float) -> None:
        self._segment = segment
        self._slots = slots
        self._busy = busy
        self._arrived_by = arrived_by
        self._glances = _GLANCES

    def first(self) -> str | None:
        """The first game of the segment that may go; those before it that may not are put last."""
        for _ in range(min(len(self._segment), self._glances)):
            key = next(iter(self._segment))
            slot = self._slots[key]
            if (slot.finished or slot.arrived <= self._arrived_by) and key not in self._busy:
                return key
            self._segment.move_to_end(key)
            self._glances -= 1
        return None
