"""What is written is whole and synced or not there; what fails says so."""

import contextlib
import errno
import os
import re
import resource
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gamearchive import files
from gamearchive.errors import (
    ExistsError,
    GameArchiveError,
    IntegrityError,
    LockedError,
    NotFoundError,
    StorageUnavailableError,
)


def everything_in(folder: Path) -> dict[str, bytes]:
    """All files below a folder, hidden ones included."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# put, atomic_writer


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize(
    "data", [b"", b"whole", [b"in ", b"", b"chunks"], [bytes(1 << 20)] * 3], ids=["empty", "bytes", "chunks", "3-MB"]
)
def test_put_writes_the_whole_file_and_makes_its_folders(tmp_path: Path, data: bytes | list[bytes], overwrite: bool):
    files.put(tmp_path / "a" / "b" / "c", data, overwrite=overwrite)
    assert everything_in(tmp_path) == {"a/b/c": data if isinstance(data, bytes) else b"".join(data)}


def test_put_replaces_only_when_told_to(tmp_path: Path):
    path = tmp_path / "a"
    path.write_bytes(b"first")
    with pytest.raises(ExistsError, match=re.escape(str(path))):
        files.put(path, b"second", overwrite=False)
    assert everything_in(tmp_path) == {"a": b"first"}
    files.put(path, b"second", overwrite=True)
    assert everything_in(tmp_path) == {"a": b"second"}


def test_a_link_is_something_that_is_there_and_is_replaced_and_not_followed(tmp_path: Path):
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ExistsError):
        files.put(tmp_path / "link", b"x", overwrite=False)
    files.put(tmp_path / "link", b"x", overwrite=True)
    assert not (tmp_path / "elsewhere").exists()
    assert not (tmp_path / "link").is_symlink()


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_are_what_the_umask_leaves(tmp_path: Path, umask: int, mode: int):
    before = os.umask(umask)
    try:
        files.put(tmp_path / "a", b"x", overwrite=False)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == mode


def test_what_exists_is_seen_before_the_work_is_done(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"first")
    chunks = iter([b"much", b"work"])
    with pytest.raises(ExistsError):
        files.put(tmp_path / "a", chunks, overwrite=False)
    assert next(chunks) == b"much"


def overtaken(path: Path) -> Iterator[bytes]:
    """Chunks for a file that another writes while they are written."""
    yield b"slow"
    path.write_bytes(b"faster")


def test_a_name_taken_while_it_is_written_is_not_written_over(tmp_path: Path):
    with pytest.raises(ExistsError):
        files.put(tmp_path / "a", overtaken(tmp_path / "a"), overwrite=False)
    assert everything_in(tmp_path) == {"a": b"faster"}


@pytest.mark.parametrize("overwrite", [True, False])
def test_without_hard_links_it_works_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overwrite: bool):
    def no_links(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    files.put(tmp_path / "a", b"x", overwrite=overwrite)
    assert everything_in(tmp_path) == {"a": b"x"}
    with pytest.raises(ExistsError):
        files.put(tmp_path / "b", overtaken(tmp_path / "b"), overwrite=False)
    assert everything_in(tmp_path) == {"a": b"x", "b": b"faster"}


@pytest.mark.parametrize("size", [1, 1_000_000])
def test_nothing_appears_before_the_block_ends_well(tmp_path: Path, size: int):
    with files.atomic_writer(tmp_path / "a", overwrite=False) as stream:
        stream.write(bytes(size))
        assert not (tmp_path / "a").exists()
    assert (tmp_path / "a").stat().st_size == size


@pytest.mark.parametrize("failure", [ValueError("bad game"), KeyboardInterrupt(), OSError(errno.EIO, "of another file")])
def test_nothing_is_left_of_a_block_that_fails_and_its_error_stays_itself(tmp_path: Path, failure: BaseException):
    def write() -> None:
        with files.atomic_writer(tmp_path / "a", overwrite=True) as stream:
            stream.write(b"x" * 500_000)
            stream.write(b"still in the buffer")
            raise failure

    (tmp_path / "a").write_bytes(b"earlier")
    with pytest.raises(type(failure)) as caught:
        write()
    assert caught.value is failure
    assert everything_in(tmp_path) == {"a": b"earlier"}


def test_nothing_is_left_when_the_chunks_fail(tmp_path: Path):
    def chunks() -> Iterator[bytes]:
        yield b"x" * 500_000
        raise NotFoundError("the source went away")

    with pytest.raises(NotFoundError):
        files.put(tmp_path / "a", chunks(), overwrite=False)
    assert everything_in(tmp_path) == {}


# disks that fail


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 256 KiB, where mounting one is permitted."""
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("mounting a file system is not permitted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a tmpfs")
def test_a_full_disk(tmp_path: Path):
    with small_disk(tmp_path / "disk") as disk:
        with contextlib.suppress(OSError), (disk / "ballast").open("wb", buffering=0) as ballast:
            while ballast.write(bytes(4096)):
                pass
        with pytest.raises(StorageUnavailableError, match=rf"Cannot write {disk}/a: no space left on device\.") as caught:
            files.put(disk / "a", bytes(100_000), overwrite=False)
        assert "Free some space" in caught.value.hint
        assert everything_in(disk).keys() == {"ballast"}
        with files.FileLock(disk / "lock"):  # what makes room needs its lock
            assert files.remove(disk / "ballast")
        files.put(disk / "a", bytes(100_000), overwrite=False)
        assert (disk / "a").stat().st_size == 100_000


@pytest.mark.parametrize("size", [70_000, 3_000_000], ids=["on-flush", "on-write"])
def test_a_file_larger_than_allowed(tmp_path: Path, size: int):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, before[1]))
    try:
        with pytest.raises(StorageUnavailableError, match=rf"Cannot write {tmp_path}/a: file too large\."):
            files.put(tmp_path / "a", bytes(size), overwrite=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert everything_in(tmp_path) == {}
    files.put(tmp_path / "a", bytes(size), overwrite=False)


def failing_syncs(monkeypatch: pytest.MonkeyPatch, number: int, kind: int, tries: list[str]) -> None:
    """Let the syncs of folders or of files fail from now on."""

    def fsync(descriptor: int) -> None:
        of_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        if of_folder == (kind == stat.S_IFDIR):
            tries.append("folder" if of_folder else "file")
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)


def test_a_sync_that_fails_throws_the_file_away_and_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tries: list[str] = []
    (tmp_path / "a").write_bytes(b"earlier")
    with monkeypatch.context() as broken:
        failing_syncs(broken, errno.EIO, stat.S_IFREG, tries)
        with pytest.raises(StorageUnavailableError, match=r"a: input/output error\.") as caught:
            files.put(tmp_path / "a", b"later", overwrite=True)
    assert "disk may be failing" in caught.value.hint
    assert tries == ["file"]
    assert everything_in(tmp_path) == {"a": b"earlier"}
    files.put(tmp_path / "a", b"later", overwrite=True)
    assert everything_in(tmp_path) == {"a": b"later"}


def test_a_folders_sync_that_fails_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    failing_syncs(monkeypatch, errno.EIO, stat.S_IFDIR, tries := [])
    with pytest.raises(StorageUnavailableError, match="input/output error"):
        files.put(tmp_path / "a", b"whole", overwrite=False)
    assert tries == ["folder"]
    assert everything_in(tmp_path) == {"a": b"whole"}


def test_a_file_system_that_knows_no_folder_sync_is_good_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    failing_syncs(monkeypatch, errno.EINVAL, stat.S_IFDIR, tries := [])
    files.put(tmp_path / "a", b"x", overwrite=False)
    assert tries == ["folder"]


@contextlib.contextmanager
def another_users_folder() -> Iterator[Path]:
    """A folder that may be read and not written, also when root runs the tests."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "a").write_bytes(b"readable")
        (folder / "private").write_bytes(b"unreadable")
        (folder / "private").chmod(0)
        folder.chmod(0o555)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        try:
            yield folder
        finally:
            os.seteuid(user)
            folder.chmod(0o755)


def test_another_users_folder():
    with another_users_folder() as folder:
        assert files.read_range(folder / "a") == b"readable"
        for action, path, call in (
            ("write", "a", lambda: files.put(folder / "a", b"x", overwrite=True)),
            ("make", "b", lambda: files.put(folder / "b" / "c", b"x", overwrite=True)),
            ("remove", "a", lambda: files.remove(folder / "a")),
            ("read", "private", lambda: files.read_range(folder / "private")),
            ("lock", "lock", lambda: files.FileLock(folder / "lock").__enter__()),
        ):
            with pytest.raises(StorageUnavailableError, match=f"Cannot {action} {folder}/{path}: permission denied") as caught:
                call()
            assert "permissions" in caught.value.hint
        assert sorted(path.name for path in folder.iterdir()) == ["a", "private"]


# folders, remove, read_range


def test_every_folder_made_is_synced_into_the_one_above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    files.make_folder(tmp_path / "a" / "b" / "c")
    assert synced == [str(tmp_path), str(tmp_path / "a"), str(tmp_path / "a" / "b")]
    files.make_folder(tmp_path / "a" / "b" / "c")
    assert len(synced) == 3


def test_a_file_where_a_folder_should_be(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"")
    for call in (lambda: files.make_folder(tmp_path / "a"), lambda: files.put(tmp_path / "a" / "b", b"", overwrite=True)):
        with pytest.raises(StorageUnavailableError, match=f"Cannot make {tmp_path}/a: file exists"):
            call()


def test_a_folder_where_a_file_should_be(tmp_path: Path):
    (tmp_path / "a").mkdir()
    with pytest.raises(StorageUnavailableError, match="a: is a directory"):
        files.put(tmp_path / "a", b"x", overwrite=True)
    with pytest.raises(ExistsError):
        files.put(tmp_path / "a", b"x", overwrite=False)
    with pytest.raises(NotFoundError):
        files.read_range(tmp_path / "a")
    assert everything_in(tmp_path) == {}


def test_remove(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"")
    assert files.remove(tmp_path / "a") is True
    assert files.remove(tmp_path / "a") is False
    assert files.remove(tmp_path / "no" / "folder") is False
    assert everything_in(tmp_path) == {}


@given(size=st.integers(0, 40), offset=st.integers(-2, 50), length=st.none() | st.integers(-2, 50))
def test_read_range_is_exact_or_an_integrity_error(
    tmp_path_factory: pytest.TempPathFactory, size: int, offset: int, length: int | None
):
    path = tmp_path_factory.getbasetemp() / "range"
    data = bytes(range(size))
    path.write_bytes(data)
    end = size if length is None else offset + length
    if 0 <= offset <= end <= size:
        assert files.read_range(path, offset, length) == data[offset:end]
    else:
        with pytest.raises(IntegrityError, match="range"):
            files.read_range(path, offset, length)


# sweep

HELD_TEMPORARY = """
import sys
from pathlib import Path
from gamearchive import files
with files.atomic_writer(Path(sys.argv[1]), overwrite=False) as stream:
    stream.write(b"half")
    print("ready", flush=True)
    sys.stdin.readline()
    stream.write(b" and half")
"""


def writer(path: Path) -> subprocess.Popen[bytes]:
    """A process that is in the middle of writing a file, until it is sent a line."""
    process = subprocess.Popen([sys.executable, "-c", HELD_TEMPORARY, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    return process


def test_sweep_takes_a_dead_writers_temporary_and_not_a_living_ones(tmp_path: Path):
    with writer(tmp_path / "alive") as alive, writer(tmp_path / "dead") as dead:
        dead.kill()
        dead.wait()
        assert len(everything_in(tmp_path)) == 2
        assert files.sweep(tmp_path) == 1
        assert len(everything_in(tmp_path)) == 1
        assert files.sweep(tmp_path) == 0
        alive.communicate(b"\n")
        assert alive.returncode == 0
    assert everything_in(tmp_path) == {"alive": b"half and half"}


def test_sweep_leaves_what_is_no_temporary_and_does_not_look_below(tmp_path: Path):
    (tmp_path / "below").mkdir()
    for name in ("a", ".hidden", "tmp-1", "below/.tmp-1"):
        (tmp_path / name).write_bytes(b"")
    assert files.sweep(tmp_path) == 0
    assert len(everything_in(tmp_path)) == 4
    assert files.sweep(tmp_path / "absent") == 0


def test_a_sweep_between_the_creation_and_the_lock_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    swept: list[int] = []
    try_lock = files._try_lock

    def sweep_first(descriptor: int, *, shared: bool = False) -> bool:
        if len(swept) < 3:
            monkeypatch.setattr(files, "_try_lock", try_lock)
            swept.append(files.sweep(tmp_path))
            monkeypatch.setattr(files, "_try_lock", sweep_first)
        return try_lock(descriptor, shared=shared)

    monkeypatch.setattr(files, "_try_lock", sweep_first)
    files.put(tmp_path / "a", b"x", overwrite=False)
    assert swept == [1, 1, 1]
    assert everything_in(tmp_path) == {"a": b"x"}


# FileLock

HELD_LOCK = """
import sys
from pathlib import Path
from gamearchive.files import FileLock
with FileLock(Path(sys.argv[1]), shared=sys.argv[2] == "shared"):
    print("ready", flush=True)
    sys.stdin.readline()
"""


def holder(path: Path, how: str) -> subprocess.Popen[bytes]:
    """A process that holds a lock, until it is sent a line."""
    process = subprocess.Popen([sys.executable, "-c", HELD_LOCK, path, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    return process


@pytest.mark.parametrize(
    ("held", "shared", "free"),
    [("alone", False, False), ("alone", True, False), ("shared", False, False), ("shared", True, True)],
)
def test_who_excludes_whom(tmp_path: Path, held: str, shared: bool, free: bool):
    path = tmp_path / "locks" / "retention.lock"
    with holder(path, held) as process:
        lock = files.FileLock(path, shared=shared)
        if free:
            with lock:
                pass
        else:
            with pytest.raises(LockedError, match=str(path)) as caught, lock:
                pass
            assert (f"process {process.pid}." in caught.value.message) == (held == "alone")
        process.communicate(b"\n")
    with files.FileLock(path, shared=shared):
        pass


def test_a_dead_holders_lock_is_free(tmp_path: Path):
    with holder(tmp_path / "lock", "alone") as process:
        process.kill()
        process.wait()
    with files.FileLock(tmp_path / "lock", shared=True), pytest.raises(LockedError, match=r"by another process\."):
        files.FileLock(tmp_path / "lock").__enter__()  # and not by the dead one, whose number is in the file


def test_waiting_for_a_lock(tmp_path: Path):
    with holder(tmp_path / "lock", "alone") as process:
        with pytest.raises(LockedError):
            files.FileLock(tmp_path / "lock", timeout=0.1).__enter__()
        process.stdin.write(b"\n")
        process.stdin.flush()
        with files.FileLock(tmp_path / "lock", timeout=60):
            pass


def test_threads_exclude_each_other_and_an_error_frees_the_lock(tmp_path: Path):
    def fail_within() -> None:
        with files.FileLock(tmp_path / "lock"), files.FileLock(tmp_path / "lock"):
            pass

    for _ in range(2):  # the second time, the first attempt's outer lock is free again
        with pytest.raises(LockedError):
            fail_within()
    with files.FileLock(tmp_path / "lock"):
        pass


# errors


def test_an_error_without_an_errno_is_told_as_well(tmp_path: Path):
    with (
        pytest.raises(GameArchiveError, match=rf"Cannot read {tmp_path}: odd\.") as caught,
        files.storage_errors("read", tmp_path),
    ):
        raise OSError("Odd")
    assert caught.value.exit_code == 15
    assert caught.value.hint
