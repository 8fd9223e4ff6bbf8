"""What becomes of parcels: batches, priorities, retries, and none is dropped."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from playing import game, quick_worker, run, until

from gamearchive import (
    ArchivalPolicy,
    ArchivalPriority,
    ArchivalTrigger,
    ArchivalWorker,
    ConfigurationError,
    EncodingError,
    EntityKey,
    GameArchivalStrategy,
    GameRecord,
    StorageUnavailableError,
    UnavailableError,
)
from gamearchive.archivers.base import Shipment
from gamearchive.model import Sender
from gamearchive.parcels import AGEING_SECONDS, Parcel, ParcelQueue

STRATEGY: GameArchivalStrategy[dict[str, Any]] = GameArchivalStrategy()
HOUR = timedelta(hours=1)
LOW, NORMAL, HIGH, CRITICAL = ArchivalPriority


def sender(priority: ArchivalPriority = HIGH) -> Sender:
    return Sender(ArchivalTrigger.MANUAL, priority, "p@1", live=True)


def record(game_id: str, **more: Any) -> GameRecord:
    return STRATEGY.record(game(game_id, **more))


class Ship:
    """An archiver that keeps nothing, and goes wrong when told to."""

    def __init__(self) -> None:
        self.shipments: list[list[str]] = []
        self.payloads: dict[str, bytes] = {}
        self.errors: dict[str, Exception] = {}
        self.down = False
        self.free = threading.Event()
        self.free.set()

    def archive(self, sender: Sender, records: Sequence[GameRecord]) -> Shipment:
        self.free.wait(60)
        if self.down:
            raise StorageUnavailableError("The ship is down.")
        for each in records:
            if each.entity_id in self.errors:
                raise self.errors[each.entity_id]
        self.shipments.append([each.entity_id for each in records])
        self.payloads |= {each.entity_id: each.payload for each in records}
        return Shipment(len(records), 7)

    def close(self) -> None:
        pass

    @property
    def shipped(self) -> list[str]:
        return [game_id for shipment in self.shipments for game_id in shipment]


def worker_of(ship: Ship, policy: ArchivalPolicy | None = None, **more: Any) -> ArchivalWorker[Any]:
    worker = quick_worker(**{"archiver": ship} | more)
    if policy is not None:
        worker.policies["game"] = policy
    return worker


def policy(**more: Any) -> ArchivalPolicy:
    return ArchivalPolicy(name="p", entity_type="game", **more)


def test_parcels_go_out_in_batches() -> None:
    async def test() -> None:
        ship = Ship()
        worker = worker_of(ship, policy(batch_size=10), batch_timeout=HOUR)
        await worker.start()
        for number in range(25):
            worker.offer(record(f"g{number}"), sender(NORMAL))
        await until(lambda: len(ship.shipped) == 20)
        assert worker.get_status()["queue_sizes"] == {"LOW": 0, "NORMAL": 5, "HIGH": 0, "CRITICAL": 0}
        assert [len(shipment) for shipment in ship.shipments] == [10, 10]
        worker.hurry()
        await until(lambda: len(ship.shipped) == 25)
        worker.offer(record("late"), sender(NORMAL))
        await asyncio.sleep(0)
        assert worker.get_status()["queue_sizes"]["NORMAL"] == 1, "a hurry is over when nothing waits"
        assert await worker.stop() == []
        assert ship.shipped == [*(f"g{number}" for number in range(25)), "late"]

    run(test())


def test_a_batch_goes_when_its_first_has_waited_long_enough_or_is_urgent() -> None:
    async def test() -> None:
        ship = Ship()
        worker = worker_of(ship)
        await worker.start()
        worker.offer(record("g"), sender(LOW))
        await until(lambda: ship.shipped == ["g"])
        await worker.stop()
        worker = worker_of(ship, batch_timeout=HOUR)
        await worker.start()
        worker.offer(record("h"), sender(LOW))
        worker.offer(record("i"), sender(HIGH))
        await until(lambda: len(ship.shipped) == 3)
        assert ship.shipped[1:] == ["i", "h"], "what waits goes along, by whom it was sent"
        await worker.stop()

    run(test())


def test_a_newer_record_takes_the_place_of_one_that_waits() -> None:
    async def test() -> None:
        ship = Ship()
        worker = worker_of(ship, batch_timeout=HOUR)
        await worker.start()
        worker.offer(record("g", moves=[1]), sender(NORMAL))
        worker.offer(record("g", moves=[1, 2]), sender(HIGH))
        await worker.stop()
        assert ship.shipments == [["g"]]
        assert ship.payloads["g"] == record("g", moves=[1, 2]).payload

    run(test())


def test_a_newer_record_of_a_game_that_is_out_has_its_turn_after() -> None:
    async def test() -> None:
        ship = Ship()
        worker = worker_of(ship)
        await worker.start()
        ship.free.clear()
        worker.offer(record("g", moves=[1]), sender())
        await until(lambda: worker.get_status()["in_flight"] == 1)
        worker.offer(record("g", moves=[1, 2]), sender())
        worker.offer(record("g", moves=[1, 2, 3]), sender())
        ship.free.set()
        await worker.stop()
        assert ship.shipments == [["g"], ["g"]]
        assert ship.payloads["g"] == record("g", moves=[1, 2, 3]).payload

    run(test())


def test_a_failure_is_tried_again_and_then_given_up_but_never_dropped() -> None:
    async def test() -> None:
        ship = Ship()
        ship.down = True
        told: list[tuple[str, int]] = []
        worker = worker_of(ship, max_retries=3)
        worker.failure_listeners.append(lambda parcels: told.extend((each.key.entity_id, each.attempts) for each in parcels))
        await worker.start()
        with pytest.raises(StorageUnavailableError, match="ship is down"):
            await worker.archive(record("g"), sender())
        assert told == [("g", 1), ("g", 2), ("g", 3), ("g", 4)]
        status = worker.get_status()
        assert status["failed"] == {"g": "The ship is down."}
        assert status["metrics"]["success_rate"] == 0
        assert status["metrics"]["total_failures"] == 4
        assert status["last_errors"][-1] == "StorageUnavailableError: The ship is down."
        ship.down = False
        assert worker.retry_failed() == 1
        assert await worker.stop() == []
        assert ship.shipped == ["g"]

    run(test())


def test_what_can_never_be_archived_is_not_tried_again() -> None:
    async def test() -> None:
        ship = Ship()
        ship.errors["bad"] = EncodingError("The game 'bad' is bad.")
        worker = worker_of(ship, retry_delay=HOUR)
        await worker.start()
        with pytest.raises(EncodingError):
            await worker.archive(record("bad"), sender())
        (left,) = await worker.stop()
        assert (left.key.entity_id, left.attempts) == ("bad", 1)

    run(test())


def test_a_parcel_that_waits_for_its_next_try_holds_up_no_other() -> None:
    async def test() -> None:
        ship = Ship()
        ship.errors["bad"] = ValueError("bad")
        worker = worker_of(ship, retry_delay=HOUR)
        await worker.start()
        worker.offer(record("bad"), sender())
        await until(lambda: worker.get_status()["retrying"] == 1)
        for number in range(10):
            await worker.archive(record(f"g{number}"), sender())
        assert worker.get_status()["retrying"] == 1
        (left,) = await worker.stop(grace=0)
        assert left.key == EntityKey("game", "bad")

    run(test())


def test_the_culprit_of_a_batch_is_found_and_the_others_are_archived() -> None:
    async def test() -> None:
        ship = Ship()
        ship.errors["g3"] = ValueError("poison")
        worker = worker_of(ship, policy(batch_size=16), batch_timeout=HOUR, max_retries=0)
        await worker.start()
        for number in range(16):
            worker.offer(record(f"g{number}"), sender(NORMAL))
        await until(lambda: worker.failed)
        await until(lambda: len(ship.shipped) == 15)
        assert set(worker.get_status()["failed"]) == {"g3"}
        await worker.stop()

    run(test())


def test_a_storage_that_is_down_is_not_asked_for_each_half_of_a_batch() -> None:
    async def test() -> None:
        ship = Ship()
        ship.down = True
        calls = 0
        archive = ship.archive

        def count(sender: Sender, records: Sequence[GameRecord]) -> Shipment:
            nonlocal calls
            calls += 1
            return archive(sender, records)

        ship.archive = count  # type: ignore[method-assign]
        worker = worker_of(ship, policy(batch_size=16), batch_timeout=HOUR, max_retries=0)
        await worker.start()
        for number in range(16):
            worker.offer(record(f"g{number}"), sender(NORMAL))
        await until(lambda: len(worker.failed) == 16)
        assert calls == 1
        await worker.stop()

    run(test())


def test_a_full_queue_says_so() -> None:
    async def test() -> None:
        ship = Ship()
        ship.free.clear()
        worker = worker_of(ship, max_queue_size=2)
        await worker.start()
        assert worker.offer(record("a"), sender()) is not None
        assert worker.submit(game("b"))
        assert worker.offer(record("c"), sender()) is None
        assert not worker.submit(game("c"))
        assert worker.offer(record("a", moves=[1]), sender()) is not None, "it is there already"
        with pytest.raises(UnavailableError, match="queue is full"):
            await worker.archive(record("c"), sender())
        assert worker.get_status()["metrics"]["total_refused"] == 3
        ship.free.set()
        await worker.stop()
        assert set(ship.shipped) == {"a", "b"}

    run(test())


def test_no_more_batches_are_out_than_the_policy_allows_but_for_a_critical_one() -> None:
    async def test() -> None:
        ship = Ship()
        ship.free.clear()
        worker = worker_of(ship, policy(batch_size=1, max_concurrent_archives=2))
        await worker.start()
        for number in range(5):
            worker.offer(record(f"g{number}"), sender(HIGH))
        await until(lambda: worker.get_status()["in_flight"] == 2)
        worker.offer(record("urgent"), sender(CRITICAL))
        worker.offer(record("urgent too"), sender(CRITICAL))
        await until(lambda: worker.get_status()["in_flight"] == 3)
        assert worker.get_status()["queue_sizes"] == {"LOW": 0, "NORMAL": 0, "HIGH": 3, "CRITICAL": 1}
        ship.free.set()
        await worker.stop()
        assert len(ship.shipped) == 7
        assert ship.shipped.index("urgent too") < ship.shipped.index("g4")

    run(test())


def test_a_batch_that_takes_too_long_gives_its_place_to_others_and_keeps_its_games() -> None:
    """An older state must not be archived after a newer one."""

    async def test() -> None:
        ship = Ship()
        ship.free.clear()
        worker = worker_of(ship, policy(max_concurrent_archives=1, archive_timeout=timedelta(milliseconds=1)))
        await worker.start()
        told: list[str] = []
        worker.failure_listeners.append(lambda parcels: told.append(str(parcels[0].error)))
        worker.offer(record("slow", moves=[1]), sender())
        await until(lambda: worker.get_status()["overdue_batches"] == 1)
        worker.offer(record("slow", moves=[1, 2]), sender())
        worker.offer(record("other"), sender())
        await until(lambda: worker.get_status()["overdue_batches"] == 2)
        assert told == ["Archiving 1 games takes more than 0:00:00.001000."] * 2
        ship.free.set()
        await until(lambda: len(ship.shipped) == 3)
        assert ship.payloads["slow"] == record("slow", moves=[1, 2]).payload
        await worker.stop()

    run(test())


def test_a_stop_does_not_wait_for_what_hangs() -> None:
    async def test() -> None:
        ship = Ship()
        ship.free.clear()
        worker = worker_of(ship, policy(archive_timeout=timedelta(milliseconds=1)))
        await worker.start()
        worker.offer(record("g"), sender())
        await until(lambda: worker.get_status()["in_flight"] == 1)
        (left,) = await worker.stop(grace=0)
        assert left.key.entity_id == "g"
        ship.free.set()

    run(test())


def test_a_withdrawn_parcel_is_not_archived() -> None:
    async def test() -> None:
        ship = Ship()
        worker = worker_of(ship, batch_timeout=HOUR)
        await worker.start()
        waiting = asyncio.create_task(worker.archive(record("g"), sender(NORMAL)))
        await asyncio.sleep(0)
        worker.withdraw(EntityKey("game", "g"))
        with pytest.raises(asyncio.CancelledError):
            await waiting
        ship.errors["h"] = ValueError("bad")
        later = asyncio.create_task(worker.archive(record("h"), sender(HIGH)))
        worker.retry_delay = HOUR
        await until(lambda: worker.get_status()["retrying"])
        worker.withdraw(EntityKey("game", "h"))
        with pytest.raises(asyncio.CancelledError):
            await later
        assert await worker.stop() == []
        assert ship.shipped == []

    run(test())


def test_a_worker_needs_something_to_archive_with() -> None:
    async def test() -> None:
        with pytest.raises(ConfigurationError, match="nothing to archive with"):
            await quick_worker().start()

    run(test())


@pytest.mark.parametrize(
    "wrong",
    [{"max_queue_size": 0}, {"max_retries": -1}, {"batch_timeout": -HOUR}, {"retry_delay": -HOUR}],
)
def test_absurd_numbers_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        ArchivalWorker(STRATEGY, **wrong)


def test_the_status_has_the_promised_keys() -> None:
    async def test() -> None:
        ship = Ship()
        worker = worker_of(ship)
        assert worker.get_status()["state"] == "stopped"
        await worker.start()
        assert worker.get_status()["state"] == "idle"
        ship.free.clear()
        worker.offer(record("g"), sender())
        await until(lambda: worker.get_status()["state"] == "processing")
        ending = asyncio.create_task(worker.stop())
        await until(lambda: worker.get_status()["state"] == "draining")
        ship.free.set()
        await ending
        status = worker.get_status()
        assert list(status) == [
            "state", "queue_sizes", "retrying", "in_flight", "overdue_batches", "failed", "oldest_waiting_seconds",
            "last_errors", "metrics",
        ]  # fmt: skip
        assert list(status["queue_sizes"]) == ["LOW", "NORMAL", "HIGH", "CRITICAL"]
        metrics = status["metrics"]
        assert (metrics["total_processed"], metrics["success_rate"], metrics["stored_bytes"]) == (1, 1.0, 7)
        assert metrics["average_batch_time"] > 0

    run(test())


def parcel(game_id: str, priority: ArchivalPriority, since: float) -> Parcel:
    return Parcel(record(game_id), sender(priority), since)


def test_the_order_is_by_priority_and_by_age() -> None:
    queue = ParcelQueue()
    for name, priority, since in [("normal", NORMAL, 1), ("low", LOW, 0), ("critical", CRITICAL, 3), ("high", HIGH, 2)]:
        queue.put(parcel(name, priority, since))
    assert [each.record.entity_id for each in queue.pop(9)] == ["critical", "high", "normal", "low"]
    assert queue.first() is None


def test_nothing_starves() -> None:
    """Urgent parcels come without end, and a low one has its turn nevertheless."""
    queue = ParcelQueue()
    queue.put(parcel("low", LOW, 0))
    taken = []
    for second in range(int(4 * AGEING_SECONDS)):
        queue.put(parcel(f"critical{second}", CRITICAL, second))
        taken += [each.record.entity_id for each in queue.pop(1)]
    assert "low" in taken
    assert taken.index("low") == 3 * AGEING_SECONDS


def test_only_critical_ones_where_only_these_have_a_place() -> None:
    queue = ParcelQueue()
    queue.put(parcel("old", NORMAL, -1000))
    assert queue.first(only_critical=True) is None
    queue.put(parcel("critical", CRITICAL, 0))
    assert [each.record.entity_id for each in queue.pop(9, only_critical=True)] == ["critical"]
    assert len(queue) == 1


def test_a_parcel_that_becomes_urgent_is_placed_anew_once() -> None:
    queue = ParcelQueue()
    first = parcel("a", NORMAL, 0)
    queue.put(first)
    queue.put(parcel("b", NORMAL, 0))
    last = parcel("c", NORMAL, 0)
    queue.put(last)
    queue.put(first)
    last.sender = sender(CRITICAL)
    queue.put(last)
    assert [each.record.entity_id for each in queue.pop(9)] == ["c", "a", "b"]
    assert queue.take(EntityKey("game", "a")) is None
