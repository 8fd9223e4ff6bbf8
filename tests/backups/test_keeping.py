"""Which backups are kept, against a reading of the rules that asks of each backup alone."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from gamearchive.backups.keeping import Keep, reasons_to_keep
from gamearchive.units import SECOND, to_instant

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
FORMATS = {"hourly": "%Y%m%d%H", "daily": "%Y%m%d", "weekly": "%G%V", "monthly": "%Y%m", "yearly": "%Y"}


def at(*moments: datetime) -> list[tuple[str, int]]:
    return [(str(number), to_instant(moment)) for number, moment in enumerate(moments)]


def reasons(moments: list[datetime], **keep: float) -> list[list[str]]:
    found = reasons_to_keep(at(*moments), Keep(**keep), to_instant(NOW))  # type: ignore[arg-type]
    return [found[str(number)] for number in range(len(moments))]


def test_the_last_of_each_day_that_has_one_is_kept() -> None:
    moments = [NOW - timedelta(days=days, hours=hours) for days in (0, 1, 9) for hours in (0, 2)]
    assert reasons(moments, daily=2) == [["daily"], [], ["daily"], [], [], []]
    assert reasons(moments, daily=3) == [["daily"], [], ["daily"], [], ["daily"], []]


def test_a_backup_may_be_kept_for_several_reasons() -> None:
    moments = [NOW, NOW - timedelta(days=40)]
    assert reasons(moments, last=1, monthly=2, within=86_400) == [["last", "monthly", "within 24h"], ["monthly"]]


def test_weeks_begin_on_monday_and_belong_to_the_year_of_their_thursday() -> None:
    sunday, monday = datetime(2024, 12, 29, tzinfo=UTC), datetime(2024, 12, 30, tzinfo=UTC)
    new_year = datetime(2025, 1, 1, tzinfo=UTC)
    assert reasons([sunday, monday, new_year], weekly=2) == [["weekly"], [], ["weekly"]]


def test_without_backups_there_is_nothing_to_keep() -> None:
    assert reasons_to_keep([], Keep(last=3), 0) == {}


@pytest.mark.parametrize("seed", range(200))
def test_any_policy_keeps_what_its_rules_say(seed: int) -> None:
    chance = random.Random(seed)
    count = chance.randrange(1, 60)
    span = chance.choice([86_400, 86_400 * 30, 86_400 * 1500])
    moments = [NOW - timedelta(seconds=second) for second in chance.sample(range(span), count)]
    keep = {name: chance.choice([0, 0, 1, 2, 5]) for name in ("last", *FORMATS)}
    within = chance.choice([0, 3600, 86_400 * 10])
    kept = reasons(moments, **keep, within=within)
    for moment, why in zip(moments, kept, strict=True):
        expected = set()
        later = [other for other in moments if other > moment]
        if len(later) < keep["last"]:
            expected.add("last")
        for name, form in FORMATS.items():
            mine, theirs = moment.strftime(form), {other.strftime(form) for other in later}
            if mine not in theirs and len(theirs) < keep[name]:
                expected.add(name)
        if within and to_instant(moment) >= to_instant(NOW) - within * SECOND:
            expected.add(next(each for each in why if each.startswith("within")) if why else "within")
        assert set(why) == expected
