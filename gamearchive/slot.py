"""A slot of a daemon: a thread that takes a batch of jobs, archives it, and settles what becomes of each of them.

What becomes of a batch that could not be archived:

- The storage cannot be reached: its jobs wait again, as if they had not been tried, and the breaker opens.
- The database cannot be reached, or stays locked: there is no place to put the jobs back to. They stay in hand, and are tried
  again as soon as it can.
- Others have taken this worker for dead: nothing that it does can be committed any more, and it lets go of the jobs.
- Anything else is some job's own fault: the batch is cut in halves until it is alone. The others are archived; it is tried
  again later, or, where that would be in vain, given up.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gamearchive.archive import Archive, OnConflict
from gamearchive.breaker import Breaker
from gamearchive.clock import Clock
from gamearchive.errors import (
    DatabaseUnavailableError,
    EncodingError,
    GameArchiveError,
    IntegrityError,
    LeaseLostError,
    LockedError,
    UnavailableError,
    UnsupportedError,
    UsageError,
)
from gamearchive.events import Batch, Failed, LeaseLost, Listener, Reachable, Released, Trouble, Unreachable
from gamearchive.jobs import Job
from gamearchive.leases import WorkerSession
from gamearchive.model import Sender, checksum
from gamearchive.tally import SlotStatus
from gamearchive.tenure import Tenure

BATCH_BYTES = 64 << 20
"""A batch has at most so many bytes of games, or one game."""
PROBE = 10
"""So many games go out to see whether the storage can be reached again."""
IDLE_SECONDS = 1.0
"""So often one of the slots looks for jobs whose next try is due, where nothing rings."""

_PERMANENT = (UsageError, UnsupportedError, EncodingError)
_NO_DATABASE = (DatabaseUnavailableError, LockedError)


class Bell:
    """Wakes those who wait, all of them."""

    def __init__(self) -> None:
        self._rung = threading.Condition()

    def ring(self) -> None:
        """Wake all who wait now."""
        with self._rung:
            self._rung.notify_all()

    def wait(self, seconds: float) -> None:
        """Wait until it is rung, or for so long."""
        with self._rung:
            self._rung.wait(seconds)


@dataclass
class Shared:
    """What the slots of a daemon share.

    They plan and commit in ``turn``. ``stopping`` is set once no more jobs are to be taken, ``abandoned`` once nothing that is
    in hand is waited for any more.
    """

    archive: Archive
    session: WorkerSession
    clock: Clock
    tell: Listener
    storage: Breaker
    database: Breaker
    tenure: Tenure
    slots: int
    batch_size: int
    max_retries: int
    types: Sequence[str] = ()
    stopping: threading.Event = field(default_factory=threading.Event)
    abandoned: threading.Event = field(default_factory=threading.Event)
    bell: Bell = field(default_factory=Bell)
    turn: threading.Lock = field(default_factory=threading.Lock)

    def fail(self, breaker: Breaker, error: Exception) -> None:
        """Note that what is behind a breaker cannot be reached."""
        if breaker.fail(str(error)):
            self.tell(Unreachable(what=self._name(breaker), message=str(error), pause_seconds=breaker.seconds_left()))

    def succeed(self, breaker: Breaker) -> None:
        """Note that it can."""
        if breaker.succeed():
            self.tell(Reachable(what=self._name(breaker)))
            self.bell.ring()

    def _name(self, breaker: Breaker) -> str:
        return "storage" if breaker is self.storage else "database"


class Slot:
    """A slot.

    Args:
        number: from 1.
        shared: what it has in common with the others.
    """

    def __init__(self, number: int, shared: Shared) -> None:
        self.number, self._shared = number, shared
        self.in_hand: Sequence[Job] = ()
        self.empty = False
        """Whether the last look into the queue found nothing."""
        self._doing = "idle"
        self._since = shared.clock.monotonic()
        self._thread = threading.Thread(target=self._run, name=f"gamearchive-slot-{number}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    @property
    def ended(self) -> bool:
        """Whether it has, after the daemon was stopped."""
        return not self._thread.is_alive()

    def status(self) -> SlotStatus:
        """What it is doing."""
        return SlotStatus(self._doing, len(self.in_hand), round(self._shared.clock.monotonic() - self._since, 3))

    def _do(self, what: str) -> float:
        """Note what it does from now on; the seconds that the last thing took."""
        now = self._shared.clock.monotonic()
        seconds, self._since, self._doing = now - self._since, now, what
        return seconds

    def _run(self) -> None:
        shared = self._shared
        while not shared.stopping.is_set():
            try:
                pause = self._step()
            except Exception as error:  # noqa: BLE001 - a slot goes on, whatever was wrong with a batch
                shared.tell(Trouble(doing="archiving", message=f"{type(error).__name__}: {error}"))
                shared.database.abstain()
                shared.storage.abstain()
                pause = IDLE_SECONDS
            if pause:
                self._do("idle")
                shared.bell.wait(pause)

    def _step(self) -> float:
        """Archive a batch; how long to wait then: 0 where there may be more."""
        shared = self._shared
        if not shared.database.admit(1, 1):
            return min(shared.database.seconds_left() or IDLE_SECONDS, IDLE_SECONDS)
        limit = shared.storage.admit(shared.batch_size, PROBE)
        if not limit:
            shared.database.abstain()
            return min(shared.storage.seconds_left() or IDLE_SECONDS, IDLE_SECONDS)
        started = shared.clock.monotonic()
        try:
            jobs = shared.session.lease(limit, shared.types, max_bytes=BATCH_BYTES)
        except LeaseLostError:  # the heartbeat begins a session anew
            shared.storage.abstain()
            shared.database.abstain()
            return IDLE_SECONDS
        except _NO_DATABASE as error:
            shared.storage.abstain()
            shared.fail(shared.database, error)
            return min(shared.database.seconds_left(), IDLE_SECONDS)
        shared.succeed(shared.database)
        self.empty = not jobs
        if not jobs:
            shared.storage.abstain()
            shared.tenure.rest()
            return IDLE_SECONDS * shared.slots  # in turn with the others
        if len(jobs) == limit:
            shared.bell.ring()  # there may be more
        try:
            self._carry(jobs, shared.clock.monotonic() - started)
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            self._settle(lambda: shared.session.retry(jobs, why))  # those that are not settled yet
            raise
        finally:
            self.in_hand = ()
            shared.storage.abstain()
        return 0.0

    def _carry(self, jobs: Sequence[Job], leasing: float) -> None:
        """Archive a batch, in as many shipments as it has senders."""
        self.in_hand = jobs
        groups: dict[Sender, list[Job]] = {}
        for job in jobs:
            if checksum(job.record.payload) == job.checksum:
                groups.setdefault(job.sender, []).append(job)
            else:
                damaged = IntegrityError("The game is not what was enqueued: its bytes do not have its checksum.")
                self._fail(job, damaged, permanent=True)
        for sender, group in groups.items():
            self._ship(sender, group, leasing)
            leasing = 0.0

    def _ship(self, sender: Sender, jobs: Sequence[Job], leasing: float = 0.0) -> None:
        shared = self._shared
        error: Exception
        while True:
            try:
                batch = self._archive(sender, jobs, leasing)
            except _NO_DATABASE as caught:
                if not self._await_database(caught):
                    return
            except Exception as caught:  # noqa: BLE001 - whatever a backend raises, its games must not be lost
                error = caught
                break
            else:
                shared.succeed(shared.storage)
                shared.succeed(shared.database)
                shared.tell(batch)
                return
        if isinstance(error, UnavailableError):
            shared.fail(shared.storage, error)
            self._settle(lambda: shared.session.release(jobs, str(error), shared.storage.seconds_left()))
            shared.tell(Released(games=len(jobs), reason=str(error)))
        elif isinstance(error, LeaseLostError):
            shared.tell(LeaseLost(games=len(jobs), message=str(error)))
            self._settle(lambda: shared.session.release(jobs, "Its batch was undone."))  # those that were not lost
        elif len(jobs) > 1:
            half = len(jobs) // 2
            self._ship(sender, jobs[:half])
            self._ship(sender, jobs[half:])
        else:
            self._fail(jobs[0], error, permanent=isinstance(error, _PERMANENT))

    def _archive(self, sender: Sender, jobs: Sequence[Job], leasing: float) -> Batch:
        shared, archive = self._shared, self._shared.archive
        started = shared.clock.monotonic() - leasing
        stages = {"lease": leasing} if leasing else {}
        self._do("wait")
        with shared.tenure.held():
            with shared.turn:
                self._do("plan")
                checksums = [job.checksum for job in jobs]
                plan = archive.plan([job.record for job in jobs], sender, OnConflict.REPLACE, checksums=checksums)
            stages["plan"] = self._do("put")
            deposit = archive.put(plan)
            stages["put"] = self._do("wait")
            with shared.turn:
                self._do("commit")
                added = archive.commit(plan, deposit, settle=lambda connection: shared.session.ack(connection, jobs))
            stages["commit"] = self._do("settle")
        return Batch(
            slot=self.number,
            games=len(jobs),
            skipped=len(jobs) - len(added.entries),
            raw_bytes=sum(len(job.record.payload) for job in jobs),
            stored_bytes=added.stored_bytes,
            seconds=shared.clock.monotonic() - started,
            stages=stages,
            attempts=Counter(job.attempts + 1 for job in jobs),
        )

    def _fail(self, job: Job, error: Exception, *, permanent: bool) -> None:
        shared = self._shared
        code = error.code if isinstance(error, GameArchiveError) else type(error).__name__
        message = str(error) if isinstance(error, GameArchiveError) else f"{type(error).__name__}: {error}"
        give_back = shared.session.fail if permanent else shared.session.retry
        self._settle(lambda: give_back([job], message))
        record = job.record
        shared.tell(
            Failed(
                job=job.id,
                entity_type=record.entity_type,
                entity_id=record.entity_id,
                attempt=job.attempts + 1,
                final=permanent or job.attempts >= shared.max_retries,
                code=code,
                message=message,
            )
        )

    def _settle(self, call: Callable[[], object]) -> None:
        """Tell the queue what became of jobs, as soon as that can be, unless they are not ours any more, or it is too late."""
        while True:
            try:
                call()
            except _NO_DATABASE as error:
                if not self._await_database(error):
                    return
            else:
                return

    def _await_database(self, error: Exception) -> bool:
        """Wait for a moment in which the database may be there again; False if there is no time left for it."""
        shared = self._shared
        shared.fail(shared.database, error)
        self._do("wait")
        if shared.abandoned.wait(shared.database.seconds_left() or IDLE_SECONDS):
            return False
        shared.database.admit(1, 1)  # what is tried next is the probe
        return True
