"""A job's steps from state to state, in transactions of the caller's; the statements are put together once.

To put a statement together takes as long as to run it, and a batch of jobs takes ten.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Connection,
    Integer,
    Text,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal_column,
    null,
    select,
    text,
    update,
)  # fmt: skip

from gamearchive.database import postgresql
from gamearchive.database.engine import Database
from gamearchive.database.records import plain
from gamearchive.database.schema import job_attempts, job_records, jobs, workers
from gamearchive.jobs import JobState, Outcome

# States are written as the indexes have them: SQLite takes one for no other spelling.
WAITING, RUNNING, RETRYABLE = text("jobs.state = 0"), text("jobs.state = 1"), text("jobs.state = 2")
_UNLEASED: dict[str, Any] = {"worker": null(), "token": null(), "leased_at": null()}
_NEWER, _DONE = jobs.alias("newer"), jobs.alias("done")


class GivenBack(msgspec.Struct, frozen=True, gc=False):
    """Where a job goes that its worker did not archive, and whether that attempt counts."""

    id: int
    state: JobState
    due_at: int | None = None
    counts: bool = False


class Steps:
    """The steps of many jobs at a time.

    Args:
        database: where the queue is.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        these = database.among(jobs.c.id, "ids")
        in_session = exists().where(workers.c.token == jobs.c.token)
        own = select(jobs.c.id, jobs.c.attempts).where(these, RUNNING, jobs.c.token == bindparam("token"), in_session)
        self._own = own.order_by(jobs.c.id).with_for_update(of=jobs)
        before = select(func.coalesce(func.max(job_attempts.c.number), 0)).where(job_attempts.c.job_id == jobs.c.id)
        ended = select(
            jobs.c.id, before.scalar_subquery() + 1, jobs.c.leased_at, bindparam("now", type_=BigInteger), jobs.c.worker,
            bindparam("outcome", type_=Integer), bindparam("error", type_=Text),
        ).where(these)  # fmt: skip
        self._note = insert(job_attempts).from_select(list(job_attempts.c), ended)
        place = ("entity_key", "entity_type", "variant")
        taken = exists().where(*(_NEWER.c[name] == jobs.c[name] for name in place), text("newer.state IN (0, 2)"))
        self._overtaken = select(jobs.c.id).where(these, taken)
        self._give_back = (
            update(jobs)
            .where(jobs.c.id == bindparam("job"))
            .values(
                state=bindparam("to"),
                due_at=bindparam("due"),
                attempts=jobs.c.attempts + bindparam("counted"),
                finished_at=bindparam("finished"),
                error=bindparam("said"),
                **_UNLEASED,
            )
        )
        finished = update(jobs).where(these).values(finished_at=bindparam("now"), due_at=null(), **_UNLEASED)
        self._cancel = finished.values(state=literal_column("4"), error=bindparam("why"))
        self._done = finished.values(state=literal_column("5"), error=null())
        self._forget = delete(job_records).where(database.among(job_records.c.job_id, "ids"))
        self._superseded = select(jobs.c.id).where(
            text("jobs.state = 3"),
            *(jobs.c[name] == _DONE.c[name] for name in place),
            jobs.c.id < _DONE.c.id,
            database.among(_DONE.c.id, "ids"),
        )

    def own(self, connection: Connection, ids: Sequence[int], token: int | None) -> list[tuple[int, int]]:
        """Those of some jobs that run in the session of this token, if that is not over, with their attempts; locked."""
        rows = connection.execute(self._own, {"ids": self._database.listed(ids), "token": token}).all()
        return [(row.id, row.attempts) for row in rows]

    def finish(self, connection: Connection, ids: Sequence[int], now: int) -> None:
        """Note that RUNNING jobs, locked by the caller, are done, and let go of their games.

        Dead letters of the same games go as well, where they are of an older state, or of the same bytes.
        """
        values = {"ids": self._database.listed(ids), "now": now}
        connection.execute(self._note, {**values, "outcome": int(Outcome.ARCHIVED), "error": None})
        connection.execute(self._done, values)
        connection.execute(self._forget, values)
        superseded = connection.scalars(self._superseded, values).all()
        self.cancel(connection, superseded, now, "Something newer of this game is archived.")

    def give_back(
        self, connection: Connection, given: Sequence[GivenBack], now: int, outcome: Outcome, error: str | None
    ) -> None:
        """Take RUNNING jobs, locked by the caller, away from their worker; for good where something newer of a game waits."""
        if not given:
            return
        self.stop_enqueuing(connection)
        error = None if error is None else plain(error)
        values = {"ids": self._database.listed([each.id for each in given]), "now": now}
        connection.execute(self._note, {**values, "outcome": int(outcome), "error": error})
        overtaken = set(connection.scalars(self._overtaken, values))
        rows = [
            {
                "job": each.id, "to": int(each.state), "due": each.due_at, "counted": int(each.counts), "said": error,
                "finished": now if each.state is JobState.FAILED else None,
            }
            for each in given
            if each.id not in overtaken
        ]  # fmt: skip
        if rows:
            connection.execute(self._give_back, rows)
        self.cancel(connection, sorted(overtaken), now, "Something newer of this game waits.")

    def cancel(self, connection: Connection, ids: Sequence[int], now: int, why: str) -> None:
        """Cancel jobs that nobody works on any more, and let go of their games."""
        if ids:
            values = {"ids": self._database.listed(ids), "now": now}
            connection.execute(self._cancel, {**values, "why": why})
            connection.execute(self._forget, values)

    def stop_enqueuing(self, connection: Connection) -> None:
        """Make sure that what is pending stays as it is until the transaction ends: nothing else is enqueued meanwhile."""
        if self._database.path is None:
            postgresql.lock(connection, postgresql.ENQUEUING)
