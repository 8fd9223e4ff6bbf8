"""Two threads, one for reading and one for whatever writes: neither the loop nor a listing waits for an archive run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

T = TypeVar("T")


class Lanes:
    """What has blocking work to do for a loop."""

    def __init__(self) -> None:
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="gamearchive-read")
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="gamearchive-write")
        self._under_way: dict[Iterator[object], ThreadPoolExecutor] = {}

    async def _end(self) -> None:
        """Leave what is under way after the step in hand, and end the threads."""
        for iterator in list(self._under_way):
            await self._leave(iterator)
        for executor in (self._writing, self._reading):
            await asyncio.to_thread(executor.shutdown)

    def _explained(self, call: Callable[[], T]) -> T:
        """A call's result; its error may be explained."""
        return call()

    async def _read(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._reading, self._explained, call)

    async def _write(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._writing, self._explained, call)

    async def _stream(self, steps: Callable[[], Iterator[T]], executor: ThreadPoolExecutor) -> AsyncIterator[T]:
        """Iterate in a thread. Closed early, the iteration is closed in that thread as well."""
        loop = asyncio.get_running_loop()
        iterator = await loop.run_in_executor(executor, lambda: iter(steps()))
        done = object()
        self._under_way[iterator] = executor
        try:
            while (step := await loop.run_in_executor(executor, self._explained, partial(next, iterator, done))) is not done:
                yield step
        finally:
            await self._leave(iterator)

    def _change(self, steps: Callable[[], Iterator[T]]) -> AsyncIterator[T]:
        """Iterate in the thread for whatever writes."""
        return self._stream(steps, self._writing)

    async def _leave(self, iterator: Iterator[object]) -> None:
        """Close an iteration, in its own thread, unless that was done."""
        executor = self._under_way.pop(iterator, None)
        close = getattr(iterator, "close", None)
        if executor is not None and close is not None:
            await asyncio.get_running_loop().run_in_executor(executor, close)
