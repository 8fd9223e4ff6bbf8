"""Game files into the archive: read in order, archived in batches.

Three batches are in hand at a time: one is being read, one is put into packs, and one is named in the catalog, after which a
step tells that its games are safe. Interrupted and run again, the same sources go on where they ended: what is archived is
known by its checksum, and passed over without being compressed or written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple

from gamearchive.archive import Added, Archive, OnConflict, Plan
from gamearchive.backends.base import Deposit
from gamearchive.model import Notice, Rejection, Sender
from gamearchive.readers import ReadOptions
from gamearchive.readers.ahead import read_ahead
from gamearchive.readers.batches import Batch


@dataclass(frozen=True, slots=True)
class Ingested:
    """One step: what became of some records of the sources."""

    added: Added
    rejections: Sequence[Rejection] = ()
    notices: Sequence[Notice] = ()


class _InHand(NamedTuple):
    """A batch that is being put into packs."""

    plan: Plan
    deposit: Future[Deposit]
    batch: Batch


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
    in_hand: _InHand | None = None
    with (
        closing(read_ahead(sources, options, stopping)) as batches,
        ThreadPoolExecutor(1, thread_name_prefix="gamearchive-put") as executor,
    ):
        for batch in batches:
            before, in_hand = in_hand, None
            if not batch.is_empty:
                plan = archive.plan(
                    batch.records, sender, on_conflict, checksums=batch.checksums, after=before.plan if before else None
                )
                if dry_run:
                    yield Ingested(Added(plan.entries, plan.skipped, plan.conflicts), batch.rejections, batch.notices)
                else:
                    in_hand = _InHand(plan, executor.submit(archive.put, plan), batch)
            if before is not None:
                yield _finish(archive, before)
            del before, batch  # what is archived is not to be kept while the next is waited for
        if in_hand is not None:
            yield _finish(archive, in_hand)


def _finish(archive: Archive, in_hand: _InHand) -> Ingested:
    plan, deposit, batch = in_hand
    return Ingested(archive.commit(plan, deposit.result()), batch.rejections, batch.notices)
