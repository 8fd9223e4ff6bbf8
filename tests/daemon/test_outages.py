"""What becomes of jobs when something is wrong: with a game, with the storage, with the database, with the worker itself."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from archiving import game
from daemons import Place, until
from playing import Shelf
from postgresql_server import Server
from sqlalchemy import text

from gamearchive.errors import UnavailableError
from gamearchive.events import Batch, Event, Failed, LeaseLost, Reachable, Released, Unreachable
from gamearchive.jobs import JobState, Outcome
from gamearchive.model import ArchivalPriority, Sender


def of(kind: type[Event], events: list[Event]) -> list[Event]:
    return [event for event in events if isinstance(event, kind)]


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def shelved(tmp_path: Path, shelf: Shelf) -> Iterator[Place]:
    """An archive whose games a stranger's backend keeps, and whose jobs are tried again at once."""
    made = Place(tmp_path / "home", settings="[worker]\nmax_retries = 2\nretry_delay = '0s'\n", backend=shelf)
    yield made
    made.close()


@pytest.fixture
def any_shelved(tmp_path: Path, shelf: Shelf, database_url: str) -> Iterator[Place]:
    """The same on each engine in turn."""
    settings = "[worker]\nmax_retries = 2\nretry_delay = '0s'\n"
    made = Place(tmp_path / "home", database_url, settings=settings, backend=shelf)
    yield made
    made.close()


def test_a_poisoned_job_reaches_the_dead_letters_and_holds_nobody_up(any_shelved: Place, shelf: Shelf) -> None:
    shelf.poison = {"g-37"}
    any_shelved.enqueue_games(100)
    events = any_shelved.run()
    assert len(any_shelved.entries()) == 99
    (dead,) = any_shelved.jobs(JobState.FAILED)
    assert (dead.key.entity_id, dead.attempts, dead.error) == ("g-37", 3, "Shelf failed: ValueError: g-37 is poison")
    failures = of(Failed, events)
    assert [(each.attempt, each.final) for each in failures] == [(1, False), (2, False), (3, True)]
    _, history = any_shelved.queue.get(dead.id)
    assert [(attempt.outcome, attempt.worker) for attempt in history] == [(Outcome.ERROR, "here")] * 3
    first = next(number for number, event in enumerate(events) if isinstance(event, Failed))
    assert sum(batch.games for batch in of(Batch, events[:first] + events[first : first + 12])) >= 90


def test_a_game_that_is_not_what_was_enqueued_is_given_up_at_once(place: Place) -> None:
    place.enqueue_games(10)
    with place.administration.database.write() as connection:
        connection.execute(text("UPDATE job_records SET payload = CAST('other' AS BLOB) WHERE job_id = 4"))
    events = place.run()
    assert len(place.archived()) == 9
    (dead,) = place.jobs(JobState.FAILED)
    assert (dead.id, dead.attempts) == (4, 1)
    assert "not what was enqueued" in str(dead.error)
    assert [event.code for event in of(Failed, events)] == ["integrity"]


def test_while_the_storage_is_away_jobs_wait_and_count_no_attempt(shelved: Place, shelf: Shelf) -> None:
    shelf.down = True
    shelved.enqueue_games(300)
    stopping = threading.Event()
    events: list[Event] = []
    thread = threading.Thread(target=lambda: events.extend(shelved.run(burst=False, stopping=stopping.is_set)))
    thread.start()
    until(lambda: [attempt for job in shelved.jobs(JobState.RETRYABLE)[:1] for attempt in shelved.queue.get(job.id)[1]])
    time.sleep(2.5)
    assert {job.attempts for job in shelved.jobs()} == {0}
    shelf.down = False
    until(shelved.is_empty)
    stopping.set()
    thread.join()
    assert len(shelved.entries()) == 300
    pauses = [event.pause_seconds for event in of(Unreachable, events)]
    assert 1 <= len(pauses) <= 3
    assert sum(event.games for event in of(Released, events)) <= 100 + 2 * 10  # a batch, and then probes
    assert [event.what for event in of(Reachable, events)] == ["storage"]


def test_what_has_waited_for_the_storage_is_archived_by_priority(any_shelved: Place, shelf: Shelf) -> None:
    shelf.down = True
    for number in range(120):
        any_shelved.enqueue(game(number), sender=Sender(priority=ArchivalPriority(number % 4)))
    stopping = threading.Event()
    events: list[Event] = []
    options = {"burst": False, "batch_size": 20, "stopping": stopping.is_set}
    thread = threading.Thread(target=lambda: events.extend(any_shelved.run(**options)))
    thread.start()
    until(lambda: len(of(Unreachable, any_shelved.told)) >= 2)
    shelf.down = False
    until(any_shelved.is_empty)
    stopping.set()
    thread.join()
    urgency = [int(entity_id.removeprefix("g-")) % 4 for entity_id in shelf.archived]
    assert urgency == sorted(urgency, reverse=True)


def test_a_burst_gives_up_where_the_storage_stays_away(shelved: Place, shelf: Shelf) -> None:
    shelf.down = True
    shelved.enqueue_games(3)
    with pytest.raises(UnavailableError, match="The shelf is down"):
        shelved.run()
    assert len(shelved.jobs(JobState.WAITING, JobState.RETRYABLE)) == 3


def test_a_storage_that_is_not_there_at_the_start_is_waited_for_but_not_by_a_burst(place: Place) -> None:
    place.enqueue_games(30)
    away = place.packs.rename(place.folder / "away")
    place.packs.write_text("another thing")
    with place.process("--burst") as burst:
        assert burst.wait() == 15
    with place.process() as daemon:
        daemon.wait_for("unreachable", 2)
        place.packs.unlink()
        away.rename(place.packs)
        until(place.is_empty)
        daemon.stop()
    assert len(place.archived()) == 30


def test_a_folder_that_goes_and_comes_back_is_waited_for(place: Place) -> None:
    with place.process() as daemon:
        daemon.wait_for("started")
        away = place.packs.rename(place.folder / "away")
        place.packs.write_text("another thing")
        place.enqueue_games(30)
        assert daemon.wait_for("unreachable", 2)["what"] == "storage"
        assert {job.attempts for job in place.jobs()} == {0}
        place.packs.unlink()
        away.rename(place.packs)
        until(place.is_empty)
        daemon.wait_for("reachable")
        daemon.stop()
    assert len(place.archived()) == 30


def test_a_strangers_long_write_is_waited_for(place: Place) -> None:
    records = place.enqueue_games(400)
    stranger = sqlite3.connect(place.folder / "gamearchive.db", isolation_level=None, timeout=60)
    with place.process("--batch-size", "10") as daemon:
        daemon.wait_for("batch", 5)
        stranger.execute("BEGIN IMMEDIATE")
        before = len(place.jobs(JobState.DONE))
        time.sleep(3)
        assert len(place.jobs(JobState.DONE)) == before < 400
        stranger.execute("ROLLBACK")
        until(place.is_empty)
        daemon.stop()
        assert not [line for line in daemon.lines if line["event"] in ("failed", "lease-lost", "rescued", "trouble")]
    stranger.close()
    assert place.archived() == {record.entity_id: record.payload for record in records}
    assert {job.attempts for job in place.jobs()} == {0}


@pytest.mark.parametrize("go_down", [Server.halt, Server.crash])
def test_a_restart_of_postgresql_is_waited_for(tmp_path: Path, go_down: Callable[[Server], None]) -> None:
    server = Server()
    try:
        place = Place(tmp_path / "home", server.new_database())
        records = place.enqueue_games(600)
        with place.process("--batch-size", "10") as daemon:
            daemon.wait_for("batch", 5)
            go_down(server)
            daemon.wait_for("unreachable")
            server.resume()
            until(place.is_empty)
            daemon.stop()
        assert place.archived() == {record.entity_id: record.payload for record in records}
        place.close()
    finally:
        server.stop()


def test_a_worker_that_was_taken_for_dead_commits_nothing_and_comes_back(any_shelved: Place, shelf: Shelf) -> None:
    shelf.held = True
    any_shelved.enqueue_games(5)
    stopping = threading.Event()
    events: list[Event] = []
    thread = threading.Thread(target=lambda: events.extend(any_shelved.run(burst=False, stopping=stopping.is_set)))
    thread.start()
    until(lambda: any_shelved.jobs(JobState.RUNNING))
    with any_shelved.administration.database.write() as connection:  # as one that rescues does it
        connection.execute(text("DELETE FROM workers"))
        connection.execute(text("UPDATE jobs SET state = 0, worker = NULL, token = NULL, leased_at = NULL"))
    shelf.held = False
    until(any_shelved.is_empty)
    until(lambda: [worker.name for worker in any_shelved.queue.workers()] == ["here"])
    stopping.set()
    thread.join()
    assert of(LeaseLost, events)
    assert len(any_shelved.archived()) == 5
