"""Game servers that keep a journal in the database: who lives, and whose games are whose.

A server has its name by a *lease*, which it renews whenever it writes. It is dead once the lease has run out, or at once where
it was a process of this very machine and that process is gone. Each opening gives the name a new token, and every write of a
server's is made in a transaction that checks the token before: so a process that was taken for dead, and wakes up, can write
nothing any more, and being wrong about the living costs no game.

Leases run by the database's clock, one for all: PostgreSQL's own, or that of the only machine that opens an SQLite file. Where
it is set forward, leases run out early, until they are next renewed; set back, that of a dead server on another machine lasts
the longer.
"""

from __future__ import annotations

import secrets
from typing import NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Connection, Row, delete, func, insert, literal_column, select, update

from gamearchive.database import processes
from gamearchive.database.processes import Process
from gamearchive.database.schema import servers, snapshots
from gamearchive.errors import LeaseLostError, LockedError, NotFoundError

_NOW = {
    "sqlite": literal_column("CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)", BigInteger),
    # Not now(): that is when the transaction began, and it may have waited for its turn since.
    "postgresql": literal_column("CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)", BigInteger),
}


class LivingError(LockedError):
    """A server lives that would have to be dead."""

    default_hint = "Stop it first. If it is dead already, its lease runs out in a moment."


class Lease(NamedTuple):
    """What a server writes by: the number of its row, and the token that it must still have."""

    name: str
    server_id: int
    token: int


class Server(NamedTuple):
    """A server that lives, or has left games behind. Instants are microseconds since the epoch, by the database's clock."""

    name: str
    host: str
    pid: int
    started_at: int
    lease_until: int
    alive: bool
    games: int


def take(connection: Connection, name: str, seconds: float) -> Lease:
    """Take a name, new or a dead server's, with a lease of so many seconds.

    Raises:
        LivingError: if a living server has it.
    """
    found = _find(connection, name)
    if found is not None and _lives(connection, found):
        raise _living(found)
    now, token = _now(connection), secrets.randbits(62)
    here = processes.this_process()
    holder = {"token": token, **here._asdict(), "started_at": now, "lease_until": now + _micros(seconds)}
    if found is None:
        last = connection.scalar(select(func.max(servers.c.id))) or 0
        connection.execute(insert(servers).values(id=last + 1, name=name, **holder))
        return Lease(name, last + 1, token)
    connection.execute(update(servers).where(servers.c.id == found.id).values(holder))
    return Lease(name, found.id, token)


def renew(connection: Connection, lease: Lease, seconds: float) -> None:
    """Make sure that a lease is still its holder's, and extend it to so many seconds from now.

    Raises:
        LeaseLostError: if another has taken its name or its games.
    """
    until = _NOW[connection.dialect.name] + _micros(seconds)
    if not connection.execute(update(servers).where(*_is(lease)).values(lease_until=until)).rowcount:
        raise LeaseLostError(f"The games of server {lease.name!r} have been taken over by another process.")


def give_up(connection: Connection, lease: Lease) -> None:
    """End a lease. A server that leaves no games leaves nothing."""
    if connection.scalar(select(snapshots.c.server_id).where(snapshots.c.server_id == lease.server_id).limit(1)) is None:
        connection.execute(delete(servers).where(*_is(lease)))
    else:
        connection.execute(update(servers).where(*_is(lease)).values(lease_until=0))


def remove_dead(connection: Connection, name: str) -> int:
    """Strike a dead server from the list, so that it can write no more; the number that it had.

    Raises:
        NotFoundError: if there is no such server; LivingError: if it lives.
    """
    found = _find(connection, name)
    if found is None:
        raise NotFoundError(f"There is no server {name!r} that has left games behind.", hint="Another may have claimed them.")
    if _lives(connection, found):
        raise _living(found)
    connection.execute(delete(servers).where(servers.c.id == found.id))
    return int(found.id)


def fence(connection: Connection) -> None:
    """Keep every server that is dead from writing should it wake; its name and its games stay.

    Raises:
        LivingError: if one lives.
    """
    for row in connection.execute(select(servers)).all():
        if _lives(connection, row):
            raise _living(row)
        connection.execute(update(servers).where(servers.c.id == row.id).values(token=secrets.randbits(62)))


def listed(connection: Connection) -> list[Server]:
    """All servers, by name."""
    counted = connection.execute(select(snapshots.c.server_id, func.count()).group_by(snapshots.c.server_id)).all()
    games: dict[int, int] = {row[0]: row[1] for row in counted}
    return [
        Server(row.name, row.host, row.pid, row.started_at, row.lease_until, _lives(connection, row), games.get(row.id, 0))
        for row in connection.execute(select(servers).order_by(servers.c.name)).all()
    ]


def living(connection: Connection) -> set[int]:
    """The numbers of those servers that live."""
    return {row.id for row in connection.execute(select(servers)).all() if _lives(connection, row)}


def _find(connection: Connection, name: str) -> Row[tuple[object, ...]] | None:
    return connection.execute(select(servers).where(servers.c.name == name)).first()


def _is(lease: Lease) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return servers.c.id == lease.server_id, servers.c.token == lease.token


def _lives(connection: Connection, row: Row[tuple[object, ...]]) -> bool:
    return not Process(row.host, row.boot, row.pid).is_gone(row.token) and bool(row.lease_until > _now(connection))


def _living(row: Row[tuple[object, ...]]) -> LivingError:
    return LivingError(f"The server {row.name!r} lives: it is process {row.pid} on {row.host}.")


def _now(connection: Connection) -> int:
    return int(connection.scalar(select(_NOW[connection.dialect.name])) or 0)


def _micros(seconds: float) -> int:
    return round(seconds * 1_000_000)
