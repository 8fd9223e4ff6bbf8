"""Many rows into a table of SQLite at once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from sqlalchemy import Connection

_PARAMETERS = 1_000  # of a statement


def insert(connection: Connection, into: str, rows: Sequence[tuple[object, ...]]) -> None:
    """Insert rows, many by each statement.

    After a statement the driver lets other threads have the interpreter, and where these are busy, to get it back takes longer
    than to insert a row: with a statement a row, archiving 100,000 games takes 6.9 s instead of 6.0 s.
    """
    if not rows:
        return
    row = f"({','.join('?' * len(rows[0]))})"
    several = max(1, _PARAMETERS // len(rows[0]))
    for start in range(0, len(rows), several):
        some = rows[start : start + several]
        places = ",".join([row] * len(some))
        connection.exec_driver_sql(f"INSERT INTO {into} VALUES {places}", tuple(chain.from_iterable(some)))  # noqa: S608
