"""Policies: what they refuse to be, what they decide, and what they are called."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import FrozenInstanceError, fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gamearchive.errors import ConfigurationError, UsageError
from gamearchive.given import POLICY
from gamearchive.model import JSON, ArchivalPriority, ArchivalTrigger, Facts, GameRecord
from gamearchive.policy import (
    DEFAULT_GAME_POLICY,
    DEFAULT_ROOM_POLICY,
    PRIORITIES,
    ArchivalPolicy,
    Policies,
    default_policy,
    policies_from,
)
from gamearchive.settings import load_settings
from gamearchive.units import SECOND

COMPLETED, TIME, PRESSURE = ArchivalTrigger.GAME_COMPLETED, ArchivalTrigger.TIME_BASED, ArchivalTrigger.MEMORY_PRESSURE
MANUAL, SHUTDOWN = ArchivalTrigger.MANUAL, ArchivalTrigger.SHUTDOWN
HOUR, NOTHING = timedelta(hours=1), timedelta(0)
NOW = 1_750_000_000 * SECOND
GAME = GameRecord("game", "g-1", b'{"map": "inferno"}', JSON, Facts(status="completed", completed_at=NOW - 60 * SECOND))


def policy(**options: Any) -> ArchivalPolicy:
    return ArchivalPolicy(**{"name": "test", "entity_type": "game"} | options)


def of_inferno(record: GameRecord) -> bool:
    return b"inferno" in record.payload


def test_the_policy_of_the_users_document_can_be() -> None:
    custom_policy = ArchivalPolicy(
        name="aggressive_archival",
        entity_type="game",
        triggers={ArchivalTrigger.GAME_COMPLETED, ArchivalTrigger.TIME_BASED},
        archive_after=timedelta(minutes=30),
        compress_after=timedelta(hours=1),
        retention_period=timedelta(days=30),
        batch_size=100,
        max_concurrent_archives=5,
    )
    policies = Policies()
    policies["game"] = custom_policy
    assert policies["game"] is custom_policy


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": ""}, "name is '', and not 1 to 64 letters"),
        ({"name": "two words"}, "name is 'two words'"),
        ({"name": "v@1"}, "name is 'v@1'"),
        ({"name": "x" * 65}, "and not 1 to 64"),
        ({"name": None}, "name is None"),
        ({"entity_type": "Game"}, "entity_type is 'Game', and not a type: 1 to 64 lower-case"),
        ({"entity_type": None}, "entity_type is None"),
        ({"triggers": [COMPLETED]}, "and not a set of ArchivalTrigger"),
        ({"triggers": {"game_completed"}}, "triggers is {'game_completed'}, and not a set of ArchivalTrigger"),
        ({"triggers": COMPLETED}, "and not a set of ArchivalTrigger"),
        (
            {"archive_after": timedelta(seconds=-1)},
            "archive_after is datetime.timedelta(days=-1, seconds=86399), and not a timedelta",
        ),
        ({"archive_after": "1h"}, "archive_after is '1h', and not a timedelta that is not negative, or None"),
        ({"compress_after": 3600}, "compress_after is 3600, and not a timedelta"),
        ({"retention_period": timedelta(days=-1)}, "retention_period is"),
        ({"batch_size": 0}, "batch_size is 0, and not a whole number from 1 to 100,000"),
        ({"batch_size": 10**7}, "batch_size is 10000000"),
        ({"batch_size": True}, "batch_size is True"),
        ({"batch_size": 10.0}, "batch_size is 10.0"),
        ({"max_concurrent_archives": 0}, "max_concurrent_archives is 0, and not a whole number from 1 to 100"),
        ({"max_concurrent_archives": 101}, "max_concurrent_archives is 101"),
        ({"check_interval": NOTHING}, "check_interval is datetime.timedelta(0), and not a timedelta above zero"),
        ({"check_interval": None}, "check_interval is None"),
        ({"archive_timeout": NOTHING}, "archive_timeout is datetime.timedelta(0)"),
        ({"memory_threshold_percent": 0}, "memory_threshold_percent is 0, and not a number from 1 to 100"),
        ({"memory_threshold_percent": 100.1}, "memory_threshold_percent is 100.1"),
        ({"memory_threshold_percent": float("nan")}, "memory_threshold_percent is nan"),
        ({"memory_threshold_percent": None}, "memory_threshold_percent is None"),
        ({"max_entities_in_memory": 0}, "max_entities_in_memory is 0, and not a whole number from 1 to 1,000,000,000, or None"),
        ({"condition": 7}, "condition is 7, and not an expression, a function or None"),
        ({"priority": 1}, "priority is 1, and not an ArchivalPriority or None"),
        ({"triggers": {TIME}}, "TIME_BASED is one of its triggers, and archive_after does not say after how long"),
        (
            {"compress_after": HOUR, "retention_period": timedelta(minutes=1)},
            "its games expire after 0:01:00, before they are compressed after 1:00:00",
        ),
        ({"compress_after": HOUR, "retention_period": NOTHING}, "its games expire after 0:00:00, before"),
    ],
)
def test_what_is_absurd_is_refused_with_the_reason(options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        policy(**options)
    assert raised.value.message.startswith(f"The policy {options.get('name', 'test')!r} cannot be: ")
    assert said in raised.value.message


def test_a_condition_that_makes_no_sense_is_refused_with_its_place() -> None:
    with pytest.raises(ConfigurationError) as raised:
        policy(condition="statis = 'x'")
    assert raised.value.message.startswith("The policy 'test' cannot be. The condition makes no sense at column 1: `statis`")
    assert raised.value.__notes__ == ["statis = 'x'\n^"]
    with pytest.raises(ConfigurationError, match="is too long"):
        policy(condition=" " * 100_000)
    with pytest.raises(ConfigurationError, match="It ends where"):
        policy(condition="")


@pytest.mark.parametrize(
    "options",
    [
        {"triggers": frozenset()},
        {"archive_after": HOUR},
        {"triggers": {TIME}, "archive_after": NOTHING},
        {"compress_after": HOUR, "retention_period": HOUR},
        {"compress_after": NOTHING, "retention_period": NOTHING},
        {"batch_size": 1, "max_concurrent_archives": 1, "max_entities_in_memory": 1, "memory_threshold_percent": 1},
        {"batch_size": 100_000, "max_concurrent_archives": 100, "memory_threshold_percent": 100},
        {"condition": of_inferno, "priority": ArchivalPriority.LOW},
    ],
)
def test_what_is_unusual_but_meant_is_taken(options: dict[str, object]) -> None:
    made = policy(**options)
    assert {name: getattr(made, name) for name in options} == options


def test_a_policy_cannot_be_changed_from_outside() -> None:
    triggers = {COMPLETED}
    made = policy(triggers=triggers)
    triggers.add(SHUTDOWN)
    assert made.triggers == {COMPLETED}
    with pytest.raises(FrozenInstanceError):
        made.batch_size = 2  # type: ignore[misc]
    assert hash(made) == hash(policy(triggers={COMPLETED}))


@pytest.mark.parametrize("trigger", ArchivalTrigger)
def test_a_trigger_sends_games_if_it_is_named_or_is_somebodys_hand(trigger: ArchivalTrigger) -> None:
    assert policy(triggers={trigger}, archive_after=HOUR).sends(trigger)
    assert policy(triggers=frozenset()).sends(trigger) is (trigger is MANUAL)


@pytest.mark.parametrize(
    ("condition", "trigger", "taken"),
    [
        (None, COMPLETED, True),
        (None, SHUTDOWN, False),
        (None, MANUAL, True),
        ("status = 'completed'", COMPLETED, True),
        ("status = 'completed'", SHUTDOWN, False),
        ("status = 'aborted'", COMPLETED, False),
        ("status = 'aborted'", MANUAL, True),
        ("$.map = 'inferno' AND completed_at < 30s", COMPLETED, True),
        ("$.map = 'inferno' AND completed_at < 90s", COMPLETED, False),
        (of_inferno, COMPLETED, True),
        (of_inferno, SHUTDOWN, False),
        (lambda record: record.facts.completed_at and None, COMPLETED, False),
        (lambda record: 1 // 0, SHUTDOWN, False),
        (lambda record: 1 // 0, MANUAL, True),
    ],
)
def test_a_trigger_takes_the_games_that_fulfil_the_condition(condition: Any, trigger: ArchivalTrigger, taken: bool) -> None:
    assert policy(triggers={COMPLETED}, condition=condition).takes(GAME, trigger, NOW) is taken


def test_what_a_condition_raises_is_not_swallowed() -> None:
    with pytest.raises(ZeroDivisionError):
        policy(condition=lambda record: 1 // 0).takes(GAME, COMPLETED, NOW)


@pytest.mark.parametrize(
    ("after", "seconds", "due"),
    [
        (None, 10**9, False),
        (NOTHING, 0, True),
        (HOUR, 3599.999999, False),
        (HOUR, 3600, True),
        (HOUR, -3600, False),
        (timedelta(microseconds=1), 0, False),
        (timedelta.max, 10**9, False),
    ],
)
def test_a_game_is_compressed_and_expires_in_its_time(after: timedelta | None, seconds: float, due: bool) -> None:
    archived_at = NOW - round(seconds * SECOND)
    assert policy(compress_after=after).due_for_compression(archived_at, NOW) is due
    assert policy(retention_period=after).expired(archived_at, NOW) is due
    assert not policy(retention_period=after).due_for_compression(archived_at, NOW)
    assert not policy(compress_after=after).expired(archived_at, NOW)


def test_how_urgent_a_game_is_follows_from_what_sends_it_unless_the_policy_says() -> None:
    assert {trigger: policy().priority_of(trigger).name for trigger in ArchivalTrigger} == {
        COMPLETED: "NORMAL",
        TIME: "LOW",
        PRESSURE: "HIGH",
        MANUAL: "HIGH",
        SHUTDOWN: "CRITICAL",
    }
    assert set(PRIORITIES) == set(ArchivalTrigger)
    lowest = policy(priority=ArchivalPriority.LOW)
    assert {lowest.priority_of(trigger) for trigger in ArchivalTrigger} == {ArchivalPriority.LOW}


def test_whatever_is_changed_changes_the_version() -> None:
    changes: dict[str, object] = {
        "name": "other",
        "entity_type": "room",
        "triggers": {COMPLETED},
        "archive_after": NOTHING,
        "compress_after": NOTHING,
        "retention_period": timedelta(days=1),
        "batch_size": 7,
        "max_concurrent_archives": 7,
        "check_interval": HOUR,
        "memory_threshold_percent": 80.5,
        "max_entities_in_memory": 7,
        "archive_timeout": HOUR,
        "condition": "status = 'x'",
        "priority": ArchivalPriority.LOW,
    }
    assert set(changes) == {field.name for field in fields(ArchivalPolicy)}
    made = policy()
    versions = {replace(made, **{name: value}).version for name, value in changes.items()}
    assert len(versions | {made.version}) == len(changes) + 1
    assert replace(made, condition=of_inferno).version not in versions
    assert made.label == f"test@{made.version}"


def test_equal_policies_have_one_version_in_every_process() -> None:
    assert policy().version == policy(memory_threshold_percent=80, triggers=frozenset({MANUAL, PRESSURE, COMPLETED})).version
    code = (
        "from gamearchive import *\nfrom datetime import timedelta\n"
        "print(DEFAULT_GAME_POLICY.version, ArchivalPolicy(name='n', entity_type='t', condition=print).version)"
    )
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed}
        ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert ended.stdout.split() == [
            DEFAULT_GAME_POLICY.version,
            ArchivalPolicy(name="n", entity_type="t", condition=print).version,
        ]


def test_the_defaults_lose_nothing() -> None:
    for each, entity_type in [(DEFAULT_GAME_POLICY, "game"), (DEFAULT_ROOM_POLICY, "room")]:
        assert (each.name, each.entity_type) == (f"default-{entity_type}", entity_type)
        assert each.triggers == set(ArchivalTrigger) - {SHUTDOWN}
        assert each.retention_period is None
        assert each.condition is None
    assert DEFAULT_GAME_POLICY.archive_after == HOUR


def test_a_type_without_a_policy_of_its_own_has_the_default() -> None:
    policies = Policies()
    assert policies["game"] is DEFAULT_GAME_POLICY
    assert policies["room"] is DEFAULT_ROOM_POLICY
    assert policies["chess"] is policies["chess"]
    assert policies["chess"] == replace(DEFAULT_GAME_POLICY, name="default-chess", entity_type="chess")
    assert policies["x" * 64].entity_type == "x" * 64
    assert len(policies) == 0
    assert "game" not in policies
    with pytest.raises(UsageError, match="'No such' is not a plain name"):
        policies["No such"]


def test_policies_are_a_mapping_of_those_that_were_set() -> None:
    own = policy(batch_size=7)
    policies = Policies({"game": own})
    assert (dict(policies), "game" in policies, len(policies)) == ({"game": own}, True, 1)
    assert repr(policies) == f"Policies({{'game': {own!r}}})"
    assert policies.pop("game") is own
    assert policies["game"] is DEFAULT_GAME_POLICY
    with pytest.raises(KeyError):
        del policies["game"]


def test_only_a_policy_for_the_type_is_taken() -> None:
    policies = Policies()
    with pytest.raises(ConfigurationError, match="The policy 'test' is for games of type 'game', not 'room'"):
        policies["room"] = policy()
    with pytest.raises(ConfigurationError, match="'game' is not a policy for 'game'"):
        policies["game"] = "game"  # type: ignore[assignment]
    with pytest.raises(ConfigurationError, match="is not a policy"):
        Policies({"game": None})  # type: ignore[dict-item]
    assert len(policies) == 0


def settings_policies(folder: Path, text: str) -> Policies:
    file = folder / "games.toml"
    file.write_text(text, encoding="utf-8")
    return policies_from(load_settings(config=str(file)).policies)


def test_every_option_can_be_set_in_the_file(tmp_path: Path) -> None:
    assert set(POLICY) == {field.name for field in fields(ArchivalPolicy)} - {"entity_type"}
    text = """
        [policies.game]
        name = "all-said"
        triggers = ["game_completed", "time_based"]
        archive_after = "30m"
        compress_after = "0s"
        retention_period = "1d12h"
        batch_size = 100
        max_concurrent_archives = 2
        check_interval = "0.5s"
        memory_threshold_percent = 75
        max_entities_in_memory = 5000
        archive_timeout = "2m"
        condition = "status != 'practice'"
        priority = "high"
        """
    assert settings_policies(tmp_path, text)["game"] == ArchivalPolicy(
        name="all-said",
        entity_type="game",
        triggers={COMPLETED, TIME},
        archive_after=timedelta(minutes=30),
        compress_after=NOTHING,
        retention_period=timedelta(hours=36),
        batch_size=100,
        max_concurrent_archives=2,
        check_interval=timedelta(milliseconds=500),
        memory_threshold_percent=75,
        max_entities_in_memory=5000,
        archive_timeout=timedelta(minutes=2),
        condition="status != 'practice'",
        priority=ArchivalPriority.HIGH,
    )


def test_what_the_file_does_not_say_is_as_in_the_types_default(tmp_path: Path) -> None:
    policies = settings_policies(tmp_path, "[policies.room]\nbatch_size = 7\n[policies.chess]\nname = 'slow'\ntriggers = []")
    assert dict(policies) == {
        "room": replace(DEFAULT_ROOM_POLICY, name="room", batch_size=7),
        "chess": replace(default_policy("chess"), name="slow", triggers=frozenset()),
    }
    assert policies["game"] is DEFAULT_GAME_POLICY


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("batch_size = 0", "The policy 'game' cannot be: batch_size is 0"),
        ("name = ''", "The policy '' cannot be: name is ''"),
        ("check_interval = '0s'", "check_interval is datetime.timedelta(0)"),
        ("memory_threshold_percent = nan", "memory_threshold_percent is nan"),
        ("retention_period = '1h'\ncompress_after = '1d'", "its games expire after 1:00:00, before they are compressed"),
        ("condition = 'status'", "It ends where a comparison"),
    ],
)
def test_what_the_file_says_is_refused_where_it_is_absurd(tmp_path: Path, options: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        settings_policies(tmp_path, f"[policies.game]\n{options}")
    assert said in raised.value.message
