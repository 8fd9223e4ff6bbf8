"""Games that come back into play from the journal: one's own after a restart, and those of a server that is dead."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, TypeVar

from gamearchive.clock import Clock
from gamearchive.errors import GameArchiveError
from gamearchive.keeper import Keeper
from gamearchive.model import EntityKey
from gamearchive.play import Play

_log = logging.getLogger("gamearchive")

T = TypeVar("T")


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
        now, count = self._clock.now(), 0
        with _uncollected():
            async for batch in keeper.recover(keys):
                for snapshot, game in batch:
                    key = snapshot.record.entity_id
                    if isinstance(game, GameArchiveError):
                        self.unreadable[key] = game
                        _log.error("the game %r is in the journal, and cannot be read: %s", key, game)
                    elif key not in self._play.games:
                        count += 1
                        idle_seconds = max(0.0, (now - snapshot.saved_at) / 1e6)
                        self._play.admit(key, game, len(snapshot.record.payload), idle_seconds=idle_seconds)
                        self._play.resume(key, snapshot)
                await asyncio.sleep(0)
        return count


@contextmanager
def _uncollected() -> Iterator[None]:
    """Python's garbage collector rests: it would look through all games again and again as they come, and find nothing."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
