"""Backups are made while others work: games are archived, other backups made, and some forgotten."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

import pytest
from archiving import Home, found_by, game, games, listed

from gamearchive.backups.contents import Contents
from gamearchive.backups.keeping import Keep
from gamearchive.backups.locks import STALE_SECONDS, locked
from gamearchive.backups.vault import Vault, needs
from gamearchive.clock import ManualClock
from gamearchive.errors import LockedError
from gamearchive.operations.backup import Copied, Made, back_up
from gamearchive.operations.backup_check import check_backups
from gamearchive.operations.backup_restore import put_back
from gamearchive.operations.forget import forget
from gamearchive.operations.verify import verify
from gamearchive.stores.filesystem import FileSystemStore


@pytest.fixture
def home(tmp_path: Path, database_url: str) -> Iterator[Home]:
    made = Home(tmp_path / "home", database_url)
    yield made
    made.close()


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(FileSystemStore(tmp_path / "backups"))


def steps(home: Home, vault: Vault, clock: ManualClock) -> Iterator[Copied | Made]:
    """A backup on its way."""
    with locked(vault.store, clock, alone=False, wait=0) as lock:
        yield from back_up(home.open(clock=clock), vault, lock, tag=None, settings={}, program="0")


def backed_up(home: Home, vault: Vault) -> Made:
    *_, made = steps(home, vault, home.clock)
    assert isinstance(made, Made)
    return made


def assert_whole(vault: Vault, backups: int) -> None:
    looked = list(check_backups(vault, full=True))
    assert [step.found for step in looked if step.found] == []
    assert sum(step.backup_id is not None for step in looked) == backups


def restored(vault: Vault, folder: Path, at: int | None = None) -> Home:
    """The archive that a backup becomes, which must be whole."""
    other = Home(folder)
    assert [step.problem for step in put_back(vault, vault.find(at)[1], other.open()) if step.problem] == []
    assert found_by(verify(other.open(), full=True)) == []
    return other


def test_a_backup_is_of_one_instant_while_games_are_archived(home: Home, vault: Vault, tmp_path: Path) -> None:
    home.open().add(games(200))
    done = threading.Event()

    def archive() -> None:
        own = home.open()
        for first in count(1000, 5):
            own.add([*games(4, first), game(first - 1000, moves=first)])
            if done.is_set():
                return

    thread = threading.Thread(target=archive)
    thread.start()
    try:
        made = []
        for _ in range(3):
            home.clock.turn(1)
            made.append(backed_up(home, vault))
    finally:
        done.set()
        thread.join()
    assert made[-1].manifest.games > made[0].manifest.games
    assert_whole(vault, 3)
    all_of_it = {(entry.key, entry.revision): entry for entry in listed(home.open())}
    for number, each in enumerate(made):
        other = restored(vault, tmp_path / f"other-{number}", each.manifest.created_at)
        found = listed(other.open())
        assert len(found) == each.manifest.revisions
        for entry in found:
            same = all_of_it[entry.key, entry.revision]
            assert (entry.checksum, entry.place, entry.provenance) == (same.checksum, same.place, same.provenance)
        other.close()


def test_two_backups_at_once_are_both_whole(home: Home, vault: Vault, tmp_path: Path) -> None:
    for first in range(0, 60, 20):
        home.open().add(games(20, first))
    one, other = steps(home, vault, ManualClock()), steps(home, Vault(vault.store), ManualClock(1_750_000_001_000_000))
    list(islice(one, 2))
    *_, second = other
    *_, first = one
    assert isinstance(first, Made)
    assert isinstance(second, Made)
    assert first.backup_id != second.backup_id
    assert needs(first.manifest) == needs(second.manifest)
    assert_whole(vault, 2)
    restored(vault, tmp_path / "other").close()


def test_who_was_taken_for_dead_makes_no_backup_of_what_has_gone(home: Home, vault: Vault) -> None:
    home.open().add(games(20))
    backed_up(home, vault)
    home.clock.turn(60)
    home.open().add(games(20, 100))
    frozen = ManualClock()
    late = steps(home, vault, frozen)
    next(late)  # a pack is copied that no backup names yet
    clock = ManualClock()
    clock.turn(STALE_SECONDS + 1)
    with pytest.raises(LockedError), locked(vault.store, ManualClock(), alone=True, wait=0):
        pass
    with locked(vault.store, clock, alone=True, wait=0) as lock:
        list(forget(vault, lock, Keep(last=1), clock.now()))
    frozen.turn(STALE_SECONDS + 1)
    with pytest.raises(LockedError, match="took this process for dead"):
        list(late)
    assert_whole(vault, 1)
    backed_up(home, vault)
    assert_whole(vault, 2)


def test_a_backup_that_was_left_is_none_and_the_next_one_uses_what_it_copied(home: Home, vault: Vault) -> None:
    for first in range(0, 60, 20):
        home.open().add(games(20, first))
    list(islice(steps(home, vault, home.clock), 1))
    assert list(vault.backups()) == []
    assert [held.key for held in vault.store.list("locks/")] == []
    assert backed_up(home, vault).new_packs <= 3
    assert_whole(vault, 1)


@pytest.mark.only("sqlite", "rows take the same room, whichever engine they come from")
def test_one_percent_more_games_take_at_most_one_and_a_half_percent_more_bytes(home: Home, vault: Vault) -> None:
    archive = home.open()
    for first in range(0, 20_000, 2000):
        archive.add(games(2000, first))
    first = backed_up(home, vault)
    archive.add(games(200, 50_000))
    second = backed_up(home, vault)
    assert second.new_bytes <= 0.015 * first.new_bytes


def test_a_game_of_many_revisions_is_found_in_its_latest(home: Home, vault: Vault) -> None:
    archive = home.open()
    archive.add(games(600))
    for moves in (3, 4, 5):
        home.clock.turn(1)
        archive.add([game(7, moves=moves)])
    backed_up(home, vault)
    found = Contents(vault, vault.find()[1]).find("g-7")
    assert (found.revision, vault.packs.get(found)) == (4, game(7, moves=5).payload)
