"""What a daemon does from time to time beside archiving: its duties, each in a thread of its own.

- *tidy* forgets jobs that are done for long enough, and keeps SQLite's write-ahead log short, every minute;
- *retention* lets games expire, and *compact* makes packs denser (`operations.compaction`), when the settings' ``[schedule]``
  says so. Of all daemons on a database one does it;
- *verify* reads packs byte by byte and reports what is damaged, likewise. Within a budget it goes on where it ended the last
  time;
- *backup* makes a backup at ``backup.destination``, likewise. What a run within a budget has copied, the next need not copy;
- what a storage in several parts needs: see `upkeep`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress

from gamearchive.administration import LOCK_WAIT_SECONDS, Administration
from gamearchive.archive import Archive
from gamearchive.catalog import Catalog
from gamearchive.database.sqlite import shorten_log
from gamearchive.errors import LockedError
from gamearchive.events import Damage, Listener, Trouble
from gamearchive.operations.backup import Made
from gamearchive.operations.verify import verify
from gamearchive.packdesk import compact_packs, due_by
from gamearchive.policy import policies_from
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
        *scheduled((Expiry, Compaction, Verification, BackingUp), administration, worker, tell, stopping),
        *storage_duties(administration, worker, tell, stopping),
    ]


class Compaction(Scheduled):
    """``compact``."""

    name = "compact"

    def do(self, turn: Turn) -> Mapping[str, int]:  # noqa: ARG002 - what is dense by now is passed over, wherever it was left
        administration, counts = self.administration, Counter(replaced=0, packs=0, games=0, left=0)
        due = due_by(policies_from(administration.settings.policies), administration.clock.now())
        budget = self._schedule.budget_seconds
        steps = compact_packs(
            administration.database, administration.core, due, budget_seconds=budget, stopping=self.is_stopping
        )
        for step in steps:
            counts.update(replaced=len(step.replaced), packs=len(step.packs), games=step.games, left=len(step.left))
            for key, reason in step.left.items():
                self.tell(Trouble(doing="compacting packs", message=f"Left as it is: {key}: {reason}"))
        return counts


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


class Expiry(Scheduled):
    """``retention apply``. Where another process is at it just now, it is that one's."""

    name = "retention"

    def do(self, turn: Turn) -> Mapping[str, int]:
        counts: Counter[str] = Counter(expired=0, kept=0, held=0, bytes=0, purged=0, packs=0)
        with suppress(LockedError):
            for step in self.administration.retention.applied(stopping=turn.is_over):
                counts.update(step.counts)
        return counts
