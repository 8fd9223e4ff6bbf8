"""Daemons for tests: in this process, and in one of their own whose log is read line by line."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from archiving import game

from gamearchive.administration import Administration
from gamearchive.daemon import Daemon, DaemonOptions
from gamearchive.events import Event
from gamearchive.jobs import JobFilter, JobState, JobStatus
from gamearchive.model import ArchiveEntry, GameRecord, Sender
from gamearchive.query import ArchiveQuery
from gamearchive.settings import load_settings

PATIENCE_SECONDS = 30.0


def until(true: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


class Place:
    """An archive in a folder, its queue, and those who look into it.

    Args:
        folder: where.
        url: the database, if not in the folder.
        settings: lines of the settings file.
        backend: what keeps the games, if not packs.
    """

    def __init__(self, folder: Path, url: str | None = None, *, settings: str = "", backend: Any = None) -> None:
        self.folder = folder
        self.packs = folder / "packs"
        self.file = folder / "gamearchive.toml"
        self.url = url or f"sqlite:///{folder / 'gamearchive.db'}"
        folder.mkdir(exist_ok=True)
        self.file.write_text(f"home = '{folder}'\ndatabase = '{self.url}'\n{settings}")
        self.administration = Administration(load_settings(config=str(self.file)), backend=backend)
        self.administration.prepare()
        self.queue = self.administration.queue
        self.told: list[Event] = []
        """What the daemon that runs in this process has told so far."""

    def enqueue(self, *records: GameRecord, sender: Sender | None = None) -> None:
        self.queue.enqueue(records, sender or Sender())

    def enqueue_games(self, count: int, first: int = 0) -> list[GameRecord]:
        """Enqueue games of which each is another's by number."""
        records = [game(number) for number in range(first, first + count)]
        self.queue.enqueue(records, Sender())
        return records

    def jobs(self, *states: JobState) -> list[JobStatus]:
        return list(self.queue.every(JobFilter(states=states)))

    def is_empty(self) -> bool:
        return not self.jobs(JobState.WAITING, JobState.RUNNING, JobState.RETRYABLE)

    def entries(self) -> list[ArchiveEntry]:
        return list(self.administration.core.catalog.every(ArchiveQuery(limit=0, all_revisions=True)))

    def archived(self) -> dict[str, bytes]:
        """The games in the archive by their ids, each of which must be there once."""
        entries = self.entries()
        found = {entry.entity_id: self.administration.core.read(entry) for entry in entries}
        assert len(found) == len(entries)
        return found

    def run(self, *, stopping: Callable[[], bool] = lambda: False, **options: Any) -> list[Event]:
        """Run a daemon in this process, to its end; what it told."""
        self.told = []
        usual = {"concurrency": 1, "batch_size": 100, "burst": True, "name": "here"}
        daemon = Daemon(self.administration, DaemonOptions(**usual | options), [self.told.append])
        asyncio.run(daemon.run(stopping, lambda: None))
        return self.told

    def process(self, *arguments: str) -> DaemonProcess:
        """Start a daemon in a process of its own."""
        return DaemonProcess(["--config", str(self.file), *arguments])

    def close(self) -> None:
        asyncio.run(self.administration.close())


class DaemonProcess:
    """``gamearchive worker run --json`` in a process of its own. Use it in a ``with`` statement: at its end it is killed."""

    def __init__(self, arguments: Sequence[str], environment: dict[str, str] | None = None) -> None:
        command = [sys.executable, "-m", "gamearchive", "worker", "run", "--json", *arguments]
        self.run = subprocess.Popen(
            command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | (environment or {})
        )
        self.lines: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._reader.join()
        assert self.run.stdout is not None
        assert self.run.stderr is not None
        self.run.stdout.close()
        self.run.stderr.close()

    def _read(self) -> None:
        assert self.run.stderr is not None
        for line in self.run.stderr:
            self.lines.append(json.loads(line) if line.startswith("{") else {"type": "other", "event": "other", "line": line})

    def told(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line.get("event") == event]

    def wait_for(self, event: str, count: int = 1) -> dict[str, Any]:
        """Wait until it has told of something so many times; the last of them."""
        until(lambda: len(self.told(event)) >= count or self.run.poll() is not None)
        found = self.told(event)
        assert len(found) >= count, self.lines
        return found[count - 1]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send it a signal, and wait for its end; its exit code."""
        self.run.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        code = self.run.wait(PATIENCE_SECONDS)
        self._reader.join()
        return code

    def kill(self) -> None:
        if self.run.poll() is None:
            self.run.kill()
            self.run.wait()
