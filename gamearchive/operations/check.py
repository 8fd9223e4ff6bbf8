"""Is a storage fit to keep an archive? Each promise of a store, tried on the user's own, and how fast it is.

All happens below a key of its own, `SCRATCH`, which is cleared away in the end; what a killed check left there goes with one
that comes a day later. Nothing else in the storage is read or written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from math import inf
from statistics import median
from uuid import uuid4

from gamearchive.clock import Clock
from gamearchive.errors import GameArchiveError, NotFoundError
from gamearchive.stores.base import Store, StoredObject
from gamearchive.stores.contract import STEPS, BrokenPromiseError, Step, Subject
from gamearchive.stores.wrapper import WrapperStore
from gamearchive.units import SECOND

SCRATCH = "check-"
"""How the keys begin of what a check puts; the instant of its beginning follows."""

_SMALL, _LARGE = 1 << 10, 8 << 20
_CALLS = 10
_DAY = 86_400 * SECOND


@dataclass(frozen=True, slots=True)
class Tried:
    """A promise that was tried. ``problem`` says how it was not kept, None if it was."""

    step: Step
    problem: str | None


@dataclass(frozen=True, slots=True)
class Speed:
    """How long a put and a get of 1 KiB take, half of them less, in seconds; bytes a second of an object of 8 MiB."""

    put_seconds: float
    get_seconds: float
    put_rate: float
    get_rate: float


@dataclass(frozen=True, slots=True)
class Noted:
    """What was noticed beside the promises: what it is about, and what is so."""

    subject: str
    fact: str


def check(store: Store, clock: Clock, *, stopping: Callable[[], bool] = lambda: False) -> Iterator[Tried | Speed | Noted]:
    """Try a store.

    Args:
        store: which.
        clock: says how long things take, and when the check began.
        stopping: whether to leave after the step in hand.

    Yields:
        Each promise as it was tried, then what was noticed, and the speed.

    Raises:
        StorageUnavailableError: if the store cannot be reached, or takes nothing.
    """
    scratch = f"{SCRATCH}{clock.now()}-{uuid4().hex}/"
    try:
        yield from _check(store, scratch, clock, stopping)
    except BaseException:
        with suppress(GameArchiveError):
            _clear(store, scratch, clock)
        raise
    problem = _clear(store, scratch, clock)
    if problem:
        yield Noted("left-behind", f"{scratch}: {problem}")


def _check(store: Store, scratch: str, clock: Clock, stopping: Callable[[], bool]) -> Iterator[Tried | Speed | Noted]:
    whole = _Below(store, scratch)
    whole.put("reached", b"reached")
    whole.get("reached")
    for step in STEPS:
        if stopping():
            return
        yield Tried(step, _try(step, _Below(store, f"{scratch}{step.name}/")))
        whole.get("reached")  # what cannot be done is told from a storage that has gone
    yield from (Noted(*each) for each in store.describe(f"{scratch}noted").items())
    if not stopping():
        yield _measure(whole, clock)


def _try(step: Step, store: Store) -> str | None:
    def peek(key: str) -> bytes | None:
        try:
            return store.get(key)
        except NotFoundError:
            return None

    try:
        step.attempt(Subject(store, store.put, peek))
    except BrokenPromiseError as error:
        return str(error)
    except GameArchiveError as error:
        return error.message
    except Exception as error:  # noqa: BLE001 - a stranger's store may raise anything, and that is what is to be told
        return f"it raises {type(error).__name__}: {error}"
    return None


def _measure(store: Store, clock: Clock) -> Speed:
    def seconds(call: Callable[[], object]) -> float:
        began = clock.monotonic()
        call()
        return max(clock.monotonic() - began, 1e-9)

    small, large = bytes(_SMALL), uuid4().bytes * (_LARGE // 16)
    keys = [f"speed/{number}" for number in range(_CALLS)]
    put = median(seconds(partial(store.put, key, small)) for key in keys)
    get = median(seconds(partial(store.get, key)) for key in keys)
    put_rate = _LARGE / seconds(lambda: store.put("speed/large", large))
    return Speed(put, get, put_rate, _LARGE / seconds(lambda: store.get("speed/large")))


def _clear(store: Store, scratch: str, clock: Clock) -> str | None:
    """Take away what this check put, and what those put that began more than a day ago, and were killed; why it stays."""
    long_ago = clock.now() - _DAY
    try:
        left = [key for key, _ in store.list(SCRATCH) if key.startswith(scratch) or _began(key) < long_ago]
        return next(iter(store.delete_many(left).values()), None)
    except GameArchiveError as error:
        return error.message


def _began(key: str) -> float:
    """When the check began that put an object; never, for what has no such name."""
    began = key.removeprefix(SCRATCH).partition("-")[0]
    return int(began) if began.isdigit() else inf


class _Below(WrapperStore):
    """A store in a corner of another: its keys begin with a prefix there."""

    def __init__(self, inner: Store, prefix: str) -> None:
        super().__init__(inner)
        self._prefix = prefix

    def put(self, key: str, data: bytes) -> None:
        self.inner.put(self._prefix + key, data)

    def put_new(self, key: str, data: bytes) -> bool:
        return self.inner.put_new(self._prefix + key, data)

    def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        return self.inner.get(self._prefix + key, offset, length)

    def size(self, key: str) -> int | None:
        return self.inner.size(self._prefix + key)

    def delete(self, key: str) -> bool:
        return self.inner.delete(self._prefix + key)

    def delete_many(self, keys: Iterable[str]) -> Mapping[str, str]:
        kept = self.inner.delete_many([self._prefix + key for key in keys])
        return {key.removeprefix(self._prefix): why for key, why in kept.items()}

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        for key, size in self.inner.list(self._prefix + prefix):
            yield StoredObject(key.removeprefix(self._prefix), size)
