"""The parts of a storage: stores that are asked at once, and not waited for longer than it is worth.

What lies in a folder is asked there and then. What lies behind a network may never answer (a server that is frozen keeps its
connections), and so is asked in a thread of its own, which is left to itself after `PATIENCE_SECONDS`. A process that ends does
not wait for such threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Generic, NamedTuple, TypeVar

from gamearchive.backends.health import Health
from gamearchive.clock import Clock
from gamearchive.errors import GameArchiveError, IntegrityError, StorageUnavailableError, ThawingError
from gamearchive.stores.base import Store
from gamearchive.stores.filesystem import FileSystemStore
from gamearchive.stores.memory import MemoryStore
from gamearchive.stores.wrapper import WrapperStore

PATIENCE_SECONDS = 10.0
"""A part that has not answered for so long is taken for one that does not."""
LEAST_RATE = 1 << 20
"""Bytes a second: what is sent may take so much longer."""

T = TypeVar("T")


class Part:
    """A part.

    Args:
        name: what it is called.
        tier: which one it belongs to.
        store: what is in it.
        clock: the time.
    """

    def __init__(self, name: str, tier: str, store: Store, clock: Clock) -> None:
        self.name, self.tier, self.store = name, tier, store
        self.health = Health(clock)
        self.is_settled = False
        """Whether its mark is known to be that of the whole storage."""
        self._clock = clock
        self.is_near = _is_near(store)

    def call(self, call: Callable[[Part], T], *, measured: bool = False) -> Outcome[T]:
        """Call it, here and now; what comes of it counts for its health.

        Args:
            call: what to do with it.
            measured: whether the time it takes tells how near the part is.
        """
        started = self._clock.monotonic()
        result, error = None, None
        try:
            result = call(self)
        except Exception as caught:  # noqa: BLE001 - whoever looks at the outcome gets it
            error = caught
        if error is None or (isinstance(error, GameArchiveError) and not _is_away(error)):  # it did answer
            self.health.succeed(self._clock.monotonic() - started if measured else None)
        else:
            self.health.fail(str(error))
        return Outcome(self, result, error)

    def begin(self, call: Callable[[Part], T], *, measured: bool = False) -> Future[Outcome[T]]:
        """Call it in a thread of its own."""
        future: Future[Outcome[T]] = Future()
        run = threading.Thread(
            target=lambda: future.set_result(self.call(call, measured=measured)),
            name=f"gamearchive-part-{self.name}",
            daemon=True,
        )
        run.start()
        return future

    def give_up(self, seconds: float) -> StorageUnavailableError:
        """It has not answered for so long; the error that says so."""
        error = StorageUnavailableError(f"Part {self.name!r} has not answered for {seconds:g} s.")
        self.health.fail(error.message)
        return error


class Outcome(NamedTuple, Generic[T]):
    """What a part answered: a result, or an error."""

    part: Part
    result: T | None = None
    error: Exception | None = None

    def check(self) -> None:
        """Raise the error, if it is one."""
        if self.error is not None:
            raise self.error


def ask_in_turn(
    parts: Sequence[Part], call: Callable[[Part], T], patience: float, *, measured: bool = False
) -> Iterator[Outcome[T]]:
    """Ask one part, and the next one where it fails, or keeps us waiting. Whoever has what they want asks for no more.

    Yields:
        What each answered, as the answers come: also that of one that was not waited for, if it comes in time, or is the last.
    """
    asked: dict[Future[Outcome[T]], Part] = {}
    left = list(parts)
    while left or asked:
        if left:
            part = left.pop(0)
            if part.is_near:
                yield part.call(call, measured=measured)
                continue
            asked[part.begin(call, measured=measured)] = part
        done = wait(asked, timeout=patience if left else None, return_when=FIRST_COMPLETED).done
        if not done:
            part.give_up(patience)
        for future in done:
            del asked[future]
            yield future.result()


def ask_all(parts: Sequence[Part], call: Callable[[Part], T], patience: float, *, needed: int = 0) -> list[Outcome[T]]:
    """Ask parts, all at once; what each answered, in their order.

    Args:
        parts: which.
        call: what to do with each.
        patience: seconds to wait for all of them.
        needed: so many good answers are waited for longer.
    """
    asked = {part.begin(call): part for part in parts}
    waiting = wait(asked, timeout=patience).not_done
    late = {future: asked[future].give_up(patience) for future in waiting}
    while waiting and sum(future.done() and future.result().error is None for future in asked) < needed:
        waiting = wait(waiting, return_when=FIRST_COMPLETED).not_done
    return [Outcome(part, error=late[future]) if future in waiting else future.result() for future, part in asked.items()]


def _is_away(error: GameArchiveError) -> bool:
    return isinstance(error, StorageUnavailableError) and not isinstance(error, ThawingError)


def _is_near(store: Store) -> bool:
    while isinstance(store, WrapperStore):
        store = store.inner
    return isinstance(store, FileSystemStore | MemoryStore)


def worst(errors: Sequence[Exception]) -> Exception:
    """What to say where no part has a good answer: that one could not be asked, or it is damaged, or there is none."""
    for kind in (StorageUnavailableError, IntegrityError):
        for error in errors:
            if isinstance(error, kind):
                return error
    return errors[0]
