"""Statements that insert rows, or write over those that are there, several rows at a time.

A driver takes the interpreter back after each statement, and a loop that is busy does not give it away at once: a thousand rows
one by one take a thousand waits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib import import_module
from itertools import chain
from typing import Any

from sqlalchemy import Column, Dialect, Table

MAX_ROWS = 64
"""So many rows are written by a statement at most."""

_VALUES = re.compile(r"(?<=VALUES )\([^)]*\)")


class Upserts:
    """The statements for the tables of a database.

    Args:
        dialect: its dialect; parameters are known by their places.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._made: dict[tuple[str, int], str] = {}

    def writing(
        self, table: Table, rows: Sequence[tuple[object, ...]], owner: Column[int]
    ) -> Iterator[tuple[str, tuple[object, ...]]]:
        """Statements with their parameters that write rows, and pass those over that are there and another ``owner``'s.

        Args:
            table: where to.
            rows: values in the order of the table's columns; no two with the same key.
            owner: the column that says whose a row is.
        """
        start = 0
        while start < len(rows):
            # Powers of two: there are few statements, and the driver keeps them ready.
            count = min(MAX_ROWS, 1 << (len(rows) - start).bit_length() - 1)
            if (table.name, count) not in self._made:
                self._made[table.name, count] = self._make(table, owner, count)
            yield self._made[table.name, count], tuple(chain.from_iterable(rows[start : start + count]))
            start += count

    def _make(self, table: Table, owner: Column[int], count: int) -> str:
        added: Any = import_module(f"sqlalchemy.dialects.{self._dialect.name}").insert(table)
        rest = {column.name: column for column in added.excluded if not table.c[column.name].primary_key}
        added = added.on_conflict_do_update(
            index_elements=list(table.primary_key), set_=rest, where=owner == added.excluded[owner.name]
        )
        # SQLAlchemy would compile each row anew, a millisecond each.
        return _VALUES.sub(lambda row: ", ".join([row[0]] * count), str(added.compile(dialect=self._dialect)), count=1)
