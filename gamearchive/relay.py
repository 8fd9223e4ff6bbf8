"""`Relay`: in the place of a worker, where others archive: games that are handed over are jobs of the queue.

A game becomes a job in the very transaction of the journal that hands it over, so that it is archived even if its server never
comes back. From then on the relay looks, once a second, and at once again while there is something to see, at which of these
games have left the journal: they do in the transaction that names them in the catalog. Those are archived, and let go of.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TypeVar

from gamearchive.errors import GameArchiveError, UnsupportedError
from gamearchive.journal import Failure
from gamearchive.keeper import Draft, Keeper
from gamearchive.model import ArchivalPriority, ArchivalTrigger, EntityKey, GameRecord, Sender
from gamearchive.parcels import Parcel
from gamearchive.queue import JobQueue
from gamearchive.strategy import ArchivalStrategy
from gamearchive.worker import ArchivalWorker

LOOK_SECONDS = 1.0

_LOOKED_AT = 1_000  # games at a time

_log = logging.getLogger("gamearchive")

T = TypeVar("T")


class Relay(ArchivalWorker[T]):
    """Hands games over to the queue.

    Args:
        strategy: makes records of entities.
        keeper: of the journal that hands them over.
        queue: where to.
    """

    def __init__(self, strategy: ArchivalStrategy[T], keeper: Keeper[T], queue: JobQueue) -> None:
        super().__init__(strategy)
        self._keeper = keeper
        self._queue_of_others = queue
        self._foreign: set[EntityKey] = set()
        self._looking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to look."""
        self._looking = asyncio.create_task(self._look_again(), name="gamearchive-relay")

    async def stop(self, grace: float | None = None) -> list[Parcel]:  # noqa: ARG002 - as a worker's
        """Look no more. What is handed over is archived by others, whether this server lives or not."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
            self._looking = None
        return self._left()

    async def write(
        self, drafts: Sequence[Draft], gone: Sequence[EntityKey], failures: Sequence[Failure]
    ) -> Mapping[EntityKey, str]:
        """Write snapshots: see `Keeper.write`. What is another server's is not taken for archived when it is not found."""
        foreign = await self._keeper.write(drafts, gone, failures)
        self._foreign -= {EntityKey(draft.record.entity_type, draft.record.entity_id) for draft in drafts}
        self._foreign |= foreign.keys()
        return foreign

    def submit(
        self,
        entity: T,  # noqa: ARG002 - as a worker's
        trigger: ArchivalTrigger = ArchivalTrigger.MANUAL,  # noqa: ARG002
        priority: ArchivalPriority = ArchivalPriority.NORMAL,  # noqa: ARG002
    ) -> bool:
        """Nothing goes to the queue from here but by the journal.

        Raises:
            UnsupportedError: always.
        """
        raise _by_the_journal_alone()

    async def archive(self, record: GameRecord, sender: Sender) -> None:  # noqa: ARG002
        """See `submit`."""
        raise _by_the_journal_alone()

    def offer(self, record: GameRecord, sender: Sender) -> Parcel:
        """Note that a game is handed over, and wait for it to be archived."""
        parcel = Parcel(record, sender, self._now())
        self.failed.pop(parcel.key, None)
        self._out[parcel.key] = parcel
        return parcel

    def withdraw(self, key: EntityKey) -> None:
        """Wait no more for a game. Its job stays where it is: a newer state takes its place, or follows it."""
        self._out.pop(key, None)
        self.failed.pop(key, None)

    def retry_failed(self) -> int:
        """Dead letters are the queue's.

        Raises:
            UnsupportedError: always.
        """
        raise UnsupportedError("These games' jobs are in the queue.", hint="Run `gamearchive queue retry --state failed`.")

    async def _look_again(self) -> None:
        problem = ""
        while True:
            seen = 0
            try:
                seen = await self._look()
                problem = ""
            except GameArchiveError as error:  # tried again: the games are in the journal meanwhile
                if str(error) != problem:
                    _log.error("it cannot be told which games are archived: %s", error)
                problem = str(error)
            if not seen:
                await asyncio.sleep(LOOK_SECONDS)

    async def _look(self) -> int:
        """Look at some of the games that are handed over; how many of these are archived."""
        some = list(islice(self._out.items(), _LOOKED_AT))
        if not some:
            return 0
        left = await self._keeper.look(self._queue_of_others, [key for key, _ in some])
        archived = []
        for key, parcel in some:
            if self._out.get(key) is not parcel:
                continue  # withdrawn meanwhile, or handed over once more
            del self._out[key]
            if key in left or key in self._foreign:
                self._out[key] = parcel  # behind those that are looked at next
            else:
                archived.append(parcel)
        self._note_failures(left)
        if archived:
            self._counts["archived"] += len(archived)
            self._counts["raw_bytes"] += sum(len(parcel.record.payload) for parcel in archived)
            for parcel in archived:
                self.failed.pop(parcel.key, None)
                parcel.answer()
            for listen in self.listeners:
                listen(archived)
        return len(archived)

    def _note_failures(self, left: Mapping[EntityKey, str | None]) -> None:
        failed = []
        for key, error in left.items():
            parcel = self._out.get(key)
            if error is None:
                self.failed.pop(key, None)  # it is tried again
            elif parcel is not None and key not in self.failed:
                parcel.error = GameArchiveError(error)
                self.failed[key] = parcel
                failed.append(parcel)
        if failed:
            self._counts["failures"] += len(failed)
            for listen in self.failure_listeners:
                listen(failed)


def _by_the_journal_alone() -> UnsupportedError:
    return UnsupportedError("Games go to the queue with their snapshots alone.", hint="Save the game in its repository.")
