"""Archiving in threads and in a process of its own: both take the same, and neither loses or doubles anything."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from archiving import games
from databases import Databases
from playing import archived, game, journal, over, quick_worker, repository, revisions, run, until

from gamearchive import ArchivalPolicy, ArchivalPriority, ArchivalTrigger, LockedError, UnavailableError
from gamearchive.archive import Archive
from gamearchive.archivers.base import Archiver, Shipment
from gamearchive.archivers.process import ProcessArchiver
from gamearchive.archivers.threads import ThreadArchiver
from gamearchive.archivers.wire import LAST, ArchivePlace, Order, Receipt, receive, send
from gamearchive.backends.registry import open_holdings
from gamearchive.catalog import Catalog
from gamearchive.clock import SystemClock
from gamearchive.database.engine import Database
from gamearchive.keyring import Keyring
from gamearchive.model import Sender

SENDER = Sender(ArchivalTrigger.GAME_COMPLETED, ArchivalPriority.NORMAL, "p@1", live=True)


@pytest.fixture
def place(databases: Databases, tmp_path: Path) -> ArchivePlace:
    home = tmp_path / "home"
    database = Database(databases.of(home))
    database.create()
    database.close()
    return ArchivePlace(databases.of(home), (home / "packs").as_uri(), 3)


@pytest.fixture(params=["thread", "process"])
def archiver(request: pytest.FixtureRequest, place: ArchivePlace) -> Iterator[Archiver]:
    if request.param == "process":
        child = ProcessArchiver(place)
        yield child
        child.close()
        return
    database, holdings = Database(place.database), open_holdings(place.storage, level=3, keyring=Keyring())
    thread = ThreadArchiver(Archive(Catalog(database), holdings, SystemClock()))
    yield thread
    thread.close()
    holdings.close()
    database.close()


def test_what_is_archived_twice_is_there_once(archiver: Archiver, tmp_path: Path) -> None:
    first = archiver.archive(SENDER, games(10))
    assert (first.written, first.stored_bytes > 0) == (10, True)
    assert archiver.archive(SENDER, games(10)) == Shipment(0, 0)
    assert archiver.archive(SENDER, games(12)).written == 2
    entries = asyncio.run(archived(tmp_path))
    assert revisions(entries) == {f"g-{number}": 1 for number in range(12)}
    assert {(entry.provenance.trigger, entry.provenance.policy) for entry in entries} == {(SENDER.trigger, "p@1")}


def test_an_error_is_the_same_wherever_it_comes_from(
    archiver: Archiver, place: ArchivePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    archiver.archive(SENDER, games(1))
    packs = Path(place.storage.removeprefix("file://"))
    for path in packs.iterdir():
        path.rename(path.with_name(path.name + ".away"))
    (packs / "game").write_text("no folder")
    with pytest.raises(UnavailableError):
        archiver.archive(SENDER, games(5))
    (packs / "game").unlink()
    assert archiver.archive(SENDER, games(5)).written == 4


def test_the_switch_interval_is_short_while_threads_archive(place: ArchivePlace) -> None:
    before = sys.getswitchinterval()
    database, holdings = Database(place.database), open_holdings(place.storage, level=3, keyring=Keyring())
    archive = Archive(Catalog(database), holdings, SystemClock())
    first, second = ThreadArchiver(archive), ThreadArchiver(archive)
    assert sys.getswitchinterval() < before
    first.close()
    assert sys.getswitchinterval() < before
    second.close()
    assert sys.getswitchinterval() == before
    holdings.close()
    database.close()


def test_a_process_that_is_killed_is_followed_by_another(tmp_path: Path) -> None:
    async def test() -> None:
        async with repository(tmp_path, archiver="process", max_active_games=5000, worker=quick_worker(max_retries=20)) as repo:
            kills, archiver = 0, repo.archive_manager._archiver
            for number in range(600):
                await repo.save(over(f"g{number}", chat="x" * 2000))
                if number % 150 == 75:
                    await until(lambda: (child := archiver._child) and child._owed and child._process.poll() is None)
                    os.kill(archiver._child._process.pid, signal.SIGKILL)
                    kills += 1
            await until(lambda: not repo._play.games)
            assert kills == 4
            assert repo.archive_manager.worker.failed == {}
            assert await repo.get_by_id("g75") == over("g75", chat="x" * 2000)
        assert revisions(await archived(tmp_path)) == {f"g{number}": 1 for number in range(600)}
        assert journal(tmp_path) == {}

    run(test())


def test_a_process_that_hangs_holds_up_no_shutdown_and_loses_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        policies = {"game": ArchivalPolicy(name="game", entity_type="game", archive_timeout=timedelta(milliseconds=200))}
        repo = repository(tmp_path, archiver="process", policies=policies)
        await repo.initialize()
        await repo.save(over("first"))
        await until(lambda: not repo._play.games)
        child = repo.archive_manager._archiver._child
        os.kill(child._process.pid, signal.SIGSTOP)
        await repo.save(over("second"))
        await until(lambda: child._owed)
        await repo.shutdown(grace=0.05)
        assert child._process.poll() == -signal.SIGKILL
        assert journal(tmp_path) == {"second": 1}
        async with repository(tmp_path) as repo:
            await until(lambda: not repo._play.games)
        assert revisions(await archived(tmp_path)) == {"first": 1, "second": 1}

    run(test())


class Child:
    """The archiver process, spoken to by hand."""

    def __init__(self, place: ArchivePlace) -> None:
        program = "from gamearchive.archivers.child import main; main()"
        self.process: Any = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        send(self.process.stdin, place)

    def order(self, order: Order) -> None:
        send(self.process.stdin, order)

    def end(self) -> tuple[list[Receipt], int]:
        self.process.stdin.close()
        receipts = list(receive(self.process.stdout, Receipt))
        self.process.stdout.close()
        return receipts, self.process.wait()


def test_a_process_that_is_told_to_end_carries_out_its_orders_first(place: ArchivePlace, tmp_path: Path) -> None:
    child = Child(place)
    for number in range(5):
        child.order(Order(number, SENDER, games(20, 20 * number)))
    child.order(LAST)
    receipts, code = child.end()
    assert (sorted(receipt.number for receipt in receipts), code) == ([0, 1, 2, 3, 4], 0)
    assert len(asyncio.run(archived(tmp_path))) == 100


def test_a_process_whose_server_died_archives_nothing_more(place: ArchivePlace, tmp_path: Path) -> None:
    """What it would archive might come after what the next server makes of the same game."""
    database = Database(place.database)
    child = Child(place)
    with database.hold(shared=False):
        child.order(Order(1, SENDER, games(20)))
        receipts, code = child.end()
    database.close()
    assert (receipts, code) == ([], 1)
    assert asyncio.run(archived(tmp_path)) == []


def test_messages_that_are_cut_off_are_none(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    with whole.open("wb") as stream:
        send(stream, Receipt(1, 2, 3))
        send(stream, Receipt(2, error=("", "boom", None)))
    data = whole.read_bytes()
    for cut in range(len(data)):
        whole.write_bytes(data[:cut])
        with whole.open("rb") as stream:
            assert len(list(receive(stream, Receipt))) <= 1


def test_an_archive_that_somebody_has_alone_is_waited_for(place: ArchivePlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gamearchive.archivers.threads.LOCK_WAIT_SECONDS", 0.0)
    database, holdings = Database(place.database), open_holdings(place.storage, level=3, keyring=Keyring())
    archiver = ThreadArchiver(Archive(Catalog(database), holdings, SystemClock()))
    other = Database(place.database)
    with other.hold(shared=False), pytest.raises(LockedError):
        archiver.archive(SENDER, games(1))
    assert archiver.archive(SENDER, games(1)).written == 1
    archiver.close()
    for each in (other, database, holdings):
        each.close()


def test_games_travel_to_the_process_and_back_unaltered(tmp_path: Path) -> None:
    async def test() -> None:
        mine = over("g", chat=["Łódź \N{SNOWMAN}", "\0", {"deep": [1, 2.5, None, True]}], big=1 << 80)
        async with repository(tmp_path, archiver="process") as repo:
            await repo.save(mine)
            await repo.save(game("idle"))
            assert await repo.archive_manager.archive_entity("idle")
            await until(lambda: not repo._play.games)
            assert await repo.get_by_id("g") == mine
            assert json.loads(json.dumps(await repo.get_by_id("idle"))) == game("idle")

    run(test())
