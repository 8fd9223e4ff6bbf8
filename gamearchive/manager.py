"""`ArchiveManager`: the archive as a game server has it: the verbs of administration, and a worker behind them.

It archives entities that somebody else holds. Whoever that is, a repository of games in play or a program of its own kind, is
its *provider*, and is asked for an entity when it is to be archived.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

from gamearchive.administration import LOCK_WAIT_SECONDS, Administration
from gamearchive.archivers.base import Archiver
from gamearchive.archivers.process import ProcessArchiver
from gamearchive.archivers.threads import ThreadArchiver
from gamearchive.archivers.wire import ArchivePlace
from gamearchive.backends.base import IArchivalBackend
from gamearchive.backends.foreign import TwoMethods
from gamearchive.backends.packed import PackArchiveBackend, PackHoldings
from gamearchive.clock import Clock
from gamearchive.errors import ConfigurationError, IntegrityError, UnsupportedError
from gamearchive.model import ArchivalPriority, ArchivalTrigger, ArchiveEntry
from gamearchive.parcels import Parcel, live_sender
from gamearchive.policy import ArchivalPolicy, Policies, policies_from
from gamearchive.query import ArchiveQuery
from gamearchive.retention import Rule
from gamearchive.settings import Settings, load_settings
from gamearchive.strategy import ArchivalStrategy, GameArchivalStrategy
from gamearchive.units import from_instant
from gamearchive.worker import ArchivalWorker

MONITOR_SECONDS = 60.0
"""So often a manager that monitors looks at its worker."""

_log = logging.getLogger("gamearchive")

Provider = Callable[[str, str], Any]
"""Gives an entity by its id and type, or None: a function or a coroutine function."""


@runtime_checkable
class Holder(Protocol):
    """A provider that has its entities archived itself, as one who must know what became of them does."""

    def hand_over(
        self, entity_id: str, entity_type: str, trigger: ArchivalTrigger, priority: ArchivalPriority
    ) -> Awaitable[bool | None]:
        """Have an entity archived; whether it was, None if there is no such entity."""
        ...


@dataclass(frozen=True, slots=True)
class ArchiveStats:
    """What there is, and how archiving goes. Its fields may be taken by name as keys, too.

    Args:
        total_entities: games by type.
        total_size_bytes: what all revisions take, dictionaries and catalog included.
        compression_ratio: the share of the raw bytes that compression saved, 0 to 1.
        oldest_archive, newest_archive: when the first and the last of the games were archived; None where there is none.
        by_status: games by status; those without one under None.
        by_backend: bytes by backend.
        worker_stats: what `ArchivalWorker.get_status` says; empty without a worker.
        backend_stats: packs and dictionaries of the backend.
    """

    total_entities: dict[str, int] = field(default_factory=dict)
    total_size_bytes: int = 0
    compression_ratio: float = 0.0
    oldest_archive: datetime | None = None
    newest_archive: datetime | None = None
    by_status: dict[str | None, int] = field(default_factory=dict)
    by_backend: dict[str, int] = field(default_factory=dict)
    worker_stats: dict[str, Any] = field(default_factory=dict)
    backend_stats: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)

    def keys(self) -> list[str]:
        """The fields' names."""
        return [each.name for each in fields(self)]


class ArchiveManager(Administration):
    """The archive, with a worker.

    Args:
        entity_provider: gives an entity by its id and type; only `archive_entity` needs it.
        backend: what keeps the games' bytes, in place of packs at ``settings.storage``; the catalog stays where it is.
        policies: by entity type; those of the settings, and defaults, for the others.
        enable_worker: False for an archive that is only asked.
        enable_monitoring: whether failures and queues that fill up are logged.
        settings: where the archive is and how it is kept; None for those of files and environment.
        strategies: by entity type; None for what JSON and plain Python values make of it.
        worker: one that is set up otherwise than usual; its policies become the manager's.
        archiver: ``"process"`` to archive in a process of its own, ``"thread"`` in this one; ``"queue"`` is for a worker that
            hands games over to others, as a repository's does. A backend of one's own is only
            known to this process, and so always works in threads.
        clock: the time.

    Use it as a context, or call `start` and `stop`.
    """

    def __init__(
        self,
        entity_provider: Provider | Holder | None = None,
        backend: TwoMethods | None = None,
        policies: Mapping[str, ArchivalPolicy] | None = None,
        enable_worker: bool = True,
        enable_monitoring: bool = True,
        *,
        settings: Settings | None = None,
        strategies: Mapping[str, ArchivalStrategy[Any]] | None = None,
        worker: ArchivalWorker[Any] | None = None,
        archiver: str = "process",
        clock: Clock | None = None,
    ) -> None:
        super().__init__(settings or load_settings(), clock, backend=backend)
        if archiver not in ("process", "thread", "queue"):
            raise ConfigurationError(f"There is no archiver {archiver!r}.", hint='Choose "process", "thread" or "queue".')
        self.entity_provider = entity_provider
        if not isinstance(policies, Policies):
            policies = Policies({**policies_from(self.settings.policies), **(policies or {})})
        self.policies = policies
        self.enable_worker = enable_worker
        self.enable_monitoring = enable_monitoring
        self._strategies = dict(strategies or {})
        self._kind = archiver
        self._archiver: Archiver | None = None
        self._monitor: asyncio.Task[None] | None = None
        self.worker = worker or ArchivalWorker(self.strategy_of("game"))
        self.worker.policies = self.policies

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def start(self) -> None:
        """Make the archive, if there is none, and start the worker."""
        await self._read(self.prepare)
        if not self.enable_worker:
            return
        if self._kind != "queue":
            self._archiver = self._make_archiver()
            self.worker.attach(self._archiver)
        await self.worker.start()
        if self.enable_monitoring:
            self.worker.failure_listeners.append(self._report)
            self._monitor = asyncio.create_task(self._watch(), name="gamearchive-monitor")

    async def stop(self, grace: float | None = None) -> list[Parcel]:
        """Archive what waits, and let go of everything.

        Args:
            grace: seconds to take at most for what waits; None for as long as it takes.

        Returns:
            What could not be archived.
        """
        left = await self.worker.stop(grace) if self.enable_worker else []
        if self._monitor is not None:
            self._monitor.cancel()
            self._monitor = None
        if self._archiver is not None:
            await asyncio.to_thread(self._archiver.close, given_up=True)
            self._archiver = None
        await super().close()
        return left

    async def close(self) -> None:
        await self.stop()

    @property
    def backend(self) -> TwoMethods:
        """What keeps the games' bytes. Another may be put in its place at any time: it takes what comes from then on, and
        what the one before has is still read from there."""
        return self._backend if self._backend is not None else self._own_backend

    @backend.setter
    def backend(self, backend: TwoMethods) -> None:
        self.succeed(backend)
        if self._archiver is not None:
            before, self._archiver = self._archiver, self._make_archiver()
            self.worker.attach(self._archiver)
            asyncio.get_running_loop().run_in_executor(None, before.close)

    async def archive_entity(
        self,
        entity_id: str,
        entity_type: str = "game",
        trigger: ArchivalTrigger = ArchivalTrigger.MANUAL,
        priority: ArchivalPriority = ArchivalPriority.NORMAL,
    ) -> bool:
        """Archive an entity as it is now, and wait until it is safe.

        Returns:
            Whether the archive has it; False if it changed meanwhile, and so is still with its provider.

        Raises:
            NotFoundError: if there is neither such an entity nor an archived one.
            GameArchiveError: why it could not be archived.
        """
        provider = self.entity_provider
        if isinstance(provider, Holder):
            done = await provider.hand_over(entity_id, entity_type, trigger, priority)
            if done is not None:
                return done
        elif provider is not None:
            entity = provider(entity_id, entity_type)
            if inspect.isawaitable(entity):
                entity = await entity
            if entity is not None:
                sender = live_sender(trigger, priority, self.policies[entity_type].label)
                await self.worker.archive(self.strategy_of(entity_type).record(entity), sender)
                return True
        await self.get(entity_id, entity_type)
        return True

    async def retrieve_entity(self, entity_id: str, entity_type: str = "game", revision: int | None = None) -> Any:
        """An archived entity, as its strategy brings it back.

        Raises:
            NotFoundError: if it is not archived; IntegrityError: if it is lost or damaged.
        """
        entry = await self.get(entity_id, entity_type, revision)
        return self.strategy_of(entity_type).revive(await self.read(entry), entry.content_type)

    async def query_archives(self, query: ArchiveQuery) -> list[ArchiveEntry]:
        """What a query finds: one page of it. See `query` for the pages that follow."""
        return list((await self.query(query)).entries)

    async def cleanup_old_archives(self, entity_type: str, older_than: timedelta) -> int:
        """Let games expire that were archived so long ago; how many did. Held ones do not, nor any that a rule of the settings
        keeps for ever. For the settings' ``undelete_period`` they can be brought back.

        Raises:
            LockedError: if another process is at it.
            RefusedError: if the clock has jumped.
            UnsupportedError: if nothing can be deleted from this backend.
        """
        rules = [rule for rule in self.retention.rules if rule.forever]
        old = Rule(name="cleanup_old_archives", entity_type=entity_type, keep_for=older_than)
        steps = self.retention.apply(rules=[*rules, old], max_share=1.0)
        return sum([step.counts.get("expired", 0) async for step in steps])

    async def compress_archives(self, entity_type: str, compress_after: timedelta) -> int:
        """Pack densely what was archived some time ago: see `operations.compaction`.

        Args:
            entity_type: the type of the games.
            compress_after: so long ago, or longer; ``timedelta(0)`` for all.

        Returns:
            How many revisions of games were packed anew.

        Raises:
            LockedError: if another process is at it.
        """
        upto = self.clock.now() - compress_after // timedelta(microseconds=1)
        steps = self.packs.compact(lambda _, archived_at: archived_at <= upto, entity_type=entity_type)
        return sum([step.games async for step in steps])

    async def backup_archives(self, destination: str | Path, entity_type: str | None = None) -> int:
        """Make a backup of the whole archive: see `Custody.create`.

        Args:
            destination: a folder, or the URL of a store.
            entity_type: whose games are counted; all of them, when omitted. The backup has all types: it is one of the whole.

        Returns:
            How many games it has.

        Raises:
            IntegrityError: if it lacks games, for the archive itself has lost them; it is made all the same.
        """
        from gamearchive.operations.backup import Made

        games, problem = 0, None
        async for step in self.backups.create(str(destination), lock_wait=LOCK_WAIT_SECONDS):
            if isinstance(step, Made):
                games = step.manifest.games
            else:
                problem = problem or step.problem
        if problem is not None:
            raise IntegrityError(f"The backup was made, and is not complete: {problem}")
        if entity_type is not None:
            return sum(total.games for total in await self.totals() if total.entity_type == entity_type)
        return games

    async def get_stats(self) -> ArchiveStats:
        """What there is, and how archiving goes."""
        if not await self.has_catalog():
            return ArchiveStats(worker_stats=self._worker_stats())
        totals, sizes = await self.totals(), await self.sizes()
        by_status, oldest, newest = await self._read(self.core.catalog.summary)
        games: dict[str, int] = {}
        for total in totals:
            games[total.entity_type] = games.get(total.entity_type, 0) + total.games
        stored = sizes.stored_bytes + sizes.dictionary_bytes
        return ArchiveStats(
            total_entities=games,
            total_size_bytes=stored + sizes.catalog_bytes,
            compression_ratio=1 - stored / sizes.raw_bytes if sizes.raw_bytes else 0.0,
            oldest_archive=None if oldest is None else from_instant(oldest),
            newest_archive=None if newest is None else from_instant(newest),
            by_status=by_status,
            by_backend={self.core.holdings.name: stored},
            worker_stats=self._worker_stats(),
            backend_stats={"packs": sizes.packs, "dictionaries": sizes.dictionaries, "revisions": sizes.revisions},
        )

    def strategy_of(self, entity_type: str) -> ArchivalStrategy[Any]:
        """How entities of a type become bytes, and come back."""
        if entity_type not in self._strategies:
            self._strategies[entity_type] = GameArchivalStrategy(entity_type=entity_type)
        return self._strategies[entity_type]

    @cached_property
    def _own_backend(self) -> IArchivalBackend:
        holdings = self.core.holdings
        if not isinstance(holdings, PackHoldings):
            raise UnsupportedError(f"{holdings.name} has no face of its own.")
        return PackArchiveBackend(holdings, self.clock)

    def _make_archiver(self) -> Archiver:
        if self._backend is not None or self._kind == "thread":
            return ThreadArchiver(self.core)
        settings, file = self.settings, self.settings.encryption_key_file
        keys = None if file is None else str(file)
        return ProcessArchiver(
            ArchivePlace(settings.database, settings.storage, settings.compression_level, keys, settings.composite)
        )

    def _worker_stats(self) -> dict[str, Any]:
        return self.worker.get_status() if self.enable_worker else {}

    def _report(self, parcels: Sequence[Parcel]) -> None:
        first = parcels[0]
        level = logging.ERROR if first.key in self.worker.failed else logging.WARNING
        said = "archiving %d games failed, the first of them %s %r in attempt %d: %s"
        _log.log(level, said, len(parcels), *first.key, first.attempts, first.error)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(MONITOR_SECONDS)
            status = self.worker.get_status()
            waiting = sum(status["queue_sizes"].values())
            if waiting > 0.8 * self.worker.max_queue_size:
                _log.warning("the archive's queue is filling up: %d of %d games", waiting, self.worker.max_queue_size)
            if status["failed"]:
                _log.warning("%d games could not be archived, and are kept", len(status["failed"]))


def _not_yet(what: str, *asked: object) -> UnsupportedError:
    return UnsupportedError(
        f"This version of gamearchive does not yet {what} ({', '.join(map(str, asked))}).",
        hint="Leave it out for now; nothing was changed.",
    )
