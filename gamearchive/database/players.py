"""Who played in what: an inverted index from players to entries, each engine's own.

SQLite keeps it in FTS5, contentless and without positions: about two bytes for each player of a game, where a table of pairs
takes fifteen. A player's token is their interned id in hexadecimal. PostgreSQL keeps it in a GIN index over an array column.

Both also hold each entry's players in the order of their seats, in ``entries.players``: LEB128 numbers on SQLite, the array
itself on PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Protocol

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    FromClause,
    Integer,
    Select,
    and_,
    bindparam,
    column,
    func,
    select,
    table,
    text,
)

from gamearchive.database import bulk
from gamearchive.database.schema import entries

_fts = table("entry_players", column("rowid", BigInteger), column("entry_players"))


class PlayerIndex(Protocol):
    """What the catalog asks of either engine.

    Attributes:
        several: so many matching ids are collected sooner than rows are asked one by one who played.
    """

    several: int

    def stored(self, players: Sequence[int]) -> bytes | list[int] | None:
        """The value of ``entries.players`` for these players, in the order of the seats."""
        ...

    def loaded(self, value: bytes | list[int] | None) -> Sequence[int]:
        """The players of that value."""
        ...

    def add(self, connection: Connection, rows: Iterable[tuple[int, Sequence[int]]]) -> None:
        """Index entries, given as pairs of entry id and players."""
        ...

    def remove(self, connection: Connection, rows: Iterable[tuple[int, Sequence[int]]]) -> None:
        """Take entries out of the index, given as they were added."""
        ...

    def join(self) -> FromClause:
        """Entries joined to the index."""
        ...

    def entry_id(self) -> ColumnElement[int]:
        """The entry's id as the index gives it out, in order: what a listing by player is ordered and bounded by."""
        ...

    def matches(self, players: Sequence[Sequence[int]]) -> ColumnElement[bool]:
        """The condition that for each of the groups one of its players took part."""
        ...

    def matching(self, players: Sequence[Sequence[int]]) -> Select[tuple[int]]:
        """The statement that gives the ids of the matching entries."""
        ...

    def among(self, players: Sequence[Sequence[int]]) -> ColumnElement[bool]:
        """The same condition as `matches`, for a statement that comes to the entries by another index."""
        ...


class SQLitePlayerIndex:
    """FTS5 on SQLite."""

    several = 20_000

    def stored(self, players: Sequence[int]) -> bytes | None:
        return b"".join(map(_leb128, players)) or None

    def loaded(self, value: bytes | list[int] | None) -> Sequence[int]:
        out: list[int] = []
        number = shift = 0
        for byte in value or b"":
            number |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                out.append(number)
                number = shift = 0
        return out

    def add(self, connection: Connection, rows: Iterable[tuple[int, Sequence[int]]]) -> None:
        found = [(entry, _tokens(players)) for entry, players in rows if players]
        if found:
            bulk.insert(connection, "entry_players (rowid, players)", found)

    def remove(self, connection: Connection, rows: Iterable[tuple[int, Sequence[int]]]) -> None:
        found = [(entry, _tokens(players)) for entry, players in rows if players]
        if found:
            # An index without contents must be told what was in it.
            connection.exec_driver_sql(
                "INSERT INTO entry_players (entry_players, rowid, players) VALUES ('delete', ?, ?)", found
            )

    def join(self) -> FromClause:
        return _fts.join(entries, entries.c.id == _fts.c.rowid)

    def entry_id(self) -> ColumnElement[int]:
        return _fts.c.rowid

    def matches(self, players: Sequence[Sequence[int]]) -> ColumnElement[bool]:
        expression = " AND ".join("(" + " OR ".join(f'"{player:x}"' for player in group) + ")" for group in players)
        return _fts.c.entry_players.op("MATCH")(expression)

    def matching(self, players: Sequence[Sequence[int]]) -> Select[tuple[int]]:
        return select(_fts.c.rowid).where(self.matches(players))

    def among(self, players: Sequence[Sequence[int]]) -> ColumnElement[bool]:
        # FTS5 takes 0.3 ms to tell whether one row matches, as if it looked for all of them; asking the row itself, 2 us.
        return and_(*[func.plays(entries.c.players, self.stored(group)) == 1 for group in players])


def plays(stored: bytes | None, wanted: bytes) -> bool:
    """The SQL function of SQLite's connections: whether one of the wanted is among the players of ``entries.players``."""
    index = SQLitePlayerIndex()
    return not set(index.loaded(stored)).isdisjoint(index.loaded(wanted))


class PostgreSQLPlayerIndex:
    """GIN over ``entries.players`` on PostgreSQL, which keeps it up by itself."""

    several = 0  # a row that is read is asked in no time

    def stored(self, players: Sequence[int]) -> list[int] | None:
        return list(players) or None

    def loaded(self, value: bytes | list[int] | None) -> Sequence[int]:
        return [int(player) for player in value or ()]

    def add(self, connection: Connection, rows: Iterable[tuple[int, Sequence[int]]]) -> None:
        """Nothing to do."""

    def remove(self, connection: Connection, rows: Iterable[tuple[int, Sequence[int]]]) -> None:
        """Nothing to do."""

    def join(self) -> FromClause:
        return entries

    def entry_id(self) -> ColumnElement[int]:
        return entries.c.id

    def matches(self, players: Sequence[Sequence[int]]) -> ColumnElement[bool]:
        return and_(*[_overlap(entries.c.players, group) for group in players])

    def matching(self, players: Sequence[Sequence[int]]) -> Select[tuple[int]]:
        return select(entries.c.id).where(self.matches(players))

    def among(self, players: Sequence[Sequence[int]]) -> ColumnElement[bool]:
        return self.matches(players)


@lru_cache(maxsize=1 << 14)  # the same people play again and again
def _leb128(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def _tokens(players: Sequence[int]) -> str:
    return "%x " * len(players) % tuple(players)


def _overlap(players: Column[bytes | None], group: Sequence[int]) -> ColumnElement[bool]:
    return players.op("&&")(bindparam(None, list(group), type_=ARRAY(Integer)))


def create(connection: Connection) -> None:
    """Make the engine's index, in the transaction that makes the tables."""
    if connection.dialect.name == "sqlite":
        connection.execute(
            text(
                "CREATE VIRTUAL TABLE IF NOT EXISTS entry_players USING fts5 (players, content='', detail='none', columnsize=0)"
            )
        )
    else:
        connection.execute(text("CREATE INDEX IF NOT EXISTS ix_entries_players ON entries USING gin (players)"))
