"""A worker's session with the queue: it leases jobs, and says what became of them.

A session is a row of its own in the database, with a token that no other has. A job's lease is its worker's session: it is
renewed by one row's update, a *beat*, however many jobs the worker has, and lost when another worker takes this one for dead.
Then its row is gone, its jobs are others', and nothing that it still does can be committed: `WorkerSession.ack` is done in the
very transaction that names the games in the catalog, and undoes it if one of the jobs is not this session's any more.

Who is dead is told without comparing clocks. With each beat a worker looks at the others' beats, and counts, by its own
monotonic clock, for how long one has not risen; a third of a lease at most from one look to the next, so that a worker that
slept, or that waited long for the database like all others, does not take them for dead when it wakes first. After
`LEASE_SECONDS` of that a worker is dead. One that was a process of this very machine and is gone is dead at once.

All methods block, are for threads, and may be called by several at a time.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import accumulate
from random import SystemRandom
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, bindparam, delete, exists, insert, literal_column, or_, select, text, update

from gamearchive.clock import Clock
from gamearchive.database import processes
from gamearchive.database.arrivals import Arrivals
from gamearchive.database.engine import Database
from gamearchive.database.processes import Process
from gamearchive.database.records import record_of
from gamearchive.database.schema import job_records, jobs, workers
from gamearchive.errors import ConfigurationError, GameArchiveError, LeaseLostError, LockedError
from gamearchive.jobs import Job, JobState, Outcome, sender_of
from gamearchive.journal import settle
from gamearchive.model import id_problem
from gamearchive.steps import RETRYABLE, RUNNING, WAITING, GivenBack, Steps

LEASE_SECONDS = 10.0
"""A worker whose beats others have not seen rise for so long is dead. It beats some four times as often."""

OPEN_WAIT_SECONDS = 15.0
MAX_LEASED_BYTES = 16 << 20
"""So many bytes of games are leased at a time; a game that is larger comes alone."""

MAX_DELAY_SECONDS = 3600.0
MAX_RETRIES = 3
RETRY_SECONDS = 30.0

_POLL_SECONDS = 0.25

_OLDER, _BUSY = jobs.alias("older"), jobs.alias("busy")
_BLOCKED = or_(
    exists().where(
        _OLDER.c.entity_key == jobs.c.entity_key,
        _OLDER.c.entity_type == jobs.c.entity_type,
        text("older.state IN (0, 2)"),
        _OLDER.c.id < jobs.c.id,
    ),
    exists().where(_BUSY.c.entity_key == jobs.c.entity_key, _BUSY.c.entity_type == jobs.c.entity_type, text("busy.state = 1")),
)
"""Whether an older job of the same game has yet to be done."""

_READY = (
    select(jobs.c.id, jobs.c.raw_bytes)
    .where(WAITING, ~_BLOCKED)
    .order_by(jobs.c.rank, jobs.c.id)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True, of=jobs)
)
_DUE = (
    select(jobs.c.id)
    .where(RETRYABLE, or_(jobs.c.due_at <= bindparam("now"), jobs.c.due_at > bindparam("latest")))
    .with_for_update(skip_locked=True)
)


class Beat(NamedTuple):
    """What a beat told: whether this worker is asked to pause, and which jobs of dead workers it rescued."""

    paused: bool
    rescued: Sequence[int]


class _Watched(NamedTuple):
    """How far another worker had beaten when it was last looked at, and for how long it had not risen by then."""

    beats: int
    silent: float


class WorkerSession:
    """One worker's session.

    Args:
        database: where the queue is.
        clock: the time.
        name: the worker's: its own, for as long as it lives.
        lease_seconds: how long after its last beat others take it for dead.
        max_retries: so many times a job is tried again.
        retry_seconds: the most that the first retry waits; it doubles with each, up to `MAX_DELAY_SECONDS`, and how much of
            it is waited is left to chance.

    Raises:
        ConfigurationError: if the name is none that a database can hold.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        name: str,
        *,
        lease_seconds: float = LEASE_SECONDS,
        max_retries: int = MAX_RETRIES,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        if problem := id_problem(name):
            raise ConfigurationError(f"A worker cannot be named {name!r}: {problem}.", hint="Give it a short, plain name.")
        self.database = database
        self.name = name
        self._clock = clock
        self._max_retries = max_retries
        self._retry_seconds = retry_seconds
        self._random = SystemRandom()
        self._token: int | None = None
        self._steps = Steps(database)
        these = database.among(jobs.c.id, "ids")
        self._lease = update(jobs).where(these).values(
            state=literal_column("1"), worker=bindparam("name"), token=bindparam("token"), leased_at=bindparam("now")
        )  # fmt: skip
        self._games = (
            select(jobs, job_records)
            .join(job_records, job_records.c.job_id == jobs.c.id)
            .where(these)
            .order_by(jobs.c.rank, jobs.c.id)
        )
        self._silence = _Silence(lease_seconds, clock)
        self._arrivals = Arrivals(database)

    def open(self, wait: float = OPEN_WAIT_SECONDS) -> None:
        """Begin the session: make the tables if need be, take the name, and rescue what a dead worker of that name had.

        Args:
            wait: seconds to wait for a name that may still be in use, and for a database that is being made anew.

        Raises:
            LockedError: if a living worker has the name, or the database is still being made anew.
            DatabaseUnavailableError: if the database cannot be asked.
        """
        if self._arrivals.closed:
            self._arrivals = Arrivals(self.database)
        with self.database.stay(wait):
            self.database.create()
            for _ in range(round(wait / _POLL_SECONDS)):
                if self._take_name():
                    return
                time.sleep(_POLL_SECONDS)
            if not self._take_name():
                raise LockedError(
                    f"There is a living worker named {self.name!r}.", hint="Stop it first, or give this one another --name."
                )

    def _take_name(self) -> bool:
        now, token = self._clock.now(), secrets.randbits(62)
        with self.database.transact() as connection:
            self._rescue(connection)
            if connection.scalar(select(workers.c.id).where(workers.c.name == self.name)) is not None:
                return False
            row = {"name": self.name, "token": token, **processes.this_process()._asdict(), "started_at": now}
            connection.execute(insert(workers).values(**row, beats=0, seen_at=now, paused=False, status="{}"))
        processes.remember(token)
        self._token = token
        return True

    def beat(self, status: str = "{}") -> Beat:
        """Renew the session, some four times in `LEASE_SECONDS`, and rescue the jobs of workers that are dead.

        Args:
            status: what the worker says of itself, as JSON; for people.

        Raises:
            LeaseLostError: if it was taken for dead itself. Its jobs are others'; it may `open` a session anew.
            LockedError, DatabaseUnavailableError: if the database cannot be written now.
        """
        with self.database.transact() as connection:
            paused = self._renew(connection, status=status, seen_at=self._clock.now())
            return Beat(paused, self._rescue(connection))

    def lease(self, limit: int, types: Collection[str] = (), *, max_bytes: int = MAX_LEASED_BYTES) -> list[Job]:
        """Take jobs to work on, the most urgent first; none while this worker is asked to pause.

        A job is not leased while an older one of the same game is pending or runs.

        Args:
            limit: so many at most.
            types: only games of these types; empty: of all.
            max_bytes: so many bytes of games at most, but at least one.

        Raises:
            LeaseLostError, LockedError, DatabaseUnavailableError: see `beat`.
        """
        now = self._clock.now()
        with self.database.transact() as connection:
            if self._is_paused(connection):
                return []
            self._promote(connection, now)
            if self.database.path is None:
                # Where it has not looked at the table lately, it takes the jobs for few, and sorts them all.
                connection.execute(text("SET LOCAL enable_sort = off"))
            ready = _READY.where(jobs.c.entity_type.in_(types)) if types else _READY
            ids = _within([(row.id, row.raw_bytes) for row in connection.execute(ready, {"limit": limit}).all()], max_bytes)
            if not ids:
                return []  # and nothing is written, so that workers that look in vain do not wake each other
            self._renew(connection)
            leased = {"ids": self.database.listed(ids), "name": self.name, "token": self._token, "now": now}
            connection.execute(self._lease, leased)
            return self._load(connection, ids)

    def ack(self, connection: Connection, done: Sequence[Job]) -> None:
        """Note that games are archived, in the transaction that names them in the catalog: see `Catalog.add`.

        Their snapshots, of games that are live, go from the journal where they have the very same bytes.

        Raises:
            LeaseLostError: if one of the jobs is not this session's any more: the transaction must be undone.
        """
        ids = [job.id for job in done]
        if len(self._steps.own(connection, ids, self._token)) < len(ids):
            raise self._lost()
        self._steps.finish(connection, ids, self._clock.now())
        settle(connection, [(job.key, job.checksum) for job in done if job.sender.live])

    def retry(self, failed: Sequence[Job], error: str) -> None:
        """Give back jobs whose attempt failed: to be tried again later, or to the dead letters if this was their last.

        Those that are not this session's any more are left alone, here and below.
        """

        def tried(job_id: int, attempts: int, now: int) -> GivenBack:
            if attempts >= self._max_retries:
                return GivenBack(job_id, JobState.FAILED, counts=True)
            most = min(self._retry_seconds * 2.0**attempts, MAX_DELAY_SECONDS)
            return GivenBack(job_id, JobState.RETRYABLE, now + _micros(self._random.uniform(0, most)), counts=True)

        self._give_back(failed, Outcome.ERROR, error, tried)

    def fail(self, failed: Sequence[Job], error: str) -> None:
        """Give back jobs that can never be archived, to the dead letters."""

        def dead(job_id: int, _attempts: int, _now: int) -> GivenBack:
            return GivenBack(job_id, JobState.FAILED, counts=True)

        self._give_back(failed, Outcome.ERROR, error, dead)

    def release(self, unfinished: Sequence[Job], why: str, delay: float = 0.0) -> None:
        """Give back jobs through no fault of theirs: the worker stops, or cannot reach the archive. That is no attempt.

        Args:
            unfinished: the jobs.
            why: for the history.
            delay: seconds until they may be leased again; `MAX_DELAY_SECONDS` at most.
        """

        def released(job_id: int, _attempts: int, now: int) -> GivenBack:
            if delay <= 0:
                return GivenBack(job_id, JobState.WAITING)
            return GivenBack(job_id, JobState.RETRYABLE, now + _micros(min(delay, MAX_DELAY_SECONDS)))

        self._give_back(unfinished, Outcome.RELEASED, why, released)

    def wait(self, seconds: float) -> bool:
        """Wait until jobs may have come, at most so long; whether some may have. For one thread at a time.

        It tells of jobs that were enqueued, given back or put off for nothing, not of those whose next try is due.

        Raises:
            DatabaseUnavailableError: if the database cannot be asked.
        """
        return self._arrivals.wait(seconds)

    def close(self) -> None:
        """End the session. Jobs that it still has are released."""
        self._arrivals.close()
        token, self._token = self._token, None
        if token is None:
            return
        processes.forget(token)
        with self.database.transact() as connection:
            if connection.execute(delete(workers).where(workers.c.token == token)).rowcount:
                self._rescue_orphans(connection, Outcome.RELEASED, "Its worker stopped.")

    def _is_paused(self, connection: Connection) -> bool:
        """Whether this worker is asked to pause, once it is sure that the session is there."""
        paused = connection.scalar(select(workers.c.paused).where(workers.c.token == self._require_open()))
        if paused is None:
            raise self._lost()
        return bool(paused)

    def _renew(self, connection: Connection, **values: object) -> bool:
        """Make sure that the session is there, and lock it; whether this worker is asked to pause."""
        beat = update(workers).where(workers.c.token == self._require_open()).values(beats=workers.c.beats + 1, **values)
        paused = connection.execute(beat.returning(workers.c.paused)).scalar()
        if paused is None:
            raise self._lost()
        return bool(paused)

    def _require_open(self) -> int:
        if self._token is None:
            raise GameArchiveError(f"The session of worker {self.name!r} is not open.", hint="Call its `open` first.")
        return self._token

    def _lost(self) -> LeaseLostError:
        return LeaseLostError(
            f"The worker {self.name!r} was taken for dead, and its jobs are others' now.", hint="Let it begin a session anew."
        )

    def _promote(self, connection: Connection, now: int) -> None:
        """Let jobs wait for a worker whose next try is due. One that is due later than can be was put off before the clock
        was set back."""
        if found := connection.scalars(_DUE, {"now": now, "latest": now + _micros(MAX_DELAY_SECONDS)}).all():
            waiting = update(jobs).where(self.database.among(jobs.c.id, found))
            connection.execute(waiting.values(state=int(JobState.WAITING), due_at=None))

    def _load(self, connection: Connection, ids: Sequence[int]) -> list[Job]:
        rows = connection.execute(self._games, {"ids": self.database.listed(ids)}).all()
        with self.database.decoding():
            return [
                Job(
                    row.id,
                    record_of(row.entity_type, row.entity_key, row.content_type, row.facts, row.tags, row.payload),
                    row.checksum,
                    sender_of(row),
                    row.enqueued_at,
                    row.attempts,
                )
                for row in rows
            ]

    def _give_back(
        self, unfinished: Sequence[Job], outcome: Outcome, why: str, given: Callable[[int, int, int], GivenBack]
    ) -> None:
        now = self._clock.now()
        with self.database.transact() as connection:
            own = self._steps.own(connection, [job.id for job in unfinished], self._token)
            self._steps.give_back(connection, [given(*row, now) for row in own], now, outcome, why)

    def _rescue(self, connection: Connection) -> Sequence[int]:
        """Strike dead workers from the list, so that nothing they do can be committed, and give back what they had."""
        others = connection.execute(select(workers).where(workers.c.token != (self._token or 0)).order_by(workers.c.id)).all()
        for row in self._silence.dead(others):
            # If it beats after all it is found out here, where its row is locked.
            connection.execute(delete(workers).where(workers.c.token == row.token, workers.c.beats == row.beats))
        return self._rescue_orphans(connection, Outcome.DIED, "Its worker died.")

    def _rescue_orphans(self, connection: Connection, outcome: Outcome, why: str) -> Sequence[int]:
        orphaned = select(jobs.c.id, jobs.c.attempts).where(RUNNING, ~exists().where(workers.c.token == jobs.c.token))
        # By their numbers, so that two who rescue do not wait for each other; not by the index on these, for they are few.
        orphaned = orphaned.order_by(jobs.c.id + literal_column("0")).with_for_update(of=jobs)
        rows = connection.execute(orphaned).all()
        died = outcome is Outcome.DIED
        given = [
            GivenBack(row.id, JobState.FAILED if died and row.attempts >= self._max_retries else JobState.WAITING, counts=died)
            for row in rows
        ]
        self._steps.give_back(connection, given, self._clock.now(), outcome, why)
        return [each.id for each in given]


class _Silence:
    """How long other workers have been silent, as far as this one has watched them.

    Args:
        seconds: of silence after which a worker is dead.
        clock: what they are counted by.
    """

    def __init__(self, seconds: float, clock: Clock) -> None:
        self._seconds = seconds
        self._clock = clock
        self._watched: dict[int, _Watched] = {}
        self._looked = 0.0

    def dead(self, others: Iterable[Row[Any]]) -> list[Row[Any]]:
        """Look at all other workers; those of them that are dead."""
        now = self._clock.monotonic()
        passed = min(now - self._looked, self._seconds / 3)
        self._looked = now
        before, self._watched = self._watched, {}
        found = []
        for row in others:
            was = before.get(row.token)
            silent = was.silent + passed if was is not None and was.beats == row.beats else 0.0
            self._watched[row.token] = _Watched(row.beats, silent)
            if silent >= self._seconds or Process(row.host, row.boot, row.pid).is_gone(row.token):
                found.append(row)
        return found


def _within(ready: Sequence[tuple[int, int]], max_bytes: int) -> list[int]:
    """The first of some jobs, given with their sizes: as many as go into so many bytes, but at least one."""
    sizes = accumulate(size for _, size in ready)
    fitting = [job_id for (job_id, _), size in zip(ready, sizes, strict=True) if size <= max_bytes]
    return fitting or [job_id for job_id, _ in ready[:1]]


def _micros(seconds: float) -> int:
    return round(seconds * 1_000_000)
