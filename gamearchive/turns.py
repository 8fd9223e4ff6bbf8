"""The turns of a repository: some times in each interval, what must go is chosen, and what was saved is written behind."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from gamearchive.errors import GameArchiveError, LeaseLostError
from gamearchive.play import Play

TURNS = 3
"""So many turns make an interval: saved during one, a game is encoded and written in the next, and the third is to spare."""

_log = logging.getLogger("gamearchive")


class Turns:
    """Takes turns until it is stopped, or the games are another server's.

    Args:
        play: the games.
        interval: how many seconds after a game was saved its snapshot is to be written at the latest.
        lost: is told when the games are another server's.
    """

    def __init__(self, play: Play[Any], interval: float, lost: Callable[[LeaseLostError], None]) -> None:
        self.problem: GameArchiveError | None = None
        self._play = play
        self._seconds = interval / TURNS
        self._lost = lost
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._take(), name="gamearchive-turns")

    async def stop(self) -> None:
        """End, in the middle of a turn if need be; what that had begun is done by the next."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _take(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            try:
                await self._play.thin_out()
                # Half of the time for encoding, the rest for writing, and to spare.
                await self._play.turn(self._seconds / 2)
                self.problem = None
            except LeaseLostError as error:
                _log.critical("%s", error)
                self.problem = error
                self._play.give_up()
                self._lost(error)
                return
            except Exception as error:  # noqa: BLE001 - the next turn tries again, and get_stats tells meanwhile
                if self.problem is None:
                    _log.error("the journal cannot be written: %s", error)
                self.problem = error if isinstance(error, GameArchiveError) else GameArchiveError(repr(error))
            await asyncio.sleep(max(0.0, started + self._seconds - loop.time()))
