"""The packs as an administrator has them: to be made denser, by one process at a time, while others go on archiving."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Protocol, TypeVar

from gamearchive.archive import Archive
from gamearchive.catalog import Catalog
from gamearchive.database.engine import Database
from gamearchive.operations.compaction import Compacted, Due, compact
from gamearchive.ownership import check_owner
from gamearchive.policy import Policies
from gamearchive.tenure import Tenure

T = TypeVar("T")


class Streaming(Protocol):
    """Iterates in a thread."""

    def __call__(self, steps: Callable[[], Iterator[T]]) -> AsyncIterator[T]: ...


def due_by(policies: Policies, now: int) -> Due:
    """Which games are to be packed densely, by the ``compress_after`` of their type; now in microseconds since the epoch."""
    return lambda entity_type, archived_at: policies[entity_type].due_for_compression(archived_at, now)


class PackDesk:
    """Asynchronous, over packs that are not.

    Args:
        database: that of their catalog.
        archive: gives the archive that they are in.
        stream: iterates in a thread that may write.
    """

    def __init__(self, database: Database, archive: Callable[[], Archive], stream: Streaming) -> None:
        self._database = database
        self._archive = archive
        self._stream = stream

    def compact(
        self,
        due: Due,
        *,
        entity_type: str | None = None,
        budget_seconds: float | None = None,
        max_bytes: int | None = None,
        wait_seconds: float = 0.0,
        dry_run: bool = False,
        stopping: Callable[[], bool] = lambda: False,
    ) -> AsyncIterator[Compacted]:
        """Make packs denser: see `compact_packs`."""
        return self._stream(
            lambda: compact_packs(
                self._database,
                self._archive(),
                due,
                entity_type=entity_type,
                budget_seconds=budget_seconds,
                max_bytes=max_bytes,
                wait_seconds=wait_seconds,
                dry_run=dry_run,
                stopping=stopping,
            )
        )


def compact_packs(
    database: Database,
    archive: Archive,
    due: Due,
    *,
    entity_type: str | None = None,
    budget_seconds: float | None = None,
    max_bytes: int | None = None,
    wait_seconds: float = 0.0,
    dry_run: bool = False,
    stopping: Callable[[], bool] = lambda: False,
) -> Iterator[Compacted]:
    """Make packs denser, alone in doing so: see `operations.compaction`.

    Args:
        database: that of their catalog.
        archive: whose they are.
        due: which of them are old enough.
        entity_type: only games of this type.
        budget_seconds: leave after so long; not before a group of packs is done.
        max_bytes: leave once packs of so many bytes have been replaced.
        wait_seconds: how long to wait for another process that does the same.
        dry_run: only say what would be done.
        stopping: whether to leave after the group in hand.

    Raises:
        LockedError: if another process does the same, and still does after that time.
        RefusedError: if the storage is another archive's.
    """
    clock, tenure = archive.clock, Tenure(database, archive.clock)
    done = 0

    @contextmanager
    def held() -> Iterator[Archive]:
        with tenure.held():  # the catalog may have been made anew since the last time, with other numbers
            yield Archive(Catalog(database), archive.holdings, clock)

    deadline = None if budget_seconds is None else clock.monotonic() + budget_seconds

    def is_over() -> bool:
        return stopping() or (deadline is not None and done > 0 and clock.monotonic() >= deadline)

    database.check()
    try:
        with nullcontext() if dry_run else database.compaction(wait_seconds):
            with held() as first:
                check_owner(first.catalog, first.holdings, claim=False)
            for step in compact(held, due, entity_type=entity_type, max_bytes=max_bytes, dry_run=dry_run, stopping=is_over):
                done += 1
                yield step
    finally:
        tenure.rest()
