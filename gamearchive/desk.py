"""The queue as an administrator has it: games put into it, jobs looked at, and decided about."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from gamearchive.errors import NotFoundError
from gamearchive.jobs import Attempt, JobFilter, JobStatus
from gamearchive.model import ArchivalPriority
from gamearchive.queue import JobCount, JobQueue, WorkerStatus

LOCK_WAIT_SECONDS = 60.0
"""How long a change waits for one who has the archive to itself, such as ``rebuild``."""

T = TypeVar("T")


class Reading(Protocol):
    """Runs a call in a thread for reading."""

    def __call__(self, call: Callable[[], T]) -> Awaitable[T]: ...


class JobDesk:
    """Asynchronous, over a queue that is not.

    Args:
        queue: the queue.
        run: runs a call in a thread.
    """

    def __init__(self, queue: JobQueue, run: Reading) -> None:
        self._queue = queue
        self._run = run

    async def find(self, found: JobFilter, limit: int = 100, before: int | None = None) -> list[JobStatus]:
        """One page of jobs, the newest first; ``before`` is the number of the last one on the page before."""
        return await self._run(lambda: self._queue.find(found, limit, before))

    async def get(self, job_id: int) -> tuple[JobStatus, list[Attempt]]:
        """A job, and its history.

        Raises:
            NotFoundError: if there is no such job, or none any more.
        """
        return await self._run(lambda: self._queue.get(job_id))

    async def counts(self) -> list[JobCount]:
        """How many jobs there are in each state and priority."""
        return await self._run(self._queue.counts)

    async def retry(self, ids: Sequence[int]) -> Mapping[int, str]:
        """Have jobs tried again: see `JobQueue.retry`."""
        return await self._run(lambda: self._held(lambda: self._queue.retry(ids)))

    async def discard(self, ids: Sequence[int]) -> Mapping[int, str]:
        """Cancel jobs: see `JobQueue.discard`."""
        return await self._run(lambda: self._held(lambda: self._queue.discard(ids)))

    async def bump(self, ids: Sequence[int], priority: ArchivalPriority) -> Mapping[int, str]:
        """Give jobs another priority: see `JobQueue.bump`."""
        return await self._run(lambda: self._held(lambda: self._queue.bump(ids, priority)))

    async def workers(self) -> list[WorkerStatus]:
        """All workers that have a session, by name."""
        return await self._run(self._queue.workers)

    async def pause(self, worker: str | None, *, paused: bool) -> int:
        """Ask a worker, or all, to take no more jobs, or to go on; how many were asked.

        Raises:
            NotFoundError: if there is no such worker.
        """
        asked = await self._run(lambda: self._queue.pause(worker, paused=paused))
        if worker is not None and not asked:
            raise NotFoundError(f"There is no worker {worker!r}.", hint="List the workers with `gamearchive worker status`.")
        return asked

    def _held(self, call: Callable[[], T]) -> T:
        database = self._queue.database
        database.check()
        with database.hold(shared=True, wait=LOCK_WAIT_SECONDS):
            return call()
