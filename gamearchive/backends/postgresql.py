"""Objects in tables of PostgreSQL, packs among them as rows: one for each game, so that SQL finds it, and reading it reads one.

Any server from PostgreSQL 14 on will do, without extensions. The tables (`gamearchive.backends.tables`) are made by the first
put, in the first schema of the search path, and may lie beside a catalog's. A partition that is empty is dropped by `sweep`,
which gives its room back to the disk at once.

What is no pack, or is encrypted, is one row, of which ranges are read.

A put is one transaction, which begins with the object's row: whoever puts the same key waits there. It commits to the server's
disk, whatever ``synchronous_commit`` says there. What a server that goes down and comes up again breaks off is tried again for
some seconds; what it refuses for good fails at once, and says what to do.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Row, TextClause, exc, text
from sqlalchemy.engine import make_url

from gamearchive.backends import tables
from gamearchive.backends.rows import PackName, PackRows, pack_name, take_apart
from gamearchive.database import postgresql
from gamearchive.errors import (
    ConfigurationError,
    IntegrityError,
    NotFoundError,
    SchemaError,
    StorageUnavailableError,
    UnsupportedError,
)
from gamearchive.packs.dictionary import Dictionary, dictionary_keys
from gamearchive.stores.base import Store, StoredObject, check_key

MAX_ROW_BYTES = 500 << 20
"""A game takes no more, compressed, nor does an object that is no pack: the server's answer is twice as long, and limited."""
BUSY_SECONDS = 60.0
"""How long a put waits for others that write the same."""
PAUSES = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
"""Seconds between the tries of what may pass by itself."""

_PAGE = 1000  # so many objects of a listing at a time
_ANY_KEY = re.compile(r"[A-Za-z0-9._/-]*")
_HOW_TO_NAME = (
    "Write postgresql://user@host/name, and behind a ? what else there is to say: queryable=true, or as libpq has it."
)
_CREDENTIALS = (
    "Give libpq the right user and password: in ~/.pgpass, PGPASSWORD or a service file; and see the server's pg_hba.conf."
)
_FATAL = {
    "57P03": re.compile("starting up|shutting down|recovery"),
    "53300": re.compile("too many|slots"),
    "3D000": re.compile("database .* does not exist"),
    "28000": re.compile(""),
}
_DAMAGED = ("XX001", "XX002")  # pages or parts of values that are not as they were written
_PASSING = ("08", "57P", "40", "53300", "55006")  # connections, restarts, deadlocks, too many clients
_HINTS = {
    "28": _CREDENTIALS,
    "3D": "Make the database with CREATE DATABASE, or name the right one with --storage.",
    "3F": "Make a schema for the tables, or say another search_path.",
    "42501": "Let this user make tables: GRANT USAGE, CREATE ON SCHEMA ...; the tables must be its own.",
    "42P01": "Put its tables back from a backup. If they are gone for good, begin with another database.",
    "53100": "Make room on the server's disk.",
    "25006": "Name the primary server, and not one that only reads.",
    "55P03": "See pg_locks for who holds them, and end that process.",
}

T = TypeVar("T")

_BEGIN_WRITING = text(
    "SELECT set_config('lock_timeout', :wait, true), "
    "CASE current_setting('synchronous_commit') WHEN 'off' THEN set_config('synchronous_commit', 'on', true) END"
)
_PUT_NEW = text(
    "INSERT INTO gamearchive_packs_objects (key, data_at, data) VALUES (:key, :data_at, :data) ON CONFLICT (key) DO NOTHING"
)
_PUT = text(
    "INSERT INTO gamearchive_packs_objects (key, data_at, data) VALUES (:key, :data_at, :data) "
    "ON CONFLICT (key) DO UPDATE SET data_at = excluded.data_at, data = excluded.data"
)
_SERVER = text("SELECT current_setting('server_version'), (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid())")
_SIZE = text("SELECT data_at + octet_length(data) FROM gamearchive_packs_objects WHERE key = :key")
_OBJECT = text("SELECT data_at, data_at + octet_length(data) FROM gamearchive_packs_objects WHERE key = :key")
_DATA = text("SELECT substring(data FROM :first FOR :length) FROM gamearchive_packs_objects WHERE key = :key")
_FRAME = text(
    "SELECT frame FROM gamearchive_packs_games WHERE pack = :pack AND packed_on = :packed_on AND entity_type = :entity_type "
    "AND frame_offset = :offset AND frame IS NOT NULL"
)
_FRAMES = text(
    "SELECT frame_offset, frame FROM gamearchive_packs_games WHERE pack = :pack AND packed_on = :packed_on "
    "AND entity_type = :entity_type AND frame_offset < :end AND frame_offset + octet_length(frame) > :offset "
    "ORDER BY frame_offset"
)
_DELETE = text("DELETE FROM gamearchive_packs_objects WHERE key = :key")
_DELETE_GAMES = text(
    "DELETE FROM gamearchive_packs_games WHERE pack = :pack AND packed_on = :packed_on AND entity_type = :entity_type"
)
_LIST = text(
    "SELECT key, data_at + octet_length(data) AS size FROM gamearchive_packs_objects "
    "WHERE key > :after AND key >= :prefix AND key < :end ORDER BY key LIMIT :page"
)


class _NoPartitionError(Exception):
    """There is no partition for packs of a day."""

    def __init__(self, day: date) -> None:
        super().__init__(day)
        self.day = day


class _NoDocumentError(Exception):
    """The server does not take some game's document."""


class PostgreSQLStore(Store):
    """A store in tables of a database.

    Args:
        url: the database, as ``postgresql://user@host/name``. Behind a ``?`` are parameters of libpq, and ``queryable=true``.
        queryable: whether games that are put have their documents beside their frames, with an index.

    Raises:
        ConfigurationError: if the URL is none of PostgreSQL, or its driver is not installed. The URL is not repeated: people
            put secrets into URLs.
    """

    def __init__(self, url: str, *, queryable: bool = False) -> None:
        where, said = _parse(url)
        self._queryable = queryable or said
        self._engine = postgresql.open_engine(where, BUSY_SECONDS)
        self._url = postgresql.shown(where)
        self._there = self._indexed = False
        self._dictionaries: dict[tuple[str, int], Dictionary] = {}

    @property
    def url(self) -> str:
        return self._url

    def put(self, key: str, data: bytes) -> None:
        self._store(_PUT, key, data)

    def put_new(self, key: str, data: bytes) -> bool:
        return self._store(_PUT_NEW, key, data)

    def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        name = pack_name(check_key(key))
        if not self._is_there():
            raise self._not_there(key)
        if name is not None and length:
            frame = self._run("read", key, lambda connection: connection.scalar(_FRAME, {**name._asdict(), "offset": offset}))
            if frame is not None and len(frame) == length:
                return bytes(frame)
        return self._run(
            "read", key, lambda connection: self._range(connection, key, name, offset, length), isolation="REPEATABLE READ"
        )

    def size(self, key: str) -> int | None:
        check_key(key)
        if not self._is_there():
            return None
        found: int | None = self._run("look at", key, lambda connection: connection.scalar(_SIZE, {"key": key}))
        return found

    def delete(self, key: str) -> bool:
        name = pack_name(check_key(key))

        def delete(connection: Connection) -> bool:
            if not connection.execute(_DELETE, {"key": key}).rowcount:
                return False
            if name is not None:
                connection.execute(_DELETE_GAMES, name._asdict())
            return True

        return self._is_there() and self._write("delete", key, delete)

    def delete_many(self, keys: Iterable[str]) -> Mapping[str, str]:
        left = iter(sorted(map(check_key, keys)))  # two that delete the same wait for each other, and not each for the other
        while self._is_there() and (some := list(islice(left, _PAGE))):
            self._write("delete", f"{len(some)} objects", partial(_delete_many, keys=some))
        return {}

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        if not _ANY_KEY.fullmatch(prefix) or not self._is_there():
            return
        after: str | None = ""
        while after is not None:
            # Every character of a key comes before ~, and so does every key that begins with the prefix.
            page = {"after": after, "prefix": prefix, "end": f"{prefix}~", "page": _PAGE}
            rows = self._run("list", prefix, partial(_rows, page=page))
            yield from (StoredObject(row.key, row.size) for row in rows)
            after = rows[-1].key if len(rows) == _PAGE else None

    def describe(self, key: str) -> Mapping[str, str]:  # noqa: ARG002 - the server tells as much without an object
        version, encrypted = self._run("look at", "the server", lambda connection: tuple(connection.execute(_SERVER).one()))
        return {
            "server": f"PostgreSQL {version}",
            "documents": "queryable" if self._queryable else "not queryable",
            "connection": "encrypted" if encrypted else "not encrypted, which is well on one machine alone",
        }

    def sweep(self) -> int:
        """Drop the partitions that are empty. A writer that died has left nothing: its transaction is undone."""
        if self._is_there():
            for month in self._run("look through", "partitions", tables.empty_months):
                with suppress(StorageUnavailableError):  # whoever is in the way now need not be the next time
                    drop = partial(tables.drop_partition, month=month)
                    self._write("drop", "a partition", drop, wait=0.1)  # everybody else waits behind it
        return 0

    def close(self) -> None:
        self._engine.dispose()

    def _store(self, statement: TextClause, key: str, data: bytes) -> bool:
        """Put an object by one of the two statements; whether that stored it."""
        pack = take_apart(check_key(key), data, self._dictionary if self._queryable else None)
        rows = [data] if pack is None else [pack.rest, *(game.frame for game in pack.games if game.frame)]
        if max(map(len, rows)) > MAX_ROW_BYTES:
            raise UnsupportedError(
                f"{key} does not go into {self.url}: PostgreSQL takes {MAX_ROW_BYTES >> 20} MiB of a game at most, compressed.",
                hint="Keep games of this size in files or on S3.",
            )
        self._make()
        while True:
            try:
                return self._write("store", key, partial(_put, statement=statement, key=key, data=data, pack=pack))
            except _NoPartitionError as missing:
                self._write("make room for", key, partial(tables.make_partition, day=missing.day))
            except _NoDocumentError:
                pack = take_apart(key, data, None)

    def _range(self, connection: Connection, key: str, name: PackName | None, offset: int, length: int | None) -> bytes:
        """A range of an object, put together from whatever rows it lies in."""
        found = connection.execute(_OBJECT, {"key": key}).first()
        if found is None:
            raise self._not_there(key)
        rest_at, size = found
        end = size if length is None else offset + length
        if not 0 <= offset <= end <= size:
            raise IntegrityError(f"{key} in {self.url} has {size} bytes, and bytes {offset} to {end} were asked for.")
        pieces: list[bytes] = []
        at = offset
        if offset < rest_at and name is not None:
            for frame_at, frame in connection.execute(_FRAMES, {**name._asdict(), "offset": offset, "end": end}):
                if frame_at > at or (pieces and frame_at < at):
                    break
                pieces.append(frame[at - frame_at : end - frame_at])
                at += len(pieces[-1])
        if at < min(rest_at, end):
            raise IntegrityError(f"{key} in {self.url} is damaged: a row of its games is missing at byte {at}, or is another.")
        if at < end:
            where = {"key": key, "first": at - rest_at + 1, "length": end - at}
            pieces.append(connection.scalar(_DATA, where) or b"")
        return b"".join(pieces)

    def _dictionary(self, entity_type: str, number: int) -> Dictionary | None:
        """A dictionary of this store's own, from whichever of its copies is good."""
        for key in dictionary_keys(entity_type, number):
            with suppress(NotFoundError, IntegrityError):
                if (entity_type, number) not in self._dictionaries:
                    self._dictionaries[entity_type, number] = Dictionary.from_bytes(key, self.get(key))
        return self._dictionaries.get((entity_type, number))

    def _is_there(self) -> bool:
        """Whether the tables are there; where they are not, nothing was put yet.

        Raises:
            SchemaError: if they are of another version.
        """
        if not self._there:
            version = self._run("look at", "tables", tables.version)
            if version not in (None, tables.VERSION):
                raise SchemaError(
                    f"The packs in {self.url} are in tables of version {version}, and this program knows {tables.VERSION}."
                )
            self._there = version is not None
        return self._there

    def _make(self) -> None:
        """Make the tables, and the index of documents, unless they are there."""
        if not self._is_there() or (self._queryable and not self._indexed):
            self._write("make", "tables", partial(tables.make, queryable=self._queryable))
            self._indexed = self._queryable
            self._is_there()

    def _write(self, action: str, what: str, call: Callable[[Connection], T], *, wait: float = BUSY_SECONDS) -> T:
        """Run a transaction that writes, and waits so many seconds for others at most."""

        def begun(connection: Connection) -> T:
            connection.execute(_BEGIN_WRITING, {"wait": f"{wait * 1000:.0f}"})
            return call(connection)

        return self._run(action, what, begun, isolation="READ COMMITTED")

    def _run(self, action: str, what: str, call: Callable[[Connection], T], *, isolation: str = "AUTOCOMMIT") -> T:
        """Run a call in a transaction, and again where it was broken off by what may pass by itself."""
        pauses = iter(PAUSES)
        while True:
            try:
                with self._engine.connect() as connection:
                    connection.execution_options(isolation_level=isolation)
                    with connection.begin():
                        return call(connection)
            except exc.DBAPIError as error:
                pause = next(pauses, None) if _may_pass(error) else None
                if pause is None:
                    raise self._explained(error, action, what) from error
            except exc.TimeoutError as error:
                raise StorageUnavailableError(f"No connection to {self.url} came free.") from error
            time.sleep(pause)

    def _explained(self, error: exc.DBAPIError, action: str, what: str) -> Exception:
        """An error of the server as one of a store; itself where it is a bug."""
        said, state = _said(error), _state(error)
        if state == "42P01":
            self._there = False
        if state in _DAMAGED:
            return IntegrityError(f"{what} in {self.url} is damaged: {said}.")
        hint = next((_HINTS[start] for start in (state, state[:2]) if start in _HINTS), None)
        if hint or isinstance(error, exc.OperationalError | exc.InterfaceError | exc.InternalError):
            return StorageUnavailableError(f"{self.url} could not {action} {what}: {said}.", hint=hint)
        return error

    def _not_there(self, key: str) -> NotFoundError:
        return NotFoundError(f"There is no object {key} in {self.url}")


def _rows(connection: Connection, *, page: Mapping[str, object]) -> Sequence[Row[Any]]:
    return connection.execute(_LIST, page).all()


def _delete_many(connection: Connection, *, keys: Sequence[str]) -> None:
    connection.execute(_DELETE, [{"key": key} for key in keys])
    names = [name._asdict() for name in map(pack_name, keys) if name]
    if names:
        connection.execute(_DELETE_GAMES, names)


def _put(connection: Connection, *, statement: TextClause, key: str, data: bytes, pack: PackRows | None) -> bool:
    if pack is not None and not tables.has_partition(connection, pack.name.packed_on):
        raise _NoPartitionError(pack.name.packed_on)
    rest = data if pack is None else pack.rest
    if not connection.execute(statement, {"key": key, "data_at": len(data) - len(rest), "data": rest}).rowcount:
        return False
    name = pack_name(key)
    if name is not None:
        connection.execute(_DELETE_GAMES, name._asdict())
    if pack is not None:
        try:
            postgresql.copy(connection, tables.games, pack.games)
        except exc.DBAPIError as error:
            if _state(error)[:2] in ("22", "54") and any(game.document for game in pack.games):
                raise _NoDocumentError from error
            raise
    return True


def _parse(url: str) -> tuple[URL, bool]:
    """A URL without what is ours in it, and whether that says ``queryable=true``."""
    try:
        where = make_url(url)
    except (exc.ArgumentError, ValueError):
        raise ConfigurationError("The storage's address is not a URL.", hint=_HOW_TO_NAME) from None
    queryable = where.query.get("queryable", "false")
    if where.drivername not in postgresql.DRIVERS or queryable not in ("true", "false"):
        raise ConfigurationError("The storage's URL is not one of PostgreSQL.", hint=_HOW_TO_NAME)
    return where.set(drivername=postgresql.DRIVERS[0]).difference_update_query(["queryable"]), queryable == "true"


def _state(error: exc.DBAPIError) -> str:
    """The code of what the server says (PostgreSQL's appendix A); nothing where nobody said anything."""
    code = getattr(error.orig, "sqlstate", None)
    if code is None and "FATAL" in str(error.orig):  # it let nobody in, and then the driver does not know the code
        return next((code for code, words in _FATAL.items() if words.search(str(error.orig))), "")
    return code or ""


def _said(error: exc.DBAPIError) -> str:
    return (str(error.orig).strip() or type(error.orig).__name__).splitlines()[0].rstrip(".")


def _may_pass(error: exc.DBAPIError) -> bool:
    """Whether trying again may help: the server goes down, or comes up, or is not there, or somebody was in the way."""
    state = _state(error)
    return state.startswith(_PASSING) if state else isinstance(error, exc.OperationalError) or error.connection_invalidated
