"""Retention as an administrator has it: what goes and why, what is held, what is brought back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from functools import cached_property
from typing import Protocol, TypeVar, Unpack

from gamearchive.archive import Archive
from gamearchive.catalog import Catalog
from gamearchive.holds import Hold
from gamearchive.model import ArchiveEntry
from gamearchive.operations.retention import Emptied, Options, Retention, Step
from gamearchive.ownership import check_owner
from gamearchive.plans import Item, Plan, SavedPlan
from gamearchive.policy import policies_from
from gamearchive.prospects import Explanation, Outlooks, Prospects
from gamearchive.retention import Rule, rules_from
from gamearchive.settings import Settings

T = TypeVar("T")


class Running(Protocol):
    """Runs a call in a thread."""

    def __call__(self, call: Callable[[], T], /) -> Awaitable[T]: ...


class Streaming(Protocol):
    """Iterates in a thread."""

    def __call__(self, steps: Callable[[], Iterator[T]], /) -> AsyncIterator[T]: ...


class RetentionDesk:
    """Asynchronous, over an archive that is not.

    Args:
        archive: gives the archive.
        settings: its rules, and how long what has expired can be brought back.
        read: runs what only reads.
        write: runs what changes something.
        stream: runs step by step what changes something.
    """

    def __init__(
        self, archive: Callable[[], Archive], settings: Settings, read: Running, write: Running, stream: Streaming
    ) -> None:
        self._archive = archive
        self._settings = settings
        self._read, self._write, self._stream = read, write, stream

    @cached_property
    def rules(self) -> Sequence[Rule]:
        """The rules in force.

        Raises:
            ConfigurationError: if one cannot be.
        """
        return rules_from(self._settings.retention, policies_from(self._settings.policies))

    async def plan(self) -> Plan:
        """What would go now: see `Retention.plan`."""
        return await self._read(lambda: self._retention().plan())

    async def items(self, plan: Plan) -> list[Item]:
        """The games of a plan."""
        return await self._read(lambda: list(self._retention().items(plan)))

    def apply(
        self, saved: SavedPlan | None = None, *, rules: Sequence[Rule] | None = None, **options: Unpack[Options]
    ) -> AsyncIterator[Plan | Step | Emptied]:
        """Let games expire, and empty the trash: see `Retention.apply`.

        Args:
            saved: exactly these; None for those that the rules let go now.
            rules: others than those of the settings.
            options: as there. Without a ``max_share``, it is that of the settings.
        """
        return self._stream(lambda: self.applied(saved, rules=rules, **options))

    def applied(
        self, saved: SavedPlan | None = None, *, rules: Sequence[Rule] | None = None, **options: Unpack[Options]
    ) -> Iterator[Plan | Step | Emptied]:
        """The same as `apply`, in a thread of the caller's."""
        self.check()
        share: Options = {"max_share": self._settings.max_share}
        yield from self._retention(rules).apply(saved, **share | options)

    async def explain(self, entity_id: str, entity_type: str | None = None) -> Explanation:
        """What becomes of a game, and why: see `Prospects.explain`."""
        return await self._read(lambda: self._prospects().explain(entity_id, entity_type))

    async def outlooks(self) -> Outlooks:
        """What tells of any game whether it is held, and when it expires."""
        return await self._read(lambda: self._prospects().outlooks())

    async def undelete(self, ids: Sequence[str], entity_type: str | None = None, *, wait: float = 0.0) -> list[ArchiveEntry]:
        """Bring games back out of the trash, all or none; the games.

        Raises:
            NotFoundError: if one of them is not in the trash.
        """

        def work() -> list[ArchiveEntry]:
            self.check()
            retention = self._retention()
            found = [retention.in_trash(entity_id, entity_type) for entity_id in dict.fromkeys(ids)]
            retention.bring_back([entry.key for entry in found], wait=wait)
            return found

        return await self._write(work)

    async def holds(self) -> list[Hold]:
        """All holds."""
        return await self._read(lambda: self._retention().holds())

    async def hold(self, wanted: Sequence[Hold], *, wait: float = 0.0) -> list[Hold]:
        """Hold games: see `Retention.hold`."""

        def work() -> list[Hold]:
            self.check()
            return self._retention().hold(wanted, wait=wait)

        return await self._write(work)

    async def release(self, numbers: Sequence[int], *, wait: float = 0.0) -> int:
        """Take holds away: see `Retention.release`."""

        def work() -> int:
            self.check()
            return self._retention().release(numbers, wait=wait)

        return await self._write(work)

    def check(self) -> None:
        """Make sure that there is an archive, of this version, and that its storage is its own; in a thread."""
        archive = self._archive()
        database = archive.catalog.database
        if database.exists():
            database.create()  # upgrades it if it is older
        database.check()
        check_owner(archive.catalog, archive.holdings, claim=False)

    def _retention(self, rules: Sequence[Rule] | None = None) -> Retention:
        archive = self._archive()
        # Another process may have made the catalog anew, with other numbers.
        fresh = Archive(Catalog(archive.catalog.database), archive.holdings, archive.clock)
        return Retention(fresh, self.rules if rules is None else rules, undelete_seconds=self._settings.undelete_period)

    def _prospects(self) -> Prospects:
        archive, period = self._archive(), self._settings.undelete_period
        return Prospects(archive.catalog, self.rules, archive.clock, undelete_seconds=period)
