"""How games come into the queue: jobs are added, or take the place of those that are pending.

A job's place is its game and its variant (`database.schema`). SQLite is given row after row of a statement. PostgreSQL, to
which each statement is a way there and back, is given all jobs in arrays, tells their numbers, and has the games copied to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    SmallInteger,
    bindparam,
    case,
    delete,
    func,
    literal_column,
    null,
    select,
    text,
    true,
)  # fmt: skip
from sqlalchemy.sql.compiler import SQLCompiler

from gamearchive.database import postgresql
from gamearchive.database.engine import Database
from gamearchive.database.records import cells
from gamearchive.database.schema import job_records, jobs
from gamearchive.jobs import AGEING
from gamearchive.model import GameRecord, Sender, encode_id

Row = Mapping[str, Any]
"""All that goes into the rows of a job and its game, by the columns' names."""

_PLACE = ("entity_key", "entity_type", "variant")
_GIVEN = (*_PLACE, "priority", "trigger", "policy", "rank", "checksum", "raw_bytes", "enqueued_at")
_CELLS = ("content_type", "facts", "tags", "payload")
# `postgresql.lock` and `arrivals.announce` in one, for each way there and back takes as long as ten jobs.
_LOCK_AND_ANNOUNCE = text("SELECT pg_advisory_xact_lock_shared(:lock), pg_notify('gamearchive_jobs', '')")


def row_of(record: GameRecord, sender: Sender, digest: bytes, now: int) -> Row:
    """The row of a game that is enqueued now."""
    content_type, facts, tags, payload = cells(record)
    return {
        "entity_key": encode_id(record.entity_id), "entity_type": record.entity_type,
        "variant": b"" if sender.live else digest, "priority": int(sender.priority), "trigger": sender.trigger.value,
        "policy": sender.policy, "rank": now - int(sender.priority) * AGEING, "checksum": digest, "raw_bytes": len(payload),
        "enqueued_at": now, "content_type": content_type, "facts": facts, "tags": tags, "payload": payload,
    }  # fmt: skip


class Enqueuing:
    """The adding of jobs to a database.

    Args:
        database: where the queue is.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        dialect = database.engine.dialect
        self._jobs: SQLCompiler = _jobs(dialect.name).compile(dialect=dialect)

    def add(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Add jobs, and wake those who wait for some; of two in one place the later one stays, with the higher of both
        priorities."""
        places: dict[tuple[Any, ...], Row] = {}
        for row in rows:
            place = tuple(row[name] for name in _PLACE)
            before = places.get(place)
            if before is not None and before["priority"] > row["priority"]:
                row = {**row, "priority": before["priority"], "rank": before["rank"]}  # noqa: PLW2901
            places[place] = row
        # In one order, whoever enqueues: else two could wait for each other.
        ordered = [places[place] for place in sorted(places)]
        if self._database.path is None:
            self._add_at_once(connection, ordered)
        else:
            names = self._jobs.positiontup or ()
            connection.exec_driver_sql(str(self._jobs), [tuple([row[name] for name in names]) for row in ordered])
            # What is pending is looked up by these words alone: SQLite takes the index for no other spelling.
            connection.exec_driver_sql(
                "INSERT OR REPLACE INTO job_records (job_id, content_type, facts, tags, payload) VALUES ((SELECT id FROM jobs"
                " WHERE entity_key = ? AND entity_type = ? AND variant = ? AND state IN (0, 2)), ?, ?, ?, ?)",
                [tuple([row[name] for name in (*_PLACE, *_CELLS)]) for row in ordered],
            )

    def _add_at_once(self, connection: Connection, rows: Sequence[Row]) -> None:
        connection.execute(_LOCK_AND_ANNOUNCE, {"lock": postgresql.ENQUEUING})
        arrays = tuple([row[name] for row in rows] for name in self._jobs.positiontup or ())
        added = connection.exec_driver_sql(postgresql.binary(str(self._jobs)), arrays).all()
        replaced = [job.id for job in added if not job.is_new]
        if replaced:
            connection.execute(delete(job_records).where(self._database.among(job_records.c.job_id, replaced)))
        ids = {(job.entity_key, job.entity_type, job.variant): job.id for job in added}
        games = [(ids[tuple(row[name] for name in _PLACE)], *(row[name] for name in _CELLS)) for row in rows]
        postgresql.copy(connection, job_records, games)


def _jobs(dialect: str) -> Any:
    """The statement that adds jobs, or has them take the place of those that are pending; on PostgreSQL, it tells which."""
    at_once = dialect == "postgresql"

    def bound(name: str) -> ColumnElement[Any]:
        kind = jobs.c[name].type
        return func.unnest(bindparam(name, type_=ARRAY(kind))) if at_once else bindparam(name, type_=kind)

    given = select(*(bound(name).label(name) for name in _GIVEN)).subquery("given")
    # Without a condition, SQLite would take what follows for one of a join.
    rows = select(*given.c, literal_column("0"), literal_column("0")).where(true())
    made = import_module(f"sqlalchemy.dialects.{dialect}").insert(jobs)
    new = made.excluded
    changed, more = new.checksum != jobs.c.checksum, new.priority > jobs.c.priority
    anew = literal_column("0", SmallInteger)
    added = made.from_select([*_GIVEN, "state", "attempts"], rows).on_conflict_do_update(
        index_elements=_PLACE,
        index_where=text("state IN (0, 2)"),
        set_={
            **{name: new[name] for name in ("trigger", "policy", "checksum", "raw_bytes")},
            "priority": case((more, new.priority), else_=jobs.c.priority),
            # It stands where it stood, less what the new priority is worth.
            "rank": case((more, jobs.c.enqueued_at + new.rank - new.enqueued_at), else_=jobs.c.rank),
            "state": case((changed, anew), else_=jobs.c.state),
            "attempts": case((changed, anew), else_=jobs.c.attempts),
            "due_at": case((changed, null()), else_=jobs.c.due_at),
        },
    )
    if not at_once:
        return added
    # Who last locked a row is no transaction if the row is this one's own.
    return added.returning(jobs.c.id, *(jobs.c[name] for name in _PLACE), literal_column("jobs.xmax = 0").label("is_new"))
