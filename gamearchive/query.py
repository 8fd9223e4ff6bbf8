"""What to look for in the archive: `ArchiveQuery`, and the statement it becomes.

A listing is paged by keyset: the cursor names the last row of a page, and the next page begins behind it, however many games
were archived meanwhile. No listing scans the table of entries: each starts from the index that serves it (see
`database.schema`), and `select_page` chooses which.

Order: `SortField.ARCHIVED` is the order of acceptance; ``COMPLETED`` and ``CREATED`` are the game's own times, games without
one last (first when ascending), ties in the order of acceptance.
"""

from __future__ import annotations

import binascii
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum

from sqlalchemy import ColumnElement, Connection, FromClause, Select, and_, false, func, or_, select

from gamearchive.database.engine import Database
from gamearchive.database.schema import (
    ACCEPTANCE_LAG,
    UNKNOWN_SECOND,
    UNKNOWN_TIME,
    accepted_late,
    batch_tags,
    batches,
    entity_keys,
    entries,
    instant_of,
    is_kept,
    second_at,
    second_of,
)
from gamearchive.errors import UsageError
from gamearchive.units import to_instant

_HALF_PAIR = re.compile("[\ud800-\udfff]")
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
        UsageError: if limit or offset is negative, or a text holds half a surrogate pair: an argument that was not UTF-8.
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
        for text in (*self.entity_ids, *self.players, *self.statuses, *self.tags, *self.tags.values()):
            if not text.isprintable() and _HALF_PAIR.search(text):
                raise UsageError(f"{text!r} is not UTF-8, and nothing that is archived.", hint="Write it in UTF-8.")

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
        # Whatever the numbers, within those that a database can be asked about.
        at = min(max(int(instant), UNKNOWN_TIME), _BEYOND), min(max(int(entry_id), 0), _BEYOND)
    except (ValueError, binascii.Error):
        raise UsageError(f"{cursor!r} is not a cursor.", hint="Use `next_cursor` as the page before gave it.") from None
    if name != order.value:
        raise UsageError(f"The cursor is of a listing sorted by {name}, not by {order.value}.", hint=f"Add --sort {name}.")
    return at


def _instant(value: datetime | int | None) -> int | None:
    return to_instant(value) if isinstance(value, datetime) else value


def select_page(
    database: Database, connection: Connection, query: ArchiveQuery, names: Resolved
) -> Sequence[Select[tuple[object, ...]]]:
    """The statements that give a page's rows of ``entries``, one statement's after the other's, until there are enough."""
    source = _source(database, connection, query, names)
    statement = select(*entries.c).select_from(source.tables).where(*source.conditions).offset(query.offset or None)
    if query.order is SortField.ARCHIVED:
        keys = [source.entry_id + 0] if source.few else [*source.leading, source.entry_id]
        if query.cursor:
            at = decode_cursor(query.cursor, query.order)[1]
            statement = statement.where(source.entry_id > at if query.ascending else source.entry_id < at)
        return [statement.order_by(*_directed(query, keys))]
    column = _COLUMNS[query.order]
    second, instant = second_of(column), instant_of(column)
    if query.cursor:
        moment, at = decode_cursor(query.cursor, query.order)
        bound = second_at(moment)
        if query.ascending:
            behind = or_(instant > moment, and_(instant == moment, source.entry_id > at))
            statement = statement.where(second >= bound, behind)
        else:
            behind = or_(instant < moment, and_(instant == moment, source.entry_id < at))
            statement = statement.where(second <= bound, behind)
    if source.few or query.offset:
        return [statement.order_by(*_directed(query, [second + 0 if source.few else second, instant, source.entry_id]))]
    # The rest of the order is settled within a second, by sorting. The games of unknown time, of which there may be a
    # million, count as one second, but need no sorting.
    known = statement.where(second > UNKNOWN_SECOND, *source.between).order_by(
        *_directed(query, [second, instant, source.entry_id])
    )
    unknown = statement.where(second == UNKNOWN_SECOND).order_by(*_directed(query, [source.entry_id]))
    return [unknown, known] if query.ascending else [known, unknown]


def _directed(query: ArchiveQuery, keys: Sequence[ColumnElement[int]]) -> list[ColumnElement[int]]:
    return [key.asc() if query.ascending else key.desc() for key in keys]


def select_count(database: Database, connection: Connection, query: ArchiveQuery, names: Resolved) -> Select[int]:
    """The statement that counts all that a query matches, whatever its limit and cursor."""
    source = _source(database, connection, replace(query, sort=None), names)
    return select(func.count()).select_from(source.tables).where(*source.conditions)


@dataclass(frozen=True, slots=True)
class _Source:
    """Where a listing starts from.

    ``leading`` are columns whose order the order of acceptance follows, named so that the planner sees it too. ``few`` says
    that so few rows come that they are sorted in memory: the order is then written so that no index provides it, for a
    planner without statistics would walk that index over the whole table to find them. ``between`` is a range that the known
    times lie in which the listing is ordered by.
    """

    tables: FromClause
    entry_id: ColumnElement[int]
    conditions: Sequence[ColumnElement[bool]]
    few: bool = False
    leading: Sequence[ColumnElement[int]] = ()
    between: Sequence[ColumnElement[bool]] = ()


_BEYOND = 1 << 62  # no id is so high, and no second so late

_COLUMNS = {SortField.COMPLETED: entries.c.completed_at, SortField.CREATED: entries.c.created_at}
_SPANS = {
    SortField.COMPLETED: (batches.c.completed_from, batches.c.completed_to),
    SortField.CREATED: (batches.c.created_from, batches.c.created_to),
}


def _source(database: Database, connection: Connection, query: ArchiveQuery, names: Resolved) -> _Source:
    """Choose the index that serves a query: ids, then players, then batches, then time, then the order of acceptance."""
    of_batches = _batch_conditions(connection, query, names)
    conditions = [*_time_conditions(query), *of_batches]
    conditions.append(is_kept() if query.all_revisions else entries.c.superseded.is_(None))
    in_batches = [*of_batches, *_window_conditions(query)]
    all_tables = entries.join(batches, entries.c.batch_id == batches.c.id)
    archived = query.order is SortField.ARCHIVED
    if names.entity_keys is not None:
        conditions += [entity_keys.c.hash.in_(names.entity_keys.values()), entries.c.entity_key.in_(names.entity_keys)]
        if names.players:
            conditions.append(database.players.among(names.players))
        keyed = entity_keys.join(all_tables, entries.c.id == entity_keys.c.entry_id)
        return _Source(keyed, entries.c.id, conditions, few=True)
    few_batches = bool(of_batches) and _sum_is_few(connection, in_batches)
    by_player, several, games = names.players and not few_batches, database.players.several, 0
    if by_player and not archived:
        games = _count(connection, database.players.matching(names.players), max(_FEW, several))
    if by_player and games <= _FEW:
        tables, entry_id = database.players.join(), database.players.entry_id()
        conditions += [database.players.matches(names.players), *_ids_between(connection, in_batches, entry_id)]
        tables = tables.join(batches, entries.c.batch_id == batches.c.id) if of_batches else tables
        return _Source(tables, entry_id, conditions, few=not archived)
    if 0 < games <= several:
        # An index gives the order, and ids: those of others are passed over without a look at their rows.
        conditions.append((entries.c.id + 0).in_(database.players.matching(names.players)))
    elif names.players:
        conditions.append(database.players.among(names.players))
    if few_batches or (archived and of_batches):
        return _batch_wise(connection, query, [*conditions, *in_batches], few=not archived)
    window = _time_conditions(query)
    if window and query.time is not query.order and _count(connection, select(entries.c.id).where(*window), _FEW) <= _FEW:
        return _Source(all_tables if of_batches else entries, entries.c.id, conditions, few=True)
    if archived and window:
        return _batch_wise(connection, query, [*conditions, *in_batches], few=False)
    between = [] if archived else _seconds_between(connection, in_batches, query.order)
    return _Source(all_tables if of_batches else entries, entries.c.id, conditions, between=between)


def _batch_wise(connection: Connection, query: ArchiveQuery, conditions: list[ColumnElement[bool]], *, few: bool) -> _Source:
    """A walk over the batches that match, and over a range of rows in each."""
    if query.cursor and query.order is SortField.ARCHIVED:
        at = decode_cursor(query.cursor, query.order)[1]
        near = select(entries.c.batch_id)
        if query.ascending:
            first = connection.scalar(near.where(entries.c.id >= at).order_by(entries.c.id).limit(1))
            conditions.append(batches.c.id >= (first or _BEYOND))
        else:
            last = connection.scalar(near.where(entries.c.id <= at).order_by(entries.c.id.desc()).limit(1))
            conditions.append(batches.c.id <= (last or 0))
    ranges = entries.c.id.between(batches.c.first_id, batches.c.last_id)
    return _Source(batches.join(entries, ranges), entries.c.id, conditions, few, [batches.c.id])


def _batch_conditions(connection: Connection, query: ArchiveQuery, names: Resolved) -> list[ColumnElement[bool]]:
    """What is asked that batches know."""
    found: list[ColumnElement[bool]] = []
    for column, ids in ((batches.c.type_id, names.type_ids), (batches.c.status_id, names.status_ids)):
        if ids is not None:
            # An index gives the batches of one value in their order; for several they would have to be sorted.
            found.append(column == ids[0] if len(ids) == 1 else (column + 0).in_(ids))
    found += [batches.c.id.in_(select(batch_tags.c.batch_id).where(batch_tags.c.tag_id == tag_id)) for tag_id in names.tag_ids]
    if query.time is SortField.ARCHIVED and query.since is not None:
        first = select(batches.c.id).where(batches.c.accepted_at >= query.since)
        first_id = connection.scalar(first.order_by(batches.c.accepted_at, batches.c.id).limit(1))
        found += [batches.c.archived_at >= query.since, batches.c.id >= (first_id or _BEYOND)]
    if query.time is SortField.ARCHIVED and query.until is not None:
        last = select(batches.c.id).where(batches.c.accepted_at < query.until + ACCEPTANCE_LAG)
        last_id = connection.scalar(last.order_by(batches.c.accepted_at.desc(), batches.c.id.desc()).limit(1))
        late_id = connection.scalar(select(batches.c.id).where(accepted_late()).order_by(batches.c.id.desc()).limit(1))
        found += [batches.c.archived_at < query.until, batches.c.id <= max(last_id or 0, late_id or 0)]
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


def _window_conditions(query: ArchiveQuery) -> list[ColumnElement[bool]]:
    """Which batches can have games in a range of the game's own times."""
    found: list[ColumnElement[bool]] = []
    if query.time is not SortField.ARCHIVED:
        first, last = _SPANS[query.time]
        if query.since is not None:
            found.append(last >= second_at(query.since))
        if query.until is not None:
            found += [first <= second_at(query.until), last > UNKNOWN_SECOND]
    return found


def _ids_between(
    connection: Connection, in_batches: Sequence[ColumnElement[bool]], entry_id: ColumnElement[int]
) -> list[ColumnElement[bool]]:
    """The range of ids that the chosen batches lie in."""
    if not in_batches:
        return []
    first = connection.scalar(select(batches.c.first_id).where(*in_batches).order_by(batches.c.id).limit(1))
    last = connection.scalar(select(batches.c.last_id).where(*in_batches).order_by(batches.c.id.desc()).limit(1))
    return [entry_id >= (first or _BEYOND), entry_id <= (last or 0)]


def _seconds_between(
    connection: Connection, in_batches: Sequence[ColumnElement[bool]], order: SortField
) -> list[ColumnElement[bool]]:
    """The range of seconds that the games of the chosen batches lie in, those of unknown time aside."""
    if not in_batches:
        return []
    first, last = _SPANS[order]
    spans = select(func.min(first), func.max(last)).where(*in_batches, last > UNKNOWN_SECOND)
    lowest, highest = connection.execute(spans).one()
    if lowest is None:
        return [false()]
    second = second_of(_COLUMNS[order])
    return [second >= lowest, second <= highest]


def _count(connection: Connection, found: Select[tuple[int]], enough: int) -> int:
    """How many are found; counted no further than to one more than is enough."""
    limited = found.limit(enough + 1).subquery()
    return connection.scalar(select(func.count()).select_from(limited)) or 0


def _sum_is_few(connection: Connection, in_batches: Sequence[ColumnElement[bool]]) -> bool:
    games = select(batches.c.last_id - batches.c.first_id + 1)
    limited = games.where(*in_batches).limit(_FEW + 1).subquery()
    return (connection.scalar(select(func.sum(limited.c[0]))) or 0) <= _FEW
