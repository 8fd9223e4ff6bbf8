"""What a command gets: the settings, the output, the clock, and a way into the asynchronous side that stops when asked to.

A command calls `Context.run` once, with a coroutine. SIGINT and SIGTERM end it there and then, unless it says that it finishes
its batch: then the first signal sets `Context.stopping`, which the verb looks at between batches, and a second SIGINT leaves
at once. Either way the process ends with 130 or 143.

``--verbose`` tells of each step of a command, and given twice what the package logs as well: how each source is read.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, nullcontext
from typing import TypeVar

import typer

from gamearchive.cli.options import GlobalOptions
from gamearchive.cli.output import Output, make_output, probe_files, show_cursor, talk_at_once
from gamearchive.cli.signals import finishing
from gamearchive.clock import Clock
from gamearchive.errors import ConfigurationError, RefusedError
from gamearchive.settings import KEYS, Settings, load_settings

_ALL = 2  # times --verbose

T = TypeVar("T")


class Context:
    """One run of the program.

    Args:
        clock: tells the time.

    Attributes:
        options: the global options as known so far.
        output: where results and talk go; the only way to the standard streams.
        running: whether the command line was understood and its command begun.
        stopping: set once the process was asked to stop.
        stopped_by: the signal that asked, if any.
        restore: what gives the terminal back to whoever has it next, where the process leaves at once.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.options = GlobalOptions()
        self.output: Output = make_output(clock)
        self.running = False
        self.stopping = threading.Event()
        self.stopped_by: int | None = None
        self.restore: Callable[[], None] = show_cursor
        self._stops_quietly = False
        self._flags: dict[str, str | None] = {}
        self._settings: Settings | None = None

    def configure(self, options: GlobalOptions) -> None:
        """Take in more global options, which go over those known so far."""
        self.options = options.over(self.options)
        self.output = make_output(
            self.clock,
            json=self.options.json,
            quiet=self.options.quiet,
            verbose=self.options.verbose,
            color=self.options.color or "auto",
        )
        self._settings = None

    def set_flags(self, **flags: str | None) -> None:
        """Take a command's own options for settings: ``context.set_flags(max_record=max_record)``. None is not given."""
        self._flags |= {key: flag for key, flag in flags.items() if flag is not None}
        self._settings = None

    @property
    def settings(self) -> Settings:
        """All settings, resolved when first asked for.

        Raises:
            ConfigurationError: if something is wrong with them, or the games would not outlast this process.
        """
        if self._settings is None:
            flags = {key: getattr(self.options, key, None) for key in KEYS}
            settings = load_settings(flags | self._flags, self.options.config)
            if any(url.startswith("memory:") for url in settings.storage_urls):
                raise ConfigurationError(
                    "A storage in memory ends with the command, and its games with it.",
                    hint="Say where they are to stay: --storage file:///path/to/packs.",
                )
            shown = settings.shown()
            self.output.detail(f"Settings file: {settings.file or 'none'}.")
            self.output.detail(f"Catalog: {shown['database']}; packs: {shown['storage']}.")
            self._settings = settings
        return self._settings

    def run(self, work: Coroutine[object, None, T], *, finishes_batch: bool = False, quietly: bool = False) -> T:
        """Run a coroutine to its end; once in a command.

        Args:
            work: what to do.
            finishes_batch: whether it looks at `stopping` between batches, and so need not be torn out of one.
            quietly: whether it tells itself that it is stopping.
        """
        import asyncio

        probe_files()
        self._stops_quietly = quietly
        with self._logged(), finishing(self._stop, self._restore) if finishes_batch else nullcontext():
            return asyncio.run(work)

    def confirm(self, question: str, *, flag: str) -> None:
        """Ask before something is written over or deleted.

        Args:
            question: what would be done.
            flag: what says yes on the command line.

        Raises:
            RefusedError: if there is nobody to ask.
            typer.Abort: if the answer is no.
        """
        if self.options.json or not sys.stdin.isatty():
            raise RefusedError(f"{question.rstrip('?')}: this needs a yes.", hint=f"Add {flag} if this is what you want.")
        if not typer.confirm(question, err=True):
            raise typer.Abort

    @contextmanager
    def _logged(self) -> Iterator[None]:
        """Tell what the package logs, to those who asked for all that there is to tell."""
        if self.options.verbose < _ALL:
            yield
            return
        import logging

        handler, logger = logging.Handler(), logging.getLogger("gamearchive")
        handler.emit = lambda record: self.output.detail(record.getMessage(), _ALL)  # type: ignore[method-assign]
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
        try:
            yield
        finally:
            logger.removeHandler(handler)

    def _restore(self) -> None:
        self.restore()

    def _stop(self, signal_number: int) -> None:
        self.stopped_by = signal_number
        self.stopping.set()
        if not (self.options.json or self.options.quiet or self._stops_quietly):
            talk_at_once("Finishing the batch in hand; Ctrl-C leaves at once.\n")
