"""A daemon makes packs denser when its settings say so."""

from __future__ import annotations

from daemons import Place

from gamearchive.database.engine import Database
from gamearchive.events import Duty, Event
from gamearchive.maintenance import Compaction
from gamearchive.schedule import parse_schedule


def test_small_packs_are_merged_when_it_is_time(place: Place) -> None:
    place.enqueue_games(50)
    place.run(batch_size=10)
    assert len(list(place.packs.rglob("*.zst"))) == 5
    events: list[Event] = []
    compaction = Compaction(place.administration, "here", parse_schedule("every 6h"), events.append, lambda: False)
    compaction.look()
    (duty,) = [event for event in events if isinstance(event, Duty)]
    assert (duty.duty, duty.result) == ("compact", {"replaced": 5, "packs": 1, "games": 50, "left": 0})
    assert len(list(place.packs.rglob("*.zst"))) == 1
    compaction.look()
    assert len(events) == 1


def test_a_daemon_does_it_beside_its_work(place: Place) -> None:
    place.enqueue_games(20)
    place.run()
    place.file.write_text(f"{place.file.read_text()}[schedule]\ncompact = 'every 1s'\n[policies.game]\ncompress_after = '0s'\n")
    with place.process() as daemon:
        done = daemon.wait_for("duty")
        assert (done["duty"], done["replaced"], done["packs"], done["games"]) == ("compact", 1, 1, 20)
    database: Database = place.administration.database
    with database.compaction():  # nobody holds it any more
        pass
