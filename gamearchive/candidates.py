"""Archived games as rules and holds see them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

from gamearchive.expression.tree import Subject
from gamearchive.model import ArchiveEntry, Facts, Player, Tags


class Candidate(Subject, Protocol):
    """A game as rules see it: its number in the order of acceptance, its times, and who played, each person by one value."""

    @property
    def number(self) -> int: ...
    @property
    def archived_at(self) -> int: ...
    @property
    def completed_at(self) -> int | None: ...
    @property
    def players(self) -> Sequence[Hashable]: ...


@dataclass(frozen=True)
class Shared:
    """What games that were archived together have in common, of which alone rules can be tried on all of them at once."""

    entity_type: str
    content_type: str
    status: str | None
    tags: Tags
    archived_at: int
    entity_id: str = ""
    raw_bytes: int = 0
    payload: bytes = b""

    @property
    def facts(self) -> Facts:
        """What of the facts is in common."""
        return Facts(status=self.status)


@dataclass(frozen=True, slots=True)
class Listed:
    """An archived game as listings have it, as rules and holds see it."""

    entry: ArchiveEntry
    number: int = 0

    @property
    def entity_type(self) -> str:
        """Its type."""
        return self.entry.entity_type

    @property
    def entity_id(self) -> str:
        """Its id."""
        return self.entry.entity_id

    @property
    def content_type(self) -> str:
        """Its content type."""
        return self.entry.content_type

    @property
    def facts(self) -> Facts:
        """Its facts."""
        return self.entry.facts

    @property
    def tags(self) -> Tags:
        """Its tags."""
        return self.entry.provenance.tags

    @property
    def raw_bytes(self) -> int:
        """Its length."""
        return self.entry.raw_bytes

    @property
    def payload(self) -> bytes:
        """Nothing: neither rules nor holds ask for what is in it."""
        return b""

    @property
    def archived_at(self) -> int:
        """When it was archived."""
        return self.entry.provenance.archived_at

    @property
    def completed_at(self) -> int | None:
        """When it was completed."""
        return self.entry.facts.completed_at

    @property
    def players(self) -> Sequence[Hashable]:
        """Who played."""
        return tuple([person(player) for player in self.entry.facts.players])


def person(player: Player) -> str | None:
    """What tells a player from others: the game's own id for them, or their name where it has none."""
    return player.id if player.id is not None else player.name
