"""Those who add to backups share, who takes away is alone, and nobody waits for the dead."""

from __future__ import annotations

import json
import multiprocessing
import os

import pytest

from gamearchive.backups.locks import STALE_SECONDS, locked
from gamearchive.clock import ManualClock, SystemClock
from gamearchive.database.processes import this_process
from gamearchive.errors import LockedError
from gamearchive.stores.base import Store
from gamearchive.stores.memory import MemoryStore


def locks(store: Store) -> list[str]:
    return [held.key for held in store.list("locks/")]


@pytest.fixture
def store() -> Store:
    return MemoryStore()


def test_who_adds_shares_with_others_who_add(store: Store) -> None:
    clock = ManualClock()
    with locked(store, clock, alone=False, wait=0), locked(store, clock, alone=False, wait=0):
        assert len(locks(store)) == 2
    assert locks(store) == []


@pytest.mark.parametrize(("first", "second"), [(True, False), (False, True), (True, True)])
def test_who_takes_away_is_alone(store: Store, first: bool, second: bool) -> None:
    clock = ManualClock()
    with locked(store, clock, alone=first, wait=0):
        clock.turn(90)
        with (
            pytest.raises(LockedError, match=rf"Process {os.getpid()} on .* heard of 90s ago"),
            locked(store, clock, alone=second, wait=0),
        ):
            pass
        assert len(locks(store)) == 1
    with locked(store, clock, alone=second, wait=0):
        pass


def plant(store: Store, **more: object) -> None:
    here = this_process()._asdict()
    holder = {**here, "token": 7, "at": ManualClock().now(), "alone": True, **more}
    store.put("locks/0000000000000007", json.dumps(holder).encode())


def test_the_lock_of_a_process_that_is_gone_counts_no_more(store: Store) -> None:
    ended = multiprocessing.get_context("spawn").Process(target=int)
    ended.start()
    ended.join()
    plant(store, pid=ended.pid)
    with locked(store, ManualClock(), alone=True, wait=0):
        assert len(locks(store)) == 1


@pytest.mark.parametrize("away", [-STALE_SECONDS - 1, STALE_SECONDS + 1])
def test_a_lock_of_another_machine_counts_until_it_is_not_renewed_for_long(store: Store, away: float) -> None:
    plant(store, host="elsewhere")
    clock = ManualClock()
    with pytest.raises(LockedError, match="on elsewhere"), locked(store, clock, alone=False, wait=0):
        pass
    clock.turn(away)
    with locked(store, clock, alone=False, wait=0):
        assert len(locks(store)) == 1


def test_what_is_no_lock_is_nobodys(store: Store) -> None:
    store.put("locks/0000000000000009", b"{}")
    with locked(store, ManualClock(), alone=True, wait=0):
        assert len(locks(store)) == 1


def test_a_lock_is_renewed_and_its_loss_is_noticed(store: Store) -> None:
    clock = ManualClock()
    with locked(store, clock, alone=False, wait=0) as lock:
        (key,) = locks(store)
        before = store.get(key)
        lock.renew()
        assert store.get(key) == before
        clock.turn(600)
        lock.renew()
        assert json.loads(store.get(key))["at"] == clock.now()
        lock.check()
        store.delete(key)
        clock.turn(600)
        for look in (lock.renew, lock.check):
            with pytest.raises(LockedError, match="took this process for dead"):
                look()
        assert locks(store) == []


def test_it_is_waited_for(store: Store) -> None:
    clock = SystemClock()
    with locked(store, clock, alone=True, wait=0):
        begun = clock.monotonic()
        with pytest.raises(LockedError), locked(store, clock, alone=True, wait=0.2):
            pass
        assert clock.monotonic() > begun
