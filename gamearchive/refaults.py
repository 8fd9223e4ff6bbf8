"""What is learnt from evicting games: how often they are seen, which have left, and how many of them come straight back.

A game that comes straight back was the wrong one to evict: a *refault*. This is what `gamearchive.active` judges by, and it
takes the same few bytes a game however many have come and gone.
"""

from __future__ import annotations

import math
from array import array


class History:
    """How often games were seen of late, and which have left: in tables of fixed size, by the hashes of their ids.

    Frequencies are a Count-Min sketch of four rows with counters up to 15, which are halved after ten times as many events as
    it is made for games; the rows take turns in this, so that no event pays for them all. A game that left is remembered by 31
    bits of its hash until another takes its place: most of them for as many departures as there are games, few for ten times as
    many.
    """

    _HALVED = bytes(count // 2 for count in range(256))

    def __init__(self) -> None:
        self.games = 64  # how many it is made for
        self._mask = 4 * self.games - 1
        self._rows = [bytearray(4 * self.games) for _ in range(4)]
        self._left = array("I", [0]) * (4 * self.games)
        self._seen = 0
        self._turn = 0

    def see(self, hashed: int) -> None:
        """A game was seen."""
        mask, shifted = self._mask, hashed
        for row in self._rows:
            place = shifted & mask
            if row[place] < 15:
                row[place] += 1
            shifted >>= 13
        self._seen += 1
        if self._seen * 4 >= self.games * 10:
            self._seen = 0
            self._rows[self._turn] = self._rows[self._turn].translate(self._HALVED)
            self._turn = (self._turn + 1) % 4

    def frequency(self, hashed: int) -> int:
        """How often a game was seen, about; never less than it was since the counters were halved."""
        mask = self._mask
        first, second, third, fourth = self._rows
        return min(first[hashed & mask], second[hashed >> 13 & mask], third[hashed >> 26 & mask], fourth[hashed >> 39 & mask])

    def leave(self, hashed: int) -> None:
        """A game left."""
        self._left[hashed & self._mask] = _mark(hashed)

    def has_left(self, hashed: int) -> bool:
        """Whether a game left a short while ago."""
        return self._left[hashed & self._mask] == _mark(hashed)

    def double(self) -> None:
        """Make room for twice as many games. All that is known stays true: a place in a table is the last bits of a hash."""
        self.games *= 2
        self._mask = 4 * self.games - 1
        self._rows = [row * 2 for row in self._rows]
        self._left *= 2


def _mark(hashed: int) -> int:
    """What a game is remembered by: the first bits of its hash, and never 0."""
    return hashed >> 32 & 0xFFFFFFFF | 1


class WindowShare:
    """The window's share of the games, which climbs the hill: on as long as that does good, else back.

    A sample is taken whenever as many games have come straight back as there are in play, but no fewer than 100. It does good
    if games come back less often than before, measured by how often they are active at all. See Einziger, Eytan, Friedman and
    Manes, "Adaptive Software Cache Management", Middleware 2018.
    """

    def __init__(self) -> None:
        self.share = 0.1
        self.hits = 0
        self._refaults = 0
        self._rate = 1.0
        self._step = 1 / 16

    def add_refault(self, games: int) -> None:
        """A game came straight back, with so many in play."""
        self._refaults += 1
        if self._refaults < max(games, 100):
            return
        rate = self._refaults / (self._refaults + self.hits)
        better = rate <= self._rate
        changed = abs(rate - self._rate) > self._rate / 10  # then other games are played than before: in full steps again
        step = math.copysign(1 / 16 if changed else abs(self._step) * 0.98, self._step if better else -self._step)
        self._step = step
        self.share = min(max(self.share + step, 0.01), 0.8)
        self._rate, self.hits, self._refaults = rate, 0, 0


class Returns:
    """How many games were evicted and came straight back: ever, and of late, in counts that fade."""

    _LATELY = 60.0  # seconds after which an event counts for 1/e
    _FEW = 10  # so few coming back are no cause for alarm

    def __init__(self) -> None:
        self.evictions = 0
        self.refaults = 0
        self._recent_evictions = 0.0
        self._recent_refaults = 0.0
        self._as_of = 0.0
        self._alarm = False

    def add_eviction(self, now: float) -> None:
        """A game was evicted."""
        self._fade(now)
        self.evictions += 1
        self._recent_evictions += 1

    def add_refault(self, now: float) -> None:
        """A game came straight back."""
        self._fade(now)
        self.refaults += 1
        self._recent_refaults += 1

    def alarm(self, now: float) -> bool:
        """Whether too many come straight back: from more than half of the evicted on, until it is less than a quarter."""
        self._fade(now)
        many = max(self._recent_evictions / 2, self._FEW)
        self._alarm = self._recent_refaults > (many / 2 if self._alarm else many)
        return self._alarm

    def _fade(self, now: float) -> None:
        left = math.exp((self._as_of - now) / self._LATELY)
        self._recent_evictions *= left
        self._recent_refaults *= left
        self._as_of = now
