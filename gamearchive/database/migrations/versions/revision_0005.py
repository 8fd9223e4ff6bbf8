"""When daemons did their periodic duties."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the table; nothing of what is there changes."""
    op.create_table(
        "duties",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("worker", sa.Text),
        sa.Column("began_at", sa.BigInteger, nullable=False),
        sa.Column("position", sa.Text),
    )
