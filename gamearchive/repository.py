"""`HybridGameRepository`: games in play in memory, finished ones in the archive, and no difference between them to who asks.

Saving sets two entries of dicts, and getting a game in play reads one. Nothing on that way waits for a disk, a network or a
lock, nor encodes anything; all that follows from it is done behind (see `play`). Reading a game in play is not noted anywhere:
what counts as activity is saving it, working on it (`HybridGameRepository.mutate`), and bringing it back from the archive.

A repository belongs to one event loop, and is used there alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from socket import gethostname
from typing import Any, Generic, Self, TypeVar

from gamearchive.backends.foreign import TwoMethods
from gamearchive.clock import Clock
from gamearchive.entrance import Entrance
from gamearchive.errors import (
    ConfigurationError,
    GameArchiveError,
    LeaseLostError,
    NotFoundError,
    RefusedError,
    UsageError,
)
from gamearchive.journal import Journal
from gamearchive.keeper import Keeper
from gamearchive.lookup import Lookup
from gamearchive.manager import ArchiveManager
from gamearchive.model import ArchivalPriority, ArchivalTrigger, id_problem
from gamearchive.play import Play, Writer
from gamearchive.policy import ArchivalPolicy, policies_from
from gamearchive.recall import Recall
from gamearchive.recovery import Recovery
from gamearchive.relay import Relay
from gamearchive.settings import Settings, load_settings
from gamearchive.strategy import ArchivalStrategy, GameArchivalStrategy
from gamearchive.thinning import Limits
from gamearchive.turns import Turns
from gamearchive.worker import ArchivalWorker

SHUTDOWN_SECONDS = 30.0
"""So long `HybridGameRepository.shutdown` takes for what is handed over, unless told otherwise."""

USUAL_INACTIVITY = timedelta(hours=1)
"""After so long without being saved a game is archived, unless told otherwise."""

_UNCOMPRESSED = -100  # Zstandard's fastest, which finds next to nothing to compress

T = TypeVar("T")


class HybridGameRepository(Generic[T]):
    """Games in play, and behind them the archive.

    Args:
        max_active_games: above so many games in memory, the least valuable go to the archive.
        archive_on_completion: whether finished games are archived at once.
        archive_after_inactive: games that nobody saved for so long are archived; None for never.
        enable_compression: False to archive without trying to make games smaller.
        game_type: what games are: dicts, or a dataclass, attrs class, msgspec Struct or pydantic model.
        strategy: how games become bytes and come back, where ``game_type`` does not say enough.
        policies: by entity type, in place of the one that these arguments make.
        settings: where the archive is; None for those of files and environment.
        home: the folder of the archive, as the command line has it: a database or a storage that is set stays where it is.
        backend: what keeps the games' bytes, in place of the storage of the settings.
        durability: what survives a crash: ``"interval"``, all that was saved, but for the last ``journal_interval``;
            ``"completed"``, finished games, whose `save` returns once that is sure; ``"off"``, what is archived.
        journal_interval: how old what survives may be.
        max_active_bytes: as ``max_active_games``, by weight.
        weigh: a game's weight in bytes; None for the length of its encoding.
        hard_limit: beyond so many games in memory no new one is taken; None for twice ``max_active_games``.
        when_full: what `save` does with a new game then: ``"raise"`` a `CapacityError`, or ``"wait"`` for room.
        minimum_residency: so long an unfinished game stays at least.
        server: this server's name among those that share the database; None for the machine's.
        archiver: ``"process"`` or ``"thread"``: see `ArchiveManager`; or ``"queue"``: others archive, see `gamearchive worker`.
        worker: one that is set up otherwise than usual; its policies become the repository's.
        clock: the time.

    Raises:
        ConfigurationError: if arguments are absurd or contradict each other.
    """

    def __init__(
        self,
        max_active_games: int = 1000,
        archive_on_completion: bool = True,
        archive_after_inactive: timedelta | None = USUAL_INACTIVITY,
        enable_compression: bool = True,
        *,
        game_type: type[T] | None = None,
        strategy: ArchivalStrategy[T] | None = None,
        policies: Mapping[str, ArchivalPolicy] | None = None,
        settings: Settings | None = None,
        home: str | Path | None = None,
        backend: TwoMethods | None = None,
        durability: str = "interval",
        journal_interval: timedelta = timedelta(seconds=1),
        max_active_bytes: int | None = None,
        weigh: Callable[[T], int] | None = None,
        hard_limit: int | None = None,
        when_full: str = "raise",
        minimum_residency: timedelta = timedelta(seconds=10),
        server: str | None = None,
        archiver: str = "process",
        worker: ArchivalWorker[T] | None = None,
        clock: Clock | None = None,
    ) -> None:
        if strategy is not None and game_type is not None:
            raise ConfigurationError(
                "A repository takes a game type or a strategy, not both.", hint="The strategy knows its type."
            )
        if journal_interval <= timedelta(0):
            raise ConfigurationError(f"A journal's interval of {journal_interval} is no time at all.", hint="Take a second.")
        if settings is None:
            settings = load_settings({"home": None if home is None else str(home)})
        elif home is not None:
            raise ConfigurationError("A repository takes settings or a home, not both.", hint="The settings have a home.")
        if not enable_compression:
            settings = replace(settings, compression_level=_UNCOMPRESSED)
        self.strategy: ArchivalStrategy[T] = strategy or GameArchivalStrategy(game_type=game_type or dict)  # type: ignore[arg-type]
        self.entity_type = self.strategy.entity_type
        self.policies = policies_from(settings.policies)
        self.policies[self.entity_type] = _policy(
            self.policies[self.entity_type], archive_on_completion, archive_after_inactive
        )
        self.policies.update(policies or {})
        queued = archiver == "queue"
        self.archive_manager = ArchiveManager(
            self,
            backend,
            self.policies,
            settings=settings,
            strategies={self.entity_type: self.strategy},
            worker=worker,
            archiver=archiver,
            clock=clock,
        )
        self._durability = _choice("durability", durability, "interval", "completed", "off")
        self._keeper: Keeper[T] | None = None
        write: Writer | None = None
        if durability != "off":
            queue = self.archive_manager.queue if queued else None
            journal = Journal(
                self.archive_manager.database, server or gethostname(), hand_over=queue.hand_over if queue else None
            )
            self._keeper = Keeper(journal, self.strategy)
            write = self._keeper.write
            if queue is not None:
                relay = Relay(self.strategy, self._keeper, queue)
                self.archive_manager.worker, write = relay, relay.write
        if queued and (self._keeper is None or worker is not None or backend is not None):
            raise ConfigurationError(
                "Games that others archive go through the journal, to the storage of the settings.",
                hint='Take archiver="queue" without durability="off", worker and backend.',
            )
        self._play: Play[T] = Play(
            self.strategy,
            self.policies,
            self.archive_manager.worker,
            write=write,
            only_finished=durability == "completed",
            limits=Limits(max_active_games, max_active_bytes, 2 * max_active_games if hard_limit is None else hard_limit),
            residency=minimum_residency.total_seconds(),
            weigh=weigh,
            clock=self.archive_manager.clock,
        )
        self._games = self._play.games
        self._id_of = self.strategy.id_of
        self._is_quick = False  # whether there is no more to saving a game that is in play than to note it
        self._fate: GameArchiveError | None = RefusedError("The repository is not open.", hint="Call `initialize` first.")
        self._turns = Turns(self._play, journal_interval.total_seconds(), self._close_to)
        self._is_open = self._was_open = self._is_closing = False
        self._lookup = Lookup(self._play, self.strategy)
        self._recovery = Recovery(self._play, self.archive_manager.clock)
        self._entrance = Entrance(
            self._play,
            self.strategy,
            Recall(self.archive_manager, self.entity_type),
            self._recovery.unreadable,
            waits=_choice("when_full", when_full, "raise", "wait") == "wait",
            require_open=self._require_open,
        )

    async def __aenter__(self) -> Self:
        await self.initialize()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.shutdown()

    async def initialize(self) -> None:
        """Open the archive, bring the games back that the journal has, and start what works behind.

        Raises:
            LockedError: if a living server has this one's name.
            UnavailableError: if the database or the storage cannot be reached.
        """
        if self._is_open:
            return
        if self._was_open:
            raise RefusedError("This repository was shut down.", hint="Make another one.")
        await self.archive_manager.start()
        try:
            if self._keeper is not None:
                await self._keeper.open()
                await self._recovery.bring_back(self._keeper)
        except BaseException:
            await self.archive_manager.stop(0)
            raise
        self._is_open, self._was_open, self._fate = True, True, None
        self._is_quick = self._durability != "completed"
        self._turns.start()

    async def shutdown(self, grace: float = SHUTDOWN_SECONDS) -> None:
        """Write all games into the journal, archive those that are handed over, and let go of everything. There is no way back.

        What is in play stays in the journal for the next start, unless the policy has the trigger SHUTDOWN or there is no such
        journal: then it is archived.

        Args:
            grace: seconds to take at most for those who work on games (`mutate`), and again for archiving.

        Raises:
            GameArchiveError: if games could be neither kept nor archived; all is let go of nevertheless.
        """
        if not self._is_open:
            return
        self._is_open, self._is_closing = False, True
        self._close_to(RefusedError("The repository is shut down.", hint="Make another one."))
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.archive_manager.stop, 0)
            if self._keeper is not None:
                stack.push_async_callback(self._keeper.close)
            with suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await self._play.busy.wait_for_all()
            await self._turns.stop()
            self._is_closing = False
            if isinstance(self._turns.problem, LeaseLostError):
                return
            if self._durability != "interval" or ArchivalTrigger.SHUTDOWN in self._play.policy.triggers:
                await self._play.send_all()
            try:
                await self._play.flush()
            finally:
                await self.archive_manager.worker.stop(grace)
                await self._play.settle()
        lost = {*self._play.problems, *(self._games if self._durability == "off" else self._play.dirty)}
        if lost:
            raise GameArchiveError(
                f"{len(lost)} games could be neither kept nor archived: {', '.join(sorted(lost)[:10])}.",
                hint="Their last states went with this server; see the log for what kept them from being written.",
            )

    async def save(self, game: T) -> None:
        """Save a game: from now on this is it.

        Raises:
            CapacityError: if it is new, and there are as many games as there may be.
            UsageError: if it has no id.
            LeaseLostError: if another server has claimed this one's games.
            UnavailableError: if it is finished, durability is ``"completed"``, and the journal cannot be written.
        """
        try:
            key: Any = self._id_of(game)
            if self._is_quick and key in self._games:
                self._games[key] = game
                self._play.dirty[key] = game
                return
        except (LookupError, AttributeError, TypeError):
            pass  # where its id is takes a longer look
        self._require_open()
        await self._save_slowly(game)

    async def get_by_id(self, game_id: str) -> T | None:
        """A game: the very object, if it is in play, else as it was archived; None if there is no such game.

        A game that is not finished is in play again from then on.

        Raises:
            IntegrityError: if it is archived, but lost or damaged.
            UnavailableError: if the archive cannot be asked.
        """
        game = self._games.get(game_id)
        if game is not None:
            return game
        return await self._entrance.fetch(game_id)

    @asynccontextmanager
    async def mutate(self, game_id: str) -> AsyncIterator[T]:
        """Work on a game over some time: meanwhile nobody else does so by this way, it is not encoded, and stays in memory.

        It is saved at the end, unless that is reached by an exception: what was changed in it until then is in memory, but not
        saved.

        Raises:
            NotFoundError: if there is no such game.
        """
        async with self._play.busy.alone_with(game_id) as desk:
            self._require_open()
            game = self._games.get(game_id)
            if game is None:
                game = await self._entrance.fetch(game_id, finished_too=True)
            if game is None:
                raise NotFoundError(f"There is no game {game_id!r}, neither in play nor archived.")
            desk.is_taken = True
            try:
                yield game
            finally:
                desk.is_taken = False
            if not self._is_closing:
                self._require_open()
            await self._save_slowly(self._games.get(game_id, game))
            self._play.rested(game_id)

    async def get_by_room_id(self, room_id: str) -> T | None:
        """The game in play in a room; of several, one that is not finished; None if there is none."""
        self._require_open()
        return await self._lookup.in_room(room_id)

    async def get_games_by_player_id(self, player_id: str) -> list[T]:
        """The games in play that a player takes part in, known by id or by name. For archived ones, see `ArchiveQuery`."""
        self._require_open()
        return await self._lookup.of_player(player_id)

    async def list_active_games(self) -> list[T]:
        """The games in play that are not finished."""
        self._require_open()
        return await self._lookup.unfinished()

    async def delete(self, game_id: str) -> bool:
        """Take a game out of play without archiving it; False if it is not in play.

        What of it is archived already stays archived, and `get_by_id` finds it there.
        """
        self._require_open()
        return self._play.discard(game_id)

    async def flush(self) -> None:
        """Write all that was saved until now into the journal.

        Raises:
            UnavailableError: if it cannot be written.
        """
        self._require_open()
        await self._play.flush()

    async def claim(self, server: str) -> int:
        """Take over the games of a server that is dead; how many those are.

        Raises:
            LockedError: if it lives.
        """
        self._require_open()
        if self._keeper is None:
            raise ConfigurationError("Without a journal there is nothing to claim.", hint='Use durability="interval".')
        return await self._recovery.bring_back(self._keeper, await self._keeper.claim(server))

    async def hand_over(
        self, entity_id: str, entity_type: str, trigger: ArchivalTrigger, priority: ArchivalPriority
    ) -> bool | None:
        """Have a game in play archived as it is now, and wait until it is: see `ArchiveManager.archive_entity`."""
        self._require_open()
        if entity_type != self.entity_type or entity_id not in self._games:
            return None
        answer = self._play.hand_over(entity_id, trigger, priority)
        await self._play.flush()
        return await answer

    async def get_stats(self) -> dict[str, Any]:
        """How the games fare: in play, on their way, in the archive."""
        archive = await self.archive_manager.get_stats()
        return {
            **self._play.get_stats(),
            "unreadable": {key: str(error) for key, error in self._recovery.unreadable.items()},
            "journal_problem": None if self._turns.problem is None else str(self._turns.problem),
            "archived_games": archive.total_entities.get(self.entity_type, 0),
            "archive": archive,
            "worker": archive.worker_stats,
        }

    @property
    def _archive_manager(self) -> ArchiveManager:
        return self.archive_manager

    @property
    def archive_backend(self) -> TwoMethods:
        """What keeps the games' bytes: see `ArchiveManager.backend`."""
        return self.archive_manager.backend

    @archive_backend.setter
    def archive_backend(self, backend: TwoMethods) -> None:
        self.archive_manager.backend = backend

    _archive_backend = archive_backend

    async def _save_slowly(self, game: T) -> None:
        """Save a game that is new, or that must be durable before this returns."""
        key = self.strategy.entity_id(game)
        if key not in self._games:
            problem = id_problem(key)
            if problem:
                raise UsageError(f"The game {key!r} cannot be saved: {problem}.", hint="Give it another id.")
            await self._entrance.let_in(key, game)
        self._games[key] = game
        self._play.dirty[key] = game
        if self._durability == "completed" and self._play.is_finished(game):
            await self._play.flush()
            if key in self._play.problems:
                raise self._play.problems[key]

    def _close_to(self, fate: GameArchiveError) -> None:
        """Let nobody in from now on, and tell them why."""
        self._is_quick, self._fate = False, fate
        self._play.room.set()

    def _require_open(self) -> None:
        if self._fate is not None:
            raise self._fate


def _policy(policy: ArchivalPolicy, on_completion: bool, after_inactive: timedelta | None) -> ArchivalPolicy:
    """A policy with what a repository's arguments say, where that is not the usual."""
    if not on_completion:
        policy = replace(policy, triggers=policy.triggers - {ArchivalTrigger.GAME_COMPLETED})
    if after_inactive is None:
        policy = replace(policy, triggers=policy.triggers - {ArchivalTrigger.TIME_BASED}, archive_after=None)
    elif after_inactive != USUAL_INACTIVITY:
        policy = replace(policy, triggers=policy.triggers | {ArchivalTrigger.TIME_BASED}, archive_after=after_inactive)
    return policy


def _choice(name: str, value: str, *choices: str) -> str:
    if value not in choices:
        raise ConfigurationError(f"{name} is {value!r}, and not one of: {', '.join(choices)}.", hint="Choose one of these.")
    return value
