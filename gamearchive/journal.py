"""The journal: snapshots of games in play, so that they outlive their server.

Each game has one row, its latest snapshot, and each row belongs to one server, by name. A server writes its games behind, some
times a minute or a second, each time all that changed in one transaction (`Journal.flush`); killed and started again under the
same name, it gets them back whole, none older than the last flush that returned (`Journal.recover`). What a server that never
comes back has left, another may take over, once (`Journal.claim`). Who lives and who is dead: see `database.servers`.

A row goes when its game is deleted, and when the archive has the very bytes that are in it (`settle`, in the transaction that
names them in the catalog). So at any moment a game is here, in the archive, or in both, and a version that is newer than the
archived one stays.

Rows are written over in place, and the pages of those that go are used again: the database does not grow with time. All
methods block, and are for threads; one thread at a time for each journal.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from enum import IntEnum
from typing import Any, NamedTuple, TypeVar

import msgspec
from sqlalchemy import ColumnElement, Connection, bindparam, delete, func, select, tuple_, update

from gamearchive.database import bulk, processes, servers
from gamearchive.database.engine import Database
from gamearchive.database.records import cells, plain, record_of
from gamearchive.database.schema import servers as servers_table
from gamearchive.database.schema import snapshots
from gamearchive.database.servers import Lease, LivingError, Server
from gamearchive.errors import ConfigurationError, GameArchiveError, LeaseLostError, LockedError
from gamearchive.model import (
    ArchivalPriority,
    ArchivalTrigger,
    EntityKey,
    GameRecord,
    Handover,
    decode_id,
    encode_id,
    id_problem,
)

LEASE_SECONDS = 10.0
OPEN_WAIT_SECONDS = 15.0
"""How long a name is waited for: longer than its lease, should the holder have died where nobody can tell."""

_READ = 100
_POLL_SECONDS = 0.1

_OWNED = select(snapshots.c.entity_type, snapshots.c.entity_key, servers_table.c.name).join(
    servers_table, servers_table.c.id == snapshots.c.server_id
)
_GAME = (snapshots.c.entity_type == bindparam("type"), snapshots.c.entity_key == bindparam("key"))

T = TypeVar("T")


class State(IntEnum):
    """Where a game stands on its way to the archive."""

    IN_PLAY = 0
    HANDED_OVER = 1
    FAILED = 2


class Snapshot(msgspec.Struct, frozen=True, gc=False):
    """A game as it was at an instant.

    ``checksum`` is the payload's. A game that is handed over is to be archived; ``attempts`` counts how often that was tried
    in vain, ``error`` says why it was the last time, and ``failed`` that it will not be tried again by itself.
    """

    record: GameRecord
    checksum: bytes
    saved_at: int
    handover: Handover | None = None
    attempts: int = 0
    error: str | None = None
    failed: bool = False

    @property
    def key(self) -> EntityKey:
        """What the game is known by."""
        return EntityKey(self.record.entity_type, self.record.entity_id)

    @property
    def state(self) -> State:
        """Where it stands."""
        if self.handover is None:
            return State.IN_PLAY
        return State.FAILED if self.failed else State.HANDED_OVER


class Copy(NamedTuple):
    """A snapshot of whatever server's, and whether that server lives."""

    snapshot: Snapshot
    alive: bool


class ChangedError(LockedError):
    """A game's snapshot is another by now, or gone."""

    code = "changed"
    default_hint = "Try again in a moment."


class Failure(NamedTuple):
    """An attempt to archive a game that was in vain; the last one, if ``final``."""

    key: EntityKey
    error: str
    final: bool = False


class Count(NamedTuple):
    """How many games there are in a state, and when the oldest of their snapshots was taken."""

    games: int
    oldest: int


HandOver = Callable[[Connection, Sequence[Snapshot]], None]


class Journal:
    """One server's journal.

    Args:
        database: where the catalog is.
        server: the server's name: its own, and always the same.
        lease_seconds: how long after its last write another may take this server for dead. A server that has nothing to
            write calls `renew` some times within.
        hand_over: is given the snapshots of games that are handed over, in the transaction that writes them.

    Raises:
        ConfigurationError: if the name is none that a database can hold.
    """

    def __init__(
        self, database: Database, server: str, *, lease_seconds: float = LEASE_SECONDS, hand_over: HandOver | None = None
    ) -> None:
        if problem := id_problem(server):
            raise ConfigurationError(f"A server cannot be named {server!r}: {problem}.", hint="Give it a short, plain name.")
        self.database = database
        self.server = server
        self._seconds = lease_seconds
        self._hand_over = hand_over
        self._lease: Lease | None = None

    def open(self, wait: float = OPEN_WAIT_SECONDS) -> None:
        """Take the server's name, and make the tables if need be.

        Args:
            wait: seconds to wait for a name that may still be in use, and for a database that is being made anew.

        Raises:
            LockedError: if a living server has the name, or the database is still being made anew.
            DatabaseUnavailableError: if the database cannot be asked.
        """
        with self.database.stay(wait):
            self.database.create()
            for _ in range(round(wait / _POLL_SECONDS)):
                with suppress(LivingError):
                    self._take()
                    return
                time.sleep(_POLL_SECONDS)
            self._take()

    def _take(self) -> None:
        with self.database.write() as connection:
            lease = servers.take(connection, self.server, self._seconds)
        processes.remember(lease.token)
        self._lease = lease

    def close(self) -> None:
        """Give the name up at once. Games that are still in the journal stay there."""
        lease, self._lease = self._lease, None
        if lease is not None:
            processes.forget(lease.token)
            with self.database.write() as connection:
                servers.give_up(connection, lease)

    def flush(self, changed: Sequence[Snapshot], gone: Iterable[EntityKey] = ()) -> Mapping[EntityKey, str]:
        """Write snapshots, and take away those of games that are gone, all in one transaction; renews the lease.

        Args:
            changed: snapshots of some games; of two of one game the later is written.
            gone: games to take away; one that is in ``changed`` as well is written.

        Returns:
            Games that were not written because they are another server's, each with that server's name.

        Raises:
            LeaseLostError: if another process has taken these games over: nothing was written, and never will be.
            LockedError, DatabaseUnavailableError: if the database cannot be written now: nothing was.
        """
        with self._writing() as (connection, lease):
            rows = [{"type": key.entity_type, "key": encode_id(key.entity_id)} for key in gone]
            if rows:
                connection.execute(delete(snapshots).where(*_GAME, snapshots.c.server_id == lease.server_id), rows)
            latest = {snapshot.key: snapshot for snapshot in changed}
            made = (_row(snapshot, lease.server_id) for snapshot in latest.values())
            written = bulk.upsert(connection, snapshots, made, snapshots.c.server_id)
            foreign = {} if written == len(latest) else _others(connection, lease.server_id, list(latest))
            if self._hand_over is not None:
                own = [each for key, each in latest.items() if each.handover is not None and key not in foreign]
                self._hand_over(connection, own)
            return foreign

    def renew(self) -> None:
        """Renew the lease where there is nothing to write.

        Raises:
            LeaseLostError: see `flush`.
        """
        with self._writing():
            pass

    def note(self, failures: Iterable[Failure]) -> None:
        """Note attempts to archive games that were in vain, in the rows of those that are still handed over.

        Raises:
            LeaseLostError: see `flush`.
        """
        rows = [
            {
                "type": failure.key.entity_type,
                "key": encode_id(failure.key.entity_id),
                "said": plain(failure.error),
                "new": State.FAILED if failure.final else State.HANDED_OVER,
            }
            for failure in failures
        ]
        with self._writing() as (connection, lease):
            own = (*_GAME, snapshots.c.server_id == lease.server_id, snapshots.c.state > State.IN_PLAY)
            values = {"attempts": snapshots.c.attempts + 1, "error": bindparam("said"), "state": bindparam("new")}
            if rows:
                connection.execute(update(snapshots).where(*own).values(values), rows)

    def claim(self, server: str) -> list[EntityKey]:
        """Take over the games of a dead server, which can write no more from then on; one of several who try gets them.

        Returns:
            The games, to `read`.

        Raises:
            NotFoundError: if there is no such server, or another has claimed its games; LockedError: if it lives.
            LeaseLostError: see `flush`.
        """
        with self._writing() as (connection, lease):
            dead = servers.remove_dead(connection, server)
            theirs = snapshots.c.server_id == dead
            keys = connection.execute(select(snapshots.c.entity_type, snapshots.c.entity_key).where(theirs)).all()
            connection.execute(update(snapshots).where(theirs).values(server_id=lease.server_id))
        return [EntityKey(row.entity_type, decode_id(row.entity_key)) for row in keys]

    @contextmanager
    def _writing(self) -> Iterator[tuple[Connection, Lease]]:
        """A transaction in which the lease is ours."""
        lease = self._open_lease()
        try:
            with self.database.write() as connection:
                servers.renew(connection, lease, self._seconds)
                yield connection, lease
        except LeaseLostError:
            processes.forget(lease.token)
            raise

    def _open_lease(self) -> Lease:
        if self._lease is None:
            raise GameArchiveError(f"The journal of server {self.server!r} is not open.", hint="Call its `open` first.")
        return self._lease

    def recover(self) -> Iterator[Snapshot]:
        """All games of this server, in no order, in bounded memory, as they were when the first is taken."""
        own = snapshots.c.server_id == self._open_lease().server_id
        with self.database.read() as connection:
            # In the order in which they lie: by key it takes twice as long.
            found = connection.execution_options(yield_per=_READ).execute(select(snapshots).where(own))
            for rows in found.partitions():
                yield from map(_snapshot, rows)

    def read(self, keys: Sequence[EntityKey]) -> Iterator[Snapshot]:
        """Those of some games that are this server's, in no order, in bounded memory."""
        own = snapshots.c.server_id == self._open_lease().server_id
        for some in _parts(keys, _READ):
            with self.database.read() as connection:
                rows = connection.execute(select(snapshots).where(own, _any_of(some))).all()
            yield from map(_snapshot, rows)

    def left(self, keys: Sequence[EntityKey]) -> set[EntityKey]:
        """Those of some games that are still this server's, without reading them."""
        columns = select(snapshots.c.entity_type, snapshots.c.entity_key)
        columns = columns.where(snapshots.c.server_id == self._open_lease().server_id)
        found: set[EntityKey] = set()
        for some in _parts(keys, _READ):
            with self.database.read() as connection:
                rows = connection.execute(columns.where(_any_of(some))).all()
            found |= {EntityKey(row.entity_type, decode_id(row.entity_key)) for row in rows}
        return found

    def get(self, key: EntityKey) -> Snapshot | None:
        """One game of this server's; None if it is not there."""
        return next(self.read([key]), None)

    def counts(self) -> dict[State, Count]:
        """How many games of this server there are in each state; states without games are left out."""
        statement = select(snapshots.c.state, func.count(), func.min(snapshots.c.saved_at)).group_by(snapshots.c.state)
        with self.database.read() as connection:
            rows = connection.execute(statement.where(snapshots.c.server_id == self._open_lease().server_id)).all()
        return {State(state): Count(games, oldest) for state, games, oldest in rows}

    def servers(self) -> list[Server]:
        """All servers that live, or have left games behind, by name."""
        with self.database.read() as connection:
            return servers.listed(connection)


def settle(connection: Connection, archived: Iterable[tuple[EntityKey, bytes]]) -> None:
    """Take away the snapshots of games that are archived with these very checksums, whosever they are.

    For the transaction that names them in the catalog: see `Catalog.add`.
    """
    rows = [{"type": key.entity_type, "key": encode_id(key.entity_id), "digest": digest} for key, digest in archived]
    if rows:
        connection.execute(delete(snapshots).where(*_GAME, snapshots.c.checksum == bindparam("digest")), rows)


def find(database: Database, keys: Sequence[EntityKey]) -> dict[EntityKey, Copy]:
    """The latest snapshots of those of some games that are in the journal, whosever they are."""
    found: dict[EntityKey, Copy] = {}
    for some in _parts(keys, _READ):
        with database.read() as connection:
            living = servers.living(connection)
            for row in connection.execute(select(snapshots).where(_any_of(some))):
                snapshot = _snapshot(row)
                found[snapshot.key] = Copy(snapshot, row.server_id in living)
    return found


def settle_copies(connection: Connection, copies: Sequence[Copy]) -> None:
    """Take away the snapshots of dead servers that are archived now, and make sure that none has changed since.

    For the transaction that names them in the catalog.

    Raises:
        ChangedError: if one has.
    """
    for copy in copies:
        key = copy.snapshot.key
        values = {"type": key.entity_type, "key": encode_id(key.entity_id)}
        if connection.scalar(select(snapshots.c.checksum).where(*_GAME), values) != copy.snapshot.checksum:
            raise ChangedError(f"The game {key.entity_id!r} has gone on meanwhile.")
    settle(connection, [(copy.snapshot.key, copy.snapshot.checksum) for copy in copies if not copy.alive])


def _others(connection: Connection, server_id: int, keys: Sequence[EntityKey]) -> dict[EntityKey, str]:
    """Those of some games that are other servers', with the servers' names."""
    found: dict[EntityKey, str] = {}
    for some in _parts(keys, _READ):
        rows = connection.execute(_OWNED.where(_any_of(some), snapshots.c.server_id != server_id))
        found |= {EntityKey(row.entity_type, decode_id(row.entity_key)): row.name for row in rows}
    return found


def _any_of(keys: Sequence[EntityKey]) -> ColumnElement[bool]:
    pairs = [(encode_id(key.entity_id), key.entity_type) for key in keys]
    # SQLite takes no index for pairs beyond their first column, and so is told to take it for that.
    return snapshots.c.entity_key.in_([pair[0] for pair in pairs]) & tuple_(
        snapshots.c.entity_key, snapshots.c.entity_type
    ).in_(pairs)


def _parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _row(snapshot: Snapshot, server_id: int) -> tuple[object, ...]:
    """The row of a snapshot, in the order of the table's columns."""
    record, handover = snapshot.record, snapshot.handover
    sent = (handover.trigger.value, int(handover.priority), handover.policy, handover.at) if handover else (None,) * 4
    return (
        encode_id(record.entity_id), record.entity_type, server_id, int(snapshot.state), snapshot.saved_at, *sent,
        snapshot.attempts, plain(snapshot.error) if snapshot.error else None, snapshot.checksum, *cells(record),
    )  # fmt: skip


def _snapshot(row: Sequence[Any]) -> Snapshot:
    (
        key, entity_type, _, state, saved_at, trigger, priority, policy, handed_over_at,
        attempts, error, digest, content_type, facts, tags, payload,
    ) = row  # fmt: skip
    record = record_of(entity_type, key, content_type, facts, tags, payload)
    handover = None
    if state != State.IN_PLAY:
        handover = Handover(ArchivalTrigger(trigger), ArchivalPriority(priority), policy, handed_over_at)
    return Snapshot(record, digest, saved_at, handover, attempts, error, state == State.FAILED)
