"""Processes of this machine: which one this is, and whether one that has left its number is gone.

Who holds a lease by a row in the database leaves there where it runs: on which host, in which run of it (`Process.boot`), and
under which number. Only about processes of this very machine, in this run of it, can anything be told for sure.
"""

from __future__ import annotations

import os
import socket
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

_held: set[int] = set()
"""The tokens of what this process holds."""


class Process(NamedTuple):
    """Where a process runs, as rows say it."""

    host: str
    boot: str
    pid: int

    def is_gone(self, token: int) -> bool:
        """Whether it is sure that who took this token is not there any more.

        In a container each process may be number 1: one of our own number, whose token we do not hold, ran before us.
        """
        here = this_process()
        if (self.host, self.boot) != (here.host, here.boot):
            return False
        return token not in _held if self.pid == here.pid else not _runs(self.pid)


def this_process() -> Process:
    """The process that asks."""
    return Process(socket.gethostname(), _boot(), os.getpid())


def remember(token: int) -> None:
    """Note that this process holds a token, once that is committed: so it is taken for living here as well."""
    _held.add(token)


def forget(token: int) -> None:
    """Note that it does not any more."""
    _held.discard(token)


def _runs(pid: int) -> bool:
    """Whether a process of this machine is there; True where that cannot be told."""
    if sys.platform == "win32":  # where the signal 0 is no question, but Ctrl-C
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


@cache
def _boot() -> str:
    """What tells one run of this machine from the next, where the system says it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
