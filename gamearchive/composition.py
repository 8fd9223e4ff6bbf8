"""A storage in several parts: what ``[composite]`` says of them.

Parts of one tier are replicas of each other. The tier of the first part takes what is new; packs move to the next one as its
rules say, and so on to the last.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gamearchive.errors import ConfigurationError

DEFAULT_TIER = "hot"

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


@dataclass(frozen=True, slots=True)
class MoveRule:
    """Which packs move to a tier from the one before it.

    Args:
        after: those whose games were all archived so many seconds ago.
        types: those of these types of games; all if empty.
        min_bytes: those of so many bytes at least.
    """

    after: float
    types: tuple[str, ...] = ()
    min_bytes: int = 0


@dataclass(frozen=True, slots=True)
class PartPlan:
    """A part: its name, where it is, the tier it belongs to, and what moves there."""

    name: str
    url: str
    tier: str = DEFAULT_TIER
    rule: MoveRule | None = None


@dataclass(frozen=True, slots=True)
class Composition:
    """All parts, in the order in which they are listed, and how many replicas must have a pack before it counts.

    Raises:
        ConfigurationError: if they contradict each other.
    """

    parts: tuple[PartPlan, ...]
    write_quorum: int = 1

    def __post_init__(self) -> None:
        _check(bool(self.parts), "[composite] has no part.")
        for part in self.parts:
            for what, name in (("part", part.name), ("tier", part.tier)):
                _check(_NAME.fullmatch(name) is not None, f"{name!r} cannot be the name of a {what} of [composite].")
        _unique([part.name for part in self.parts], "are called")
        _unique([part.url for part in self.parts], "lie at")
        replicas = len(self.of_tier(self.tiers[0]))
        _check(
            1 <= self.write_quorum <= replicas,
            f"write_quorum is {self.write_quorum}, and the first tier, {self.tiers[0]!r}, has {replicas} parts.",
        )
        for tier in self.tiers:
            rules = {part.rule for part in self.of_tier(tier)} - {None}
            _check(len(rules) < 2, f"The parts of tier {tier!r} have different rules of what moves there.")
            if tier == self.tiers[0]:
                _check(not rules, f"Nothing moves to tier {tier!r}, for it is the first.")
            else:
                _check(bool(rules), f"When packs move to tier {tier!r} is not said: give one of its parts a move_after.")

    @property
    def url(self) -> str:
        """What stands for all of it where one URL is shown."""
        return f"composite:{','.join(part.name for part in self.parts)}"

    @property
    def tiers(self) -> tuple[str, ...]:
        """The tiers' names, in order."""
        return tuple(dict.fromkeys(part.tier for part in self.parts))

    def of_tier(self, tier: str) -> list[PartPlan]:
        """The parts of a tier."""
        return [part for part in self.parts if part.tier == tier]

    def rule_of(self, tier: str) -> MoveRule | None:
        """What moves to a tier; None for the first."""
        return next((part.rule for part in self.of_tier(tier) if part.rule), None)


def _unique(values: list[str], how: str) -> None:
    twice = {value for value in values if values.count(value) > 1}
    _check(not twice, f"Two parts of [composite] {how} the same: {', '.join(sorted(twice))}.")


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ConfigurationError(otherwise, hint="The README says how [composite] is written.")
