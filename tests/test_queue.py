"""The queue, on both engines: what is enqueued is leased once, in order, and nothing of it is lost."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from archiving import plain
from journaling import HANDOVER, journal, kept_by_another, recovered, snapshot
from queueing import (
    CRITICAL,
    EVERY,
    FILED,
    HIGH,
    LIVE,
    LOW,
    NORMAL,
    ack,
    filed,
    games,
    hold_jobs,
    ids,
    live,
    queue_of,
    session,
    states,
    work_off,
)
from sqlalchemy import exc, func, insert, select, text

from gamearchive.clock import ManualClock
from gamearchive.database.engine import Database
from gamearchive.database.schema import job_attempts, job_records, jobs
from gamearchive.errors import CapacityError, ConfigurationError, GameArchiveError, LeaseLostError, LockedError, NotFoundError
from gamearchive.jobs import AGEING, Attempt, Job, JobFilter, JobState, Outcome
from gamearchive.leases import LEASE_SECONDS, MAX_DELAY_SECONDS, WorkerSession
from gamearchive.model import JSON, OPAQUE, Facts, GameRecord, Player, Sender, checksum
from gamearchive.queue import JobCount, JobQueue

WAITING, RUNNING, RETRYABLE, FAILED, CANCELLED, DONE = JobState
AN_HOUR = 3_600.0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def queue(database: Database, clock: ManualClock) -> JobQueue:
    return JobQueue(database, clock)


@pytest.fixture
def worker(database: Database, clock: ManualClock) -> Iterator[WorkerSession]:
    made = session(database, clock)
    yield made
    made.close()


def records(database: Database) -> int:
    with database.read() as connection:
        return connection.scalar(select(func.count()).select_from(job_records)) or 0


def outcomes(queue: JobQueue, job_id: int) -> list[tuple[Outcome, str | None]]:
    return [(each.outcome, each.error) for each in queue.get(job_id)[1]]


# what is enqueued


def test_a_game_is_leased_with_all_that_is_known_of_it(queue: JobQueue, worker: WorkerSession):
    facts = Facts((Player("1", "Zoë 🎲"), Player(name="Bea")), Player("1", "Zoë 🎲"), "active", -1, 1_750_000_000_000_000)
    uuid = "d3b07384-d113-4ec6-a7a5-2a9e1b6a8f00"
    made = [
        GameRecord("chess", uuid, bytes(range(256)) * 40, OPAQUE, facts, (("a", ""), ("b", "x"))),
        GameRecord("game", uuid, b"", JSON),
        GameRecord("game", "a/é", b"{}", JSON, Facts(status="done")),
    ]
    queue.enqueue(made, LIVE)
    leased = worker.lease(10)
    assert sorted((job.record for job in leased), key=made.index) == made
    assert {job.sender for job in leased} == {LIVE}
    assert all(job.checksum == checksum(job.record.payload) and job.attempts == 0 for job in leased)


def test_it_outlives_who_enqueued_it(queue: JobQueue, database_url: str, database: Database, clock: ManualClock):
    queue.enqueue(games("a"), LIVE)
    database.close()
    with queue_of(database_url) as again:
        assert ids(session(again.database, clock).lease(1)) == ["a"]


@pytest.mark.parametrize("count", [0, 1, 99, 100, 1_001])
def test_any_number_is_enqueued_and_leased(queue: JobQueue, worker: WorkerSession, count: int):
    queue.enqueue(games(*map(str, range(count))), FILED)
    assert sorted(ids(worker.lease(2_000))) == sorted(map(str, range(count)))


def test_what_fails_is_not_enqueued_in_part(queue: JobQueue, database: Database):
    def break_off() -> None:
        with database.transact() as connection:
            queue.enqueue_within(connection, [(record, LIVE) for record in games("a", "b")])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_off()
    assert states(queue) == {}
    assert records(database) == 0


def test_a_full_queue_takes_nothing(database: Database, clock: ManualClock):
    queue = JobQueue(database, clock, max_queue_size=3)
    queue.enqueue(games("a", "b"), LIVE)
    with pytest.raises(CapacityError, match="3 jobs may wait, and there is room for 1"):
        queue.enqueue(games("c", "d"), LIVE)
    assert len(states(queue)) == 2
    queue.enqueue(games("c"), LIVE)
    worker = session(database, clock)
    ack(worker, worker.lease(2))
    queue.enqueue(games("d", "e"), LIVE)
    with pytest.raises(CapacityError):
        queue.enqueue(games("f"), LIVE)


def test_rows_that_contradict_their_state_are_refused(database: Database):
    row = {
        "entity_key": b"a", "entity_type": "game", "variant": b"", "state": 0, "priority": 1, "trigger": "manual", "rank": 0,
        "checksum": b"", "raw_bytes": 0, "enqueued_at": 0, "attempts": 0,
    }  # fmt: skip
    wrong = [
        {"state": 6}, {"state": 1}, {"state": 1, "worker": "w", "token": 1}, {"state": 2}, {"due_at": 1}, {"token": 1},
        {"state": 3, "finished_at": 1}, {"state": 3, "error": "no"}, {"state": 5}, {"finished_at": 1},
        {"state": 2, "due_at": 1, "leased_at": 1},
    ]  # fmt: skip
    for each in wrong:
        with pytest.raises(exc.IntegrityError, match="ck_jobs"), database.write() as connection:
            connection.execute(insert(jobs).values(row | each))


# one game


def test_a_newer_state_of_a_live_game_takes_the_place_of_the_one_that_waits(
    queue: JobQueue, worker: WorkerSession, database: Database, clock: ManualClock
):
    queue.enqueue(games("a", payload=b"1"), live(HIGH))
    first = queue.find(EVERY)[0]
    clock.turn(5)
    queue.enqueue(games("a", payload=b"22"), live(LOW))
    (job,) = queue.find(EVERY)
    assert (job.id, job.enqueued_at, job.sender.priority, job.raw_bytes) == (first.id, first.enqueued_at, HIGH, 2)
    queue.enqueue(games("a", payload=b"333"), live(CRITICAL))
    (leased,) = worker.lease(10)
    assert (leased.record.payload, leased.sender.priority, leased.checksum) == (b"333", CRITICAL, checksum(b"333"))
    with database.read() as connection:
        assert connection.scalar(select(jobs.c.rank)) == first.enqueued_at - CRITICAL * AGEING
    assert records(database) == 1


def test_of_two_states_in_one_batch_the_later_is_taken_with_the_higher_priority(queue: JobQueue, worker: WorkerSession):
    with queue.database.transact() as connection:
        sent = [(games("a", payload=b"1")[0], live(HIGH)), (games("a", payload=b"2")[0], live(LOW))]
        queue.enqueue_within(connection, sent)
    (job,) = worker.lease(10)
    assert (job.record.payload, job.sender.priority) == (b"2", HIGH)


def test_a_newer_state_is_tried_from_the_start_and_the_same_bytes_are_not(
    queue: JobQueue, worker: WorkerSession, clock: ManualClock
):
    queue.enqueue(games("a", payload=b"1"), LIVE)
    worker.retry(worker.lease(1), "no")
    queue.enqueue(games("a", payload=b"1"), LIVE)
    (job,) = queue.find(EVERY)
    assert (job.state, job.attempts) == (RETRYABLE, 1)
    queue.enqueue(games("a", payload=b"2"), LIVE)
    (job,) = queue.find(EVERY)
    assert (job.state, job.attempts, job.due_at) == (WAITING, 0, None)


def test_files_revisions_of_one_game_are_each_a_job_and_the_same_bytes_are_one(queue: JobQueue, worker: WorkerSession):
    for payload in (b"1", b"2", b"1", b"3", b"2"):
        queue.enqueue(games("a", payload=payload), FILED)
    queue.enqueue(games("b"), FILED)
    seen = []
    while leased := worker.lease(10):
        seen += [job.record.payload for job in leased if job.record.entity_id == "a"]
        ack(worker, leased)
    assert seen == [b"1", b"2", b"3"]


def test_the_same_id_of_two_types_is_two_games(queue: JobQueue, worker: WorkerSession):
    queue.enqueue([plain("a", b"1"), plain("a", b"1", entity_type="chess")], LIVE)
    assert len(worker.lease(10)) == 2


@pytest.mark.parametrize("sender", [LIVE, FILED])
def test_a_newer_state_waits_while_the_older_one_runs(queue: JobQueue, worker: WorkerSession, sender: Sender):
    queue.enqueue(games("a", payload=b"1"), sender)
    first = worker.lease(10)
    queue.enqueue(games("a", payload=b"2"), sender)
    assert worker.lease(10) == []
    ack(worker, first)
    assert [job.record.payload for job in worker.lease(10)] == [b"2"]


@pytest.mark.parametrize("how", ["retry", "fail", "release", "die"])
def test_an_older_state_of_a_live_game_that_is_not_done_is_cancelled_where_a_newer_waits(
    queue: JobQueue, worker: WorkerSession, how: str
):
    queue.enqueue(games("a", payload=b"1"), LIVE)
    first = worker.lease(10)
    queue.enqueue(games("a", payload=b"2"), LIVE)
    give_back(worker, first, how)
    job, history = queue.get(first[0].id)
    assert (job.state, job.error) == (CANCELLED, "Something newer of this game waits.")
    assert len(history) == 1
    assert records(queue.database) == 1
    again = session(queue.database, ManualClock(), "another")
    assert [job.record.payload for job in again.lease(10)] == [b"2"]


@pytest.mark.parametrize("how", ["retry", "fail", "release", "die"])
def test_an_earlier_revision_of_a_file_is_never_cancelled_for_a_later_one(queue: JobQueue, worker: WorkerSession, how: str):
    queue.enqueue(games("a", payload=b"1"), FILED)
    first = worker.lease(10)
    queue.enqueue(games("a", payload=b"2"), FILED)
    give_back(worker, first, how)
    assert CANCELLED not in states(queue).values()
    assert records(queue.database) == 2


@pytest.mark.parametrize("how", ["retry", "fail", "release", "die"])
def test_the_same_bytes_of_a_file_that_wait_once_more_are_archived_once(queue: JobQueue, worker: WorkerSession, how: str):
    queue.enqueue(games("a"), FILED)
    first = worker.lease(10)
    queue.enqueue(games("a"), FILED)
    give_back(worker, first, how)
    assert sorted(states(queue).values()) == [WAITING, CANCELLED]


def test_a_newer_state_that_is_archived_takes_the_older_dead_letter_along(queue: JobQueue, worker: WorkerSession):
    queue.enqueue(games("a", payload=b"1"), LIVE)
    queue.enqueue(games("b", payload=b"1"), FILED)
    worker.fail(worker.lease(10), "bad")
    queue.enqueue(games("a", payload=b"2"), LIVE)
    queue.enqueue(games("b", payload=b"2"), FILED)
    assert sorted(states(queue).values()) == [WAITING, WAITING, FAILED, FAILED]
    ack(worker, worker.lease(10))
    left = [job for job in queue.find(EVERY) if job.state is FAILED]
    assert [job.key.entity_id for job in left] == ["b"]


def give_back(worker: WorkerSession, leased: list[Job], how: str) -> None:
    match how:
        case "retry":
            worker.retry(leased, "no")
        case "fail":
            worker.fail(leased, "never")
        case "release":
            worker.release(leased, "the worker stops")
        case "die":
            with worker.database.transact() as connection:
                connection.execute(text("DELETE FROM workers"))
            session(worker.database, ManualClock(), "rescuer")


# order


def test_what_is_more_urgent_goes_first_and_of_equals_what_came_first(
    queue: JobQueue, worker: WorkerSession, clock: ManualClock
):
    for name, priority in (("n1", NORMAL), ("l", LOW), ("c", CRITICAL), ("n2", NORMAL), ("h", HIGH)):
        queue.enqueue(games(name), live(priority))
        clock.turn(0.001)
    assert [ids(worker.lease(1)) for _ in range(5)] == [["c"], ["h"], ["n1"], ["n2"], ["l"]]


def test_under_endless_urgent_work_what_is_not_urgent_runs_within_the_bound(
    queue: JobQueue, worker: WorkerSession, clock: ManualClock
):
    queue.enqueue(games("low"), live(LOW))
    waited = 0
    queue.enqueue(games("first", "second"), live(HIGH))
    while "low" not in ids(leased := worker.lease(2)):
        ack(worker, leased)
        queue.enqueue(games(f"{waited}a", f"{waited}b"), live(HIGH))
        clock.turn(1)
        waited += 1
    assert waited == pytest.approx(2 * AGEING / 1_000_000, abs=2)


def test_a_bump_puts_a_job_where_one_of_that_priority_stands(queue: JobQueue, worker: WorkerSession, clock: ManualClock):
    for name in ("a", "b", "c"):
        queue.enqueue(games(name), live(NORMAL))
        clock.turn(1)
    (job,) = queue.find(JobFilter(entity_id="b"))
    assert queue.bump([job.id], CRITICAL) == {}
    assert ids(worker.lease(3)) == ["b", "a", "c"]
    assert queue.bump([job.id], LOW) == {job.id: "it is running"}


def test_only_games_of_the_types_that_are_asked_for_are_leased(queue: JobQueue, worker: WorkerSession):
    queue.enqueue([plain("a", b"", entity_type="chess"), plain("b", b"", entity_type="go"), plain("c", b"")], LIVE)
    assert ids(worker.lease(10, ["go", "shogi"])) == ["b"]
    assert sorted(ids(worker.lease(10))) == ["a", "c"]


def test_a_lease_is_bounded_by_bytes_but_has_at_least_one_game(queue: JobQueue, worker: WorkerSession, clock: ManualClock):
    for name, size in (("a", 60), ("b", 40), ("c", 1), ("d", 1_000)):
        queue.enqueue(games(name, payload=bytes(size)), LIVE)
        clock.turn(1)
    assert [ids(worker.lease(10, max_bytes=100)) for _ in range(4)] == [["a", "b"], ["c"], ["d"], []]


# attempts


def test_a_job_is_tried_again_and_again_and_then_is_a_dead_letter_with_its_game(
    queue: JobQueue, database: Database, clock: ManualClock
):
    worker = session(database, clock, max_retries=2, retry_seconds=10)
    queue.enqueue(games("a"), LIVE)
    delays = []
    for _ in range(2):
        leased = worker.lease(1)
        worker.retry(leased, "half a \ud800 and\0 all")
        (job,) = queue.find(EVERY)
        assert (job.state, job.error) == (RETRYABLE, "half a ? and\N{REPLACEMENT CHARACTER} all")
        assert worker.lease(1) == [] or job.due_at == clock.now()
        assert job.due_at is not None
        delays.append((job.due_at - clock.now()) / 1_000_000)
        clock.turn(delays[-1])
    assert 0 <= delays[0] <= 10
    assert 0 <= delays[1] <= 20
    worker.retry(worker.lease(1), "the last")
    job, history = queue.get(1)
    assert (job.state, job.attempts, job.error) == (FAILED, 3, "the last")
    assert [each.number for each in history] == [1, 2, 3]
    assert {each.worker for each in history} == {"w"}
    assert records(database) == 1
    clock.turn(AN_HOUR * 24)
    assert worker.lease(1) == []


def test_delays_double_and_are_capped(queue: JobQueue, database: Database, clock: ManualClock):
    worker = session(database, clock, max_retries=50, retry_seconds=30)
    queue.enqueue(games(*map(str, range(20))), LIVE)
    longest = []
    for _ in range(10):
        clock.turn(MAX_DELAY_SECONDS)
        worker.retry(worker.lease(20), "no")
        longest.append(max(job.due_at - clock.now() for job in queue.find(EVERY) if job.due_at) / 1_000_000)
    assert all(seconds <= min(30 * 2**number, MAX_DELAY_SECONDS) for number, seconds in enumerate(longest))
    assert longest[-1] > 600


def test_what_can_never_be_archived_is_a_dead_letter_at_once(queue: JobQueue, worker: WorkerSession):
    queue.enqueue(games("a", "b"), LIVE)
    worker.fail(worker.lease(1), "cannot be encoded")
    assert list(states(queue).values()) == [WAITING, FAILED] or list(states(queue).values()) == [FAILED, WAITING]
    assert outcomes(queue, 1) == [(Outcome.ERROR, "cannot be encoded")]


def test_a_stop_is_no_attempt_and_is_in_the_history(queue: JobQueue, worker: WorkerSession, clock: ManualClock):
    queue.enqueue(games("a"), LIVE)
    worker.release(worker.lease(1), "the worker stops")
    worker.release(worker.lease(1), "the storage is down", delay=60)
    assert worker.lease(1) == []
    clock.turn(60)
    leased = worker.lease(1)
    assert leased[0].attempts == 0
    ack(worker, leased)
    assert outcomes(queue, 1) == [
        (Outcome.RELEASED, "the worker stops"), (Outcome.RELEASED, "the storage is down"), (Outcome.ARCHIVED, None)
    ]  # fmt: skip


def test_the_history_tells_when_each_attempt_was(queue: JobQueue, worker: WorkerSession, clock: ManualClock):
    queue.enqueue(games("a"), LIVE)
    start = clock.now()
    leased = worker.lease(1)
    clock.turn(2)
    worker.release(leased, "why")
    assert queue.get(1)[1] == [Attempt(1, start, start + 2_000_000, "w", Outcome.RELEASED, "why")]


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_jumps_neither_frees_leases_nor_strands_retries(
    queue: JobQueue, database: Database, clock: ManualClock, hours: int
):
    worker, wall = session(database, clock), ManualClock()
    queue.enqueue(games("a", "b"), LIVE)
    (kept,) = worker.lease(1)
    wall.turn(hours * AN_HOUR)
    other = session(database, wall, "other")
    for _ in range(4):
        wall.turn(1)
        assert other.beat().rescued == []
        worker.beat()
    other.retry(other.lease(1), "no")
    wall.turn(-3 * AN_HOUR)
    assert len(other.lease(1)) == 1, "what was put off before the clock was set back is due"
    ack(worker, [kept])


# acknowledging


def test_what_is_done_lets_go_of_its_game_and_of_its_snapshot(
    queue: JobQueue, worker: WorkerSession, database_url: str, database: Database
):
    with journal(database_url) as kept:
        kept.flush([snapshot(name, b"1", handover=HANDOVER) for name in "abc"])
        queue.enqueue(games("a", "b", payload=b"1"), LIVE)
        queue.enqueue(games("c", payload=b"1"), FILED)
        leased = worker.lease(3)
        kept.flush([snapshot("b", b"2")])
        ack(worker, leased)
        assert recovered(kept) == {"b": snapshot("b", b"2"), "c": snapshot("c", b"1", handover=HANDOVER)}
    assert records(database) == 0
    assert set(states(queue).values()) == {DONE}


def test_a_batch_is_acknowledged_whole_or_not_at_all(queue: JobQueue, worker: WorkerSession):
    queue.enqueue(games("a", "b"), LIVE)
    leased = worker.lease(2)
    worker.release(leased[:1], "given back")
    with pytest.raises(LeaseLostError):
        ack(worker, leased)
    assert sorted(states(queue).values()) == [WAITING, RUNNING]
    ack(worker, leased[1:])
    with pytest.raises(LeaseLostError):
        ack(worker, leased[1:])


def test_who_slept_through_the_lease_cannot_commit(queue: JobQueue, worker: WorkerSession, clock: ManualClock):
    queue.enqueue(games("a"), LIVE)
    leased = worker.lease(1)
    other = session(queue.database, clock, "other")
    assert outlast(other, clock) == [leased[0].id]
    for late in (worker.beat, lambda: worker.lease(1), lambda: ack(worker, leased)):
        with pytest.raises(LeaseLostError, match="'w' was taken for dead"):
            late()
    worker.retry(leased, "late")
    assert outcomes(queue, 1) == [(Outcome.DIED, "Its worker died.")]
    again = other.lease(1)
    assert again[0].attempts == 1
    worker.open(0.0)
    assert worker.lease(1) == []
    with pytest.raises(LeaseLostError):
        ack(worker, again)
    ack(other, again)


# who is dead


def outlast(observer: WorkerSession, clock: ManualClock) -> list[int]:
    """Beat for a lease and a little, while the others are silent; what was rescued."""
    rescued = []
    for _ in range(6):
        rescued += observer.beat().rescued
        clock.turn(LEASE_SECONDS / 4)
    return rescued


def test_a_worker_that_beats_is_never_taken_for_dead(queue: JobQueue, worker: WorkerSession, clock: ManualClock):
    queue.enqueue(games("a"), LIVE)
    leased = worker.lease(1)
    other = session(queue.database, clock, "other")
    for _ in range(40):
        worker.beat('{"slots": 2}')
        assert other.beat().rescued == []
        clock.turn(LEASE_SECONDS / 4)
    assert [(each.name, each.status) for each in queue.workers()] == [("other", "{}"), ("w", '{"slots": 2}')]
    ack(worker, leased)


def test_who_wakes_first_after_all_slept_does_not_take_the_others_for_dead(
    queue: JobQueue, worker: WorkerSession, clock: ManualClock
):
    queue.enqueue(games("a"), LIVE)
    worker.lease(1)
    other = session(queue.database, clock, "other")
    other.beat()
    clock.turn(AN_HOUR)
    for _ in range(2):
        assert other.beat().rescued == []
        clock.turn(1)
    worker.beat()
    assert other.beat().rescued == []


def test_a_job_that_kills_its_workers_is_a_dead_letter_in_the_end(queue: JobQueue, database: Database, clock: ManualClock):
    queue.enqueue(games("a"), LIVE)
    rescuer = session(database, clock, "rescuer", max_retries=2)
    for number in range(3):
        victim = session(database, clock, f"victim-{number}")
        assert len(victim.lease(1)) == 1
        assert outlast(rescuer, clock) == [1]
    job, history = queue.get(1)
    assert (job.state, job.error, job.attempts) == (FAILED, "Its worker died.", 3)
    assert [each.worker for each in history] == ["victim-0", "victim-1", "victim-2"]


def test_the_jobs_of_a_killed_process_are_rescued_with_the_next_beat(
    queue: JobQueue, database_url: str, database: Database, clock: ManualClock
):
    queue.enqueue(games("a", "b", "c"), LIVE)
    rescuer = session(database, clock, "rescuer")
    with kept_by_another(hold_jobs, database_url, "victim", 2) as victim:
        held = victim.recv()
        assert rescuer.beat().rescued == []
        assert len(rescuer.lease(10)) == 1
    assert sorted(rescuer.beat().rescued) == sorted(held)
    assert len(rescuer.lease(10)) == 2


def test_a_name_is_one_living_workers_and_free_when_that_is_dead(
    queue: JobQueue, database_url: str, database: Database, clock: ManualClock
):
    queue.enqueue(games("a"), LIVE)
    with kept_by_another(hold_jobs, database_url, "w", 1) as victim:
        victim.recv()
        with pytest.raises(LockedError, match="a living worker named 'w'"):
            session(database, clock)
    worker = session(database, clock)
    assert ids(worker.lease(1)) == ["a"]
    with pytest.raises(LockedError):
        session(database, clock)


def test_a_worker_that_ends_leaves_its_jobs_to_others_at_once(queue: JobQueue, database: Database, clock: ManualClock):
    queue.enqueue(games("a"), LIVE)
    worker = session(database, clock)
    worker.lease(1)
    worker.close()
    worker.close()
    assert queue.workers() == []
    assert outcomes(queue, 1) == [(Outcome.RELEASED, "Its worker stopped.")]
    (job,) = session(database, clock).lease(1)
    assert job.attempts == 0


def test_a_session_that_is_not_open_says_so(database: Database, clock: ManualClock):
    with pytest.raises(GameArchiveError, match="'w' is not open"):
        WorkerSession(database, clock, "w").beat()
    with pytest.raises(ConfigurationError, match="cannot be named ''"):
        WorkerSession(database, clock, "")


def test_a_worker_that_is_asked_to_pause_leases_nothing(queue: JobQueue, worker: WorkerSession):
    queue.enqueue(games("a"), LIVE)
    assert queue.pause("another") == 0
    assert queue.pause() == 1
    assert worker.beat().paused
    assert worker.lease(1) == []
    assert queue.pause("w", paused=False) == 1
    assert not worker.beat().paused
    assert len(worker.lease(1)) == 1


# several at once


def test_each_job_is_one_workers_however_many_lease_at_once(queue: JobQueue, database_url: str):
    queue.enqueue(games(*map(str, range(300))), LIVE)
    done: list[int] = []
    with (
        kept_by_another(work_off, database_url, "x") as x,
        kept_by_another(work_off, database_url, "y") as y,
        kept_by_another(work_off, database_url, "z") as z,
    ):
        for child in (x, y, z):
            assert child.recv() == "open"
        for child in (x, y, z):
            child.send("go")
        for child in (x, y, z):
            while (batch := child.recv()) is not None:
                done += batch
    assert len(done) == 300
    assert sorted(done) == sorted(states(queue))
    assert set(states(queue).values()) == {DONE}


def test_many_enqueue_the_same_games_at_once_in_whatever_order(queue: JobQueue, worker: WorkerSession):
    names = [str(number) for number in range(40)]

    def enqueue(order: int) -> None:
        for turn in range(5):
            queue.enqueue(games(*names[::order], payload=b"%d %d" % (order, turn)), LIVE)

    with ThreadPoolExecutor(4) as executor:
        under_way = [executor.submit(enqueue, order) for order in (1, -1, 1, -1)]
        worker.release(worker.lease(10), "while they enqueue")
    for each in under_way:
        each.result()
    pending = [job.key for job in queue.every(JobFilter([WAITING, RETRYABLE]))]
    assert len(pending) == len(set(pending))
    assert {key.entity_id for key in pending} == set(names)
    assert records(queue.database) == 40


def test_a_waiting_worker_learns_of_new_jobs(queue: JobQueue, worker: WorkerSession):
    assert worker.wait(0)
    assert not worker.wait(0.3)
    queue.enqueue(games("a"), LIVE)
    assert worker.wait(10)
    assert not worker.wait(0.3)


def test_workers_that_look_in_vain_do_not_wake_each_other(worker: WorkerSession, database_url: str, clock: ManualClock):
    with queue_of(database_url) as elsewhere:
        other = session(elsewhere.database, clock, "other")
        assert worker.wait(0)
        for _ in range(3):
            assert other.lease(10) == []
        assert not worker.wait(0.3)


def test_a_session_may_be_closed_while_a_thread_waits(worker: WorkerSession):
    for _ in range(4):
        assert worker.wait(0)
        with ThreadPoolExecutor(1) as executor:
            waiting = executor.submit(worker.wait, 60)
            worker.close()
            assert not waiting.result(timeout=30)
        assert not worker.wait(60)
        worker.open(0.0)


# looking, and deciding


def fill(queue: JobQueue, worker: WorkerSession) -> None:
    """Jobs 1 to 6, in each state one."""
    for number, priority in enumerate((LOW, NORMAL, HIGH, NORMAL, NORMAL, NORMAL), 1):
        queue.enqueue([plain(f"g-{number}", bytes(number), entity_type="chess" if number % 2 else "game")], filed(priority))
    leased = {job.id: job for job in worker.lease(10)}
    worker.release([leased[1]], "later")
    worker.retry([leased[3]], "Timeout of 5 s")
    worker.fail([leased[4]], "Too large: 100%")
    worker.release([leased[5]], "later")
    queue.discard([5])
    ack(worker, [leased[6]])


def test_jobs_are_found_by_all_that_is_said_of_them(queue: JobQueue, worker: WorkerSession):
    fill(queue, worker)
    assert states(queue) == {6: DONE, 5: CANCELLED, 4: FAILED, 3: RETRYABLE, 2: RUNNING, 1: WAITING}
    found = {
        JobFilter(states=(FAILED,)): [4],
        JobFilter(states=(WAITING, DONE)): [6, 1],
        JobFilter(entity_type="chess"): [5, 3, 1],
        JobFilter(entity_id="g-2"): [2],
        JobFilter(priority=HIGH): [3],
        JobFilter(error="timeout"): [3],
        JobFilter(error="100%"): [4],
        JobFilter(error="1_0%"): [],
        JobFilter(ids=(2, 4, 99)): [4, 2],
        JobFilter(states=(FAILED,), entity_type="chess"): [],
        EVERY: [6, 5, 4, 3, 2, 1],
    }
    for each, expected in found.items():
        assert [job.id for job in queue.find(each)] == expected, each
    pages = [[job.id for job in queue.find(EVERY, 4, before)] for before in (None, 3)]
    assert pages == [[6, 5, 4, 3], [2, 1]]
    assert queue.get(2)[0].worker == "w"
    with pytest.raises(NotFoundError, match="no job 99"):
        queue.get(99)


def test_every_job_is_found_page_by_page(queue: JobQueue):
    queue.enqueue(games(*map(str, range(2_500))), LIVE)
    found = [job.id for job in queue.every(EVERY)]
    assert len(found) == 2_500
    assert all(before > after for before, after in pairwise(found))


def test_counts_are_by_state_and_priority(queue: JobQueue, worker: WorkerSession, clock: ManualClock):
    first = clock.now()
    fill(queue, worker)
    clock.turn(1)
    queue.enqueue(games("more", payload=b"12345"), filed(LOW))
    counted = queue.counts()
    assert counted[0] == JobCount(WAITING, LOW, 2, 6, first)
    assert {(each.state, each.priority): each.jobs for each in counted} == {
        (WAITING, LOW): 2, (RUNNING, NORMAL): 1, (RETRYABLE, HIGH): 1, (FAILED, NORMAL): 1
    }  # fmt: skip


def test_a_dead_letter_can_be_tried_again_from_the_start(queue: JobQueue, worker: WorkerSession):
    fill(queue, worker)
    assert queue.retry([1, 2, 3, 4, 5, 6, 7]) == {
        1: "it is waiting", 2: "it is running", 5: "it is cancelled", 6: "it is done", 7: "there is no such job"
    }  # fmt: skip
    leased = worker.lease(10)
    assert sorted(job.id for job in leased) == [1, 3, 4]
    assert {job.attempts for job in leased} == {0}
    ack(worker, leased)


def test_an_older_state_is_not_tried_again_after_a_newer_one(queue: JobQueue, worker: WorkerSession):
    queue.enqueue(games("a", payload=b"1"), LIVE)
    worker.fail(worker.lease(1), "no")
    queue.enqueue(games("a", payload=b"2"), LIVE)
    behind = {1: "something newer of its game waits, runs, or failed as well"}
    assert queue.retry([1]) == behind
    second = worker.lease(1)
    assert queue.retry([1]) == behind
    worker.fail(second, "no")
    assert queue.retry([1, second[0].id]) == behind
    assert [job.record.payload for job in worker.lease(10)] == [b"2"]


def test_what_is_discarded_lets_go_of_its_game(queue: JobQueue, worker: WorkerSession):
    fill(queue, worker)
    assert records(queue.database) == 4
    assert queue.discard([1, 2, 3, 4]) == {2: "it is running"}
    assert records(queue.database) == 1
    assert states(queue) == {6: DONE, 5: CANCELLED, 4: CANCELLED, 3: CANCELLED, 2: RUNNING, 1: CANCELLED}
    assert queue.get(4)[0].error == "It was discarded."


def test_what_is_over_is_forgotten_in_time(queue: JobQueue, worker: WorkerSession, clock: ManualClock):
    fill(queue, worker)
    assert queue.expire(clock.now()) == 0
    clock.turn(1)
    assert queue.expire(clock.now()) == 2
    assert sorted(states(queue)) == [1, 2, 3, 4]
    with queue.database.read() as connection:
        assert set(connection.scalars(select(job_attempts.c.job_id))) == {1, 3, 4}


# made anew


def test_a_catalog_made_anew_leaves_the_queue_as_it_is_and_workers_begin_again(
    queue: JobQueue, worker: WorkerSession, database: Database, clock: ManualClock
):
    queue.enqueue(games(*map(str, range(450)), payload=b"x" * 3_000), LIVE)
    leased = worker.lease(3)
    worker.fail(leased[:1], "no")
    with database.anew():
        pass
    with pytest.raises(LeaseLostError):
        worker.beat()
    with pytest.raises(LeaseLostError):
        ack(worker, leased[1:])
    worker.open(0.0)
    again = worker.lease(1_000)
    assert len(again) == 449 - 2 + 2
    assert {job.record.payload for job in again} == {b"x" * 3_000}
    queue.enqueue(games("new"), LIVE)
    assert max(states(queue)) > 450
