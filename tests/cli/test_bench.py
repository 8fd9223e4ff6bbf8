"""`gamearchive bench`: its document, its table, and how it ends when it is interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from running import Run

from gamearchive.bench import live, measure

LATENCY = ["count", "p50_seconds", "p95_seconds", "p99_seconds"]
PACE = ["games", "elapsed_seconds", "games_per_second"]


@pytest.fixture(autouse=True)
def _list_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "LISTED", 3)


@pytest.fixture
def less(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that plays less."""
    policy = replace(live._POLICY, batch_size=10)
    for name, value in {
        "ACTIVE_GAMES": 50, "CALLS": 100, "_WAITING_GAMES": 100, "_WARM_UP_GAMES": 1, "_POLICY": policy
    }.items():  # fmt: skip
        monkeypatch.setattr(live, name, value)


def test_the_keys_of_the_document_are_a_promise(gamearchive: Run, tmp_path: Path) -> None:
    ended = gamearchive("bench", "--games", "200", "--seed", "7", "--json", "--home", str(tmp_path / "home"))
    assert ended.code == 0
    document = json.loads(ended.out.splitlines()[-1])
    assert list(document) == [
        "source", "seed", "games", "rejected", "archive", "restore", "first_page", "verify", "verify_full", "raw_bytes",
        "stored_bytes", "ratio", "objects", "catalog_bytes", "catalog_game_bytes", "peak_memory_bytes",
    ]  # fmt: skip
    assert (document["source"], document["seed"], document["games"]) == (None, 7, 200)
    assert list(document["archive"]) == list(document["verify"]) == list(document["verify_full"]) == PACE
    assert list(document["restore"]) == LATENCY
    assert list(document["first_page"]) == ["plain", "time", "player", "status", "tag"]
    assert all(list(each) == LATENCY for each in document["first_page"].values())
    assert document["ratio"] == round(document["stored_bytes"] / document["raw_bytes"], 4)
    assert document["objects"] == 4  # a pack for each of the two files, and a dictionary twice
    assert not (tmp_path / "home").exists()


def test_people_get_tables(gamearchive: Run) -> None:
    source = Path(__file__).parents[1] / "data/games/tilburg.pgn"
    ended = gamearchive("bench", "--source", str(source))
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert [line.split("\t")[0] for line in lines[:4]] == ["work", "archive", "verify", "verify --full"]
    assert [line.split("\t")[1] for line in lines[:4]] == ["games", "6", "6", "6"]
    assert "first page: player" in ended.out
    assert "first page: time" not in ended.out  # these games do not say when they ended
    assert [line.split(":")[0] for line in lines[-4:]] == ["raw", "stored", "catalog", "peak memory"]


def test_an_archive_that_is_there_stays_as_it_is(gamearchive: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database, packs = tmp_path / "my.db", tmp_path / "my-packs"
    monkeypatch.setenv("GAMEARCHIVE_DATABASE", f"sqlite:///{database}")
    monkeypatch.setenv("GAMEARCHIVE_STORAGE", packs.as_uri())
    assert gamearchive("bench", "--games", "10", "--json").code == 0
    assert not database.exists()
    assert not packs.exists()


@pytest.mark.parametrize(
    ("number", "games", "begun", "code"),
    [(signal.SIGINT, 200_000, "cup.ndjson", 130), (signal.SIGTERM, 20_000, "home", 143)],
    ids=["while-making-games", "while-archiving"],
)
def test_an_interrupted_run_leaves_nothing(tmp_path: Path, number: int, games: int, begun: str, code: int) -> None:
    command = [sys.executable, "-m", "gamearchive", "bench", "--games", str(games), "--json"]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while not list(tmp_path.glob(f"gamearchive-bench-*/{begun}")) and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (code, b"")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("less")
def test_the_keys_of_the_document_on_games_in_play_are_a_promise(gamearchive: Run) -> None:
    ended = gamearchive("bench", "live", "--json", "--games", "20", "--played", "40", "--seconds", "0", "--rounds", "1")
    assert (ended.code, ended.err) == (0, "")
    document = json.loads(ended.out.splitlines()[-1])
    compared = ["seconds", "baseline_seconds", "ratio"]
    lag = ["p50_seconds", "p99_seconds", "p999_seconds", "longest_seconds"]
    assert {key: list(value) if isinstance(value, dict) else value for key, value in document.items()} == {
        "seed": 1,
        "get_by_id": compared,
        "save": compared,
        "idle": lag,
        "thread": [*lag, "saves_per_second", "archived_per_second"],
        "process": [*lag, "saves_per_second", "archived_per_second"],
        "game_bytes": document["game_bytes"],
        "played": ["games", "early_bytes", "late_bytes"],
        "recovery": PACE,
    }


@pytest.mark.usefixtures("less")
def test_people_get_tables_on_games_in_play(gamearchive: Run) -> None:
    ended = gamearchive("bench", "live", "--games", "20", "--played", "40", "--seconds", "0", "--rounds", "1")
    assert (ended.code, ended.err) == (0, "")
    first = [line.split("\t")[0] for line in ended.out.splitlines() if line]
    assert first[:7] == ["call", "get_by_id", "save", "loop", "idle", "with thread", "with process"]
    assert [line.split(":")[0] for line in first[7:]] == ["beside a game", "memory", "recovery"]
