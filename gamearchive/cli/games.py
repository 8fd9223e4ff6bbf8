"""Games in listings: a catalog entry as a row, the columns people see, and the options that choose games."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gamearchive.cli.options import option
from gamearchive.cli.parts import JSON, Column, Row
from gamearchive.clock import Clock
from gamearchive.errors import UsageError
from gamearchive.units import SECOND, format_duration, format_instant, format_size, parse_moment

if TYPE_CHECKING:
    from gamearchive.model import ArchiveEntry, GameRecord, Tags
    from gamearchive.prospects import Outlook
    from gamearchive.query import ArchiveQuery

Time = Literal["archived", "completed", "created"]
TypeName = Annotated[str | None, option("--type", metavar="TYPE", help="Games of this type.")]
GameId = Annotated[str, typer.Argument(metavar="ID", help="The game's id.")]


@dataclass(frozen=True)
class Chosen:
    """The options that choose games; without any, all are chosen. The fields' order is that of the help."""

    since: Annotated[
        str | None, option("--since", metavar="WHEN", help="From then on: 7d, 2025-03-01, an RFC 3339 instant.")
    ] = None
    until: Annotated[str | None, option("--until", metavar="WHEN", help="Before then.")] = None
    time: Annotated[Time, option("--time", metavar="FIELD", help="Which time that is: archived, completed or created.")] = (
        "archived"
    )
    entity_type: TypeName = None
    player: Annotated[
        list[str] | None,
        option("--player", metavar="NAME", help="Games of this player, by name or id; repeat: of all of them."),
    ] = None
    status: Annotated[
        list[str] | None, option("--status", metavar="STATUS", help="Games with this status; repeat: or that.")
    ] = None
    tag: Annotated[list[str] | None, option("--tag", metavar="K=V", help="Games with this tag; repeat: and that.")] = None

    def query(
        self, clock: Clock, *, ids: list[str] | None = None, sort: str | None = None, limit: int = 0, cursor: str | None = None
    ) -> ArchiveQuery:
        """The query that these options mean.

        Args:
            clock: what a duration counts back from.
            ids: only these; None for all.
            sort: the order, as ``--sort`` takes it; None for that of the time.
            limit: at most so many games, 0 for all.
            cursor: where the page before ended.

        Raises:
            UsageError: if one of them means nothing.
        """
        from gamearchive.model import check_type
        from gamearchive.query import ArchiveQuery, SortField

        field, _, direction = (sort or self.time).partition(":")
        if field not in {each.value for each in SortField} or direction not in ("", "asc", "desc"):
            raise UsageError(
                f"There is no order {sort!r}.", hint="Use archived, completed or created, with :asc for the oldest first."
            )
        now = clock.now()
        return ArchiveQuery(
            entity_type=None if self.entity_type is None else check_type(self.entity_type),
            entity_ids=ids or (),
            start_date=None if self.since is None else parse_moment(self.since, now),
            end_date=None if self.until is None else parse_moment(self.until, now),
            tags=dict(parse_tags(self.tag)),
            limit=limit,
            players=self.player or (),
            statuses=self.status or (),
            time=SortField(self.time),
            sort=SortField(field),
            ascending=direction == "asc",
            cursor=cursor,
        )


def game_row(entry: ArchiveEntry, tier: str | None = None, outlook: Outlook | None = None) -> Row:
    """A game as every listing has it; with its tier, where that is known, and, if it is archived, its outlook."""
    facts, sent = entry.facts, entry.provenance
    return {
        "entity_type": entry.entity_type,
        "entity_id": entry.entity_id,
        "revision": entry.revision,
        "status": facts.status,
        "players": [player.label for player in facts.players],
        "winner": facts.winner.label if facts.winner else None,
        "created_at": instant(facts.created_at),
        "completed_at": instant(facts.completed_at),
        "archived_at": instant(sent.archived_at),
        "trigger": sent.trigger.value,
        "priority": sent.priority.name.lower(),
        "policy": sent.policy,
        "tags": dict(sent.tags),
        "content_type": entry.content_type,
        "raw_bytes": entry.raw_bytes,
        "stored_bytes": entry.stored_bytes,
        "checksum": entry.checksum.hex(),
        "location": entry.location,
        "tier": tier,
        "held": outlook is not None and outlook.held,
        "expires_at": None if outlook is None else instant(outlook.expires_at),
    }


def queued_row(record: GameRecord, checksum: bytes) -> Row:
    """A game that is only enqueued, as every listing has it: what will be known of it once it is archived is null."""
    from gamearchive.model import ArchiveEntry, Place, Provenance

    sent = Provenance(0, tags=record.tags)
    row = game_row(ArchiveEntry(
        record.entity_type, record.entity_id, 0, record.content_type, record.facts, sent, len(record.payload), 0, checksum,
        Place(""),
    ))  # fmt: skip
    return {**row, **dict.fromkeys(("revision", "archived_at", "trigger", "priority", "stored_bytes", "location"))}


def instant(value: int | None) -> str | None:
    """An instant as listings have it."""
    return None if value is None else format_instant(value)


def size(value: JSON) -> str:
    """A size in bytes for people."""
    return format_size(value) if isinstance(value, int | float) else ""


def game_columns(clock: Clock) -> tuple[Column, ...]:
    """What people see of a game in a listing."""
    now = clock.now()

    def age(value: JSON) -> str:
        from gamearchive.units import parse_instant

        if not isinstance(value, str):
            return ""
        seconds = (now - parse_instant(value)) / SECOND
        return f"{format_duration(seconds)} ago" if seconds >= 0 else ""

    def second(value: JSON) -> str:
        return value[:19] + "Z" if isinstance(value, str) else ""

    return (
        Column("entity_id", "id"),
        Column("entity_type", "type", wide=True),
        Column("status", "status", shorten=True),
        Column("players", "players", shorten=True),
        Column("winner", "winner", shorten=True, wide=True),
        Column("completed_at", "completed", show=second, wide=True),
        Column("archived_at", "archived", show=second, aside=age),
        Column("raw_bytes", "size", show=size, right=True, wide=True),
    )


def parse_tags(pairs: list[str] | None) -> Tags:
    """What ``--tag`` was given.

    Raises:
        UsageError: if one is not ``key=value``.
    """
    found: dict[str, str] = {}
    for pair in pairs or ():
        key, equals, value = pair.partition("=")
        if not key or not equals or "\0" in pair or not pair.isprintable():
            raise UsageError(f"The tag {pair!r} is not of the form key=value.", hint="Write --tag season=2025.")
        found[key] = value
    return tuple(sorted(found.items()))


FIELDS = tuple(
    Column(name, name)
    for name in [
        "entity_type",
        "entity_id",
        "revision",
        "status",
        "players",
        "winner",
        "created_at",
        "completed_at",
        "archived_at",
        "trigger",
        "priority",
        "policy",
        "tags",
        "content_type",
        "raw_bytes",
        "stored_bytes",
        "checksum",
        "location",
        "tier",
        "held",
        "expires_at",
    ]
)
"""Every field of a game in any listing."""
