"""What a daemon does for a storage in several parts, each duty in a thread of its own.

- What is noted that a part lacks is given to it, every minute: it was away, and may be back.
- *resync* compares all parts, and *tier* moves packs to the next tier, when the settings' ``[schedule]`` says so. Of all
  daemons on a database one does it, within its budget if it has one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from gamearchive.administration import Administration
from gamearchive.backends.composite import CompositeHoldings
from gamearchive.database import duties as claims
from gamearchive.events import Damage, Duty, Listener
from gamearchive.operations.resync import Resynced
from gamearchive.operations.tiering import Moved
from gamearchive.rounds import Rounds
from gamearchive.schedule import Schedule

PAY_SECONDS = 60.0
SCHEDULE_SECONDS = 5.0
"""How often it is looked whether a duty is due."""

Steps = Callable[[Callable[[], bool]], Iterable[Resynced | Moved]]
"""The steps of a duty, by whether it is to be left."""


def storage_duties(administration: Administration, worker: str, tell: Listener, stopping: Callable[[], bool]) -> list[Rounds]:
    """The duties for a daemon's storage; none where it has no parts.

    Args:
        administration: the archive, and its settings.
        worker: the daemon's name.
        tell: takes what was done.
        stopping: whether a duty that takes long is to be left.
    """
    holdings = administration.core.holdings
    if not isinstance(holdings, CompositeHoldings):
        return []

    def pay() -> None:
        started = administration.clock.monotonic()
        paid = holdings.mender.pay(stopping)
        if paid:
            seconds = administration.clock.monotonic() - started
            tell(Duty(duty="resync", seconds=seconds, result={"repaired": paid}))

    found = [Rounds("giving parts what they lack", PAY_SECONDS, pay, tell)]
    desk, schedules = administration.storage, administration.settings.schedules
    steps: dict[str, Steps] = {
        "resync": lambda left: desk.equalize(stopping=left),
        "tier": lambda left: desk.tier(stopping=left),
    }
    for name, take in steps.items():
        if name in schedules:
            duty = StorageDuty(name, take, administration, worker, schedules[name], tell, stopping)
            found.append(Rounds(name, SCHEDULE_SECONDS, duty.look, tell))
    return found


class StorageDuty:
    """One duty.

    Args:
        name: what it is called.
        steps: what it does.
        administration: the archive.
        worker: the daemon's name.
        schedule: when.
        tell: takes what was done.
        stopping: whether to leave.
    """

    def __init__(
        self,
        name: str,
        steps: Steps,
        administration: Administration,
        worker: str,
        schedule: Schedule,
        tell: Listener,
        stopping: Callable[[], bool],
    ) -> None:
        self._name, self._steps, self._worker, self._schedule = name, steps, worker, schedule
        self._database, self._clock = administration.database, administration.clock
        self._tell, self._stopping = tell, stopping

    def look(self) -> None:
        """Do it, if it is due."""
        now = self._clock.now()
        with self._database.write() as connection:
            claim = claims.claim(connection, self._name, self._worker, now, lambda last: self._schedule.due(last, now))
        if claim is None:
            return
        started = self._clock.monotonic()
        budget = self._schedule.budget_seconds
        counts: Counter[str] = Counter()

        def is_over() -> bool:
            return self._stopping() or (budget is not None and self._clock.monotonic() - started >= budget)

        try:
            for step in self._steps(is_over):
                if isinstance(step, Resynced):
                    counts.update(objects=bool(step.key))
                    for bad, repaired in step.found:
                        counts[bad.fault.value] += 1
                        counts.update(repaired=repaired)
                        if not repaired:
                            message = f"in part {bad.part}: {bad.reason}"
                            self._tell(Damage(finding=bad.fault.value, object=bad.key, message=message))
                elif step.error is None:
                    counts.update(moved=1)
                else:
                    self._tell(Damage(finding="damaged", object=step.key, message=step.error.message))
        finally:
            with self._database.write() as connection:
                claims.finish(connection, claim, None)
        self._tell(Duty(duty=self._name, seconds=self._clock.monotonic() - started, result=dict(counts)))
