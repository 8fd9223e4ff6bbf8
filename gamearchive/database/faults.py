"""What can be wrong with a database, as errors of the project: what the engine says, and what cannot be made of its rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import Column, exc

from gamearchive.errors import DatabaseUnavailableError, IntegrityError, LockedError

R = TypeVar("R", bound=Sequence[Any])

_DAMAGED = (
    *("malformed", "not a database", "no such table", "no such column"),
    *("UNIQUE constraint failed", "duplicate key"),  # writers take turns: what one has looked up is still so when it writes
)


@contextmanager
def decoding(name: str) -> Iterator[None]:
    """A block that makes values of rows: what cannot be made of them is damage.

    Args:
        name: the database's, for people.

    Raises:
        IntegrityError: in place of any error that a value of a wrong kind, or one that is not there, leads to.
    """
    try:
        yield
    except (ValueError, TypeError, LookupError, OverflowError) as error:
        raise damaged(name, f"{type(error).__name__}, {error}") from error


@contextmanager
def journal_of(force: bool) -> Iterator[None]:
    """A block that reads a journal which a damaged database may no longer have; with ``force`` it is gone on without."""
    try:
        yield
    except IntegrityError as error:
        if not force:
            hint = "Its games in play cannot be read. To go on without them, add --force."
            raise IntegrityError(error.message, hint=hint) from error


def typed(rows: Sequence[R], columns: Iterable[Column[Any]]) -> Sequence[R]:
    """Rows as they are, whose cells are sure to be what their columns say: SQLite itself takes anything for anything.

    Raises:
        ValueError: if they are not.
    """
    for column, cells in zip(columns, zip(*rows, strict=True), strict=False):
        kinds = set(map(type, cells))
        if not kinds <= {column.type.python_type, type(None) if column.nullable else column.type.python_type}:
            found = ", ".join(sorted(kind.__name__ for kind in kinds))
            raise ValueError(f"{column} holds values of type {found}")
    return rows


def damaged(name: str, how: str) -> IntegrityError:
    """The error of a database that is not what was written."""
    return IntegrityError(
        f"The database {name} is damaged: {how}.",
        hint="Run `gamearchive rebuild`: it makes the catalog anew from the packs, and keeps the damaged one beside it.",
    )


def translated(error: exc.DBAPIError, name: str, busy_seconds: float) -> Exception:
    """An error of the engine as one of the project; itself where it is none of these, but a bug."""
    said = (str(error.orig).strip() or type(error.orig).__name__).splitlines()[0]
    if "locked" in said or "lock timeout" in said:
        return LockedError(f"The database {name} stayed locked by another process for {busy_seconds:g} s.")
    if any(words in said for words in _DAMAGED) or said.startswith('relation "'):  # "... does not exist", on PostgreSQL
        return damaged(name, said)
    if "readonly database" in said:
        said = "it, or its folder, is read-only, or the disk is full"
    if isinstance(error, exc.OperationalError | exc.InterfaceError | exc.InternalError) or error.connection_invalidated:
        return DatabaseUnavailableError(f"The database {name} cannot do its work: {said}.")
    return error
