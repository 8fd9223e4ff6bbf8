"""Which games expire: rule by rule, and against a reference interpreter."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest
from retention_reference import Kept, expired, player

from gamearchive.candidates import Shared
from gamearchive.errors import ConfigurationError, UsageError
from gamearchive.holds import Hold, Holds
from gamearchive.model import Facts, Player
from gamearchive.policy import ArchivalPolicy, policies_from
from gamearchive.retention import KEPT, Per, Rule, Since, Trial, expire, rules_from, version
from gamearchive.units import SECOND

NOW = 1_750_000_000 * SECOND
DAY = 86_400 * SECOND
DAYS = timedelta(days=1)


def kept(number: int, days: float = 10, **options: Any) -> Kept:
    said: dict[str, Any] = {"entity_type": "game", "entity_id": f"g-{number}", "archived_at": NOW - round(days * DAY)}
    return Kept(number, **said | options)


def gone(rules: list[Rule], games: list[Kept]) -> set[int]:
    return set(expire(rules, games, NOW))


def rule(name: str = "old", **options: Any) -> Rule:
    return Rule(name=name, **options)


def test_without_a_rule_that_matches_games_are_kept() -> None:
    assert gone([], [kept(1)]) == set()
    assert gone([rule(entity_type="room", keep_for=DAYS)], [kept(1)]) == set()
    assert gone([rule(where="status = 'draw'", keep_for=DAYS)], [kept(1)]) == set()


def test_the_first_rule_that_matches_decides() -> None:
    ranked = rule("ranked", where="tags.ranked = 'yes'", forever=True)
    games = [kept(1, tags=(("ranked", "yes"),)), kept(2, tags=(("ranked", "no"),)), kept(3)]
    assert gone([ranked, rule(keep_for=DAYS)], games) == {2, 3}
    late = rule("late", where="tags.ranked = 'yes'", keep_for=100 * DAYS)
    assert gone([late, rule(keep_for=DAYS)], games) == {2, 3}


def test_a_game_expires_at_the_very_moment_that_its_time_is_over() -> None:
    ten = rule(keep_for=10 * DAYS)
    assert gone([ten], [kept(1, archived_at=NOW - 10 * DAY), kept(2, archived_at=NOW - 10 * DAY + 1)]) == {1}


def test_no_time_at_all_is_a_time() -> None:
    at_once = rule(keep_for=timedelta(0))
    assert gone([at_once], [kept(1, archived_at=NOW), kept(2, archived_at=NOW + 1)]) == {1}
    assert at_once.end(NOW) == NOW
    (of_policy,) = rules_from([], policies_from({"game": {"retention_period": "0s"}}))
    assert of_policy.keep_for == timedelta(0)


def test_a_time_may_be_counted_from_when_games_were_completed_and_what_is_unknown_is_kept() -> None:
    done = rule(keep_for=10 * DAYS, since=Since.COMPLETED)
    games = [
        kept(1, 90, facts=Facts(completed_at=NOW - 5 * DAY)),
        kept(2, 1, facts=Facts(completed_at=NOW - 15 * DAY)),
        kept(3),
    ]
    assert gone([done], games) == {2}


def test_the_last_so_many_are_kept() -> None:
    games = [kept(number, 10 - number) for number in range(10)]
    assert gone([rule(keep_last=3)], games) == set(range(7))
    assert gone([rule(keep_last=3)], games[::-1]) == set(range(7))
    assert gone([rule(keep_last=3, keep_for=5 * DAYS)], games) == set(range(6))
    by_end = [kept(number, 10 - number, facts=Facts(completed_at=NOW - number * DAY)) for number in range(10)]
    assert gone([rule(keep_last=3, since=Since.COMPLETED)], by_end) == set(range(3, 10))


def test_of_games_of_one_instant_the_last_are_those_that_were_accepted_last() -> None:
    assert gone([rule(keep_last=2)], [kept(number, 5) for number in (4, 1, 3, 2)]) == {1, 2}


def test_the_last_of_each_player_are_kept_for_any_of_them() -> None:
    def of(number: int, *names: str) -> Kept:
        return kept(number, 20 - number, facts=Facts(tuple([Player(name=name) for name in names])))

    games = [of(1, "Ada", "Bea"), of(2, "Ada", "Dan"), of(3, "Ada", "Bea"), of(4, "Ada"), of(5), of(6)]
    assert gone([rule(keep_last=1, per=Per.PLAYER)], games) == {1, 5}


def test_a_player_is_known_by_id_whatever_the_name() -> None:
    games = [kept(1, facts=Facts((Player("p", "Ann"),))), kept(2, facts=Facts((Player("p", "Anna"),)))]
    assert gone([rule(keep_last=1, per=Per.PLAYER)], games) == {1}


def test_the_last_of_each_room_are_kept() -> None:
    games = [kept(number, tags=(("room", "ab"[number % 2]),)) for number in range(6)]
    assert gone([rule(keep_last=1, per=Per.ROOM)], games) == {0, 1, 2, 3}


def test_a_sample_is_kept_always_the_same() -> None:
    games = [kept(number) for number in range(2000)]
    first = gone([rule(keep_sample=0.1)], games)
    assert 1750 < len(first) < 1850
    assert gone([rule(keep_sample=0.1)], games[::-1]) == first
    assert gone([rule(keep_sample=0.2)], games) < first


def test_a_reason_says_since_when_and_how_long() -> None:
    both = rule(keep_for=90 * DAYS, keep_last=20, per=Per.PLAYER)
    said = both.reason(kept(1, archived_at=0))
    assert said == (
        "archived 1970-01-01T00:00:00Z, and kept for 3mo after it was archived, or as one of the last 20 of each player"
    )
    assert (both.end(0), rule(keep_for=DAYS).end(0), rule(forever=True).end(0)) == (None, DAY, None)


def test_games_that_nothing_can_expire_need_not_be_looked_at() -> None:
    """What makes a nightly run on a large archive cheap."""
    shared = Shared("game", "application/json", "draw", (), NOW - DAY)
    for rules, settled in (
        ([rule(forever=True)], KEPT),
        ([rule(keep_for=2 * DAYS)], KEPT),
        ([rule(keep_for=DAYS)], 0),
        ([rule("x", entity_type="room", forever=True), rule(keep_for=DAYS)], 1),
        ([rule("x", where="status = 'draw'", forever=True), rule(keep_for=DAYS)], KEPT),
        ([rule("x", where="entity_id = 'g'", forever=True), rule(keep_for=DAYS)], None),
        ([rule("x", where="entity_id = 'g'", forever=True), rule(keep_for=2 * DAYS)], KEPT),
        ([rule(keep_for=2 * DAYS, keep_last=5)], None),
        ([rule(keep_sample=0.5)], None),
        ([], KEPT),
    ):
        trial = Trial(rules, NOW)
        assert trial.settle(shared, trial.open(shared)) == settled, rules


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "does not say what it keeps"),
        ({"forever": True, "keep_for": DAYS}, "for ever, and only for some time"),
        ({"keep_for": -DAYS}, "negative"),
        ({"keep_last": 0}, "not 1 to"),
        ({"keep_last": 2_000_000}, "not 1 to"),
        ({"keep_sample": 0.0}, "above 0%"),
        ({"keep_sample": 1.0}, "below 100%"),
        ({"keep_for": DAYS, "per": Per.PLAYER}, "not keep_last"),
        ({"keep_sample": 0.5, "since": Since.COMPLETED}, "neither keep_for nor keep_last"),
        ({"keep_for": DAYS, "entity_type": "No Type"}, "plain name"),
        ({"keep_for": DAYS, "where": "status ="}, "makes no sense"),
        ({"keep_for": DAYS, "where": "$.map = 'inferno'"}, "every game of the archive would have to be read"),
        ({"keep_for": DAYS, "name": "no name"}, "cannot be the name"),
    ],
)
def test_absurd_rules_are_refused_with_the_reason(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Rule(**{"name": "rule"} | options)


def test_rules_that_can_never_decide_are_refused() -> None:
    whole, games = {"name": "a", "keep_for": "1d"}, {"name": "b", "entity_type": "game", "keep_last": 3}
    assert [each.name for each in rules_from([games, whole], {})] == ["b", "a"]
    with pytest.raises(ConfigurationError, match="'b' can never decide"):
        rules_from([whole, games], {})
    with pytest.raises(ConfigurationError, match=r"'policies\.game' can never decide"):
        rules_from([games], policies_from({"game": {"retention_period": "7d"}}))
    with pytest.raises(ConfigurationError, match="Two retention rules"):
        rules_from([games, games], {})


def test_a_policys_retention_period_is_a_rule_behind_the_others() -> None:
    policies = {"room": ArchivalPolicy(name="rooms", entity_type="room", retention_period=3 * DAYS)}
    rules = rules_from([{"name": "a", "entity_type": "game", "keep_for": "1d"}], policies)
    assert [(each.name, each.entity_type, each.keep_for) for each in rules][1] == ("policies.room", "room", 3 * DAYS)
    assert version(rules) == version(rules_from([{"name": "a", "entity_type": "game", "keep_for": "24h"}], policies))
    assert version(rules) != version(rules[:1])


@pytest.mark.parametrize(
    "options",
    [
        {"reason": " "},
        {"reason": "two\nlines", "entity_id": "g"},
        {"reason": "why"},
        {"reason": "why", "entity_id": "g", "player": "p"},
        {"reason": "why", "where": "status ="},
        {"reason": "why", "where": "$.a = 1"},
        {"reason": "why", "entity_id": "g", "until": NOW},
    ],
)
def test_absurd_holds_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Hold(1, made_at=NOW, **options)


def some_rules(chance: random.Random) -> list[Rule]:
    def one(number: int) -> Rule:
        said: dict[str, Any] = {}
        if chance.random() < 0.4:
            said["entity_type"] = chance.choice(["game", "room"])
        if chance.random() < 0.6:
            said["where"] = chance.choice([
                "status = 'draw'", "tags.ranked = 'yes'", "players = 'Ada'", "entity_id LIKE 'g-1%'", "completed_at < 5d",
                "raw_bytes > 100 OR status != 'draw'", "NOT tags.room = 'a' AND content_type LIKE '%json'",
            ])  # fmt: skip
        if chance.random() < 0.2:
            return Rule(name=f"r{number}", forever=True, **said)
        while not {"keep_for", "keep_last", "keep_sample"} & said.keys():
            if chance.random() < 0.6:
                said["keep_for"] = chance.choice([timedelta(0), DAYS, 5 * DAYS, 9 * DAYS])
            if chance.random() < 0.5:
                said |= {"keep_last": chance.randint(1, 4), "per": chance.choice(list(Per))}
            if chance.random() < 0.1:
                said["keep_sample"] = chance.choice([0.1, 0.5, 0.9])
        if {"keep_for", "keep_last"} & said.keys() and chance.random() < 0.4:
            said["since"] = Since.COMPLETED
        return Rule(name=f"r{number}", **said)

    return [one(number) for number in range(chance.randint(0, 4))]


def some_games(chance: random.Random) -> list[Kept]:
    def one(number: int) -> Kept:
        done = None if chance.random() < 0.2 else NOW - chance.randint(0, 12) * DAY
        people = tuple([player(name) for name in chance.sample(["Ada", "Bea", "Max", "Zoe"], chance.randint(0, 3))])
        facts = Facts(people, None, chance.choice([None, "draw", "won"]), None, done)
        tags = tuple(sorted({"ranked": chance.choice(["yes", "no"]), "room": chance.choice("ab")}.items()))
        return kept(
            number, chance.randint(0, 12), facts=facts, tags=tags if chance.random() < 0.7 else (),
            entity_type=chance.choice(["game", "room"]), raw_bytes=chance.choice([50, 100, 150]),
        )  # fmt: skip

    games = [one(number) for number in range(chance.randint(0, 12))]
    chance.shuffle(games)
    return games


def some_holds(chance: random.Random) -> list[Hold]:
    on = [{"entity_id": "g-3"}, {"player": "Ada"}, {"player": "Zoe"}, {"where": "status = 'won'"}, {"entity_id": "g-5"}]
    return [
        Hold(number, "why", NOW - 2 * DAY, chance.choice([None, NOW, NOW + 1]), chance.choice([None, "game"]), **chosen)
        for number, chosen in enumerate(chance.sample(on, chance.randint(0, 2)))
    ]


def test_ten_thousand_random_archives_with_rules_and_holds_equal_the_reference() -> None:
    chance = random.Random(20261124)
    went = spared = 0
    for _ in range(10_000):
        rules, games, held = some_rules(chance), some_games(chance), some_holds(chance)
        due = expire(rules, games, NOW)
        holds = Holds(held)
        found = {game.number: due[game.number].name for game in games if game.number in due and not holds.on(game, NOW)}
        assert found == expired(rules, held, games, NOW), (rules, games, held)
        went += len(found)
        spared += len(due) - len(found)
    assert went > 5_000
    assert spared > 500
