"""``gamearchive worker``: the state of workers, told and changed from elsewhere. The daemon itself: see tests/daemon."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemons import Place
from running import Run

from gamearchive.clock import SystemClock
from gamearchive.leases import WorkerSession


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path / "home")
    yield made
    made.close()


@pytest.fixture
def worker(place: Place) -> Iterator[WorkerSession]:
    """A worker that is there, and has said nothing yet."""
    session = WorkerSession(place.administration.database, SystemClock(), "lin")
    session.open()
    yield session
    session.close()


def test_status_is_a_document_with_the_keys_that_are_promised(gamearchive: Run, place: Place, worker: WorkerSession) -> None:
    place.enqueue_games(3)
    ended = gamearchive("worker", "status", "--json", "--config", str(place.file))
    assert (ended.code, ended.err) == (0, "")
    document = json.loads(ended.out)
    assert list(document) == ["jobs", "oldest_waiting_seconds", "workers"]
    assert document["jobs"] == {"waiting": 3, "running": 0, "retryable": 0, "failed": 0}
    assert 0 < document["oldest_waiting_seconds"] < 60
    (said,) = document["workers"]
    assert list(said) == [
        *("name", "state", "paused", "host", "pid", "started_at", "seen_at", "slots", "games", "failures", "games_per_second"),
        *("storage", "database"),
    ]
    assert (said["name"], said["state"], said["slots"], said["games"]) == ("lin", "starting", [], None)


def test_status_shows_what_a_daemon_says_of_itself(gamearchive: Run, place: Place) -> None:
    with place.process("--name", "lin", "--concurrency", "3") as daemon:
        daemon.wait_for("started")
        document = json.loads(gamearchive("worker", "status", "--json", "--config", str(place.file)).out)
        (said,) = document["workers"]
        while said["state"] == "starting":  # its first beat is to come
            (said,) = json.loads(gamearchive("worker", "status", "--json", "--config", str(place.file)).out)["workers"]
        assert (said["state"], len(said["slots"]), said["storage"], said["database"]) == ("idle", 3, "closed", "closed")
        assert said["slots"][0]["doing"] == "idle"


def test_status_for_people(gamearchive: Run, place: Place, worker: WorkerSession) -> None:
    place.enqueue_games(3)
    ended = gamearchive("worker", "status", "--config", str(place.file))
    lines = ended.out.splitlines()
    assert lines[0] == "queue: 3 waiting"
    assert lines[1].startswith("oldest: ")
    assert lines[-1].split("\t")[:2] == ["lin", "starting"]
    worker.close()
    assert "workers: none" in gamearchive("worker", "status", "--config", str(place.file)).out


def test_workers_are_paused_and_resumed_by_name_or_all(gamearchive: Run, place: Place, worker: WorkerSession) -> None:
    config = ("--config", str(place.file))
    assert json.loads(gamearchive("worker", "pause", "lin", "--json", *config).out) == {"workers": 1, "paused": True}
    assert worker.beat().paused
    assert "lin\tpaused" in gamearchive("worker", "status", *config).out
    assert gamearchive("worker", "resume", *config).out == "done: 1 worker resumed\n"
    assert not worker.beat().paused
    ended = gamearchive("worker", "pause", "nobody", *config)
    assert ended.code == 12
    assert "There is no worker 'nobody'." in ended.err


def test_without_an_archive_there_is_nothing_to_tell(gamearchive: Run, tmp_path: Path) -> None:
    for words in (("status",), ("pause",), ("resume", "lin")):
        assert gamearchive("worker", *words, "--home", str(tmp_path / "none")).code == 10


@pytest.mark.parametrize(
    "wrong",
    [("--concurrency", "0"), ("--batch-size", "x"), ("--types", "no/type"), ("--grace", "soon"), ("--metrics-port", "-1")],
)
def test_wrong_options_are_refused(gamearchive: Run, tmp_path: Path, wrong: tuple[str, str]) -> None:
    ended = gamearchive("worker", "run", *wrong, "--home", str(tmp_path / "none"))
    assert ended.code == 2
    assert not (tmp_path / "none").exists()
