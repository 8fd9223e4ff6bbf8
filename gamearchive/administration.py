"""`Administration`: the parts put together from settings, and one method for each verb.

Its methods are asynchronous, for a game server's sake; what they do is not, and runs in threads of the manager's own, one for
reading and one for whatever writes, so that neither the loop nor a listing waits for an archive run.

It is what the command line works with, and what `ArchiveManager` adds the live side to. Use it as a context:
``async with Administration(load_settings()) as archive``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from msgspec import structs

from gamearchive.archive import Added, Archive, OnConflict
from gamearchive.backends.foreign import TwoMethods
from gamearchive.backends.registry import holdings_of, open_holdings
from gamearchive.backends.succession import Succession
from gamearchive.catalog import Catalog, Page, Sizes, Total
from gamearchive.clock import Clock, SystemClock
from gamearchive.database.engine import Database
from gamearchive.desk import JobDesk
from gamearchive.errors import (
    IntegrityError,
    LockedError,
    NoArchiveError,
    RefusedError,
    StoppedError,
    UnavailableError,
    UsageError,
)
from gamearchive.keyring import load_keyring
from gamearchive.lanes import Lanes
from gamearchive.model import ArchiveEntry, EntityKey, Sender
from gamearchive.ownership import adopt_owner, check_owner, is_kept_to, refuse_second_catalog
from gamearchive.packdesk import PackDesk
from gamearchive.query import ArchiveQuery
from gamearchive.queue import JobQueue
from gamearchive.settings import Settings
from gamearchive.storage import StorageDesk
from gamearchive.stores.registry import folder_of

if TYPE_CHECKING:  # each verb is imported where it is used, for a command uses one
    from gamearchive.custody import Custody
    from gamearchive.expiry import RetentionDesk
    from gamearchive.operations.ingest import Ingested
    from gamearchive.operations.rebuild import Rebuilt, SetAside
    from gamearchive.operations.restore import Restored
    from gamearchive.operations.spool import Spooled
    from gamearchive.operations.verify import Checked
    from gamearchive.readers import ReadOptions

LOCK_WAIT_SECONDS = 60.0
"""How long a run waits for one that has the archive to itself."""

T = TypeVar("T")


class Administration(Lanes):
    """The archive that some settings describe.

    Args:
        settings: where it is and how it is kept.
        clock: the time.
        backend: what keeps the games' bytes, in place of packs at ``settings.storage``; the catalog stays where it is.
    """

    def __init__(self, settings: Settings, clock: Clock | None = None, *, backend: TwoMethods | None = None) -> None:
        super().__init__()
        self.settings = settings
        self._backend = backend
        self.clock = clock or SystemClock()

    @cached_property
    def database(self) -> Database:
        """The database of the catalog."""
        return Database(self.settings.database)

    @cached_property
    def core(self) -> Archive:
        """Catalog and holdings as one object, synchronous."""
        if self._backend is not None:
            holdings = holdings_of(self._backend)
        else:
            said, keyring = self.settings, load_keyring(self.settings.encryption_key_file)
            holdings = open_holdings(said.storage, level=said.compression_level, keyring=keyring, composite=said.composite)
        return Archive(Catalog(self.database), holdings, self.clock)

    @cached_property
    def queue(self) -> JobQueue:
        """What waits to be archived."""
        return JobQueue(self.database, self.clock, self.settings.worker.max_queue_size)

    @cached_property
    def jobs(self) -> JobDesk:
        """The queue's jobs, to look at and to decide about."""
        return JobDesk(self.queue, self._read)

    @cached_property
    def storage(self) -> StorageDesk:
        """Storages, the archive's own and others."""
        return StorageDesk(lambda: self.core, self.clock, self._change, self.settings)

    @cached_property
    def backups(self) -> Custody:
        """Its backups, to be made and to be restored from."""
        from gamearchive.custody import Custody

        return Custody(self.settings, lambda: self.core, self.clock, self.is_own, self._change)

    @cached_property
    def retention(self) -> RetentionDesk:
        """Which games expire, and which are held."""
        from gamearchive.expiry import RetentionDesk

        return RetentionDesk(lambda: self.core, self.settings, self._read, self._write, self._change)

    @cached_property
    def packs(self) -> PackDesk:
        """The archive's packs, to be made denser."""
        return PackDesk(self.database, lambda: self.core, partial(self._stream, executor=self._writing))

    def succeed(self, backend: TwoMethods) -> None:
        """Put another backend in the place of the present one, whose games are still read from it."""
        self.core.holdings = Succession(holdings_of(backend), self.core.holdings)
        self._backend = backend

    @cached_property
    def own(self) -> tuple[str, ...]:
        """How the resolved paths begin, with ``/`` throughout, of all that the archive itself consists of on this machine."""
        folders = map(folder_of, self.settings.storage_urls)
        own = tuple(f"{folder.resolve().as_posix()}/" for folder in folders if folder is not None)
        if self.settings.encryption_key_file is not None:
            own = (*own, f"{self.settings.encryption_key_file.resolve().as_posix()}/")
        path = self.database.path  # the names of its journals and its lock begin with its own
        return own if path is None else (path.resolve().as_posix(), *own)

    def is_own(self, path: Path) -> bool:
        """Whether a file is part of the archive itself, or would be."""
        return f"{path.resolve().as_posix()}/".startswith(self.own)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Leave what is under way after the step in hand, and let go of everything."""
        await self._end()
        if "core" in self.__dict__:
            self.core.holdings.close()
        if "database" in self.__dict__:
            self.database.close()

    def archive(
        self,
        sources: Iterable[str],
        options: ReadOptions,
        *,
        on_conflict: OnConflict = OnConflict.REPLACE,
        dry_run: bool = False,
        stopping: Callable[[], bool] = lambda: False,
    ) -> AsyncIterator[Ingested]:
        """Archive all games of files, folders or standard input: see `operations.ingest`."""
        from gamearchive.operations.ingest import ingest

        options = structs.replace(options, own=(*options.own, *self.own))

        def steps() -> Iterator[Ingested]:
            if dry_run:
                if self.database.exists():
                    check_owner(self.core.catalog, self.core.holdings, claim=False)
                yield from ingest(self.core, sources, options, on_conflict=on_conflict, dry_run=True, stopping=stopping)
                return
            with self._adding():
                yield from ingest(self.core, sources, options, on_conflict=on_conflict, stopping=stopping)

        return self._stream(steps, self._writing)

    def spool(
        self,
        sources: Iterable[str],
        options: ReadOptions,
        sender: Sender,
        *,
        dry_run: bool = False,
        stopping: Callable[[], bool] = lambda: False,
    ) -> AsyncIterator[Spooled]:
        """Enqueue all games of files, folders or standard input: see `operations.spool`."""
        from gamearchive.operations.spool import spool

        options = structs.replace(options, own=(*options.own, *self.own))

        def steps() -> Iterator[Spooled]:
            with nullcontext() if dry_run else self._adding():
                yield from spool(self.queue, sources, options, sender, dry_run=dry_run, stopping=stopping)

        return self._stream(steps, self._writing)

    async def archive_active(self, keys: Sequence[EntityKey], *, dry_run: bool = False) -> Added:
        """Archive games in play as they are now: see `operations.active`."""
        from gamearchive.operations.active import archive_active

        def work() -> Added:
            self.database.check()
            with self._adding():
                return archive_active(self.core, self.queue, keys, dry_run=dry_run)

        return await self._write(work)

    def prepare(self) -> None:
        """Make the archive if there is none, and clear away what killed writers have left; in a thread.

        Raises:
            RefusedError: if there are packs in the storage already, but no catalog, or another archive's.
        """
        with self._adding():
            pass

    @contextmanager
    def _adding(self) -> Iterator[None]:
        """A block that adds to the archive, which is made if there is none."""
        refuse_second_catalog(self.database, self.core.holdings)
        self.database.create()
        with self.database.hold(shared=True, wait=LOCK_WAIT_SECONDS):
            self.core.catalog = Catalog(self.database)  # another process may have made it anew, with other numbers
            check_owner(self.core.catalog, self.core.holdings, claim=True)
            self.core.holdings.sweep()
            yield

    async def query(self, query: ArchiveQuery) -> Page:
        """One page of a listing."""
        return await self._read(lambda: self.core.catalog.find(query))

    def pages(self, query: ArchiveQuery) -> AsyncIterator[Page]:
        """All that a query matches, page by page; its ``limit`` is the limit in all, 0 for none."""
        return self._stream(lambda: self.core.catalog.pages(query), self._reading)

    async def count(self, query: ArchiveQuery) -> int:
        """How many games a query matches."""
        return await self._read(lambda: self.core.catalog.count(query))

    async def get(self, entity_id: str, entity_type: str | None = None, revision: int | None = None) -> ArchiveEntry:
        """What is known of one game.

        Raises:
            NotFoundError: if it is not archived.
        """
        return await self._read(lambda: self.core.get(entity_id, entity_type, revision))

    async def revisions(self, entry: ArchiveEntry) -> list[ArchiveEntry]:
        """All revisions of a game, the latest first."""
        return await self._read(lambda: self.core.catalog.revisions(entry.entity_id, entry.entity_type))

    async def damage(self, entry: ArchiveEntry) -> str | None:
        """Why a game's bytes are known to be lost; None where they are not."""
        return await self._read(lambda: self.core.catalog.damage(entry))

    async def read(self, entry: ArchiveEntry) -> bytes:
        """A game's exact bytes.

        Raises:
            IntegrityError: if they are lost or damaged.
        """
        return await self._read(lambda: self.core.read(entry))

    def restore(
        self,
        entries: Callable[[], Iterable[ArchiveEntry]],
        *,
        output: Path | None,
        folder: bool = False,
        force: bool = False,
        write: Callable[[bytes], object] = lambda _: None,
    ) -> AsyncIterator[Restored]:
        """Write games into a folder, a file, or a stream: see `operations.restore`.

        Args:
            entries: gives the games.
            output: the folder or the file; None for the stream.
            folder: whether ``output`` is a folder.
            force: write over what is there.
            write: takes the bytes of the stream.

        Raises:
            UsageError: if ``output`` is part of the archive itself.
        """
        from gamearchive.operations.restore import restore_each, restore_to_file, restore_to_folder

        def steps() -> Iterator[Restored]:
            if output is None:
                return restore_each(self.core, entries(), write)
            if self.is_own(output):
                raise UsageError(f"{output} belongs to the archive itself.", hint="Choose another place.")
            if folder:
                return restore_to_folder(self.core, entries(), output, force=force, own=self.own)
            return restore_to_file(self.core, entries(), output, force=force)

        return self._stream(steps, self._reading)

    def verify(
        self, *, full: bool = False, sample: float = 1.0, repair: bool = False, stopping: Callable[[], bool] = lambda: False
    ) -> AsyncIterator[Checked]:
        """Check the archive, and mend it: see `operations.verify`."""
        from gamearchive.operations.verify import verify

        def steps() -> Iterator[Checked]:
            if repair and self.database.exists():
                self.database.create()  # upgrades it if it is older
            self.database.check()
            alone: AbstractContextManager[None] = (
                self.database.hold(shared=False, wait=LOCK_WAIT_SECONDS) if repair else nullcontext()
            )
            with alone:
                if repair:
                    self.core.catalog = Catalog(self.database)  # another process may have made it anew, with other numbers
                check_owner(self.core.catalog, self.core.holdings, claim=repair)
                adding = (lambda: False) if repair else self._is_added_to
                yield from verify(self.core, full=full, sample=sample, repair=repair, stopping=stopping, adding=adding)

        return self._stream(steps, self._writing if repair else self._reading)

    def _is_added_to(self) -> bool:
        """Whether another process holds the archive, to add to it."""
        try:
            with self.database.hold(shared=False):
                return False
        except LockedError:
            return True
        except UnavailableError:  # nobody can add to what is read-only
            return False

    def rebuild(
        self, *, dry_run: bool = False, force: bool = False, stopping: Callable[[], bool] = lambda: False
    ) -> AsyncIterator[Rebuilt | SetAside]:
        """Make the catalog anew from the packs, in place of the one that is there: see `operations.rebuild`.

        A damaged one is kept beside it; the last step tells where.

        Args:
            dry_run: make it in a scratch folder, and throw it away.
            force: replace a catalog also by one of fewer games.
            stopping: whether to leave.

        Raises:
            RefusedError: if there are fewer games in the packs than in the catalog that is there, which stays.
            StoppedError: if it was left before the end.
        """
        from gamearchive.operations.rebuild import SetAside, rebuild

        def fill(catalog: Catalog, named: int | None) -> Iterator[Rebuilt]:
            yield from rebuild(Archive(catalog, self.core.holdings, self.clock), stopping=stopping)
            if stopping():
                raise StoppedError("Interrupted. The catalog is as it was.", hint="Run `gamearchive rebuild` again.")
            found = catalog.count(ArchiveQuery())
            if named is not None and found < named and not force:
                raise RefusedError(
                    f"The catalog knows {named:,} games, and the packs in {self.core.holdings.name} hold only {found:,}.",
                    hint="Mount the storage, or put the packs back. To go on with what is there, add --force.",
                )

        def steps() -> Iterator[Rebuilt | SetAside]:
            if not self._has_catalog() and not is_kept_to(self.core.holdings):
                raise NoArchiveError(
                    f"There is neither a catalog in {self.database.name} nor a pack in {self.core.holdings.name}."
                )
            with ExitStack() as stack:
                if not dry_run:
                    stack.enter_context(self.database.hold(shared=False, wait=LOCK_WAIT_SECONDS))
                named = self._count_named()
                if dry_run:
                    scratch = Database(f"sqlite:///{stack.enter_context(TemporaryDirectory(prefix='gamearchive-'))}/catalog.db")
                    stack.callback(scratch.close)
                    scratch.create()
                    yield from fill(Catalog(scratch), named)
                    return
                aside = self.database.name_aside() if named is None else None
                with self.database.anew(aside, force=force) as fresh:
                    catalog = Catalog(fresh)
                    yield from fill(catalog, named)
                    adopt_owner(catalog, self.core.holdings)
            self.core.catalog = Catalog(self.database)  # the numbers that the old one remembers mean something else now
            if aside:
                yield SetAside(aside)

        return self._stream(steps, self._writing)

    def _count_named(self) -> int | None:
        """How many games the catalog names; None if it is damaged."""
        try:
            if not self.database.exists():
                return 0
            self.database.create()  # upgrades it if it is older
            self.database.check_pages()
            return self.core.catalog.count(ArchiveQuery())
        except IntegrityError:
            return None

    def _has_catalog(self) -> bool:
        try:
            return self.database.exists()
        except IntegrityError:
            return True

    async def has_catalog(self) -> bool:
        """Whether there is a catalog, be it a damaged one."""
        return await self._read(self._has_catalog)

    async def sizes(self) -> Sizes:
        """What everything takes."""
        return await self._read(self.core.catalog.sizes)

    async def totals(self) -> list[Total]:
        """What there is, by type and day of archiving."""
        return await self._read(self.core.catalog.totals)

    def _explained(self, call: Callable[[], T]) -> T:
        """A call's result; where there is no catalog but there are packs, its error says how to come by one."""
        try:
            return call()
        except NoArchiveError as error:
            if not is_kept_to(self.core.holdings):
                raise
            raise NoArchiveError(
                f"There is no catalog in {self.database.name}, but there are packs in {self.core.holdings.name}.",
                hint="Make the catalog from the packs with `gamearchive rebuild`, or name the right one with --database.",
            ) from error
