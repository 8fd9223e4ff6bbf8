"""The archive held for more than a batch, and let go in time."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from gamearchive.clock import ManualClock
from gamearchive.database.engine import Database
from gamearchive.errors import LockedError
from gamearchive.tenure import TENURE_SECONDS, Tenure


@pytest.fixture
def ours(database_url: str) -> Iterator[Database]:
    made = Database(database_url)
    yield made
    made.close()


@pytest.fixture
def other(database: Database) -> Database:
    """The same database as another process has it."""
    return database


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def tenure(ours: Database, clock: ManualClock) -> Iterator[Tenure]:
    made = Tenure(ours, clock)
    yield made
    made.rest()


def is_free(database: Database) -> bool:
    try:
        with database.hold(shared=False):
            return True
    except LockedError:
        return False


def test_it_is_kept_from_one_batch_to_the_next_and_let_go_at_rest(tenure: Tenure, other: Database) -> None:
    with tenure.held():
        assert not is_free(other)
    assert not is_free(other)
    with tenure.held(), tenure.held():
        tenure.rest()
        assert not is_free(other)
    tenure.rest()
    assert is_free(other)


def test_one_who_wants_it_alone_gets_it_though_batches_never_end(tenure: Tenure, clock: ManualClock, other: Database) -> None:
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            with tenure.held():
                clock.turn(TENURE_SECONDS / 3)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        with other.hold(shared=False, wait=30):
            pass
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_where_another_keeps_it_the_next_batch_may_still_get_it(tenure: Tenure, other: Database) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gamearchive.tenure.WAIT_SECONDS", 0.0)
        with other.hold(shared=False), pytest.raises(LockedError), tenure.held():
            pass
        with tenure.held():
            assert not is_free(other)
