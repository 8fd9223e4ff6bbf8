"""The queue: jobs with their games, what was tried, and who works on them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_id = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the tables; nothing of what is there changes."""
    op.create_table(
        "workers",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("token", sa.BigInteger, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("boot", sa.Text, nullable=False),
        sa.Column("pid", sa.BigInteger, nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("beats", sa.BigInteger, nullable=False),
        sa.Column("seen_at", sa.BigInteger, nullable=False),
        sa.Column("paused", sa.Boolean, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
    )
    op.create_table(
        "jobs",
        sa.Column("id", _id, primary_key=True),
        sa.Column("entity_key", sa.LargeBinary, nullable=False),
        sa.Column("entity_type", sa.Text, nullable=False),
        sa.Column("variant", sa.LargeBinary, nullable=False),
        sa.Column("state", sa.SmallInteger, nullable=False),
        sa.Column("priority", sa.SmallInteger, nullable=False),
        sa.Column("trigger", sa.Text, nullable=False),
        sa.Column("policy", sa.Text),
        sa.Column("rank", sa.BigInteger, nullable=False),
        sa.Column("checksum", sa.LargeBinary, nullable=False),
        sa.Column("raw_bytes", sa.BigInteger, nullable=False),
        sa.Column("enqueued_at", sa.BigInteger, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("due_at", sa.BigInteger),
        sa.Column("worker", sa.Text),
        sa.Column("token", sa.BigInteger),
        sa.Column("leased_at", sa.BigInteger),
        sa.Column("finished_at", sa.BigInteger),
        sa.Column("error", sa.Text),
        sa.CheckConstraint("state BETWEEN 0 AND 5", name="ck_jobs_state"),
        sa.CheckConstraint("(state = 2) = (due_at IS NOT NULL)", name="ck_jobs_due"),
        sa.CheckConstraint(
            "CASE WHEN state = 1 THEN worker IS NOT NULL AND token IS NOT NULL AND leased_at IS NOT NULL"
            " ELSE worker IS NULL AND token IS NULL AND leased_at IS NULL END",
            name="ck_jobs_lease",
        ),
        sa.CheckConstraint("(state > 2) = (finished_at IS NOT NULL)", name="ck_jobs_finished"),
        sa.CheckConstraint("state <> 3 OR error IS NOT NULL", name="ck_jobs_error"),
        sqlite_autoincrement=True,
    )
    for name, where, *columns in (
        ("ix_jobs_waiting", sa.text("state = 0"), "rank", "id"),
        ("uq_jobs_pending", sa.text("state IN (0, 2)"), "entity_key", "entity_type", "variant"),
        ("ix_jobs_running", sa.text("state = 1"), "entity_key", "entity_type"),
        ("ix_jobs_current", sa.text("state < 4"), "state", "priority", "enqueued_at", "raw_bytes"),
        ("ix_jobs_due", sa.text("state = 2"), "due_at"),
        ("ix_jobs_failed", sa.text("state = 3"), "entity_key", "entity_type"),
    ):
        op.create_index(name, "jobs", columns, unique=name.startswith("uq"), sqlite_where=where, postgresql_where=where)
    op.create_table(
        "job_records",
        sa.Column("job_id", _id, primary_key=True, autoincrement=False),
        sa.Column("content_type", sa.Text, nullable=False),
        sa.Column("facts", sa.LargeBinary, nullable=False),
        sa.Column("tags", sa.LargeBinary),
        sa.Column("payload", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "job_attempts",
        sa.Column("job_id", _id, primary_key=True, autoincrement=False),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger, nullable=False),
        sa.Column("worker", sa.Text, nullable=False),
        sa.Column("outcome", sa.SmallInteger, nullable=False),
        sa.Column("error", sa.Text),
        sqlite_with_rowid=False,
    )
