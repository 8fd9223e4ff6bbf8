"""Retention: what has expired and can still be brought back, and what is kept whatever a rule says."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Make the tables; nothing of what is there changes."""
    op.create_table(
        "expirations",
        sa.Column("entry_id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
        sa.Column("expired_at", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_expirations_expired_at", "expirations", ["expired_at"])
    op.create_table(
        "holds",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("made_at", sa.BigInteger, nullable=False),
        sa.Column("until", sa.BigInteger),
        sa.Column("entity_type", sa.Text),
        sa.Column("entity_id", sa.Text),
        sa.Column("player", sa.Text),
        sa.Column("condition", sa.Text),
    )
