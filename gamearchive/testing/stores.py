"""A conformance suite for stores, and a store that fails when told to.

A store of your own is tested in a file like this one, run by pytest::

    from gamearchive.testing import StoreTests

    class TestCupboardStore(StoreTests):
        def open(self, folder):
            return CupboardStore(folder)

        def plant(self, store, key, data):
            (store.shelf / key).write_bytes(data)

        def peek(self, store, key):
            return (store.shelf / key).read_bytes() if (store.shelf / key).exists() else None

``plant`` and ``peek`` go around the store, so that `put` is not proved by `get`.
"""
# ruff: noqa: S101 - assertions are what this module is for

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from functools import partial
from pathlib import Path
from typing import ClassVar

import pytest

from gamearchive.errors import StorageUnavailableError, UsageError
from gamearchive.stores.base import MAX_KEY_BYTES, Store, StoredObject
from gamearchive.stores.contract import STEPS, Step, Subject
from gamearchive.stores.wrapper import WrapperStore

NO_KEYS = (
    "", "/", "/etc/passwd", "..", "../a", "a/../b", "a/..", ".", "./a", "a/.", "a//b", "a/", ".tmp-0123456789abcdef",
    "a/.hidden", "a b", "a\\b", "a\0b", "a\n", "C:a", "é", "a" * 256, "/".join(["k" * 204] * 5) + "k",
)  # fmt: skip


class StoreTests(ABC):
    """What every store must do: the contract of `gamearchive.stores.base`, one promise a test."""

    persistent: ClassVar[bool] = True
    """Whether what is put outlives the store object. False skips the tests of that."""

    @abstractmethod
    def open(self, folder: Path) -> Store:
        """A store; empty when opened first for this folder, and again the same objects when opened again.

        Args:
            folder: an empty folder, for use if the store needs one.
        """

    @abstractmethod
    def plant(self, store: Store, key: str, data: bytes) -> None:
        """Put an object there around the store."""

    @abstractmethod
    def peek(self, store: Store, key: str) -> bytes | None:
        """Read an object around the store; None if there is none."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        """The store under test."""
        store = self.open(tmp_path)
        yield store
        store.close()

    @pytest.mark.parametrize("step", [step for step in STEPS if step.needed], ids=lambda step: step.name)
    def test_a_promise(self, store: Store, step: Step[Callable[[Subject], None]]) -> None:
        """Each step of the contract, the store being looked at from outside as well."""
        step.attempt(Subject(store, partial(self.plant, store), partial(self.peek, store)))

    @pytest.mark.parametrize("key", NO_KEYS, ids=lambda key: repr(key[:30]))
    def test_what_is_no_key_is_refused(self, store: Store, key: str) -> None:
        """On every way in, before anything is touched."""
        calls: list[Callable[[], object]] = [
            lambda: store.put(key, b"x"),
            lambda: store.put_new(key, b"x"),
            lambda: store.get(key),
            lambda: store.size(key),
            lambda: store.delete(key),
        ]
        for call in calls:
            with pytest.raises(UsageError):
                call()
        assert list(store.list()) == []

    def test_the_longest_key(self, store: Store) -> None:
        """1,024 bytes are still a key."""
        key = "/".join(["k" * 204] * 5)
        assert len(key) == MAX_KEY_BYTES
        store.put(key, b"deep")
        assert self.peek(store, key) == b"deep"
        assert list(store.list()) == [StoredObject(key, 4)]

    def test_another_store_sees_it(self, store: Store, tmp_path: Path) -> None:
        """What one store object did is seen by one opened before it was done."""
        if not self.persistent:
            pytest.skip("each of these stores is its own")
        other = self.open(tmp_path)
        store.put("a/b", b"seen")
        assert other.get("a/b") == b"seen"
        assert list(other.list()) == [StoredObject("a/b", 4)]
        store.delete("a/b")
        assert other.size("a/b") is None
        other.close()

    def test_nothing_to_sweep_after_puts_that_ended_well(self, store: Store) -> None:
        """A sweep takes no object, and a good put leaves nothing to take."""
        store.put("a/b", b"kept")
        assert store.sweep() == 0
        assert self.peek(store, "a/b") == b"kept"

    def test_close_twice(self, store: Store) -> None:
        """Closing again is harmless; the fixture closes a third time."""
        store.close()
        store.close()


class Fault(Enum):
    """How an operation of a `FaultyStore` goes wrong."""

    REFUSED = "refused"
    """It raises, and nothing was done."""
    UNANSWERED = "unanswered"
    """It is done, and raises all the same: the answer was lost."""
    CUT = "cut"
    """Half the bytes: a `put` stores them and raises, a `get` returns them as if they were all."""


class FaultyStore(WrapperStore):
    """A store whose n-th operation goes wrong; all others are the inner store's.

    Args:
        inner: the store that does the work.
        at: which operation fails, counted from 1; one more than there are is never reached.
        fault: how it fails.
        only: the operations that count: some of ``put get size delete list``.

    Attributes:
        count: how many operations there were so far.
    """

    def __init__(
        self,
        inner: Store,
        *,
        at: int,
        fault: Fault = Fault.REFUSED,
        only: tuple[str, ...] = ("put", "get", "size", "delete", "list"),
    ) -> None:
        super().__init__(inner)
        self.count = 0
        self._at = at
        self._fault = fault
        self._only = only

    def put(self, key: str, data: bytes) -> None:
        with self._operation("put", key) as failing:
            self.inner.put(key, data[: len(data) // 2] if failing and self._fault is Fault.CUT else data)

    def put_new(self, key: str, data: bytes) -> bool:
        with self._operation("put", key) as failing:
            return self.inner.put_new(key, data[: len(data) // 2] if failing and self._fault is Fault.CUT else data)

    def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        with self._operation("get", key) as failing:
            data = self.inner.get(key, offset, length)
            return data[: len(data) // 2] if failing and self._fault is Fault.CUT else data

    def size(self, key: str) -> int | None:
        with self._operation("size", key):
            return self.inner.size(key)

    def delete(self, key: str) -> bool:
        with self._operation("delete", key):
            return self.inner.delete(key)

    def delete_many(self, keys: Iterable[str]) -> Mapping[str, str]:
        return Store.delete_many(self, keys)  # one by one, so that each is an operation

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        with self._operation("list", prefix):
            yield from self.inner.list(prefix)

    @contextmanager
    def _operation(self, name: str, key: str) -> Iterator[bool]:
        """Count an operation, let it be done where the fault wants that, and raise; yields whether it is the one to fail."""
        self.count += name in self._only
        failing = name in self._only and self.count == self._at
        error = StorageUnavailableError(f"The store was told to fail at operation {self._at}, {name} of {key!r}.")
        if failing and self._fault is Fault.REFUSED:
            raise error
        yield failing
        if failing and not (name == "get" and self._fault is Fault.CUT):
            raise error
