"""Checking a store: what it does not do is told, and what is put there goes again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gamearchive.clock import SystemClock
from gamearchive.errors import RetainedError, StorageUnavailableError
from gamearchive.operations.check import Noted, Speed, Tried, check
from gamearchive.stores.base import Store, StoredObject
from gamearchive.stores.contract import STEPS
from gamearchive.stores.memory import MemoryStore

NAMES = [step.name for step in STEPS]


def missing(store: Store) -> dict[str, str]:
    """The promises that are not kept, with how."""
    return {each.step.name: each.problem for each in check(store, SystemClock()) if isinstance(each, Tried) and each.problem}


def test_each_promise_is_tried_and_nothing_stays() -> None:
    store = MemoryStore()
    store.put("game/a.zst", b"x")
    *tried, speed = check(store, SystemClock())
    assert [each.step.name for each in tried if isinstance(each, Tried)] == NAMES
    assert isinstance(speed, Speed)
    assert list(store.list()) == [StoredObject("game/a.zst", 1)]


class Forgetful(MemoryStore):
    def put(self, key: str, data: bytes) -> None:
        super().put(key, data[:10_000_000])


class Unordered(MemoryStore):
    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        yield from sorted(super().list(prefix), reverse=True)


class Hasty(MemoryStore):
    def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        try:
            return super().get(key, offset, length)
        except StorageUnavailableError:
            raise
        except Exception as error:
            raise OSError("something") from error


class Appending(MemoryStore):
    def put(self, key: str, data: bytes) -> None:
        super().put(key, (super().get(key) if self.size(key) else b"") + data)


@pytest.mark.parametrize(
    ("store", "name", "told"),
    [
        (Forgetful(), "large", "it is not there as it was put"),
        (Unordered(), "list", "objects are not listed in the order of their keys' bytes"),
        (Hasty(), "get", "it raises OSError: something"),
        (Appending(), "overwrite", "an object that is put once more has not the new bytes"),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, Store) else "",
)
def test_a_broken_promise_is_told_as_what_it_is(store: Store, name: str, told: str) -> None:
    assert missing(store)[name] == told


class Retaining(MemoryStore):
    def delete(self, key: str) -> bool:
        if self.size(key) is None:
            return False
        raise RetainedError(f"{key} is retained until 2099.")


def test_what_the_storage_retains_stays_and_is_told() -> None:
    *tried, left = check(Retaining(), SystemClock())
    assert {each.step.name for each in tried if isinstance(each, Tried) and each.problem} == {"delete", "delete-many"}
    assert isinstance(left, Noted)
    assert left.subject == "left-behind"
    assert "is retained until 2099" in left.fact


class Mortal(MemoryStore):
    """Gone once it holds so large an object."""

    gone = False

    def put(self, key: str, data: bytes) -> None:
        self.gone |= len(data) > 10_000_000
        super().put(key, data)

    def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        if self.gone:
            raise StorageUnavailableError("It has gone.")
        return super().get(key, offset, length)


def test_a_store_that_goes_meanwhile_is_told_from_one_that_cannot() -> None:
    steps = check(Mortal(), SystemClock())
    with pytest.raises(StorageUnavailableError, match="It has gone"):
        list(steps)


def test_one_that_is_stopped_leaves_nothing_either() -> None:
    store, looks = MemoryStore(), iter([False, False, True])
    steps = list(check(store, SystemClock(), stopping=lambda: next(looks, True)))
    assert [each.step.name for each in steps if isinstance(each, Tried)] == NAMES[:2]
    assert len(steps) == 2
    assert list(store.list()) == []
    steps = check(store, SystemClock())
    next(steps)
    steps.close()
    assert list(store.list()) == []
