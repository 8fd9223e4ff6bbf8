"""`JobQueue`: what waits to be archived, in the database, so that it outlives whoever put it there.

Anybody enqueues games: a server those that are over, the command line those of files. Workers lease them (`leases`), archive
them and acknowledge them; what cannot be archived stays as a dead letter until someone decides. The states of a job are drawn
in `jobs`.

Order: a job's rank is the instant it was enqueued, less so much for its priority (`jobs.AGEING`). Ranks never change as time
goes by, so nothing is ever updated for ageing's sake, and whatever keeps coming, all jobs get their turn.

Of one game:

- A *live* game's newer state takes the place of the one that is pending: one job a game, with the higher of both priorities,
  where the older one stood. Files' games are each a job of their own, for each may be a revision that nobody else has; the
  same bytes again are the same job.
- Its jobs run one after another, in the order in which they were enqueued. So an older state is never archived after a newer
  one: an unfinished attempt at the older one is cancelled where the newer one of a live game waits, and with the newer one's
  success a dead letter of the older goes.

`max_queue_size` bounds the jobs that are pending. They are counted anew for every hundredth part of it that is enqueued: so
with several who enqueue at once there may be some hundredths more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from threading import Lock
from typing import NamedTuple

from sqlalchemy import (
    Connection,
    Exists,
    TextClause,
    delete,
    exists,
    func,
    literal_column,
    or_,
    select,
    text,
    update,
)  # fmt: skip

from gamearchive.clock import Clock
from gamearchive.database import arrivals
from gamearchive.database.engine import Database
from gamearchive.database.processes import Process
from gamearchive.database.schema import job_attempts, jobs, workers
from gamearchive.enqueuing import Enqueuing, row_of
from gamearchive.errors import CapacityError, LockedError, NotFoundError
from gamearchive.jobs import (
    AGEING,
    Attempt,
    JobFilter,
    JobState,
    JobStatus,
    Outcome,
    matching,
    status_of,
)
from gamearchive.journal import Copy, Snapshot, settle_copies
from gamearchive.model import ArchivalPriority, EntityKey, GameRecord, Sender, checksum, decode_id, encode_id
from gamearchive.steps import Steps

MAX_QUEUE_SIZE = 1_000_000

_CHUNK = 1_000
_KEYS = 100
_PENDING = text("jobs.state IN (0, 2)")  # as the index has it
_FEW = {JobState.RUNNING, JobState.RETRYABLE, JobState.FAILED}
_COUNT_PENDING = select(func.count()).select_from(jobs).where(_PENDING)


def _newer(name: str, state: TextClause, *more: str) -> Exists:
    """Whether a job of the same game was enqueued later that is in some state."""
    newer = jobs.alias(name)
    same = [newer.c[column] == jobs.c[column] for column in ("entity_key", "entity_type", *more)]
    return exists().where(*same, newer.c.id > jobs.c.id, state)


_BEHIND = or_(
    _newer("pending", text("pending.state IN (0, 2)")),
    _newer("running", text("running.state = 1")),
    _newer("failed", text("failed.state = 3"), "variant"),
)


class JobCount(NamedTuple):
    """Jobs of one state and priority: how many, their games' bytes, and when the oldest was enqueued."""

    state: JobState
    priority: ArchivalPriority
    jobs: int
    raw_bytes: int
    oldest: int


class WorkerStatus(NamedTuple):
    """A worker that has a session. ``seen_at`` is its last beat by its own clock, ``is_gone`` whether it is sure to be dead,
    and ``status`` what it says of itself, as JSON."""

    name: str
    host: str
    pid: int
    started_at: int
    seen_at: int
    paused: bool
    is_gone: bool
    status: str


class JobQueue:
    """The queue in a database.

    Args:
        database: where its tables are.
        clock: the time.
        max_queue_size: so many jobs may be pending.
    """

    def __init__(self, database: Database, clock: Clock, max_queue_size: int = MAX_QUEUE_SIZE) -> None:
        self.database = database
        self.max_queue_size = max_queue_size
        self._clock = clock
        self._enqueuing = Enqueuing(database)
        self._steps = Steps(database)
        self._lock = Lock()
        self._granted = 0

    def enqueue(self, records: Sequence[GameRecord], sender: Sender, *, checksums: Sequence[bytes] | None = None) -> None:
        """Enqueue games: when this returns, they are durable.

        Args:
            records: of any types; of two with one id the later is the later state.
            sender: on whose behalf.
            checksums: those of the records' payloads, where they are known.

        Raises:
            CapacityError: if the queue is full; nothing was taken.
            NoArchiveError, LockedError, DatabaseUnavailableError: if the database cannot be written; nothing was taken.
        """
        with self.database.transact() as connection:
            self.enqueue_within(connection, [(record, sender) for record in records], checksums=checksums)

    def enqueue_within(
        self,
        connection: Connection,
        sent: Sequence[tuple[GameRecord, Sender]],
        *,
        checksums: Sequence[bytes] | None = None,
    ) -> None:
        """Enqueue games in a transaction of the caller's: they are durable with what else is done in it, or not at all.

        Args:
            connection: the transaction.
            sent: games, each with on whose behalf.
            checksums: see `enqueue`.

        Raises:
            CapacityError: see `enqueue`.
        """
        if not sent:
            return
        self._grant(connection, len(sent))
        now = self._clock.now()
        digests = checksums or [checksum(record.payload) for record, _ in sent]
        rows = [row_of(record, sender, digest, now) for (record, sender), digest in zip(sent, digests, strict=True)]
        self._enqueuing.add(connection, rows)

    def _grant(self, connection: Connection, wanted: int) -> None:
        with self._lock:
            if self._granted < wanted:
                free = self.max_queue_size - (connection.scalar(_COUNT_PENDING) or 0)
                if free < wanted:
                    raise CapacityError(
                        f"The queue is full: {self.max_queue_size:,} jobs may wait, and there is room for {max(free, 0):,}.",
                        hint="Let workers catch up, or discard what nobody wants with `gamearchive queue discard`.",
                    )
                self._granted = max(wanted, min(free, self.max_queue_size // 100))
            self._granted -= wanted

    def counts(self) -> list[JobCount]:
        """How many jobs there are in each state and priority, but for those that are over; what has none is left out."""
        columns = func.count(), func.sum(jobs.c.raw_bytes), func.min(jobs.c.enqueued_at)
        statement = select(jobs.c.state, jobs.c.priority, *columns).where(text("jobs.state < 4"))
        statement = statement.group_by(jobs.c.state, jobs.c.priority)
        with self.database.read() as connection:
            return [
                JobCount(JobState(state), ArchivalPriority(priority), number, int(raw_bytes), oldest)
                for state, priority, number, raw_bytes, oldest in connection.execute(statement.order_by("state", "priority"))
            ]

    def find(self, found: JobFilter, limit: int = 100, before: int | None = None) -> list[JobStatus]:
        """One page of jobs, the newest first.

        Args:
            found: which.
            limit: so many at most.
            before: only jobs with lower numbers than this: the last one of the page before.
        """
        # Of states that few jobs are in, SQLite is kept from walking through all jobs for the sake of their order.
        order = jobs.c.id + literal_column("0") if found.states and set(found.states) <= _FEW else jobs.c.id
        statement = select(jobs).where(matching(self.database, found)).order_by(order.desc()).limit(limit)
        if before is not None:
            statement = statement.where(jobs.c.id < before)
        with self.database.read() as connection:
            return [status_of(row) for row in connection.execute(statement)]

    def every(self, found: JobFilter) -> Iterator[JobStatus]:
        """All jobs that a filter matches, the newest first, in bounded memory."""
        before = None
        while page := self.find(found, _CHUNK, before):
            yield from page
            before = page[-1].id

    def get(self, job_id: int) -> tuple[JobStatus, list[Attempt]]:
        """A job, and its history.

        Raises:
            NotFoundError: if there is no such job, or none any more.
        """
        with self.database.read() as connection:
            row = connection.execute(select(jobs).where(jobs.c.id == job_id)).first()
            tried = connection.execute(
                select(job_attempts).where(job_attempts.c.job_id == job_id).order_by(job_attempts.c.number)
            ).all()
            if row is None:
                raise NotFoundError(f"There is no job {job_id}.", hint="List jobs with `gamearchive queue list`.")
            history = [
                Attempt(each.number, each.started_at, each.ended_at, each.worker, Outcome(each.outcome), each.error)
                for each in tried
            ]
            return status_of(row), history

    def retry(self, ids: Sequence[int]) -> Mapping[int, str]:
        """Have FAILED jobs tried again from the start, and RETRYABLE ones at once.

        Returns:
            Those that are left as they are, each with why: it is in no such state, or something newer of its game is on its
            way, which an older state must not follow.
        """
        return self._change(ids, {JobState.FAILED, JobState.RETRYABLE}, self._retry)

    def _retry(self, connection: Connection, ids: Sequence[int]) -> Mapping[int, str]:
        among = self.database.among(jobs.c.id, ids)
        behind = set(connection.scalars(select(jobs.c.id).where(among, jobs.c.state == int(JobState.FAILED), _BEHIND)))
        again = self.database.among(jobs.c.id, [job_id for job_id in ids if job_id not in behind])
        values = {"state": int(JobState.WAITING), "attempts": 0, "due_at": None, "finished_at": None}
        connection.execute(update(jobs).where(again).values(values))
        arrivals.announce(self.database, connection)
        return dict.fromkeys(behind, "something newer of its game waits, runs, or failed as well")

    def discard(self, ids: Sequence[int]) -> Mapping[int, str]:
        """Cancel jobs that are pending or FAILED, and throw away their games, as far as the queue has them.

        Returns:
            Those that are left as they are, each with why.
        """

        def discard(connection: Connection, found: Sequence[int]) -> Mapping[int, str]:
            self._steps.cancel(connection, found, self._clock.now(), "It was discarded.")
            return {}

        return self._change(ids, {JobState.WAITING, JobState.RETRYABLE, JobState.FAILED}, discard)

    def bump(self, ids: Sequence[int], priority: ArchivalPriority) -> Mapping[int, str]:
        """Give pending jobs another priority.

        Returns:
            Those that are left as they are, each with why.
        """

        def bump(connection: Connection, found: Sequence[int]) -> Mapping[int, str]:
            values = {"priority": int(priority), "rank": jobs.c.enqueued_at - int(priority) * AGEING}
            connection.execute(update(jobs).where(self.database.among(jobs.c.id, found)).values(values))
            arrivals.announce(self.database, connection)
            return {}

        return self._change(ids, {JobState.WAITING, JobState.RETRYABLE}, bump)

    def hand_over(self, connection: Connection, snapshots: Sequence[Snapshot]) -> None:
        """Enqueue live games in the transaction of the journal that hands them over: see `Journal`.

        Where the queue is full they are in the journal alone, and are to be handed over later.
        """
        going = [(each, each.handover) for each in snapshots if each.handover is not None]
        sent = [(each.record, Sender(to.trigger, to.priority, to.policy, live=True)) for each, to in going]
        with suppress(CapacityError):
            self.enqueue_within(connection, sent, checksums=[each.checksum for each, _ in going])

    def errors(self, keys: Sequence[EntityKey]) -> dict[EntityKey, str | None]:
        """Those of some live games that have a job which is not over, each with its error if that has FAILED."""
        found: dict[EntityKey, str | None] = {}
        for start in range(0, len(keys), _KEYS):
            some = jobs.c.entity_key.in_([encode_id(key.entity_id) for key in keys[start : start + _KEYS]])
            # One after another, for each state has an index of its own.
            either = or_(_PENDING & some, text("jobs.state = 1") & some, text("jobs.state = 3") & some)
            columns = select(jobs.c.entity_type, jobs.c.entity_key, jobs.c.state, jobs.c.error).order_by(jobs.c.id)
            with self.database.read() as connection:
                for row in connection.execute(columns.where(either, func.length(jobs.c.variant) == 0)).all():
                    key = EntityKey(row.entity_type, decode_id(row.entity_key))
                    found[key] = row.error if row.state == JobState.FAILED else None
        return found

    def overtake(self, connection: Connection, copies: Sequence[Copy]) -> None:
        """Settle copies of games in play that are archived past the queue, in the transaction that names them in the catalog.

        Jobs that wait with older states of these games are cancelled, for they would follow a newer one.

        Raises:
            ChangedError: if a game has gone on since it was copied.
            LockedError: if a worker has one of these games in hand.
        """
        self._steps.stop_enqueuing(connection)
        older: list[int] = []
        for copy in copies:
            key = copy.snapshot.key
            game = jobs.c.entity_key == encode_id(key.entity_id), jobs.c.entity_type == key.entity_type
            if connection.scalar(select(jobs.c.id).where(*game, text("jobs.state = 1"))) is not None:
                raise LockedError(f"The game {key.entity_id!r} is just being archived.", hint="Try again in a moment.")
            waiting = select(jobs.c.id).where(*game, _PENDING, jobs.c.checksum != copy.snapshot.checksum)
            older += connection.scalars(waiting.where(func.length(jobs.c.variant) == 0))
        self._steps.cancel(connection, older, self._clock.now(), "Something newer of this game is archived.")
        settle_copies(connection, copies)

    def _change(
        self,
        ids: Sequence[int],
        states: Collection[JobState],
        change: Callable[[Connection, Sequence[int]], Mapping[int, str]],
    ) -> Mapping[int, str]:
        """Change jobs that are in some states, and say why others are left as they are."""
        refused: dict[int, str] = dict.fromkeys(ids, "there is no such job")
        for start in range(0, len(ids), _CHUNK):
            with self.database.transact() as connection:
                self._steps.stop_enqueuing(connection)
                among = self.database.among(jobs.c.id, ids[start : start + _CHUNK])
                rows = connection.execute(select(jobs.c.id, jobs.c.state).where(among).order_by(jobs.c.id).with_for_update())
                found = {job_id: JobState(state) for job_id, state in rows}
                refused |= {job_id: f"it is {state.name.lower()}" for job_id, state in found.items()}
                changed = [job_id for job_id, state in found.items() if state in states]
                left = change(connection, changed)
            for job_id in changed:
                del refused[job_id]
            refused |= left
        return refused

    def expire(self, before: int) -> int:
        """Forget jobs that were DONE or CANCELLED before an instant, with their histories; how many those were."""
        forgotten = 0
        old = select(jobs.c.id).where(text("jobs.state IN (4, 5)"), jobs.c.finished_at < before).limit(_CHUNK)
        while True:
            with self.database.transact() as connection:
                ids = connection.scalars(old).all()
                connection.execute(delete(job_attempts).where(self.database.among(job_attempts.c.job_id, ids)))
                connection.execute(delete(jobs).where(self.database.among(jobs.c.id, ids)))
            forgotten += len(ids)
            if len(ids) < _CHUNK:
                return forgotten

    def workers(self) -> list[WorkerStatus]:
        """All workers that have a session, by name."""
        with self.database.read() as connection:
            rows = connection.execute(select(workers).order_by(workers.c.name)).all()
        return [
            WorkerStatus(
                row.name, row.host, row.pid, row.started_at, row.seen_at, row.paused,
                Process(row.host, row.boot, row.pid).is_gone(row.token), row.status,
            )
            for row in rows
        ]  # fmt: skip

    def pause(self, name: str | None = None, *, paused: bool = True) -> int:
        """Ask a worker, or all, to pause until they are asked to go on; how many those are."""
        asked = update(workers).values(paused=paused)
        with self.database.transact() as connection:
            found = connection.execute(asked if name is None else asked.where(workers.c.name == name)).rowcount
            arrivals.announce(self.database, connection)
        return found
