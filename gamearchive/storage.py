"""Storages as an administrator has them: checked, whether an archive is kept there or not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Protocol, TypeVar

from gamearchive.clock import Clock

if TYPE_CHECKING:
    from gamearchive.operations.check import Noted, Speed, Tried

T = TypeVar("T")


class Streaming(Protocol):
    """Runs an iteration in a thread."""

    def __call__(self, steps: Callable[[], Iterator[T]]) -> AsyncIterator[T]: ...


class StorageDesk:
    """Asynchronous, over verbs that are not.

    Args:
        clock: the time.
        stream: runs an iteration in a thread.
    """

    def __init__(self, clock: Clock, stream: Streaming) -> None:
        self._clock = clock
        self._stream = stream

    def check(self, url: str, *, stopping: Callable[[], bool] = lambda: False) -> AsyncIterator[Tried | Speed | Noted]:
        """Try whether a storage does what an archive needs: see `operations.check`.

        Raises:
            ConfigurationError: if nothing is known of such a URL.
            StorageUnavailableError: if it cannot be reached.
        """
        from gamearchive.operations.check import check
        from gamearchive.stores.registry import store_from_url

        def steps() -> Iterator[Tried | Speed | Noted]:
            with closing(store_from_url(url)) as store:
                yield from check(store, self._clock, stopping=stopping)

        return self._stream(steps)
