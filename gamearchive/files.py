"""Files on disk: the package's only durable writes, and locks between processes.

What the words mean here:

- *Atomic*: a file appears under its name whole, or not at all. It is written under a temporary name in the same folder
  (``.tmp-`` and 16 hexadecimal digits), then linked or renamed to its own.
- *Durable*: when a call returns, the bytes and the name have been synced to the disk, and the name of every folder made on
  the way. (Windows has no sync of folders: there it is the bytes alone.)
- *Final*: a sync that fails is not tried again. The kernel may have dropped the bytes by then, and would call the next sync
  a success; the temporary is thrown away and nothing appears. Where only the folder's sync fails, the file is there, whole,
  and the error says that it may not stay.
- *Swept*: a temporary is locked for as long as its maker lives, so `sweep` tells a dead process's from a living one's.

Every `OSError` leaves here as an error of `gamearchive.errors` that names the path.
"""

from __future__ import annotations

import errno
import io
import os
import stat
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Self

from gamearchive.errors import ExistsError, IntegrityError, LockedError, NotFoundError, StorageUnavailableError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

TEMPORARY_PREFIX = ".tmp-"

_BUFFER_BYTES = 1 << 18
_LOCK_POLL_SECONDS = 0.05

_HINTS = dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "Free some space there, then run the same command again; nothing is lost.")
_HINTS |= dict.fromkeys((errno.EACCES, errno.EPERM), "Run it as the user who owns the folder, or change its permissions.")
_HINTS |= {
    errno.EROFS: "Mount the file system for writing, then run the same command again.",
    errno.EIO: "The disk may be failing: read the system's log before anything more is written to it.",
}
_NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
_NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP)


@contextmanager
def storage_errors(action: str, path: Path) -> Iterator[None]:
    """Turn an `OSError` of the block into a clear error.

    Args:
        action: what was being done to the path, as a verb: ``write``.
        path: the file or folder to name.

    Raises:
        StorageUnavailableError: in place of any OSError.
    """
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).rstrip(".")
        hint = _HINTS.get(error.errno or 0)
        raise StorageUnavailableError(f"Cannot {action} {path}: {reason[:1].lower()}{reason[1:]}.", hint=hint) from error


def put(path: Path, data: bytes | Iterable[bytes], *, overwrite: bool, scratch: Path | None = None) -> None:
    """Write a whole file, atomically and durably, with the permissions that the umask leaves.

    Args:
        path: where it is to appear; folders that are missing are made.
        data: its bytes, or chunks of them.
        overwrite: whether to replace a file that is there.
        scratch: the folder to write it in before it appears, on the same disk; the one it is to be in when omitted.

    Raises:
        ExistsError: if something is there and ``overwrite`` is false.
        StorageUnavailableError: if it cannot be written; nothing has appeared then.
    """
    with atomic_writer(path, overwrite=overwrite, scratch=scratch) as stream:
        stream.writelines((data,) if isinstance(data, bytes) else data)


@contextmanager
def atomic_writer(path: Path, *, overwrite: bool, scratch: Path | None = None) -> Iterator[BinaryIO]:
    """Open a file that appears, atomically and durably, when the block ends well, and never if it does not.

    The stream must be left open by the block. Arguments and errors are those of `put`.
    """
    with storage_errors("write", path):
        if not overwrite and os.path.lexists(path):
            raise _exists(path)
        make_folder(path.parent)
        make_folder(scratch or path.parent)
        temporary = _new_temporary(path, scratch or path.parent)
    try:
        stream = io.BufferedWriter(temporary, _BUFFER_BYTES)
        yield stream
        with storage_errors("write", path):
            stream.flush()
            os.fsync(temporary.fileno())
            if sys.platform == "win32":
                temporary.close()  # Windows renames no open file
            _publish(temporary.path, path, overwrite=overwrite)
            sync_folder(path.parent)
    finally:
        temporary.discard()


class _Temporary(io.FileIO):
    """A new file under a temporary name, whose errors name the file it is to become."""

    def __init__(self, target: Path, folder: Path) -> None:
        self.path = folder / (TEMPORARY_PREFIX + os.urandom(8).hex())
        self._target = target
        super().__init__(self.path, "x")

    def write(self, data: ReadableBuffer, /) -> int:
        with storage_errors("write", self._target):
            return super().write(data)

    def discard(self) -> None:
        """Close it without writing what is buffered, and remove its temporary name if it still has it."""
        with suppress(OSError):  # the error that led here matters more, and what stays behind is swept later
            self.close()
            self.path.unlink(missing_ok=True)


def _new_temporary(target: Path, folder: Path) -> _Temporary:
    while True:
        temporary = _Temporary(target, folder)
        try:
            # A sweeper may have come between the creation and the lock, and taken the file for a dead process's.
            if _try_lock(temporary.fileno()) and os.fstat(temporary.fileno()).st_nlink:
                return temporary
        except BaseException:
            temporary.discard()
            raise
        temporary.discard()


def _publish(temporary: Path, path: Path, *, overwrite: bool) -> None:
    """Give a temporary its own name; a link fails where the name is taken, a rename replaces."""
    if not overwrite:
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            raise _exists(path) from None
        except OSError as error:
            # FAT and some network shares have no links: there, one who creates the name at this very moment is written over.
            if error.errno not in _NO_HARD_LINKS:
                raise
            if os.path.lexists(path):
                raise _exists(path) from None
        else:
            temporary.unlink()
            return
    temporary.replace(path)


def _exists(path: Path) -> ExistsError:
    return ExistsError(f"{path} exists already.")


def make_folder(folder: Path) -> None:
    """Make a folder durably, with those above it that are missing.

    Raises:
        StorageUnavailableError: if it cannot be made.
    """
    missing = []
    with storage_errors("make", folder):
        while not folder.is_dir() and folder != folder.parent:
            missing.append(folder)
            folder = folder.parent
        for each in reversed(missing):
            try:
                each.mkdir()
            except FileExistsError:  # another process was faster; but it may have been with a file
                if not each.is_dir():
                    raise
            sync_folder(each.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable.

    Raises:
        StorageUnavailableError: if the disk refuses.
    """
    if sys.platform == "win32":
        return
    with storage_errors("sync", folder):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            # Some network and FUSE file systems do not know a folder's sync: there, a rename is as durable as it gets.
            if error.errno not in _NO_FOLDER_SYNC:
                raise
        finally:
            os.close(descriptor)


def sync(path: Path) -> None:
    """Make a file that is there durable: its bytes and its name.

    Raises:
        StorageUnavailableError: if the disk refuses.
    """
    with storage_errors("sync", path):
        with path.open("rb+" if sys.platform == "win32" else "rb") as file:  # Windows syncs only what it may write
            os.fsync(file.fileno())
        sync_folder(path.parent)


def replace(source: Path, target: Path) -> None:
    """Give a file that is there, and durable, another's name in the same folder, durably.

    Raises:
        StorageUnavailableError: if it cannot be renamed.
    """
    with storage_errors("rename", source):
        source.replace(target)
        sync_folder(target.parent)


def remove(path: Path) -> bool:
    """Remove a file durably; False if there is none.

    Raises:
        StorageUnavailableError: if it cannot be removed.
    """
    with storage_errors("remove", path):
        try:
            path.unlink()
        except (FileNotFoundError, NotADirectoryError):
            return False
        sync_folder(path.parent)
        return True


def remove_empty(folder: Path) -> None:
    """Remove a folder and those below it, but for those with a file in them or below; it need not be there."""
    for path, _, _ in os.walk(folder, topdown=False):
        with suppress(OSError):  # not empty
            Path(path).rmdir()


def read_range(path: Path, offset: int = 0, length: int | None = None) -> bytes:
    """Read part of a file, or all of it: exactly the bytes asked for.

    Args:
        path: the file.
        offset: the first byte's, from 0.
        length: how many bytes; None for all up to the end.

    Raises:
        NotFoundError: if there is no such file.
        IntegrityError: if the file ends before the range does.
        StorageUnavailableError: if it cannot be read.
    """
    with storage_errors("read", path):
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                end = size if length is None else offset + length
                if not 0 <= offset <= end <= size:
                    raise IntegrityError(f"{path} has {size} bytes, and bytes {offset} to {end} were asked for.")
                file.seek(offset)
                data = file.read(end - offset)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise NotFoundError(f"There is no file {path}.") from None
    if len(data) != end - offset:
        raise IntegrityError(f"{path} was cut short while it was read.")
    return data


def sweep(folder: Path) -> int:
    """Remove the temporaries that dead processes left in a folder, not in those below it.

    Returns:
        how many were removed. One that a living process writes to stays.

    Raises:
        StorageUnavailableError: if the folder cannot be read or written.
    """
    with storage_errors("sweep", folder):
        try:
            with os.scandir(folder) as entries:
                paths = [Path(entry) for entry in entries if entry.name.startswith(TEMPORARY_PREFIX)]
        except FileNotFoundError:
            return 0
        return sum(_remove_if_abandoned(path) for path in paths)


def _remove_if_abandoned(path: Path) -> bool:
    try:
        if sys.platform == "win32":
            path.unlink()  # refused while anyone has it open
        else:
            with io.FileIO(path, "r+") as file:
                if not _try_lock(file.fileno()):
                    return False
                path.unlink()
    except (FileNotFoundError, PermissionError):  # its maker was faster, or it is another user's
        return False
    return True


class FileLock:
    """A lock between processes (and threads), on a file of its own; it falls with its holder, however that one ends.

    Use it in a ``with`` statement. The file is made where it is missing, and stays. Who holds the lock alone leaves the
    number of its process in it, for the error of those who come in vain.

    Args:
        path: the lock file.
        shared: whether others may hold it at the same time, if shared too. (On Windows nothing is shared.)
        timeout: seconds to wait for it; 0 for not at all.
    """

    def __init__(self, path: Path, *, shared: bool = False, timeout: float = 0.0) -> None:
        self._path = path
        self._shared = shared
        self._attempts = 1 + int(timeout / _LOCK_POLL_SECONDS)
        self._file: io.FileIO | None = None

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            LockedError: if another holds it, and still does after the timeout.
            StorageUnavailableError: if there can be no lock file.
        """
        with storage_errors("lock", self._path):
            make_folder(self._path.parent)
            file = io.FileIO(self._path, "a+")
            try:
                self._take(file)
            except BaseException:
                file.close()
                raise
        self._file = file
        return self

    def _take(self, file: io.FileIO) -> None:
        for attempt in range(self._attempts):
            if attempt:
                time.sleep(_LOCK_POLL_SECONDS)
            if _try_lock(file.fileno(), shared=self._shared):
                with suppress(OSError):  # on a full disk as well, what makes room must get its lock
                    file.truncate(0)
                    if not self._shared:
                        file.write(b"%d" % os.getpid())
                return
        file.seek(0)
        holder = file.read(20).decode("ascii", "replace")
        raise LockedError(f"{self._path} is locked by {f'process {holder}' if holder else 'another process'}.")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


if sys.platform == "win32":
    _LOCKED_BYTE = 1 << 62  # far beyond what is written: Windows lets nobody read or write a locked byte

    def _try_lock(descriptor: int, *, shared: bool = False) -> bool:  # noqa: ARG001 - Windows has no shared locks of this kind
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
        return True

else:

    def _try_lock(descriptor: int, *, shared: bool = False) -> bool:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def is_special(path: Path) -> bool:
    """Whether something is there that is written to and never replaced: a device, a pipe, a stream such as ``/dev/stdout``."""
    try:
        kind = path.stat().st_mode
        if not stat.S_ISREG(kind):
            return not stat.S_ISDIR(kind)
        behind = Path(os.path.realpath(path.parent), path.name)
        target = behind.readlink() if behind.is_symlink() else behind
    except OSError:
        return False  # there is nothing, or nothing that may be looked at
    return any(place.is_relative_to("/proc") for place in (behind, target))


@contextmanager
def special_writer(path: Path) -> Iterator[BinaryIO]:
    """Open what `is_special` for writing.

    Raises:
        StorageUnavailableError: if it cannot be written.
    """
    with storage_errors("write", path), path.open("ab") as stream:
        yield stream
