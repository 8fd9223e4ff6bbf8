"""How soon a loop gets the interpreter back from a thread that computes: sooner than usual while an archiver is open.

A game server's loop shares its process with the journal's thread, with those that hand batches over, and maybe with those that
pack them.
"""

from __future__ import annotations

import sys
import threading

SWITCH_SECONDS = 0.0002
"""The interpreter's switch interval meanwhile; its default, 5 ms, is what a loop would wait for each thread that computes."""


class _Quicken:
    """The interpreter's switch interval, which is short from the first archiver's opening to the last one's closing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._before = 0.0

    def begin(self) -> None:
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._before = sys.getswitchinterval()
                sys.setswitchinterval(min(SWITCH_SECONDS, self._before))

    def end(self) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                sys.setswitchinterval(self._before)


quicken = _Quicken()
