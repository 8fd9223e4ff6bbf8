"""The store in memory keeps the contract, but for outliving its process."""

from pathlib import Path

from gamearchive.stores.base import Store
from gamearchive.stores.memory import MemoryStore
from gamearchive.testing import StoreTests


class TestMemoryStore(StoreTests):
    persistent = False

    def open(self, folder: Path) -> Store:
        return MemoryStore()

    def plant(self, store: MemoryStore, key: str, data: bytes) -> None:
        store._objects[key] = data

    def peek(self, store: MemoryStore, key: str) -> bytes | None:
        return store._objects.get(key)


def test_each_is_a_store_of_its_own():
    one, other = MemoryStore(), MemoryStore()
    one.put("a", b"1")
    assert other.size("a") is None
