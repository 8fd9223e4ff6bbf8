"""`ArchivalWorker`: archives what it is given, in the background of a game server's loop.

Parcels (a record and on whose behalf it is archived) wait by type, in the order of urgency (see `parcels`). They go out in
batches: as soon as there are ``batch_size`` of them, when the first has waited ``batch_timeout``, or at once if one is urgent
or all are wanted gone (`ArchivalWorker.hurry`).

What becomes of a parcel:

    waiting -> out -> archived
       ^        |---> failed       cannot ever be archived, or has used up its retries: kept until `retry_failed`
       '-- later <-'               waits for its next try, and nobody waits for it

A batch that fails for another reason than that the archive cannot be reached is cut in halves until the culprit is found, so
that it alone is tried again. A parcel is never dropped: a queue that is full says so, and a stop returns what is left.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from enum import Enum
from random import SystemRandom
from typing import Any, Generic, TypeVar

from gamearchive.archivers.base import Archiver
from gamearchive.errors import (
    ConfigurationError,
    EncodingError,
    LockedError,
    UnavailableError,
    UnsupportedError,
    UsageError,
)
from gamearchive.model import ArchivalPriority, ArchivalTrigger, EntityKey, GameRecord, Sender
from gamearchive.pace import Pace
from gamearchive.parcels import Parcel, ParcelQueue, live_sender
from gamearchive.policy import ArchivalPolicy, Policies
from gamearchive.strategy import ArchivalStrategy

MAX_RETRY_SECONDS = 3600.0
_PERMANENT = (UsageError, UnsupportedError, EncodingError)
_ERRORS_SHOWN = 10
_AT_ONCE = 100  # parcels that are taken out of a queue in one go: 0.2 ms
_THREADS = 64  # one for each batch that is out, and for those whose time is over but that go on nevertheless

T = TypeVar("T")


class WorkerState(Enum):
    """What a worker is doing."""

    STOPPED = "stopped"
    IDLE = "idle"
    PROCESSING = "processing"
    DRAINING = "draining"


class ArchivalWorker(Generic[T]):
    """Archives in the background.

    Args:
        strategy: makes records of entities.
        policies: by entity type: how large batches are, how many go out at once, how long one may take.
        max_queue_size: so many parcels may wait.
        batch_timeout: how long a parcel waits at most for others to make a batch with.
        max_retries: so many times a parcel is tried again.
        retry_delay: before the first retry; it doubles with each, up to an hour, and the half of it is left to chance.
        archiver: does the work; may be given later, by `attach`.

    Raises:
        ConfigurationError: if a number is absurd.
    """

    def __init__(
        self,
        strategy: ArchivalStrategy[T],
        policies: Mapping[str, ArchivalPolicy] | None = None,
        max_queue_size: int = 10_000,
        batch_timeout: timedelta = timedelta(seconds=5),
        max_retries: int = 3,
        retry_delay: timedelta = timedelta(seconds=30),
        *,
        archiver: Archiver | None = None,
    ) -> None:
        if max_queue_size < 1 or max_retries < 0 or batch_timeout < timedelta(0) or retry_delay < timedelta(0):
            raise ConfigurationError("A worker's queue takes at least one game, and its times and retries are not negative.")
        self.strategy = strategy
        self.policies = policies if isinstance(policies, Policies) else Policies(policies or {})
        self.max_queue_size = max_queue_size
        self.batch_timeout = batch_timeout
        self.max_retries = max_retries
        self.retry_delay = retry_delay
        self.listeners: list[Callable[[Sequence[Parcel]], None]] = []
        self.failure_listeners: list[Callable[[Sequence[Parcel]], None]] = []
        self.failed: dict[EntityKey, Parcel] = {}
        self._archiver = archiver
        self._queues: defaultdict[str, ParcelQueue] = defaultdict(ParcelQueue)
        self._later: dict[EntityKey, tuple[Parcel, asyncio.TimerHandle]] = {}
        self._out: dict[EntityKey, Parcel] = {}
        self._after: dict[EntityKey, Parcel] = {}  # of a game that is out: for when that has come back
        self._batches: dict[asyncio.Task[None], str] = {}
        self._overdue: set[asyncio.Task[None]] = set()
        self._dispatcher: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._hurrying = False
        self._draining = False
        self._executor: ThreadPoolExecutor | None = None
        self._random = SystemRandom()
        self._counts: Counter[str] = Counter()
        self._batch_seconds: deque[float] = deque(maxlen=100)
        self._errors: deque[str] = deque(maxlen=_ERRORS_SHOWN)

    def attach(self, archiver: Archiver) -> None:
        """Have another archiver do the work from now on."""
        self._archiver = archiver

    async def start(self) -> None:
        """Begin to work.

        Raises:
            ConfigurationError: if there is no archiver to work with.
        """
        self._require_archiver()
        if self._dispatcher is None:
            self._draining = False
            self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="gamearchive-archive")
            self._dispatcher = asyncio.create_task(self._dispatch(), name="gamearchive-worker")

    async def stop(self, grace: float | None = None) -> list[Parcel]:
        """Archive all that waits, without waiting for batches to fill, and end.

        Args:
            grace: seconds to take for it at most; None for as long as it takes. What is out then is waited for nevertheless,
                for it cannot be called back, but not for longer than a batch may take.

        Returns:
            What is left: what had no turn in time, what failed, and what nobody knows of whether it will be archived after all.
        """
        if self._dispatcher is None:
            return self._left()
        self._draining = True
        self._wake.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                while self._size():
                    self._idle.clear()
                    await self._idle.wait()
        self._dispatcher.cancel()
        await asyncio.gather(self._dispatcher, return_exceptions=True)
        self._dispatcher = None
        while self._batches:
            self._idle.clear()
            await self._idle.wait()
        for task in self._overdue:
            task.cancel()
        await asyncio.gather(*self._overdue, return_exceptions=True)
        for _, timer in self._later.values():
            timer.cancel()
        if self._executor is not None:
            self._executor.shutdown(wait=False)  # what is still busy there is what was given up for lost
        return self._left()

    def submit(
        self,
        entity: T,
        trigger: ArchivalTrigger = ArchivalTrigger.MANUAL,
        priority: ArchivalPriority = ArchivalPriority.NORMAL,
    ) -> bool:
        """Have an entity archived as it is now; False if the queue is full, and nothing was done.

        Raises:
            EncodingError: if it cannot be archived.
        """
        policy = self.policies[self.strategy.entity_type]
        return self.offer(self.strategy.record(entity), live_sender(trigger, priority, policy.label)) is not None

    def offer(self, record: GameRecord, sender: Sender) -> Parcel | None:
        """Have a record archived; None if the queue is full, and nothing was done.

        A game that waits already waits on with the newer record, and with the higher of both priorities.
        """
        parcel = Parcel(record, sender, self._now())
        queue = self._queues[parcel.key.entity_type]
        there = queue.get(parcel.key) or self._after.get(parcel.key) or self._take_from_later(parcel.key)
        if there is not None:
            there.record = record
            if sender.priority >= there.sender.priority:
                there.sender = sender
            if parcel.key not in self._after:
                self._queue(there)
            return there
        if self._size() >= self.max_queue_size:
            self._counts["refused"] += 1
            return None
        failed = self.failed.pop(parcel.key, None)
        if failed is not None:
            parcel.take_place_of(failed)
        if parcel.key in self._out:
            self._after[parcel.key] = parcel
        else:
            self._queue(parcel)
        return parcel

    async def archive(self, record: GameRecord, sender: Sender) -> None:
        """Have a record archived, and wait until it is.

        Raises:
            UnavailableError: if the queue is full.
            GameArchiveError: why it could not be archived, once its retries are used up.
        """
        parcel = self.offer(record, sender)
        if parcel is None:
            raise UnavailableError(f"The worker's queue is full ({self.max_queue_size} games).", hint="Try again in a moment.")
        await asyncio.shield(parcel.done)

    def withdraw(self, key: EntityKey) -> None:
        """Take a game's parcel back, unless it is out."""
        waiting = self._queues[key.entity_type].take(key)
        for parcel in (waiting, self._after.pop(key, None), self.failed.pop(key, None), self._take_from_later(key)):
            if parcel is not None:
                parcel.withdraw()

    def hurry(self) -> None:
        """Archive all that waits now, without waiting for batches to fill."""
        self._hurrying = True
        self._wake.set()

    def retry_failed(self) -> int:
        """Try all failed parcels again from the start; how many those are."""
        again, self.failed = self.failed, {}
        for parcel in again.values():
            parcel.attempts = 0
            self._queue(parcel)
        return len(again)

    def get_status(self) -> dict[str, Any]:
        """What the worker is doing, how much waits by priority, and how it has gone so far.

        ``success_rate`` is the share of batches' parcels that were archived at their first or a later try, of all tries;
        ``average_batch_time`` is in seconds, over the last 100 batches.
        """
        waiting = [parcel for queue in self._queues.values() for parcel in queue.parcels]
        sizes = Counter(parcel.sender.priority for parcel in [*waiting, *self._after.values()])
        archived, tries = self._counts["archived"], self._counts["archived"] + self._counts["failures"]
        oldest = min((parcel.since for parcel in waiting), default=None)
        return {
            "state": self.state.value,
            "queue_sizes": {priority.name: sizes[priority] for priority in ArchivalPriority},
            "retrying": len(self._later),
            "in_flight": len(self._out),
            "overdue_batches": len(self._overdue),
            "failed": {key.entity_id: str(parcel.error) for key, parcel in self.failed.items()},
            "oldest_waiting_seconds": None if oldest is None else self._now() - oldest,
            "last_errors": list(self._errors),
            "metrics": {
                "total_processed": archived + self._counts["given_up"],
                "success_rate": archived / tries if tries else 1.0,
                "average_batch_time": sum(self._batch_seconds) / len(self._batch_seconds) if self._batch_seconds else 0.0,
                "total_archived": archived,
                "total_failures": self._counts["failures"],
                "total_batches": self._counts["batches"],
                "total_refused": self._counts["refused"],
                "raw_bytes": self._counts["raw_bytes"],
                "stored_bytes": self._counts["stored_bytes"],
            },
        }

    @property
    def state(self) -> WorkerState:
        """What it is doing."""
        if self._dispatcher is None:
            return WorkerState.STOPPED
        if self._draining:
            return WorkerState.DRAINING
        return WorkerState.PROCESSING if self._out else WorkerState.IDLE

    def _require_archiver(self) -> Archiver:
        if self._archiver is None:
            raise ConfigurationError(
                "The worker has nothing to archive with.", hint="Give it an archiver, or let ArchiveManager."
            )
        return self._archiver

    def _size(self) -> int:
        return sum(map(len, self._queues.values())) + len(self._after) + len(self._later) + len(self._out)

    def _left(self) -> list[Parcel]:
        waiting = [parcel for queue in self._queues.values() for parcel in queue.parcels]
        later = [parcel for parcel, _ in self._later.values()]
        return [*waiting, *self._out.values(), *self._after.values(), *later, *self.failed.values()]

    def _take_from_later(self, key: EntityKey) -> Parcel | None:
        """A parcel that waits for its next try; there is something newer to try now."""
        found = self._later.pop(key, None)
        if found is None:
            return None
        found[1].cancel()
        return found[0]

    def _queue(self, parcel: Parcel) -> None:
        self._queues[parcel.key.entity_type].put(parcel)
        self._wake.set()

    def _queue_again(self, parcel: Parcel) -> None:
        del self._later[parcel.key]
        self._queue(parcel)

    async def _dispatch(self) -> None:
        while True:
            self._wake.clear()
            pause = await self._send_out()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    async def _send_out(self) -> float | None:
        """Send all batches that are ripe and have a free place; seconds until the next one ripens, if one will by waiting."""
        pause: float | None = None
        for entity_type, queue in [*self._queues.items()]:
            policy = self.policies[entity_type]
            running = sum(each == entity_type for each in self._batches.values())
            while running <= policy.max_concurrent_archives:
                # One place more for what is critical: it must not wait for a slow storage that all others are taken by.
                only_critical = running == policy.max_concurrent_archives
                first = queue.first(only_critical=only_critical)
                if first is None:
                    break
                ripe = self.batch_timeout.total_seconds() - (self._now() - first.since)
                urgent = first.sender.priority >= ArchivalPriority.HIGH or first.attempts or self._hurrying or self._draining
                if len(queue) < policy.batch_size and ripe > 0 and not urgent:
                    pause = ripe if pause is None else min(pause, ripe)
                    break
                batch: list[Parcel] = []
                while taken := queue.pop(min(_AT_ONCE, policy.batch_size - len(batch)), only_critical=only_critical):
                    self._out.update([(parcel.key, parcel) for parcel in taken])
                    batch += taken
                    await asyncio.sleep(0)
                task = asyncio.create_task(self._carry(batch, policy))
                self._batches[task] = entity_type
                task.add_done_callback(self._come_back)
                running += 1
        self._hurrying = self._hurrying and any(self._queues.values())
        return pause

    def _come_back(self, task: asyncio.Task[None]) -> None:
        self._batches.pop(task, None)
        self._overdue.discard(task)
        self._wake.set()
        self._idle.set()

    def _leave_alone(self, parcels: Sequence[Parcel], policy: ArchivalPolicy) -> None:
        """A batch takes too long: others have its place, but its games wait for what becomes of it.

        Else a later state of one might be archived before this one is, and this be taken for the latest.
        """
        task = asyncio.current_task()
        if task is not None and self._batches.pop(task, None) is not None:
            self._overdue.add(task)
        error = UnavailableError(f"Archiving {len(parcels)} games takes more than {policy.archive_timeout}.")
        self._errors.append(f"{type(error).__name__}: {error}")
        for parcel in parcels:
            parcel.error = error
        self._tell_of_failure(parcels)
        self._wake.set()
        self._idle.set()

    async def _carry(self, batch: Sequence[Parcel], policy: ArchivalPolicy) -> None:
        """Archive a batch, in as many shipments as it has senders."""
        groups: dict[Sender, list[Parcel]] = {}
        for parcel in batch:
            groups.setdefault(parcel.sender, []).append(parcel)
        for sender, parcels in groups.items():
            await self._ship(sender, parcels, policy)

    async def _ship(self, sender: Sender, parcels: Sequence[Parcel], policy: ArchivalPolicy) -> None:
        records, archive = [parcel.record for parcel in parcels], self._require_archiver().archive
        started = self._now()
        error: Exception
        try:
            call = asyncio.get_running_loop().run_in_executor(self._executor, archive, sender, records)
            if not (await asyncio.wait([call], timeout=policy.archive_timeout.total_seconds()))[0]:
                self._leave_alone(parcels, policy)
            shipment = await call
        except Exception as caught:  # noqa: BLE001 - whatever a backend raises, its games must not be lost
            error = caught
        else:
            self._batch_seconds.append(self._now() - started)
            self._counts["batches"] += 1
            self._counts["raw_bytes"] += sum(len(record.payload) for record in records)
            self._counts["stored_bytes"] += shipment.stored_bytes
            self._counts["archived"] += len(parcels)
            pace = Pace(0)
            for parcel in parcels:
                await pace.rest(0)
                self._settle(parcel)
                parcel.answer()
            for listener in self.listeners:
                listener(parcels)
            return
        if len(parcels) > 1 and not isinstance(error, UnavailableError | LockedError):
            half = len(parcels) // 2
            await self._ship(sender, parcels[:half], policy)
            await self._ship(sender, parcels[half:], policy)
            return
        self._errors.append(f"{type(error).__name__}: {error}")
        self._tell_of_failure([parcel for parcel in parcels if self._fail(parcel, error)])

    def _tell_of_failure(self, parcels: Sequence[Parcel]) -> None:
        for listener in self.failure_listeners if parcels else ():
            listener(parcels)

    def _settle(self, parcel: Parcel) -> Parcel | None:
        """A game has come back: what came of it meanwhile has its turn, if there is anything."""
        del self._out[parcel.key]
        after = self._after.pop(parcel.key, None)
        if after is not None:
            self._queue(after)
        return after

    def _fail(self, parcel: Parcel, error: Exception) -> bool:
        """An attempt was in vain: there is another one later, or no more; False if there is a newer record to try now."""
        parcel.error = error
        parcel.attempts += 1
        self._counts["failures"] += 1
        newer = self._settle(parcel)
        if newer is not None:
            newer.take_place_of(parcel)
            return False
        if isinstance(error, _PERMANENT) or parcel.attempts > self.max_retries:
            self._counts["given_up"] += 1
            self.failed[parcel.key] = parcel
            parcel.answer(error)
        else:
            delay = min(self.retry_delay.total_seconds() * 2 ** (parcel.attempts - 1), MAX_RETRY_SECONDS)
            delay *= self._random.uniform(0.5, 1.0)
            timer = asyncio.get_running_loop().call_later(delay, self._queue_again, parcel)
            self._later[parcel.key] = (parcel, timer)
        return True

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
