"""The backups as an administrator has them: where they are to lie, and one method for each thing to do with them.

A destination is a folder of this machine, or the URL of any store. Where the archive's packs are encrypted, so is all of its
backups, with the same keys.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from secrets import SystemRandom
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Protocol, TypeVar

from gamearchive.archive import Archive
from gamearchive.backups.contents import Contents
from gamearchive.backups.locks import locked
from gamearchive.backups.vault import Backup, Vault
from gamearchive.catalog import Catalog
from gamearchive.clock import Clock
from gamearchive.errors import NoArchiveError, UsageError
from gamearchive.keyring import load_keyring
from gamearchive.model import ArchiveEntry
from gamearchive.settings import Settings
from gamearchive.stores.encrypted import EncryptedStore
from gamearchive.stores.registry import folder_of, store_from_url

if TYPE_CHECKING:  # each verb is imported where it is used, for a command uses one
    from gamearchive.backups.keeping import Keep
    from gamearchive.operations.backup import Copied, Made
    from gamearchive.operations.backup_check import Looked
    from gamearchive.operations.backup_restore import PutBack
    from gamearchive.operations.drill import Drilled
    from gamearchive.operations.forget import Decided, Dropped
    from gamearchive.operations.verify import Checked

_URL = re.compile(r"[a-z][a-z0-9+.-]+:")

T = TypeVar("T")


class Lane(Protocol):
    """Iterates in a thread: see `lanes.Lanes`."""

    def __call__(self, steps: Callable[[], Iterator[T]], /) -> AsyncIterator[T]: ...


class Custody:
    """The backups of an archive.

    Args:
        settings: the archive's.
        archive: gives it.
        clock: the time.
        is_own: whether a path is part of the archive itself.
        stream: iterates in a thread.
    """

    def __init__(
        self, settings: Settings, archive: Callable[[], Archive], clock: Clock, is_own: Callable[[Path], bool], stream: Lane
    ) -> None:
        self._settings, self._archive, self._clock, self._is_own, self._stream = settings, archive, clock, is_own, stream

    def create(
        self,
        destination: str,
        *,
        tag: str | None = None,
        lock_wait: float = 0.0,
        stopping: Callable[[], bool] = lambda: False,
    ) -> AsyncIterator[Copied | Made]:
        """Make a backup: see `made`."""
        return self._stream(lambda: self.made(destination, tag=tag, lock_wait=lock_wait, stopping=stopping))

    def made(
        self,
        destination: str,
        *,
        tag: str | None = None,
        lock_wait: float = 0.0,
        stopping: Callable[[], bool] = lambda: False,
    ) -> Iterator[Copied | Made]:
        """Make a backup, in a thread: see `operations.backup`.

        Args:
            destination: where to.
            tag: what it is called.
            lock_wait: seconds to wait for somebody who takes backups away there.
            stopping: whether to leave.
        """
        from importlib.metadata import version

        from gamearchive.operations.backup import back_up

        archive = self._archive()
        database = archive.catalog.database
        if not database.exists():
            raise NoArchiveError(f"There is no archive in {database.name}.")
        database.create()  # upgrades it if it is older
        settings, program = self._settings.shown(), version("gamearchive")
        with self._vault(destination) as vault, locked(vault.store, self._clock, alone=False, wait=lock_wait) as lock:
            yield from back_up(archive, vault, lock, tag=tag, settings=settings, program=program, stopping=stopping)

    def every(self, destination: str) -> AsyncIterator[Backup]:
        """All backups, the oldest first."""

        def steps() -> Iterator[Backup]:
            with self._vault(destination) as vault:
                vault.require()
                yield from vault.backups()

        return self._stream(steps)

    def verify(
        self, destination: str, *, full: bool = False, stopping: Callable[[], bool] = lambda: False
    ) -> AsyncIterator[Looked]:
        """Check all backups: see `operations.backup_check`."""
        from gamearchive.operations.backup_check import check_backups

        def steps() -> Iterator[Looked]:
            with self._vault(destination) as vault:
                yield from check_backups(vault, full=full, stopping=stopping)

        return self._stream(steps)

    def restore(
        self, destination: str, at: int | None = None, *, stopping: Callable[[], bool] = lambda: False
    ) -> AsyncIterator[str | PutBack | Checked]:
        """Put a backup back in the place that the settings say, where nothing is yet: see `operations.backup_restore`.

        Args:
            destination: where it is.
            at: the latest that was made not after this instant; None for the latest.
            stopping: whether to leave.

        Yields:
            The backup's id, what was put back, and then what `operations.verify` says of it.
        """
        from gamearchive.operations.backup_restore import put_back
        from gamearchive.operations.verify import verify

        def steps() -> Iterator[str | PutBack | Checked]:
            archive = self._archive()
            with self._vault(destination) as vault:
                backup_id, manifest = vault.find(at)
                yield backup_id
                yield from put_back(vault, manifest, archive, stopping=stopping)
            archive.catalog = Catalog(archive.catalog.database)
            yield from verify(archive, stopping=stopping)

        return self._stream(steps)

    def find(
        self, destination: str, entity_id: str, entity_type: str | None = None, at: int | None = None
    ) -> AsyncIterator[tuple[ArchiveEntry, bytes]]:
        """One game out of a backup, its latest revision: what is known of it, and its exact bytes.

        Raises:
            NotFoundError: if there is no such game, or no such backup; IntegrityError: if its bytes are damaged.
        """

        def steps() -> Iterator[tuple[ArchiveEntry, bytes]]:
            with self._vault(destination) as vault:
                entry = Contents(vault, vault.find(at)[1]).find(entity_id, entity_type)
                yield entry, vault.packs.get(entry)

        return self._stream(steps)

    def forget(
        self,
        destination: str,
        keep: Keep,
        *,
        dry_run: bool = False,
        lock_wait: float = 0.0,
        stopping: Callable[[], bool] = lambda: False,
    ) -> AsyncIterator[Decided | Dropped]:
        """Forget backups: see `operations.forget`."""
        from gamearchive.operations.forget import forget

        def steps() -> Iterator[Decided | Dropped]:
            with self._vault(destination) as vault:
                vault.require()
                alone = nullcontext() if dry_run else locked(vault.store, self._clock, alone=True, wait=lock_wait)
                with alone as lock:
                    yield from forget(vault, lock, keep, self._clock.now(), stopping=stopping)

        return self._stream(steps)

    def drill(
        self, destination: str, count: int, at: int | None = None, *, stopping: Callable[[], bool] = lambda: False
    ) -> AsyncIterator[str | Drilled]:
        """Restore a sample into a scratch folder that is gone afterwards: see `operations.drill`.

        Yields:
            The backup's id, and then each game.
        """
        from gamearchive.operations.drill import drill

        def steps() -> Iterator[str | Drilled]:
            with self._vault(destination) as vault, TemporaryDirectory(prefix="gamearchive-") as folder:
                backup_id, manifest = vault.find(at)
                yield backup_id
                yield from drill(vault, manifest, Path(folder), count, SystemRandom(), stopping=stopping)

        return self._stream(steps)

    @contextmanager
    def _vault(self, destination: str) -> Iterator[Vault]:
        """The vault at a destination.

        Raises:
            UsageError: if it is part of the archive itself.
        """
        url = destination if _URL.match(destination) else Path(destination).expanduser().absolute().as_uri()
        folder = folder_of(url)
        if url.startswith("memory:") or (folder is not None and self._is_own(folder)):
            raise UsageError(f"{destination} is no place for backups.", hint="Name a folder of their own, or a bucket.")
        store = EncryptedStore(store_from_url(url), load_keyring(self._settings.encryption_key_file))
        with closing(Vault(store)) as vault:
            yield vault
