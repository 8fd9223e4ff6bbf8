"""Games that wait in the queue are not compressed by the database."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Have PostgreSQL keep them as they are from now on; SQLite compresses nothing."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE job_records ALTER COLUMN payload SET STORAGE EXTERNAL")
