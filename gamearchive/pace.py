"""Work on the event loop in slices, so that what else runs there never waits for long."""

from __future__ import annotations

import asyncio
from contextlib import suppress

SLICE_SECONDS = 0.0001
"""So long the loop is kept at a time."""


class Pace:
    """The pace of some work: a slice, then a pause.

    Args:
        count: how many pieces there are.
        seconds: the time to spread them over; they take longer where they must.

    ``now`` is the loop's time at the last rest, for those who would ask for it at every piece.
    """

    def __init__(self, count: int, seconds: float = 0.0) -> None:
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self._step = seconds / count if count else 0.0
        self.now = self._started
        self._until = self._started + SLICE_SECONDS
        self._hurried = asyncio.Event()

    def hurry(self) -> None:
        """Spread what is left over no time: somebody waits for it."""
        self._hurried.set()

    async def rest(self, done: int) -> None:
        """Let others run, if the slice is over, until it is time for the next piece.

        Args:
            done: how many pieces are.
        """
        self.now = now = self._loop.time()
        if now < self._until:
            return
        pause = self._started + done * self._step - now
        if pause <= 0 or self._hurried.is_set():
            await asyncio.sleep(0)
        else:
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._hurried.wait()
        self.now = self._loop.time()
        self._until = self.now + SLICE_SECONDS
