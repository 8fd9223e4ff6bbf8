"""What a daemon does from time to time beside archiving: its duties, each in a thread of its own.

- *tidy* forgets jobs that are done for long enough, and keeps SQLite's write-ahead log short, every minute;
- *verify* reads packs byte by byte and reports what is damaged, when the settings' ``[schedule]`` says so. Of all daemons on a
  database one does it; within a budget it goes on where it ended the last time;
- *backup* makes a backup at ``backup.destination``, likewise. What a run within a budget has copied, the next need not copy;
- what a storage in several parts needs: see `upkeep`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from gamearchive.administration import LOCK_WAIT_SECONDS, Administration
from gamearchive.archive import Archive
from gamearchive.catalog import Catalog
from gamearchive.database.sqlite import shorten_log
from gamearchive.events import Damage, Listener
from gamearchive.operations.backup import Made
from gamearchive.operations.verify import verify
from gamearchive.rounds import Rounds
from gamearchive.scheduled import Scheduled, Turn, scheduled
from gamearchive.units import SECOND
from gamearchive.upkeep import storage_duties

TIDY_SECONDS = 60.0


def duties(administration: Administration, worker: str, tell: Listener, *, stopping: Callable[[], bool]) -> list[Rounds]:
    """All duties of a daemon.

    Args:
        administration: the archive, and its settings.
        worker: the daemon's name.
        tell: takes what was done.
        stopping: whether a duty that takes long is to be left.
    """

    def tidy() -> None:
        administration.queue.expire(administration.clock.now() - round(administration.settings.worker.keep_done * SECOND))
        database = administration.database
        if database.path is not None:
            shorten_log(database.engine, database.path)

    return [
        Rounds("tidy", TIDY_SECONDS, tidy, tell),
        *scheduled((Verification, BackingUp), administration, worker, tell, stopping),
        *storage_duties(administration, worker, tell, stopping),
    ]


class Verification(Scheduled):
    """``verify``."""

    name = "verify"

    def do(self, turn: Turn) -> Mapping[str, int]:
        position = turn.left_at = turn.position
        administration = self.administration
        archive = Archive(Catalog(administration.database), administration.core.holdings, administration.clock)

        def is_over() -> bool:
            return turn.is_over() and (
                turn.left_at != position or self.is_stopping()
            )  # a pack at least, however short the budget

        counts: Counter[str] = Counter(packs=0, records=0, damaged=0, missing=0, orphaned=0)
        # This very daemon may be about to name a pack that it has put.
        for checked in verify(archive, full=True, after=position or "", stopping=is_over, adding=lambda: True):
            turn.left_at = checked.pack or turn.left_at
            counts.update(packs=checked.pack is not None, records=checked.records)
            for found in checked.found:
                if not found.harmless:
                    counts[found.finding.value] += 1
                    self.tell(Damage(finding=found.finding.value, object=found.object, message=found.reason))
        if not is_over():
            turn.left_at = None
        return counts


class BackingUp(Scheduled):
    """``backup create``."""

    name = "backup"

    def do(self, turn: Turn) -> Mapping[str, int]:
        result = {"new_packs": 0, "new_bytes": 0, "backups": 0}
        destination = self.administration.settings.backup_destination or ""
        made = self.administration.backups.made(destination, lock_wait=LOCK_WAIT_SECONDS, stopping=turn.is_over)
        for step in made:
            if isinstance(step, Made):
                result = {"new_packs": step.new_packs, "new_bytes": step.new_bytes, "backups": 1}
            elif step.problem is not None:
                self.tell(Damage(finding="damaged", object=step.key, message=step.problem))
        return result
