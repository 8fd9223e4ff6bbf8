"""The tables of packs in PostgreSQL: made, partitioned by month, and the partitions that are empty dropped.

``gamearchive_packs_objects``
    A row for each object: its key, and its bytes from the byte ``data_at`` on, which is 0 but for a pack that was taken apart:
    of that they are the rest (see `gamearchive.backends.rows`).
``gamearchive_packs_games``
    A row for each game in these packs: which it is, when it was archived, where it lies, its frame, and its document. A pack's
    key is ``entity_type/packed_on/pack.zst``. Partitioned by the month of ``packed_on``, the day in the key.
``gamearchive_packs_version``
    One row: the version of these tables.

A partition is made when a pack needs it. Whether it is there is found out under a lock on the partitioned table that the
transaction keeps; to drop one, a lock is taken that lets nobody else have theirs.
"""

from __future__ import annotations

import re
from datetime import date, timedelta

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Date,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    Uuid,
    insert,
    text,
)  # fmt: skip
from sqlalchemy.dialects.postgresql import JSONB

from gamearchive.database import postgresql
from gamearchive.errors import ConfigurationError

VERSION = 1

_LOCK_SHARED = text("LOCK TABLE ONLY gamearchive_packs_games IN ROW EXCLUSIVE MODE")
_LOCK_ALONE = text("LOCK TABLE ONLY gamearchive_packs_games IN ACCESS EXCLUSIVE MODE")
_EXTERNAL_DATA = text("ALTER TABLE gamearchive_packs_objects ALTER COLUMN data SET STORAGE EXTERNAL")
_EXTERNAL_FRAME = text("ALTER TABLE gamearchive_packs_games ALTER COLUMN frame SET STORAGE EXTERNAL")
_INDEX_DOCUMENTS = text(
    "CREATE INDEX gamearchive_packs_games_document ON gamearchive_packs_games USING gin (document jsonb_path_ops)"
)
# Not by to_regclass, which may remember that there was none before somebody else made it.
_ENCODING = text("SELECT current_setting('server_encoding')")
_IS_THERE = text("SELECT EXISTS (SELECT FROM pg_class WHERE relname = :name AND pg_table_is_visible(oid))")
_VERSION = text("SELECT version FROM gamearchive_packs_version")
_PARTITIONS = text(
    "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid "
    "WHERE inhparent = to_regclass('gamearchive_packs_games')"
)
_IS_EMPTY = text("SELECT NOT EXISTS (SELECT FROM gamearchive_packs_games WHERE packed_on >= :first AND packed_on < :after)")
_MONTH = re.compile(r"gamearchive_packs_games_(\d{4})_(\d\d)")

_metadata = MetaData()
_objects = Table(
    "gamearchive_packs_objects",
    _metadata,
    Column("key", Text(collation="C"), primary_key=True),
    Column("data_at", BigInteger, nullable=False),
    Column("data", LargeBinary, nullable=False),
)
games = Table(  # in the order of GameRow, which wastes no bytes on alignment
    "gamearchive_packs_games",
    _metadata,
    Column("archived_at", DateTime(timezone=True), nullable=False),
    Column("frame_offset", BigInteger),
    Column("packed_on", Date),
    Column("position", Integer),
    Column("revision", Integer, nullable=False),
    Column("pack", Uuid),
    Column("entity_type", Text(collation="C"), nullable=False),
    Column("entity_id", Text(collation="C"), nullable=False),
    Column("frame", LargeBinary),
    Column("document", JSONB),
    PrimaryKeyConstraint("pack", "frame_offset", "position", "packed_on"),
    postgresql_partition_by="RANGE (packed_on)",
)
Index("gamearchive_packs_games_entity", games.c.entity_id, games.c.entity_type)
_versions = Table("gamearchive_packs_version", _metadata, Column("version", Integer, nullable=False))


def version(connection: Connection) -> int | None:
    """The version of the tables; None where there are none."""
    if not connection.scalar(_IS_THERE, {"name": _versions.name}):
        return None
    found: int | None = connection.scalar(_VERSION)
    return found


def make(connection: Connection, *, queryable: bool) -> None:
    """Make the tables, if they are not there, and the index of documents if they are to be ``queryable``.

    Raises:
        ConfigurationError: if the database is not one of UTF-8.
    """
    postgresql.lock(connection, postgresql.PACKS)
    if version(connection) is None:
        if connection.scalar(_ENCODING) != "UTF8":
            raise ConfigurationError(
                "The storage's database is not one of UTF-8, and cannot hold the ids of all games.",
                hint="Make another with CREATE DATABASE name ENCODING 'UTF8' TEMPLATE template0, and name it with --storage.",
            )
        _metadata.create_all(connection, checkfirst=False)
        connection.execute(_EXTERNAL_DATA)
        connection.execute(_EXTERNAL_FRAME)
        connection.execute(insert(_versions).values(version=VERSION))
    if queryable and not connection.scalar(_IS_THERE, {"name": "gamearchive_packs_games_document"}):
        connection.execute(_INDEX_DOCUMENTS)


def has_partition(connection: Connection, day: date) -> bool:
    """Whether packs of a day have a partition, which stays then until the transaction is over."""
    connection.execute(_LOCK_SHARED)
    return bool(connection.scalar(_IS_THERE, {"name": _partition(day)}))


def make_partition(connection: Connection, day: date) -> None:
    """Make the partition for packs of a day, if it is not there: in a transaction of its own, that is soon over."""
    postgresql.lock(connection, postgresql.PACKS)
    name, (first, after) = _partition(day), _bounds(day)
    if not connection.scalar(_IS_THERE, {"name": name}):
        # Attached, and not made as a part at once: that would wait for whoever reads or writes any of the others.
        connection.execute(text(f"CREATE TABLE {name} (LIKE gamearchive_packs_games INCLUDING STORAGE)"))
        bounds = f"FOR VALUES FROM ('{first}') TO ('{after}')"
        connection.execute(text(f"ALTER TABLE gamearchive_packs_games ATTACH PARTITION {name} {bounds}"))


def empty_months(connection: Connection) -> list[date]:
    """The first days of the months whose partitions are empty."""
    found = [_MONTH.fullmatch(name) for name in connection.scalars(_PARTITIONS)]
    months = [date(int(each[1]), int(each[2]), 1) for each in found if each]
    return [month for month in months if _is_empty(connection, month)]


def drop_partition(connection: Connection, month: date) -> None:
    """Drop a month's partition, unless somebody has put something into it meanwhile."""
    connection.execute(_LOCK_ALONE)
    if _is_empty(connection, month):
        connection.execute(text(f"DROP TABLE {_partition(month)}"))


def _is_empty(connection: Connection, month: date) -> bool:
    first, after = _bounds(month)
    return bool(connection.scalar(_IS_EMPTY, {"first": first, "after": after}))


def _partition(day: date) -> str:
    return f"gamearchive_packs_games_{day.year:04}_{day.month:02}"


def _bounds(day: date) -> tuple[date, date]:
    """The first days of a day's month and of the next."""
    first = day.replace(day=1)
    return first, (first + timedelta(days=31)).replace(day=1)
