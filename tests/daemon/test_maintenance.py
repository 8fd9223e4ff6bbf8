"""What a daemon does beside archiving: verification on a schedule, and tidying up."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from archiving import flip
from daemons import Place, until
from sqlalchemy import text

from gamearchive.clock import SystemClock
from gamearchive.database import duties
from gamearchive.database.engine import Database
from gamearchive.database.sqlite import shorten_log
from gamearchive.errors import RefusedError
from gamearchive.events import Damage, Duty, Event
from gamearchive.leases import WorkerSession
from gamearchive.maintenance import BackingUp, Expiry, Verification
from gamearchive.schedule import parse_schedule
from gamearchive.units import SECOND

HOUR = 3600 * SECOND


@pytest.fixture
def packed(place: Place) -> Place:
    """An archive with five packs."""
    place.enqueue_games(50)
    place.run(batch_size=10)
    assert len(list(place.packs.rglob("*.zst"))) == 5
    return place


def verification(place: Place, schedule: str, events: list[Event]) -> Verification:
    return Verification(place.administration, "here", parse_schedule(schedule), events.append, lambda: False)


def test_packs_are_verified_when_it_is_time_and_damage_is_told(packed: Place) -> None:
    events: list[Event] = []
    flip(sorted(packed.packs.rglob("*.zst"))[2], 40)
    verify = verification(packed, "every 6h", events)
    verify.look()
    assert [(event.finding, event.object.endswith(".zst")) for event in events if isinstance(event, Damage)]
    (duty,) = [event for event in events if isinstance(event, Duty)]
    assert (duty.duty, duty.result["packs"], duty.result["damaged"] > 0) == ("verify", 5, True)
    events.clear()
    verify.look()
    assert events == []


def test_within_a_budget_it_goes_on_where_it_ended(packed: Place) -> None:
    events: list[Event] = []
    verify = verification(packed, "every 1s budget 0.001s", events)
    packs = []
    for _ in range(10):
        verify.look()
        packs += [event.result["packs"] for event in events if isinstance(event, Duty)]
        events.clear()
        if sum(packs) >= 5:
            break
        time.sleep(1)
    assert sum(packs) == 5
    assert len(packs) > 1


def test_of_several_workers_one_does_it_and_another_where_that_one_is_dead(database: Database) -> None:
    session = WorkerSession(database, SystemClock(), "lin")
    session.open()
    with database.write() as connection:
        claim = duties.claim(connection, "verify", "lin", 1 * HOUR, lambda _last: True)
        assert claim == ("verify", "lin", None)
        assert duties.claim(connection, "verify", "far", 9 * HOUR, lambda _last: True) is None
        duties.finish(connection, claim, "game/1")
        assert duties.claim(connection, "verify", "far", 9 * HOUR, lambda last: last != 1 * HOUR) is None
        assert duties.claim(connection, "verify", "lin", 9 * HOUR, lambda _last: True) == ("verify", "lin", "game/1")
    session.close()
    with database.write() as connection:
        assert duties.claim(connection, "verify", "far", 9 * HOUR, lambda _last: True) == ("verify", "far", "game/1")


def test_a_daemon_verifies_when_its_settings_say(place: Place) -> None:
    place.enqueue_games(20)
    place.run()
    place.file.write_text(f"{place.file.read_text()}[schedule]\nverify = 'daily 03:00 budget 60s'\n")
    with place.process() as daemon:
        done = daemon.wait_for("duty")
        assert (done["duty"], done["packs"], done["records"], done["damaged"]) == ("verify", 1, 20, 0)
    with place.administration.database.read() as connection:
        assert connection.execute(text("SELECT name, worker FROM duties")).all() == [("verify", None)]


def test_a_log_that_has_grown_long_is_cut_off_and_a_short_one_left_alone(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'g.db'}")
    database.create()
    log = tmp_path / "g.db-wal"
    with database.read(), database.write() as connection:
        connection.execute(text("CREATE TABLE t (data BLOB)"))
        for _ in range(20):
            connection.execute(text("INSERT INTO t VALUES (zeroblob(1000000))"))
    assert database.path is not None
    assert log.stat().st_size > 16 << 20
    with database.read() as connection:
        connection.execute(text("SELECT count(*) FROM t"))
        shorten_log(database.engine, database.path)
    assert shorten_log(database.engine, database.path)
    assert log.stat().st_size == 0
    database.close()


def test_a_backup_is_made_when_it_is_time(place: Place, tmp_path: Path) -> None:
    place.enqueue_games(20)
    place.run()
    events: list[Event] = []
    administration = place.administration
    administration.settings = replace(administration.settings, backup_destination=str(tmp_path / "backups"))
    duty = BackingUp(administration, "here", parse_schedule("daily 02:00"), events.append, lambda: False)
    duty.look()
    (done,) = events
    assert isinstance(done, Duty)
    assert (done.duty, done.result["backups"], done.result["new_packs"] > 0) == ("backup", 1, True)
    duty.look()
    assert len(events) == 1
    flip(next(place.packs.rglob("*.zst")), 40)
    administration.settings = replace(administration.settings, backup_destination=str(tmp_path / "other"))
    again = BackingUp(administration, "here", parse_schedule("every 1s"), events.append, lambda: False)
    until(lambda: again.look() or len(events) > 1)
    assert any(isinstance(event, Damage) for event in events)
    left = BackingUp(administration, "here", parse_schedule("every 1s budget 0.001s"), events.append, lambda: False)
    events.clear()
    until(lambda: left.look() or bool(events))
    assert [event.result["backups"] for event in events if isinstance(event, Duty)] == [0]


def test_games_expire_when_it_is_time(place: Place) -> None:
    place.enqueue_games(20)
    place.run()
    rule = {"name": "some", "where": "entity_id LIKE 'g-1%'", "keep_for": "0s"}
    administration = place.administration
    administration.settings = replace(administration.settings, retention=[rule], max_share=0.6)
    events: list[Event] = []
    expiry = Expiry(administration, "here", parse_schedule("daily 03:00"), events.append, lambda: False)
    with place.administration.database.retain():
        expiry.look()  # another is at it: this day's is that one's
    assert [event.result["expired"] for event in events if isinstance(event, Duty)] == [0]
    with administration.database.write() as connection:
        connection.execute(text("DELETE FROM duties"))
    expiry.look()
    expiry.look()
    assert [event.result["expired"] for event in events if isinstance(event, Duty)] == [0, 11]
    assert len(place.entries()) == 9


def test_what_guards_retention_stops_the_duty_as_well(place: Place) -> None:
    place.enqueue_games(20)
    place.run()
    administration = place.administration
    administration.settings = replace(administration.settings, retention=[{"name": "all", "keep_for": "0s"}])
    expiry = Expiry(administration, "here", parse_schedule("daily 03:00"), lambda _: None, lambda: False)
    with pytest.raises(RefusedError, match="20 of 20"):
        expiry.look()
    assert len(place.entries()) == 20
