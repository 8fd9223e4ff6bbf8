"""The tables of the catalog, of the journal, and of the queue.

The catalog is built to stay small, for there is a row of `entries` for every archived game, and years of games: on SQLite about
150 bytes a game with four players, all indexes included. What makes it so:

- What games archived together share is kept once, in their *batch*: entity type, content type, status, when, why, by which
  policy, with which tags. A batch's games have consecutive ids, ``first_id`` to ``last_id``, so that a listing by any of
  these is a walk over batches, and a range of rows in each.
- ``entries.id`` counts up in the order of acceptance. It is the order of listings "by archived", and their cursor.
  ``archived_at`` is taken before the pack is made and so may trail that order by a moment where several processes archive at
  once; ``accepted_at`` is its running maximum, rises with the id, and turns a time range into a range of ids.
- A batch also knows from which second to which its games were created and completed: a listing by a game's own times and by
  what batches know begins where the first of these can be, and passes over batches that have none.
- Words (types, statuses, triggers, policies) and players are interned. Ids that are UUIDs take 17 bytes (`model.encode_id`).
- A game is found by 32 bits of its id's hash (`entity_keys`), and told from others by the id itself. So is a player, by id and
  by name (`player_keys`).
- Who played is an inverted index, each engine's own: FTS5 on SQLite, GIN on PostgreSQL (`database.players`).
- Instants are integers, microseconds since the epoch. They are indexed by the second: half the size, and the rest of the
  order is settled within a second.

Rows that belong together are written in one transaction by `Catalog` alone, which is what keeps the references true.

The journal has games in play: few of them, each written over again and again. Its tables, `servers` and `snapshots`, refer to
none of the catalog's, so that they outlive a catalog that is made anew.

The queue has games that are to be archived, each a job, and the workers that do it. A job is a narrow row, for jobs are counted
and listed; its game lies beside it, in `job_records`, for as long as it may be wanted, and what was tried in `job_attempts`.
These tables, too, outlive the catalog; what is known of the daemons' periodic `duties` does not.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

from sqlalchemy import (
    ARRAY,
    DDL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ColumnElement,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    Text,
    TextClause,
    UniqueConstraint,
    event,
    func,
    literal_column,
    text,
)

from gamearchive.model import encode_id

REVISION = "0007"
"""The migration that makes these tables; a test holds the two together."""

UNKNOWN_TIME = -(1 << 62)
"""Stands for an unknown instant where rows are ordered: before all others."""

UNKNOWN_SECOND = -(1 << 42)
"""The same, in seconds."""

ACCEPTANCE_LAG = 120_000_000
"""Microseconds by which a game's acceptance may trail its ``archived_at``; only that of a pack found later may trail more."""

_SECOND = f"coalesce({{}} / 1000000, {UNKNOWN_SECOND})"

metadata = MetaData()
_id = BigInteger().with_variant(Integer, "sqlite")

versions = Table(
    "gamearchive_version",  # not alembic_version: a program that shares the database may have its own
    metadata,
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="gamearchive_version_pkc"),
)

identity = Table(
    "identity",
    metadata,
    Column("id", String(32), primary_key=True),  # of the archive, as the mark in its storage says it; one row
)

words = Table(
    "words",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("word", Text, nullable=False, unique=True),
)

players = Table(
    "players",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("ident", LargeBinary, nullable=False),  # the game's own id for the player, as model.encode_id has it; empty: none
    Column("name", Text, nullable=False),  # empty: none
)

player_keys = Table(
    "player_keys",
    metadata,
    Column("hash", Integer, primary_key=True, autoincrement=False),
    Column("player_id", Integer, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)

tags = Table(
    "tags",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("key", Text, nullable=False),
    Column("value", Text, nullable=False),
    UniqueConstraint("key", "value", name="uq_tags"),
)

batches = Table(
    "batches",
    metadata,
    Column("id", _id, primary_key=True, autoincrement=False),
    Column("type_id", Integer, nullable=False, index=True),
    Column("content_type_id", Integer, nullable=False),
    Column("status_id", Integer, index=True),
    Column("archived_at", BigInteger, nullable=False),
    Column("accepted_at", BigInteger, nullable=False, index=True),
    Column("trigger_id", Integer, nullable=False),
    Column("priority", SmallInteger, nullable=False),
    Column("policy_id", Integer),
    Column("first_id", _id, nullable=False),
    Column("last_id", _id, nullable=False),
    Column("created_from", BigInteger, nullable=False),  # whole seconds of the known instants, as second_of has
    Column("created_to", BigInteger, nullable=False),  # them; both UNKNOWN_SECOND where none is known
    Column("completed_from", BigInteger, nullable=False),
    Column("completed_to", BigInteger, nullable=False),
)


def accepted_late() -> ColumnElement[bool]:
    """Whether a batch was accepted longer after it was archived than others are: it lay in a pack that was found later."""
    return literal_column(f"batches.archived_at < batches.accepted_at - {ACCEPTANCE_LAG}", Boolean)


_LATE = text(f"archived_at < accepted_at - {ACCEPTANCE_LAG}")
Index("ix_batches_late", batches.c.id, sqlite_where=_LATE, postgresql_where=_LATE)

batch_tags = Table(
    "batch_tags",
    metadata,
    Column("tag_id", Integer, primary_key=True),
    Column("batch_id", _id, primary_key=True, index=True),
    sqlite_with_rowid=False,
)

dictionaries = Table(
    "dictionaries",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),  # as in the frames that need it
    Column("type_id", Integer, primary_key=True, autoincrement=False),  # two types that hold the same games learn the same
    Column("checksum", LargeBinary, nullable=False),
    Column("stored_bytes", Integer, nullable=False),  # of one of its two copies
    Column("added", Integer, nullable=False),  # counts up: the highest of a type is the one in use
)

packs = Table(
    "packs",
    metadata,
    Column("id", _id, primary_key=True, autoincrement=False),
    # Ordered as bytes, by code point: two listings of packs, the storage's and the catalog's, are merged in that order.
    Column("key", Text().with_variant(Text(collation="C"), "postgresql"), nullable=False, unique=True),
    Column("stored_bytes", BigInteger, nullable=False),
    Column("dictionary_id", BigInteger),
    Column("first_id", _id, nullable=False),  # its entries lie between these, though not they alone
    Column("last_id", _id, nullable=False),
)

entries = Table(
    "entries",
    metadata,
    Column("id", _id, primary_key=True, autoincrement=False),
    Column("entity_key", LargeBinary, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("superseded", SmallInteger),  # null: it is the game; 1: a later revision has taken its place; 2, 3: so in the trash
    Column("batch_id", _id, nullable=False),
    Column("pack_id", _id, nullable=False),
    Column("frame_offset", BigInteger, nullable=False),
    Column("frame_bytes", BigInteger, nullable=False),
    Column("record_offset", BigInteger, nullable=False),
    Column("raw_bytes", BigInteger, nullable=False),
    Column("stored_bytes", BigInteger),  # its share of its frame; null: its pack is a fresh one, and the frame its own
    Column("checksum", LargeBinary, nullable=False),
    Column("created_at", BigInteger),
    Column("completed_at", BigInteger),
    Column("winner_id", Integer),  # into players
    Column("players", LargeBinary().with_variant(ARRAY(Integer), "postgresql")),  # in the order of the seats
    Index("ix_entries_created", text(_SECOND.format("created_at"))),
    Index("ix_entries_completed", text(_SECOND.format("completed_at"))),
)

entity_keys = Table(
    "entity_keys",
    metadata,
    Column("hash", Integer, primary_key=True, autoincrement=False),
    Column("entry_id", _id, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)

damages = Table(
    "damages",
    metadata,
    Column("entry_id", _id, primary_key=True, autoincrement=False),
    Column("reason", Text, nullable=False),
)

expirations = Table(
    "expirations",  # what is in the trash: each revision of an expired game
    metadata,
    Column("entry_id", _id, primary_key=True, autoincrement=False),
    Column("expired_at", BigInteger, nullable=False, index=True),
)

holds = Table(
    "holds",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("reason", Text, nullable=False),
    Column("made_at", BigInteger, nullable=False),
    Column("until", BigInteger),
    Column("entity_type", Text),
    Column("entity_id", Text),
    Column("player", Text),
    Column("condition", Text),
)

servers = Table(
    "servers",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("token", BigInteger, nullable=False),  # another one at every opening and claim
    Column("host", Text, nullable=False),
    Column("boot", Text, nullable=False),  # of the host: what its processes' numbers count from
    Column("pid", BigInteger, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("lease_until", BigInteger, nullable=False),  # by the database's own clock
)

snapshots = Table(
    "snapshots",
    metadata,
    # The payload stands last: what is before it is read without the pages that it runs over.
    Column("entity_key", LargeBinary, primary_key=True),
    Column("entity_type", Text, primary_key=True),
    Column("server_id", Integer, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("saved_at", BigInteger, nullable=False),
    Column("trigger", Text),
    Column("priority", SmallInteger),
    Column("policy", Text),
    Column("handed_over_at", BigInteger),
    Column("attempts", Integer, nullable=False),
    Column("error", Text),
    Column("checksum", LargeBinary, nullable=False),
    Column("content_type", Text, nullable=False),
    Column("facts", LargeBinary, nullable=False),  # msgpack
    Column("tags", LargeBinary),  # msgpack; null: none
    Column("payload", LargeBinary, nullable=False),
    CheckConstraint("state BETWEEN 0 AND 2", name="ck_snapshots_state"),
    CheckConstraint(
        'CASE WHEN state = 0 THEN handed_over_at IS NULL AND "trigger" IS NULL AND priority IS NULL AND policy IS NULL'
        ' AND attempts = 0 ELSE handed_over_at IS NOT NULL AND "trigger" IS NOT NULL AND priority IS NOT NULL END',
        name="ck_snapshots_handover",
    ),
)

workers = Table(
    "workers",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("token", BigInteger, nullable=False),  # another one at every opening
    Column("host", Text, nullable=False),
    Column("boot", Text, nullable=False),
    Column("pid", BigInteger, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("beats", BigInteger, nullable=False),  # counts up for as long as it lives
    Column("seen_at", BigInteger, nullable=False),  # for people: whether it lives is not told by clocks
    Column("paused", Boolean, nullable=False),  # whether it is asked to pause
    Column("status", Text, nullable=False),  # JSON: what it says of itself
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", _id, primary_key=True),
    Column("entity_key", LargeBinary, nullable=False),
    Column("entity_type", Text, nullable=False),
    # Empty for a live game, whose newer state takes the place of one that waits; else the checksum.
    Column("variant", LargeBinary, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("priority", SmallInteger, nullable=False),
    Column("trigger", Text, nullable=False),
    Column("policy", Text),
    Column("rank", BigInteger, nullable=False),
    Column("checksum", LargeBinary, nullable=False),
    Column("raw_bytes", BigInteger, nullable=False),
    Column("enqueued_at", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),  # those that count
    Column("due_at", BigInteger),
    Column("worker", Text),
    Column("token", BigInteger),  # the worker's, of the session that it leased the job in
    Column("leased_at", BigInteger),
    Column("finished_at", BigInteger),
    Column("error", Text),
    CheckConstraint("state BETWEEN 0 AND 5", name="ck_jobs_state"),
    CheckConstraint("(state = 2) = (due_at IS NOT NULL)", name="ck_jobs_due"),
    CheckConstraint(
        "CASE WHEN state = 1 THEN worker IS NOT NULL AND token IS NOT NULL AND leased_at IS NOT NULL"
        " ELSE worker IS NULL AND token IS NULL AND leased_at IS NULL END",
        name="ck_jobs_lease",
    ),
    CheckConstraint("(state > 2) = (finished_at IS NOT NULL)", name="ck_jobs_finished"),
    CheckConstraint("state <> 3 OR error IS NOT NULL", name="ck_jobs_error"),
    sqlite_autoincrement=True,  # a job's number is never another's
)

_WAITING, _PENDING, _RUNNING = text("state = 0"), text("state IN (0, 2)"), text("state = 1")
_RETRYABLE, _FAILED, _CURRENT = text("state = 2"), text("state = 3"), text("state < 4")


def _partial(name: str, where: TextClause, *columns: str, unique: bool = False) -> None:
    Index(name, *(jobs.c[column] for column in columns), unique=unique, sqlite_where=where, postgresql_where=where)


_partial("ix_jobs_waiting", _WAITING, "rank", "id")
_partial("uq_jobs_pending", _PENDING, "entity_key", "entity_type", "variant", unique=True)
_partial("ix_jobs_running", _RUNNING, "entity_key", "entity_type")
_partial("ix_jobs_current", _CURRENT, "state", "priority", "enqueued_at", "raw_bytes")  # all that counting them needs
_partial("ix_jobs_due", _RETRYABLE, "due_at")
_partial("ix_jobs_failed", _FAILED, "entity_key", "entity_type")

job_records = Table(
    "job_records",
    metadata,
    Column("job_id", _id, primary_key=True, autoincrement=False),
    Column("content_type", Text, nullable=False),
    Column("facts", LargeBinary, nullable=False),  # msgpack
    Column("tags", LargeBinary),  # msgpack; null: none
    Column("payload", LargeBinary, nullable=False),
)

# What comes and goes is not compressed: to enqueue games of 4 KB would take twice as long.
_uncompressed = DDL("ALTER TABLE job_records ALTER COLUMN payload SET STORAGE EXTERNAL")  # type: ignore[no-untyped-call]
event.listen(job_records, "after_create", _uncompressed.execute_if(dialect="postgresql"))

job_attempts = Table(
    "job_attempts",
    metadata,
    Column("job_id", _id, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("started_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger, nullable=False),
    Column("worker", Text, nullable=False),
    Column("outcome", SmallInteger, nullable=False),
    Column("error", Text),
    sqlite_with_rowid=False,
)

duties = Table(
    "duties",
    metadata,
    Column("name", Text, primary_key=True),
    Column("worker", Text),  # who is at it; null: nobody
    Column("began_at", BigInteger, nullable=False),
    Column("position", Text),  # where the next run goes on; null: from the start
)

NUMBERED = (words, players, tags, batches, packs)
"""The tables whose rows processes remember by their numbers."""

LASTING = (servers, snapshots, workers, jobs, job_records, job_attempts)
"""The tables of the journal and of the queue: what is in them is in no pack."""


IN_TRASH = 2
"""What ``entries.superseded`` is raised by for as long as a game is in the trash, from null or 1."""


def is_kept() -> ColumnElement[bool]:
    """Whether an entry is not in the trash."""
    return func.coalesce(entries.c.superseded, 0) < IN_TRASH


def second_of(column: Column[int | None]) -> ColumnElement[int]:
    """The whole second of an instant, as the indexes on `entries` have it; an unknown one comes before all others."""
    return literal_column(_SECOND.format(f"entries.{column.name}"), BigInteger)


def second_at(instant: int) -> int:
    """What `second_of` is for an instant: its whole second as the databases divide, towards zero."""
    if instant == UNKNOWN_TIME:
        return UNKNOWN_SECOND
    return instant // 1_000_000 if instant >= 0 else -(-instant // 1_000_000)


def instant_of(column: Column[int | None]) -> ColumnElement[int]:
    """The instant itself; an unknown one comes before all others."""
    return func.coalesce(column, literal_column(str(UNKNOWN_TIME), BigInteger))


def short_hash(key: bytes) -> int:
    """The 32 bits, signed, that a game or a player is looked up by."""
    return int.from_bytes(blake2b(key, digest_size=4).digest(), "big", signed=True)


@lru_cache(maxsize=1 << 14)  # the ids of a batch are wanted twice: to look the games up, and to add them
def game_key(entity_id: str) -> tuple[bytes, int]:
    """What a game is stored under and looked up by: its id as `model.encode_id` has it, and the hash of that."""
    key = encode_id(entity_id)
    return key, short_hash(key)
