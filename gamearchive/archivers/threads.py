"""Archiving in the threads that call: nothing to start, and the interpreter is shared with the games.

Two batches are packed at the same time, and only the catalog's work is done in turn.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from gamearchive.archive import Archive, OnConflict
from gamearchive.archivers.base import Shipment
from gamearchive.archivers.switching import quicken
from gamearchive.journal import settle
from gamearchive.model import EntityKey, GameRecord, Sender, checksum

LOCK_WAIT_SECONDS = 60.0
"""How long a batch waits for one who has the archive to itself, such as ``verify --repair``."""


class ThreadArchiver:
    """Archives in the calling thread.

    Args:
        archive: where to.
    """

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._turn = threading.Lock()
        quicken.begin()

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
        quicken.end()
