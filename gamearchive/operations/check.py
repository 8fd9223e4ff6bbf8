"""Is a storage fit to keep an archive? Each promise of a store, or of a backend, tried on the user's own, and how fast it is.

In a store, all happens below a key of its own, `SCRATCH`, which is cleared away in the end; what a killed check left there goes
with one that comes a day later. Nothing else in the storage is read or written. In a backend, games of types that begin so are
archived, and deleted if it can delete.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import count
from math import inf
from statistics import median
from typing import Any, TypeVar
from uuid import uuid4

from gamearchive.backends import contract
from gamearchive.backends.base import GameBytes, IArchivalBackend
from gamearchive.backends.contract import able
from gamearchive.backends.foreign import ForeignHoldings, TwoMethods
from gamearchive.clock import Clock
from gamearchive.errors import GameArchiveError, NotFoundError
from gamearchive.stores.base import Store
from gamearchive.stores.contract import STEPS, Step, Subject
from gamearchive.stores.prefix import PrefixStore
from gamearchive.units import SECOND

SCRATCH = "check-"
"""How the keys begin of what a check puts; the instant of its beginning follows."""

T = TypeVar("T")

_SMALL, _LARGE = 1 << 10, 8 << 20
_CALLS = 10
_DAY = 86_400 * SECOND


@dataclass(frozen=True, slots=True)
class Tried:
    """A promise that was tried. ``problem`` says how it was not kept, None if it was."""

    step: Step[Any]
    problem: str | None


@dataclass(frozen=True, slots=True)
class Speed:
    """How long a put and a get of 1 KiB take, half of them less, in seconds; bytes a second of 8 MiB in one piece."""

    put_seconds: float
    get_seconds: float
    put_rate: float
    get_rate: float


@dataclass(frozen=True, slots=True)
class Noted:
    """What was noticed beside the promises: what it is about, and what is so."""

    subject: str
    fact: str


Steps = Iterator[Tried | Speed | Noted]


def check(store: Store, clock: Clock, *, stopping: Callable[[], bool] = lambda: False) -> Steps:
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


def _check(store: Store, scratch: str, clock: Clock, stopping: Callable[[], bool]) -> Steps:
    whole = PrefixStore(store, scratch)
    whole.put("reached", b"reached")
    whole.get("reached")
    for step in STEPS:
        if stopping():
            return
        yield Tried(step, _try(partial(_attempt, step, PrefixStore(store, f"{scratch}{step.name}/"))))
        whole.get("reached")  # what cannot be done is told from a storage that has gone
    yield from (Noted(*each) for each in store.describe(f"{scratch}noted").items())
    if not stopping():
        keys = iter(f"speed/{number}" for number in count())
        yield _measure(clock, lambda data: _kept(whole, next(keys), data), whole.get)


def _kept(store: Store, key: str, data: bytes) -> str:
    store.put(key, data)
    return key


def _attempt(step: Step[Callable[[Subject], None]], store: Store) -> None:
    def peek(key: str) -> bytes | None:
        try:
            return store.get(key)
        except NotFoundError:
            return None

    step.attempt(Subject(store, store.put, peek))


def check_backend(backend: TwoMethods, clock: Clock, *, stopping: Callable[[], bool] = lambda: False) -> Steps:
    """Try a backend of which only ``archive`` and ``retrieve`` are known.

    Args:
        backend: which; closed in the end.
        clock: says how long things take.
        stopping: whether to leave after the step in hand.

    Yields:
        Each promise as it was tried, then the speed, and what stays there.

    Raises:
        StorageUnavailableError: if the backend cannot be reached, or takes nothing.
    """
    corner = _Corner(backend)
    with closing(ForeignHoldings(backend, owned=True)) as holdings:
        run = holdings.run
        reached = run(corner.archive("reached", "game", b"reached"))
        try:
            for step in contract.STEPS:
                if stopping():
                    return
                yield Tried(step, _try(partial(run, step.attempt(corner))))
                run(corner.retrieve(reached))
            if not stopping():
                yield _measure(
                    clock,
                    lambda data: run(corner.archive("speed", "game", data)),
                    lambda location: run(corner.retrieve(location)),
                )
        finally:
            left = _try(lambda: [run(corner.delete(location)) for location in set(corner.locations)])
        if left:
            yield Noted("left-behind", f"{len(set(corner.locations))} small games: {left}")


class _Corner(IArchivalBackend):
    """A backend's corner for a check: types of its own, and what was archived in it.

    Args:
        inner: the backend.
    """

    def __init__(self, inner: TwoMethods) -> None:
        self._inner = inner
        self.locations: list[str] = []

    async def archive(self, entity_id: str, entity_type: str, data: bytes) -> str:
        self.locations.append(await self._inner.archive(entity_id, SCRATCH + entity_type, data))
        return self.locations[-1]

    async def retrieve(self, location: str) -> bytes:
        return await self._inner.retrieve(location)

    async def delete(self, location: str) -> bool:
        return await able(self._inner, "delete").delete(location)

    async def list_archives(
        self, entity_type: str | None = None, start_date: datetime | None = None, end_date: datetime | None = None
    ) -> list[str]:
        listed = able(self._inner, "list_archives").list_archives
        return await listed(SCRATCH + entity_type if entity_type else None, start_date, end_date)

    async def archive_many(self, games: Sequence[GameBytes]) -> list[str]:
        batch = [GameBytes(entity_id, SCRATCH + entity_type, data) for entity_id, entity_type, data in games]
        locations = await able(self._inner, "archive_many").archive_many(batch)
        self.locations += locations
        return locations


def _try(attempt: Callable[[], object]) -> str | None:
    """How an attempt fails; None if it does not."""
    try:
        attempt()
    except GameArchiveError as error:
        return error.message
    except Exception as error:  # noqa: BLE001 - a stranger's store may raise anything, and that is what is to be told
        return f"it raises {type(error).__name__}: {error}"
    return None


def _measure(clock: Clock, put: Callable[[bytes], str], get: Callable[[str], bytes]) -> Speed:
    """Time puts, which give what the gets take."""

    def timed(call: Callable[[], T]) -> tuple[float, T]:
        began = clock.monotonic()
        result = call()
        return max(clock.monotonic() - began, 1e-9), result

    puts = [timed(partial(put, number.to_bytes(_SMALL))) for number in range(_CALLS)]
    gets = [timed(partial(get, place)) for _, place in puts]
    put_seconds, place = timed(partial(put, uuid4().bytes * (_LARGE // 16)))
    get_seconds, _ = timed(partial(get, place))
    return Speed(
        median(seconds for seconds, _ in puts),
        median(seconds for seconds, _ in gets),
        _LARGE / put_seconds,
        _LARGE / get_seconds,
    )


def _clear(store: Store, scratch: str, clock: Clock) -> str | None:
    """Take away what this check put, and what those put that began more than a day ago, and were killed; why it stays."""
    long_ago, kept = clock.now() - _DAY, dict[str, str]()
    try:
        left = {key.partition("/")[0] + "/" for key, _ in store.list(SCRATCH)}
        for name in {scratch, *(each for each in left if _began(each) < long_ago)}:
            kept |= store.clear(name)
    except GameArchiveError as error:
        return error.message
    return next(iter(kept.values()), None)


def _began(name: str) -> float:
    """When the check began that put objects there; never, for what has no such name."""
    began = name.removeprefix(SCRATCH).partition("-")[0]
    return int(began) if began.isdigit() else inf
