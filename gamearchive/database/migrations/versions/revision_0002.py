"""The journal: who plays games here, and their snapshots."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables; nothing of what is there changes."""
    op.create_table(
        "servers",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("token", sa.BigInteger, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("boot", sa.Text, nullable=False),
        sa.Column("pid", sa.BigInteger, nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("lease_until", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "snapshots",
        sa.Column("entity_key", sa.LargeBinary, primary_key=True),
        sa.Column("entity_type", sa.Text, primary_key=True),
        sa.Column("server_id", sa.Integer, nullable=False),
        sa.Column("state", sa.SmallInteger, nullable=False),
        sa.Column("saved_at", sa.BigInteger, nullable=False),
        sa.Column("trigger", sa.Text),
        sa.Column("priority", sa.SmallInteger),
        sa.Column("policy", sa.Text),
        sa.Column("handed_over_at", sa.BigInteger),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("checksum", sa.LargeBinary, nullable=False),
        sa.Column("content_type", sa.Text, nullable=False),
        sa.Column("facts", sa.LargeBinary, nullable=False),
        sa.Column("tags", sa.LargeBinary),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.CheckConstraint("state BETWEEN 0 AND 2", name="ck_snapshots_state"),
        sa.CheckConstraint(
            'CASE WHEN state = 0 THEN handed_over_at IS NULL AND "trigger" IS NULL AND priority IS NULL AND policy IS NULL'
            ' AND attempts = 0 ELSE handed_over_at IS NOT NULL AND "trigger" IS NOT NULL AND priority IS NOT NULL END',
            name="ck_snapshots_handover",
        ),
    )
