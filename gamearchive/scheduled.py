"""A duty that the settings' ``[schedule]`` says the time of: of all daemons on a database, one does it when it is due."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from gamearchive.administration import Administration
from gamearchive.database import duties as claims
from gamearchive.events import Duty, Listener
from gamearchive.rounds import Rounds
from gamearchive.schedule import Schedule

SCHEDULE_SECONDS = 5.0
"""How often it is looked whether a duty is due."""


@dataclass(slots=True)
class Turn:
    """One time that a duty is done: where it goes on, None for the start, and whether it is to leave for now.

    ``left_at`` is where the next turn goes on.
    """

    position: str | None
    is_over: Callable[[], bool]
    left_at: str | None = None


class Scheduled(ABC):
    """A duty on a schedule.

    Args:
        administration: the archive, and its settings.
        worker: the daemon's name.
        schedule: when.
        tell: takes what was found.
        stopping: whether to leave.
    """

    name: ClassVar[str]
    """What ``[schedule]`` calls it."""

    def __init__(
        self,
        administration: Administration,
        worker: str,
        schedule: Schedule,
        tell: Listener,
        stopping: Callable[[], bool],
    ) -> None:
        self.administration = administration
        self.tell = tell
        self.is_stopping = stopping
        self._worker, self._schedule = worker, schedule

    def rounds(self) -> Rounds:
        """What looks, again and again, whether it is due."""
        return Rounds(self.name, SCHEDULE_SECONDS, self.look, self.tell)

    def look(self) -> None:
        """Do it, if it is due."""
        clock, database = self.administration.clock, self.administration.database
        now = clock.now()
        with database.write() as connection:
            claim = claims.claim(connection, self.name, self._worker, now, lambda last: self._schedule.due(last, now))
        if claim is None:
            return
        started, budget = clock.monotonic(), self._schedule.budget_seconds

        def is_over() -> bool:
            return self.is_stopping() or (budget is not None and clock.monotonic() - started >= budget)

        turn = Turn(claim.position, is_over)
        try:
            result = self.do(turn)
        finally:
            with database.write() as connection:
                claims.finish(connection, claim, turn.left_at)
        self.tell(Duty(duty=self.name, seconds=clock.monotonic() - started, result=dict(result)))

    @abstractmethod
    def do(self, turn: Turn) -> Mapping[str, int]:
        """Do it; what came of it, in numbers."""


def scheduled(
    kinds: Iterable[type[Scheduled]],
    administration: Administration,
    worker: str,
    tell: Listener,
    stopping: Callable[[], bool],
) -> list[Rounds]:
    """Those of some kinds of duties that the settings have a schedule for."""
    schedules = administration.settings.schedules
    return [
        kind(administration, worker, schedules[kind.name], tell, stopping).rounds() for kind in kinds if kind.name in schedules
    ]
