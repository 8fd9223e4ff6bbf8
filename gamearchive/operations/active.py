"""Games in play into the archive: copies of their latest snapshots, as the journal has them.

A living server goes on with its game, and with its snapshot. That of a dead one is archived for good: it leaves the journal in
the transaction that names it in the catalog.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from gamearchive.archive import Added, Archive, OnConflict
from gamearchive.errors import LockedError, NotFoundError
from gamearchive.journal import ChangedError, find
from gamearchive.model import ArchivalTrigger, EntityKey, Sender
from gamearchive.queue import JobQueue

SENDER = Sender(ArchivalTrigger.MANUAL, live=True)

_ATTEMPTS = 20
"""A game that its server saves meanwhile is taken anew."""


def archive_active(archive: Archive, queue: JobQueue, keys: Sequence[EntityKey], *, dry_run: bool = False) -> Added:
    """Archive games in play as they are now, all or none.

    Args:
        archive: where to.
        queue: what may be on its way there already.
        keys: the games.
        dry_run: only find out what would be done.

    Raises:
        NotFoundError: if one of them is not in play, as far as the journal knows.
        LockedError: if one of them is just being archived by a worker, or changes all the time.
    """
    for _ in range(_ATTEMPTS):
        copies = find(archive.catalog.database, keys)
        missing = [key.entity_id for key in keys if key not in copies]
        if missing:
            raise NotFoundError(
                f"Not in play, as far as the journal knows: {', '.join(map(repr, missing))}.",
                hint="See whether they are archived already: gamearchive show ID.",
            )
        plan = archive.plan([copy.snapshot.record for copy in copies.values()], SENDER, OnConflict.REPLACE)
        if dry_run:
            return Added(plan.entries, plan.skipped, plan.conflicts)
        deposit = archive.put(plan)
        with suppress(ChangedError):
            return archive.commit(plan, deposit, partial(queue.overtake, copies=list(copies.values())))
    raise LockedError("These games change faster than they can be archived.", hint="Try again in a moment.")
