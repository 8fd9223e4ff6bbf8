"""One database by its URL: connections, transactions, locks, and the tables' making.

``sqlite:////path/to/file.db`` or ``postgresql+psycopg://user@host/name``. On both:

- `Database.read` is a snapshot: one transaction that sees one state.
- `Database.write` is a transaction that no other writer overlaps. SQLite begins it IMMEDIATE, for a deferred transaction that
  reads and then writes fails at once, whatever the time-out, when another has written between; PostgreSQL takes an advisory
  lock. It is durable when it returns (``synchronous=FULL`` on SQLite).
- `Database.transact` is a transaction that on PostgreSQL others may overlap: for rows that are locked one by one.
- `Database.hold` is a lock over more than one transaction, shared or exclusive, which the system lets go when its holder dies.
- `Database.stay` is another of that kind: while it is held, the database is not made anew (`Database.anew`).
  `Database.retain` is a third, for retention.

Errors of the engine become errors of the project, and say what to do.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from copy import copy
from pathlib import Path
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Table,
    Text,
    any_,
    bindparam,
    delete,
    exc,
    func,
    select,
    text,
)  # fmt: skip
from sqlalchemy.engine import make_url

from gamearchive.database import bulk, faults, players, postgresql, servers, sqlite, tables
from gamearchive.database.faults import R
from gamearchive.database.schema import LASTING, NUMBERED, REVISION, metadata, workers
from gamearchive.errors import (
    ConfigurationError,
    DatabaseUnavailableError,
    IntegrityError,
    NoArchiveError,
    SchemaError,
)

BUSY_SECONDS = 60.0
"""How long a statement waits for another process's transaction, unless told otherwise."""

_COPIED = 200  # so many rows of the journal at a time
_HOW_TO_NAME = "Write sqlite:////path/to/gamearchive.db or postgresql+psycopg://user@host/name."


class Database:
    """A database and its engine. Cheap to make; nothing is opened before it is used.

    Args:
        url: where it is, as SQLAlchemy writes it.
        busy_seconds: how long a statement waits for another process's transaction before it gives up.

    Raises:
        ConfigurationError: if the URL is none, or names an engine other than SQLite and PostgreSQL.
    """

    def __init__(self, url: str, *, busy_seconds: float = BUSY_SECONDS) -> None:
        try:
            self.url = make_url(url)
        except (exc.ArgumentError, ValueError):
            # The URL is not repeated: a password may stand in it, anywhere.
            raise ConfigurationError("The database's address is not a URL.", hint=_HOW_TO_NAME) from None
        self._busy_seconds = busy_seconds
        self.path: Path | None = None
        self.players: players.PlayerIndex
        if self.url.drivername == "sqlite" and self.url.database:
            if self.url.query or "\0" in self.url.database:
                raise ConfigurationError(f"The database {self.name} says more than a file's path.", hint=_HOW_TO_NAME)
            self.path = Path(self.url.database)
            self.engine = sqlite.open_engine(self.url, busy_seconds)
            self.players = players.SQLitePlayerIndex()
        elif self.url.drivername in postgresql.DRIVERS:
            self.engine = postgresql.open_engine(self.url, busy_seconds)
            self.url = self.engine.url
            self.players = players.PostgreSQLPlayerIndex()
        else:
            raise ConfigurationError(f"The database {self.name} is neither SQLite in a file nor PostgreSQL.", hint=_HOW_TO_NAME)
        self._checked = False
        self._within: Connection | None = None  # the transaction that all is done in, of a catalog that is made anew
        self._given: dict[str, int] = {}  # the highest numbers that the catalog before it gave, by table

    @property
    def name(self) -> str:
        """The URL with its password masked, as errors and listings show it."""
        return postgresql.shown(self.url)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection in a transaction that sees one state throughout.

        Raises:
            NoArchiveError: if the tables are not there.
            SchemaError: if they are of another version.
            DatabaseUnavailableError: if the engine cannot be asked.
            IntegrityError: if what is read is not what was written: see `decoding`.
        """
        self.check()
        with self._transaction("DEFERRED") as connection, self.decoding():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A connection in a transaction that no other writer overlaps; committed at the end, undone by an exception.

        Raises:
            NoArchiveError: if the tables are not there.
            SchemaError: if they are of another version.
            LockedError: if another process's transaction outlasted ``busy_seconds``.
            DatabaseUnavailableError: if the engine cannot be asked, or its disk is full.
        """
        self.check()
        with self._transaction("IMMEDIATE") as connection:
            yield connection

    @contextmanager
    def transact(self) -> Iterator[Connection]:
        """A connection in a transaction that others may overlap on PostgreSQL, where it locks the rows that it writes, and no
        more; on SQLite it is a `write`.

        Raises:
            As `write` does.
        """
        self.check()
        with self._transaction("IMMEDIATE", alone=False) as connection:
            yield connection

    @contextmanager
    def _transaction(self, begin: str, *, alone: bool = True) -> Iterator[Connection]:
        if self._within is not None:
            with self._translated():
                yield self._within
            return
        options: dict[str, object] = {sqlite.BEGIN: begin}
        if self.path is None and begin == "DEFERRED":
            options["isolation_level"] = "REPEATABLE READ"
        with self._translated(), self.engine.connect() as connection:
            connection.execution_options(**options)
            with connection.begin():
                if self.path is None and begin == "IMMEDIATE" and alone:
                    postgresql.lock(connection, postgresql.WRITERS)
                yield connection

    def exists(self) -> bool:
        """Whether the tables are there.

        Raises:
            SchemaError: if tables of these names are there, but another program's.
        """
        if self._is_missing():
            return False
        with self._transaction("DEFERRED") as connection:
            return tables.revision(connection, self.name) is not None

    def check(self) -> None:
        """Make sure that the tables are there, and are this program's.

        Raises:
            NoArchiveError: if they are not there.
            SchemaError: if they are of another version.
        """
        if self._checked:
            return
        found = None
        if not self._is_missing():
            with self._transaction("DEFERRED") as connection:
                found = tables.revision(connection, self.name)
        if found is None:
            raise NoArchiveError(f"There is no archive in {self.name}.")
        if found != REVISION:
            older = found < REVISION
            raise SchemaError(
                f"The database {self.name} is of version {found}, and this program reads version {REVISION}.",
                hint="Any command that writes upgrades it, such as `gamearchive archive FILE`." if older else None,
            )
        self._checked = True

    def _is_missing(self) -> bool:
        """Whether this is a file, and not there."""
        try:
            if self.path is not None:
                self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError as error:
            raise DatabaseUnavailableError(f"The database {self.name} cannot be looked for: {error.strerror}.") from error
        return False

    def create(self) -> None:
        """Make the tables if they are not there, and the file and its folder if need be; upgrade them if they are older.

        Raises:
            SchemaError: if they are newer, or another program's.
            DatabaseUnavailableError: if they cannot be made.
        """
        if self._checked:
            return
        if self.path is not None:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise DatabaseUnavailableError(f"The folder {self.path.parent} cannot be made: {error.strerror}.") from error
        with self._transaction("IMMEDIATE") as connection:
            found = tables.revision(connection, self.name)
            if found is None:
                tables.make(connection)
            elif found < REVISION:
                from gamearchive.database import migrations

                migrations.upgrade(connection)
        self.check()

    @contextmanager
    def anew(self, aside: Path | None = None, *, force: bool = False) -> Iterator[Database]:
        """A database with an empty catalog that takes this one's place when the block ends well. The journal
        stays, and the queue.

        Until then all others see this one: on SQLite the new one is another file, on PostgreSQL all is one transaction.

        Args:
            aside: where to keep this one then, as it is; for a damaged one.
            force: whether to go on without a journal that cannot be read.

        Raises:
            LockedError: if a server lives that plays games here: it goes by what it remembers of this database.
            IntegrityError: if this is a database, but its journal cannot be read.
        """
        with self._lock(postgresql.STAY, "place.lock", shared=False, wait=self._busy_seconds):
            there = False
            with faults.journal_of(force):
                there = self._fence()
                if self.path is None:
                    self.check()  # there is nothing that a damaged one could be kept as
            if self.path is None:
                with self._transaction("IMMEDIATE") as connection:
                    yield self._emptied(connection, there=there)
                return
            from gamearchive import files

            path = self.path.with_name(self.path.name + ".anew")
            for stale in sqlite.database_files(path):
                files.remove(stale)
            fresh = Database(self.url.set(database=str(path)).render_as_string(hide_password=False))
            fresh.create()
            sqlite.number(fresh.engine)
            try:
                with faults.journal_of(force):
                    if there:
                        self._copy_journal(fresh)
                yield fresh
                with fresh.engine.connect() as connection:
                    connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                fresh.close()
            # The journal of the old file must go before the new file takes its name, or it would be played into that one. What
            # is in it goes into the old file before, in case of a kill between the two; a damaged one does not matter any more.
            if aside is None:
                with suppress(exc.DBAPIError), self.engine.connect() as connection:
                    connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            self.close()
            for stale, kept in zip(sqlite.database_files(self.path), sqlite.database_files(aside or self.path), strict=True):
                if aside is not None and stale.exists():
                    files.replace(stale, kept)
                elif stale != self.path:
                    files.remove(stale)
            files.replace(path, self.path)
            self._checked = False

    def _emptied(self, connection: Connection, *, there: bool) -> Database:
        """This database within one transaction, with an empty catalog; with all tables new where they are damaged."""
        if not there:
            metadata.drop_all(connection)
        tables.make(connection, there=there)
        fresh = copy(self)
        given = {table.name: self.next_id(connection, table) - 1 for table in NUMBERED}
        fresh._within, fresh._given = connection, given  # noqa: SLF001
        tables.empty_catalog(connection)
        return fresh

    def _fence(self) -> bool:
        """Make sure that no server lives, and that none comes to life again; False where there is no database any more."""
        try:
            self.create()  # or upgrade it
        except IntegrityError:
            return False
        with self.write() as connection:
            servers.fence(connection)
            connection.execute(delete(workers))  # each begins anew, with what it knows of the catalog then
        return True

    def _copy_journal(self, fresh: Database) -> None:
        with self.read() as old, fresh.write() as new:
            for table in LASTING:
                rows = old.execution_options(yield_per=_COPIED).execute(select(table))
                for part in rows.partitions():
                    fresh.insert(new, table, [tuple(row) for row in part])

    def name_aside(self) -> Path | None:
        """Where a damaged database can be kept; None on PostgreSQL."""
        return None if self.path is None else sqlite.name_aside(self.path)

    def among(self, column: ColumnElement[int], numbers: Collection[int] | str) -> ColumnElement[bool]:
        """The condition that a column is one of many numbers, bound as one parameter: a thousand take as many microseconds
        less than an ``IN`` of a thousand. Of a statement that is made once, the parameter is named, and given as `listed`."""
        name, value = (numbers, None) if isinstance(numbers, str) else (None, self.listed(numbers))
        bound = bindparam(name, value, type_=Text() if self.path else ARRAY(BigInteger), required=False, unique=name is None)
        if self.path is None:
            return column == any_(bound)
        return column.in_(select(func.json_each(bound).table_valued("value").c.value))

    def listed(self, numbers: Collection[int]) -> str | list[int]:
        """Numbers as the parameter of `among` takes them."""
        return list(numbers) if self.path is None else f"[{','.join(map(str, numbers))}]"

    def next_id(self, connection: Connection, table: Table) -> int:
        """The number of a table's next row.

        A catalog that is made anew on PostgreSQL gives none again that the one before it gave: other processes remember what
        these stand for.
        """
        return max(connection.scalar(select(func.max(table.c.id))) or 0, self._given.get(table.name, 0)) + 1

    def insert(self, connection: Connection, table: Table, rows: Sequence[tuple[object, ...]]) -> None:
        """Insert many rows at the driver's own speed; values stand in the order of the table's columns."""
        if self.path is not None:
            bulk.insert(connection, table.name, rows)
        elif rows:
            postgresql.copy(connection, table, rows)

    @contextmanager
    def hold(self, *, shared: bool, wait: float = 0.0) -> Iterator[None]:
        """Hold the archive: shared by all who add to it, exclusive for one who takes stray packs away.

        Args:
            shared: whether others may hold it shared as well.
            wait: seconds to wait for it.

        Raises:
            LockedError: if another process has it and keeps it that long.
        """
        with self._lock(postgresql.HOLD, "lock", shared=shared, wait=wait):
            yield

    @contextmanager
    def stay(self, wait: float = 0.0) -> Iterator[None]:
        """Keep the database from being made anew, once it is not, for which this waits some seconds.

        Raises:
            LockedError: if it is still being made anew then.
        """
        with self._lock(postgresql.STAY, "place.lock", shared=True, wait=wait):
            yield

    @contextmanager
    def compaction(self, wait: float = 0.0) -> Iterator[None]:
        """Be the only one who replaces packs.

        Raises:
            LockedError: if another process is, and still is after so many seconds.
        """
        with self._lock(postgresql.COMPACTION, "compaction.lock", shared=False, wait=wait):
            yield

    @contextmanager
    def retain(self, wait: float = 0.0) -> Iterator[None]:
        """Be the only one who decides which games expire and which are held.

        Raises:
            LockedError: if another process is at it, and still is after so many seconds.
        """
        with self._lock(postgresql.RETENTION, "retention.lock", shared=False, wait=wait):
            yield

    @contextmanager
    def _lock(self, number: int, ending: str, *, shared: bool, wait: float = 0.0) -> Iterator[None]:
        """One of the locks over more than one transaction: by its number on PostgreSQL, by its file beside SQLite's."""
        if self.path is not None:
            from gamearchive.files import FileLock

            with FileLock(self.path.with_name(f"{self.path.name}.{ending}"), shared=shared, timeout=wait):
                yield
            return
        with (
            self._translated(),
            self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
            postgresql.hold(connection, number, shared=shared, wait=wait, name=self.name),
        ):
            yield

    def size(self, connection: Connection) -> int:
        """What the tables take, in bytes; on SQLite, the file."""
        if self.path is not None:
            pages, page = (connection.execute(text(f"PRAGMA {name}")).scalar() or 0 for name in ("page_count", "page_size"))
            return int(pages * page)
        return postgresql.size(connection, metadata.tables)

    def check_pages(self) -> None:
        """Make sure that the file is sound throughout; PostgreSQL looks after its own.

        Raises:
            IntegrityError: if it is not.
        """
        if self.path is not None:
            with self._transaction("DEFERRED") as connection:
                said = connection.execute(text("PRAGMA quick_check(1)")).scalar()
            if said != "ok":
                raise faults.damaged(self.name, str(said))

    def decoding(self) -> AbstractContextManager[None]:
        """A block that makes values of rows: see `faults.decoding`."""
        return faults.decoding(self.name)

    def typed(self, rows: Sequence[R], columns: Iterable[Column[Any]]) -> Sequence[R]:
        """Rows as they are, made sure of on SQLite: see `faults.typed`."""
        return rows if self.path is None else faults.typed(rows, columns)

    def close(self) -> None:
        """Let go of all connections."""
        self.engine.dispose()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except exc.DBAPIError as error:
            raise faults.translated(error, self.name, self._busy_seconds) from error
        except exc.TimeoutError as error:
            raise DatabaseUnavailableError(f"No connection to {self.name} came free: {error}.") from error
