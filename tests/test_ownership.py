"""Whose a storage is: two homes on one, storages from before there were marks, and those that are away."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from archiving import Home, games
from running import Run, leave_user, runner

from gamearchive.backends.foreign import ForeignHoldings
from gamearchive.backends.packed import FileSystemArchiveBackend, PackHoldings
from gamearchive.errors import IntegrityError, RefusedError, StorageUnavailableError
from gamearchive.ownership import adopt_owner, check_owner
from gamearchive.stores.memory import MemoryStore


@pytest.fixture
def gamearchive(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    leave_user(monkeypatch, tmp_path)
    Path("a.ndjson").write_bytes(b"\n".join(record.payload for record in games(5)))
    Path("b.ndjson").write_bytes(b"\n".join(record.payload for record in games(5, 3)))
    return runner(capsys)


def claim(home: Home) -> None:
    archive = home.open()
    check_owner(archive.catalog, archive.holdings, claim=True)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    yield home
    home.close()


def test_a_second_home_on_one_storage_is_refused(gamearchive: Run) -> None:
    storage = ("--storage", Path("one/packs").resolve().as_uri())
    assert gamearchive("archive", "a.ndjson", "--home", "one").code == 0
    assert gamearchive("archive", "a.ndjson", "--home", "two").code == 0
    before = {path: path.read_bytes() for path in Path("one/packs").rglob("*") if path.is_file()}
    for command in (("archive", "b.ndjson"), ("archive", "b.ndjson", "-n"), ("verify",), ("verify", "--repair")):
        ended = gamearchive(*command, "--home", "two", *storage)
        assert (ended.code, "gamearchive rebuild" in ended.err) == (18, True), command
    assert {path: path.read_bytes() for path in Path("one/packs").rglob("*") if path.is_file()} == before
    assert gamearchive("rebuild", "--yes", "--home", "two", *storage).code == 0
    assert gamearchive("archive", "b.ndjson", "--home", "two", *storage).code == 0
    assert gamearchive("verify", "--full", "--home", "two", *storage).code == 0


def test_a_storage_from_before_is_marked_by_who_writes(gamearchive: Run) -> None:
    assert gamearchive("archive", "a.ndjson", "--home", "one").code == 0
    mark = Path("one/packs/gamearchive-id")
    own = mark.read_bytes()
    mark.unlink()
    assert gamearchive("verify", "--home", "one").code == 0
    assert not mark.exists()
    assert gamearchive("verify", "--repair", "--home", "one").code == 0
    assert mark.read_bytes() == own
    mark.unlink()
    for path in Path("one").glob("gamearchive.db*"):
        path.unlink()
    assert gamearchive("rebuild", "--home", "one").code == 0
    assert mark.read_bytes() != own
    assert gamearchive("archive", "b.ndjson", "--home", "one").code == 0


def test_a_copy_of_a_home_is_the_same_archive(gamearchive: Run) -> None:
    assert gamearchive("archive", "a.ndjson", "--home", "one").code == 0
    shutil.copytree("one", "two")
    assert gamearchive("archive", "b.ndjson", "--home", "two").code == 0
    assert gamearchive("verify", "--full", "--home", "two").code == 0


def test_whoever_comes_first_owns_it(home: Home, tmp_path: Path) -> None:
    homes = [Home(tmp_path / f"home-{number}") for number in range(6)]
    for each in homes:
        each.packs_folder = home.packs_folder

    def refused(each: Home) -> bool:
        try:
            claim(each)
        except RefusedError:
            return True
        return False

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(refused, homes)) == [False] + [True] * 5
        assert [*pool.map(refused, [homes[0]] * 6)].count(refused(homes[0])) == 6
    for each in homes:
        each.close()


def test_many_processes_of_one_home_agree(home: Home) -> None:
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: claim(home), range(12)))
    assert home.open().catalog.identity() == home.open().holdings.owner()


def test_on_either_engine(database_url: str, tmp_path: Path) -> None:
    home = Home(tmp_path / "home", database_url)
    claim(home)
    home.open().add(games(2))
    claim(home)
    home.close()


def test_without_a_mark_where_packs_should_be_it_is_away(home: Home) -> None:
    claim(home)
    home.open().add(games(2))
    for claimed in (False, True):
        with pytest.raises(StorageUnavailableError, match="none of the packs"):
            check_owner(home.open().catalog, PackHoldings(MemoryStore()), claim=claimed)


def test_a_damaged_mark_is_told(home: Home) -> None:
    claim(home)
    home.path("gamearchive-id").write_bytes(b"\0" * 33)
    with pytest.raises(IntegrityError, match="gamearchive-id") as caught:
        claim(home)
    assert "Remove it" in caught.value.hint
    home.path("gamearchive-id").unlink()
    claim(home)


def test_a_strangers_backend_has_no_mark(home: Home, tmp_path: Path) -> None:
    holdings = ForeignHoldings(FileSystemArchiveBackend(tmp_path / "foreign"))
    check_owner(home.open().catalog, holdings, claim=True)
    adopt_owner(home.open().catalog, holdings)
    assert home.open().catalog.identity() is None
    holdings.close()
