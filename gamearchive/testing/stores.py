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
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import ClassVar

import pytest

from gamearchive.errors import IntegrityError, NotFoundError, StorageUnavailableError, UsageError
from gamearchive.stores.base import MAX_KEY_BYTES, Store, StoredObject
from gamearchive.stores.wrapper import WrapperStore

ALL_BYTES = bytes(range(256)) * 64

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

    @pytest.mark.parametrize("data", [b"", b"\0", ALL_BYTES, b"x" * 3_000_000], ids=["empty", "nul", "all-bytes", "3-MB"])
    def test_put_stores_the_exact_bytes(self, store: Store, data: bytes) -> None:
        """What was put lies there."""
        store.put("game/2025/a.zst", data)
        assert self.peek(store, "game/2025/a.zst") == data

    @pytest.mark.parametrize(
        ("offset", "length"), [(0, None), (0, 10), (7, 1000), (7, None), (16383, 1), (16384, None), (16384, 0), (5, 0)]
    )
    def test_get_returns_the_range(self, store: Store, offset: int, length: int | None) -> None:
        """A range is just these bytes."""
        self.plant(store, "a/b", ALL_BYTES)
        assert store.get("a/b", offset, length) == ALL_BYTES[offset:][:length]

    @pytest.mark.parametrize(("offset", "length"), [(0, 16385), (16384, 1), (16385, None), (1 << 40, 0), (0, 1 << 60), (-1, 1)])
    def test_a_range_past_the_end_is_an_integrity_error(self, store: Store, offset: int, length: int | None) -> None:
        """Never fewer bytes than asked for."""
        self.plant(store, "a/b", ALL_BYTES)
        with pytest.raises(IntegrityError, match="a/b"):
            store.get("a/b", offset, length)

    def test_what_is_not_there(self, store: Store) -> None:
        """An absent object is told from everything else, and a folder is none."""
        self.plant(store, "a/b", b"there")
        for key in ("c", "a", "a/b/c", "a/bb"):
            with pytest.raises(NotFoundError, match=key):
                store.get(key)
            assert store.size(key) is None
            assert store.delete(key) is False
        assert self.peek(store, "a/b") == b"there"

    def test_size(self, store: Store) -> None:
        """The size is in bytes."""
        self.plant(store, "a", ALL_BYTES)
        self.plant(store, "b", b"")
        assert (store.size("a"), store.size("b")) == (len(ALL_BYTES), 0)

    def test_the_same_bytes_once_more_are_harmless(self, store: Store) -> None:
        """A step that is done again changes nothing."""
        for _ in range(3):
            store.put("a/b", b"same")
        assert self.peek(store, "a/b") == b"same"
        assert list(store.list()) == [StoredObject("a/b", 4)]

    @pytest.mark.parametrize("data", [b"shorter", b"much longer than before", b"", b"just as long!"])
    def test_put_replaces_the_whole_object(self, store: Store, data: bytes) -> None:
        """Nothing of the earlier bytes shines through."""
        self.plant(store, "a/b", b"what was here")
        store.put("a/b", data)
        assert self.peek(store, "a/b") == data

    def test_put_new_stores_what_is_not_there_and_leaves_what_is(self, store: Store) -> None:
        """The first to come is the one whose bytes stay."""
        assert store.put_new("a/b", b"first") is True
        assert store.put_new("a/b", b"second") is False
        assert self.peek(store, "a/b") == b"first"
        with pytest.raises(UsageError):
            store.put_new("../a", b"x")

    def test_delete(self, store: Store) -> None:
        """What is deleted is gone, and nothing else is."""
        self.plant(store, "a/b", b"goes")
        self.plant(store, "a/bc", b"stays")
        assert store.delete("a/b") is True
        assert self.peek(store, "a/b") is None
        assert store.delete("a/b") is False
        assert list(store.list()) == [StoredObject("a/bc", 5)]
        store.put("a/b", b"again")
        assert self.peek(store, "a/b") == b"again"

    def test_an_empty_store_lists_nothing(self, store: Store) -> None:
        """Reading from a store that nothing was put into is no error."""
        assert list(store.list()) == []
        assert list(store.list("game/")) == []

    def test_the_listing_is_in_key_order(self, store: Store) -> None:
        """Keys sort as their bytes do, whatever the folders."""
        keys = ["C", "a-b", "a.b", "a/b", "a/c/d", "a/c-d", "a/c0", "a0", "a_b", "b/1", "b/10", "b/2", "z"]
        for key in keys:
            self.plant(store, key, key.encode())
        assert list(store.list()) == [StoredObject(key, len(key)) for key in sorted(keys)]

    @pytest.mark.parametrize(
        "prefix", ["a", "a/", "a/c", "a/c/", "a/c/d", "b/1", "z", "z/", "y", "..", "../", "/", "a b", "a/."]
    )
    def test_a_prefix_is_any_string(self, store: Store, prefix: str) -> None:
        """Those whose keys begin with it, and it need not end where a segment does."""
        keys = ["a/b", "a/c/d", "a/c0", "a0", "b/1", "b/10", "b/2", "z"]
        for key in keys:
            self.plant(store, key, b"")
        assert [key for key, _ in store.list(prefix)] == [key for key in keys if key.startswith(prefix)]

    @pytest.mark.parametrize("key", NO_KEYS, ids=lambda key: repr(key[:30]))
    def test_what_is_no_key_is_refused(self, store: Store, key: str) -> None:
        """On every way in, before anything is touched."""
        for call in (lambda: store.put(key, b"x"), lambda: store.get(key), lambda: store.size(key), lambda: store.delete(key)):
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

    def test_puts_from_many_threads(self, store: Store) -> None:
        """Each object arrives, and of a contested one some writer's bytes, whole."""

        def put(number: int) -> None:
            store.put(f"own/{number}", b"%d" % number * 1000)
            store.put("contested", b"%d" % (number % 10) * 50_000)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(put, range(40)))
        assert {self.peek(store, f"own/{number}") == b"%d" % number * 1000 for number in range(40)} == {True}
        assert self.peek(store, "contested") in [b"%d" % digit * 50_000 for digit in range(10)]
        assert len(list(store.list())) == 41

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
