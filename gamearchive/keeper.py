"""The journal as a loop may use it: in a thread of its own, one thing after another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, NamedTuple, TypeVar

from gamearchive.errors import GameArchiveError, SchemaError
from gamearchive.journal import Failure, Journal, Snapshot
from gamearchive.model import EntityKey, GameRecord, Handover, checksum
from gamearchive.queue import JobQueue
from gamearchive.strategy import ArchivalStrategy

BATCH_SNAPSHOTS = 1_000

R = TypeVar("R")
T = TypeVar("T")

Revived = list[tuple[Snapshot, T | GameArchiveError]]
"""Snapshots with the games that they are of, or with why they cannot be read."""


class Draft(NamedTuple):
    """A snapshot without its checksum. Taking that gives the interpreter away, and a loop would wait to get it back."""

    record: GameRecord
    saved_at: int
    handover: Handover | None


class Keeper(Generic[T]):
    """Keeps the games of one repository.

    Args:
        journal: where.
        strategy: reads them.
    """

    def __init__(self, journal: Journal, strategy: ArchivalStrategy[T]) -> None:
        self._journal = journal
        self._strategy = strategy
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="gamearchive-journal")

    async def open(self) -> None:
        """See `Journal.open`."""
        await self._run(self._journal.open)

    async def write(
        self, drafts: Sequence[Draft], gone: Sequence[EntityKey], failures: Sequence[Failure]
    ) -> Mapping[EntityKey, str]:
        """See `Journal.flush` and `Journal.note`."""

        def write() -> Mapping[EntityKey, str]:
            if failures:
                self._journal.note(failures)
            snapshots = [Snapshot(record, checksum(record.payload), at, sent) for record, at, sent in drafts]
            return self._journal.flush(snapshots, gone)

        return await self._run(write)

    async def recover(self, keys: Sequence[EntityKey] | None = None) -> AsyncIterator[Revived[T]]:
        """What the journal has for this server, all of it or of some games, a batch at a time."""
        snapshots = self._journal.recover() if keys is None else self._journal.read(keys)
        while batch := await self._run(lambda: self._revive(snapshots)):
            yield batch

    async def look(self, queue: JobQueue, keys: Sequence[EntityKey]) -> Mapping[EntityKey, str | None]:
        """Those of some games, which were handed over to the queue, that are still in the journal, each with the error of its
        job if that has failed. One that has no job gets one: it was handed over when the queue was full, or before there was
        one."""

        def look() -> Mapping[EntityKey, str | None]:
            left = self._journal.left(keys)
            errors = queue.errors([*left])
            missing = [key for key in left if key not in errors]
            if missing:
                snapshots = list(self._journal.read(missing))
                with queue.database.transact() as connection:
                    queue.hand_over(connection, snapshots)
            return {key: errors.get(key) for key in left}

        return await self._run(look)

    async def claim(self, server: str) -> Sequence[EntityKey]:
        """See `Journal.claim`."""
        return await self._run(lambda: self._journal.claim(server))

    async def close(self) -> None:
        """Give the server's name up."""
        try:
            await self._run(self._journal.close)
        finally:
            self._executor.shutdown()

    def _revive(self, snapshots: Iterator[Snapshot]) -> Revived[T]:
        found: Revived[T] = []
        for snapshot in snapshots:
            record = snapshot.record
            if record.entity_type != self._strategy.entity_type:
                continue
            try:
                found.append((snapshot, self._strategy.revive(record.payload, record.content_type)))
            except GameArchiveError as error:
                found.append((snapshot, error))
            except Exception as caught:  # noqa: BLE001 - an upcaster is the user's own, and must not keep the other games out
                found.append((snapshot, SchemaError(f"The game {record.entity_id!r} cannot be read: {caught!r}.")))
            if len(found) == BATCH_SNAPSHOTS:
                break
        return found

    async def _run(self, call: Callable[[], R]) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._executor, call)
