"""Periodic duties of daemons: who does one, when it was begun last, and where it goes on.

A duty is claimed by a worker's name. Nobody else begins it while that worker has its row in ``workers``, which it loses when it
is taken for dead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select, update

from gamearchive.database.schema import duties, workers


class Claim(NamedTuple):
    """A duty that is to be done now, and where it goes on; None: from the start."""

    name: str
    worker: str
    position: str | None


def claim(connection: Connection, name: str, worker: str, now: int, due: Callable[[int | None], bool]) -> Claim | None:
    """Claim a duty, if it is due and nobody is at it.

    Args:
        connection: in a transaction that no other writer overlaps.
        name: the duty's.
        worker: the worker's name.
        now: the present instant, microseconds since the epoch.
        due: whether it is, by when it was begun last.
    """
    last = connection.execute(select(duties).where(duties.c.name == name)).first()
    if not due(None if last is None else last.began_at):
        return None
    if last is not None and last.worker is not None:
        living = select(workers.c.id).where(workers.c.name == last.worker)
        if last.worker != worker and connection.execute(living).first() is not None:
            return None
    position = None if last is None else last.position
    connection.execute(delete(duties).where(duties.c.name == name))
    connection.execute(insert(duties).values(name=name, worker=worker, began_at=now, position=position))
    return Claim(name, worker, position)


def last(connection: Connection, name: str) -> int | None:
    """When something was begun last; None if never."""
    return connection.scalar(select(duties.c.began_at).where(duties.c.name == name))


def note(connection: Connection, name: str, now: int) -> None:
    """Note that something is begun now, which nobody claims."""
    connection.execute(delete(duties).where(duties.c.name == name))
    connection.execute(insert(duties).values(name=name, worker=None, began_at=now, position=None))


def finish(connection: Connection, claimed: Claim, position: str | None) -> None:
    """Note that a run is over, and where the next one goes on."""
    mine = (duties.c.name == claimed.name) & (duties.c.worker == claimed.worker)
    connection.execute(update(duties).where(mine).values(worker=None, position=position))
