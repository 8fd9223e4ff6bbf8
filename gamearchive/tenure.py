"""The archive held by several threads of one process together, for longer than one batch.

To take hold of it and to let it go for each batch would be some more ways to a server and back. So whoever archives one batch
after another keeps it; but not for longer than `TENURE_SECONDS` at a time, so that one who wants it alone, such as
``verify --repair``, gets it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from gamearchive.clock import Clock
from gamearchive.database.engine import Database

TENURE_SECONDS = 10.0
BREAK_SECONDS = 0.15
"""So long it is left to others then: somewhat longer than the pause between two looks of theirs."""
WAIT_SECONDS = 60.0
"""How long it is waited for."""


class Tenure:
    """The archive, held shared.

    Args:
        database: the archive's.
        clock: the time.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock
        self._changed = threading.Condition()
        self._hold: AbstractContextManager[None] | None = None
        self._users = 0
        self._until = 0.0

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold it, for one batch.

        Raises:
            LockedError: if another process keeps it to itself.
        """
        with self._changed:
            while self._is_over() and self._users:
                self._changed.wait()
            if self._is_over():
                self._let_go()
                self._changed.wait(BREAK_SECONDS)
            if self._hold is None:
                hold = self._database.hold(shared=True, wait=WAIT_SECONDS)
                hold.__enter__()
                self._hold, self._until = hold, self._clock.monotonic() + TENURE_SECONDS
            self._users += 1
        try:
            yield
        finally:
            with self._changed:
                self._users -= 1
                self._changed.notify_all()

    def rest(self) -> None:
        """Let it go, if nobody needs it just now, or waits for it."""
        if self._changed.acquire(blocking=False):
            try:
                if not self._users:
                    self._let_go()
            finally:
                self._changed.release()

    def _is_over(self) -> bool:
        return self._hold is not None and self._clock.monotonic() >= self._until

    def _let_go(self) -> None:
        hold, self._hold = self._hold, None
        if hold is not None:
            hold.__exit__(None, None, None)
