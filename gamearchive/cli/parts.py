"""What there is to show: rows, columns, and the parts that a document has for people.

Text that comes from games must neither drive the terminal nor break a line: `visible` escapes its control characters, and
whatever people get to see has been through it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from gamearchive.units import format_count

JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"
Row: TypeAlias = Mapping[str, JSON]

# Control characters, marks that turn the direction of writing, separators of lines, halves of surrogate pairs.
_BARE = re.compile(r"[^\s\"=\\]+")
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def plain(value: JSON) -> str:
    """A value as people read it: nothing for None, yes and no, lists with semicolons, for a name may hold a comma."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case str():
            return value
        case Mapping():
            return ", ".join(f"{key}={plain(each)}" for key, each in value.items())
        case Sequence():
            return "; ".join(plain(each) for each in value)
    return str(value)


def counted_games(games: int, revisions: int) -> str:
    """So many games, and revisions of them where these are more."""
    more = f" ({format_count(revisions, 'revision')})" if revisions > games else ""
    return format_count(games, "game") + more


def visible(text: str) -> str:
    """Text that drives no terminal and stays on its line: a newline is shown as ``\\n``, an escape as ``\\x1b``."""
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def pairs(data: Row, prefix: str = "") -> Iterator[str]:
    """A row as ``key=value`` each, in quotes where they are needed; what is unknown is left out."""
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from pairs(value, f"{prefix}{key}.")
        elif value is not None:
            text = visible(plain(value))
            yield f"{prefix}{key}={text}" if _BARE.fullmatch(text) else f"{prefix}{key}={_quoted(text)}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@dataclass(frozen=True)
class Column:
    """A column of a table or a listing.

    Args:
        key: the row's key; a row without it has an empty cell.
        heading: what stands over it.
        show: a value as people read it.
        aside: what a terminal adds to a value, dimmed: the age of an instant.
        right: whether it is set flush right, as numbers are.
        shorten: whether a terminal cuts a long value, with an ellipsis, rather than go on with it in the next line.
        wide: whether only a wide terminal shows it.
    """

    key: str
    heading: str
    show: Callable[[JSON], str] = plain
    aside: Callable[[JSON], str] | None = None
    right: bool = False
    shorten: bool = False
    wide: bool = False

    def cell(self, row: Row) -> str:
        """The row's cell."""
        return visible(self.show(row.get(self.key)))


@dataclass(frozen=True)
class Fields:
    """Names and values, one a line."""

    values: Row


@dataclass(frozen=True)
class Table:
    """Rows under headings."""

    columns: Sequence[Column]
    rows: Iterable[Row]
    title: str = ""


@dataclass(frozen=True)
class Bars:
    """A plot of bars: each has a label, a length, and what is written beside it."""

    bars: Sequence[tuple[str, float, str]]
    title: str = ""


Part: TypeAlias = Fields | Table | Bars


def plain_lines(part: Part) -> Iterator[str]:
    """A part as plain lines, cells apart by a tab, for a pipe."""
    if not isinstance(part, Fields) and part.title:
        yield visible(part.title)
    match part:
        case Fields():
            yield from (f"{visible(key)}: {visible(plain(value))}".rstrip() for key, value in part.values.items())
        case Table():
            yield "\t".join(column.heading for column in part.columns)
            yield from ("\t".join(column.cell(row) for column in part.columns) for row in part.rows)
        case Bars():
            yield from (f"{visible(label)}\t{visible(shown)}" for label, _length, shown in part.bars)
