"""The live view of a daemon: the whole terminal, drawn anew some times a second, and keys.

What it shows it takes from the daemon in this process; of the other workers, and of what is to be tried again, it asks the
database, in a thread of its own, and no more often than that costs next to nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.segment import Segment

from gamearchive.cli.keys import Keys
from gamearchive.cli.panel import ASCII, CURVE, Colleague, Glyphs, Retry, Shown, frame
from gamearchive.events import Event, Progress, Started
from gamearchive.jobs import JobFilter, JobState
from gamearchive.rounds import Rounds
from gamearchive.tally import status_of
from gamearchive.units import SECOND

if TYPE_CHECKING:
    from gamearchive.daemon import Daemon

FRAME_SECONDS = 0.5
_ASK_SECONDS = 2.0
_RETRIES = 5


class LiveView:
    """The live view. Use it in a ``with`` statement, and call `tick` some times a second.

    Args:
        daemon: whose.
        console: the terminal.
        quit: what the key ``q`` does.
    """

    def __init__(self, daemon: Daemon, console: Console, quit: Callable[[], object]) -> None:  # noqa: A002 - the key's name
        self._daemon, self._quit = daemon, quit
        self._clock = daemon.clock
        self._console = console
        self._glyphs = ASCII if console.options.ascii_only else Glyphs()
        self._keys = Keys()
        self._live = Live(console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
        self._stack = ExitStack()
        self._began = self._drawn_at = self._clock.monotonic()
        self._progress: Progress | None = None
        self._trend: deque[float] = deque(maxlen=CURVE)
        self._pace: deque[float] = deque(maxlen=CURVE)
        self._workers: list[Colleague] = []
        self._retries: list[Retry] = []
        daemon.listen(self._listen)
        self._asking = Rounds("asking", _ASK_SECONDS, self._ask, daemon.tell)

    def __enter__(self) -> Self:
        self._stack.enter_context(self._keys)
        self._stack.enter_context(self._live)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._asking.stop()
        self._stack.close()

    def restore(self) -> None:
        """Give the terminal back, at once."""
        self._keys.restore()
        self._console.set_alt_screen(False)
        self._console.show_cursor()

    def tick(self) -> None:
        """Do what keys ask for, and draw a frame if it is time for one."""
        for key in self._keys.pressed():
            if key in "pP":
                self._daemon.pause(True)
            elif key in "rR":
                self._daemon.pause(False)
            elif key in "qQ":
                self._quit()
        now = self._clock.monotonic()
        if now - self._drawn_at >= FRAME_SECONDS:
            self._drawn_at = now
            self._live.update(_Frame(self._shown(now)), refresh=True)

    def _listen(self, event: Event) -> None:
        if isinstance(event, Progress):
            self._progress = event
            self._trend.append(sum(event.jobs["waiting"].values()))
            self._pace.append(event.games_per_second)
        elif isinstance(event, Started):
            self._asking.start()

    def _ask(self) -> None:
        """Ask the database for what this process does not know."""
        now = self._clock.now()
        queue = self._daemon.queue
        self._workers = [
            Colleague(
                worker.name,
                worker.host,
                worker.paused,
                max(now - worker.seen_at, 0) / SECOND,
                status_of(worker.status),
            )
            for worker in queue.workers()
            if not worker.is_gone
        ]
        waiting = queue.find(JobFilter(states=[JobState.RETRYABLE]), _RETRIES)
        self._retries = [
            Retry(*job.key, job.attempts, max((job.due_at or now) - now, 0) / SECOND, job.error or "") for job in waiting
        ]

    def _shown(self, now: float) -> Shown:
        daemon, progress = self._daemon, self._progress
        return Shown(
            name=daemon.name,
            uptime_seconds=now - self._began,
            status=daemon.status(),
            jobs=None if progress is None else progress.jobs,
            oldest_seconds=None if progress is None else progress.oldest_seconds,
            trend=tuple(self._trend),
            pace=tuple(self._pace),
            retries=self._retries,
            errors=tuple(daemon.tally.errors),
            workers=self._workers,
            glyphs=self._glyphs,
        )


class _Frame:
    """A frame as Rich draws it: as large as the terminal is just now."""

    def __init__(self, shown: Shown) -> None:
        self._shown = shown

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for number, line in enumerate(frame(self._shown, options.max_width, options.height or console.height)):
            if number:
                yield Segment.line()
            yield from line.render(console)  # not the line itself, which Rich would look for words to wrap
