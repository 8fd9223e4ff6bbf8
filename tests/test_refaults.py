"""How often games are seen, which have left, when too many come straight back, and where the window's share goes."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gamearchive.refaults import History, Returns, WindowShare

HASHES = st.integers(-(1 << 63), (1 << 63) - 1)


@given(st.lists(HASHES, max_size=150))
def test_a_game_is_seen_at_least_as_often_as_it_was_up_to_15(seen: list[int]) -> None:
    """Until the first row is halved, which comes after 160 events."""
    history = History()
    for hashed in seen:
        history.see(hashed)
    for hashed, count in Counter(seen).items():
        assert min(count, 15) <= history.frequency(hashed) <= 15


def test_an_estimate_is_near_the_truth() -> None:
    source = random.Random(1)
    hashes = [source.getrandbits(64) - (1 << 63) for _ in range(500)]
    history = History()
    for _ in range(3):
        history.double()
    for count, hashed in enumerate(hashes):
        for _ in range(count % 3):
            history.see(hashed)
    assert sum(history.frequency(hashed) == count % 3 for count, hashed in enumerate(hashes)) > 450


def test_what_was_seen_long_ago_fades() -> None:
    history, others = History(), random.Random(1)
    for _ in range(15):
        history.see(5)
    course = [history.frequency(5)]
    for _ in range(4):
        for _ in range(history.games * 10):
            history.see(others.getrandbits(56) << 8 | 64)  # in the first row they all meet elsewhere
        course.append(history.frequency(5))
    assert course[0] == 15
    assert course == sorted(course, reverse=True)
    assert course[-1] == 0


@given(st.lists(HASHES, max_size=100), st.integers(0, 4))
def test_doubling_forgets_nothing(hashes: list[int], times: int) -> None:
    history = History()
    for hashed in hashes:
        history.see(hashed)
        history.leave(hashed)
    frequencies = [history.frequency(hashed) for hashed in hashes]
    left = [history.has_left(hashed) for hashed in hashes]
    for _ in range(times):
        history.double()
    assert history.games == 64 << times
    assert [history.frequency(hashed) for hashed in hashes] == frequencies
    assert [history.has_left(hashed) for hashed in hashes] == left


@given(HASHES, st.lists(HASHES, max_size=20))
def test_only_what_has_left_has_and_is_remembered_until_another_takes_its_place(hashed: int, others: list[int]) -> None:
    history = History()
    assert not history.has_left(hashed)
    history.leave(hashed)
    assert history.has_left(hashed)
    for other in others:
        history.leave(other)
    last = [each for each in (hashed, *others) if (each - hashed) % 256 == 0][-1]
    assert history.has_left(hashed) == (last >> 33 == hashed >> 33)


def test_the_alarm_is_raised_when_more_than_half_come_back_and_ends_when_that_has_fallen_by_half() -> None:
    returns = Returns()
    course = []
    for turn in range(1, 101):
        returns.add_eviction(1000.0)
        if turn > 40:
            returns.add_refault(1000.0)
        course.append(returns.alarm(1000.0))
    assert course.index(True) == 80  # the 41st of 81
    assert all(course[80:])
    for _ in range(200):
        returns.add_eviction(1000.0)
        course.append(returns.alarm(1000.0))
    assert course.index(False, 80) == 239  # 60 of 240
    assert not any(course[239:])
    assert (returns.evictions, returns.refaults) == (300, 60)


def test_a_few_that_come_back_are_no_cause_for_alarm() -> None:
    returns = Returns()
    for number in range(10):
        returns.add_refault(number / 100)
    assert not returns.alarm(0.1)
    returns.add_refault(0.1)
    returns.add_refault(0.1)
    assert returns.alarm(0.1)


def test_slow_returns_are_no_cause_for_alarm() -> None:
    returns = Returns()
    for number in range(1000):
        returns.add_eviction(number * 10.0)
        returns.add_refault(number * 10.0)
        assert not returns.alarm(number * 10.0)


@pytest.mark.parametrize("evictions", [0, 1000])
def test_the_alarm_ends_when_nothing_comes_or_goes_any_more(evictions: int) -> None:
    returns = Returns()
    for _ in range(evictions):
        returns.add_eviction(0.0)
    for _ in range(1000):
        returns.add_refault(0.0)
    assert returns.alarm(1.0)
    assert not returns.alarm(600.0)
    assert not returns.alarm(1e9)


def refault_rate_of(share: float, best: float) -> float:
    """A workload that a window of a certain share serves best."""
    return 0.1 + abs(share - best)


@pytest.mark.parametrize("best", [0.0, 0.3, 1.0])
def test_the_windows_share_climbs_to_where_the_fewest_come_back(best: float) -> None:
    window = WindowShare()
    shares = []
    for _ in range(60):
        rate = refault_rate_of(window.share, best)
        window.hits += round(100 / rate) - 100
        for _ in range(100):
            window.add_refault(50)
        shares.append(window.share)
    assert all(0.01 <= share <= 0.8 for share in shares)
    assert sum(abs(share - min(max(best, 0.01), 0.8)) for share in shares[20:]) / 40 < 0.1


def test_the_share_stays_while_too_few_come_back_to_learn_from() -> None:
    window = WindowShare()
    before = window.share
    window.hits += 1_000_000
    for _ in range(499):
        window.add_refault(500)
    assert window.share == before
    window.add_refault(500)
    assert window.share != before
