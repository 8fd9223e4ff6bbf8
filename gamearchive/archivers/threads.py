"""Archiving in the threads that call: nothing to start, and the interpreter is shared with the games.

Two batches are packed at the same time, and only the catalog's work is done in turn. So that the loop gets the interpreter
back soon from a thread that computes, its switch interval is shortened while such an archiver is open.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence

from gamearchive.archive import Archive, OnConflict
from gamearchive.archivers.base import Shipment
from gamearchive.journal import settle
from gamearchive.model import EntityKey, GameRecord, Sender, checksum

LOCK_WAIT_SECONDS = 60.0
"""How long a batch waits for one who has the archive to itself, such as ``verify --repair``."""

SWITCH_SECONDS = 0.0002
"""The interpreter's switch interval meanwhile; its default, 5 ms, is what a loop would wait for each thread that computes."""


class _Quicken:
    """The interpreter's switch interval, which is short from the first archiver's opening to the last one's closing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._before = 0.0

    def begin(self) -> None:
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._before = sys.getswitchinterval()
                sys.setswitchinterval(min(SWITCH_SECONDS, self._before))

    def end(self) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                sys.setswitchinterval(self._before)


_quicken = _Quicken()


class ThreadArchiver:
    """Archives in the calling thread.

    Args:
        archive: where to.
    """

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._turn = threading.Lock()
        _quicken.begin()

    def archive(self, sender: Sender, records: Sequence[GameRecord]) -> Shipment:
        archive = self._archive
        archived = [(EntityKey(record.entity_type, record.entity_id), checksum(record.payload)) for record in records]
        with archive.catalog.database.hold(shared=True, wait=LOCK_WAIT_SECONDS):
            with self._turn:
                plan = archive.plan(records, sender, OnConflict.REPLACE)
            deposit = archive.put(plan)
            with self._turn:
                added = archive.commit(plan, deposit, settle=lambda connection: settle(connection, archived))
        return Shipment(len(added.entries), added.stored_bytes)

    def close(self, *, given_up: bool = False) -> None:  # noqa: ARG002 - a thread cannot be broken off
        _quicken.end()
