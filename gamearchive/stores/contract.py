"""The contract of a store, step by step: each promise of `base` as something that can be tried on any store.

`gamearchive.testing.StoreTests` tries each step on a store that it also looks at from outside, `gamearchive storage check`
each on a user's own bucket or server. A step finds nothing under the keys that it uses, and leaves there what it put.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Generic, NamedTuple, TypeVar

from gamearchive.errors import GameArchiveError, IntegrityError, NotFoundError
from gamearchive.stores.base import Store, StoredObject

ALL_BYTES = bytes(range(256)) * 64
LARGE = 20 << 20
"""Bytes of an object that a store may have to take in parts."""

_KEYS = ("C", "a-b", "a.b", "a/b", "a/c-d", "a/c/d", "a/c0", "a0", "a_b", "b/1", "b/10", "b/2", "z")
_PREFIXES = ("", "a", "a/", "a/c", "a/c/", "b/1", "z", "z/", "y", "..", "../", "/", "a b", "a/.")
_RANGES = ((0, None), (0, 10), (7, 1000), (7, None), (16383, 1), (16384, None), (16384, 0), (5, 0))
_NO_RANGES = ((0, 16385), (16384, 1), (16385, None), (1 << 40, 0), (0, 1 << 60), (-1, 1))
_THREADS = 8


A = TypeVar("A", bound=Callable[..., object])


class BrokenPromiseError(GameArchiveError):
    """What was tried did not do what it promises; the message says what it did instead."""


class Subject(NamedTuple):
    """A store to try, and two ways around it, so that `put` is not proved by `get`; where there are none, its own."""

    store: Store
    plant: Callable[[str, bytes], object]
    peek: Callable[[str], bytes | None]


@dataclass(frozen=True, slots=True)
class Step(Generic[A]):
    """One promise: its name, what is promised, and how it is tried; ``needed`` unless nothing rests on it."""

    name: str
    promise: str
    attempt: A
    needed: bool = True


def hold(kept: bool, otherwise: str) -> None:
    """Make sure that a promise was kept.

    Raises:
        BrokenPromiseError: if it was not.
    """
    if not kept:
        raise BrokenPromiseError(otherwise)


def _refused(call: Callable[[], object], kind: type[GameArchiveError], what: str) -> None:
    """Make sure that a call raises an error of a kind."""
    try:
        call()
    except kind:
        return
    raise BrokenPromiseError(f"{what} is no {kind.__name__}")


def _put(subject: Subject) -> None:
    store, _, peek = subject
    for name, data in {"empty": b"", "nul": b"\0", "all-bytes": ALL_BYTES}.items():
        store.put(f"game/2025/{name}.zst", data)
        hold(peek(f"game/2025/{name}.zst") == data, f"an object of {len(data)} bytes ({name}) is not there as it was put")


def _get(subject: Subject) -> None:
    store, plant, _ = subject
    plant("a/b", ALL_BYTES)
    for offset, length in _RANGES:
        wanted = ALL_BYTES[offset:][:length]
        hold(store.get("a/b", offset, length) == wanted, f"the range from {offset}, {length} long, has other bytes")
    for offset, length in _NO_RANGES:
        _refused(partial(store.get, "a/b", offset, length), IntegrityError, f"a range from {offset} past the end")


def _absent(subject: Subject) -> None:
    store, plant, peek = subject
    plant("a/b", b"there")
    for key in ("c", "a", "a/b/c", "a/bb"):
        _refused(partial(store.get, key), NotFoundError, f"an object {key} that was never put")
        hold(store.size(key) is None, f"{key}, that was never put, has a size")
        hold(store.delete(key) is False, f"{key}, that was never put, was deleted")
    hold(peek("a/b") == b"there", "a/b went with others")


def _size(subject: Subject) -> None:
    store, plant, _ = subject
    plant("a", ALL_BYTES)
    plant("b", b"")
    hold((store.size("a"), store.size("b")) == (len(ALL_BYTES), 0), "sizes are not in bytes")


def _overwrite(subject: Subject) -> None:
    store, _, peek = subject
    for data in (b"same", b"same", b"longer than it was", b"short", b"", b"again"):
        store.put("a/b", data)
        hold(peek("a/b") == data, "an object that is put once more has not the new bytes")
        hold(list(store.list()) == [StoredObject("a/b", len(data))], "an object that is put once more is not one object")


def _put_new(subject: Subject) -> None:
    store, _, peek = subject
    hold(store.put_new("a/b", b"first") is True, "what was not there was not put")
    hold(store.put_new("a/b", b"second") is False, "what was there was put once more")
    hold(peek("a/b") == b"first", "what was there has other bytes")


def _delete(subject: Subject) -> None:
    store, plant, peek = subject
    plant("a/b", b"goes")
    plant("a/bc", b"stays")
    hold(store.delete("a/b") is True, "what was there was not deleted")
    hold(peek("a/b") is None, "what was deleted is still there")
    hold(store.delete("a/b") is False, "what was deleted was deleted once more")
    hold(list(store.list()) == [StoredObject("a/bc", 5)], "what was deleted is still listed, or more went")
    store.put("a/b", b"again")
    hold(peek("a/b") == b"again", "what was deleted cannot be put again")


def _delete_many(subject: Subject) -> None:
    store, plant, peek = subject
    for key in _KEYS:
        plant(key, b"x")
    going, staying = _KEYS[::2], _KEYS[1::2]
    hold(not store.delete_many([*going, "nonesuch"]), "what nobody locked is retained")
    hold([peek(key) for key in going] == [None] * len(going), "what was deleted is still there")
    hold([key for key, _ in store.list()] == list(staying), "what was deleted is still listed, or more went")
    hold(not store.delete_many([]), "of no objects, some are retained")


def _list(subject: Subject) -> None:
    store, plant, _ = subject
    hold(list(store.list()) == list(store.list("game/")) == [], "there are objects where none was put")
    for key in _KEYS:
        plant(key, key.encode())
    for prefix in _PREFIXES:
        wanted = [StoredObject(key, len(key)) for key in _KEYS if key.startswith(prefix)]
        listed = list(store.list(prefix))
        hold(sorted(listed) == wanted, f"the objects that begin with {prefix!r} are others than those listed")
        hold(listed == wanted, "objects are not listed in the order of their keys' bytes")


def _large(subject: Subject) -> None:
    store, _, peek = subject
    data = bytes(range(251)) * (LARGE // 251)
    store.put("large", data)
    hold(peek("large") == data, "it is not there as it was put")
    hold(store.get("large", len(data) - 1000, 900) == data[-1000:-100], "a range of it has other bytes")


def _concurrent(subject: Subject) -> None:
    store, _, peek = subject

    def put(number: int) -> None:
        store.put(f"own/{number}", b"%d" % number * 1000)
        store.put("contested", b"%d" % (number % 10) * 50_000)

    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(put, range(40)))
        own = pool.map(peek, [f"own/{number}" for number in range(40)])
    wanted = [b"%d" % number * 1000 for number in range(40)]
    hold(list(own) == wanted, "of objects put at one moment, not all are as they were put")
    contested = [b"%d" % digit * 50_000 for digit in range(10)]
    hold(peek("contested") in contested, "an object that several put at one moment is none of theirs")
    hold(len(list(store.list())) == 41, "of objects put at one moment, not all are listed, or some twice")


def _race(subject: Subject) -> None:
    with ThreadPoolExecutor(_THREADS) as pool:
        first = sum(pool.map(lambda number: subject.store.put_new("contested", b"%d" % number), range(_THREADS)))
    hold(first == 1, f"{first} of {_THREADS} that put a new object at one moment took themselves for the first")


STEPS: tuple[Step[Callable[[Subject], None]], ...] = (
    Step("put", "what is put is there, byte for byte", _put),
    Step("get", "an object, or just a range of it, comes back, and never fewer bytes", _get),
    Step("absent", "what is not there is told from everything else", _absent),
    Step("size", "sizes are told, in bytes", _size),
    Step("overwrite", "an object that is put again has the new bytes, all of them", _overwrite),
    Step("put-new", "an object is put unless there is one", _put_new),
    Step("delete", "what is deleted is gone, and nothing else", _delete),
    Step("delete-many", "many are deleted together", _delete_many),
    Step("list", "objects are listed, in the order of their keys", _list),
    Step("large", f"an object of {LARGE >> 20} MiB goes and comes back", _large),
    Step("concurrent", "many may put at once", _concurrent),
    Step("first", "of many who put a new object at one moment, one is the first", _race, needed=False),
)
