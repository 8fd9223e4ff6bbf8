"""SIGKILL at any moment: nothing that was acknowledged is lost, nothing is doubled, nothing half-written is seen."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import count, islice, repeat
from pathlib import Path

import archiving
import fleet
import killing
import pytest
import running
import tracing
from databases import Databases
from killing import BATCH_RECORDS, KILLED, Place

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")


@pytest.fixture
def traceable(workers: ProcessPoolExecutor) -> None:
    reason = workers.submit(tracing.unsupported).result()
    if reason is not None:
        pytest.skip(reason)


def kill_until(
    wanted: int, kill: Callable[[int, Place], int], workers: ProcessPoolExecutor, places: Iterator[Place], *, at_once: int
) -> None:
    """Kill until it was done so many times: on a fast machine more of the runs end before their moment comes."""
    seeds, killed = count(), 0
    for _ in range(12):
        killed += sum(workers.map(kill, islice(seeds, at_once), list(islice(places, at_once))))
        if killed >= wanted:
            return
    pytest.fail(f"killed {killed} times, and not {wanted}")


def places(databases: Databases, folder: Path) -> Iterator[Place]:
    """Homes without end, each with a database of its own."""
    return (databases.place(folder / f"killed-{number}") for number in count())


@pytest.mark.usefixtures("traceable")
def test_archive_may_be_killed_at_every_call_that_changes_a_file(
    workers: ProcessPoolExecutor, databases: Databases, tmp_path: Path
) -> None:
    games = 3 * BATCH_RECORDS  # the third batch is the first for which a dictionary is trained
    source = killing.write_games(tmp_path / "games.ndjson", games)
    arguments = ["archive", str(source), *databases.where(tmp_path / "whole")]
    whole = workers.submit(tracing.run_and_kill_at, arguments, 0).result()
    assert whole.code == 0
    assert whole.calls >= (200 if databases.are_files else 40)
    kill = partial(killing.kill_archive_at, source=source, count=games)
    homes = list(islice(places(databases, tmp_path), whole.calls))
    codes = list(workers.map(kill, range(1, whole.calls + 1), homes, chunksize=4))
    assert set(codes) <= {0, KILLED}
    assert codes.count(KILLED) >= whole.calls - 5  # threads take turns in their own way: a few calls more or less


def test_archive_may_be_killed_again_and_again_at_random_moments(
    workers: ProcessPoolExecutor, databases: Databases, tmp_path: Path
) -> None:
    games = 12 * BATCH_RECORDS
    source = killing.write_games(tmp_path / "games.ndjson", games)
    kill = partial(killing.kill_archive_repeatedly, kills=6, source=source, count=games)
    wanted, at_once = (200, 18) if databases.are_files else (30, 4)
    kill_until(wanted, kill, workers, places(databases, tmp_path), at_once=at_once)


@pytest.fixture
def home(workers: ProcessPoolExecutor, databases: Databases, tmp_path: Path) -> Place:
    source = killing.write_games(tmp_path / "games.ndjson", 3 * BATCH_RECORDS)
    place = databases.place(tmp_path / "home")
    assert workers.submit(running.run, "archive", str(source), *place.where).result().code == 0
    return place


@pytest.mark.only("sqlite", "its file takes the place of another")
@pytest.mark.usefixtures("traceable")
def test_rebuild_may_be_killed_before_and_while_the_new_catalog_takes_the_place_of_the_old(
    workers: ProcessPoolExecutor, home: Place, tmp_path: Path
) -> None:
    calls = workers.submit(tracing.run_and_kill_at, ["rebuild", "--yes", *home.where], 0).result().calls
    at = [*range(1, calls - 12, 8), *range(calls - 12, calls + 1)]
    kill = partial(killing.kill_rebuild_at, home=home.home, folder=tmp_path, count=3 * BATCH_RECORDS)
    codes = list(workers.map(kill, at, chunksize=4))
    assert set(codes) <= {0, KILLED}
    assert codes.count(KILLED) >= len(at) - 5


def test_rebuild_may_be_killed_at_random_moments(workers: ProcessPoolExecutor, home: Place) -> None:
    kill = partial(killing.kill_rebuild, kills=8, count=3 * BATCH_RECORDS)
    kill_until(12, kill, workers, repeat(home), at_once=1)


@pytest.mark.only("sqlite", "it is about storages")
@pytest.mark.usefixtures("traceable", "engine")
def test_resync_may_be_killed_at_calls_that_change_a_file(workers: ProcessPoolExecutor, tmp_path: Path) -> None:
    games = 3 * BATCH_RECORDS
    template = tmp_path / "whole"
    template.mkdir()
    where = killing.compose(template)
    source = killing.write_games(tmp_path / "games.ndjson", games)
    assert workers.submit(running.run, "archive", str(source), *where).result().code == 0
    lost, flipped, _ = sorted((template / "b").rglob("*.zst"))
    lost.unlink()
    archiving.flip(flipped, 40)
    again = shutil.copytree(template, tmp_path / "again")
    calls = workers.submit(tracing.run_and_kill_at, ["storage", "resync", "--full", *killing.compose(again)], 0).result().calls
    assert calls > 20
    kill = partial(killing.kill_resync_at, template=template, folder=tmp_path, count=games)
    at = range(1, calls + 1, 5)  # of a hundred or so; all of them take 40 s
    codes = list(workers.map(kill, at, chunksize=2))
    assert set(codes) <= {0, KILLED}
    assert codes.count(KILLED) >= len(at) - 5


@pytest.mark.only("sqlite", "all that it changes is files")
@pytest.mark.usefixtures("traceable")
def test_compaction_may_be_killed_at_every_call_that_changes_a_file(
    workers: ProcessPoolExecutor, home: Place, tmp_path: Path
) -> None:
    shutil.copytree(home.home, tmp_path / "whole")
    whole = killing.in_file(tmp_path / "whole")
    calls = workers.submit(tracing.run_and_kill_at, ["compact", "--after", "0s", *whole.where], 0).result().calls
    assert calls > 20
    kill = partial(killing.kill_compaction_at, home=home.home, folder=tmp_path, count=3 * BATCH_RECORDS)
    at = range(1, calls + 1, 3)  # all of them take 40 s
    codes = list(workers.map(kill, at, chunksize=2))
    assert set(codes) <= {0, KILLED}
    assert codes.count(KILLED) >= len(at) - 5


def test_compaction_may_be_killed_again_and_again_at_random_moments(
    workers: ProcessPoolExecutor, databases: Databases, tmp_path: Path
) -> None:
    source = killing.write_games(tmp_path / "games.ndjson", 3 * BATCH_RECORDS)
    kill = partial(killing.kill_compaction, source=source, count=3 * BATCH_RECORDS)
    kill_until(20, kill, workers, places(databases, tmp_path), at_once=4)


@pytest.mark.only("sqlite", "a call is one that changes a file")
@pytest.mark.usefixtures("traceable")
def test_retention_may_be_killed_at_calls_that_change_a_file(
    workers: ProcessPoolExecutor, databases: Databases, tmp_path: Path
) -> None:
    """Of three packs one goes as a whole, and five games of another."""
    count = 3 * BATCH_RECORDS
    place = databases.place(tmp_path / "home")
    source = killing.write_games(tmp_path / "games.ndjson", count)
    assert workers.submit(running.run, "archive", str(source), *place.where).result().code == 0
    gone = ", ".join(f"'g-{number}'" for number in range(BATCH_RECORDS + 5))
    rule = f'[[retention]]\nname = "r"\nkeep_for = "0s"\nwhere = "entity_id IN ({gone})"\n'
    (place.home / "gamearchive.toml").write_text(f'undelete_period = "0s"\nmax_share = "90%"\n{rule}')
    kept = place.home.rename(tmp_path / "kept")
    kill = partial(killing.kill_retention_at, home=kept, folder=tmp_path, count=count)
    whole = workers.submit(kill, 0).result()
    assert whole.code == 0
    at = range(1, whole.calls + 1, 1 + whole.calls // 30)
    codes = [ended.code for ended in workers.map(kill, at)]
    assert set(codes) <= {0, KILLED}
    assert codes.count(KILLED) >= len(at) - 3


def test_restore_may_be_killed_at_random_moments(workers: ProcessPoolExecutor, home: Place, tmp_path: Path) -> None:
    kill = partial(killing.kill_restore, folder=tmp_path, count=3 * BATCH_RECORDS)
    kill_until(30, kill, workers, repeat(home), at_once=8)


@pytest.mark.timeout(3_600)
def test_workers_may_be_killed_at_random_moments_and_each_job_is_done_once(
    request: pytest.FixtureRequest, workers: ProcessPoolExecutor, databases: Databases, tmp_path: Path
) -> None:
    place = databases.place(tmp_path / "home")
    place.home.mkdir()
    assert workers.submit(fleet.kill_workers, request.config.getoption("kills"), place).result() > 0


@pytest.fixture
def backups(workers: ProcessPoolExecutor, home: Place, tmp_path: Path) -> Path:
    """Two backups of the home, and games in it that came since."""
    vault = tmp_path / "backups"
    for games in (4, 5):
        assert workers.submit(killing.summary, "backup", "create", str(vault), *home.where).result()["backup_id"]
        source = killing.write_games(tmp_path / "more.ndjson", games * BATCH_RECORDS)
        assert workers.submit(running.run, "archive", str(source), *home.where).result().code == 0
    return vault


def some(calls: int) -> list[int]:
    """Every call of a short run; of a long one about thirty of them, the first and the last among these."""
    step = max(1, calls // 24)
    return [*range(1, calls - 6, step), *range(max(1, calls - 6), calls + 1)]


@pytest.mark.only("sqlite", "a backup is made of files, and kept in files, whatever the engine")
@pytest.mark.usefixtures("traceable")
def test_backup_create_may_be_killed_at_every_call_that_changes_a_file(
    workers: ProcessPoolExecutor, home: Place, backups: Path, tmp_path: Path
) -> None:
    shutil.copytree(backups, tmp_path / "whole")
    arguments = ["backup", "create", str(tmp_path / "whole"), *home.where]
    calls = some(workers.submit(tracing.run_and_kill_at, arguments, 0).result().calls)
    kill = partial(killing.kill_backup_at, home=home.home, vault=backups, folder=tmp_path, count=5 * BATCH_RECORDS)
    codes = list(workers.map(kill, calls, chunksize=4))
    assert set(codes) <= {0, KILLED}
    assert codes.count(KILLED) >= len(calls) - 8  # threads take turns in their own way


@pytest.mark.only("sqlite", "no database is needed")
@pytest.mark.usefixtures("traceable")
def test_backup_forget_may_be_killed_at_every_call_that_changes_a_file(
    workers: ProcessPoolExecutor, backups: Path, tmp_path: Path
) -> None:
    shutil.copytree(backups, tmp_path / "whole")
    arguments = ["backup", "forget", str(tmp_path / "whole"), "--keep-last", "1", "--yes"]
    calls = some(workers.submit(tracing.run_and_kill_at, arguments, 0).result().calls)
    kill = partial(killing.kill_forget_at, vault=backups, folder=tmp_path, count=4 * BATCH_RECORDS)
    assert set(workers.map(kill, calls, chunksize=4)) == {KILLED}


@pytest.mark.only("sqlite", "its file takes the place of another")
@pytest.mark.usefixtures("traceable")
def test_backup_restore_may_be_killed_at_calls_that_change_a_file(
    workers: ProcessPoolExecutor, backups: Path, tmp_path: Path
) -> None:
    arguments = ["backup", "restore", str(backups), "--to", str(tmp_path / "whole")]
    calls = some(workers.submit(tracing.run_and_kill_at, arguments, 0).result().calls)
    kill = partial(killing.kill_putting_back_at, vault=backups, folder=tmp_path, count=4 * BATCH_RECORDS)
    codes = list(workers.map(kill, calls, chunksize=4))
    assert set(codes) <= {0, KILLED}
    assert codes.count(KILLED) >= len(calls) - 5
