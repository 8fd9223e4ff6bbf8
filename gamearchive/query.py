"""What to look for in the archive: `ArchiveQuery`, and the statement it becomes.

A listing is paged by keyset: the cursor names the last row of a page, and the next page begins behind it, however many games
were archived meanwhile. No listing scans the table of entries: each starts from the index that serves it (see
`database.schema`), and `select_page` chooses which.

Order: `SortField.ARCHIVED` is the order of acceptance; ``COMPLETED`` and ``CREATED`` are the game's own times, games without
one last (first when ascending), ties in the order of acceptance.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum

from sqlalchemy import ColumnElement, Connection, FromClause, Select, and_, func, literal, or_, select

from gamearchive.database.engine import Database
from gamearchive.database.schema import (
    UNKNOWN_SECOND,
    UNKNOWN_TIME,
    batch_tags,
    batches,
    entity_keys,
    entries,
    instant_of,
    second_of,
)
from gamearchive.errors import UsageError
from gamearchive.units import SECOND, to_instant

ACCEPTANCE_LAG = 120_000_000
"""Microseconds by which a game's acceptance may trail its ``archived_at``; the catalog refuses more."""

_FEW = 5_000
"""So many rows are sorted sooner than a time index is walked to find them."""


class SortField(Enum):
    """A time to sort and to filter by."""

    ARCHIVED = "archived"
    COMPLETED = "completed"
    CREATED = "created"


@dataclass(frozen=True, slots=True)
class ArchiveQuery:
    """Which archived games to list, and in what order. Conditions are joined by AND, the values of one by OR.

    Args:
        entity_type: the type of game; None for all.
        entity_ids: exactly these ids; empty for all.
        start_date: not before this instant (a datetime, naive ones in UTC, or microseconds since the epoch).
        end_date: before this instant.
        tags: pairs of key and value that a game must have, all of them.
        limit: at most so many games.
        offset: pass over so many first; for a long listing use ``cursor``, which costs the same on every page.
        players: names or ids of players; for each of them a game must have one such player.
        statuses: one of these.
        time: what ``start_date`` and ``end_date`` are about.
        sort: the order; None for that of ``time``.
        ascending: the oldest first.
        cursor: where the page before ended, as that page gave it.
        all_revisions: earlier revisions as well.

    Raises:
        UsageError: if limit or offset is negative.
    """

    entity_type: str | None = None
    entity_ids: Sequence[str] = ()
    start_date: datetime | int | None = None
    end_date: datetime | int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    limit: int = 100
    offset: int = 0
    players: Sequence[str] = ()
    statuses: Sequence[str] = ()
    time: SortField = SortField.ARCHIVED
    sort: SortField | None = None
    ascending: bool = False
    cursor: str | None = None
    all_revisions: bool = False

    def __post_init__(self) -> None:
        if self.limit < 0 or self.offset < 0:
            raise UsageError("A listing's limit and offset cannot be negative.", hint="Use --limit 0 or more.")

    @property
    def order(self) -> SortField:
        """The order that the listing is in."""
        return self.sort or self.time

    @property
    def since(self) -> int | None:
        """``start_date`` in microseconds since the epoch."""
        return _instant(self.start_date)

    @property
    def until(self) -> int | None:
        """``end_date`` in microseconds since the epoch."""
        return _instant(self.end_date)


@dataclass(frozen=True, slots=True)
class Resolved:
    """A query's names as the database knows them; None where it is not asked, empty where nothing can match."""

    type_ids: Sequence[int] | None = None
    status_ids: Sequence[int] | None = None
    tag_ids: Sequence[int] = ()
    players: Sequence[Sequence[int]] = ()
    entity_keys: Mapping[bytes, int] | None = None

    @property
    def of_batches(self) -> bool:
        """Whether anything is asked that batches know."""
        return self.type_ids is not None or self.status_ids is not None or bool(self.tag_ids)


def encode_cursor(order: SortField, instant: int, entry_id: int) -> str:
    """The cursor behind a row."""
    return urlsafe_b64encode(f"{order.value}:{instant}:{entry_id}".encode()).decode().rstrip("=")


def decode_cursor(cursor: str, order: SortField) -> tuple[int, int]:
    """The instant and the entry id that a cursor names.

    Raises:
        UsageError: if it is none, or is of a listing in another order.
    """
    try:
        name, instant, entry_id = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().split(":")
        at = int(instant), int(entry_id)
    except (ValueError, binascii.Error):
        raise UsageError(f"{cursor!r} is not a cursor.", hint="Use `next_cursor` as the page before gave it.") from None
    if name != order.value:
        raise UsageError(f"The cursor is of a listing sorted by {name}, not by {order.value}.", hint=f"Add --sort {name}.")
    return at


def _instant(value: datetime | int | None) -> int | None:
    return to_instant(value) if isinstance(value, datetime) else value


def select_page(database: Database, connection: Connection, query: ArchiveQuery, names: Resolved) -> Select[tuple[object, ...]]:
    """The statement of one page: the columns of ``entries``, ``limit`` rows and one more, which tells of a next page."""
    source = _source(database, connection, query, names)
    statement = select(*entries.c).select_from(source.tables).where(*source.conditions)
    if query.order is SortField.ARCHIVED:
        keys = [source.entry_id + 0] if source.few else [*source.leading, source.entry_id]
        if query.cursor:
            at = decode_cursor(query.cursor, query.order)[1]
            statement = statement.where(source.entry_id > at if query.ascending else source.entry_id < at)
    else:
        column = _COLUMNS[query.order]
        second, instant = second_of(column), instant_of(column)
        keys = [second + 0 if source.few else second, instant, source.entry_id]
        if query.cursor:
            moment, at = decode_cursor(query.cursor, query.order)
            bound = second_at(moment)
            if query.ascending:
                behind = or_(instant > moment, and_(instant == moment, source.entry_id > at))
                statement = statement.where(second >= bound, behind)
            else:
                behind = or_(instant < moment, and_(instant == moment, source.entry_id < at))
                statement = statement.where(second <= bound, behind)
    statement = statement.order_by(*[key.asc() if query.ascending else key.desc() for key in keys])
    return statement.limit(query.limit + 1).offset(query.offset or None)


def select_count(database: Database, connection: Connection, query: ArchiveQuery, names: Resolved) -> Select[int]:
    """The statement that counts all that a query matches, whatever its limit and cursor."""
    source = _source(database, connection, replace(query, sort=SortField.ARCHIVED), names)
    return select(func.count()).select_from(source.tables).where(*source.conditions)


def second_at(instant: int) -> int:
    """The whole second of an instant as the databases divide: towards zero."""
    if instant == UNKNOWN_TIME:
        return UNKNOWN_SECOND
    return instant // SECOND if instant >= 0 else -(-instant // SECOND)


@dataclass(frozen=True, slots=True)
class _Source:
    """Where a listing starts from.

    ``leading`` are columns whose order the order of acceptance follows, named so that the planner sees it too. ``few`` says
    that so few rows come that they are sorted in memory: the order is then written so that no index provides it, for a
    planner without statistics would walk that index over the whole table to find them.
    """

    tables: FromClause
    entry_id: ColumnElement[int]
    conditions: Sequence[ColumnElement[bool]]
    few: bool = False
    leading: Sequence[ColumnElement[int]] = ()


_COLUMNS = {SortField.COMPLETED: entries.c.completed_at, SortField.CREATED: entries.c.created_at}


def _source(database: Database, connection: Connection, query: ArchiveQuery, names: Resolved) -> _Source:
    """Choose the index that serves a query: ids, then players, then batches, then time, then the order of acceptance."""
    batch_wise = _batch_conditions(query, names)
    conditions = [*_time_conditions(query), *batch_wise]
    if not query.all_revisions:
        conditions.append(entries.c.superseded.is_(None))
    of_batch = entries.c.batch_id == batches.c.id
    archived = query.order is SortField.ARCHIVED
    if names.entity_keys is not None:
        keyed = entity_keys.join(entries, entries.c.id == entity_keys.c.entry_id)
        conditions += [entity_keys.c.hash.in_(names.entity_keys.values()), entries.c.entity_key.in_(names.entity_keys)]
        if names.players:
            conditions.append(database.players.among(names.players))
        return _Source(keyed.join(batches, of_batch), entries.c.id, conditions, few=True)
    if names.players:
        if archived or _is_few(connection, database.players.matching(names.players)):
            tables, entry_id = database.players.join(), database.players.entry_id()
            conditions += [database.players.matches(names.players), *_accepted_between(connection, query, entry_id)]
            return _Source(tables.join(batches, of_batch) if batch_wise else tables, entry_id, conditions, few=not archived)
        conditions.append(database.players.among(names.players))
    elif batch_wise:
        chosen = select(batches.c.last_id - batches.c.first_id + 1).where(*batch_wise)
        few = not archived and _sum_is_few(connection, chosen)
        if archived or few:
            ranges = entries.c.id.between(batches.c.first_id, batches.c.last_id)
            conditions += _accepted_between(connection, query, batches.c.first_id)
            return _Source(batches.join(entries, ranges), entries.c.id, conditions, few, [batches.c.id])
    if batch_wise:
        conditions += _accepted_between(connection, query, entries.c.id)
        return _Source(entries.join(batches, of_batch), entries.c.id, conditions)
    few = query.time is not query.order and _is_few(connection, select(entries.c.id).where(*_time_conditions(query)))
    return _Source(entries, entries.c.id, conditions, few)


def _batch_conditions(query: ArchiveQuery, names: Resolved) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if names.type_ids is not None:
        found.append(batches.c.type_id.in_(names.type_ids))
    if names.status_ids is not None:
        found.append(batches.c.status_id.in_(names.status_ids))
    found += [batches.c.id.in_(select(batch_tags.c.batch_id).where(batch_tags.c.tag_id == tag_id)) for tag_id in names.tag_ids]
    if query.time is SortField.ARCHIVED:
        if query.since is not None:
            found.append(batches.c.archived_at >= query.since)
        if query.until is not None:
            found.append(batches.c.archived_at < query.until)
    return found


def _time_conditions(query: ArchiveQuery) -> list[ColumnElement[bool]]:
    """A range of the game's own times: by the second, which is indexed, and exactly."""
    found: list[ColumnElement[bool]] = []
    if query.time is not SortField.ARCHIVED:
        column = _COLUMNS[query.time]
        if query.since is not None:
            found += [second_of(column) >= second_at(query.since), column >= query.since]
        if query.until is not None:
            found += [second_of(column) <= second_at(query.until), column < query.until]
            if query.since is None:
                found.append(second_of(column) > UNKNOWN_SECOND)
    return found


def _accepted_between(connection: Connection, query: ArchiveQuery, entry_id: ColumnElement[int]) -> list[ColumnElement[bool]]:
    """A range of ids that holds all that was archived in the query's range of time, and little else."""
    found: list[ColumnElement[bool]] = []
    if query.time is SortField.ARCHIVED and query.since is not None:
        first = select(batches.c.first_id).where(batches.c.accepted_at >= query.since)
        first = first.order_by(batches.c.accepted_at, batches.c.id).limit(1)
        found.append(entry_id >= (connection.scalar(first) or literal(1 << 62)))
    if query.time is SortField.ARCHIVED and query.until is not None:
        last = select(batches.c.last_id).where(batches.c.accepted_at < query.until + ACCEPTANCE_LAG)
        last = last.order_by(batches.c.accepted_at.desc(), batches.c.id.desc()).limit(1)
        found.append(entry_id <= (connection.scalar(last) or literal(-1)))
    return found


def _is_few(connection: Connection, found: Select[tuple[int]]) -> bool:
    limited = found.limit(_FEW + 1).subquery()
    return (connection.scalar(select(func.count()).select_from(limited)) or 0) <= _FEW


def _sum_is_few(connection: Connection, found: Select[tuple[int]]) -> bool:
    limited = found.limit(_FEW + 1).subquery()
    return (connection.scalar(select(func.sum(limited.c[0]))) or 0) <= _FEW
