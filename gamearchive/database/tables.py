"""All the tables together: made, found to be there, and emptied."""

from __future__ import annotations

import re

from sqlalchemy import Connection, delete, insert, inspect, select

from gamearchive.database import faults, players
from gamearchive.database.schema import LASTING, REVISION, metadata, versions
from gamearchive.errors import SchemaError

_VERSION = re.compile(r"(?!0000)\d{4}")


def revision(connection: Connection, name: str) -> str | None:
    """The revision that the tables are of, as the migrations count; None where there are no tables.

    Args:
        connection: a transaction.
        name: the database's, for people.

    Raises:
        SchemaError: if tables of these names are there, but another program's.
        IntegrityError: if what is there is no revision.
    """
    names = set(inspect(connection).get_table_names())
    if versions.name in names:
        found = connection.scalar(select(versions.c.version_num))
        if not isinstance(found, str) or not _VERSION.fullmatch(found):
            raise faults.damaged(name, f"its version is {found!r}")
        return found
    taken = sorted(names & set(metadata.tables))
    if taken:
        raise SchemaError(
            f"The database {name} has tables of another program: {', '.join(taken)}.",
            hint="Give the archive a database of its own with --database.",
        )
    return None


def make(connection: Connection, *, there: bool = False) -> None:
    """Make the tables, or, where they are ``there``, those of them that are missing.

    They are what the migrations would make step by step, at once and without Alembic: a test holds the two equal.
    """
    metadata.create_all(connection)
    players.create(connection)
    if not there:
        connection.execute(insert(versions).values(version_num=REVISION))


def empty_catalog(connection: Connection) -> None:
    """Take all rows out of the catalog; the journal and the queue stay."""
    for table in metadata.sorted_tables:
        if table not in (versions, *LASTING):
            connection.execute(delete(table))
