"""What a daemon remembers of its events."""

from __future__ import annotations

import msgspec

from gamearchive.clock import ManualClock
from gamearchive.events import Batch, Failed, LeaseLost, Unreachable
from gamearchive.tally import SlotStatus, Tally, status_of


def batch(games: int, seconds: float = 0.1) -> Batch:
    return Batch(
        slot=1, games=games, skipped=0, raw_bytes=games * 100, stored_bytes=games * 20, seconds=seconds, stages={}, attempts={}
    )


def failed(*, final: bool) -> Failed:
    return Failed(job=1, entity_type="game", entity_id="g", attempt=1, final=final, code="failed", message="no")


def test_rates_are_of_the_last_seconds_and_sums_of_all() -> None:
    clock = ManualClock()
    tally = Tally(clock)
    clock.turn(2)
    tally.listen(batch(100))
    status = tally.status("working", [], storage="closed", database="closed", trouble=None)
    assert (status.games_per_second, status.raw_bytes_per_second, status.stored_bytes_per_second) == (50, 5000, 1000)
    clock.turn(30)
    tally.listen(batch(50, 0.3))
    status = tally.status("working", [], storage="closed", database="closed", trouble=None)
    assert (status.games, status.raw_bytes, status.stored_bytes, status.games_per_second) == (150, 15_000, 3000, 5)
    assert (status.batch_p50_seconds, status.batch_p95_seconds) == (0.3, 0.3)
    clock.turn(30)
    assert tally.status("idle", [], storage="closed", database="closed", trouble=None).games_per_second == 0


def test_failures_make_the_rate_of_success_and_the_last_errors_are_kept() -> None:
    clock = ManualClock()
    tally = Tally(clock)
    assert tally.status("idle", [], storage="closed", database="closed", trouble=None).success_rate == 1
    tally.listen(batch(6))
    tally.listen(failed(final=False))
    tally.listen(failed(final=True))
    tally.listen(LeaseLost(games=3, message="taken"))
    for number in range(40):
        tally.listen(Unreachable(what="storage", message=f"gone {number}", pause_seconds=1.0))
    status = tally.status("working", [], storage="open", database="closed", trouble="gone")
    assert (status.failures, status.dead_letters, status.success_rate) == (2, 1, 0.75)
    assert len(tally.errors) == 20
    assert tally.errors[-1] == (clock.now(), "gone 39")


def test_what_it_says_can_be_read_by_others_unless_they_are_of_another_version() -> None:
    tally = Tally(ManualClock())
    status = tally.status("idle", [SlotStatus("idle", 0, 1.5)], storage="closed", database="open", trouble=None)
    assert status_of(msgspec.json.encode(status).decode()) == status
    assert status_of("{}") is None
    assert status_of("") is None
