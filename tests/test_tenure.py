"""The archive held for more than a batch, and let go in time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gamearchive.clock import ManualClock
from gamearchive.database.engine import Database
from gamearchive.errors import LockedError
from gamearchive.tenure import TENURE_SECONDS, Tenure


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Database]:
    """The same database as another process has it."""
    made = Database(f"sqlite:///{tmp_path / 'g.db'}")
    made.create()
    yield made
    made.close()


@pytest.fixture
def tenure(other: Database) -> Tenure:
    return Tenure(Database(other.url.render_as_string()), ManualClock())


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


def test_one_who_wants_it_alone_gets_it_though_batches_never_end(other: Database) -> None:
    clock = ManualClock()
    tenure = Tenure(Database(other.url.render_as_string()), clock)
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
