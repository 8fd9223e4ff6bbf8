"""Objects as files in a folder: the key is the path below the root.

Nothing is read or written outside the root: a key cannot name it (`check_key`), and no symbolic link below the root is
followed, neither by a key nor by a listing; the root itself may be one. (Who can change the folder while a call is under way
could still lead that call elsewhere, as they could change the objects.)

The root is made by the first `put`, never by a reader. Objects are written in its folder ``.tmp``, which no key can name, and
appear from there whole. Folders stay when their last object goes, unless `clear` takes it. A listing holds one folder
a level in memory.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from gamearchive import files
from gamearchive.errors import ExistsError, NotFoundError, StorageUnavailableError
from gamearchive.stores.base import Store, StoredObject, check_key, is_key


class FileSystemStore(Store):
    """A store in a folder of a local or network file system.

    Args:
        root: the folder; it need not exist yet.
    """

    def __init__(self, root: str | Path) -> None:
        self._root = Path(root).resolve()
        self._scratch = self._root / ".tmp"
        self._settled: set[Path] = set()

    @property
    def url(self) -> str:
        return self._root.as_uri()

    def put(self, key: str, data: bytes) -> None:
        path = self._path(key)
        self._settle(path.parent)
        if self._holds(key, data):
            files.sync(path)  # who wrote it may have died between the rename and the sync
        else:
            files.put(path, data, overwrite=True, scratch=self._scratch)

    def put_new(self, key: str, data: bytes) -> bool:
        path = self._path(key)
        self._settle(path.parent)
        try:
            files.put(path, data, overwrite=False, scratch=self._scratch)
        except ExistsError:
            return False
        return True

    def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        return files.read_range(self._path(key), offset, length)

    def size(self, key: str) -> int | None:
        path = self._path(key)
        with files.storage_errors("read", path):
            try:
                status = path.stat()
            except (FileNotFoundError, NotADirectoryError):
                return None
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def delete(self, key: str) -> bool:
        return self.size(key) is not None and files.remove(self._path(key))

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        return self._walk(self._root, "", prefix)

    def clear(self, prefix: str) -> Mapping[str, str]:
        retained = super().clear(prefix)
        folder = self._path(prefix.rstrip("/"))
        files.remove_empty(folder)
        self._settled = {each for each in self._settled if folder != each and folder not in each.parents}
        return retained

    def sweep(self) -> int:
        return files.sweep(self._scratch)

    def _path(self, key: str) -> Path:
        """Where an object lies, or would.

        Raises:
            UsageError: if it is no key.
            StorageUnavailableError: if the path leads through a symbolic link.
        """
        path = str(self._root)
        for segment in check_key(key).split("/"):
            path = os.path.join(path, segment)  # noqa: PTH118 - a Path for each segment takes five times as long
            if os.path.islink(path):  # noqa: PTH114
                raise StorageUnavailableError(
                    f"{path} is a symbolic link, and a store follows none.",
                    hint="Move what it points to in its place, or mount it there.",
                )
        return Path(path)

    def _settle(self, folder: Path) -> None:
        """Make a folder, and sync the names of all from the root down to it, once a process.

        Those that are there already may be the work of a process that was killed before it could sync them.
        """
        if folder in self._settled:
            return
        files.make_folder(folder)
        above = self._root
        for segment in folder.relative_to(self._root).parts:
            files.sync_folder(above)
            above /= segment
        self._settled.add(folder)

    def _holds(self, key: str, data: bytes) -> bool:
        """Whether an object is there with just these bytes; one that cannot be read is to be replaced."""
        try:
            return self.get(key) == data
        except (NotFoundError, StorageUnavailableError):
            return False

    def _walk(self, folder: Path, above: str, prefix: str) -> Iterator[StoredObject]:
        """List a folder, entering only those below it where keys can begin with the prefix.

        Args:
            folder: the folder.
            above: what the keys of all its objects begin with: nothing, or the folder's own key and a ``/``.
            prefix: what the keys listed begin with.
        """
        found: list[tuple[str, int | None]] = []
        with files.storage_errors("list", folder):
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        name = above + entry.name
                        if not is_key(name):
                            continue
                        if entry.is_dir(follow_symlinks=False):
                            # With its slash, so that the objects in it sort where their keys do: a-b before a/b before a0.
                            if f"{name}/".startswith(prefix) or prefix.startswith(f"{name}/"):
                                found.append((f"{name}/", None))
                        elif entry.is_file(follow_symlinks=False) and name.startswith(prefix):
                            found.append((name, entry.stat(follow_symlinks=False).st_size))
            except FileNotFoundError:  # no root yet, or a folder or file that went meanwhile
                pass
        for name, size in sorted(found):
            if size is None:
                yield from self._walk(self._root / name, name, prefix)
            else:
                yield StoredObject(name, size)
