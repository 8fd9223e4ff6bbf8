"""What PostgreSQL has and SQLite has not: a server to connect to, advisory locks, and rows that are copied."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, exc, text
from sqlalchemy.pool import ConnectionPoolEntry

from gamearchive.errors import ConfigurationError, LockedError

# Advisory locks: "game" and a number.
WRITERS, HOLD, STAY, ENQUEUING, PACKS, COMPACTION, RETENTION = (0x67616D65_00000000 + number for number in range(1, 8))

DRIVERS = ("postgresql", "postgresql+psycopg")
"""How the URLs of its databases begin."""

_POLL_SECONDS = 0.1
_SECRETS = ("password", "sslpassword")  # in the query of a URL
_SAID_OF_TYPE = re.compile(r"\(.*?\)| collate .*")  # beside its name


def open_engine(url: URL, busy_seconds: float) -> Engine:
    """The engine of a database on a server; nothing is connected to before it is used.

    Args:
        url: where it is.
        busy_seconds: how long a statement waits for another's transaction.

    Raises:
        ConfigurationError: if its driver is not installed, or the URL says what that does not know.
    """
    try:
        engine = create_engine(url.set(drivername=DRIVERS[-1]), paramstyle="format", pool_pre_ping=True)
    except ModuleNotFoundError:
        raise ConfigurationError(
            "PostgreSQL needs the package psycopg, which is not installed.",
            hint="Install it with `pip install 'gamearchive[postgresql]'`.",
        ) from None
    driver: Any = engine.dialect.loaded_dbapi
    try:
        driver.conninfo.make_conninfo(**dict.fromkeys(url.query, ""))
    except driver.Error as error:
        hint = "Behind the ? stand parameters of libpq: https://www.postgresql.org/docs/current/libpq-connect.html."
        raise ConfigurationError(f"PostgreSQL does not know what is in {shown(url)}: {error}.", hint=hint) from None

    @event.listens_for(engine, "connect")
    def connect(connection: Any, _: ConnectionPoolEntry) -> None:
        connection.execute("SELECT set_config('lock_timeout', %s, false)", [f"{busy_seconds * 1000:.0f}"])
        connection.commit()

    return engine


def shown(url: URL) -> str:
    """A URL with its passwords masked or left out."""
    return url.difference_update_query(_SECRETS).render_as_string(hide_password=True)


def lock(connection: Connection, number: int) -> None:
    """Take an advisory lock until the transaction ends."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": number})


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


def size(connection: Connection, names: Iterable[str]) -> int:
    """What tables take with their indexes, in bytes."""
    statement = text("SELECT sum(pg_total_relation_size(to_regclass(name))) FROM unnest(CAST(:names AS text[])) AS name")
    return int(connection.scalar(statement, {"names": list(names)}) or 0)


def copy(connection: Connection, table: Table, rows: Iterable[tuple[object, ...]], *, by: str | None = None) -> None:
    """Add many rows as fast as can be.

    Args:
        connection: the transaction.
        table: where to.
        rows: values in the order of the table's columns; those of type JSONB as bytes in its binary form.
        by: the name of another table that has the same columns, to add them to that one.

    Raises:
        DBAPIError: as of any other statement.
    """
    dialect = connection.dialect
    driver: Any = connection.connection.driver_connection
    kinds = [_SAID_OF_TYPE.sub("", str(column.type.compile(dialect=dialect)).lower()) for column in table.columns]
    kinds = ["bytea" if kind == "jsonb" else kind for kind in kinds]
    try:
        with driver.cursor() as cursor, cursor.copy(f"COPY {by or table.name} FROM STDIN (FORMAT BINARY)") as copied:
            copied.set_types(kinds)
            for row in rows:
                copied.write_row(row)
    except dialect.loaded_dbapi.Error as error:
        raise exc.DBAPIError.instance("COPY", None, error, dialect.loaded_dbapi.Error, dialect=dialect) from error
