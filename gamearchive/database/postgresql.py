"""What PostgreSQL has and SQLite has not: advisory locks, and rows that are copied."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Table, exc, text

from gamearchive.errors import LockedError

# Advisory locks: "game" and a number.
WRITERS, HOLD, STAY, ENQUEUING = (0x67616D65_00000000 + number for number in (1, 2, 3, 4))

_POLL_SECONDS = 0.1


def lock(connection: Connection, number: int, *, shared: bool = False) -> None:
    """Take an advisory lock until the transaction ends."""
    suffix = "_shared" if shared else ""
    connection.execute(text(f"SELECT pg_advisory_xact_lock{suffix}(:lock)"), {"lock": number})


@contextmanager
def hold(connection: Connection, number: int, *, shared: bool, wait: float, name: str) -> Iterator[None]:
    """Hold an advisory lock for as long as the block takes.

    Args:
        connection: one that commits by itself, and has nothing else to do meanwhile.
        number: the lock's.
        shared: whether others may hold it shared as well.
        wait: seconds to wait for it.
        name: the database's, for people.

    Raises:
        LockedError: if another has it and keeps it that long.
    """
    suffix = "_shared" if shared else ""
    deadline = time.monotonic() + wait
    while not connection.execute(text(f"SELECT pg_try_advisory_lock{suffix}(:lock)"), {"lock": number}).scalar():
        if time.monotonic() >= deadline:
            raise LockedError(f"The archive in {name} is held by another process.")
        time.sleep(_POLL_SECONDS)
    try:
        yield
    finally:
        connection.execute(text(f"SELECT pg_advisory_unlock{suffix}(:lock)"), {"lock": number})


def binary(statement: str) -> str:
    """A statement to which arrays of bytes go over as they are: written out as text, they take four times as long."""
    return statement.replace("%s::BYTEA[]", "%b::BYTEA[]")


def copy(connection: Connection, table: Table, rows: Iterable[tuple[object, ...]], *, by: str | None = None) -> None:
    """Add many rows as fast as can be.

    Args:
        connection: the transaction.
        table: where to.
        rows: values in the order of the table's columns.
        by: the name of another table that has the same columns, to add them to that one.

    Raises:
        DBAPIError: as of any other statement.
    """
    dialect = connection.dialect
    driver: Any = connection.connection.driver_connection
    kinds = [str(column.type.compile(dialect=dialect)).lower().partition(" collate ")[0] for column in table.columns]
    try:
        with driver.cursor() as cursor, cursor.copy(f"COPY {by or table.name} FROM STDIN (FORMAT BINARY)") as copied:
            copied.set_types(kinds)
            for row in rows:
                copied.write_row(row)
    except dialect.loaded_dbapi.Error as error:
        raise exc.DBAPIError.instance("COPY", None, error, dialect.loaded_dbapi.Error, dialect=dialect) from error
