"""What there is to show, as Rich draws it. Importing Rich takes time, so this module is imported where something is drawn."""

from __future__ import annotations

from rich.bar import Bar
from rich.console import Console, Group, JustifyMethod, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table as Grid
from rich.text import Text

from gamearchive.cli.parts import Bars, Fields, Part, Table, plain, visible

WIDE = 120
"""Columns from which on a terminal is wide: it shows all of a table, and ages beside instants."""


def drawing(part: Part, width: int) -> RenderableType:
    """A part of a document as Rich draws it, so many columns wide. Every string is made a Text, which has no markup."""
    if isinstance(part, Table):
        grid = Grid(box=None, pad_edge=False, header_style="bold")
        shown = [column for column in part.columns if width >= WIDE or not column.wide]
        for column in shown:
            justify: JustifyMethod = "right" if column.right else "left"
            # Rich narrows the columns first that may wrap, so these are the ones whose cells are cut instead.
            grid.add_column(Text(column.heading), justify=justify, overflow="fold", no_wrap=not column.shorten)
        for row in part.rows:
            cells = [
                Text(column.cell(row), no_wrap=column.shorten, overflow="ellipsis" if column.shorten else "fold")
                for column in shown
            ]
            for column, cell in zip(shown, cells, strict=True):
                if column.aside is not None and width >= WIDE and row.get(column.key) is not None:
                    cell.append(f" {visible(column.aside(row.get(column.key)))}", "dim")
            grid.add_row(*cells)
    else:
        grid = Grid.grid(padding=(0, 2), pad_edge=False)
        if isinstance(part, Bars):
            longest = max((length for _label, length, _shown in part.bars), default=0) or 1
            for label, length, beside in part.bars:
                grid.add_row(Text(visible(label)), Bar(longest, 0, length, width=40), Text(visible(beside), justify="right"))
        else:
            for key, value in part.values.items():
                grid.add_row(Text(visible(key), "bold"), Text(visible(plain(value)), overflow="fold"))
    if isinstance(part, Fields) or not part.title:
        return grid
    return Group(Text(visible(part.title), "bold"), grid)


def progress_bar(console: Console, title: str) -> Progress:
    """A bar that is drawn once it is started, on the stream that talk goes to, and wiped off when it is stopped."""
    columns = [TextColumn(title), BarColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn()]
    bar = Progress(*columns, console=console, transient=True, redirect_stdout=False)
    bar.add_task(title, total=None, rate="")
    return bar
