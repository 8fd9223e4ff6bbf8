"""The circuit breaker: what it lets through, and when."""

from __future__ import annotations

from gamearchive.breaker import Breaker, Circuit
from gamearchive.clock import ManualClock


def test_closed_it_lets_everything_through() -> None:
    breaker = Breaker(ManualClock())
    assert [breaker.admit(100, 5) for _ in range(3)] == [100, 100, 100]
    assert not breaker.succeed()
    assert (breaker.circuit, breaker.seconds_left(), breaker.reason) == (Circuit.CLOSED, 0, None)


def test_open_it_lets_nothing_through_and_then_one_probe() -> None:
    clock = ManualClock()
    breaker = Breaker(clock, first=1, longest=60)
    assert breaker.fail("The disk is gone.")
    assert not breaker.fail("So says the next one, which was under way.")
    assert (breaker.circuit, breaker.admit(100, 5), breaker.reason) == (Circuit.OPEN, 0, "The disk is gone.")
    clock.turn(1)
    assert breaker.circuit is Circuit.HALF_OPEN
    assert [breaker.admit(100, 5), breaker.admit(100, 5)] == [5, 0]
    assert breaker.succeed()
    assert breaker.admit(100, 5) == 100


def test_a_probe_is_no_larger_than_a_batch_and_may_come_to_nothing() -> None:
    clock = ManualClock()
    breaker = Breaker(clock, first=1)
    breaker.fail("gone")
    clock.turn(1)
    assert [breaker.admit(2, 5), breaker.admit(2, 5)] == [2, 0]
    breaker.abstain()
    assert breaker.admit(2, 5) == 2


def test_each_failed_probe_doubles_the_pause_up_to_the_longest() -> None:
    clock = ManualClock()
    breaker = Breaker(clock, first=1, longest=5)
    pauses = []
    for _ in range(5):
        assert breaker.fail("gone")
        pauses.append(breaker.seconds_left())
        clock.turn(pauses[-1])
        assert breaker.admit(100, 1) == 1
    assert pauses == [1, 2, 4, 5, 5]
    breaker.succeed()
    breaker.fail("gone again")
    assert breaker.seconds_left() == 1
