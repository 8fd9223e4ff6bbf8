"""Retention once more, as simply as can be: what the program is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from gamearchive.candidates import person
from gamearchive.holds import Hold
from gamearchive.model import Facts, Player, Tags
from gamearchive.retention import Per, Rule, Since

NOTHING = Facts()


@dataclass(frozen=True)
class Kept:
    """An archived game, as a rule sees it."""

    number: int
    entity_type: str
    entity_id: str
    archived_at: int
    content_type: str = "application/json"
    facts: Facts = NOTHING
    tags: Tags = ()
    raw_bytes: int = 100
    payload: bytes = b""

    @property
    def completed_at(self) -> int | None:
        return self.facts.completed_at

    @property
    def players(self) -> tuple[str | None, ...]:
        return tuple([person(player) for player in self.facts.players])


def decides(rules: Sequence[Rule], game: Kept, now: int) -> Rule | None:
    """The first rule that matches."""
    for rule in rules:
        if rule.entity_type in (None, game.entity_type) and (rule.condition is None or rule.condition.matches(game, now)):
            return rule
    return None


def groups(rule: Rule, game: Kept) -> set[object]:
    if rule.per is Per.PLAYER:
        return {player.id or player.name for player in game.facts.players} or {None}
    return {dict(game.tags).get("room")} if rule.per is Per.ROOM else {None}


def is_last(rule: Rule, game: Kept, others: Sequence[Kept]) -> bool:
    """Whether fewer than so many games of one of its groups are later than a game."""
    if rule.keep_last is None:
        return False

    def place(each: Kept) -> tuple[int, int]:
        since = each.archived_at if rule.since is Since.ARCHIVED else each.completed_at
        return (since or 0, each.number)

    known = [each for each in others if rule.since is Since.ARCHIVED or each.completed_at is not None]
    return any(
        sum(group in groups(rule, other) and place(other) > place(game) for other in known) < rule.keep_last
        for group in groups(rule, game)
    )


def held(holds: Sequence[Hold], game: Kept, now: int) -> bool:
    for hold in holds:
        if hold.until is not None and hold.until <= now:
            continue
        if hold.entity_type is not None and hold.entity_type != game.entity_type:
            continue
        people: set[str | None] = {name for player in game.facts.players for name in (player.id, player.name)}
        if hold.entity_id == game.entity_id or (hold.player is not None and hold.player in people):
            return True
        if hold.condition is not None and hold.condition.matches(game, now):
            return True
    return False


def expired(rules: Sequence[Rule], holds: Sequence[Hold], games: Sequence[Kept], now: int) -> dict[int, str]:
    """The numbers of the games that go, each with the name of the rule."""
    gone = {}
    for game in games:
        rule = decides(rules, game, now)
        if rule is None or rule.forever or rule.samples(game) or held(holds, game, now):
            continue
        since = game.archived_at if rule.since is Since.ARCHIVED else game.completed_at
        young = rule.keep_for is not None and since is not None and timedelta(microseconds=now - since) < rule.keep_for
        if since is not None and not young and not is_last(rule, game, [g for g in games if decides(rules, g, now) is rule]):
            gone[game.number] = rule.name
    return gone


def player(name: str) -> Player:
    return Player(None, name) if name < "M" else Player(name, None)
