"""One database by its URL: connections, transactions, locks, and the tables' making.

``sqlite:////path/to/file.db`` or ``postgresql+psycopg://user@host/name``. On both:

- `Database.read` is a snapshot: one transaction that sees one state.
- `Database.write` is a transaction that no other writer overlaps. SQLite begins it IMMEDIATE, for a deferred transaction that
  reads and then writes fails at once, whatever the time-out, when another has written between; PostgreSQL takes an advisory
  lock. It is durable when it returns (``synchronous=FULL`` on SQLite).
- `Database.hold` is a lock over more than one transaction, shared or exclusive, which the system lets go when its holder dies.

Errors of the engine become errors of the project, and say what to do.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Table, create_engine, event, exc, insert, inspect, text
from sqlalchemy.engine import make_url

from gamearchive.database import players
from gamearchive.database.schema import REVISION, metadata
from gamearchive.errors import (
    ConfigurationError,
    DatabaseUnavailableError,
    IntegrityError,
    LockedError,
    NoArchiveError,
    SchemaError,
)

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPIConnection

BUSY_SECONDS = 60
"""How long a statement waits for another process's transaction before it gives up."""

_WRITERS, _HOLD = 0x67616D65_00000001, 0x67616D65_00000002  # PostgreSQL's advisory locks: "game" and a number
_BEGIN = "gamearchive_begin"


class Database:
    """A database and its engine. Cheap to make; nothing is opened before it is used.

    Args:
        url: where it is, as SQLAlchemy writes it.

    Raises:
        ConfigurationError: if the URL is none, or names an engine other than SQLite and PostgreSQL.
    """

    def __init__(self, url: str) -> None:
        try:
            self.url = make_url(url)
        except exc.ArgumentError:
            raise ConfigurationError(
                f"The database {url!r} is not a URL.",
                hint="Write sqlite:////path/to/gamearchive.db or postgresql+psycopg://user@host/name.",
            ) from None
        backend = self.url.get_backend_name()
        if backend == "sqlite" and self.url.database:
            self.path: Path | None = Path(self.url.database)
            self.engine = create_engine(self.url, connect_args={"timeout": BUSY_SECONDS})
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
            self.players: players.PlayerIndex = players.SQLitePlayerIndex()
        elif backend == "postgresql":
            self.path = None
            if self.url.drivername == "postgresql":
                self.url = self.url.set(drivername="postgresql+psycopg")
            try:
                self.engine = create_engine(self.url, paramstyle="format", pool_pre_ping=True)
            except ModuleNotFoundError:
                raise ConfigurationError(
                    "PostgreSQL needs the package psycopg, which is not installed.",
                    hint="Install it with `pip install 'gamearchive[postgresql]'`.",
                ) from None
            self.players = players.PostgreSQLPlayerIndex()
        else:
            raise ConfigurationError(
                f"The database {self.name} is neither SQLite in a file nor PostgreSQL.",
                hint="Write sqlite:////path/to/gamearchive.db or postgresql+psycopg://user@host/name.",
            )
        self._inserts: dict[str, str] = {}
        self._checked = False

    @property
    def name(self) -> str:
        """The URL with its password masked, as errors and listings show it."""
        return self.url.render_as_string(hide_password=True)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection in a transaction that sees one state throughout.

        Raises:
            NoArchiveError: if the tables are not there.
            SchemaError: if they are of another version.
            DatabaseUnavailableError: if the engine cannot be asked.
        """
        self.check()
        with self._transaction("DEFERRED") as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A connection in a transaction that no other writer overlaps; committed at the end, undone by an exception.

        Raises:
            NoArchiveError: if the tables are not there.
            SchemaError: if they are of another version.
            LockedError: if another process's transaction outlasted `BUSY_SECONDS`.
            DatabaseUnavailableError: if the engine cannot be asked, or its disk is full.
        """
        self.check()
        with self._transaction("IMMEDIATE") as connection:
            yield connection

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Connection]:
        options: dict[str, object] = {_BEGIN: begin}
        if self.path is None and begin == "DEFERRED":
            options["isolation_level"] = "REPEATABLE READ"
        with self._translated(), self.engine.connect() as connection:
            connection.execution_options(**options)
            with connection.begin():
                if self.path is None and begin == "IMMEDIATE":
                    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _WRITERS})
                yield connection

    def exists(self) -> bool:
        """Whether the tables are there."""
        if self.path is not None and not self.path.exists():
            return False
        with self._translated(), self.engine.connect() as connection:
            return inspect(connection).has_table("entries")

    def check(self) -> None:
        """Make sure that the tables are there, and are this program's.

        Raises:
            NoArchiveError: if they are not there.
            SchemaError: if they are of another version.
        """
        if self._checked:
            return
        if not self.exists():
            raise NoArchiveError(f"There is no archive in {self.name}.")
        with self._translated(), self.engine.connect() as connection:
            found = None
            if inspect(connection).has_table("alembic_version"):
                found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        if found != REVISION:
            raise SchemaError(f"The database {self.name} is of version {found}, and this program reads version {REVISION}.")
        self._checked = True

    def create(self) -> None:
        """Make the tables if they are not there, and the file and its folder if need be."""
        if self._checked:
            return
        if self.path is not None:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise DatabaseUnavailableError(f"The folder {self.path.parent} cannot be made: {error.strerror}.") from error
        with self._transaction("IMMEDIATE") as connection:
            if not inspect(connection).has_table("entries"):
                # What the migrations would make step by step, at once: a test holds the two equal.
                metadata.create_all(connection)
                players.create(connection)
                connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
                connection.execute(text("INSERT INTO alembic_version VALUES (:revision)"), {"revision": REVISION})
        self.check()

    @contextmanager
    def anew(self) -> Iterator[Database]:
        """An empty database that takes this one's place when the block ends well.

        On SQLite it is another file until then. On PostgreSQL its tables are emptied first, in one transaction.
        """
        if self.path is None:
            with self._transaction("IMMEDIATE") as connection:
                if inspect(connection).has_table("entries"):
                    connection.execute(text("DROP TABLE alembic_version"))
                    metadata.drop_all(connection)
            self._checked = False
            self.create()
            yield self
            return
        from gamearchive import files

        path = self.path.with_name(self.path.name + ".anew")
        for stale in _sqlite_files(path):
            files.remove(stale)
        fresh = Database(self.url.set(database=str(path)).render_as_string(hide_password=False))
        fresh.create()
        try:
            yield fresh
            with fresh.engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            fresh.close()
        self.close()
        # The journal of the old file must go before the new file takes its name, or it would be played into that one.
        for stale in _sqlite_files(self.path)[1:]:
            files.remove(stale)
        files.replace(path, self.path)
        self._checked = False

    def insert(self, connection: Connection, table: Table, rows: Sequence[tuple[object, ...]]) -> None:
        """Insert many rows at the driver's own speed; values stand in the order of the table's columns."""
        if not rows:
            return
        if table.name not in self._inserts:
            self._inserts[table.name] = str(insert(table).compile(dialect=self.engine.dialect))
        connection.exec_driver_sql(self._inserts[table.name], list(rows))

    @contextmanager
    def hold(self, *, shared: bool, wait: float = 0.0) -> Iterator[None]:
        """Hold the archive: shared by all who add to it, exclusive for one who takes stray packs away.

        Args:
            shared: whether others may hold it shared as well.
            wait: seconds to wait for it.

        Raises:
            LockedError: if another process has it and keeps it that long.
        """
        if self.path is not None:
            from gamearchive.files import FileLock

            with FileLock(self.path.with_name(self.path.name + ".lock"), shared=shared, timeout=wait):
                yield
            return
        suffix = "_shared" if shared else ""
        deadline = time.monotonic() + wait
        with self._translated(), self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            while not connection.execute(text(f"SELECT pg_try_advisory_lock{suffix}(:lock)"), {"lock": _HOLD}).scalar():
                if time.monotonic() >= deadline:
                    raise LockedError(f"The archive in {self.name} is held by another process.")
                time.sleep(0.1)
            try:
                yield
            finally:
                connection.execute(text(f"SELECT pg_advisory_unlock{suffix}(:lock)"), {"lock": _HOLD})

    def size(self, connection: Connection) -> int:
        """What the database takes, in bytes."""
        if self.path is not None:
            pages, page = (connection.execute(text(f"PRAGMA {name}")).scalar() or 0 for name in ("page_count", "page_size"))
            return int(pages * page)
        return int(connection.execute(text("SELECT pg_database_size(current_database())")).scalar() or 0)

    def close(self) -> None:
        """Let go of all connections."""
        self.engine.dispose()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except exc.DBAPIError as error:
            raise _translate(error, self.name) from error
        except exc.TimeoutError as error:
            raise DatabaseUnavailableError(f"No connection to {self.name} came free: {error}.") from error


def _translate(error: exc.DBAPIError, name: str) -> Exception:
    said = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else type(error.orig).__name__
    if "locked" in said:
        return LockedError(f"The database {name} stayed locked by another process for {BUSY_SECONDS} s.")
    if "malformed" in said or "not a database" in said:
        return IntegrityError(
            f"The database {name} is damaged: {said}.",
            hint="Move it away and run `gamearchive rebuild`: it makes the catalog anew from the packs.",
        )
    if isinstance(error, exc.OperationalError | exc.InterfaceError | exc.InternalError) or error.connection_invalidated:
        return DatabaseUnavailableError(f"The database {name} cannot do its work: {said}.")
    return error


def _sqlite_files(path: Path) -> list[Path]:
    """A database of SQLite: the file and its journals."""
    return [path.with_name(path.name + end) for end in ("", "-wal", "-shm")]


def _prepare_sqlite(connection: DBAPIConnection, _: object) -> None:
    # The driver's own transaction control begins too late (DEFERRED, at the first write): _begin_sqlite does it instead.
    connection.isolation_level = None
    connection.create_function("plays", 2, players.plays, deterministic=True)
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "cache_size=-32768", "temp_store=MEMORY"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get(_BEGIN, 'DEFERRED')}")
