"""The tables of the first release."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0001"
down_revision = None

_SECOND = "coalesce({} / 1000000, -4398046511104)"


def upgrade() -> None:
    """Make the tables and their indexes."""
    _make_words()
    _make_batches()
    _make_packs()
    _make_entries()


def _make_words() -> None:
    op.create_table(
        "words",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("word", sa.Text, nullable=False, unique=True),
    )
    op.create_table(
        "players",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("ident", sa.LargeBinary, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
    )
    op.create_table(
        "player_keys",
        sa.Column("hash", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("player_id", sa.Integer, primary_key=True, autoincrement=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "tags",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.UniqueConstraint("key", "value", name="uq_tags"),
    )


def _make_batches() -> None:
    op.create_table(
        "batches",
        sa.Column("id", _number(), primary_key=True, autoincrement=False),
        sa.Column("type_id", sa.Integer, nullable=False, index=True),
        sa.Column("content_type_id", sa.Integer, nullable=False),
        sa.Column("status_id", sa.Integer, index=True),
        sa.Column("archived_at", sa.BigInteger, nullable=False),
        sa.Column("accepted_at", sa.BigInteger, nullable=False, index=True),
        sa.Column("trigger_id", sa.Integer, nullable=False),
        sa.Column("priority", sa.SmallInteger, nullable=False),
        sa.Column("policy_id", sa.Integer),
        sa.Column("first_id", _number(), nullable=False),
        sa.Column("last_id", _number(), nullable=False),
        sa.Column("created_from", sa.BigInteger, nullable=False),
        sa.Column("created_to", sa.BigInteger, nullable=False),
        sa.Column("completed_from", sa.BigInteger, nullable=False),
        sa.Column("completed_to", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "batch_tags",
        sa.Column("tag_id", sa.Integer, primary_key=True),
        sa.Column("batch_id", _number(), primary_key=True, index=True),
        sqlite_with_rowid=False,
    )


def _make_packs() -> None:
    op.create_table(
        "dictionaries",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("type_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("checksum", sa.LargeBinary, nullable=False),
        sa.Column("stored_bytes", sa.Integer, nullable=False),
        sa.Column("added", sa.Integer, nullable=False),
    )
    op.create_table(
        "packs",
        sa.Column("id", _number(), primary_key=True, autoincrement=False),
        sa.Column("key", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False, unique=True),
        sa.Column("stored_bytes", sa.BigInteger, nullable=False),
        sa.Column("dictionary_id", sa.BigInteger),
        sa.Column("first_id", _number(), nullable=False),
        sa.Column("last_id", _number(), nullable=False),
    )


def _make_entries() -> None:
    op.create_table(
        "entries",
        sa.Column("id", _number(), primary_key=True, autoincrement=False),
        sa.Column("entity_key", sa.LargeBinary, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("superseded", sa.SmallInteger),
        sa.Column("batch_id", _number(), nullable=False),
        sa.Column("pack_id", _number(), nullable=False),
        sa.Column("frame_offset", sa.BigInteger, nullable=False),
        sa.Column("frame_bytes", sa.BigInteger, nullable=False),
        sa.Column("record_offset", sa.BigInteger, nullable=False),
        sa.Column("raw_bytes", sa.BigInteger, nullable=False),
        sa.Column("stored_bytes", sa.BigInteger),
        sa.Column("checksum", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.BigInteger),
        sa.Column("completed_at", sa.BigInteger),
        sa.Column("winner_id", sa.Integer),
        sa.Column("players", sa.LargeBinary().with_variant(ARRAY(sa.Integer), "postgresql")),
    )
    op.create_index("ix_entries_created", "entries", [sa.text(_SECOND.format("created_at"))])
    op.create_index("ix_entries_completed", "entries", [sa.text(_SECOND.format("completed_at"))])
    op.create_table(
        "entity_keys",
        sa.Column("hash", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("entry_id", _number(), primary_key=True, autoincrement=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "damages",
        sa.Column("entry_id", _number(), primary_key=True, autoincrement=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
    if op.get_bind().dialect.name == "sqlite":
        op.execute("CREATE VIRTUAL TABLE entry_players USING fts5 (players, content='', detail='none', columnsize=0)")
    else:
        op.create_index("ix_entries_players", "entries", ["players"], postgresql_using="gin")


def _number() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer, "sqlite")
