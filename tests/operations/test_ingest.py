from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from archiving import Home, game, games, listed

from gamearchive.archive import Archive, OnConflict
from gamearchive.errors import StorageUnavailableError, UsageError
from gamearchive.model import GameRecord
from gamearchive.operations.ingest import Ingested, ingest
from gamearchive.query import ArchiveQuery
from gamearchive.readers import ReadOptions
from gamearchive.readers import batches as module
from gamearchive.testing import FaultyStore

DATA = Path(__file__).parent.parent / "data"


def ndjson(path: Path, records: Iterable[GameRecord]) -> str:
    path.write_bytes(b"".join(record.payload + b"\n" for record in records))
    return str(path)


def totals(steps: Iterable[Ingested]) -> tuple[int, int, int]:
    """How many games were archived, passed over and rejected."""
    every = list(steps)
    return (
        sum(len(step.added.entries) for step in every),
        sum(len(step.added.skipped) for step in every),
        sum(len(step.rejections) for step in every),
    )


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH_RECORDS", 10)


def test_files_and_folders(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    first = ndjson(tmp_path / "first.ndjson", games(3))
    ndjson(tmp_path / "in" / "a.ndjson", games(4, first=10))
    ndjson(tmp_path / "in" / "deep" / "b.ndjson", games(5, first=20))
    assert totals(ingest(archive, [first, str(tmp_path / "in")], ReadOptions())) == (12, 0, 0)
    for record in games(3) + games(4, first=10) + games(5, first=20):
        assert archive.read(archive.get(record.entity_id)) == record.payload


@pytest.mark.parametrize("folder", ["games", "json", "pgn", "binary"])
def test_real_games_once_and_never_again(archive: Archive, home: Home, folder: str) -> None:
    options = ReadOptions(entity_type="real", tags=(("set", folder),))
    archived, skipped, rejected = totals(ingest(archive, [str(DATA / folder)], options))
    assert archived > 1
    before = listed(archive)
    home.clock.turn(60)
    again = totals(ingest(home.open(), [str(DATA / folder)], options, on_conflict=OnConflict.SKIP))
    assert again == (0, archived + skipped, rejected)
    assert listed(archive) == before
    assert all(archive.read(entry) for entry in before)


def test_a_step_for_each_batch(archive: Archive, tmp_path: Path, small_batches: None) -> None:
    source = ndjson(tmp_path / "a.ndjson", games(25))
    steps = list(ingest(archive, [source], ReadOptions()))
    assert [len(step.added.entries) for step in steps] == [10, 10, 5]
    assert [entry.entity_id for entry in listed(archive)] == [f"g-{number}" for number in range(25)]


def test_a_batch_ends_at_its_bytes_too(archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = games(6)
    monkeypatch.setattr(module, "BATCH_BYTES", sum(len(record.payload) for record in records[:2]))
    steps = list(ingest(archive, [ndjson(tmp_path / "a.ndjson", records[:2] * 3)], ReadOptions()))
    assert [(len(step.added.entries), len(step.added.skipped)) for step in steps] == [(2, 0), (0, 2), (0, 2)]


def test_a_step_is_told_once_its_games_are_safe(archive: Archive, home: Home, tmp_path: Path, small_batches: None) -> None:
    reader = home.open()
    told = 0
    for step in ingest(archive, [ndjson(tmp_path / "a.ndjson", games(30))], ReadOptions()):
        told += len(step.added.entries)
        assert reader.catalog.count(ArchiveQuery()) >= told
        for entry in step.added.entries:
            assert reader.read(reader.get(entry.entity_id))
    assert told == 30


def test_rejections_come_in_the_order_of_the_sources(archive: Archive, tmp_path: Path, small_batches: None) -> None:
    lines = [record.payload for record in games(22)]
    for bad in (20, 11, 3):
        lines.insert(bad, b'{"id": "cut')
    source = tmp_path / "a.ndjson"
    source.write_bytes(b"\n".join(lines))
    steps = list(ingest(archive, [str(tmp_path / "absent"), str(source)], ReadOptions()))
    found = [(rejection.source, rejection.line) for step in steps for rejection in step.rejections]
    assert found == [(str(tmp_path / "absent"), None), (str(source), 4), (str(source), 13), (str(source), 23)]
    assert totals(steps) == (22, 0, 4)


def test_only_rejections(archive: Archive, tmp_path: Path) -> None:
    assert totals(ingest(archive, [str(tmp_path / "absent")], ReadOptions())) == (0, 0, 1)


def test_stopping_archives_what_was_read_and_the_next_run_goes_on(
    archive: Archive, home: Home, tmp_path: Path, small_batches: None
) -> None:
    source = ndjson(tmp_path / "a.ndjson", games(45))
    steps: list[Ingested] = []
    for step in ingest(archive, [source], ReadOptions(), stopping=lambda: len(steps) >= 2):
        steps.append(step)  # noqa: PERF402 - what was told so far decides
    archived = [entry.entity_id for entry in listed(archive)]
    assert archived == [f"g-{number}" for number in range(len(archived))]
    assert 20 <= len(archived) < 45
    assert len(archived) == totals(steps)[0]
    assert totals(ingest(home.open(), [source], ReadOptions())) == (45 - len(archived), len(archived), 0)


def test_stopping_before_anything(archive: Archive, tmp_path: Path) -> None:
    source = ndjson(tmp_path / "a.ndjson", games(5))
    assert totals(ingest(archive, [source], ReadOptions(), stopping=lambda: True)) == (0, 0, 0)
    assert listed(archive) == []


def test_closed_between_batches(archive: Archive, home: Home, tmp_path: Path, small_batches: None) -> None:
    source = ndjson(tmp_path / "a.ndjson", games(45))
    steps = ingest(archive, [source], ReadOptions())
    next(steps)
    steps.close()  # type: ignore[attr-defined]
    assert len(listed(archive)) == 10
    assert totals(ingest(home.open(), [source], ReadOptions()))[0] == 35


def test_a_storage_that_fails_in_the_middle(home: Home, tmp_path: Path, small_batches: None) -> None:
    source = ndjson(tmp_path / "a.ndjson", games(35))
    failing = home.open(store=FaultyStore(home.store, at=3, only=("put",)))
    steps = ingest(failing, [source], ReadOptions())
    assert [len(next(steps).added.entries) for _ in range(2)] == [10, 10]
    with pytest.raises(StorageUnavailableError):
        next(steps)
    assert len(listed(home.open())) == 20
    assert totals(ingest(failing, [source], ReadOptions())) == (15, 20, 0)


def test_a_dry_run_changes_nothing(archive: Archive, home: Home, tmp_path: Path, small_batches: None) -> None:
    archive.add(games(5))
    packs, before = home.packs, listed(archive)
    steps = ingest(archive, [ndjson(tmp_path / "a.ndjson", games(25))], ReadOptions(), dry_run=True)
    assert totals(steps) == (20, 5, 0)
    assert (home.packs, listed(archive)) == (packs, before)


def test_an_unknown_format(archive: Archive, tmp_path: Path) -> None:
    source = ndjson(tmp_path / "a.ndjson", games(1))
    with pytest.raises(UsageError, match="nonsense"):
        list(ingest(archive, [source], ReadOptions(format="nonsense")))


@pytest.mark.parametrize("on_conflict", [OnConflict.SKIP, OnConflict.KEEP_BOTH])
def test_on_conflict_holds_across_batches(
    archive: Archive, tmp_path: Path, small_batches: None, on_conflict: OnConflict
) -> None:
    source = ndjson(tmp_path / "a.ndjson", [*games(15), *[game(number, moves=3) for number in range(15)]])
    first = totals(ingest(archive, [source], ReadOptions(), on_conflict=on_conflict))
    assert first == ((15, 15, 0) if on_conflict is OnConflict.SKIP else (30, 0, 0))
    assert totals(ingest(archive, [source], ReadOptions(), on_conflict=on_conflict)) == (0, 30, 0)
    assert archive.read(archive.get("g-3")) == game(3).payload


def test_a_game_that_comes_again_while_it_is_being_put_into_a_pack(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH_RECORDS", 1)
    source = ndjson(tmp_path / "a.ndjson", [game(0, moves=moves) for moves in (1, 2, 2, 1, 3, 3, 4)])
    assert totals(ingest(archive, [source], ReadOptions())) == (4, 3, 0)
    found = archive.catalog.revisions("g-0")
    assert [(entry.revision, entry.superseded) for entry in found] == [(4, False), (3, True), (2, True), (1, True)]
    assert [archive.read(entry) for entry in found] == [game(0, moves=moves).payload for moves in (4, 3, 2, 1)]


RUN = """
import sys
from pathlib import Path
from archiving import Home
from gamearchive.clock import SystemClock
from gamearchive.operations.ingest import ingest
from gamearchive.readers import ReadOptions, batches
batches.BATCH_RECORDS = 25
archive = Home(Path(sys.argv[1]), sys.argv[2]).open(clock=SystemClock())
print("ready", flush=True)
sys.stdin.readline()
steps = list(ingest(archive, sys.argv[3:], ReadOptions()))
print(sum(len(step.added.entries) for step in steps), sum(len(step.added.skipped) for step in steps))
"""


def test_two_processes_archive_the_same_games_while_a_third_looks_on(home: Home, tmp_path: Path) -> None:
    records = games(400)
    source = ndjson(tmp_path / "a.ndjson", records)
    other = ndjson(tmp_path / "b.ndjson", [*reversed(records), *games(50, first=1000)])
    command = [sys.executable, "-c", RUN, str(home.folder), home.url]
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "cwd": Path(__file__).parent.parent, "text": True}
    runs = [subprocess.Popen([*command, each], **options) for each in (source, other)]  # type: ignore[call-overload]
    for run in runs:
        assert run.stdout is not None
        assert run.stdin is not None
        assert run.stdout.readline() == "ready\n"
    for run in runs:
        assert run.stdin is not None
        run.stdin.write("go\n")
        run.stdin.flush()
    reader = home.open()
    while any(run.poll() is None for run in runs):
        page = reader.catalog.find(ArchiveQuery(limit=20))
        assert all(json.loads(reader.read(entry))["id"] == entry.entity_id for entry in page.entries)
    counts = [tuple(map(int, run.communicate()[0].split())) for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert sum(archived for archived, _ in counts) == 450
    assert sum(skipped for _, skipped in counts) == 400
    assert sorted((entry.entity_id, entry.revision) for entry in listed(reader)) == sorted(
        (record.entity_id, 1) for record in records + games(50, first=1000)
    )
    assert {home.path(pack.key) for pack in reader.catalog.packs()} == set(home.packs)
