"""A part of a store is as good a store as the whole, and none of the rest is touched."""

from __future__ import annotations

from pathlib import Path

from gamearchive.stores.base import Store
from gamearchive.stores.filesystem import FileSystemStore
from gamearchive.stores.memory import MemoryStore
from gamearchive.stores.prefix import PrefixStore
from gamearchive.testing import StoreTests


class TestPrefixStore(StoreTests):
    def open(self, folder: Path) -> Store:
        return PrefixStore(FileSystemStore(folder), "a/part/")

    def plant(self, store: PrefixStore, key: str, data: bytes) -> None:
        store.inner.put(f"a/part/{key}", data)

    def peek(self, store: PrefixStore, key: str) -> bytes | None:
        key = f"a/part/{key}"
        return None if store.inner.size(key) is None else store.inner.get(key)

    def test_the_longest_key(self, store: Store) -> None:
        """The prefix is part of a key's length."""
        key = "/".join(["k" * 202] * 5)
        store.put(key, b"deep")
        assert (store.get(key), [held.key for held in store.list()]) == (b"deep", [key])


def test_only_what_begins_with_the_prefix_is_in_it() -> None:
    whole = MemoryStore()
    part = PrefixStore(whole, "part/")
    for key in ("part/a", "part2/a", "a"):
        whole.put(key, key.encode())
    part.put("b", b"new")
    assert [held.key for held in part.list()] == ["a", "b"]
    assert part.get("a") == b"part/a"
    assert part.delete("a")
    assert [held.key for held in whole.list()] == ["a", "part/b", "part2/a"]
