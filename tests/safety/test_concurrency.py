"""Several processes on one home: none disturbs another, and no game is there twice."""

from __future__ import annotations

import json
import sqlite3
import time
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

import killing
import pytest
import running
from archiving import Home
from databases import Databases
from running import Ended, Run

from gamearchive.archive import Archive
from gamearchive.catalog import Catalog
from gamearchive.operations.rebuild import rebuild
from gamearchive.ownership import adopt_owner

COUNT = 800


def write_half(path: Path, begin: int, end: int) -> str:
    path.write_bytes(b"".join(payload + b"\n" for payload in [*killing.payloads(COUNT).values()][begin:end]))
    return str(path)


def summary(ended: Ended) -> dict[str, int]:
    assert ended.code == 0, ended
    found: dict[str, int] = json.loads(ended.out.splitlines()[-1])
    return found


@pytest.mark.parametrize("overlap", ["the same games", "other games", "some of the same games"])
def test_two_runs_at_once_with_readers_beside_them(
    gamearchive: Run, workers: ProcessPoolExecutor, databases: Databases, tmp_path: Path, overlap: str
) -> None:
    first_end, second_begin = {"the same games": (COUNT, 0), "other games": (400, 400)}.get(overlap, (500, 300))
    sources = write_half(tmp_path / "1.ndjson", 0, first_end), write_half(tmp_path / "2.ndjson", second_begin, COUNT)
    home = databases.where(tmp_path / "home")
    runs: list[Future[Ended]] = [workers.submit(running.run, "archive", source, "--json", *home) for source in sources]
    seen = [0]
    while not all(run.done() for run in runs):
        counted = gamearchive("query", "--count", *home)
        assert counted.code == 0 or (counted.code == 10 and not any(seen))
        seen.append(int(counted.out or 0))
        assert gamearchive("stats", *home).code in ((0,) if seen[-1] else (0, 10))
        page = gamearchive("query", "--json", *home)
        rows = [json.loads(line)["entity_id"] for line in page.out.splitlines()[:-1]]
        assert len(rows) == len(set(rows))
    assert seen == sorted(seen)
    done = [summary(run.result()) for run in runs]
    assert sum(each["archived"] for each in done) == COUNT
    assert sum(each["skipped"] for each in done) == first_end - second_begin
    workers.submit(killing.examine, databases.place(tmp_path / "home"), COUNT).result()


def test_many_runs_that_all_begin_the_archive(workers: ProcessPoolExecutor, databases: Databases, tmp_path: Path) -> None:
    for number in range(8):
        home = tmp_path / f"home-{number}"
        sources = [write_half(tmp_path / f"{half}.ndjson", half * 20, half * 20 + 20) for half in (0, 1)]
        where = databases.where(home)
        runs = [workers.submit(running.run, "archive", source, "--json", *where) for source in sources]
        assert [summary(run.result())["archived"] for run in runs] == [20, 20]
        workers.submit(killing.examine, databases.place(home), 40).result()


@pytest.mark.only("sqlite", "on PostgreSQL a lock is a stranger's transaction, and that is none of the archive's")
def test_a_stranger_who_locks_the_database_is_waited_for(
    gamearchive: Run, workers: ProcessPoolExecutor, databases: Databases, tmp_path: Path
) -> None:
    home = databases.where(tmp_path / "home")
    assert summary(gamearchive("archive", write_half(tmp_path / "1.ndjson", 0, 20), "--json", *home))["archived"] == 20
    stranger = sqlite3.connect(tmp_path / "home" / "gamearchive.db", isolation_level=None)
    stranger.execute("BEGIN EXCLUSIVE")
    run = workers.submit(running.run, "archive", write_half(tmp_path / "2.ndjson", 20, 40), "--json", *home)
    time.sleep(3)
    assert not run.done()
    assert gamearchive("query", "--count", *home).out == "20\n"  # readers do not wait
    stranger.execute("COMMIT")
    stranger.close()
    assert summary(run.result())["archived"] == 20
    workers.submit(killing.examine, databases.place(tmp_path / "home"), 40).result()


def test_a_run_that_waited_for_a_rebuild_goes_on_in_the_new_catalog(
    workers: ProcessPoolExecutor, databases: Databases, tmp_path: Path
) -> None:
    folder = tmp_path / "home"
    folder.mkdir()
    home = Home(folder, databases.of(folder))
    where = databases.where(folder)
    source = write_half(tmp_path / "1.ndjson", 0, 40)
    assert summary(workers.submit(running.run, "archive", source, "--json", *where).result())["archived"] == 40
    more = write_half(tmp_path / "2.ndjson", 40, 80)
    with home.database.hold(shared=False):
        run = workers.submit(running.run, "archive", more, "--json", *where)
        repair = workers.submit(running.run, "verify", "--repair", "--json", *where)
        time.sleep(1.5)  # by now both have looked at the catalog that is there, and wait
        assert not run.done()
        assert not repair.done()
        with home.database.anew() as fresh:
            archive = Archive(Catalog(fresh), home.open().holdings, home.clock)
            assert sum(done.records for done in rebuild(archive)) == 40
            adopt_owner(archive.catalog, archive.holdings)
    assert summary(run.result())["archived"] == 40
    assert summary(repair.result())["missing"] == 0
    home.close()
    workers.submit(killing.examine, databases.place(folder), 80).result()


def test_verify_repair_does_not_take_what_a_running_archive_has_not_named_yet(
    gamearchive: Run, workers: ProcessPoolExecutor, databases: Databases, tmp_path: Path
) -> None:
    home = databases.where(tmp_path / "home")
    assert summary(gamearchive("archive", write_half(tmp_path / "1.ndjson", 0, 20), "--json", *home))["archived"] == 20
    run = workers.submit(running.run, "archive", str(killing.write_games(tmp_path / "all.ndjson", COUNT)), "--json", *home)
    while not run.done():
        assert gamearchive("verify", "--repair", *home).code == 0
    assert summary(run.result())["archived"] == COUNT - 20
    workers.submit(killing.examine, databases.place(tmp_path / "home"), COUNT).result()
