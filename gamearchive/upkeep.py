"""What a daemon does for a storage in several parts, each duty in a thread of its own.

- What is noted that a part lacks is given to it, every minute: it was away, and may be back.
- *resync* compares all parts, and *tier* moves packs to the next tier, when the settings' ``[schedule]`` says so. Of all
  daemons on a database one does it, within its budget if it has one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from gamearchive.administration import Administration
from gamearchive.backends.composite import CompositeHoldings
from gamearchive.events import Damage, Duty, Listener
from gamearchive.operations.resync import Resynced
from gamearchive.operations.tiering import Moved
from gamearchive.rounds import Rounds
from gamearchive.scheduled import Scheduled, Turn, scheduled

PAY_SECONDS = 60.0


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

    return [
        Rounds("giving parts what they lack", PAY_SECONDS, pay, tell),
        *scheduled((Resynchronization, Tiering), administration, worker, tell, stopping),
    ]


class Resynchronization(Scheduled):
    """``storage resync``, of all parts."""

    name = "resync"

    def do(self, turn: Turn) -> Mapping[str, int]:
        return _done(self.administration.storage.equalize(stopping=turn.is_over), self.tell)


class Tiering(Scheduled):
    """Packs to the next tier."""

    name = "tier"

    def do(self, turn: Turn) -> Mapping[str, int]:
        return _done(self.administration.storage.tier(stopping=turn.is_over), self.tell)


def _done(steps: Iterable[Resynced | Moved], tell: Listener) -> Mapping[str, int]:
    """Take the steps of a duty; what came of them."""
    counts: Counter[str] = Counter()
    for step in steps:
        if isinstance(step, Resynced):
            counts.update(objects=bool(step.key))
            for bad, repaired in step.found:
                counts[bad.fault.value] += 1
                counts.update(repaired=repaired)
                if not repaired:
                    tell(Damage(finding=bad.fault.value, object=bad.key, message=f"in part {bad.part}: {bad.reason}"))
        elif step.error is None:
            counts.update(moved=1)
        else:
            tell(Damage(finding="damaged", object=step.key, message=step.error.message))
    return counts
