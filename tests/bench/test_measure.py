"""Measuring: percentiles, and what stays out of a run's scratch archive."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gamearchive.bench import measure as module
from gamearchive.bench.measure import LISTINGS, Latency, Measured, latency, measure
from gamearchive.clock import SystemClock
from gamearchive.errors import UsageError
from gamearchive.settings import Settings, load_settings

PGN = Path(__file__).parents[1] / "data/games/tilburg.pgn"


def test_percentiles_are_by_nearest_rank() -> None:
    assert latency([5.0]) == Latency(1, 5.0, 5.0, 5.0)
    assert latency([3.0, 1.0, 2.0]) == Latency(3, 2.0, 3.0, 3.0)
    assert latency([float(number) for number in range(200, 0, -1)]) == Latency(200, 100.0, 190.0, 198.0)


class Progress:
    """Notes what a run shows."""

    def __init__(self) -> None:
        self.seen: dict[str, list[tuple[int, float | None]]] = {}

    @contextmanager
    def __call__(self, title: str, *, unit: str) -> Iterator[Callable[[int, float | None], None]]:
        reports = self.seen.setdefault(f"{title} {unit}", [])
        yield lambda done, fraction: reports.append((done, fraction))


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary ones; and a run that lists less."""
    monkeypatch.setattr(module, "LISTED", 3)
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings({"home": str(tmp_path / "home")})


def run(settings: Settings, progress: Progress, *, games: int = 250, source: Path | None = None) -> Measured:
    path = None if source is None else str(source)
    return asyncio.run(measure(settings, SystemClock(), progress, games=games, seed=1, source=path))


def test_a_run_measures_all_its_games_and_leaves_nothing(scratch: Path, settings: Settings) -> None:
    progress = Progress()
    found = run(settings, progress)
    assert found.archive.games == found.verify.games == found.verify_full.games == found.sizes.revisions == 250
    assert found.restore.count == 250
    assert {kind: each and each.count for kind, each in found.first_page.items()} == dict.fromkeys(LISTINGS, 3)
    assert found.rejected == 0
    assert found.archive.per_second > 0
    assert 0 < found.sizes.stored_bytes + found.sizes.dictionary_bytes < found.sizes.raw_bytes
    assert list(scratch.iterdir()) == []
    assert not settings.home.exists()
    assert progress.seen["Making games games"][-1] == progress.seen["Verifying in full games"][-1] == (250, 1.0)
    assert progress.seen["Archiving games"][-1] == (250, None)
    assert progress.seen["Listing (tag) pages"] == [(1, 1 / 3), (2, 2 / 3), (3, 1.0)]


def test_a_run_takes_the_games_of_a_file(scratch: Path, settings: Settings) -> None:
    found = run(settings, Progress(), source=PGN)
    assert (found.archive.games, found.rejected) == (6, 0)
    assert found.first_page["time"] is None  # none of these games says when it ended
    assert found.first_page["player"]
    assert list(scratch.iterdir()) == []


def test_a_file_without_games_is_refused(scratch: Path, settings: Settings, tmp_path: Path) -> None:
    for source in (tmp_path / "none.ndjson", tmp_path / "empty.ndjson"):
        (tmp_path / "empty.ndjson").touch()
        with pytest.raises(UsageError, match="No game can be archived from"):
            run(settings, Progress(), source=source)
    assert list(scratch.iterdir()) == []
