"""Parts of a composite for tests: folders, some of which can be switched off, and what lies in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gamearchive.backends.composite import CompositeHoldings
from gamearchive.backends.composite_store import CompositeStore
from gamearchive.backends.parts import Part
from gamearchive.clock import Clock, ManualClock
from gamearchive.errors import StorageUnavailableError
from gamearchive.stores.base import Store, StoredObject
from gamearchive.stores.wrapper import WrapperStore


class Switch(WrapperStore):
    """A store that can be reached only while it is on; it counts how often it is read from."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.on = True
        self.reads = 0

    def _reach(self) -> Store:
        if not self.on:
            raise StorageUnavailableError(f"{self.url} is switched off.")
        return self.inner

    def put(self, key: str, data: bytes) -> None:
        self._reach().put(key, data)

    def put_new(self, key: str, data: bytes) -> bool:
        return self._reach().put_new(key, data)

    def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        self.reads += 1
        return self._reach().get(key, offset, length)

    def size(self, key: str) -> int | None:
        return self._reach().size(key)

    def delete(self, key: str) -> bool:
        return self._reach().delete(key)

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        return self._reach().list(prefix)


class Composite:
    """A composite of folders that can be switched off.

    Args:
        folder: they are made in it.
        tiers: the names of the parts of each tier, by its name.
        write_quorum: so many parts must have an object.
        clock: the time; one that stands still if None, to which all parts are equally near.
    """

    def __init__(
        self, folder: Path, tiers: dict[str, str] | None = None, write_quorum: int = 1, clock: Clock | None = None
    ) -> None:
        from gamearchive.stores.filesystem import FileSystemStore

        self.folder = folder
        self.switches: dict[str, Switch] = {}
        parts = []
        for tier, names in (tiers or {"hot": "a b"}).items():
            for name in names.split():
                self.switches[name] = Switch(FileSystemStore(folder / name))
                parts.append(Part(name, tier, self.switches[name], clock or ManualClock()))
        self.store = CompositeStore(parts, write_quorum)
        self.holdings = CompositeHoldings(self.store)

    def path(self, part: str, key: str) -> Path:
        return self.folder / part / key

    def keys(self, part: str) -> list[str]:
        """All that lies in a part, notes included."""
        root = self.folder / part
        paths = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
        return sorted(path.as_posix() for path in paths if path.parts[0] != ".tmp")
