"""Storages as an administrator has them: checked, whether an archive is kept there or not; and games in them brought back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Protocol, TypeVar

from gamearchive.archive import Archive
from gamearchive.clock import Clock
from gamearchive.model import ArchiveEntry

if TYPE_CHECKING:
    from gamearchive.operations.check import Noted, Speed, Tried
    from gamearchive.operations.thaw import Thawing

T = TypeVar("T")


class Streaming(Protocol):
    """Runs an iteration in a thread."""

    def __call__(self, steps: Callable[[], Iterator[T]]) -> AsyncIterator[T]: ...


class StorageDesk:
    """Asynchronous, over verbs that are not.

    Args:
        archive: gives the archive.
        clock: the time.
        stream: runs an iteration in a thread.
    """

    def __init__(self, archive: Callable[[], Archive], clock: Clock, stream: Streaming) -> None:
        self._archive = archive
        self._clock = clock
        self._stream = stream

    def check(self, url: str, *, stopping: Callable[[], bool] = lambda: False) -> AsyncIterator[Tried | Speed | Noted]:
        """Try whether a storage does what an archive needs: see `operations.check`.

        Raises:
            ConfigurationError: if nothing is known of such a URL.
            StorageUnavailableError: if it cannot be reached.
        """
        from gamearchive.backends.registry import installed_backend
        from gamearchive.operations.check import check, check_backend
        from gamearchive.stores.registry import store_from_url

        def steps() -> Iterator[Tried | Speed | Noted]:
            backend = installed_backend(url)
            if backend is not None:
                yield from check_backend(backend, self._clock, stopping=stopping)
                return
            with closing(store_from_url(url)) as store:
                yield from check(store, self._clock, stopping=stopping)

        return self._stream(steps)

    def thaw(self, entries: Callable[[], Iterable[ArchiveEntry]], days: int) -> AsyncIterator[Thawing]:
        """Have all that some games need brought to where it can be read: see `operations.thaw`."""
        from gamearchive.operations.thaw import thaw

        return self._stream(lambda: thaw(self._archive(), entries(), days))
