"""Queues with games in them, and workers that lease them, here and in other processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection

from archiving import plain

from gamearchive.clock import Clock, ManualClock, SystemClock
from gamearchive.database.engine import Database
from gamearchive.jobs import Job, JobFilter, JobState
from gamearchive.leases import WorkerSession
from gamearchive.model import ArchivalPriority, ArchivalTrigger, GameRecord, Sender
from gamearchive.queue import JobQueue

LOW, NORMAL, HIGH, CRITICAL = ArchivalPriority
LIVE = Sender(ArchivalTrigger.GAME_COMPLETED, NORMAL, "p@1", live=True)
FILED = Sender()
EVERY = JobFilter()


def live(priority: ArchivalPriority) -> Sender:
    """A server that sends a game that is over."""
    return Sender(ArchivalTrigger.GAME_COMPLETED, priority, "p@1", live=True)


def filed(priority: ArchivalPriority) -> Sender:
    """A file's games."""
    return Sender(ArchivalTrigger.MANUAL, priority)


def games(*ids: str, payload: bytes = b"{}") -> list[GameRecord]:
    """Games of which nothing but the bytes is known."""
    return [plain(entity_id, payload) for entity_id in ids]


def session(
    database: Database, clock: Clock, name: str = "w", *, max_retries: int = 3, retry_seconds: float = 30.0
) -> WorkerSession:
    """An open session."""
    made = WorkerSession(database, clock, name, max_retries=max_retries, retry_seconds=retry_seconds)
    made.open(0.0)
    return made


def ack(worker: WorkerSession, done: Sequence[Job]) -> None:
    """Acknowledge jobs in a transaction of their own."""
    with worker.database.write() as connection:
        worker.ack(connection, done)


def ids(jobs: Sequence[Job]) -> list[str]:
    """Their games, in order."""
    return [job.record.entity_id for job in jobs]


def states(queue: JobQueue) -> dict[int, JobState]:
    """All jobs' states."""
    return {job.id: job.state for job in queue.every(EVERY)}


@contextmanager
def queue_of(url: str, clock: Clock | None = None) -> Iterator[JobQueue]:
    """The queue as another process would have it."""
    database = Database(url)
    try:
        yield JobQueue(database, clock or ManualClock())
    finally:
        database.close()


def hold_jobs(url: str, name: str, limit: int, said: Connection) -> None:
    """Lease jobs, tell which, and hold them until the end."""
    worker = WorkerSession(Database(url), SystemClock(), name)
    worker.open()
    said.send([job.id for job in worker.lease(limit)])
    said.recv()


def work_off(url: str, name: str, said: Connection) -> None:
    """Lease and acknowledge jobs until there are none, and tell which, batch by batch."""
    worker = WorkerSession(Database(url), SystemClock(), name)
    worker.open()
    said.send("open")
    said.recv()
    while jobs := worker.lease(7):
        ack(worker, jobs)
        said.send([job.id for job in jobs])
    worker.close()
    said.send(None)
    said.recv()
