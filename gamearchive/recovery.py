"""Games that come back into play from the journal: one's own after a restart, and those of a server that is dead."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, NamedTuple, TypeVar

from gamearchive.clock import Clock
from gamearchive.errors import GameArchiveError
from gamearchive.journal import Snapshot
from gamearchive.keeper import Keeper
from gamearchive.model import EntityKey, Facts
from gamearchive.pace import Pace
from gamearchive.play import Play

_log = logging.getLogger("gamearchive")

T = TypeVar("T")


class _Recovered(NamedTuple, Generic[T]):
    saved_at: int
    key: str
    game: T
    size: int
    facts: Facts
    handed_over: Snapshot | None


class Recovery(Generic[T]):
    """Brings games back.

    Args:
        play: where to.
        clock: the time.

    ``unreadable`` has those that could not be read, each with why: they stay in the journal as they are.
    """

    def __init__(self, play: Play[T], clock: Clock) -> None:
        self.unreadable: dict[str, GameArchiveError] = {}
        self._play = play
        self._clock = clock

    async def bring_back(self, keeper: Keeper[T], keys: Sequence[EntityKey] | None = None) -> int:
        """Bring back what the journal has for this server, all of it or some games, and is not in play; how many that is."""
        found: list[_Recovered[T]] = []
        with _uncollected():
            async for batch in keeper.recover(keys):
                for snapshot, game in batch:
                    record = snapshot.record
                    if isinstance(game, GameArchiveError):
                        self.unreadable[record.entity_id] = game
                        _log.error("the game %r is in the journal, and cannot be read: %s", record.entity_id, game)
                    else:
                        kept = snapshot if snapshot.handover is not None else None  # of the others the bytes are let go of
                        found.append(
                            _Recovered(snapshot.saved_at, record.entity_id, game, len(record.payload), record.facts, kept)
                        )
                await asyncio.sleep(0)
            return await self._admit(found)

    async def _admit(self, found: list[_Recovered[T]]) -> int:
        """Take games into play in the order in which they were saved, so that the longest idle is known for that."""
        now, count, pace = self._clock.now(), 0, Pace(0)
        found.sort(key=lambda each: each.saved_at)
        for each in found:
            await pace.rest(0)
            if each.key not in self._play.games:
                count += 1
                self._play.admit(each.key, each.game, each.size, idle_seconds=max(0.0, (now - each.saved_at) / 1e6))
                self._play.resume(each.key, each.facts, each.handed_over)
        return count


@contextmanager
def _uncollected() -> Iterator[None]:
    """Python's garbage collector rests: it would look through all games again and again as they come, and find nothing.

    Afterwards it takes them for as old as anything there is, and does not look through them once for each of its generations,
    which would hold up the loop for seconds each time.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            if not gc.get_freeze_count():  # what somebody froze stays so
                gc.freeze()
                gc.unfreeze()
            gc.enable()
