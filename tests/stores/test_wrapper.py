"""A wrapped store is as good as the store in it, until it is told to fail."""

from pathlib import Path

import pytest

from gamearchive.errors import StorageUnavailableError
from gamearchive.stores.base import Store
from gamearchive.stores.filesystem import FileSystemStore
from gamearchive.stores.memory import MemoryStore
from gamearchive.stores.wrapper import WrapperStore
from gamearchive.testing import Fault, FaultyStore, StoreTests


class TestWrapperStore(StoreTests):
    def open(self, folder: Path) -> Store:
        return WrapperStore(FileSystemStore(folder))

    def plant(self, store: WrapperStore, key: str, data: bytes) -> None:
        store.inner.put(key, data)

    def peek(self, store: WrapperStore, key: str) -> bytes | None:
        return None if store.inner.size(key) is None else store.inner.get(key)


class CountingStore(WrapperStore):
    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.calls: list[str] = []

    def sweep(self) -> int:
        self.calls.append("sweep")
        return 7

    def close(self) -> None:
        self.calls.append("close")


def test_url_sweep_and_close_reach_the_inner_store():
    inner = CountingStore(MemoryStore())
    wrapper = WrapperStore(inner)
    wrapper.close()
    assert (wrapper.url, wrapper.sweep(), inner.calls) == ("memory:", 7, ["close", "sweep"])


def each_operation(store: Store) -> list[str]:
    """Do every operation once, and say which failed."""
    failed = []
    operations = {
        "put": lambda: store.put("new", b"new object"),
        "get": lambda: store.get("old"),
        "size": lambda: store.size("old"),
        "list": lambda: list(store.list()),
        "delete": lambda: store.delete("old"),
    }
    for name, operation in operations.items():
        try:
            operation()
        except StorageUnavailableError:
            failed.append(name)
    return failed


def faulty(**options: object) -> tuple[FaultyStore, MemoryStore]:
    inner = MemoryStore()
    inner.put("old", b"old object")
    return FaultyStore(inner, **options), inner


@pytest.mark.parametrize("at", range(1, 6))
@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.UNANSWERED])
def test_just_the_nth_operation_fails(at: int, fault: Fault):
    store, inner = faulty(at=at, fault=fault)
    names = ["put", "get", "size", "list", "delete"]
    assert each_operation(store) == [names[at - 1]]
    assert store.count == 5
    refused = names[at - 1] if fault is Fault.REFUSED else None
    assert (inner.size("new") is None) == (refused == "put")
    assert (inner.size("old") is None) == (refused != "delete")


def test_only_some_operations_count():
    store, _ = faulty(at=1, only=("delete",))
    assert each_operation(store) == ["delete"]
    assert store.count == 1


def test_a_cut_put_stores_half_and_raises():
    store, inner = faulty(at=1, fault=Fault.CUT)
    with pytest.raises(StorageUnavailableError, match="operation 1, put of 'new'"):
        store.put("new", b"12345678")
    assert inner.get("new") == b"1234"
    store.put("new", b"12345678")
    assert inner.get("new") == b"12345678"


def test_a_cut_get_returns_half_without_a_word():
    store, _ = faulty(at=1, fault=Fault.CUT)
    assert (store.get("old"), store.get("old")) == (b"old o", b"old object")
