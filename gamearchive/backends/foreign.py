"""A stranger's backend in the archive's service: whatever has ``archive`` and ``retrieve`` will do.

Its methods are coroutines of the stranger's, and may be bound to one event loop; they run on one of their own, in a thread of
its own. Each game is a pack of its own to the catalog, with the stranger's location as its key.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from inspect import isawaitable
from typing import Protocol, TypeVar, runtime_checkable

import msgspec

from gamearchive.backends.base import Deposit, GameBytes, HeldPack, Holdings
from gamearchive.errors import ConfigurationError, GameArchiveError, IntegrityError, StorageUnavailableError, UnsupportedError
from gamearchive.model import ArchiveEntry, Place, checksum
from gamearchive.packs.dictionary import Dictionary

T = TypeVar("T")


@runtime_checkable
class TwoMethods(Protocol):
    """The least that a backend is."""

    async def archive(self, entity_id: str, entity_type: str, data: bytes) -> str:
        """Keep a game's bytes; return where."""
        ...

    async def retrieve(self, location: str, /) -> bytes:
        """The bytes kept there."""
        ...


class ForeignHoldings(Holdings):
    """Games in a backend of which only ``archive`` and ``retrieve`` are known.

    Args:
        backend: the stranger's.
        owned: whether it is closed with this, by its own ``close`` if it has one.

    Raises:
        ConfigurationError: if it lacks one of the two.
    """

    def __init__(self, backend: TwoMethods, *, owned: bool = False) -> None:
        if not isinstance(backend, TwoMethods):
            raise ConfigurationError(
                f"{type(backend).__name__} is no backend: it lacks `archive` or `retrieve`.",
                hint="Give it `async def archive(entity_id, entity_type, data)` and `async def retrieve(location)`.",
            )
        self._backend = backend
        self._owned = owned
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="gamearchive-foreign", daemon=True)
        self._thread.start()

    @property
    def name(self) -> str:
        return type(self._backend).__name__

    def put(self, entries: Sequence[ArchiveEntry], payloads: Sequence[bytes], dictionary: Dictionary | None) -> Deposit:
        if dictionary is not None:
            raise UnsupportedError(f"{self.name} takes games as they are, without a dictionary.")
        games = [GameBytes(entry.entity_id, entry.entity_type, data) for entry, data in zip(entries, payloads, strict=True)]
        locations = self.run(self._archive(games))
        filled = [
            msgspec.structs.replace(entry, place=Place(location), stored_bytes=entry.raw_bytes)
            for entry, location in zip(entries, locations, strict=True)
        ]
        for entry in filled:
            self.get(entry)
        return Deposit(filled, [HeldPack(entry.place.pack, entry.raw_bytes) for entry in filled])

    def get(self, entry: ArchiveEntry) -> bytes:
        data = self.run(self._backend.retrieve(entry.place.pack))
        if not isinstance(data, bytes) or checksum(data) != entry.checksum:
            raise IntegrityError(
                f"Game {entry.entity_id!r} of type {entry.entity_type!r} did not come back from {self.name} as it was kept."
            )
        return data

    def close(self) -> None:
        if not self._loop.is_closed():
            try:
                if self._owned:
                    self.run(self._close())
            finally:
                self._loop.call_soon_threadsafe(self._loop.stop)
                self._thread.join()
                self._loop.close()

    async def _close(self) -> None:
        close = getattr(self._backend, "close", None)
        closing = close() if close is not None else None
        if isawaitable(closing):
            await closing

    async def _archive(self, games: Sequence[GameBytes]) -> list[str]:
        many = getattr(self._backend, "archive_many", None)
        if many is not None:
            return [str(location) for location in await many(games)]
        return [await self._backend.archive(*game) for game in games]

    def run(self, call: Coroutine[None, None, T]) -> T:
        """Run a coroutine of the backend's on its loop.

        Raises:
            StorageUnavailableError: for what the system refuses, such as a connection.
            GameArchiveError: for whatever else it raises beside the errors of the contract: that may be one game's own fault.
        """
        try:
            return asyncio.run_coroutine_threadsafe(call, self._loop).result()
        except GameArchiveError:
            raise
        except OSError as error:
            raise StorageUnavailableError(f"{self.name} failed: {type(error).__name__}: {error}") from error
        except Exception as error:
            raise GameArchiveError(f"{self.name} failed: {type(error).__name__}: {error}") from error
