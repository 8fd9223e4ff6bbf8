"""The games in play: how many and how heavy, which must go and which never, and that the right ones go."""

from __future__ import annotations

import gc
import itertools
import random
import tracemalloc
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gamearchive.active import ActiveGames, Excess

RESIDENCY = 5.0


def games_of(keys: Iterable[str], *, weight: int = 1, now: float = 0.0, residency: float = 0.0) -> ActiveGames:
    games = ActiveGames(residency)
    for key in keys:
        games.add(key, weight, now)
    return games


def numbered(count: int, prefix: str = "g") -> list[str]:
    return [f"{prefix}{number}" for number in range(count)]


# What is counted


def test_games_and_their_weights_are_counted() -> None:
    games = games_of(["a", "b"], weight=10)
    games.set_weight("a", 25)
    assert (len(games), games.bytes) == (2, 35)
    assert "a" in games
    games.remove("a")
    games.evicted("b", 1.0)
    assert (len(games), games.bytes, games.evictions, games.refaults) == (0, 0, 1, 0)
    assert "a" not in games


def test_a_game_comes_only_once() -> None:
    games = games_of(["a"])
    with pytest.raises(ValueError, match="'a'"):
        games.add("a", 1, 0.0)


def test_what_is_gone_meanwhile_is_passed_over_and_what_must_be_there_is_not() -> None:
    games = games_of(["a"])
    games.touch(["b"], 1.0)
    games.remove("b")
    games.evicted("b", 1.0)
    assert (len(games), games.evictions) == (1, 0)
    for call in (lambda: games.set_weight("b", 1), lambda: games.set_finished("b"), lambda: games.leave("b")):
        with pytest.raises(KeyError):
            call()


# When games must go


def test_nothing_must_go_up_to_the_limit_and_then_a_tenth_of_it() -> None:
    games = games_of(numbered(100), weight=10)
    assert games.over(100, 1000) == (0, 0)
    games.add("one more", 10, 0.0)
    assert games.over(100) == (11, 0)
    assert games.over(None, 1000) == (0, 110)
    assert games.over(100, 1000) == (11, 110)
    assert games.over() == (0, 0)


def test_once_begun_games_go_until_the_low_watermark() -> None:
    games = games_of(numbered(101))
    games.over(100)
    left = []
    while found := games.victims(games.over(100), 1.0, limit=3):
        left += found
    assert len(left) == len(set(left)) == 11
    assert games.leaving == 11
    for key in left[:5]:
        games.evicted(key, 1.0)
    for number in range(10):
        assert games.over(100) == (0, 0), "those on their way out count no more"
        games.add(f"new{number}", 1, 2.0)
    games.add("too many", 1, 2.0)
    assert games.over(100) == (11, 0)


def test_one_game_too_many_where_few_may_be_is_one_to_go() -> None:
    assert games_of(["a", "b"]).over(1) == (1, 0)
    assert games_of(numbered(6)).over(5) == (1, 0)
    assert games_of(["a"]).over(0) == (1, 0)


def test_as_many_go_as_make_up_for_the_bytes() -> None:
    games = games_of(numbered(50), weight=10)
    assert len(games.victims(Excess(0, 95), 1.0)) == 10
    assert len(games.victims(Excess(12, 95), 1.0)) == 12
    assert games.victims(Excess(0, 0), 1.0) == []


# Which go


def test_the_finished_go_first_however_young() -> None:
    games = games_of(numbered(20), residency=RESIDENCY)
    games.set_finished("g7")
    games.set_finished("g13")
    assert games.victims(Excess(5, 0), 1.0) == ["g7", "g13"]
    assert games.victims(Excess(5, 0), RESIDENCY, finished_only=True) == []
    assert len(games.victims(Excess(5, 0), RESIDENCY)) == 5


def test_a_finished_game_that_goes_on_is_like_any_other() -> None:
    games = games_of(["a", "b"], residency=RESIDENCY)
    games.set_finished("a")
    games.set_finished("a", finished=False)
    assert games.victims(Excess(5, 0), 1.0) == []
    assert sorted(games.victims(Excess(5, 0), RESIDENCY)) == ["a", "b"]


def test_what_leaves_is_not_named_again_until_it_is_touched() -> None:
    games = games_of(["a", "b"])
    games.set_finished("b")
    assert games.victims(Excess(2, 0), 1.0) == ["b", "a"]
    games.set_finished("b")
    assert games.victims(Excess(2, 0), 1.0) == games.idle(9.0, 9.0) == []
    games.touch(["a", "b"], 2.0)
    assert games.leaving == 0
    assert games.victims(Excess(2, 0), 2.0) == ["b", "a"]


def test_a_game_that_the_caller_sends_away_leaves() -> None:
    games = games_of(["a", "b"])
    games.leave("a")
    games.leave("a")
    assert (games.leaving, len(games)) == (1, 2)
    assert games.victims(Excess(5, 0), 1.0) == ["b"]


def test_the_longest_idle_are_named_in_their_order() -> None:
    games = ActiveGames(RESIDENCY)
    for number, key in enumerate(numbered(10)):
        games.add(key, 1, float(number))
    games.touch(["g0", "g3"], 20.0)
    assert games.idle(6.0, 20.0, limit=2) == ["g1", "g2"]
    assert games.idle(6.0, 20.0, {"g5"}) == ["g4"]
    assert games.idle(20.0, 20.0) == ["g6", "g7", "g8", "g9"]
    assert games.idle(20.1, 20.1) == ["g0", "g3", "g5"], "being busy was being active"


def test_however_many_may_not_go_those_that_may_are_found_within_a_few_calls() -> None:
    busy = set(numbered(3_000))
    games = games_of([*busy, "free"])
    assert any(games.victims(Excess(1, 0), 1.0, busy) == ["free"] for _ in range(20))
    games = games_of([*numbered(3_000), "free"])
    for key in busy:
        games.leave(key)
    assert any(games.idle(1.0, 1.0) == ["free"] for _ in range(20))


# Games that come straight back


def test_only_an_unfinished_game_that_was_evicted_and_comes_back_from_the_archive_is_a_refault() -> None:
    games = games_of(["evicted", "finished", "removed", "restarted"])
    games.set_finished("finished")
    games.evicted("evicted", 1.0)
    games.evicted("finished", 1.0)
    games.remove("removed")
    games.evicted("restarted", 1.0)
    for key in ("evicted", "finished", "removed", "never here"):
        games.add(key, 1, 2.0, returned=True)
    games.add("restarted", 1, 2.0)
    assert (games.evictions, games.refaults) == (2, 1)


def test_games_that_all_come_straight_back_raise_an_alarm_that_ends_when_none_is_evicted() -> None:
    games = ActiveGames()
    for turn in range(6):
        for key in numbered(200):
            if key not in games:
                games.add(key, 1, float(turn), returned=turn > 0)
            for victim in games.victims(games.over(100), float(turn)):
                games.evicted(victim, float(turn))
        if turn == 0:
            assert not games.thrashing(0.0)
    assert games.thrashing(6.0)
    assert not games.thrashing(1_000.0)


# Traces: what comes to be played, one game after another


def play(trace: Sequence[str], capacity: int) -> float:
    """The share of a trace that finds its game in play, where games go as they do in a repository."""
    games, known, hits = ActiveGames(), set(), 0
    for step, key in enumerate(trace):
        now = step / 1000
        if key in games:
            games.touch([key], now)
            hits += 1
            continue
        games.add(key, 1, now, returned=key in known)
        known.add(key)
        while victims := games.victims(games.over(capacity), now):
            for victim in victims:
                games.evicted(victim, now)
        assert len(games) <= capacity
    return hits / len(trace)


def play_lru(trace: Sequence[str], capacity: int) -> float:
    """The same, where the longest idle always goes."""
    games: OrderedDict[str, None] = OrderedDict()
    hits = 0
    for key in trace:
        hits += key in games
        games[key] = None
        games.move_to_end(key)
        if len(games) > capacity:
            games.popitem(last=False)
    return hits / len(trace)


def zipf(games: int, length: int, exponent: float = 0.8) -> list[str]:
    weights = itertools.accumulate((number + 1) ** -exponent for number in range(games))
    return random.Random(1).choices(numbered(games), cum_weights=list(weights), k=length)


def test_where_some_games_are_liked_more_than_others_more_of_them_stay_than_with_the_longest_idle_going() -> None:
    trace = zipf(10_000, 60_000)
    assert play(trace, 500) > play_lru(trace, 500) + 0.04


def test_a_crowd_of_games_that_nobody_comes_back_to_drives_out_no_other() -> None:
    games = ActiveGames()
    liked = numbered(60)
    for key in liked:
        games.add(key, 1, 0.0)
    for number in range(5_000):
        if number % 100 == 0:
            games.touch(liked, 5.0)
        games.add(f"once{number}", 1, 10.0)
        for key in games.victims(games.over(100), 10.0):
            games.evicted(key, 10.0)
    # How often a game was seen is an estimate that depends on hashes: one of the crowd may pass for a liked one now and then.
    assert sum(key in games for key in liked) > 0.9 * len(liked)


def test_a_crowd_that_passes_through_costs_the_others_little() -> None:
    liked = zipf(1_000, 20_000, 1.0)
    crowded = [key for number, key in enumerate(liked) for key in (key, f"once{number}")]
    assert 2 * play(crowded, 500) > play(liked, 500) - 0.12
    assert play(crowded, 500) > play_lru(crowded, 500) + 0.04


def test_a_round_that_is_a_little_too_long_still_finds_most_games_in_play() -> None:
    trace = numbered(110) * 100
    assert play_lru(trace, 100) == 0
    assert play(trace, 100) > 0.5


def test_where_what_was_active_last_is_what_is_active_next_it_is_as_good_as_the_longest_idle_going() -> None:
    """Players take part in a game for a while, and then never again: the window must grow."""
    source, playing, new = random.Random(1), numbered(240), itertools.count(240)
    trace = []
    for _ in range(60_000):
        place = source.randrange(len(playing))
        trace.append(playing[place])
        if source.random() < 0.02:
            playing[place] = f"g{next(new)}"
    assert play(trace, 200) > play_lru(trace, 190) - 0.05


# What it costs


def test_a_game_takes_less_than_400_bytes() -> None:
    keys = numbered(100_000, "a-game-with-an-id-")
    tracemalloc.start()
    try:
        games, before = ActiveGames(RESIDENCY), tracemalloc.get_traced_memory()[0]
        for number, key in enumerate(keys):
            games.add(key, 4_000 + number, number / 1_000)
        games.touch(keys[::2], 200.0)
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert taken / len(keys) < 400


def test_games_that_come_and_go_leave_nothing_behind() -> None:
    games, number = ActiveGames(), 0

    def come_and_go(count: int) -> int:
        nonlocal number
        for _ in range(count):
            number += 1
            games.add(f"g{number}", number, number / 100, returned=number % 3 == 0)
            games.touch([f"g{number - 500}"], number / 100)
            for key in games.victims(games.over(1_000), number / 100):
                (games.evicted if number % 2 else lambda key, _: games.remove(key))(key, number / 100)
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = come_and_go(5_000)
        after = come_and_go(25_000)
    finally:
        tracemalloc.stop()
    assert after < before * 1.05


def test_nothing_is_left_to_the_collector_of_cycles() -> None:
    def left() -> int:
        gc.collect()
        games = games_of(numbered(1_000))
        games.touch(numbered(500), 1.0)
        for key in games.victims(Excess(100, 0), 2.0):
            games.evicted(key, 2.0)
        del games
        return gc.collect()

    gc.disable()
    try:
        # Threads of other tests may leave something meanwhile, but not each time.
        assert min(left() for _ in range(10)) == 0
    finally:
        gc.enable()


# Against a model


@dataclass
class Known:
    weight: int
    arrived: float
    active: float
    finished: bool = False
    leaving: bool = False


class Machine(RuleBasedStateMachine):
    """Everything that can be done, in any order, beside a plain dict of what must be true."""

    keys = st.sampled_from(numbered(12))
    busy_keys = st.sets(keys, max_size=4)

    def __init__(self) -> None:
        super().__init__()
        self.games = ActiveGames(RESIDENCY)
        self.model: dict[str, Known] = {}
        self.now = 100.0

    @rule(key=keys, weight=st.integers(0, 1000), returned=st.booleans())
    def add(self, key: str, weight: int, returned: bool) -> None:
        if key not in self.model:
            self.games.add(key, weight, self.now, returned=returned)
            self.model[key] = Known(weight, self.now, self.now)

    @rule(seconds=st.floats(0, 2 * RESIDENCY))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(keys=st.lists(keys))
    def touch(self, keys: list[str]) -> None:
        self.games.touch(keys, self.now)
        for known in (self.model[key] for key in keys if key in self.model):
            known.active, known.leaving = self.now, False

    @precondition(lambda self: self.model)
    @rule(data=st.data(), weight=st.integers(0, 1000), finished=st.booleans())
    def change(self, data: st.DataObject, weight: int, finished: bool) -> None:
        key = data.draw(st.sampled_from(sorted(self.model)))
        self.games.set_weight(key, weight)
        self.games.set_finished(key, finished)
        self.model[key].weight, self.model[key].finished = weight, finished

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.model)))
        self.games.leave(key)
        self.model[key].leaving = True

    @rule(key=keys)
    def evict(self, key: str) -> None:
        self.games.evicted(key, self.now)
        self.model.pop(key, None)

    @rule(key=keys)
    def remove(self, key: str) -> None:
        self.games.remove(key)
        self.model.pop(key, None)

    @rule(
        excess=st.builds(Excess, st.integers(0, 12), st.integers(0, 5000)),
        busy=busy_keys,
        limit=st.integers(0, 12),
        finished_only=st.booleans(),
    )
    def victims(self, excess: Excess, busy: set[str], limit: int, finished_only: bool) -> None:
        may_go = {
            key
            for key, known in self.model.items()
            if not known.leaving
            and key not in busy
            and (known.finished or (not finished_only and known.arrived + RESIDENCY <= self.now))
        }
        found = self.games.victims(excess, self.now, busy, limit=limit, finished_only=finished_only)
        assert len(found) == len(set(found)) <= limit
        assert set(found) <= may_go
        ended = [self.model[key].finished for key in found]
        assert ended == sorted(ended, reverse=True)
        if not all(ended):
            assert {key for key in may_go if self.model[key].finished} <= set(found)

        def suffices(keys: list[str]) -> bool:
            return len(keys) >= excess.games and sum(self.model[key].weight for key in keys) >= excess.bytes

        assert suffices(found) or len(found) == limit or set(found) == may_go
        assert not found or not suffices(found[:-1])
        for key in found:
            self.model[key].leaving = True

    @rule(ago=st.floats(-1, 20), busy=busy_keys, limit=st.integers(0, 12))
    def idle(self, ago: float, busy: set[str], limit: int) -> None:
        since = self.now - ago
        idle = [key for key, known in self.model.items() if not known.leaving and known.active < since]
        found = self.games.idle(since, self.now, busy, limit=limit)
        expected = sorted((key for key in idle if key not in busy), key=lambda key: self.model[key].active)[:limit]
        assert [self.model[key].active for key in found] == [self.model[key].active for key in expected]
        assert set(found) <= set(idle) - busy
        for key in found:
            self.model[key].leaving = True
        for key in set(idle) & busy:
            # Those that it had to pass over count as active now.
            self.model[key].active = self.games._slots[key].active
            assert self.model[key].active == self.now or len(found) == limit

    @rule(max_games=st.none() | st.integers(0, 12), max_bytes=st.none() | st.integers(0, 5000))
    def over(self, max_games: int | None, max_bytes: int | None) -> None:
        staying = [known.weight for known in self.model.values() if not known.leaving]
        excess = self.games.over(max_games, max_bytes)
        if (max_games is not None and len(staying) > max_games) or (max_bytes is not None and sum(staying) > max_bytes):
            assert any(excess)
        assert excess.games == 0 or (max_games is not None and excess.games <= len(staying) - max_games * 0.9)
        assert excess.bytes == 0 or (max_bytes is not None and excess.bytes <= sum(staying) - max_bytes * 0.9)

    @invariant()
    def sums_are_true(self) -> None:
        assert len(self.games) == len(self.model)
        assert all(key in self.games for key in self.model)
        assert self.games.bytes == sum(known.weight for known in self.model.values())
        assert self.games.leaving == sum(known.leaving for known in self.model.values())


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
