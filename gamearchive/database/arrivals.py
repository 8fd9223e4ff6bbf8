"""How a process learns at once that another has written what it waits for.

PostgreSQL tells those who LISTEN. SQLite is asked four times a second whether its file has changed, which reads one page of
memory that all its users share.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from sqlalchemy import Connection, PoolProxiedConnection, text

from gamearchive.database.engine import Database
from gamearchive.errors import DatabaseUnavailableError

_POLL_SECONDS = 0.25


def announce(database: Database, connection: Connection) -> None:
    """Wake all who wait, once the transaction is committed."""
    if database.path is None:
        connection.execute(text("NOTIFY gamearchive_jobs"))


class Arrivals:
    """What one who waits has, on a connection of its own; one thread waits at a time, and another may close it meanwhile.

    Args:
        database: where that is written.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._using = threading.Lock()  # a connection of SQLite's that is closed while it is used takes the process with it
        self._connection: PoolProxiedConnection | None = None
        self._seen = 0
        self.closed = False

    def wait(self, seconds: float) -> bool:
        """Wait until something may have arrived, at most so long, or until it is closed; whether something may have.

        Something may always have before the first time.

        Raises:
            DatabaseUnavailableError: if the database cannot be asked. The next time asks it anew.
        """
        broken = self._database.engine.dialect.loaded_dbapi.Error
        looks = self._has_changed if self._database.path else self._is_told
        with self._using:
            try:
                if self._connection is None:
                    return self._connect()
                return any(looks(part) for part in self._parts(seconds))
            except broken as error:
                self._let_go()
                raise DatabaseUnavailableError(f"The database {self._database.name} cannot do its work: {error}.") from error

    def close(self) -> None:
        """Let go of the connection, as soon as nobody uses it; nothing arrives any more."""
        self.closed = True
        with self._using:
            self._let_go()

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()  # it listens, or remembers: nothing that others are to come by

    def _parts(self, seconds: float) -> Iterator[float]:
        """A time in parts, after each of which it is seen whether to go on."""
        while seconds > 0 and not self.closed:
            yield min(seconds, _POLL_SECONDS)
            seconds -= _POLL_SECONDS

    def _connect(self) -> bool:
        if self.closed:
            return False
        self._connection = self._database.engine.raw_connection()
        if self._database.path is None:
            self._connection.driver_connection.autocommit = True  # type: ignore[union-attr]
            self._connection.cursor().execute("LISTEN gamearchive_jobs")
        else:
            self._seen = self._version()
        return True

    def _is_told(self, seconds: float) -> bool:
        told = self._connection.driver_connection.notifies(timeout=seconds, stop_after=1)  # type: ignore[union-attr]
        return bool(list(told))

    def _has_changed(self, seconds: float) -> bool:
        time.sleep(seconds)
        before, self._seen = self._seen, self._version()
        return self._seen != before

    def _version(self) -> int:
        cursor = self._connection.cursor()  # type: ignore[union-attr]
        cursor.execute("PRAGMA data_version")
        return int(cursor.fetchone()[0])  # type: ignore[index]
