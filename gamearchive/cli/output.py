"""Everything that is printed: the only module that touches the standard streams.

Data goes to standard output, talk (progress, summaries, warnings, errors) to standard error. A command says *what* there is to
show, and one of two printers decides how:

- `TextOutput`, for people. On a terminal tables, plots and progress bars; in a pipe plain lines, cells apart by a tab, without
  headings, colours or bars. ``--quiet`` leaves the ids of listings, and problems.
- `JSONOutput`, for programs. A **document** is one object. **Lines** are one object each, whose ``type`` is ``item``,
  ``progress``, ``error`` or ``summary``, the summary last. Only errors and details go to standard error.

::

    output.document(data, Fields(data), Table(COLUMNS, rows))       # a document; the parts are how people see it

    with output.listing(COLUMNS, identity="entity_id") as add:      # lines
        for row in rows:
            add(row)
    output.summary({"count": n}, f"{n} games.")

    with output.progress("Archiving", unit="games") as report:      # not around a listing: a terminal has one last line
        report(done, fraction)
"""

# ruff: noqa: ARG002 - each printer is also given what only the other one shows

from __future__ import annotations

import csv
import io
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from enum import Enum
from typing import TYPE_CHECKING, TextIO, TypeAlias

from gamearchive.cli.parts import Column, Fields, Part, Row, Table, pairs, plain, plain_lines, visible
from gamearchive.clock import Clock
from gamearchive.errors import GameArchiveError
from gamearchive.settings import colour_wanted

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

Add: TypeAlias = Callable[[Row], None]
"""Takes one result of a listing."""
Report: TypeAlias = Callable[[int, float | None], None]
"""Takes how many are done, and what fraction of the whole that is (0 to 1) where it is known."""

PATIENCE_SECONDS = 1.0
"""What is over within this time shows no progress; JSON has at most one line of it in as long."""
_TABLE_ROWS = 500
"""Rows that a terminal's table is measured by and printed with, so that a listing of any length fits the memory."""
_SPARE_FILES = 4
_WRITABLE = "Send it to a place that can take it."


class ClosedPipeError(Exception):
    """Whoever read standard output has closed it, as ``head`` does: there is nobody left to print for."""


class Layout(Enum):
    """How people get a listing: as suits the stream, as CSV under the keys, or one id a line."""

    AUTO = "auto"
    CSV = "csv"
    IDS = "ids"


class Output(ABC):
    """What commands print through.

    Whatever writes to standard output raises `ClosedPipeError` if its reader has gone, and `GameArchiveError` if it cannot be
    written. Talk that cannot be written is dropped.
    """

    @abstractmethod
    def document(self, data: Row, *parts: Part) -> None:
        """One object: ``data`` for programs, the parts for people, who see ``data`` as fields where there are none."""

    @abstractmethod
    def listing(self, columns: Sequence[Column], *, identity: str, layout: Layout = Layout.AUTO) -> AbstractContextManager[Add]:
        """Results, handed over one by one. People see the columns, programs the whole row.

        Args:
            columns: what people see.
            identity: the key of what ``--quiet`` and `Layout.IDS` leave.
            layout: how people get it.
        """

    @abstractmethod
    def item(self, data: Row) -> None:
        """One result that only programs are told of, one by one; people get the summary."""

    @abstractmethod
    def progress(self, title: str, *, unit: str) -> AbstractContextManager[Report]:
        """Progress of what takes long, told as often as is convenient.

        Args:
            title: what is being done.
            unit: what is counted, in the plural.
        """

    @abstractmethod
    def problem(self, data: Row, sentence: str) -> None:
        """Something that failed while the rest goes on."""

    @abstractmethod
    def summary(self, data: Row, sentence: str) -> None:
        """The end of what prints lines."""

    @abstractmethod
    def event(self, kind: str, data: Row) -> None:
        """Something that a service did, on standard error: as a line of keys and values for people and logs.

        Args:
            kind: as lines of JSON are told apart.
            data: what there is to say; ``time`` and ``event`` first.
        """

    def screen(self) -> Console | None:
        """The terminal, for who takes all of it; None where there is none, or no wish for it."""
        return None

    @abstractmethod
    def detail(self, sentence: str, level: int = 1) -> None:
        """Talk for those who asked for it: ``-v`` is level 1, ``-vv`` level 2."""

    @abstractmethod
    def error(self, error: GameArchiveError) -> None:
        """The error that ended the command."""

    def text(self, line: str) -> None:
        """A line of data, the same for people and programs."""
        _write(f"{line}\n")

    def payload(self, data: bytes) -> None:
        """A game's bytes, untouched."""
        with _standard_output() as stream:
            stream.flush()
            stream.buffer.write(data)

    def flush(self) -> None:
        """Hand all that was printed to the system."""
        if sys.stdout is not None:
            with _standard_output() as stream:
                stream.flush()


class JSONOutput(Output):
    """Prints for programs, in UTF-8 whatever the locale."""

    def __init__(self, clock: Clock, *, quiet: bool, verbose: int) -> None:
        import json

        self._encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
        self._clock, self._quiet, self._verbose = clock, quiet, verbose
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # half a surrogate pair becomes \ud800, which is its escape in JSON too
                stream.reconfigure(encoding="utf-8", errors="backslashreplace")

    def document(self, data: Row, *parts: Part) -> None:
        _write(f"{self._encode(data)}\n")

    @contextmanager
    def listing(self, columns: Sequence[Column], *, identity: str, layout: Layout = Layout.AUTO) -> Iterator[Add]:
        yield self.item

    def item(self, data: Row) -> None:
        self._line("item", data)

    @contextmanager
    def progress(self, title: str, *, unit: str) -> Iterator[Report]:
        begun = told = self._clock.monotonic()

        def report(done: int, fraction: float | None) -> None:
            nonlocal told
            now = self._clock.monotonic()
            if not self._quiet and now - told >= PATIENCE_SECONDS:
                told = now
                elapsed = round(now - begun, 3)
                self._line("progress", {"done": done, "unit": unit, "fraction": fraction, "elapsed_seconds": elapsed})
                self.flush()

        yield report

    def problem(self, data: Row, sentence: str) -> None:
        self._line("error", data)

    def summary(self, data: Row, sentence: str) -> None:
        self._line("summary", data)

    def event(self, kind: str, data: Row) -> None:
        if not self._quiet or kind in ("error", "summary"):
            _talk(f"{self._encode({'type': kind, **data})}\n")

    def detail(self, sentence: str, level: int = 1) -> None:
        if self._verbose >= level:
            _talk(f"{self._encode({'type': 'detail', 'message': sentence})}\n")

    def error(self, error: GameArchiveError) -> None:
        facts = {"code": error.code, "message": error.message, "hint": error.hint, "exit_code": error.exit_code}
        _talk(f"{self._encode({'type': 'error', **facts})}\n")

    def _line(self, kind: str, data: Row) -> None:
        _write(f"{self._encode({'type': kind, **data})}\n")


class TextOutput(Output):
    """Prints for people.

    Args:
        clock: times progress.
        quiet: whether to print ids or nothing.
        verbose: how much detail is wanted.
        color: ``always``, ``never``, or ``auto``: as NO_COLOR and FORCE_COLOR say, else on terminals.
    """

    def __init__(self, clock: Clock, *, quiet: bool, verbose: int, color: str) -> None:
        self._clock, self._quiet, self._verbose = clock, quiet, verbose
        self._colour = {"always": True, "never": False}.get(color, colour_wanted())
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # a name that the locale cannot write is no reason to stop
                stream.reconfigure(errors="backslashreplace")

    def document(self, data: Row, *parts: Part) -> None:
        if self._quiet:
            return
        for number, part in enumerate(parts or (Fields(data),)):
            if number:
                _write("\n")
            if self._is_styled(sys.stdout):
                self._draw(part)
            else:
                _write("".join(f"{line}\n" for line in plain_lines(part)))

    @contextmanager
    def listing(self, columns: Sequence[Column], *, identity: str, layout: Layout = Layout.AUTO) -> Iterator[Add]:
        if self._quiet or layout is Layout.IDS:
            yield lambda row: _write(f"{visible(plain(row[identity]))}\n")
        elif layout is Layout.CSV:
            _write(_csv_line([column.key for column in columns]))
            yield lambda row: _write(_csv_line([visible(plain(row.get(column.key))) for column in columns]))
        elif not self._is_styled(sys.stdout):
            yield lambda row: _write("\t".join(column.cell(row) for column in columns) + "\n")
        else:
            waiting: list[Row] = []

            def add(row: Row) -> None:
                waiting.append(row)
                if len(waiting) == _TABLE_ROWS:
                    self._draw(Table(columns, waiting))
                    waiting.clear()

            try:
                yield add
            finally:
                if waiting:
                    self._draw(Table(columns, waiting))

    def item(self, data: Row) -> None:
        pass

    @contextmanager
    def progress(self, title: str, *, unit: str) -> Iterator[Report]:
        if self._quiet or not _is_terminal(sys.stderr):
            yield lambda _done, _fraction: None
            return
        from gamearchive.cli.drawing import progress_bar

        begun, bar = self._clock.monotonic(), progress_bar(self._console(sys.stderr), title)

        def report(done: int, fraction: float | None) -> None:
            elapsed = self._clock.monotonic() - begun
            if elapsed >= PATIENCE_SECONDS:
                bar.start()
                rate = f"{done:,} {unit}, {done / elapsed:,.0f}/s"
                bar.update(bar.task_ids[0], completed=fraction, total=None if fraction is None else 1, rate=rate)

        try:
            yield report
        finally:
            bar.stop()

    def problem(self, data: Row, sentence: str) -> None:
        self._say("warning: ", "yellow", sentence)

    def summary(self, data: Row, sentence: str) -> None:
        if not self._quiet:
            self._say("", "", sentence)

    def event(self, kind: str, data: Row) -> None:
        if not self._quiet or kind == "error":
            level = "error" if kind == "error" else "info"
            _talk(f"{' '.join(pairs({**data, 'level': level}))}\n")

    def screen(self) -> Console | None:
        return self._console(sys.stdout) if _is_terminal(sys.stdout) and not self._quiet else None

    def detail(self, sentence: str, level: int = 1) -> None:
        if self._verbose >= level:
            self._say("", "", sentence)

    def error(self, error: GameArchiveError) -> None:
        self._say("error: ", "bold red", error.code)
        self._say("", "", " ".join(error.message.split()))
        for line in "\n".join(getattr(error, "__notes__", ())).splitlines():  # such as a caret under what is wrong
            self._say("", "", line)
        self._say("hint: ", "cyan", " ".join(error.hint.split()))

    def _say(self, label: str, style: str, sentence: str) -> None:
        if label and self._is_styled(sys.stderr):
            from rich.text import Text

            label = _drawn(self._console(sys.stderr), Text(label, style), end="")
        _talk(f"{label}{visible(sentence)}\n")

    def _is_styled(self, stream: TextIO | None) -> bool:
        """Whether a stream gets tables and colours: a terminal does, and whatever there is where colour is insisted on."""
        return self._colour is True or _is_terminal(stream)

    def _console(self, stream: TextIO) -> Console:
        from rich.console import Console

        return Console(
            file=stream,
            force_terminal=True,
            color_system=None if self._colour is False else "auto",  # None: no codes at all, not bold either
            no_color=False,
            markup=False,
            emoji=False,
            highlight=False,
        )

    def _draw(self, part: Part) -> None:
        from gamearchive.cli.drawing import drawing

        console = self._console(sys.stdout)
        _write(_drawn(console, drawing(part, console.width)))


def make_output(clock: Clock, *, json: bool = False, quiet: bool = False, verbose: int = 0, color: str = "auto") -> Output:
    """The printer that the global options ask for."""
    if json:
        return JSONOutput(clock, quiet=quiet, verbose=verbose)
    return TextOutput(clock, quiet=quiet, verbose=verbose, color=color)


def talk_at_once(text: str) -> None:
    """Talk from a signal's handler, which may have interrupted a write to the stream: past its buffer."""
    with suppress(OSError):
        os.write(2, text.encode())


def show_cursor() -> None:
    """Give the terminal its cursor back, which a progress bar hides, before the process leaves at once."""
    if _is_terminal(sys.stderr):
        talk_at_once("\x1b[?25h\n")


def unwritable(error: OSError) -> Exception:
    """What to raise after a write to standard output failed.

    What the stream still holds is let go: Python would try to write it once more, and complain, on its way out.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    if isinstance(error, BrokenPipeError):
        return ClosedPipeError()
    return GameArchiveError(f"Standard output cannot be written: {error.strerror}.", hint=_WRITABLE)


def probe_files() -> None:
    """Make sure that a few more files can be opened: an event loop that fails to open its own leaves a traceback behind.

    Raises:
        OSError: if the process may open no more.
    """
    with ExitStack() as stack:
        for _ in range(_SPARE_FILES):
            stack.callback(os.close, os.open(os.devnull, os.O_RDONLY))


@contextmanager
def _standard_output() -> Iterator[TextIO]:
    if sys.stdout is None:
        raise GameArchiveError("Standard output is closed.", hint=_WRITABLE)
    try:
        yield sys.stdout
    except OSError as error:
        raise unwritable(error) from None


def _write(text: str) -> None:
    with _standard_output() as stream:
        stream.write(text)


def _talk(text: str) -> None:
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            sys.stderr.write(text)
            sys.stderr.flush()


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and not stream.closed and stream.isatty()


def _csv_line(cells: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


def _drawn(console: Console, drawing: RenderableType, end: str = "\n") -> str:
    """A drawing as text. Rich would end the process itself if it wrote and the reader had gone."""
    with console.capture() as capture:
        console.print(drawing, end=end)
    return capture.get()
