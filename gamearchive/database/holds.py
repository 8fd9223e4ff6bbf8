"""Holds as rows."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from sqlalchemy import Connection, delete, func, insert, select

from gamearchive.database.schema import holds


def rows(connection: Connection) -> list[tuple[int, str, int, int | None, str | None, str | None, str | None, str | None]]:
    """All of them, by number: the number, reason, since when, until when, and what each is on."""
    return [tuple(row) for row in connection.execute(select(holds).order_by(holds.c.id))]


def add(connection: Connection, wanted: Iterable[tuple[object, ...]]) -> None:
    """Add rows, numbers and all."""
    names = [column.name for column in holds.columns]
    values = [dict(zip(names, row, strict=True)) for row in wanted]
    if values:
        connection.execute(insert(holds), values)


def next_number(connection: Connection) -> int:
    """The number of the next one."""
    return (connection.scalar(select(func.max(holds.c.id))) or 0) + 1


def remove(connection: Connection, numbers: Collection[int]) -> int:
    """Remove rows; how many there were."""
    return connection.execute(delete(holds).where(holds.c.id.in_(numbers))).rowcount
