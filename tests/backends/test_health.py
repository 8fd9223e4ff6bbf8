"""How well parts answer, and which is asked first."""

from __future__ import annotations

from dataclasses import dataclass

from gamearchive.backends.health import MEASURE_SECONDS, Health, Preference, to_measure
from gamearchive.clock import ManualClock


@dataclass(frozen=True)
class Replica:
    name: str
    health: Health


def replicas(clock: ManualClock, names: str = "ab") -> list[Replica]:
    return [Replica(name, Health(clock)) for name in names]


def first(preference: Preference, parts: list[Replica]) -> str:
    return preference.order(parts)[0].name


def test_the_nearest_is_asked_first_and_others_only_where_they_are_clearly_nearer() -> None:
    a, b = parts = replicas(ManualClock())
    preference = Preference(parts)
    assert first(preference, parts) == "a"
    a.health.succeed(0.010)
    b.health.succeed(0.009)
    assert first(preference, parts) == "a"
    for _ in range(20):
        b.health.succeed(0.005)
    assert first(preference, parts) == "b"
    for _ in range(20):  # they do not take turns
        a.health.succeed(0.0045)
        assert first(preference, parts) == "b"


def test_one_slow_answer_among_many_changes_nothing() -> None:
    a, b = parts = replicas(ManualClock())
    preference = Preference(parts)
    for _ in range(20):
        a.health.succeed(0.010)
        b.health.succeed(0.015)
    a.health.succeed(0.020)
    assert first(preference, parts) == "a"


def test_one_that_fails_is_asked_last_and_comes_back_when_it_is_well() -> None:
    clock = ManualClock()
    a, b = parts = replicas(clock)
    preference = Preference(parts)
    a.health.succeed(0.001)
    b.health.succeed(0.010)
    a.health.fail("gone")
    assert first(preference, parts) == "b"
    clock.turn(6)
    a.health.succeed(0.001)
    assert first(preference, parts) == "a"


def test_one_that_comes_and_goes_is_not_come_back_to_each_time() -> None:
    clock = ManualClock()
    a, b = parts = replicas(clock)
    preference = Preference(parts)
    for _ in range(4):
        a.health.fail("gone again")
        clock.turn(90)
        a.health.succeed(0.001)
        b.health.succeed(0.010)
    assert first(preference, parts) == "b"
    changes = 0
    for _ in range(10):
        a.health.succeed(0.001)
        changes += first(preference, parts) == "a"
    assert changes == 10


def test_old_figures_are_taken_anew_but_not_of_one_that_is_left_alone() -> None:
    clock = ManualClock()
    _, b = parts = replicas(clock)
    assert to_measure([b]) is b
    b.health.begin_measuring()
    assert to_measure([b]) is None
    clock.turn(MEASURE_SECONDS)
    assert to_measure([b]) is b
    b.health.fail("gone")
    clock.turn(1)
    assert to_measure(parts[1:]) is None
