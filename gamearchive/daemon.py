"""`Daemon`: what ``gamearchive worker run`` runs. It archives what waits in the queue until it is stopped.

Its slots archive, each a batch at a time (see `slot`). Beside them work, each in a thread of its own and each in rounds:

- the heartbeat, by which the others know that this worker lives, which carries what it says of itself, and rescues the jobs of
  those that do not live any more;
- the count of what waits;
- the doorbell, which wakes idle slots when jobs come;
- the duties: see `maintenance`.

The loop that holds all this together is the caller's own, in `Daemon.run`. Asked to stop, it takes no more jobs, gives those in
hand their time, and puts back what is left: a slot that is not done by then finds its lease gone, and its batch undone.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import count

import msgspec

from gamearchive.administration import Administration
from gamearchive.breaker import Breaker, Circuit
from gamearchive.errors import DatabaseUnavailableError, GameArchiveError, LeaseLostError, LockedError, UnavailableError
from gamearchive.events import (
    Event,
    Lag,
    LeaseLost,
    Listener,
    Paused,
    Progress,
    Released,
    Rescued,
    Resumed,
    Started,
    Stopping,
    Trouble,
)
from gamearchive.jobs import CURRENT, Job, JobState
from gamearchive.leases import LEASE_SECONDS, WorkerSession
from gamearchive.maintenance import duties
from gamearchive.model import ArchivalPriority
from gamearchive.rounds import Rounds
from gamearchive.slot import Shared, Slot
from gamearchive.tally import Status, Tally
from gamearchive.tenure import Tenure
from gamearchive.units import SECOND

TICK_SECONDS = 0.25
_BELL_SECONDS = 1.0
_COUNT_SHARE = 0.005
"""Counting what waits may take so much of the time."""
_LAST_FAILURE = 3
"""A burst gives up when the storage or the database was not there for so many times in a row."""
_ENDING_SECONDS = 2.0
_PRIORITIES = [priority.name.lower() for priority in ArchivalPriority]


@dataclass(frozen=True)
class DaemonOptions:
    """How a daemon is to work.

    Args:
        concurrency: so many slots.
        batch_size: so many games are archived together at most.
        types: only games of these types; of all, if empty.
        name: by which the worker is known; None for the machine's, with a number behind it if that is taken.
        grace: seconds for what is in hand when it is to stop.
        burst: whether it ends when nothing waits any more.
        count_seconds: how often it counts what waits.
    """

    concurrency: int
    batch_size: int
    types: Sequence[str] = ()
    name: str | None = None
    grace: float = 30.0
    burst: bool = False
    count_seconds: float = 5.0


class Daemon:
    """A daemon.

    Args:
        administration: the archive, and its settings.
        options: how it is to work.
        listeners: take its events, each in the thread that it comes from.
    """

    def __init__(self, administration: Administration, options: DaemonOptions, listeners: Sequence[Listener] = ()) -> None:
        self._administration, self.options = administration, options
        self._listeners = list(listeners)
        self.clock = administration.clock
        self._settings = administration.settings
        self.queue = administration.queue
        self.started = False
        self.paused = False
        self._to_pause: bool | None = None
        self.tally = Tally(self.clock)
        self._counted_at = -1e9
        self._counting_seconds = 0.0
        self._shared = Shared(
            archive=administration.core,
            session=self._session(options.name or socket.gethostname() or "worker"),
            clock=self.clock,
            tell=self.tell,
            storage=Breaker(self.clock),
            database=Breaker(self.clock, first=0.25, longest=5.0),
            tenure=Tenure(administration.database, self.clock),
            slots=options.concurrency,
            batch_size=options.batch_size,
            max_retries=self._settings.worker.max_retries,
            types=options.types,
        )
        self._slots = [Slot(number, self._shared) for number in range(1, options.concurrency + 1)]
        self._heartbeat = Rounds("heartbeat", LEASE_SECONDS / 4, self._beat, self.tell)
        self._rounds: list[Rounds] = []
        self._ticked_at = self.clock.monotonic()

    def _session(self, name: str) -> WorkerSession:
        worker = self._settings.worker
        return WorkerSession(
            self.queue.database, self.clock, name, max_retries=worker.max_retries, retry_seconds=worker.retry_delay
        )

    @property
    def name(self) -> str:
        """By which the worker is known."""
        return self._shared.session.name

    def listen(self, listener: Listener) -> None:
        """Have somebody take the events that are to come."""
        self._listeners.append(listener)

    def tell(self, event: Event) -> None:
        """Tell all who listen of an event."""
        self.tally.listen(event)
        for listener in self._listeners:
            listener(event)

    @property
    def state(self) -> str:
        """What it is doing: ``working``, ``idle``, ``paused`` or ``stopping``."""
        if self._shared.stopping.is_set():
            return "stopping"
        if self.paused:
            return "paused"
        return "working" if any(slot.in_hand for slot in self._slots) else "idle"

    def status(self) -> Status:
        """All that it says of itself."""
        storage, database = self._shared.storage, self._shared.database
        return self.tally.status(
            self.state,
            [slot.status() for slot in self._slots],
            storage=storage.circuit.value,
            database=database.circuit.value,
            trouble=storage.reason or database.reason,
        )

    def is_alive(self) -> bool:
        """Whether its loop goes round."""
        return self.clock.monotonic() - self._ticked_at < 20 * TICK_SECONDS

    def is_ready(self) -> bool:
        """Whether it can archive just now."""
        circuits = (self._shared.storage.circuit, self._shared.database.circuit)
        return (
            self.started
            and self.is_alive()
            and self.state in ("working", "idle")
            and circuits == (Circuit.CLOSED, Circuit.CLOSED)
        )

    def pause(self, paused: bool) -> None:
        """Have this worker pause, or go on, for everybody to see; at once, or as soon as the database can be told."""
        self._to_pause = paused
        self._heartbeat.hurry()

    async def run(self, stopping: Callable[[], bool], each_tick: Callable[[], None], metrics_port: int | None = None) -> None:
        """Archive until asked to stop, or, in a burst, until nothing waits.

        Args:
            stopping: whether it is asked to stop; asked some times a second.
            each_tick: called as often, in the loop's own thread.
            metrics_port: where it can be asked for its metrics, for the log.

        Raises:
            LockedError: if a living worker has its name.
            UnavailableError: of a burst, if the storage or the database is not there.
        """
        with ExitStack() as stack:
            if not await self._is_prepared(stopping, each_tick):
                return
            await asyncio.to_thread(self._begin, stack, metrics_port)
            self.started = True
            each_tick()
            await self._turn(stopping, each_tick)
            await self._end(each_tick)
        if self.options.burst:
            for breaker in (self._shared.storage, self._shared.database):
                if breaker.failures >= _LAST_FAILURE:
                    raise UnavailableError(str(breaker.reason))

    async def _is_prepared(self, stopping: Callable[[], bool], each_tick: Callable[[], None]) -> bool:
        """Make sure that there is an archive, as soon as its storage and its database are there; False if it was not to be."""
        while not stopping():
            try:
                await asyncio.to_thread(self._administration.prepare)
            except UnavailableError as error:
                if self.options.burst:
                    raise
                breaker = self._shared.database if isinstance(error, DatabaseUnavailableError) else self._shared.storage
                self._shared.fail(breaker, error)
                while breaker.seconds_left() and not stopping():
                    await self._tick(each_tick)
                breaker.admit(1, 1)
            else:
                for breaker in (self._shared.storage, self._shared.database):
                    self._shared.succeed(breaker)
                return True
        return False

    def _begin(self, stack: ExitStack, metrics_port: int | None) -> None:
        """Take a name, and start."""
        stack.enter_context(self._administration.database.stay())
        self._take_name()
        stack.callback(self._leave)
        shown, slots = self._settings.shown(), len(self._slots)
        places = {"database": str(shown["database"]), "storage": str(shown["storage"])}
        self.tell(Started(worker=self.name, slots=slots, **places, metrics_port=metrics_port))
        self._rounds = [
            self._heartbeat,
            Rounds("counting", self.options.count_seconds, self._count, self.tell),
            Rounds("waiting for jobs", 0.0, self._attend, self.tell),
            *duties(self._administration, self.name, self.tell, stopping=self._shared.stopping.is_set),
        ]
        for each in self._rounds:
            each.start()
        for slot in self._slots:
            slot.start()

    def _take_name(self) -> None:
        if self.options.name:
            self._shared.session.open()
            return
        host = self.name
        for number in count(2):
            try:
                self._shared.session.open(wait=0.0)
            except LockedError:
                self._shared.session = self._session(f"{host}-{number}")
            else:
                return

    def _leave(self) -> None:
        self._shared.tenure.rest()
        with suppress(GameArchiveError):  # what cannot be told now, the others find out
            self._shared.session.close()

    async def _turn(self, stopping: Callable[[], bool], each_tick: Callable[[], None]) -> None:
        """Go round until it is to stop."""
        while not (stopping() or (self.options.burst and self._is_done())):
            await self._tick(each_tick)
        self._shared.stopping.set()
        in_hand = sum(len(slot.in_hand) for slot in self._slots)
        self.tell(Stopping(in_hand=in_hand, grace_seconds=self.options.grace))
        self._shared.bell.ring()

    async def _tick(self, each_tick: Callable[[], None]) -> None:
        before = self.clock.monotonic()
        await asyncio.sleep(TICK_SECONDS)
        self._ticked_at = self.clock.monotonic()
        self.tell(Lag(seconds=max(self._ticked_at - before - TICK_SECONDS, 0.0)))
        each_tick()

    def _is_done(self) -> bool:
        """Whether a burst has nothing to do any more, or nothing to do it with."""
        if any(breaker.failures >= _LAST_FAILURE for breaker in (self._shared.storage, self._shared.database)):
            return True
        return all(slot.empty and not slot.in_hand for slot in self._slots)

    async def _end(self, each_tick: Callable[[], None]) -> None:
        """Give what is in hand its time, and put back what is left."""
        deadline = self.clock.monotonic() + self.options.grace
        while not all(slot.ended for slot in self._slots) and self.clock.monotonic() < deadline:
            await self._tick(each_tick)
        self._shared.abandoned.set()
        for each in self._rounds:
            each.stop()
        left = [job for slot in self._slots for job in slot.in_hand]
        if left:
            putting_back = asyncio.to_thread(self._put_back, left)
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(putting_back), _ENDING_SECONDS)

    def _put_back(self, jobs: Sequence[Job]) -> None:
        try:
            self._shared.session.release(jobs, "Its worker was stopped.")
        except GameArchiveError as error:
            self.tell(Trouble(doing="putting jobs back", message=str(error)))
        else:
            self.tell(Released(games=len(jobs), reason="The worker was stopped."))

    def _beat(self) -> None:
        """Say that this worker lives; where others have taken it for dead, come back as another."""
        if (asked := self._to_pause) is not None:
            self.queue.pause(self.name, paused=asked)
            self._to_pause = None if self._to_pause is asked else self._to_pause
        try:
            paused, rescued = self._shared.session.beat(msgspec.json.encode(self.status()).decode())
        except LeaseLostError as error:
            self.tell(LeaseLost(games=sum(len(slot.in_hand) for slot in self._slots), message=str(error)))
            self._shared.session.open()
            return
        if rescued:
            self.tell(Rescued(jobs=len(rescued)))
        if paused != self.paused:
            self.paused = paused
            self.tell(Paused() if paused else Resumed())
            self._shared.bell.ring()

    def _count(self) -> None:
        """Count what waits, unless that would take too large a share of the time."""
        started = self.clock.monotonic()
        if started - self._counted_at < self._counting_seconds / _COUNT_SHARE:
            return
        counted = self.queue.counts()
        self._counted_at = self.clock.monotonic()
        self._counting_seconds = self._counted_at - started
        jobs = {state.name.lower(): dict.fromkeys(_PRIORITIES, 0) for state in CURRENT}
        for each in counted:
            if each.state in CURRENT:
                jobs[each.state.name.lower()][each.priority.name.lower()] = each.jobs
        waiting = [each.oldest for each in counted if each.state is JobState.WAITING]
        status = self.status()
        self.tell(
            Progress(
                jobs=jobs,
                oldest_seconds=max(self.clock.now() - min(waiting), 0) / SECOND if waiting else None,
                games=status.games,
                games_per_second=round(status.games_per_second, 1),
            )
        )

    def _attend(self) -> None:
        """Wait for jobs to come."""
        if self._shared.session.wait(_BELL_SECONDS):
            self._shared.bell.ring()
