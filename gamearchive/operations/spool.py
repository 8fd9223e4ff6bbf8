"""Game files into the queue: read in batches, and enqueued for whoever works on it.

Nothing is looked up: what is archived already is found out by the worker. Interrupted and run again, the same sources go on:
the same bytes that still wait are one job.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from gamearchive.model import GameRecord, Notice, Rejection, Sender
from gamearchive.queue import JobQueue
from gamearchive.readers import ReadOptions
from gamearchive.readers.ahead import read_ahead


@dataclass(frozen=True, slots=True)
class Spooled:
    """One step: records that are enqueued, with their checksums, and what else there was in the sources."""

    records: Sequence[GameRecord]
    checksums: Sequence[bytes]
    rejections: Sequence[Rejection]
    notices: Sequence[Notice]


def spool(
    queue: JobQueue,
    sources: Iterable[str],
    options: ReadOptions,
    sender: Sender,
    *,
    dry_run: bool = False,
    stopping: Callable[[], bool] = lambda: False,
) -> Iterator[Spooled]:
    """Enqueue all games of some sources.

    Args:
        queue: where to.
        sources: files, folders, or ``-`` for standard input.
        options: how to read them.
        sender: on whose behalf.
        dry_run: only read them.
        stopping: whether to leave; what was read until then is enqueued.

    Yields:
        A step for each batch, once it is enqueued.

    Raises:
        CapacityError: if the queue is full. The batches before are enqueued.
        DatabaseUnavailableError: if the database cannot be written; likewise.
    """
    with closing(read_ahead(sources, options, stopping)) as batches:
        for batch in batches:
            if batch.records and not dry_run:
                queue.enqueue(batch.records, sender, checksums=batch.checksums)
            yield Spooled(batch.records, batch.checksums, batch.rejections, batch.notices)
