"""Game files into the archive: read in order, archived in batches, while the next batch is being read.

A step is told once its games are safe. Interrupted and run again, the same sources go on where they ended: what is archived
is known by its checksum, and passed over without being compressed or written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from gamearchive.archive import Added, Archive, OnConflict, Plan, Sender
from gamearchive.backends.base import Deposit
from gamearchive.model import GameRecord, Notice, Rejection
from gamearchive.readers import ReadOptions, read_source

BATCH_RECORDS = 4_096
"""So many games make a batch: large packs have small indexes, and one sync serves for all of them."""

BATCH_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Ingested:
    """One step: what became of some records of the sources."""

    added: Added
    rejections: Sequence[Rejection] = ()
    notices: Sequence[Notice] = ()


@dataclass(slots=True)
class _Batch:
    records: list[GameRecord] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    raw_bytes: int = 0


def ingest(
    archive: Archive,
    sources: Iterable[str],
    options: ReadOptions,
    *,
    on_conflict: OnConflict = OnConflict.REPLACE,
    dry_run: bool = False,
    stopping: Callable[[], bool] = lambda: False,
) -> Iterator[Ingested]:
    """Archive all games of some sources.

    Args:
        archive: where to.
        sources: files, folders, or ``-`` for standard input.
        options: how to read them.
        on_conflict: what becomes of an id that is archived with other bytes.
        dry_run: only find out what would be done.
        stopping: whether to leave; what was read until then is archived.

    Yields:
        A step for each batch, once it is safe.

    Raises:
        StorageUnavailableError, DatabaseUnavailableError: if a batch cannot be archived. Those before it are.
    """
    sender = Sender()
    with ThreadPoolExecutor(1, thread_name_prefix="gamearchive-put") as executor:
        in_hand: tuple[Plan, Future[Deposit], _Batch] | None = None
        for batch in _batches(sources, options, stopping):
            if in_hand is not None:
                yield _finish(archive, *in_hand)
                in_hand = None
            plan = archive.plan(batch.records, sender, on_conflict)
            if dry_run:
                yield Ingested(Added(plan.entries, plan.skipped, plan.conflicts), batch.rejections, batch.notices)
            else:
                # The next batch is read meanwhile: compressing and writing need neither this thread nor the interpreter's lock.
                in_hand = plan, executor.submit(archive.put, plan), batch
        if in_hand is not None:
            yield _finish(archive, *in_hand)


def _finish(archive: Archive, plan: Plan, deposit: Future[Deposit], batch: _Batch) -> Ingested:
    return Ingested(archive.commit(plan, deposit.result()), batch.rejections, batch.notices)


def _batches(sources: Iterable[str], options: ReadOptions, stopping: Callable[[], bool]) -> Iterator[_Batch]:
    batch = _Batch()
    for source in sources:
        for found in read_source(source, options):
            if stopping():
                break
            if isinstance(found, Rejection):
                batch.rejections.append(found)
            elif isinstance(found, Notice):
                batch.notices.append(found)
            else:
                batch.records.append(found)
                batch.raw_bytes += len(found.payload)
            if len(batch.records) + len(batch.rejections) >= BATCH_RECORDS or batch.raw_bytes >= BATCH_BYTES:
                yield batch
                batch = _Batch()
        if stopping():
            break
    if batch.records or batch.rejections or batch.notices:
        yield batch
