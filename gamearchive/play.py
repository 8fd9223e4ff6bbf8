"""Games in play: what happens behind their being saved.

`Play.turn` is done some times a second, in slices of a tenth of a millisecond:

1. Games saved since the last turn are encoded, on the loop's own thread, where nobody can change them meanwhile. Their bytes go
   into the journal, in one transaction; with the last snapshot of a finished game goes, in it too, that it is handed over.
2. The worker gets what is handed over: finished games, those idle for too long, those that there is no room for, and those that
   somebody wants archived.
3. When a game is in the archive (synced, read back, in the catalog), it is looked at once more. Only if it still comes to
   what is archived does it leave memory. If it was changed meanwhile, saved or not, it stays, and is archived again later.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Container, Mapping, Sequence
from typing import Any, Generic, TypeVar

from gamearchive.active import ActiveGames
from gamearchive.answers import Answers
from gamearchive.busy import Busy
from gamearchive.clock import Clock
from gamearchive.errors import EncodingError, GameArchiveError, LeaseLostError
from gamearchive.journal import Failure, Snapshot
from gamearchive.keeper import Draft
from gamearchive.model import ArchivalPriority, ArchivalTrigger, EntityKey, Facts, GameRecord, Handover, Sender
from gamearchive.pace import Pace
from gamearchive.parcels import Parcel, live_sender
from gamearchive.policy import ArchivalPolicy, Policies
from gamearchive.strategy import ArchivalStrategy
from gamearchive.thinning import Limits, Thinning
from gamearchive.worker import ArchivalWorker

RENEWAL_SECONDS = 2.0
"""So often the journal is written to at least, to show that this server lives."""

_ORDERS = (ArchivalTrigger.MANUAL, ArchivalTrigger.SHUTDOWN)
"""What archives a game whatever its policy says of it."""

_log = logging.getLogger("gamearchive")

T = TypeVar("T")


Writer = Callable[[Sequence[Draft], Sequence[EntityKey], Sequence[Failure]], Awaitable[Mapping[EntityKey, str]]]
"""Writes snapshots into the journal, takes games out of it, and notes attempts that failed; gives back the games that are
another server's, with its name."""


class Play(Generic[T]):
    """The games of one repository.

    Args:
        strategy: how they become bytes.
        policies: when they are archived.
        worker: archives them.
        write: keeps their snapshots; None where nothing is kept.
        only_finished: whether it keeps finished games alone.
        limits: how much may be in play.
        residency: how many seconds an unfinished game stays at least.
        weigh: a game's weight in bytes; None for the length of its encoding.
        clock: the time.
    """

    def __init__(
        self,
        strategy: ArchivalStrategy[T],
        policies: Policies,
        worker: ArchivalWorker[T],
        *,
        write: Writer | None,
        only_finished: bool,
        limits: Limits,
        residency: float,
        weigh: Callable[[T], int] | None,
        clock: Clock,
    ) -> None:
        self.games: dict[str, T] = {}
        self.dirty: dict[str, T] = {}
        self.busy = Busy()
        self.limits = limits
        self.active = ActiveGames(residency)
        self.problems: dict[str, GameArchiveError] = {}
        self.room = asyncio.Event()
        self._strategy = strategy
        self._policies = policies
        self._worker = worker
        self._write = write
        self._only_finished = only_finished
        self._weigh = weigh
        self._clock = clock
        self._turn = asyncio.Lock()
        self._next_turn: asyncio.Task[None] | None = None
        self._pace: Pace | None = None
        self._sending: dict[str, Sender] = {}
        self._handed_over: dict[str, bytes] = {}
        self._failures: list[Failure] = []
        self._gone: set[str] = set()
        self._being_written: Collection[Container[str]] = ()
        self._answers = Answers()
        self._passed_over: set[str] = set()
        self._in_between: dict[str, Draft] = {}
        self._back: deque[Parcel] = deque()
        self._releasing: asyncio.Task[None] | None = None
        self._thinning = Thinning(self.active, limits, self.busy)
        self._last_write = 0.0
        worker.listeners.append(self._came_back)
        worker.failure_listeners.append(self._failed)

    @property
    def policy(self) -> ArchivalPolicy:
        """The policy that these games are under."""
        return self._policies[self._strategy.entity_type]

    @property
    def is_full(self) -> bool:
        """Whether no new game may come into play."""
        return self._thinning.is_full

    def is_finished(self, game: T) -> bool:
        """Whether a game is over.

        Raises:
            EncodingError: if it cannot be encoded, and so not be known.
        """
        return self._strategy.is_finished(self._strategy.record(game).facts)

    def admit(self, key: str, game: T, weight: int | None = None, *, idle_seconds: float = 0.0, returned: bool = False) -> None:
        """Take a game into play. It is not yet dirty.

        Args:
            key: its id.
            game: the game.
            weight: in bytes; None while that is not known.
            idle_seconds: how long ago it was last active.
            returned: whether it comes out of the archive.
        """
        if weight is None:
            weight = self.active.bytes // len(self.active) if len(self.active) else 0
        self.active.add(key, weight, self._now() - idle_seconds, returned=returned)
        self.games[key] = game

    def discard(self, key: str) -> bool:
        """Take a game out of play, and out of the journal with the next turn; False if it is not in play."""
        if self.games.pop(key, None) is None:
            return False
        self._forget(key)
        self.active.remove(key)
        self._worker.withdraw(self._key(key))
        self._gone.add(key)
        self.room.set()
        self._answers.give(key, archived=False)
        return True

    def hand_over(self, key: str, trigger: ArchivalTrigger, priority: ArchivalPriority) -> asyncio.Future[bool]:
        """Have a game archived with the next turn; the future tells whether it was, or had changed meanwhile."""
        self._sending[key] = live_sender(trigger, priority, self.policy.label)
        return self._answers.want(key)

    def give_up(self) -> None:
        """Archive nothing more of what is handed over: these games are another server's."""
        for key in self._handed_over:
            self._worker.withdraw(self._key(key))

    def resume(self, key: str, facts: Facts, handed_over: Snapshot | None) -> None:
        """Go on with a game of the journal; with its snapshot, if that says that it is handed over."""
        self.active.set_finished(key, self._strategy.is_finished(facts))
        if handed_over is not None and handed_over.handover is not None:
            self._hand_to_worker(handed_over.record, handed_over.handover)

    def rested(self, key: str) -> None:
        """Nobody works on a game, for a moment at least. If a turn passed it over, it is encoded now: the next might, too."""
        if key in self._passed_over and key in self.games:
            self._passed_over.remove(key)
            draft = self._draft(key, None)
            if draft is not None:
                self._in_between[key] = draft

    async def flush(self) -> None:
        """Take a turn at once, one for all who ask for it meanwhile.

        Raises:
            LeaseLostError, UnavailableError: see `turn`.
        """
        if self._next_turn is None:
            self._next_turn = asyncio.create_task(self.turn())
            self._next_turn.add_done_callback(_look_at)
        if self._pace is not None:
            self._pace.hurry()
        await asyncio.shield(self._next_turn)

    async def turn(self, seconds: float = 0.0) -> None:
        """Write behind what was saved since the last turn, and hand over what must go.

        Args:
            seconds: the time to spread the work over.

        Raises:
            LeaseLostError: if these games are another server's by now.
            UnavailableError: if the journal cannot be written; everything is tried again with the next turn.
        """
        async with self._turn:
            if asyncio.current_task() is self._next_turn:
                self._next_turn = None  # whoever asks from now on has come too late for this one
            saved, self.dirty = self.dirty, {}
            sending, self._sending = self._sending, {}
            gone, self._gone = self._gone, set()
            failures, self._failures = self._failures, []
            self._being_written = (saved, sending)
            try:
                drafts = await self._encode(saved, sending, seconds)
                await self._write_behind(drafts, gone, failures)
            except BaseException:
                self.dirty = {key: self.games[key] for key in saved if key in self.games} | self.dirty
                self._sending = {key: sender for key, sender in sending.items() if key in self.games} | self._sending
                self._gone |= gone
                self._failures = failures + self._failures
                raise
            finally:
                self._being_written = ()
            pace = Pace(0)
            drafts.reverse()
            while drafts:  # which lets go of them one by one: all at once takes milliseconds
                await pace.rest(0)
                record, _, handover = drafts.pop()
                # Unless it went while the journal was being written.
                if handover is not None and record.entity_id in self.games:
                    self._hand_to_worker(record, handover)

    async def _encode(self, saved: dict[str, T], sending: dict[str, Sender], seconds: float) -> list[Draft]:
        """Drafts of the games that were saved, and of those that are to be handed over."""
        keys = [*saved, *(key for key in sending if key not in saved)]
        drafts: list[Draft] = []
        self._pace = pace = Pace(len(keys), 0 if self._next_turn else seconds)
        for done, key in enumerate(keys):
            await pace.rest(done)
            if key not in self.games:
                self._answers.give(key, archived=False)
            elif self.busy.is_taken(key):
                if key in saved:
                    self.dirty.setdefault(key, self.games[key])
                if key in sending:
                    self._sending.setdefault(key, sending[key])
                draft = self._in_between.pop(key, None)
                if draft is None:
                    self._passed_over.add(key)
                else:
                    drafts.append(draft)
            else:
                if key in saved:
                    self.active.touch((key,), pace.now)
                self._in_between.pop(key, None)
                draft = self._draft(key, sending.get(key))
                if draft is not None:
                    drafts.append(draft)
        self._pace = None
        return drafts

    def _draft(self, key: str, sender: Sender | None) -> Draft | None:
        """A game as it is now, with whether it is handed over; None if it cannot be encoded."""
        try:
            record = self._strategy.record(self.games[key])
        except Exception as caught:  # noqa: BLE001 - a game that cannot be encoded must not keep others from being kept
            self._note(key, caught)
            return None
        self.problems.pop(key, None)
        finished = self._strategy.is_finished(record.facts)
        self.active.set_weight(key, self._weigh(self.games[key]) if self._weigh else len(record.payload))
        self.active.set_finished(key, finished)
        if sender is None and finished:
            sender = self._sender(ArchivalTrigger.GAME_COMPLETED)
        now = self._clock.now()
        handover = None
        if sender is not None and self._goes(record, sender.trigger, now):
            handover = Handover(sender.trigger, sender.priority, sender.policy, now)
        elif sender is not None:
            self.active.touch((key,), self._now())
            self._answers.give(key, archived=False)
        elif self._handed_over.pop(key, None) is not None:  # it goes on after all
            self._worker.withdraw(self._key(key))
            self._answers.give(key, archived=False)
        return Draft(record, now, handover)

    def _goes(self, record: GameRecord, trigger: ArchivalTrigger, now: int) -> bool:
        """Whether a game goes for some reason: always where somebody says so, else if its policy does."""
        try:
            return trigger in _ORDERS or self.policy.takes(record, trigger, now)
        except Exception as caught:  # noqa: BLE001 - a condition is the user's own, and may be wrong about some game
            _log.error("the condition of policy %r fails on the game %r: %r", self.policy.name, record.entity_id, caught)
            return False

    async def _write_behind(self, drafts: Sequence[Draft], gone: set[str], failures: Sequence[Failure]) -> None:
        if self._write is None:
            return
        kept = drafts
        if self._only_finished:
            is_finished = self._strategy.is_finished
            kept = [each for each in drafts if each.handover is not None or is_finished(each.record.facts)]
        written = {each.record.entity_id for each in kept} if gone else ()
        absent = [self._key(key) for key in gone if key not in written and key not in self.games]
        if kept or absent or failures or self._now() >= self._last_write + RENEWAL_SECONDS:
            for foreign, server in (await self._write(kept, absent, failures)).items():
                self.problems[foreign.entity_id] = LeaseLostError(
                    f"The game {foreign.entity_id!r} is in play on the server {server!r}, and is not kept for this one.",
                    hint="Have each game on one server at a time, or claim those of a server that is gone.",
                )
            self._last_write = self._now()

    def _is_being_written(self, key: str) -> bool:
        return any(key in keys for keys in self._being_written)

    def _hand_to_worker(self, record: GameRecord, handover: Handover) -> None:
        key = record.entity_id
        sender = live_sender(handover.trigger, handover.priority, handover.policy)
        if self._worker.offer(record, sender) is None:
            self._sending.setdefault(key, sender)  # the queue is full: with the next turn, then
        else:
            self._handed_over[key] = record.payload
            self.active.leave(key)

    def _failed(self, parcels: Sequence[Parcel]) -> None:
        for parcel in parcels:
            if parcel.key.entity_type == self._strategy.entity_type:
                final = parcel.key in self._worker.failed
                self._failures.append(Failure(parcel.key, str(parcel.error), final))
                if final:
                    self._answers.give(parcel.key.entity_id, parcel.error)

    def _came_back(self, parcels: Sequence[Parcel]) -> None:
        self._back.extend(parcel for parcel in parcels if parcel.key.entity_type == self._strategy.entity_type)
        if self._releasing is None or self._releasing.done():
            self._releasing = asyncio.get_running_loop().create_task(self._release_all())

    async def _release_all(self) -> None:
        pace = Pace(0)
        while self._back:
            self._release(self._back.popleft(), pace.now)
            await pace.rest(0)

    def _release(self, parcel: Parcel, now: float) -> None:
        """Let an archived game go, unless it is another by now than the one that is archived."""
        key = parcel.key.entity_id
        is_latest = self._handed_over.get(key) == parcel.record.payload
        if is_latest:
            del self._handed_over[key]
            is_latest = key not in self.dirty and not self._is_being_written(key)
        game = self.games.get(key)
        if game is None:
            self._answers.give(key)
            return
        if key not in self.busy and self._strategy.is_still(game, parcel.record, at_first_sight=is_latest):
            del self.games[key]
            self._forget(key)
            self.active.evicted(key, now)
            if self._is_being_written(key):
                self._gone.add(key)  # or a snapshot that is on its way would outlive it in the journal
            self.room.set()
            self._answers.give(key)
            return
        self.active.touch((key,), now)
        self.dirty.setdefault(key, game)
        self._answers.give(key, archived=False)

    def _forget(self, key: str) -> None:
        self.dirty.pop(key, None)
        self._sending.pop(key, None)
        self._handed_over.pop(key, None)
        self._passed_over.discard(key)
        self._in_between.pop(key, None)
        self.problems.pop(key, None)

    def _note(self, key: str, caught: Exception) -> None:
        """A game cannot be encoded: it is kept in memory, and nowhere else."""
        error = (
            caught
            if isinstance(caught, GameArchiveError)
            else EncodingError(f"The game {key!r} cannot be encoded: {caught!r}.")
        )
        if key not in self.problems:
            _log.error("the game %r cannot be kept: %s", key, error)
        self.problems[key] = error
        self.active.touch((key,), self._now())
        self._answers.give(key, error)

    def _sender(self, trigger: ArchivalTrigger) -> Sender:
        """On whose behalf a game goes for some reason."""
        policy = self.policy
        return live_sender(trigger, policy.priority_of(trigger), policy.label)

    async def settle(self) -> None:
        """Let what is archived go, and take it out of the journal: the last turn, once the worker has stopped."""
        if self._releasing is not None:
            await self._releasing
        await self.turn()

    async def thin_out(self) -> None:
        """Choose the games that have been idle for too long, and those that there is no room or no memory for."""
        for keys, trigger in self._thinning.choose(self.policy, self._now()):
            await self._send(keys, trigger)
        if len(self.games) > self.limits.games:
            self._worker.hurry()

    async def send_all(self) -> None:
        """Have everything archived that is in play."""
        await self._send([*self.games], ArchivalTrigger.SHUTDOWN)

    async def _send(self, keys: Sequence[str], trigger: ArchivalTrigger) -> None:
        sender = self._sender(trigger)
        for key in keys:
            if key not in self._handed_over:
                self._sending.setdefault(key, sender)
        await asyncio.sleep(0)

    def get_stats(self) -> dict[str, Any]:
        """How many games there are, and how they fare."""
        now = self._now()
        return {
            "active_games": len(self.games),
            "max_active_games": self.limits.games,
            "active_bytes": self.active.bytes,
            "dirty_games": len(self.dirty),
            "busy_games": len(self.busy),
            "leaving_games": len(self._handed_over) + len(self._sending),
            "evictions": self.active.evictions,
            "refaults": self.active.refaults,
            "is_thrashing": self.active.thrashing(now),
            "is_short_of_memory": self._thinning.is_short_of_memory,
            "problems": {key: str(error) for key, error in self.problems.items()},
        }

    def _key(self, entity_id: str) -> EntityKey:
        return EntityKey(self._strategy.entity_type, entity_id)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def _look_at(turn: asyncio.Task[None]) -> None:
    """What became of a turn is told to those who wait for it, and to nobody else if they have left."""
    if not turn.cancelled():
        turn.exception()
