"""Holds: games that are kept whatever a rule says, each with a reason, and until a date if it has one.

A hold is on one game, on all games of a player, or on all that fulfil a condition; those that are archived later are held as
well. It ends at its date, or when it is taken away.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from gamearchive.errors import UsageError
from gamearchive.expression import Expression, Path, parse
from gamearchive.expression.tree import Subject


@dataclass(frozen=True)
class Hold:
    """A hold.

    Args:
        number: what it is taken away by; 0 before it has one.
        reason: why.
        made_at: since when, microseconds since the epoch.
        until: when it ends; None for never.
        entity_type: the type of game; None for all.
        entity_id: the game; None where it is not on one game.
        player: of whose games, by id or name; None where it is not on a player's.
        where: a condition on games; None where it has none.

    Raises:
        UsageError: if it is on nothing, or for no reason.
    """

    number: int
    reason: str
    made_at: int
    until: int | None = None
    entity_type: str | None = None
    entity_id: str | None = None
    player: str | None = None
    where: str | None = None

    def __post_init__(self) -> None:
        if not self.reason.strip() or len(self.reason) > 1000 or not self.reason.isprintable():
            raise UsageError("A hold needs a reason, of at most 1,000 characters on one line.", hint="Say why: --reason TEXT.")
        if [self.entity_id, self.player, self.where].count(None) != 2:
            raise UsageError(
                "A hold is on a game, on a player, or on a condition.", hint="Give one of ID, --player and --where."
            )
        if self.until is not None and self.until <= self.made_at:
            raise UsageError("The hold would have ended already.", hint="Leave out --until, or name a later date.")
        _ = self.condition

    @cached_property
    def condition(self) -> Expression | None:
        """The condition, read."""
        if self.where is None:
            return None
        found = parse(self.where)
        asked = next((name for name in found.names() if isinstance(name, Path)), None)
        if asked is not None:
            raise UsageError(
                f"A hold cannot ask for {asked}: that is in the games themselves, and the catalog does not know it.",
                hint="Ask for the fields of a game, and its tags.",
            )
        return found

    def is_on(self, game: Subject, now: int) -> bool:
        """Whether it keeps a game now."""
        if (self.until is not None and self.until <= now) or self.entity_type not in (None, game.entity_type):
            return False
        if self.entity_id is not None:
            return self.entity_id == game.entity_id
        if self.player is not None:
            return any(self.player in (player.id, player.name) for player in game.facts.players)
        return self.condition is not None and self.condition.matches(game, now)


class Holds:
    """All holds together: of however many on single games or players, those on a game are found at once.

    Args:
        holds: the holds.
    """

    def __init__(self, holds: Iterable[Hold]) -> None:
        self._by_id: dict[str, list[Hold]] = {}
        self._by_player: dict[str, list[Hold]] = {}
        self._others: list[Hold] = []
        for hold in holds:
            if hold.entity_id is not None:
                self._by_id.setdefault(hold.entity_id, []).append(hold)
            elif hold.player is not None:
                self._by_player.setdefault(hold.player, []).append(hold)
            else:
                self._others.append(hold)

    def __bool__(self) -> bool:
        return bool(self._by_id or self._by_player or self._others)

    def on(self, game: Subject, now: int) -> Hold | None:
        """A hold that keeps a game now, if there is one."""
        near = [*self._by_id.get(game.entity_id, ()), *self._others]
        if self._by_player:
            names = {name for player in game.facts.players for name in (player.id, player.name) if name is not None}
            near += [hold for name in names for hold in self._by_player.get(name, ())]
        return next((hold for hold in near if hold.is_on(game, now)), None)
