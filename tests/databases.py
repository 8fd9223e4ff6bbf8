"""The databases of homes: on SQLite files in them, on PostgreSQL databases of a server, one for each home."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from killing import Place
from postgresql_server import Server
from sqlalchemy import text

from gamearchive.database.engine import Database


class Databases:
    """Databases on one engine, each known by its home, and made when it is first asked for.

    Args:
        server: a server of PostgreSQL; None for SQLite.
    """

    def __init__(self, server: Server | None) -> None:
        self._server = server
        self._urls: dict[Path, str] = {}

    @property
    def are_files(self) -> bool:
        """Whether they are SQLite's."""
        return self._server is None

    def of(self, home: str | Path) -> str:
        """The URL of a home's database."""
        folder = Path(home).resolve()
        if self._server is None:
            return f"sqlite:///{folder / 'gamearchive.db'}"
        if folder not in self._urls:
            self._urls[folder] = self._server.new_database()
        return self._urls[folder]

    def where(self, home: str | Path) -> tuple[str, ...]:
        """What a command line says to work on a home."""
        database = () if self._server is None else ("--database", self.of(home))
        return ("--home", str(home), *database)

    def place(self, home: Path) -> Place:
        """A home with its database, for another process."""
        return Place(home, self.of(home))

    def keep(self, home: str | Path) -> Callable[[], None]:
        """Keep a home's database as it is; what puts it back."""
        if self._server is None:
            path = Path(home, "gamearchive.db")
            return partial(path.write_bytes, path.read_bytes())
        kept = self._urls[Path(f"{home}, kept")] = self._server.new_database(like=self.of(home))
        return partial(self._server.replace, self.of(home), kept)

    def lose(self, home: str | Path) -> None:
        """Take a home's database away; an empty one may take its place."""
        if self._server is None:
            for path in Path(home).glob("gamearchive.db*"):
                path.unlink()
        else:
            self._server.replace(self.of(home))

    def close(self) -> None:
        for url in self._urls.values():
            assert self._server is not None
            self._server.drop(url)


def execute(url: str, statement: str, **parameters: object) -> list[Any]:
    """Run a statement on a database; the rows that it gives."""
    database = Database(url)
    try:
        with database.engine.begin() as connection:
            result = connection.execute(text(statement), parameters)
            return list(result) if result.returns_rows else []
    finally:
        database.close()
