"""How a SQLite database is opened: with a write-ahead log, durable, and as it lies where nothing can be written.

Readers of a write-ahead log share an index beside the database and may have to make it. In a folder that they may not write,
on a read-only file system and on a full one, SQLite therefore refuses even to read. Where there is no log, nobody is writing
and the file says all: then it is opened as one that does not change.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from sqlalchemy import URL, Connection, Dialect, Engine, PoolProxiedConnection, create_engine, event, exc
from sqlalchemy.pool import ConnectionPoolEntry

from gamearchive.database.players import plays

BEGIN = "gamearchive_begin"
"""The execution option that says how a transaction begins: ``DEFERRED`` (if absent) or ``IMMEDIATE``."""

EDITION = "gamearchive_edition"
"""What a connection's ``info`` has of its database: a number that is another one for each that took another's place."""

_PAUSE_SECONDS = 0.01
_LONG_LOG_BYTES = 16 << 20
_SETTINGS = ("journal_mode=WAL", "synchronous=FULL", "cache_size=-32768", "temp_store=MEMORY")


def open_engine(url: URL, busy_seconds: float) -> Engine:
    """The engine of a database in a file; it is opened when it is first used.

    Args:
        url: where it is.
        busy_seconds: how long a statement waits for another's transaction.
    """
    engine = create_engine(url, connect_args={"timeout": busy_seconds})
    event.listen(engine, "do_connect", _connect)
    event.listen(engine, "checkout", _make_sure)
    event.listen(engine, "begin", _begin)
    return engine


def database_files(path: Path) -> list[Path]:
    """What a database consists of: the file first, then its journals."""
    return [path.with_name(path.name + end) for end in ("", "-wal", "-shm")]


def shorten_log(engine: Engine, path: Path) -> bool:
    """Cut the write-ahead log off where it has grown long, if nobody is in the way just now; whether it is short.

    What is in the log is written into the file as it grows, but for that no writer is held up, and so it may grow on.
    """
    if not _has_log(path) or database_files(path)[1].stat().st_size < _LONG_LOG_BYTES:
        return True
    connection = engine.raw_connection()
    try:
        connection.cursor().execute("PRAGMA busy_timeout = 0")
        return not connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    finally:
        connection.invalidate()  # the others are to wait as long as ever


def number(engine: Engine) -> None:
    """Have a new database be another edition than the one whose place it will take: none of its rows' numbers stand for what
    they stood for there."""
    with engine.begin() as connection:
        connection.exec_driver_sql(f"PRAGMA user_version = {1 + secrets.randbits(30)}")


def name_aside(path: Path) -> Path:
    """A name beside a database, free for a damaged one to be kept under."""
    names = (path.with_name(f"{path.name}.damaged{f'-{number}' if number > 1 else ''}") for number in count(1))
    return next(name for name in names if not name.exists())


def _connect(_: Dialect, entry: ConnectionPoolEntry, arguments: list[str], parameters: dict[str, float]) -> sqlite3.Connection:
    path = Path(arguments[0])
    entry.info.update(path=path, file=_identity(path))
    try:
        return _open(entry, str(path), _SETTINGS, timeout=parameters["timeout"])
    except sqlite3.OperationalError as error:
        code = error.sqlite_errorcode
        refused = code & 0xFF in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY) or code == sqlite3.SQLITE_IOERR_SHMSIZE
        if not refused or not path.is_file() or _has_log(path):
            raise
    return _open(entry, f"{path.absolute().as_uri()}?mode=ro&immutable=1", _SETTINGS[1:], timeout=parameters["timeout"])


def _make_sure(_: sqlite3.Connection, entry: ConnectionPoolEntry, __: PoolProxiedConnection) -> None:
    """Open a connection anew where another file has taken the place of the one that it is to, as `Database.anew` has it."""
    there = _identity(entry.info["path"])
    if there is not None and there != entry.info["file"]:
        raise exc.DisconnectionError("The database is another file now.")


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells a file from others that have its name one after another; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _has_log(path: Path) -> bool:
    log = database_files(path)[1]
    return log.exists() and log.stat().st_size > 0


def _open(entry: ConnectionPoolEntry, database: str, settings: Sequence[str], *, timeout: float) -> sqlite3.Connection:
    # The pool hands a connection from thread to thread, to one at a time.
    connection = sqlite3.connect(database, timeout=timeout, check_same_thread=False, uri=database.startswith("file:"))
    try:
        # The driver's own transaction control begins too late (DEFERRED, at the first write): _begin does it instead.
        connection.isolation_level = None
        connection.create_function("plays", 2, plays, deterministic=True)
        for setting in settings:
            _set(connection, setting, timeout)
        (entry.info[EDITION],) = connection.execute("PRAGMA user_version").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _set(connection: sqlite3.Connection, setting: str, timeout: float) -> None:
    """Make a setting. To begin a write-ahead log SQLite needs the file for itself, and does not wait for it: so we do."""
    for attempt in count(1):
        try:
            connection.execute(f"PRAGMA {setting}").close()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or attempt * _PAUSE_SECONDS > timeout:
                raise
            time.sleep(_PAUSE_SECONDS)
        else:
            return


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get(BEGIN, 'DEFERRED')}")
