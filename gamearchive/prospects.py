"""What is to become of an archived game, and why: by which rule, when, and what keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gamearchive.candidates import Listed
from gamearchive.catalog import Catalog
from gamearchive.census import take_census
from gamearchive.clock import Clock
from gamearchive.errors import NoArchiveError, NotFoundError
from gamearchive.holds import Hold, Holds
from gamearchive.model import ArchiveEntry
from gamearchive.retention import Rule, Trial
from gamearchive.trash import CHUNK, Trash
from gamearchive.units import SECOND, format_instant


@dataclass(frozen=True, slots=True)
class Link:
    """A rule as it was tried on a game: whether it matches, and whether it is the one that decides."""

    rule: Rule
    matches: bool
    decides: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """What becomes of a game, and why.

    Args:
        entry: the game.
        chain: the rules in their order.
        verdict: ``kept``, ``held``, ``expires`` (at the next run), or ``expired``.
        reason: why, as a sentence without its end.
        expires_at: when it expires; None if never, or if that depends on other games.
        purged_at: when one that has expired is gone for good.
        hold: what keeps it.
    """

    entry: ArchiveEntry
    chain: Sequence[Link]
    verdict: str
    reason: str
    expires_at: int | None = None
    purged_at: int | None = None
    hold: Hold | None = None


@dataclass(frozen=True, slots=True)
class Outlook:
    """Whether a game is held, and when it expires; None if never, or if that depends on other games."""

    held: bool
    expires_at: int | None


class Outlooks:
    """The outlook of games, as of one moment.

    Args:
        rules: in their order.
        holds: all holds.
        now: microseconds since the epoch.
    """

    def __init__(self, rules: Sequence[Rule], holds: Holds, now: int) -> None:
        self._rules, self._holds, self._now = rules, holds, now

    def of(self, entry: ArchiveEntry) -> Outlook:
        """A game's. An earlier revision goes when the game does."""
        game = Listed(entry)
        rule = next((rule for rule in self._rules if rule.matches(game, self._now)), None)
        end = None if rule is None or entry.superseded else rule.end(rule.instant(game))
        return Outlook(self._holds.on(game, self._now) is not None, end)


class Prospects:
    """The prospects of games.

    Args:
        catalog: where they are.
        rules: in their order.
        clock: the time.
        undelete_seconds: so long what has expired can be brought back.
    """

    def __init__(self, catalog: Catalog, rules: Sequence[Rule], clock: Clock, *, undelete_seconds: float) -> None:
        self._catalog = catalog
        self._rules = rules
        self._clock = clock
        self._window = round(undelete_seconds * SECOND)
        self._trash = Trash(catalog)

    def outlooks(self) -> Outlooks:
        """What tells of any game whether it is held, and when it expires."""
        try:
            holds = self._trash.holds()
        except NoArchiveError:
            holds = []
        return Outlooks(self._rules, Holds(holds), self._clock.now())

    def explain(self, entity_id: str, entity_type: str | None = None) -> Explanation:
        """What becomes of a game, and why.

        Raises:
            NotFoundError: if it is neither archived nor in the trash.
        """
        now = self._clock.now()
        trashed = self._trash.find(entity_id, entity_type)
        entry = self._catalog.get(entity_id, entity_type)
        if entry is None and len(trashed) == 1:
            entry, expired_at = trashed[0]
            gone = expired_at + self._window
            reason = f"it expired {format_instant(expired_at)}, and can be brought back until {format_instant(gone)}"
            return Explanation(entry, self._chain(entry, now), "expired", reason, expired_at, gone)
        if entry is None:
            raise NotFoundError(f"No game {entity_id!r} is archived, nor in the trash.")
        chain = self._chain(entry, now)
        rule = next((link.rule for link in chain if link.decides), None)
        hold = Holds(self._trash.holds()).on(Listed(entry), now)
        if rule is None:
            reason, goes, end = "no rule matches it", False, None
        else:
            game = Listed(entry)
            end, reason, goes = rule.end(rule.instant(game)), rule.reason(game), self._goes(rule, entry, now)
        if hold is not None:
            return Explanation(entry, chain, "held", f"hold {hold.number}: {hold.reason}", end, hold=hold)
        return Explanation(entry, chain, "expires" if goes else "kept", reason, end)

    def _chain(self, entry: ArchiveEntry, now: int) -> list[Link]:
        chain: list[Link] = []
        decided = False
        for rule in self._rules:
            matches = rule.matches(Listed(entry), now)
            chain.append(Link(rule, matches, matches and not decided))
            decided |= matches
        return chain

    def _goes(self, rule: Rule, entry: ArchiveEntry, now: int) -> bool:
        """Whether a rule that decides about a game lets it go; where it keeps the last so many, all others are looked at."""
        game = Listed(entry)
        instant = None if rule.forever else rule.instant(game)
        if instant is None or not rule.over(instant, now) or rule.samples(game):
            return False
        if rule.keep_last is None:
            return True
        trial = Trial(self._rules, now)
        take_census(self._catalog, trial)
        numbers = [number for number, _ in trial.expired()]
        starts = range(0, len(numbers), CHUNK)
        found = (each for start in starts for _, each in self._trash.entries(numbers[start : start + CHUNK]))
        return any(each.key == entry.key for each in found)
