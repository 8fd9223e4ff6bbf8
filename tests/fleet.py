"""Workers of a queue that are killed at random moments, one after another, and what must be true of every job nevertheless."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from archiving import games
from killing import Place, examine, start
from sqlalchemy import select

from gamearchive.clock import SystemClock
from gamearchive.database.engine import Database
from gamearchive.database.schema import job_attempts
from gamearchive.jobs import JobFilter, JobState, Outcome
from gamearchive.leases import LEASE_SECONDS
from gamearchive.model import Sender
from gamearchive.queue import JobQueue

WORKERS = 3
PENDING = 400
"""So many games wait for the workers, or a few less."""
ENQUEUED = 100
STUCK_SECONDS = LEASE_SECONDS + 5
"""No job stays with a dead worker for longer."""
DRAINED_SECONDS = 60.0
_UNFINISHED = JobFilter((JobState.WAITING, JobState.RUNNING, JobState.RETRYABLE))


def kill_workers(kills: int, place: Place, seed: int = 0) -> int:
    """Have three workers archive games, and kill one of them again and again, at once followed by another: each game is
    archived once. In how many jobs' midst they were killed.

    What runs here is forked, so that a worker is at work a tenth of a second after it was started: no database may be open
    meanwhile.
    """
    fleet, chance = _Fleet(place), random.Random(seed)
    try:
        for _ in range(WORKERS):
            fleet.start()
        while len(fleet.killed) < kills:
            fleet.feed()
            time.sleep(chance.uniform(0, 0.4))
            fleet.kill(chance.choice(sorted(fleet.living)))
            fleet.start()
        deadline = time.monotonic() + DRAINED_SECONDS
        while fleet.has_jobs():
            assert time.monotonic() < deadline, "there are jobs that nobody does"
            time.sleep(0.2)
    finally:
        fleet.end()
    return fleet.check()


class _Fleet:
    def __init__(self, place: Place) -> None:
        self._place = place
        # Whatever its workers die of, no job is ever given up.
        self._config = place.home.with_suffix(".toml")
        self._config.write_text("[worker]\nmax_retries = 1000\n")
        self.living: dict[str, int] = {}
        """The workers' process numbers, by name."""
        self.killed: dict[str, float] = {}
        """When, in seconds since the epoch."""
        self._enqueued = 0

    def start(self) -> None:
        """Start another worker, under a name of its own."""
        name = f"worker-{len(self.killed) + len(self.living)}"
        options = ["--name", name, "--batch-size", "20", "--config", str(self._config), *self._place.where]
        self.living[name] = start(["worker", "run", "--json", *options])

    def kill(self, name: str) -> None:
        """Kill a worker, and bury it."""
        pid = self.living.pop(name)
        self.killed[name] = time.time()
        os.kill(pid, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL, f"{name} had ended by itself"

    def end(self) -> None:
        """Have all that live leave."""
        for pid in self.living.values():
            os.kill(pid, signal.SIGTERM)
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in self.living.values()]
        assert set(codes) <= {128 + signal.SIGTERM}

    @contextmanager
    def _queue(self) -> Iterator[JobQueue]:
        database = Database(self._place.url)
        try:
            database.create()
            yield JobQueue(database, SystemClock())
        finally:
            database.close()

    def feed(self) -> None:
        """Enqueue as many games as were archived since."""
        with self._queue() as queue:
            while sum(each.jobs for each in queue.counts()) < PENDING:
                queue.enqueue(games(ENQUEUED, first=self._enqueued), Sender())
                self._enqueued += ENQUEUED

    def has_jobs(self) -> bool:
        """Whether any is not done yet."""
        with self._queue() as queue:
            return bool(queue.find(_UNFINISHED, 1))

    def check(self) -> int:
        """Make sure that each job has taken effect once, that none was stuck, and none taken from a living worker."""
        with self._queue() as queue:
            assert {job.state for job in queue.every(JobFilter())} == {JobState.DONE}
            with queue.database.read() as connection:
                attempts = connection.execute(select(job_attempts)).all()
        archived = [each.job_id for each in attempts if each.outcome == Outcome.ARCHIVED]
        assert len(archived) == len(set(archived)) == self._enqueued
        orphaned = [each for each in attempts if each.outcome == Outcome.DIED]
        for each in orphaned:
            assert 0 <= each.ended_at / 1e6 - self.killed[each.worker] <= STUCK_SECONDS, each
        examine(self._place, self._enqueued)
        return len(orphaned)
