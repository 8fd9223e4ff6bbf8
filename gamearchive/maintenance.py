"""What a daemon does from time to time beside archiving: its duties, each in a thread of its own.

- *tidy* forgets jobs that are done for long enough, and keeps SQLite's write-ahead log short, every minute;
- *verify* reads packs byte by byte and reports what is damaged, when the settings' ``[schedule]`` says so. Of all daemons on a
  database one does it; within a budget it goes on where it ended the last time;
- *backup* makes a backup at ``backup.destination``, likewise. What a run within a budget has copied, the next need not copy;
- what a storage in several parts needs: see `upkeep`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from typing import ClassVar

from gamearchive.administration import Administration
from gamearchive.archive import Archive
from gamearchive.catalog import Catalog
from gamearchive.database import duties as claims
from gamearchive.database.duties import Claim
from gamearchive.database.sqlite import shorten_log
from gamearchive.events import Damage, Duty, Listener
from gamearchive.operations.backup import Made
from gamearchive.operations.verify import verify
from gamearchive.rounds import Rounds
from gamearchive.schedule import Schedule
from gamearchive.units import SECOND
from gamearchive.upkeep import storage_duties

TIDY_SECONDS = 60.0
SCHEDULE_SECONDS = 5.0
"""How often it is looked whether a scheduled duty is due."""


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

    found = [Rounds("tidy", TIDY_SECONDS, tidy, tell)]
    if "verify" in administration.settings.schedules:
        verification = Verification(administration, worker, administration.settings.schedules["verify"], tell, stopping)
        found.append(Rounds("verify", SCHEDULE_SECONDS, verification.look, tell))
    if "backup" in administration.settings.schedules:
        backup = BackingUp(administration, worker, administration.settings.schedules["backup"], tell, stopping)
        found.append(Rounds("backup", SCHEDULE_SECONDS, backup.look, tell))
    return found + storage_duties(administration, worker, tell, stopping)


class Scheduled(ABC):
    """A duty on a schedule.

    Args:
        administration: the archive.
        worker: the daemon's name.
        schedule: when.
        tell: takes what was found.
        stopping: whether to leave.
    """

    name: ClassVar[str]

    def __init__(
        self,
        administration: Administration,
        worker: str,
        schedule: Schedule,
        tell: Listener,
        stopping: Callable[[], bool],
    ) -> None:
        self._administration = administration
        self._database, self._worker, self._schedule = administration.database, worker, schedule
        self._clock, self._tell, self._stopping = administration.clock, tell, stopping
        self._archive = Archive(Catalog(administration.database), administration.core.holdings, administration.clock)

    def look(self) -> None:
        """Do it, if it is due."""
        now = self._clock.now()
        with self._database.write() as connection:
            claim = claims.claim(connection, self.name, self._worker, now, lambda last: self._schedule.due(last, now))
        if claim is None:
            return
        started = self._clock.monotonic()
        budget = self._schedule.budget_seconds
        self._do(claim, started, None if budget is None else started + budget)

    @abstractmethod
    def _do(self, claim: Claim, started: float, deadline: float | None) -> None:
        """Do it, and finish the claim.

        Args:
            claim: that it is this worker's.
            started: when, by the clock that only goes forward.
            deadline: when it is to leave; None for never.
        """


class Verification(Scheduled):
    """``verify``."""

    name = "verify"

    def _do(self, claim: Claim, started: float, deadline: float | None) -> None:
        position, ended = claim.position, False

        def is_over() -> bool:
            spent = deadline is not None and self._clock.monotonic() >= deadline
            return self._stopping() or (spent and position != claim.position)  # a pack at least, however short the budget

        counts: Counter[str] = Counter(packs=0, records=0, damaged=0, missing=0, orphaned=0)
        try:
            # This very daemon may be about to name a pack that it has put.
            for checked in verify(self._archive, full=True, after=position or "", stopping=is_over, adding=lambda: True):
                position = checked.pack or position
                counts.update(packs=checked.pack is not None, records=checked.records)
                for found in checked.found:
                    if not found.harmless:
                        counts[found.finding.value] += 1
                        self._tell(Damage(finding=found.finding.value, object=found.object, message=found.reason))
            ended = not is_over()
        finally:
            with self._database.write() as connection:
                claims.finish(connection, claim, None if ended else position)
        self._tell(Duty(duty="verify", seconds=self._clock.monotonic() - started, result=dict(counts)))


class BackingUp(Scheduled):
    """``backup create``."""

    name = "backup"

    def _do(self, claim: Claim, started: float, deadline: float | None) -> None:
        def is_over() -> bool:
            return self._stopping() or (deadline is not None and self._clock.monotonic() >= deadline)

        settings = self._administration.settings
        result = {"new_packs": 0, "new_bytes": 0, "backups": 0}
        try:
            for step in self._administration.backups.made(settings.backup_destination or "", stopping=is_over):
                if isinstance(step, Made):
                    result = {"new_packs": step.new_packs, "new_bytes": step.new_bytes, "backups": 1}
                elif step.problem is not None:
                    self._tell(Damage(finding="damaged", object=step.key, message=step.problem))
        finally:
            with self._database.write() as connection:
                claims.finish(connection, claim, None)
        self._tell(Duty(duty="backup", seconds=self._clock.monotonic() - started, result=result))
