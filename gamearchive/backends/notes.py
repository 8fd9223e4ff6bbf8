"""Notes beside packs, in the same store: what packs cannot say themselves of their games."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterator

from gamearchive.backends.base import Holdings
from gamearchive.stores.base import Store

_NOTES = "_notes/"  # no entity type begins with an underscore


class StoreNotes(Holdings, ABC):
    """Holdings in a store, that keep notes in it."""

    store: Store

    def put_note(self, name: str, data: bytes) -> None:
        self.store.put(f"{_NOTES}{name}", data)

    def notes(self) -> Iterator[str]:
        return (held.key.removeprefix(_NOTES) for held in self.store.list(_NOTES))

    def note(self, name: str) -> bytes:
        return self.store.get(f"{_NOTES}{name}")

    def remove_note(self, name: str) -> bool:
        return self.store.delete(f"{_NOTES}{name}")
