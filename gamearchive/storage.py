"""Storages as an administrator has them: checked, whether an archive is kept there or not; and games in them brought back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from gamearchive.archive import Archive
from gamearchive.clock import Clock
from gamearchive.errors import UsageError
from gamearchive.model import ArchiveEntry
from gamearchive.ownership import check_owner
from gamearchive.settings import Settings

if TYPE_CHECKING:
    from gamearchive.operations.check import Noted, Speed, Tried
    from gamearchive.operations.relocation import Copied
    from gamearchive.operations.resync import Resynced
    from gamearchive.operations.thaw import Thawing
    from gamearchive.operations.tiering import Moved

HOLD_SECONDS = 60.0
"""How long it is waited for somebody who has the archive to himself."""

T = TypeVar("T")


class Streaming(Protocol):
    """Runs an iteration in a thread."""

    def __call__(self, steps: Callable[[], Iterator[T]]) -> AsyncIterator[T]: ...


class StorageDesk:
    """Asynchronous, over verbs that are not.

    Args:
        archive: gives the archive.
        clock: the time.
        stream: runs an iteration in a thread.
        settings: of its storage.
    """

    def __init__(self, archive: Callable[[], Archive], clock: Clock, stream: Streaming, settings: Settings) -> None:
        self._archive = archive
        self._clock = clock
        self._stream = stream
        self._settings = settings
        self._composite = settings.composite
        self._tiers: dict[str, str | None] = {}

    def tier_of(self, entry: ArchiveEntry) -> str | None:
        """The tier that a game lies in; None where the storage has none, or cannot be asked, which it is once for each pack."""
        if self._composite is None:
            return None
        pack = entry.place.pack
        if pack not in self._tiers:
            self._tiers[pack] = self._archive().holdings.tier_of(pack)
        return self._tiers[pack]

    def check(self, url: str, *, stopping: Callable[[], bool] = lambda: False) -> AsyncIterator[Tried | Speed | Noted]:
        """Try whether a storage does what an archive needs: see `operations.check`.

        Raises:
            ConfigurationError: if nothing is known of such a URL.
            StorageUnavailableError: if it cannot be reached.
        """
        from gamearchive.backends.registry import installed_backend
        from gamearchive.operations.check import check, check_backend
        from gamearchive.stores.registry import store_from_url

        def steps() -> Iterator[Tried | Speed | Noted]:
            backend = installed_backend(url)
            if backend is not None:
                yield from check_backend(backend, self._clock, stopping=stopping)
                return
            with closing(store_from_url(url)) as store:
                yield from check(store, self._clock, stopping=stopping)

        return self._stream(steps)

    def thaw(self, entries: Callable[[], Iterable[ArchiveEntry]], days: int) -> AsyncIterator[Thawing]:
        """Have all that some games need brought to where it can be read: see `operations.thaw`."""
        from gamearchive.operations.thaw import thaw

        return self._stream(lambda: thaw(self._archive(), entries(), days))

    def resync(
        self,
        part: str | None = None,
        *,
        full: bool = False,
        prune: bool = False,
        dry_run: bool = False,
        stopping: Callable[[], bool] = lambda: False,
    ) -> AsyncIterator[Resynced | Moved]:
        """Bring the parts of the storage up to date, and, unless it is about one of them alone, move what is due to the next
        tier: see `operations.resync` and `operations.tiering`.

        Raises:
            UnsupportedError: if it has no parts.
        """

        def steps() -> Iterator[Resynced | Moved]:
            yield from self.equalize(part, full=full, prune=prune, dry_run=dry_run, stopping=stopping)
            if part is None and not stopping():
                yield from self.tier(dry_run=dry_run, stopping=stopping)

        return self._stream(steps)

    def equalize(
        self,
        part: str | None = None,
        *,
        full: bool = False,
        prune: bool = False,
        dry_run: bool = False,
        stopping: Callable[[], bool] = lambda: False,
    ) -> Iterator[Resynced]:
        """Bring the parts of the storage up to date, in this thread: see `operations.resync`."""
        from gamearchive.operations.resync import composite_of, resync

        archive = self._archive()
        holdings = composite_of(archive)
        database = archive.catalog.database
        database.check()
        check_owner(archive.catalog, holdings, claim=False)
        alone = partial(database.hold, shared=False, wait=HOLD_SECONDS)
        yield from resync(archive, holdings, alone, part=part, full=full, prune=prune, dry_run=dry_run, stopping=stopping)

    def tier(self, *, dry_run: bool = False, stopping: Callable[[], bool] = lambda: False) -> Iterator[Moved]:
        """Move what is due to the next tier, in this thread: see `operations.tiering`."""
        from gamearchive.operations.resync import composite_of
        from gamearchive.operations.tiering import tier

        archive = self._archive()
        holdings = composite_of(archive)
        held = partial(archive.catalog.database.hold, shared=True, wait=HOLD_SECONDS)
        if self._composite is not None:
            yield from tier(archive, holdings, self._composite, held, dry_run=dry_run, stopping=stopping)

    def setting_of(self, old: str) -> str:
        """The setting that says where a storage of this archive is, or one of its parts, which may be named instead.

        Raises:
            UsageError: if none does.
        """
        if self._composite is None:
            if old == self._settings.storage:
                return "storage"
        else:
            for part in self._composite.parts:
                if old in (part.name, part.url):
                    return f"composite.{part.name}.url"
        raise UsageError(
            "That is not where this archive's packs are.", hint="See `gamearchive config show`, and name it as it stands there."
        )

    def move(self, old: str, new: str, *, stopping: Callable[[], bool] = lambda: False) -> AsyncIterator[Copied]:
        """Copy the archive's storage, or one part of it, to another address: see `operations.relocation`.

        Args:
            old: its URL, or the part's name.
            new: the other URL.
            stopping: whether to leave.

        Raises:
            UsageError: if it is not this archive's.
        """
        from gamearchive.backends.registry import open_store
        from gamearchive.keyring import load_keyring
        from gamearchive.operations.relocation import relocate

        self.setting_of(old)
        urls = {part.name: part.url for part in self._composite.parts} if self._composite else {}

        def steps() -> Iterator[Copied]:
            database = self._archive().catalog.database
            database.check()
            keyring = load_keyring(self._settings.encryption_key_file)
            alone = partial(database.hold, shared=False, wait=HOLD_SECONDS)
            with closing(open_store(urls.get(old, old), keyring)) as source, closing(open_store(new, keyring)) as target:
                yield from relocate(source, target, alone, stopping=stopping)

        return self._stream(steps)
