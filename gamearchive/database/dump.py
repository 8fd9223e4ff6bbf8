"""The rows of a database, table by table, out and in again: what a backup keeps of it, whichever engine it is on.

Of every table there is, but for those that say who is at work just now (`OF_NOW`), and those that follow from others
(`DERIVED`). What an engine has in a form of its own is made the same for both, so that rows of one go into the other.

Rows come in *groups*, which stay the same for as long as their rows do: where rows are numbered, a group has those of `GROUP`
consecutive numbers, so that what is added later changes the last group alone. A column that changes in old rows (`MUTABLE`)
comes apart from them, or a game that is archived once more would make all of its group another one.
"""

from __future__ import annotations

import secrets
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from operator import itemgetter
from typing import Any, TypeVar

from sqlalchemy import Column, Connection, Table, exc, func, select, text, update

from gamearchive.database.engine import Database
from gamearchive.database.interning import player_hashes
from gamearchive.database.players import SQLitePlayerIndex
from gamearchive.database.schema import (
    dictionaries,
    duties,
    entity_keys,
    entries,
    jobs,
    metadata,
    packs,
    player_keys,
    players,
    servers,
    short_hash,
    versions,
    words,
    workers,
)

GROUP = 512
"""So many numbers a group spans."""

OF_NOW = (versions, workers, duties)
"""Tables of what is no more once the database is put back."""

DERIVED = (entity_keys, player_keys)
"""Tables that games and players are found by, made of what is in others."""

MUTABLE = {"entries": "superseded"}
"""By table, the column that changes in old rows; null in most of them."""

_CHANGED_GROUP = 64 * GROUP
_GROUP_BYTES = 4 << 20  # of rows that hold a game each
_AT_ONCE = 64  # so many groups are put back in one transaction

_CHANGED = -1  # the place of the column that comes apart

Row = tuple[Any, ...]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Section:
    """Rows that are kept together: those of a table, or what changes in them.

    Args:
        name: such as ``entries``, or ``entries.superseded``.
        table: where they are.
        columns: in the order of a row's cells.
        span: so many consecutive numbers, which are the first of the cells, a group has; None where rows have none.
        changing: the column that changes, if this section has no more than that; only rows in which it is not null count.
    """

    name: str
    table: Table
    columns: tuple[Column[Any], ...]
    span: int | None
    changing: Column[Any] | None = None

    @property
    def names(self) -> list[str]:
        """The names of its columns."""
        return ["".join(column.name) for column in self.columns]  # no names of SQLAlchemy's own kind


@dataclass(frozen=True, slots=True)
class Named:
    """What the catalog names in the storage: packs with their lengths, and dictionaries by type and id with their checksums."""

    packs: dict[str, int]
    dictionaries: dict[tuple[str, int], bytes]


def sections() -> list[Section]:
    """All that is kept."""
    found = []
    for table in metadata.sorted_tables:
        if table in OF_NOW or table in DERIVED:
            continue
        key = list(table.primary_key)
        numbered = len(key) == 1 and key[0].type.python_type is int
        changing = table.c[MUTABLE[table.name]] if table.name in MUTABLE else None
        if changing is not None:
            found.append(Section(f"{table.name}.{changing.name}", table, (key[0], changing), _CHANGED_GROUP, changing))
        columns = tuple([column for column in table.c if column is not changing])  # a number stands first in every table
        found.append(Section(table.name, table, columns, GROUP if numbered else None))
    return found


def named(connection: Connection) -> Named:
    """What there must be in the storage."""
    held = connection.execute(select(packs.c.key, packs.c.stored_bytes).order_by(packs.c.key))
    learnt = select(words.c.word, dictionaries.c.id, dictionaries.c.checksum).join(words, words.c.id == dictionaries.c.type_id)
    return Named(
        {row.key: row.stored_bytes for row in held},
        {(row.word, row.id): row.checksum for row in connection.execute(learnt)},
    )


def totals(connection: Connection) -> tuple[int, int, int]:
    """How many games there are, how many revisions of them, and the bytes of all of these."""
    counts = select(func.count(), func.count(entries.c.superseded), func.sum(entries.c.raw_bytes))
    revisions, superseded, raw = connection.execute(counts.select_from(entries)).one()
    return revisions - superseded, revisions, int(raw or 0)


def groups(connection: Connection, section: Section) -> Iterator[list[Row]]:
    """The rows of a section, in groups.

    Args:
        connection: a transaction that sees one state.
        section: one of `sections`.
    """
    statement = select(*section.columns).order_by(*section.table.primary_key)
    if section.changing is not None:
        statement = statement.where(section.changing.is_not(None))
    driver: Any = connection.connection.driver_connection
    # Past SQLAlchemy, whose rows would take as long again to be made; on PostgreSQL, a cursor with a name is the server's.
    with _errors(connection), closing(driver.cursor(*(() if connection.dialect.name == "sqlite" else ("dump",)))) as cursor:
        cursor.execute(str(statement.compile(dialect=connection.dialect)))
        if "payload" in section.table.c:
            yield from _by_weight(iter(cursor.fetchone, None))
            return
        portable = _portable(connection, section)
        parts = (list(map(portable, rows)) if portable else rows for rows in iter(lambda: cursor.fetchmany(4 * GROUP), []))
        yield from _by_number(parts, section.span) if section.span else _by_count(parts)


def _by_weight(rows: Iterable[Row]) -> Iterator[list[Row]]:
    group: list[Row] = []
    weight = 0
    for row in rows:
        group.append(tuple(row))
        weight += sum(len(cell) for cell in row if isinstance(cell, bytes))
        if weight > _GROUP_BYTES or len(group) == GROUP:
            yield group
            group, weight = [], 0
    if group:
        yield group


def _by_number(parts: Iterable[list[Row]], span: int) -> Iterator[list[Row]]:
    waiting: list[Row] = []
    for part in parts:
        waiting += part
        while (number := waiting[0][0] // span) != waiting[-1][0] // span:
            end = bisect_left(waiting, (number + 1) * span, key=itemgetter(0))
            yield waiting[:end]
            waiting = waiting[end:]
    if waiting:
        yield waiting


def _by_count(parts: Iterable[list[Row]]) -> Iterator[list[Row]]:
    return _taken(chain.from_iterable(parts), GROUP)


def _taken(items: Iterable[T], count: int) -> Iterator[list[T]]:
    left = iter(items)
    while some := list(islice(left, count)):
        yield some


def _portable(connection: Connection, section: Section) -> Callable[[Row], Row] | None:
    """What makes rows of an engine's own the same as the other's; None where they are."""
    if section.table is not entries or section.changing is not None or connection.dialect.name == "sqlite":
        return None
    place, stored = section.columns.index(entries.c.players), SQLitePlayerIndex().stored
    return lambda row: (*row[:place], stored(row[place] or ()), *row[place + 1 :])


@contextmanager
def _errors(connection: Connection) -> Iterator[None]:
    """The driver's errors as those that SQLAlchemy makes of them."""
    dialect = connection.dialect
    kind: type[Exception] = getattr(dialect.loaded_dbapi, "Error")  # noqa: B009 - a module, as far as types go
    try:
        yield
    except kind as error:
        raise exc.DBAPIError.instance("SELECT", None, error, kind, dialect=dialect) from error


def is_empty(connection: Connection) -> bool:
    """Whether there is nothing in a database that a backup would keep."""
    return all(connection.execute(select(section.columns[0]).limit(1)).first() is None for section in sections())


Read = Callable[[str], tuple[Sequence[str], Iterable[Sequence[Row]]]]
"""Gives a section's columns, by name, and its groups; neither where it is not kept."""


def put_back(database: Database, read: Read) -> Iterator[int]:
    """Fill an empty database.

    Args:
        database: where to.
        read: what is kept.

    Yields:
        How many rows were put back, now and then.
    """
    for section in sections():
        if section.changing is not None:
            continue
        names, kept = read(section.name)
        changing = MUTABLE.get(section.name)
        changed = chain.from_iterable(read(f"{section.name}.{changing}")[1]) if changing else iter(())
        places = {name: place for place, name in enumerate(names)}
        order = [_CHANGED if column.name == changing else places.get(column.name) for column in section.table.c]
        changes = _Changes(changed)
        for some in _taken(kept, _AT_ONCE):
            rows = [
                tuple([None if place is None else row[place] if place >= 0 else changes.of(row[0]) for place in order])
                for row in chain.from_iterable(some)
            ]
            with database.write() as connection:
                _insert(database, connection, section.table, rows)
            yield len(rows)
    with database.write() as connection:
        _awaken(connection)


class _Changes:
    """What changed in rows, asked for in the order of their numbers."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = iter(rows)
        self._next = next(self._rows, None)

    def of(self, number: int) -> Any:
        while self._next is not None and self._next[0] < number:
            self._next = next(self._rows, None)
        return self._next[1] if self._next is not None and self._next[0] == number else None


def _insert(database: Database, connection: Connection, table: Table, rows: list[Row]) -> None:
    """Insert rows in the order of the table's columns, and what follows from them."""
    if table is entries:
        number, key, seats = (list(table.c).index(column) for column in (entries.c.id, entries.c.entity_key, entries.c.players))
        played = [(row[number], SQLitePlayerIndex().loaded(row[seats])) for row in rows]
        if database.path is None:
            stored = [database.players.stored(each) for _, each in played]
            rows = [(*row[:seats], each, *row[seats + 1 :]) for row, each in zip(rows, stored, strict=True)]
        hashes = sorted([(short_hash(row[key]), row[number]) for row in rows])
        database.insert(connection, entity_keys, hashes)
        database.players.add(connection, played)
    elif table is players:
        keys = {(hashed, number) for number, ident, name in rows for hashed in player_hashes(ident, name)}
        database.insert(connection, player_keys, sorted(keys))
    database.insert(connection, table, rows)


def _awaken(connection: Connection) -> None:
    """What was held when the rows were kept is nobody's now, and numbers go on where they ended."""
    for number in connection.scalars(select(servers.c.id)).all():
        connection.execute(update(servers).where(servers.c.id == number).values(token=secrets.randbits(62), lease_until=0))
    last = connection.scalar(select(func.max(jobs.c.id)))
    if last is not None and connection.dialect.name == "postgresql":
        connection.execute(text("SELECT setval(pg_get_serial_sequence('jobs', 'id'), :last)"), {"last": last})
