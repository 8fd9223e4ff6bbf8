"""Long random walks through everything that can be done to a queue, beside a model of what must be true of it."""

from __future__ import annotations

import random
from collections import defaultdict

import pytest
from queueing import EVERY, ack, filed, games, live, session
from sqlalchemy import select, text

from gamearchive.clock import ManualClock
from gamearchive.database.engine import Database
from gamearchive.database.schema import job_attempts, job_records
from gamearchive.jobs import Job, JobFilter, JobState
from gamearchive.leases import WorkerSession
from gamearchive.model import ArchivalPriority
from gamearchive.queue import JobQueue

KEPT = {JobState.WAITING, JobState.RUNNING, JobState.RETRYABLE, JobState.FAILED}
NAMES = [f"g-{number}" for number in range(6)]
"""Those of even numbers are a server's, the others a file's."""


class Walk:
    """A queue, three workers, and what each game's states were in order."""

    def __init__(self, database: Database, seed: int) -> None:
        self.chance = random.Random(seed)
        self.clock = ManualClock()
        self.database = database
        self.queue = JobQueue(database, self.clock)
        self.sent: dict[str, list[bytes]] = defaultdict(list)
        self.archived: dict[str, list[bytes]] = defaultdict(list)
        self.discarded: set[tuple[str, bytes]] = set()
        self.number = 0
        self.workers: list[tuple[WorkerSession, list[Job]]] = [(self._session(), []) for _ in range(3)]

    def _session(self) -> WorkerSession:
        self.number += 1
        return session(self.database, self.clock, f"w-{self.number}", max_retries=2, retry_seconds=5)

    def step(self) -> None:
        choices = [self.enqueue] * 4 + [self.lease] * 4 + [self.finish] * 4 + [self.decide, self.die, self.wait]
        self.chance.choice(choices)()

    def enqueue(self) -> None:
        name, priority = self.chance.choice(NAMES), self.chance.choice(list(ArchivalPriority))
        payload = b"%d" % len(self.sent[name]) if self.chance.random() < 0.8 else b"again"
        self.queue.enqueue(games(name, payload=payload), live(priority) if is_live(name) else filed(priority))
        self.sent[name].append(payload)

    def lease(self) -> None:
        worker, held = self.chance.choice(self.workers)
        held += worker.lease(self.chance.randrange(1, 4))

    def finish(self) -> None:
        worker, held = self.chance.choice(self.workers)
        some = self.chance.sample(held, self.chance.randrange(len(held) + 1))
        for job in some:
            held.remove(job)
        match self.chance.randrange(6):
            case 0:
                worker.retry(some, "no")
            case 1:
                worker.fail(some, "never")
            case 2:
                worker.release(some, "stop", delay=self.chance.choice([0, 3]))
            case _:
                ack(worker, some)
                for job in some:
                    self.archived[job.record.entity_id].append(job.record.payload)

    def decide(self) -> None:
        found = self.queue.find(JobFilter(states=self.chance.sample(list(JobState), 2)), 3)
        ids = [job.id for job in found]
        match self.chance.randrange(4):
            case 0:
                self.queue.bump(ids, self.chance.choice(list(ArchivalPriority)))
            case 1:
                payloads = self.payloads()
                left = self.queue.discard(ids)
                self.discarded |= {(job.key.entity_id, payloads[job.id]) for job in found if job.id not in left}
            case _:
                self.queue.retry(ids)

    def die(self) -> None:
        """One worker is gone, and found out by another."""
        place = self.chance.randrange(3)
        gone, _ = self.workers[place]
        with self.database.transact() as connection:
            connection.execute(text("DELETE FROM workers WHERE name = :name"), {"name": gone.name})
        self.workers[place] = (self._session(), [])

    def wait(self) -> None:
        self.clock.turn(self.chance.choice([1, 10]))

    def payloads(self) -> dict[int, bytes]:
        with self.database.read() as connection:
            return {row.job_id: row.payload for row in connection.execute(select(job_records))}

    def check(self) -> None:
        jobs, payloads = list(self.queue.every(EVERY)), self.payloads()
        assert set(payloads) == {job.id for job in jobs if job.state in KEPT}
        running = [job.key for job in jobs if job.state is JobState.RUNNING]
        assert len(running) == len(set(running)), "two jobs of one game run at the same time"
        assert sorted(job.id for job in jobs if job.state is JobState.RUNNING) == sorted(
            job.id for _, held in self.workers for job in held
        )
        pending = [job.key for job in jobs if job.state in (JobState.WAITING, JobState.RETRYABLE) and job.sender.live]
        assert len(pending) == len(set(pending)), "two jobs of one live game wait"
        with self.database.read() as connection:
            numbers = [tuple(row) for row in connection.execute(select(job_attempts.c.job_id, job_attempts.c.number))]
        assert all(number == 1 or (job_id, number - 1) in numbers for job_id, number in numbers)
        kept = {(job.key.entity_id, payloads[job.id]) for job in jobs if job.state in KEPT}
        for name, sent in self.sent.items():
            done = self.archived[name]
            if is_live(name):
                assert (name, sent[-1]) in kept | self.discarded or sent[-1] in done, "the latest state is nowhere"
            else:
                for payload in sent:
                    assert (name, payload) in kept | self.discarded or payload in done, "a file's revision is nowhere"

    def finish_all(self) -> None:
        """Let the workers do all that there is to do."""
        for worker, held in self.workers:
            ack(worker, held)
            for job in held:
                self.archived[job.record.entity_id].append(job.record.payload)
            held.clear()
        worker, _ = self.workers[0]
        for _ in range(100):
            self.clock.turn(3_600)
            leased = worker.lease(10)
            ack(worker, leased)
            for job in leased:
                self.archived[job.record.entity_id].append(job.record.payload)


def is_live(name: str) -> bool:
    return int(name.removeprefix("g-")) % 2 == 0


@pytest.mark.parametrize("seed", range(6))
def test_nothing_is_lost_doubled_or_turned_round_whatever_is_done(database: Database, seed: int):
    walk = Walk(database, seed)
    for _ in range(150):
        walk.step()
        walk.check()
    walk.finish_all()
    walk.check()
    left = {job.state for job in walk.queue.every(EVERY)}
    assert left <= {JobState.DONE, JobState.CANCELLED, JobState.FAILED}
    for name in filter(is_live, walk.sent):
        # Each state but those that came again is a number, which rises.
        numbers = [int(payload) for payload in walk.archived[name] if payload != b"again"]
        assert numbers == sorted(numbers), "an older state follows a newer one"
