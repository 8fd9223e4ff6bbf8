"""What a daemon shows of itself: frames as lines of text."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gamearchive.cli.panel import ASCII, WIDE, Colleague, Retry, Shown, frame
from gamearchive.tally import Noted, SlotStatus, Status
from gamearchive.units import parse_instant

STATUS = Status(
    state="working",
    slots=[SlotStatus("put", 1000, 0.42), SlotStatus("idle", 0, 12.0)],
    games=1_234_567,
    failures=31,
    dead_letters=1,
    raw_bytes=5_000_000_000,
    stored_bytes=760_000_000,
    games_per_second=5210.4,
    raw_bytes_per_second=21e6,
    stored_bytes_per_second=3.2e6,
    batch_p50_seconds=0.018,
    batch_p95_seconds=1.42,
)
JOBS = {
    "waiting": {"critical": 0, "high": 12, "normal": 98_231, "low": 1_757},
    "running": {"normal": 1000},
    "retryable": {"normal": 3},
    "failed": {"low": 1},
}
NOON = parse_instant("2026-03-05T12:00:00Z")
SHOWN = Shown(
    name="lin-1",
    uptime_seconds=8040,
    status=STATUS,
    jobs=JOBS,
    oldest_seconds=41.2,
    trend=range(60, 0, -1),
    pace=range(60),
    retries=[Retry("game", "duel-17", 2, 12.3, "No space left."), Retry("chess", "7f3a", 1, 0.2, "ValueError: bad")],
    errors=[Noted(NOON + number * 60_000_000, f"game duel-{number}: it holds a \x1b[31mset") for number in range(9)],
    workers=[
        Colleague("lin-1", "lin", False, 0.4, STATUS),
        Colleague("lin-2", "lin", True, 1.1, Status(state="paused", slots=[SlotStatus("idle", 0, 0.0)] * 4)),
        Colleague("far", "far", False, 14.0, None),
    ],
)


def drawn(shown: Shown, width: int, height: int) -> str:
    return "\n".join(line.plain for line in frame(shown, width, height))


@pytest.mark.parametrize("height", [1, 2, 5, 16, 24, 60])
@pytest.mark.parametrize("width", [10, 20, 40, 80, 120, 200])
def test_a_frame_is_as_large_as_the_terminal(width: int, height: int) -> None:
    for shown in (SHOWN, Shown("w", 0.0, Status(state="idle")), replace(SHOWN, glyphs=ASCII)):
        lines = frame(shown, width, height)
        assert len(lines) == height
        assert {line.cell_len for line in lines} == {width}


def test_it_says_what_waits_what_is_done_and_what_is_wrong() -> None:
    text = drawn(SHOWN, 80, 50)
    for words in (
        *("gamearchive lin-1", "● working", "up 2h", "100,000 waiting", "oldest 41s", "98,231", "running 1,000"),
        *("to retry 3", "failed 1", "5,210 games/s", "in 20.0 MiB/s", "out 3.1 MiB/s", "ratio 15.2%", "success 99.99%"),
        *("batch p50 18 ms", "batch p95 1.4 s", "put", "1,000 games", "storage reachable", "database reachable"),
        *(
            "in 12s  game duel-17  try 3  No space left.",
            "now     chess 7f3a",
            "12:08:00  game duel-8: it holds a \\x1b[31mset",
        ),
        *("● lin-1  working", "● lin-2  paused", "● far  starting", "14s ago", "2 slots  5,210/s  0.4s ago"),
        *(" p  pause", " r  resume", " q  quit"),
    ):
        assert words in text


def test_the_latest_error_stands_first() -> None:
    text = drawn(SHOWN, 80, 60)
    assert text.index("duel-8:") < text.index("duel-7:") < text.index("duel-0:")


def test_a_wide_terminal_has_two_columns_and_a_narrow_one_what_matters() -> None:
    lines = drawn(SHOWN, WIDE, 30).splitlines()
    assert any("QUEUE" in line and "WORKERS" in line for line in lines)
    narrow = drawn(SHOWN, 40, 30)
    for words in ("100,000 waiting", "5,210 games/s", "● storage reachable", "lin-2  paused", " q  quit"):
        assert words in narrow
    assert "given up" not in narrow


def test_what_cannot_be_reached_is_said_with_the_reason() -> None:
    text = drawn(replace(SHOWN, status=Status(state="working", storage="open", trouble="The disk is gone.")), 80, 40)
    assert "● storage not reachable" in text
    assert "The disk is gone." in text


def test_before_anything_is_known_it_says_so() -> None:
    text = drawn(Shown("w", 0.0, Status(state="idle")), 80, 24)
    assert "counting…" in text
    assert "0 games/s" in text
    assert "LAST ERRORS" not in text


def test_stopping_it_says_how_to_leave_at_once() -> None:
    assert "Ctrl-C leaves at once" in drawn(replace(SHOWN, status=Status(state="stopping")), 80, 24)


def test_a_terminal_that_knows_no_other_characters_gets_ascii() -> None:
    text = drawn(replace(SHOWN, glyphs=ASCII), 120, 40)
    assert text.isascii()
    assert "######" in text
