"""When periodic duties are due."""

from __future__ import annotations

import pytest

from gamearchive.errors import UsageError
from gamearchive.schedule import parse_schedule
from gamearchive.units import SECOND, parse_instant

NOON = parse_instant("2026-03-05T12:00:00Z")
HOUR = 3600 * SECOND


def test_every_so_often_after_the_last_run() -> None:
    schedule = parse_schedule("every 6h")
    assert schedule.due(None, NOON)
    assert not schedule.due(NOON, NOON + 6 * HOUR - 1)
    assert schedule.due(NOON, NOON + 6 * HOUR)


def test_daily_once_after_its_hour_even_where_that_was_slept_through() -> None:
    schedule = parse_schedule("daily 03:00")
    three = NOON - 9 * HOUR
    assert schedule.due(None, NOON)
    assert schedule.due(three - 1, NOON)
    assert not schedule.due(three, NOON)
    assert not schedule.due(NOON, three + 24 * HOUR - 1)
    assert schedule.due(NOON, three + 24 * HOUR)
    assert schedule.due(three - 24 * 30 * HOUR, three + HOUR)


def test_a_clock_that_was_set_back_keeps_nothing_from_being_done() -> None:
    for text in ("every 6h", "daily 03:00"):
        assert parse_schedule(text).due(NOON, NOON - HOUR)


@pytest.mark.parametrize("text", ["every 6h budget 60s", "daily 23:59", "daily 00:00 budget 1d12h", "every 90s"])
def test_what_is_read_can_be_written_and_read_again(text: str) -> None:
    schedule = parse_schedule(text)
    assert parse_schedule(str(schedule)) == schedule
    assert (schedule.budget_seconds is not None) == ("budget" in text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "every", "every day", "every 0s", "every 10ms", "daily", "daily 3:00", "daily 24:00", "daily 12:60", "6h"),
        *(
            "every 6h budget",
            "every 6h budget 0s",
            "every 6h budget soon",
            "every 6h  budget 1s",
            "Every 6h",
            f"every {'9' * 400}h",
        ),
    ],
)
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a schedule"):
        parse_schedule(text)
