"""Archived games for a repository: a thousand who ask for one game at once are one read, and a miss is known for a moment."""

from __future__ import annotations

import asyncio
from weakref import WeakSet

from gamearchive.administration import Administration
from gamearchive.errors import NotFoundError
from gamearchive.model import ArchiveEntry

MISS_SECONDS = 1.0
"""So long it is remembered that a game is not archived."""

_MAX_MISSES = 10_000

Found = tuple[ArchiveEntry, bytes]


class Recall:
    """Reads archived games of one type.

    Args:
        archive: where they are.
        entity_type: their type.
    """

    def __init__(self, archive: Administration, entity_type: str) -> None:
        self._archive = archive
        self._entity_type = entity_type
        self._reading: dict[str, asyncio.Task[Found | None]] = {}
        self._outdated: WeakSet[asyncio.Task[Found | None]] = WeakSet()
        self._missing: dict[str, float] = {}

    async def get(self, entity_id: str) -> Found | None:
        """The latest revision of a game, and its bytes; None if it is not archived.

        Raises:
            IntegrityError: if it is lost or damaged; UnavailableError: if the archive cannot be asked.
        """
        now = asyncio.get_running_loop().time()
        if now < self._missing.get(entity_id, now):
            return None
        while True:
            reading = self._reading.get(entity_id)
            if reading is None:
                reading = self._reading[entity_id] = asyncio.create_task(self._read(entity_id))
                reading.add_done_callback(lambda task: self._done(entity_id, task))
            found = await asyncio.shield(reading)
            if reading not in self._outdated:
                break
        if found is None:
            if len(self._missing) >= _MAX_MISSES:
                self._missing.clear()
            self._missing[entity_id] = now + MISS_SECONDS
        return found

    def forget(self, entity_id: str) -> None:
        """A game is in play from now on: what was found in the archive, or is being read there, means nothing any more."""
        self._missing.pop(entity_id, None)
        reading = self._reading.pop(entity_id, None)
        if reading is not None:
            self._outdated.add(reading)

    async def _read(self, entity_id: str) -> Found | None:
        try:
            entry = await self._archive.get(entity_id, self._entity_type)
        except NotFoundError:
            return None
        return entry, await self._archive.read(entry)

    def _done(self, entity_id: str, task: asyncio.Task[Found | None]) -> None:
        if self._reading.get(entity_id) is task:
            del self._reading[entity_id]
        if not task.cancelled():
            task.exception()  # is told to those who ask, and to nobody else if they have left
