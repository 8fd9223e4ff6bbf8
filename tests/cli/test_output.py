"""What is printed, for people and for programs: on a terminal, in a pipe, quiet or not, and whatever the text holds."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Iterable, Iterator

import pytest

from gamearchive.cli.output import JSONOutput, Layout, Output, TextOutput, make_output
from gamearchive.cli.parts import Bars, Column, Fields, Row, Table, plain, visible
from gamearchive.clock import ManualClock
from gamearchive.errors import GameArchiveError, NotFoundError, UsageError

COLUMNS = (
    Column("entity_id", "id"),
    Column("raw_bytes", "size", show=lambda value: f"{value} B", right=True),
    Column("archived_at", "archived", aside=lambda _value: "(3d ago)"),
)
ROWS: tuple[Row, ...] = (
    {"entity_id": "game-1", "raw_bytes": 4096, "archived_at": "2025-03-01T12:00:00Z", "winner": None},
    {"entity_id": "game-2", "raw_bytes": 12, "archived_at": None, "winner": "Ada"},
)
NASTY = "a\tb\nc\x1b[31m[bold]\x07\u202ed\x9b2J\ud800"


class Stream(io.TextIOWrapper):
    """A standard stream in memory, on a terminal or not."""

    def __init__(self, *, terminal: bool, encoding: str = "utf-8") -> None:
        self.bytes = io.BytesIO()
        self._terminal = terminal
        super().__init__(self.bytes, encoding=encoding, newline="")

    def isatty(self) -> bool:
        return self._terminal

    def read_back(self) -> str:
        self.flush()
        return self.bytes.getvalue().decode("utf-8", "surrogateescape")


class Streams:
    """Both streams, put in the place of the process's own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, terminal: bool = False, encoding: str = "utf-8") -> None:
        self.stdout, self.stderr = (Stream(terminal=terminal, encoding=encoding) for _ in range(2))
        monkeypatch.setattr(sys, "stdout", self.stdout)
        monkeypatch.setattr(sys, "stderr", self.stderr)

    @property
    def out(self) -> str:
        return self.stdout.read_back()

    @property
    def err(self) -> str:
        return self.stderr.read_back()


@pytest.fixture(autouse=True)
def _plain_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm-256color")


def text(clock: ManualClock | None = None, *, quiet: bool = False, verbose: int = 0, color: str = "auto") -> Output:
    return make_output(clock or ManualClock(), quiet=quiet, verbose=verbose, color=color)


def list_rows(output: Output, layout: Layout = Layout.AUTO, rows: Iterable[Row] = ROWS) -> None:
    with output.listing(COLUMNS, identity="entity_id", layout=layout) as add:
        for row in rows:
            add(row)


def test_the_options_choose_the_printer() -> None:
    assert isinstance(make_output(ManualClock(), json=True), JSONOutput)
    assert isinstance(make_output(ManualClock()), TextOutput)


def test_a_listing_in_a_pipe_is_cells_apart_by_tabs(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = Streams(monkeypatch)
    list_rows(text())
    assert pipe.out == "game-1\t4096 B\t2025-03-01T12:00:00Z\ngame-2\t12 B\t\n"
    assert pipe.err == ""


def test_a_listing_on_a_terminal_is_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    terminal = Streams(monkeypatch, terminal=True)
    list_rows(text(color="never"))
    heading, first, second = terminal.out.splitlines()
    assert heading.split() == ["id", "size", "archived"]
    assert first.split() == ["game-1", "4096", "B", "2025-03-01T12:00:00Z", "(3d", "ago)"]
    assert second.split() == ["game-2", "12", "B"]
    assert first.index("4096 B") + 2 == second.index("12 B")


def test_a_long_listing_on_a_terminal_is_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Streams(monkeypatch, terminal=True)
    rows = tuple({"entity_id": f"game-{number}"} for number in range(1234))
    list_rows(text(color="never"), rows=rows)
    assert [line.split()[0] for line in terminal.out.splitlines() if line.startswith("game-")] == [
        f"game-{number}" for number in range(1234)
    ]


def test_a_listing_that_breaks_off_shows_what_it_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Iterator[Row]:
        yield ROWS[0]
        raise NotFoundError("gone")

    terminal = Streams(monkeypatch, terminal=True)
    with pytest.raises(NotFoundError):
        list_rows(text(), rows=broken())
    assert "game-1" in terminal.out


def test_a_listing_as_csv_has_the_keys_for_a_heading(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = Streams(monkeypatch)
    list_rows(text(), Layout.CSV, ({"entity_id": 'a,"b"', "raw_bytes": 1, "archived_at": None},))
    assert list(csv.reader(io.StringIO(pipe.out))) == [["entity_id", "raw_bytes", "archived_at"], ['a,"b"', "1", ""]]


def test_quiet_leaves_the_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = Streams(monkeypatch)
    output = text(quiet=True)
    list_rows(output)
    output.document({"a": 1})
    output.summary({"count": 2}, "2 games.")
    with output.progress("Archiving", unit="games") as report:
        report(1, 0.5)
    assert (pipe.out, pipe.err) == ("game-1\ngame-2\n", "")


def test_ids_are_one_a_line_on_a_terminal_too(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Streams(monkeypatch, terminal=True)
    list_rows(text(), Layout.IDS)
    assert terminal.out == "game-1\ngame-2\n"


def test_problems_are_told_even_to_the_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = Streams(monkeypatch)
    text(quiet=True).problem({"line": 3}, "games.ndjson, line 3: cut off.")
    assert pipe.err == "warning: games.ndjson, line 3: cut off.\n"


def test_details_are_told_to_those_who_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = Streams(monkeypatch)
    for verbose in range(3):
        output = text(verbose=verbose)
        output.detail(f"first {verbose}")
        output.detail(f"second {verbose}", level=2)
    assert pipe.err == "first 1\nfirst 2\nsecond 2\n"


def test_a_document_is_its_parts_or_else_its_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = Streams(monkeypatch)
    output = text()
    output.document({"games": 2, "held": False, "note": None, "players": ["Ada", "Bob"]})
    assert pipe.out == "games: 2\nheld: no\nnote:\nplayers: Ada; Bob\n"
    output.document({}, Fields({"games": 2}), Table(COLUMNS, ROWS[:1], "By type"), Bars([("Monday", 3, "3 games")], "Growth"))
    assert pipe.out.splitlines()[4:] == [
        "games: 2",
        "",
        "By type",
        "id\tsize\tarchived",
        "game-1\t4096 B\t2025-03-01T12:00:00Z",
        "",
        "Growth",
        "Monday\t3 games",
    ]


def test_bars_on_a_terminal_are_as_long_as_their_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Streams(monkeypatch, terminal=True)
    text(color="never").document({}, Bars([("one", 10, "10"), ("two", 5, "5"), ("three", 0, "0")], "Growth"))
    title, *lines = terminal.out.splitlines()
    assert title.strip() == "Growth"
    assert [line.count("█") for line in lines] == [40, 20, 0]
    text().document({}, Bars([]))


def test_colour_goes_by_the_option_then_the_environment_then_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    def coloured(*, terminal: bool, color: str = "auto") -> bool:
        streams = Streams(monkeypatch, terminal=terminal)
        list_rows(text(color=color))
        return "\x1b[" in streams.out

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    assert coloured(terminal=True)
    assert not coloured(terminal=False)
    assert coloured(terminal=False, color="always")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert coloured(terminal=False)
    assert not coloured(terminal=False, color="never")
    monkeypatch.setenv("NO_COLOR", "1")
    assert not coloured(terminal=False)
    assert not coloured(terminal=True)
    assert coloured(terminal=True, color="always")


@pytest.mark.parametrize("layout", list(Layout))
@pytest.mark.parametrize("on_terminal", [True, False])
def test_text_from_games_drives_nothing(monkeypatch: pytest.MonkeyPatch, layout: Layout, on_terminal: bool) -> None:
    streams = Streams(monkeypatch, terminal=on_terminal)
    list_rows(text(color="never"), layout, ({"entity_id": NASTY},))
    assert r"a\tb\nc\x1b[31m[bold]\x07\u202ed\x9b2J\ud800" in streams.out
    if layout is not Layout.CSV:
        assert len([line for line in streams.out.splitlines() if "bold" in line]) == 1


def test_no_part_of_a_document_is_driven_by_what_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    for on_terminal in (True, False):
        streams = Streams(monkeypatch, terminal=on_terminal)
        parts = Fields({NASTY: NASTY}), Table(COLUMNS, [{"entity_id": NASTY}], NASTY), Bars([(NASTY, 1, NASTY)], NASTY)
        text().document({}, *parts)
        text().error(GameArchiveError(f"No {NASTY}.", hint=NASTY))
        text().problem({}, NASTY)
        for shown in (streams.out, streams.err):
            assert "[bold]" in shown
            assert not {"\x07", "\x9b", "\u202e", "\x1b[31m"} & {shown[at : at + 5] for at in range(len(shown))}
            assert not {"\x07", "\x9b", "\u202e"} & set(shown)


def test_an_error_is_three_lines_whatever_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = Streams(monkeypatch)
    text().error(NotFoundError("No game\nis there.", hint="Look\nelsewhere."))
    assert pipe.err == "error: not-found\nNo game is there.\nhint: Look elsewhere.\n"
    assert pipe.out == ""


def test_the_place_that_an_error_points_at_stands_below_its_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    error = UsageError("There is no `statis`.", hint="Say `status`.")
    error.add_note("statis = 1 \x1b[31m\n^")
    pipe = Streams(monkeypatch)
    text().error(error)
    assert pipe.err.splitlines() == [
        "error: usage",
        "There is no `statis`.",
        "statis = 1 \\x1b[31m",
        "^",
        "hint: Say `status`.",
    ]


def test_an_error_on_a_terminal_is_the_same_three_lines_in_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Streams(monkeypatch, terminal=True)
    text().error(NotFoundError("No game is there.", hint="Look elsewhere."))
    lines = terminal.err.splitlines()
    assert [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines] == [
        "error: not-found",
        "No game is there.",
        "hint: Look elsewhere.",
    ]
    assert "\x1b[" in lines[0]


def test_a_problem_is_told_above_a_progress_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Streams(monkeypatch, terminal=True)
    clock = ManualClock()
    output = text(clock)
    with output.progress("Archiving", unit="games") as report:
        clock.turn(2)
        report(1000, None)
        output.problem({}, "games.ndjson, line 3: [cut] off.")
    assert "games.ndjson, line 3: [cut] off.\n" in terminal.err
    assert terminal.out == ""


def test_a_locale_that_cannot_write_a_name_is_no_reason_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = Streams(monkeypatch, encoding="ascii")
    list_rows(text(), Layout.IDS, ({"entity_id": "Zoë"},))
    assert streams.out == "Zo\\xeb\n"


def test_json_lines_have_a_type_and_end_with_the_summary(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = Streams(monkeypatch)
    output = make_output(ManualClock(), json=True)
    list_rows(output)
    output.problem({"reason": "cut off", "line": 3}, "games.ndjson, line 3: cut off.")
    output.summary({"count": 2, "next_cursor": None}, "2 games.")
    assert [json.loads(line) for line in pipe.out.splitlines()] == [
        {"type": "item", **ROWS[0]},
        {"type": "item", **ROWS[1]},
        {"type": "error", "reason": "cut off", "line": 3},
        {"type": "summary", "count": 2, "next_cursor": None},
    ]
    assert pipe.err == ""


def test_json_progress_comes_at_most_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = Streams(monkeypatch)
    clock = ManualClock()
    output = make_output(clock, json=True)
    with output.progress("Archiving", unit="games") as report:
        for done in range(1, 31):
            clock.turn(0.1)
            report(done, done / 30)
    lines = [json.loads(line) for line in pipe.out.splitlines()]
    assert [line["done"] for line in lines] == [10, 20, 30]
    assert lines[0] == {"type": "progress", "done": 10, "unit": "games", "fraction": 10 / 30, "elapsed_seconds": 1.0}


def test_quiet_json_has_no_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = Streams(monkeypatch)
    clock = ManualClock()
    with make_output(clock, json=True, quiet=True).progress("Archiving", unit="games") as report:
        clock.turn(5)
        report(1, None)
    assert pipe.out == ""


def test_a_progress_bar_shows_on_a_terminal_and_not_before_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Streams(monkeypatch, terminal=True)
    clock = ManualClock()
    output = text(clock)
    with output.progress("Archiving", unit="games") as report:
        clock.turn(0.5)
        report(10, 0.1)
        assert terminal.err == ""
        clock.turn(1.5)
        report(1000, 0.5)
    assert "Archiving" in terminal.err
    assert "1,000 games, 500/s" in terminal.err
    assert terminal.out == ""


def test_a_pipe_has_no_progress_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = Streams(monkeypatch)
    clock = ManualClock()
    with text(clock).progress("Archiving", unit="games") as report:
        clock.turn(5)
        report(1000, None)
    assert (pipe.out, pipe.err) == ("", "")


def test_json_keeps_every_string_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = Streams(monkeypatch)
    make_output(ManualClock(), json=True).document({"id": NASTY, "name": "Zoë"})
    assert "Zoë" in pipe.out
    assert json.loads(pipe.out) == {"id": NASTY, "name": "Zoë"}


def test_json_is_utf_8_whatever_the_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = Streams(monkeypatch, encoding="latin-1")
    make_output(ManualClock(), json=True).document({"name": "Zoë 棋"})
    assert json.loads(streams.out) == {"name": "Zoë 棋"}


def test_details_are_json_too(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = Streams(monkeypatch)
    make_output(ManualClock(), json=True, verbose=1).detail("Opened the pack.")
    make_output(ManualClock(), json=True).detail("Not asked for.")
    assert [json.loads(line) for line in pipe.err.splitlines()] == [{"type": "detail", "message": "Opened the pack."}]


def test_payloads_come_out_as_they_are_and_in_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = Streams(monkeypatch)
    output = text()
    output.text("before")
    output.payload(b"\x00\xff\r\n\x1b")
    output.text("after")
    output.flush()
    assert pipe.stdout.bytes.getvalue() == b"before\n\x00\xff\r\n\x1bafter\n"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        (True, "yes"),
        (0, "0"),
        (1.5, "1.5"),
        ("", ""),
        ([], ""),
        (["a", 1], "a; 1"),
        ({"k": None, "v": "x"}, "k=, v=x"),
    ],
)
def test_values_as_people_read_them(value: None, shown: str) -> None:
    assert plain(value) == shown


def test_ordinary_text_is_left_alone() -> None:
    assert visible("Zoë 棋 🏁 a\\b [x]") == "Zoë 棋 🏁 a\\b [x]"


def test_an_event_is_a_line_of_keys_and_values_on_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = Streams(monkeypatch)
    event: Row = {"time": "2025-03-01T12:00:00Z", "event": "failed", "job": 3, "final": False, "port": None, "message": NASTY}
    text().event("error", event | {"what": 'a "quoted" \\ thing', "of": {"plan": 0.5, "put": 1}, "none": ""})
    assert streams.out == ""
    assert streams.err == (
        "time=2025-03-01T12:00:00Z event=failed job=3 final=no "
        r'message="a\\tb\\nc\\x1b[31m[bold]\\x07\\u202ed\\x9b2J\\ud800" what="a \"quoted\" \\ thing" '
        'of.plan=0.5 of.put=1 none="" level=error\n'
    )


def test_quietly_only_errors_are_told_of_events(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = Streams(monkeypatch)
    for printer in (text(quiet=True), make_output(ManualClock(), json=True, quiet=True)):
        printer.event("item", {"event": "batch"})
        printer.event("error", {"event": "failed"})
    assert streams.err == 'event=failed level=error\n{"type":"error","event":"failed"}\n'


def test_the_screen_is_for_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = Streams(monkeypatch)
    assert text().screen() is None
    streams = Streams(monkeypatch, terminal=True)
    screen = text().screen()
    assert screen is not None
    assert screen.file is streams.stdout
    assert text(quiet=True).screen() is None
    assert make_output(ManualClock(), json=True).screen() is None
