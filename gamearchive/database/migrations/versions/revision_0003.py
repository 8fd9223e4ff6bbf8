"""An archive has an id, and batches that came late are found."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_LATE = sa.text("archived_at < accepted_at - 120000000")


def upgrade() -> None:
    """Make the table of the id, and the index."""
    op.create_table("identity", sa.Column("id", sa.String(32), primary_key=True))
    op.create_index("ix_batches_late", "batches", ["id"], sqlite_where=_LATE, postgresql_where=_LATE)
