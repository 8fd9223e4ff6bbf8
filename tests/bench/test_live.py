"""Measuring games in play: what a run tells, and that it leaves nothing."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from databases import execute

from gamearchive.bench import live as module
from gamearchive.bench.live import LiveMeasured, measure_live
from gamearchive.clock import SystemClock
from gamearchive.errors import GameArchiveError
from gamearchive.settings import Settings, load_settings


@contextmanager
def unseen(_title: str, *, unit: str) -> Iterator[Callable[[int, float | None], None]]:
    assert unit in {"games", "rounds"}
    yield lambda _done, _fraction: None


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary ones; and a run that plays less."""
    policy = replace(module._POLICY, batch_size=10)
    for name, value in {
        "ACTIVE_GAMES": 50, "CALLS": 100, "_WAITING_GAMES": 100, "_WARM_UP_GAMES": 1, "_POLICY": policy
    }.items():  # fmt: skip
        monkeypatch.setattr(module, name, value)
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def measure(settings: Settings) -> LiveMeasured:
    return asyncio.run(measure_live(settings, SystemClock(), unseen, games=60, played=150, seconds=0.05, rounds=2, seed=1))


def test_a_run_tells_each_figure_with_its_baseline_and_leaves_nothing(scratch: Path, tmp_path: Path) -> None:
    found = measure(load_settings({"home": str(tmp_path / "home")}))
    for compared in (found.get, found.save):
        assert min(compared) > 0
    for lag in (found.idle, *(loaded.lag for loaded in found.loaded.values())):
        assert lag.p50 <= lag.p99 <= lag.p999 <= lag.longest
    assert list(found.loaded) == ["thread", "process"]
    assert all(loaded.saves_per_second > 0 for loaded in found.loaded.values())
    assert found.game_bytes > 0
    assert (found.played.games, found.recovery.games) == (150, 60)
    assert list(scratch.iterdir()) == []
    assert not (tmp_path / "home").exists()


def test_games_that_do_not_come_back_are_no_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FILL", "")  # a server that dies before it has saved anything
    with pytest.raises(GameArchiveError, match=r"Of 60 games in play 0 came back \(0\)\."):
        measure(load_settings({"home": str(tmp_path / "home")}))


def test_the_games_to_recover_are_all_in_the_journal_of_a_process_that_is_gone(tmp_path: Path) -> None:
    home = tmp_path / "killed"
    filling = "import sys; from gamearchive.bench.live import fill; fill(*sys.argv[1:])"
    subprocess.run([sys.executable, "-c", filling, str(home), "20", "1"], check=True)
    assert execute(f"sqlite:///{home / 'gamearchive.db'}", "SELECT count(*) FROM snapshots") == [(20,)]
