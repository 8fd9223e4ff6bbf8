"""Which backups are kept: a policy and a list of backups in, each with the reasons to keep it out.

As restic has it: ``hourly=24`` keeps the last backup of each of the last 24 hours *in which there is one*, so that a machine
that was off for a week loses nothing by that. Hours, days, weeks (from Monday), months and years are those of UTC. A backup is
kept for as long as one reason holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from gamearchive.units import SECOND, format_duration, from_instant

_PERIODS: Mapping[str, Callable[[datetime], object]] = {
    "hourly": lambda moment: (moment.date(), moment.hour),
    "daily": datetime.date,
    "weekly": lambda moment: moment.isocalendar()[:2],
    "monthly": lambda moment: (moment.year, moment.month),
    "yearly": lambda moment: moment.year,
}


@dataclass(frozen=True, slots=True)
class Keep:
    """How many backups to keep, by the reason for it; ``within`` is seconds back from now."""

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    within: float = 0.0

    @property
    def is_nothing(self) -> bool:
        """Whether it would keep none."""
        return self == Keep()


def reasons_to_keep(backups: Sequence[tuple[str, int]], keep: Keep, now: int) -> dict[str, list[str]]:
    """Why each backup is kept; one without a reason is not.

    Args:
        backups: ids and instants, in any order.
        keep: the policy.
        now: the present instant.
    """
    latest = sorted(backups, key=lambda backup: (backup[1], backup[0]), reverse=True)
    reasons: dict[str, list[str]] = {backup_id: [] for backup_id, _ in latest}
    for backup_id, _ in latest[: keep.last]:
        reasons[backup_id].append("last")
    for name, period in _PERIODS.items():
        seen = set[object]()
        for backup_id, instant in latest:
            which = period(from_instant(instant))
            if which not in seen and len(seen) < getattr(keep, name):
                seen.add(which)
                reasons[backup_id].append(name)
    for backup_id, instant in latest:
        if keep.within and instant >= now - keep.within * SECOND:
            reasons[backup_id].append(f"within {format_duration(keep.within)}")
    return reasons
