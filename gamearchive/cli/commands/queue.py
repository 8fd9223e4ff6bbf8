"""``queue``: the jobs that wait to be archived, run, or have failed; and what is to become of them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gamearchive.cli.context import Context
from gamearchive.cli.declaration import command, command_group
from gamearchive.cli.games import TypeName, instant, size
from gamearchive.cli.options import option
from gamearchive.cli.parts import JSON, Column, Fields, Row, Table
from gamearchive.errors import UsageError
from gamearchive.units import SECOND, format_count, format_duration, parse_instant

if TYPE_CHECKING:
    from gamearchive.administration import Administration
    from gamearchive.jobs import Attempt, JobFilter, JobStatus

app = command_group(
    "queue", help="Shows jobs, and decides about them.", exits=(3, 10, 11, 12, 15, 17, 18), example="gamearchive queue list"
)

Priority = Literal["low", "normal", "high", "critical"]
Numbers = Annotated[list[int] | None, typer.Argument(metavar="JOB", help="The jobs' numbers; none: all that are chosen.")]
DryRun = Annotated[bool, option("-n", "--dry-run", help="Only say what would be done.")]

_PAGE = 500


class State(StrEnum):
    """The states of a job, as they are named on a command line."""

    WAITING = "waiting"
    RUNNING = "running"
    RETRYABLE = "retryable"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DONE = "done"


@dataclass(frozen=True)
class ChosenJobs:
    """The options that choose jobs. The fields' order is that of the help."""

    state: Annotated[
        list[State] | None, option("--state", metavar="STATE", help="Jobs in this state, such as failed; repeat: or that.")
    ] = None
    entity_type: TypeName = None
    id: Annotated[str | None, option("--id", metavar="ID", help="Jobs of the game with this id.")] = None
    priority: Annotated[Priority | None, option("--priority", metavar="PRIORITY", help="Jobs of this priority.")] = None
    error: Annotated[str | None, option("--error", metavar="TEXT", help="Jobs whose last error says this.")] = None

    def filter(self, numbers: Sequence[int] | None = None) -> JobFilter:
        """What these options mean."""
        from gamearchive.jobs import JobFilter, JobState
        from gamearchive.model import ArchivalPriority, check_type

        return JobFilter(
            states=tuple(JobState[state.name] for state in self.state or ()),
            entity_type=None if self.entity_type is None else check_type(self.entity_type),
            entity_id=self.id,
            priority=None if self.priority is None else ArchivalPriority[self.priority.upper()],
            error=self.error,
            ids=tuple(numbers) if numbers else None,
        )

    @property
    def is_nothing(self) -> bool:
        """Whether none was given."""
        return self == ChosenJobs()


@command(app, "list", exits=(10, 15, 17), example="gamearchive queue list --state failed --error Timeout")
def list_(
    context: Context,
    chosen: ChosenJobs,
    limit: Annotated[int, option("--limit", metavar="N", minimum=0, help="At most so many jobs; 0 for all.")] = 100,
    cursor: Annotated[
        int | None, option("--cursor", metavar="CURSOR", help="Go on where a page ended: its next_cursor.")
    ] = None,
) -> None:
    """List jobs, the latest first.

    Every option narrows the listing down.
    """
    context.run(_list(context, chosen.filter(), limit, cursor))


@command(app, exits=(10, 12, 15, 17), example="gamearchive queue show 42")
def show(context: Context, job: Annotated[int, typer.Argument(metavar="JOB", help="The job's number.")]) -> None:
    """Show all that is known of a job, with every attempt."""
    context.run(_show(context, job))


@command(app, exits=(3, 10, 11, 12, 15, 17), example="gamearchive queue retry --state failed --error Timeout")
def retry(context: Context, jobs: Numbers = None, chosen: ChosenJobs = ChosenJobs(), dry_run: DryRun = False) -> int:
    """Try jobs again: failed ones from the start, those that wait for their next try at once.

    An older state of a game is not tried again after a newer one.
    """
    from gamearchive.jobs import JobState

    states = JobState.FAILED, JobState.RETRYABLE
    return context.run(_change(context, jobs, chosen, states, "retried", lambda manager: manager.jobs.retry, dry_run=dry_run))


@command(app, exits=(3, 10, 11, 12, 15, 17, 18), example="gamearchive queue discard 42 --yes")
def discard(
    context: Context,
    jobs: Numbers = None,
    chosen: ChosenJobs = ChosenJobs(),
    dry_run: DryRun = False,
    yes: Annotated[bool, option("-y", "--yes", help="Throw their games away without asking.")] = False,
) -> int:
    """Cancel jobs that wait or have failed; the queue's copies of their games are thrown away."""
    from gamearchive.jobs import JobState

    states = JobState.WAITING, JobState.RETRYABLE, JobState.FAILED
    return context.run(
        _change(context, jobs, chosen, states, "discarded", lambda manager: manager.jobs.discard, dry_run=dry_run, asks=not yes)
    )


@command(app, exits=(3, 10, 11, 12, 15, 17), example="gamearchive queue bump 42 --to critical")
def bump(
    context: Context,
    jobs: Numbers = None,
    chosen: ChosenJobs = ChosenJobs(),
    to: Annotated[Priority, option("--to", metavar="PRIORITY", help="low, normal, high or critical.")] = "critical",
    dry_run: DryRun = False,
) -> int:
    """Give jobs that wait another priority."""
    from gamearchive.jobs import JobState
    from gamearchive.model import ArchivalPriority

    states, priority = (JobState.WAITING, JobState.RETRYABLE), ArchivalPriority[to.upper()]

    def bumped(manager: Administration) -> _Change:
        return lambda numbers: manager.jobs.bump(numbers, priority)

    return context.run(_change(context, jobs, chosen, states, "bumped", bumped, dry_run=dry_run))


_Change = Callable[[Sequence[int]], Coroutine[Any, Any, Mapping[int, str]]]


async def _list(context: Context, found: JobFilter, limit: int, cursor: int | None) -> None:
    from gamearchive.administration import Administration

    count = 0
    async with Administration(context.settings, context.clock) as manager:
        with context.output.listing(_columns(context), identity="job") as add:
            while page := await manager.jobs.find(found, min(_PAGE, limit - count or 1) if limit else _PAGE, cursor):
                for job in page:
                    add(_row(job))
                count += len(page)
                cursor = page[-1].id
                if count == limit:
                    break
        more = bool(count) and bool(await manager.jobs.find(found, 1, cursor))
    told = f" More with --cursor {cursor}" if more else ""
    context.output.summary({"count": count, "next_cursor": cursor if more else None}, f"{format_count(count, 'job')}.{told}")


async def _show(context: Context, number: int) -> None:
    from gamearchive.administration import Administration

    async with Administration(context.settings, context.clock) as manager:
        job, history = await manager.jobs.get(number)
    rows = [_attempt(each) for each in history]
    columns = (
        Column("attempt", "attempt", right=True), Column("started_at", "started"), Column("seconds", "took", show=_took),
        Column("worker", "worker"), Column("outcome", "outcome"), Column("error", "error"),
    )  # fmt: skip
    shown = {key: value for key, value in _row(job).items() if value is not None}
    context.output.document({**_row(job), "history": rows}, Fields(shown), Table(columns, rows, title="Attempts"))


async def _change(
    context: Context,
    numbers: Sequence[int] | None,
    chosen: ChosenJobs,
    states: Sequence[Any],
    done: str,
    change: Callable[[Administration], _Change],
    *,
    dry_run: bool,
    asks: bool = False,
) -> int:
    from dataclasses import replace

    from gamearchive.administration import Administration

    if chosen.is_nothing and not numbers:
        raise UsageError("Which jobs?", hint="Name their numbers, or choose them: --state failed.")
    found = chosen.filter(numbers)
    if not found.states and not numbers:
        found = replace(found, states=tuple(states))
    changed = refused = 0
    async with Administration(context.settings, context.clock) as manager:
        if numbers:
            for number in numbers:
                await manager.jobs.get(number)
        if asks and not dry_run and await manager.jobs.find(found, 1):
            context.confirm("Throw these jobs' games away?", flag="--yes")
        before = None
        while page := await manager.jobs.find(found, _PAGE, before):
            before = page[-1].id
            wrong = {job.id: f"it is {job.state.name.lower()}" for job in page if job.state not in states}
            left = wrong if dry_run else await change(manager)([job.id for job in page])
            for job in page:
                context.output.item({**_row(job), "refused": left.get(job.id)})
                if job.id in left:
                    message = f"Job {job.id} is left as it is: {left[job.id]}."
                    context.output.problem({"code": "refused", "message": message, "job": job.id}, message)
            changed += len(page) - len(left)
            refused += len(left)
    said = f"{'Would have ' if dry_run else ''}{done if dry_run else done.capitalize()} {format_count(changed, 'job')}"
    context.output.summary(
        {done: changed, "refused": refused}, f"{said}{f', {refused:,} left as they are' if refused else ''}."
    )
    return 3 if refused else 0


def _row(job: JobStatus) -> Row:
    """A job as every listing has it."""
    return {
        "job": job.id,
        "state": job.state.name.lower(),
        "entity_type": job.key.entity_type,
        "entity_id": job.key.entity_id,
        "priority": job.sender.priority.name.lower(),
        "trigger": job.sender.trigger.value,
        "policy": job.sender.policy,
        "live": job.sender.live,
        "raw_bytes": job.raw_bytes,
        "checksum": job.checksum.hex(),
        "enqueued_at": instant(job.enqueued_at),
        "due_at": instant(job.due_at),
        "attempts": job.attempts,
        "worker": job.worker,
        "leased_at": instant(job.leased_at),
        "finished_at": instant(job.finished_at),
        "error": job.error,
    }


def _attempt(attempt: Attempt) -> Row:
    return {
        "attempt": attempt.number,
        "started_at": instant(attempt.started_at),
        "ended_at": instant(attempt.ended_at),
        "seconds": round((attempt.ended_at - attempt.started_at) / SECOND, 6),
        "worker": attempt.worker,
        "outcome": attempt.outcome.name.lower(),
        "error": attempt.error,
    }


def _took(value: JSON) -> str:
    return format_duration(value) if isinstance(value, int | float) else ""


def _columns(context: Context) -> tuple[Column, ...]:
    now = context.clock.now()

    def age(value: JSON) -> str:
        seconds = (now - parse_instant(value)) / SECOND if isinstance(value, str) else -1.0
        return f"{format_duration(seconds)} ago" if seconds >= 0 else ""

    def second(value: JSON) -> str:
        return value[:19] + "Z" if isinstance(value, str) else ""

    return (
        Column("job", "job", right=True),
        Column("state", "state"),
        Column("entity_id", "id"),
        Column("entity_type", "type", wide=True),
        Column("priority", "priority"),
        Column("attempts", "attempts", right=True),
        Column("enqueued_at", "enqueued", show=second, aside=age),
        Column("raw_bytes", "size", show=size, right=True, wide=True),
        Column("error", "error", shorten=True),
    )
