"""What a daemon shows of itself on a terminal, as lines of text: pure, so many columns wide and so many lines high.

Narrow, the parts stand one below the other; on a wide terminal in two columns. What does not fit is left out from the end, and
from the ends of lists, so that the frame is never higher than the terminal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from rich.cells import cell_len
from rich.text import Text

from gamearchive.cli.parts import visible
from gamearchive.tally import Noted, Status
from gamearchive.units import format_duration, format_instant, format_size

WIDE = 116
"""Columns from which on there are two of them."""
NARROW = 54
"""Below so many columns, only what matters most is shown of each thing."""

CURVE = 30
"""So many values a curve has at most."""

_PRIORITIES = ("critical", "high", "normal", "low")
_STATES = {"working": "green", "idle": "green", "paused": "yellow", "stopping": "yellow", "dead": "red"}
_CIRCUITS = {"closed": ("green", "reachable"), "half-open": ("yellow", "trying again"), "open": ("red", "not reachable")}
_LISTED = 3
"""So many retries, errors and workers are shown if there is room for no more; the others have theirs first."""


@dataclass(frozen=True)
class Glyphs:
    """What bars, curves and dots are made of."""

    curve: str = "▁▂▃▄▅▆▇█"
    bar: str = "█"
    parts: str = " ▏▎▍▌▋▊▉"
    dot: str = "●"
    rule: str = "─"
    ellipsis: str = "…"
    apart: str = "·"


ASCII = Glyphs(curve="_.-:=+*#", bar="#", parts=" ", dot="*", rule="-", ellipsis="~", apart="-")
"""For a terminal that knows no others."""


@dataclass(frozen=True)
class Retry:
    """A job that waits for its next try, in so many seconds."""

    entity_type: str
    entity_id: str
    attempt: int
    seconds: float
    error: str


@dataclass(frozen=True)
class Colleague:
    """A worker on this database, and how long ago it was last heard of, in seconds."""

    name: str
    host: str
    paused: bool
    silent_seconds: float
    status: Status | None


@dataclass(frozen=True)
class Shown:
    """All that there is to show. ``jobs`` are counts by state and priority; None before they were counted for the first time.

    ``trend`` is how many waited, and ``pace`` how many were archived a second, the latest last.
    """

    name: str
    uptime_seconds: float
    status: Status
    jobs: Mapping[str, Mapping[str, int]] | None = None
    oldest_seconds: float | None = None
    trend: Sequence[float] = ()
    pace: Sequence[float] = ()
    retries: Sequence[Retry] = ()
    errors: Sequence[Noted] = ()
    workers: Sequence[Colleague] = ()
    glyphs: Glyphs = field(default_factory=Glyphs)


def frame(shown: Shown, width: int, height: int) -> list[Text]:
    """A frame of exactly so many lines, each of exactly so many columns."""
    lines = [_head(shown, width), Text(shown.glyphs.rule * width, "dim")]
    room = height - len(lines) - 1
    if width >= WIDE:
        left = (width - 3) // 2
        right = width - 3 - left
        ours = _stacked([_queue(shown, left), _pace(shown, left), _slots(shown, left), _health(shown, left)], room)
        others = _stacked([_workers(shown, right), _retries(shown, right), _errors(shown, right)], room)
        lines += _beside(ours, others, left, shown.glyphs)
    else:
        parts = [_queue(shown, width), _pace(shown, width), _slots(shown, width), _health(shown, width)]
        lists = [part for part in (_workers(shown, width), _retries(shown, width), _errors(shown, width)) if part]
        left_over = room - sum(len(part) + 1 for part in parts)
        share = max(left_over // max(len(lists), 1) - 1, 0)
        lines += _stacked([*parts, *(part[: max(share, _LISTED)] for part in lists)], room)
    lines += [Text()] * (height - 1 - len(lines))
    return [_fitted(line, width, shown.glyphs) for line in [*lines[: height - 1], _keys(shown)]]


def _stacked(parts: Iterable[list[Text]], room: int) -> list[Text]:
    """Parts one below the other, an empty line between, and no more lines than there is room for."""
    lines: list[Text] = []
    for part in parts:
        if part:
            lines += [Text(), *part] if lines else part
    return lines[:room]


def _beside(left: list[Text], right: list[Text], width: int, glyphs: Glyphs) -> list[Text]:
    """Two columns, the left one so wide."""
    pairs = zip_longest(left, right, fillvalue=Text())
    return [Text.assemble(_fitted(one, width, glyphs), "   ", other) for one, other in pairs]


def _fitted(line: Text, width: int, glyphs: Glyphs) -> Text:
    """A line of exactly so many columns."""
    if line.cell_len > width:
        line = line.copy()
        line.truncate(max(width - 1, 0), overflow="crop")
        line.append(glyphs.ellipsis, "dim")
    short = width - line.cell_len
    return Text.assemble(line, " " * short) if short > 0 else line


def _spread(left: Text, right: Text, width: int) -> Text:
    """Two texts, the second flush right; dropped where it does not fit."""
    gap = width - left.cell_len - right.cell_len
    return Text.assemble(left, " " * gap, right) if gap > 0 else left


def _head(shown: Shown, width: int) -> Text:
    state = shown.status.state
    left = Text.assemble(("gamearchive ", "bold"), (visible(shown.name), "bold cyan"))
    right = Text.assemble(
        (shown.glyphs.dot, _STATES.get(state, "")), f" {state}  ", ("up " + format_duration(int(shown.uptime_seconds)), "dim")
    )
    return _spread(left, right, width)


def _title(title: str, beside: Text | None = None) -> Text:
    heading = Text(title, "bold dim")
    return heading if beside is None else Text.assemble(heading, "  ", beside)


def _queue(shown: Shown, width: int) -> list[Text]:
    if shown.jobs is None:
        return [_title("QUEUE", Text("counting" + shown.glyphs.ellipsis, "dim"))]
    waiting = shown.jobs.get("waiting", {})
    total = sum(waiting.values())
    head = Text.assemble((f"{total:,}", "bold"), " waiting")
    if shown.oldest_seconds is not None:
        head.append(f"  {'oldest ' if width >= NARROW else ''}{_ago(shown.oldest_seconds)}", "dim")
    lines = [_headed(_title("QUEUE", head), shown.trend, width, shown.glyphs)]
    longest = max(waiting.values(), default=0)
    for priority in _PRIORITIES:
        jobs = waiting.get(priority, 0)
        lines.append(
            Text.assemble(
                (f"  {priority:<9}", "dim"),
                (f"{jobs:>11,}", "" if jobs else "dim"),
                "  ",
                (_bar(jobs, longest, width - 26, shown.glyphs), "cyan"),
            )
        )
    line = Text(" ")
    for name, state, style in (("running", "running", ""), ("to retry", "retryable", "yellow"), ("failed", "failed", "red")):
        jobs = sum(shown.jobs.get(state, {}).values())
        line.append(f" {name} ", "dim").append(f"{jobs:,} ", style if jobs else "")
    lines.append(line)
    return lines


def _pace(shown: Shown, width: int) -> list[Text]:
    status = shown.status
    head = Text.assemble((f"{status.games_per_second:,.0f}", "bold"), " games/s")
    lines = [_headed(_title("PACE", head), shown.pace, width, shown.glyphs)]
    ratio = f"{status.stored_bytes / status.raw_bytes:.1%}" if status.raw_bytes else shown.glyphs.rule
    cells = [
        ("in", f"{format_size(status.raw_bytes_per_second)}/s"),
        ("out", f"{format_size(status.stored_bytes_per_second)}/s"),
        ("ratio", ratio),
        ("archived", f"{status.games:,}"),
        ("success", _share(status.success_rate)),
        ("batch p50", _seconds(status.batch_p50_seconds, shown.glyphs)),
        ("given up", f"{status.dead_letters:,}"),
        ("failures", f"{status.failures:,}"),
        ("batch p95", _seconds(status.batch_p95_seconds, shown.glyphs)),
    ]
    if width < NARROW:
        cells = [cells[number] for number in (0, 1, 3, 2, 5, 4)]
    across = 2 if width < NARROW else 3
    for start in range(0, len(cells), across):
        line = Text("  ")
        for name, value in cells[start : start + across]:
            line.append(f"{name} ", "dim").append(value)
            line.append(" " * max((width - 2) // across - cell_len(name) - 1 - cell_len(value), 1))
        lines.append(line)
    return lines


def _slots(shown: Shown, width: int) -> list[Text]:
    lines = [_title("SLOTS")]
    for number, slot in enumerate(shown.status.slots, 1):
        busy = slot.doing != "idle"
        line = Text.assemble((f"  {number:<3}", "dim"), (f"{slot.doing:<8}", "" if busy else "dim"))
        if slot.games:
            line.append(f"{slot.games:>7,} games")
        if busy or width >= NARROW:
            line.append(f"  {_ago(slot.seconds)}", "dim")
        lines.append(line)
    return lines


def _health(shown: Shown, width: int) -> list[Text]:
    lines = [_title("HEALTH")]
    for name, circuit in (("storage", shown.status.storage), ("database", shown.status.database)):
        style, meaning = _CIRCUITS[circuit]
        lines.append(Text.assemble("  ", (shown.glyphs.dot, style), f" {name} ", (meaning, "dim")))
    if width >= NARROW:
        lines[1:] = [Text.assemble(lines[1], "  ", lines[2])]
    if shown.status.trouble:
        lines.append(Text(f"  {visible(shown.status.trouble)}", "red"))
    return lines


def _workers(shown: Shown, width: int) -> list[Text]:
    lines = [_title("WORKERS")]
    for worker in shown.workers:
        status = worker.status
        state = "paused" if worker.paused else status.state if status else "starting"
        line = Text.assemble("  ", (shown.glyphs.dot, _STATES.get(state, "dim")), f" {visible(worker.name)}  ", (state, "dim"))
        beside = Text()
        if status is not None and width >= NARROW:
            beside.append(f"{len(status.slots)} slots  ", "dim").append(f"{status.games_per_second:,.0f}/s  ")
        beside.append(f"{_ago(worker.silent_seconds)} ago", "dim")
        lines.append(_spread(line, beside, width))
    return lines


def _retries(shown: Shown, width: int) -> list[Text]:
    if not shown.retries:
        return []
    lines = [_title("NEXT TRIES")]
    for retry in shown.retries:
        when = "now" if retry.seconds < 1 else f"in {_ago(retry.seconds)}"
        line = Text.assemble((f"  {when:<8}", "yellow"), visible(f"{retry.entity_type} {retry.entity_id}"))
        if width >= NARROW:
            line.append(f"  try {retry.attempt + 1}", "dim")
        lines.append(line.append(f"  {visible(retry.error)}", "dim"))
    return lines


def _errors(shown: Shown, width: int) -> list[Text]:
    if not shown.errors:
        return []
    lines = [_title("LAST ERRORS")]
    for noted in reversed(shown.errors):
        when = format_instant(noted.at)[11:19] if width >= NARROW else format_instant(noted.at)[11:16]
        lines.append(Text.assemble((f"  {when}  ", "dim"), visible(noted.text)))
    return lines


def _keys(shown: Shown) -> Text:
    if shown.status.state == "stopping":
        return Text("finishing what is in hand; Ctrl-C leaves at once", "yellow")
    line = Text()
    for key, meaning in (("p", "pause"), ("r", "resume"), ("q", "quit")):
        line.append(f" {key} ", "reverse").append(f" {meaning}   ", "dim")
    return line


def _headed(title: Text, values: Sequence[float], width: int, glyphs: Glyphs) -> Text:
    """A title, and the last values as a curve, from nothing up to the highest."""
    last = list(values)[-min(max(width - title.cell_len - 2, 1), CURVE) :]
    top = max(last, default=0) or 1
    steps = len(glyphs.curve) - 1
    return _spread(title, Text("".join(glyphs.curve[round(value / top * steps)] for value in last), "cyan"), width)


def _bar(value: float, longest: float, width: int, glyphs: Glyphs) -> str:
    """A bar as long as a value is beside the longest; one of anything at all is seen."""
    if not value or width < 1:
        return ""
    steps = len(glyphs.parts)
    whole, rest = divmod(max(round(value / longest * width * steps), 1), steps)
    return glyphs.bar * whole + (glyphs.parts[rest] if rest else "")


def _ago(seconds: float) -> str:
    return f"{seconds:.1f}s" if seconds < 10 else format_duration(int(seconds))


def _seconds(seconds: float | None, glyphs: Glyphs) -> str:
    if seconds is None:
        return glyphs.rule
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _share(share: float) -> str:
    return "100%" if share == 1 else f"{min(share, 0.9999):.2%}"
