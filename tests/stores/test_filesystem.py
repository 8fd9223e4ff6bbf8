"""The store in a folder: its contract, and what a disk, a crash or a link can do to it."""

import os
import random
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gamearchive.errors import NotFoundError, StorageUnavailableError
from gamearchive.stores.base import Store, StoredObject
from gamearchive.stores.filesystem import FileSystemStore
from gamearchive.testing import StoreTests


class TestFileSystemStore(StoreTests):
    def open(self, folder: Path) -> Store:
        return FileSystemStore(folder / "packs")

    def plant(self, store: Store, key: str, data: bytes) -> None:
        path = Path(store.url.removeprefix("file://")) / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def peek(self, store: Store, key: str) -> bytes | None:
        path = Path(store.url.removeprefix("file://")) / key
        return path.read_bytes() if path.exists() else None


class AgainstADictionary(RuleBasedStateMachine):
    """Whatever is done in whatever order, the store holds what a dict would."""

    keys = st.sampled_from(["a-b", "a.b", "a/b", "a/c/d", "a/c/e", "a0", "b/1", "b/10"])

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.store = FileSystemStore(self.folder / "packs")
        self.model: dict[str, bytes] = {}

    @rule(key=keys, data=st.binary(max_size=20))
    def put(self, key: str, data: bytes) -> None:
        self.store.put(key, data)
        self.model[key] = data

    @rule(key=keys)
    def delete(self, key: str) -> None:
        assert self.store.delete(key) == (self.model.pop(key, None) is not None)

    @rule(key=keys)
    def get(self, key: str) -> None:
        if key in self.model:
            assert self.store.get(key) == self.model[key]
        else:
            with pytest.raises(NotFoundError):
                self.store.get(key)

    @rule()
    def open_again(self) -> None:
        self.store = FileSystemStore(self.folder / "packs")

    @rule(prefix=st.sampled_from(["a", "a/", "a/c", "b/1"]))
    def list_some(self, prefix: str) -> None:
        assert [key for key, _ in self.store.list(prefix)] == sorted(key for key in self.model if key.startswith(prefix))

    @invariant()
    def holds_the_same(self) -> None:
        assert list(self.store.list()) == [StoredObject(key, len(data)) for key, data in sorted(self.model.items())]

    def teardown(self) -> None:
        shutil.rmtree(self.folder)


TestAgainstADictionary = AgainstADictionary.TestCase
TestAgainstADictionary.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)


def test_reading_makes_no_folder(tmp_path: Path):
    store = FileSystemStore(tmp_path / "packs")
    assert (list(store.list()), store.size("a"), store.delete("a/b"), store.sweep()) == ([], None, False, 0)
    assert not (tmp_path / "packs").exists()


def test_what_has_no_keys_name_is_passed_over(tmp_path: Path):
    store = FileSystemStore(tmp_path)
    store.put("game/a.zst", b"1")
    for name in (".DS_Store", "My Notes.txt", ".tmp-0123456789abcdef", "größe", "game/.hidden"):
        (tmp_path / name).write_bytes(b"?")
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "lost+found" / "b").write_bytes(b"?")
    assert list(store.list()) == [StoredObject("game/a.zst", 1)]


def test_a_listing_enters_only_folders_where_its_prefix_leads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = FileSystemStore(tmp_path)
    for key in ("chess/2024/a", "chess/2025/a", "chess-960/2025/a", "go/2025/a"):
        store.put(key, b"")
    entered: list[str] = []
    scandir = os.scandir

    def record(folder: Path) -> object:
        entered.append(str(folder.relative_to(tmp_path)))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", record)
    assert [key for key, _ in store.list("chess/2025")] == ["chess/2025/a"]
    assert entered == [".", "chess", "chess/2025"]


@pytest.mark.parametrize("key", ["link", "folder/a", "folder/deeper/a", "dangling", "loop"])
def test_no_link_below_the_root_is_followed(tmp_path: Path, key: str):
    outside = tmp_path / "outside"
    (outside / "deeper").mkdir(parents=True)
    for name in ("a", "deeper/a"):
        (outside / name).write_bytes(b"private")
    root = tmp_path / "packs"
    root.mkdir()
    (root / "link").symlink_to(outside / "a")
    (root / "folder").symlink_to(outside)
    (root / "dangling").symlink_to(outside / "new")
    (root / "loop").symlink_to("loop")
    store = FileSystemStore(root)
    before = sorted(path for path in tmp_path.rglob("*"))
    for call in (lambda: store.put(key, b"x"), lambda: store.get(key), lambda: store.size(key), lambda: store.delete(key)):
        with pytest.raises(StorageUnavailableError, match="symbolic link"):
            call()
    assert sorted(path for path in tmp_path.rglob("*")) == before
    assert {(outside / name).read_bytes() for name in ("a", "deeper/a")} == {b"private"}
    assert list(store.list()) == list(store.list("folder/")) == []


def test_the_root_may_be_a_link(tmp_path: Path):
    (tmp_path / "real").mkdir()
    (tmp_path / "packs").symlink_to(tmp_path / "real")
    FileSystemStore(tmp_path / "packs").put("a", b"1")
    assert (tmp_path / "real" / "a").read_bytes() == b"1"


def test_sweep_takes_abandoned_temporaries_and_nothing_else(tmp_path: Path):
    store = FileSystemStore(tmp_path)
    store.put("game/2025/a", b"1")
    for number in range(3):
        (tmp_path / ".tmp" / f".tmp-{number:016x}").write_bytes(b"half")
    (tmp_path / "game" / ".keep").write_bytes(b"")
    assert store.sweep() == 3
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [".keep", "a"]


def test_the_same_bytes_are_not_written_again(tmp_path: Path):
    store = FileSystemStore(tmp_path)
    store.put("a/b", b"same")
    inode = (tmp_path / "a" / "b").stat().st_ino
    store.put("a/b", b"same")
    assert (tmp_path / "a" / "b").stat().st_ino == inode


def test_the_same_bytes_are_synced_again_since_their_writer_may_have_died_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    FileSystemStore(tmp_path).put("a/b/c", b"same")
    synced = record_syncs(monkeypatch)
    FileSystemStore(tmp_path).put("a/b/c", b"same")
    assert set(synced) == {tmp_path, tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "c"}


def test_a_put_syncs_its_file_and_its_folder_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = FileSystemStore(tmp_path)
    store.put("a/b/c", b"first")
    synced = record_syncs(monkeypatch)
    store.put("a/b/d", b"second")
    file, folder = synced
    assert file.name.startswith(".tmp-")
    assert folder == tmp_path / "a" / "b"


def record_syncs(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The paths that are synced from now on, in order."""
    synced: list[Path] = []
    fsync = os.fsync

    def record(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    return synced


def test_an_object_that_cannot_be_read_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = FileSystemStore(tmp_path)
    store.put("a", b"good")
    (tmp_path / "a").write_bytes(b"gone")
    fstat = os.fstat

    def bad_sector(descriptor: int) -> os.stat_result:
        if Path(f"/proc/self/fd/{descriptor}").readlink() == tmp_path / "a":
            raise OSError(5, "Input/output error")
        return fstat(descriptor)

    with monkeypatch.context() as broken:
        broken.setattr(os, "fstat", bad_sector)
        with pytest.raises(StorageUnavailableError, match="input/output error"):
            store.get("a")
        store.put("a", b"good")
    assert store.get("a") == b"good"


def test_a_key_below_an_object_is_refused(tmp_path: Path):
    store = FileSystemStore(tmp_path)
    store.put("a", b"1")
    with pytest.raises(StorageUnavailableError, match="a"):
        store.put("a/b", b"2")
    assert list(store.list()) == [StoredObject("a", 1)]


ENDLESS_PUTS = """
import sys
from gamearchive.stores.filesystem import FileSystemStore
store = FileSystemStore(sys.argv[1])
print("ready", flush=True)
number = int(sys.argv[2])
while True:
    store.put(f"game/{number % 7}/{number}", b"%08d" % number * 20_000)
    store.put("game/contested", b"%08d" % number * 10_000)
    number += 1
"""


def test_a_kill_at_any_moment_leaves_whole_objects_and_nothing_that_sweep_does_not_take(tmp_path: Path):
    store = FileSystemStore(tmp_path / "packs")
    chance = random.Random(2)
    abandoned = 0
    for run in range(36):
        command = [sys.executable, "-c", ENDLESS_PUTS, str(tmp_path / "packs"), str(run * 10_000)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            try:
                process.wait(chance.uniform(0, 0.03))
            except subprocess.TimeoutExpired:
                process.kill()
        assert process.returncode == -9
        abandoned += store.sweep()
        assert not list((tmp_path / "packs").rglob(".tmp-*"))
        for key, size in store.list():
            data = store.get(key)
            number = data[:8]
            assert size in (160_000, 80_000)
            assert data == number * (size // 8)
            assert key == "game/contested" or key.endswith(f"/{int(number)}")
    assert abandoned  # else no kill came in the middle of a put, and the test proved nothing


def test_of_many_who_put_what_is_not_there_one_succeeds(tmp_path: Path) -> None:
    store = FileSystemStore(tmp_path / "store")
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda number: store.put_new("contested", b"%d" % number), range(40)))
    assert won.count(True) == 1
    assert store.get("contested") == b"%d" % won.index(True)
    assert store.sweep() == 0
