"""A thread that does something again and again until it is stopped, whatever goes wrong meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable

from gamearchive.errors import GameArchiveError, UnavailableError
from gamearchive.events import Listener, Trouble


class Rounds:
    """Something that is done every so often, from the start on, in a thread of its own.

    An error is told, unless it was stopped meanwhile, and the next round comes as always. That the database or the storage
    cannot be reached is told once, until a round goes well.

    Args:
        doing: what it does, for people.
        seconds: the pause between two rounds.
        call: one round.
        tell: takes what went wrong.
    """

    def __init__(self, doing: str, seconds: float, call: Callable[[], object], tell: Listener) -> None:
        self._doing, self._seconds, self._call, self._tell = doing, seconds, call, tell
        self._stopped = False
        self._wake = threading.Event()
        self._away = False
        self._thread = threading.Thread(target=self._run, name=f"gamearchive-{doing.replace(' ', '-')}", daemon=True)

    def start(self) -> None:
        """Begin with the first round."""
        self._thread.start()

    def hurry(self) -> None:
        """Begin the next round now."""
        self._wake.set()

    def stop(self) -> None:
        """Let this round be the last one."""
        self._stopped = True
        self._wake.set()

    def _run(self) -> None:
        while not self._stopped:
            self._wake.clear()
            pause = self._seconds
            try:
                self._call()
                self._away = False
            except Exception as error:  # noqa: BLE001 - the next round may go well
                self._complain(error)
                pause = max(pause, 1.0)
            if not self._stopped:
                self._wake.wait(pause)

    def _complain(self, error: Exception) -> None:
        away = isinstance(error, UnavailableError)
        if not (away and self._away) and not self._stopped:
            message = str(error) if isinstance(error, GameArchiveError) else f"{type(error).__name__}: {error}"
            self._tell(Trouble(doing=self._doing, message=message))
        self._away = away
