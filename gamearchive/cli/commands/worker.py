"""``worker``: the daemon that archives what waits in the queue, and its state from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from gamearchive.cli.context import Context
from gamearchive.cli.declaration import command, command_group
from gamearchive.cli.options import option
from gamearchive.cli.parts import JSON, Column, Fields, Row, Table
from gamearchive.units import SECOND, format_count, format_duration, format_instant, format_size, parse_duration

if TYPE_CHECKING:
    from gamearchive.daemon import Daemon, DaemonOptions
    from gamearchive.events import Event
    from gamearchive.queue import JobCount, WorkerStatus
    from gamearchive.supervisor import Supervisor
    from gamearchive.tally import Status

LOGGED_SECONDS = 10.0
"""How it is going is logged so often at most."""

app = command_group("worker", help="Archives what waits in the queue.", example="gamearchive worker run")


@command(app, exits=(3, 11, 15, 17, 18), example="gamearchive worker run --concurrency 4 --metrics-port 9090")
def run(
    context: Context,
    concurrency: Annotated[
        int | None, option("--concurrency", metavar="N", minimum=1, help="Archive so many batches at a time.")
    ] = None,
    batch_size: Annotated[
        int | None, option("--batch-size", metavar="N", minimum=1, help="Archive so many games together at most.")
    ] = None,
    burst: Annotated[bool, option("--burst", help="End when nothing waits any more.")] = False,
    types: Annotated[list[str] | None, option("--types", metavar="TYPE,...", help="Archive only games of these types.")] = None,
    metrics_port: Annotated[
        int | None,
        option("--metrics-port", metavar="PORT", minimum=0, help="Give metrics to Prometheus at this port; 0: any free one."),
    ] = None,
    name: Annotated[
        str | None, option("--name", metavar="NAME", help="What this worker is called; if unset, as its machine.")
    ] = None,
    grace: Annotated[
        str | None, option("--grace", metavar="DURATION", help="How long what is in hand may take when it is to stop.")
    ] = None,
) -> int:
    """Archive what waits in the queue, until stopped.

    On a terminal with a view of how it goes, else with a line for each event on standard error. SIGTERM and Ctrl-C finish what
    is in hand, and put back what takes longer than the grace; a second Ctrl-C leaves at once. With --burst it ends with 3 if an
    attempt failed; what is to be tried again later stays in the queue.
    """
    from gamearchive.daemon import DaemonOptions
    from gamearchive.model import check_type

    settings = context.settings.worker
    options = DaemonOptions(
        concurrency=concurrency or settings.concurrency,
        batch_size=batch_size or settings.batch_size,
        types=[check_type(each) for listed in types or () for each in listed.split(",")],
        name=name,
        grace=settings.grace if grace is None else parse_duration(grace),
        burst=burst,
    )
    return context.run(_run(context, options, metrics_port), finishes_batch=True, quietly=True)


async def _run(context: Context, options: DaemonOptions, metrics_port: int | None) -> int:
    import gc
    from dataclasses import replace

    from gamearchive.administration import Administration
    from gamearchive.daemon import Daemon
    from gamearchive.settings import supervisor
    from gamearchive.supervisor import Supervisor

    # Batches are many objects that live for a moment and hold no cycles: looking for cycles takes a tenth of the time.
    gc.set_threshold(200_000, 50)
    screen = context.output.screen()
    address, watchdog = supervisor()
    started = context.clock.monotonic()
    async with Administration(context.settings, context.clock) as administration:
        daemon = Daemon(administration, replace(options, count_seconds=1.0) if screen is not None else options)
        with ExitStack() as stack:
            port = None
            if metrics_port is not None:
                from gamearchive.metrics import Metrics, MetricsServer

                metrics = Metrics()
                daemon.listen(metrics.listen)
                server = MetricsServer(metrics, metrics_port, alive=daemon.is_alive, ready=daemon.is_ready)
                port = stack.enter_context(server).port
            ticks = [_Told(Supervisor(address), watchdog, daemon).tick]
            if screen is None:
                daemon.listen(_Log(context).listen)
            else:
                from gamearchive.cli.live import LiveView

                view = stack.enter_context(LiveView(daemon, screen, context.stopping.set))
                context.restore = view.restore
                ticks.append(view.tick)

            def each_tick() -> None:
                for tick in ticks:
                    tick()

            await daemon.run(context.stopping.is_set, each_tick, port)
    status = daemon.status()
    _summarize(context, status, context.clock.monotonic() - started, logged=screen is None)
    return 3 if options.burst and status.failures else 0


class _Told:
    """Tells the supervisor of a daemon what it wants to hear."""

    def __init__(self, supervisor: Supervisor, watchdog: float | None, daemon: Daemon) -> None:
        self._supervisor, self._daemon = supervisor, daemon
        self._every = 5.0 if watchdog is None else watchdog / 3
        self._told_at: float | None = None
        self._stopping = False

    def tick(self) -> None:
        """Called by the daemon's loop."""
        now = self._daemon.clock.monotonic()
        if self._daemon.state == "stopping" and not self._stopping:
            self._stopping = True
            self._supervisor.stopping("finishing what is in hand")
        elif self._daemon.started and (self._told_at is None or now - self._told_at >= self._every):
            tell = self._supervisor.ready if self._told_at is None else self._supervisor.alive
            self._told_at = now
            status = self._daemon.status()
            tell(f"{status.state}, {format_count(status.games, 'game')} archived, {status.games_per_second:,.0f}/s")


class _Log:
    """Writes a daemon's events, a line each."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._progress: tuple[float, object] = (-LOGGED_SECONDS, None)

    def listen(self, event: Event) -> None:
        """Take an event, in whatever thread it comes from."""
        from gamearchive.events import Lag, Progress

        if isinstance(event, Lag):
            return
        said = _said(event)
        if isinstance(event, Progress):
            now = self._context.clock.monotonic()
            if now - self._progress[0] < LOGGED_SECONDS or self._progress[1] == event.jobs:
                return
            self._progress = (now, event.jobs)
            said |= {state: sum(by_priority.values()) for state, by_priority in event.jobs.items()}
        time = format_instant(self._context.clock.now())
        self._context.output.event(event.kind, {"time": time, "event": event.name, **said})


def _said(event: Event) -> dict[str, JSON]:
    """What an event says that is one value, or durations by name."""
    from msgspec import structs

    said: dict[str, JSON] = {}
    for key, value in structs.asdict(event).items():
        if isinstance(value, Mapping):
            numbers = value.items() if key in ("stages", "result") else ()
            said |= {f"{name}_seconds" if key == "stages" else name: _rounded(number) for name, number in numbers}
        else:
            said[key] = _rounded(value)
    return said


def _rounded(value: JSON) -> JSON:
    return round(value, 4) if isinstance(value, float) else value


def _summarize(context: Context, status: Status, seconds: float, *, logged: bool) -> None:
    data: Row = {
        "archived": status.games,
        "failures": status.failures,
        "failed": status.dead_letters,
        "raw_bytes": status.raw_bytes,
        "stored_bytes": status.stored_bytes,
        "seconds": round(seconds, 3),
    }
    if logged:
        context.output.event("summary", {"time": format_instant(context.clock.now()), "event": "stopped", **data})
        return
    share = f" ({status.stored_bytes / status.raw_bytes:.0%})" if status.raw_bytes else ""
    sizes = f"{format_size(status.raw_bytes)} in {format_size(status.stored_bytes)}{share}"
    given_up = f", {format_count(status.dead_letters, 'game')} given up" if status.dead_letters else ""
    context.output.summary(
        data, f"Archived {format_count(status.games, 'game')}, {sizes}{given_up}; {format_duration(round(seconds))}."
    )


_WORKERS = (
    Column("name", "worker"),
    Column("state", "state"),
    Column("host", "host", wide=True),
    Column("pid", "pid", right=True, wide=True),
    Column("slots", "slots", right=True, show=lambda slots: str(len(slots)) if isinstance(slots, Sequence) else ""),
    Column("games", "archived", right=True),
    Column("games_per_second", "games/s", right=True),
    Column("seen_at", "seen"),
)


@command(app, exits=(10, 15, 17), example="gamearchive worker status --json")
def status(context: Context) -> None:
    """Show the workers of this database, and how much waits for them."""
    context.run(_status(context))


async def _status(context: Context) -> None:
    from gamearchive.administration import Administration
    from gamearchive.tally import status_of

    async with Administration(context.settings, context.clock) as administration:
        counts, workers = await administration.jobs.counts(), await administration.jobs.workers()
    rows = [_row(worker, status_of(worker.status)) for worker in workers]
    jobs = _jobs(counts)
    since = min((each.oldest for each in counts if each.state.name == "WAITING"), default=None)
    oldest = None if since is None else max(context.clock.now() - since, 0) / SECOND
    shown: Row = {
        "queue": ", ".join(f"{number:,} {state}" for state, number in jobs.items() if number) or "empty",
        "oldest": "" if oldest is None else format_duration(oldest),
        "workers": "" if rows else "none",
    }
    context.output.document(
        {"jobs": jobs, "oldest_waiting_seconds": oldest, "workers": rows},
        Fields({key: value for key, value in shown.items() if value}),
        *([Table(_WORKERS, rows)] if rows else []),
    )


def _jobs(counts: Sequence[JobCount]) -> dict[str, int]:
    """How many jobs there are in each state that is not the end of them."""
    from gamearchive.jobs import CURRENT

    return {state.name.lower(): sum(each.jobs for each in counts if each.state is state) for state in CURRENT}


def _row(worker: WorkerStatus, said: Status | None) -> Row:
    """A worker, and what it says of itself, as far as it does."""
    slots: list[JSON] = (
        [{"doing": slot.doing, "games": slot.games, "seconds": slot.seconds} for slot in said.slots] if said else []
    )
    return {
        "name": worker.name,
        "state": "paused" if worker.paused else said.state if said else "starting",
        "paused": worker.paused,
        "host": worker.host,
        "pid": worker.pid,
        "started_at": format_instant(worker.started_at),
        "seen_at": format_instant(worker.seen_at),
        "slots": slots,
        "games": said.games if said else None,
        "failures": said.failures if said else None,
        "games_per_second": round(said.games_per_second, 1) if said else None,
        "storage": said.storage if said else None,
        "database": said.database if said else None,
    }


@command(app, exits=(10, 12, 15, 17), example="gamearchive worker pause lin-1")
def pause(
    context: Context,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Which worker; all of them, if unset.")] = None,
) -> None:
    """Have workers take no more jobs until they are resumed; what is in hand is finished."""
    context.run(_pause(context, name, paused=True))


@command(app, exits=(10, 12, 15, 17), example="gamearchive worker resume")
def resume(
    context: Context,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Which worker; all of them, if unset.")] = None,
) -> None:
    """Have paused workers go on."""
    context.run(_pause(context, name, paused=False))


async def _pause(context: Context, name: str | None, *, paused: bool) -> None:
    from gamearchive.administration import Administration

    async with Administration(context.settings, context.clock) as administration:
        workers = await administration.jobs.pause(name, paused=paused)
    data: Row = {"workers": workers, "paused": paused}
    shown = f"{format_count(workers, 'worker')} {'paused' if paused else 'resumed'}"
    context.output.document(data, Fields({"done": shown}))
