"""A storage's objects copied to another address, while the archive goes on.

Pass after pass copies what is not there yet, and reads it back; the last one with the archive held alone, so that nothing comes
or goes meanwhile. After that both are the same. Nothing is deleted at the old address. Broken off, it goes on where it ended:
what is there already is compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from gamearchive.backends.composite_store import is_sound
from gamearchive.backends.packed import MARK_KEY
from gamearchive.errors import NotFoundError, RefusedError, StorageUnavailableError
from gamearchive.stores.base import Store

PASSES = 3
"""So many at most before the one for which the archive is held."""


@dataclass(frozen=True, slots=True)
class Copied:
    """An object that is at the new address now: whether it was sent, or is gone from there as from the old one, and what is
    wrong with it, at both.
    """

    key: str
    stored_bytes: int
    sent: bool = True
    removed: bool = False
    problem: str | None = None


def relocate(
    old: Store,
    new: Store,
    alone: Callable[[], AbstractContextManager[object]],
    *,
    stopping: Callable[[], bool] = lambda: False,
) -> Iterator[Copied]:
    """Copy everything from one store into another.

    Args:
        old: where it is.
        new: where it is to be; empty, or left by an earlier run.
        alone: holds the archive, exclusively.
        stopping: whether to leave after the object in hand.

    Raises:
        RefusedError: if something else is there already.
        StorageUnavailableError: if an object cannot be read or written.
    """
    _take_possession(old, new)
    known: set[str] = set()
    for _ in range(PASSES):
        sent = 0
        for copied in _pass(old, new, known, stopping):
            sent += copied.sent
            yield copied
        if stopping():
            return
        if not sent:
            break
    with alone():
        yield from _pass(old, new, known, stopping)
        if stopping():
            return
        there = {each.key for each in old.list()}
        for key in sorted(known - there):  # what else is there came after an earlier run, and is at home there
            new.delete(key)
            yield Copied(key, 0, sent=False, removed=True)


def _take_possession(old: Store, new: Store) -> None:
    """Mark the new store as that of the archive whose storage the old one is."""
    mark = _read(old, MARK_KEY)
    if mark is None:
        raise RefusedError(f"{old.url} is not marked as an archive's storage.", hint="Name the one that the settings name.")
    there = _read(new, MARK_KEY)
    if there is None and next(new.list(), None) is not None:
        raise RefusedError(f"There is something in {new.url} already.", hint="Name an empty place.")
    if there not in (None, mark):
        raise RefusedError(f"{new.url} is the storage of another archive.", hint="Name an empty place.")
    new.put(MARK_KEY, mark)


def _pass(old: Store, new: Store, known: set[str], stopping: Callable[[], bool]) -> Iterator[Copied]:
    for each in old.list():
        if stopping():
            return
        if each.key in known:
            continue
        data = _read(old, each.key)
        if data is None:
            continue  # deleted meanwhile
        sent = new.size(each.key) != len(data) or _read(new, each.key) != data
        if sent:
            new.put(each.key, data)
            if _read(new, each.key) != data:
                raise StorageUnavailableError(f"{each.key} does not read back from {new.url} as it was written.")
        known.add(each.key)
        wrong = is_sound(each.key, data) is False
        yield Copied(each.key, len(data), sent, problem="its bytes are not those that it is named by" if wrong else None)


def _read(store: Store, key: str) -> bytes | None:
    try:
        return store.get(key)
    except NotFoundError:
        return None
