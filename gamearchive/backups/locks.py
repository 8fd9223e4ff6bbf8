"""Who is at work on the backups in a store, told by objects in it, for stores have no locks.

A lock is an object with its holder's process and a time, which the holder renews. Who takes one writes his first, and then
looks at the others': of two who come at once, at least one sees the other. Those who only add share; who takes away is alone.

A lock whose holder is gone from this very machine counts no more, nor one that was not renewed for `STALE_SECONDS` by the
clocks of both. Somebody who was taken for dead so finds his lock gone, which he looks for before he says that he is done.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from gamearchive.clock import Clock
from gamearchive.database import processes
from gamearchive.database.processes import Process
from gamearchive.errors import LockedError, NotFoundError
from gamearchive.stores.base import Store
from gamearchive.units import SECOND, format_duration

STALE_SECONDS = 1800.0
RENEW_SECONDS = 120.0

_PREFIX = "locks/"
_POLL_SECONDS = 1.0


class _Holder(msgspec.Struct, frozen=True):
    host: str
    boot: str
    pid: int
    token: int
    at: int
    alone: bool


class Lock:
    """A lock that is held.

    Args:
        store: where.
        clock: the time.
        alone: whether nobody else may hold one.
    """

    def __init__(self, store: Store, clock: Clock, *, alone: bool) -> None:
        self._store, self._clock, self._alone = store, clock, alone
        self._token = secrets.randbits(62)
        self._key = f"{_PREFIX}{self._token:016x}"
        self._renewed = 0.0

    def renew(self) -> None:
        """Say that its holder lives, if that was not said lately.

        Raises:
            LockedError: if somebody took it away.
        """
        if self._clock.monotonic() - self._renewed >= RENEW_SECONDS:
            self.check()
            self._write()

    def check(self) -> None:
        """Make sure that nobody took it away.

        Raises:
            LockedError: if somebody did.
        """
        if self._store.size(self._key) is None:
            raise LockedError(
                f"Somebody took this process for dead, and may have worked on {self._store.url} meanwhile.",
                hint="Run the same command again.",
            )

    def _write(self) -> None:
        holder = _Holder(*processes.this_process(), self._token, self._clock.now(), self._alone)
        self._store.put(self._key, msgspec.json.encode(holder))
        self._renewed = self._clock.monotonic()

    def _take(self) -> _Holder | None:
        """Take it, unless somebody is in the way, who is told."""
        self._write()
        processes.remember(self._token)
        for held in self._store.list(_PREFIX):
            if held.key == self._key:
                continue
            try:
                other = msgspec.json.decode(self._store.get(held.key), type=_Holder)
            except NotFoundError:
                continue
            except (msgspec.DecodeError, UnicodeDecodeError):  # nobody ever wrote this
                self._store.delete(held.key)
                continue
            if self._is_stale(other):
                self._store.delete(held.key)
            elif self._alone or other.alone:
                self._give_up()
                return other
        return None

    def _is_stale(self, other: _Holder) -> bool:
        if Process(other.host, other.boot, other.pid).is_gone(other.token):
            return True
        return abs(self._clock.now() - other.at) > STALE_SECONDS * SECOND

    def _give_up(self) -> None:
        processes.forget(self._token)
        self._store.delete(self._key)


@contextmanager
def locked(store: Store, clock: Clock, *, alone: bool, wait: float) -> Iterator[Lock]:
    """Hold a lock for as long as the block takes.

    Args:
        store: where.
        clock: the time.
        alone: whether nobody else may hold one; else all who do not ask for that either may.
        wait: seconds to wait for it.

    Raises:
        LockedError: if somebody is in the way, and still is then.
    """
    lock = Lock(store, clock, alone=alone)
    deadline = clock.monotonic() + wait
    while (other := lock._take()) is not None:  # noqa: SLF001
        if clock.monotonic() >= deadline:
            age = format_duration(max(0.0, (clock.now() - other.at) / SECOND))
            raise LockedError(f"Process {other.pid} on {other.host} is at work on {store.url}, heard of {age} ago.")
        time.sleep(_POLL_SECONDS * (0.5 + secrets.randbelow(1000) / 1000))  # two who came at once do not come so again
    try:
        yield lock
    finally:
        lock._give_up()  # noqa: SLF001
