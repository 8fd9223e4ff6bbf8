"""How a process learns at once that another has written what it waits for.

PostgreSQL tells those who LISTEN. SQLite is asked four times a second whether its file has changed, which reads one page of
memory that all its users share.
"""

from __future__ import annotations

import time
from math import ceil

from sqlalchemy import Connection, PoolProxiedConnection, text

from gamearchive.database.engine import Database
from gamearchive.errors import DatabaseUnavailableError

_POLL_SECONDS = 0.25


def announce(database: Database, connection: Connection) -> None:
    """Wake all who wait, once the transaction is committed."""
    if database.path is None:
        connection.execute(text("NOTIFY gamearchive_jobs"))


class Arrivals:
    """What one who waits has, on a connection of its own; for one thread at a time.

    Args:
        database: where that is written.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: PoolProxiedConnection | None = None
        self._seen = 0

    def wait(self, seconds: float) -> bool:
        """Wait until something may have arrived, at most so long; whether something may have.

        Something may always have before the first time.

        Raises:
            DatabaseUnavailableError: if the database cannot be asked. The next time asks it anew.
        """
        broken = self._database.engine.dialect.loaded_dbapi.Error
        try:
            if self._connection is None:
                self._connect()
                return True
            return self._has_changed(seconds) if self._database.path else self._is_told(seconds)
        except broken as error:
            self.close()
            raise DatabaseUnavailableError(f"The database {self._database.name} cannot do its work: {error}.") from error

    def close(self) -> None:
        """Let go of the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()  # it listens, or remembers: nothing that others are to come by

    def _connect(self) -> None:
        self._connection = self._database.engine.raw_connection()
        if self._database.path is None:
            self._connection.driver_connection.autocommit = True  # type: ignore[union-attr]
            self._connection.cursor().execute("LISTEN gamearchive_jobs")
        else:
            self._seen = self._version()

    def _is_told(self, seconds: float) -> bool:
        told = self._connection.driver_connection.notifies(timeout=seconds, stop_after=1)  # type: ignore[union-attr]
        return bool(list(told))

    def _has_changed(self, seconds: float) -> bool:
        for _ in range(ceil(seconds / _POLL_SECONDS)):
            time.sleep(min(seconds, _POLL_SECONDS))
            before, self._seen = self._seen, self._version()
            if self._seen != before:
                return True
        return False

    def _version(self) -> int:
        cursor = self._connection.cursor()  # type: ignore[union-attr]
        cursor.execute("PRAGMA data_version")
        return int(cursor.fetchone()[0])  # type: ignore[index]
