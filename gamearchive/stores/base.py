"""The contract of a store: whole objects, written once, read in ranges, listed by key.

What a store promises, and what `gamearchive.testing.StoreTests` holds it to:

- *Durable*: when `put` returns, the object survives a power cut; when `delete` returns, so does its absence. (A store that
  keeps nothing, such as `memory`, says so.)
- *Atomic*: another reader sees an object whole or not at all, the old one or the new one, also when the writer is killed at
  any moment. What such a writer leaves behind is no object: it is never listed nor read, and `sweep` removes it.
- *Read your writes*: what `put` or `delete` did is seen by every `get`, `size` and `list` that starts after it returned,
  from any process.
- *Concurrent*: any number of threads and processes use one store at once. Two puts of one key leave one of the two.
- *Exact*: `get` returns the bytes asked for or raises; never fewer.

A key is a relative path of plain segments (`check_key`). One key is never a folder of another: with ``a/b`` stored, there is
no object ``a``. Keys that differ only in case are to be avoided: some disks take them for the same.

Errors: `NotFoundError` for an object that is not there, `IntegrityError` for one that ends too early, `UsageError` for what
is no key, and `StorageUnavailableError` for all that the storage itself is to blame for. A storage that locks objects raises
`RetainedError` instead of deleting one, and one that archives them `ThawingError` instead of reading one.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from gamearchive.errors import RetainedError, UsageError

MAX_KEY_BYTES = 1024

_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}(?:/[A-Za-z0-9_-][A-Za-z0-9._-]{0,254})*")


class StoredObject(NamedTuple):
    """An object in a listing; ``size`` in bytes."""

    key: str
    size: int


class Store(ABC):
    """A place for objects. The module's docstring says what each method promises."""

    @property
    @abstractmethod
    def url(self) -> str:
        """Where it is, for people: a URL without secrets."""

    @abstractmethod
    def put(self, key: str, data: bytes) -> None:
        """Store an object durably, in place of an earlier one. The same bytes once more are harmless."""

    def put_new(self, key: str, data: bytes) -> bool:
        """Store an object durably, unless there is one of this key, which then stays: False.

        A store of which many processes can tell at once who came first does better than this method.
        """
        if self.size(key) is not None:
            return False
        self.put(key, data)
        return True

    @abstractmethod
    def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """Read an object, or a range of it.

        Args:
            key: the object's.
            offset: the first byte's, from 0.
            length: how many bytes; None for all up to the end.

        Raises:
            NotFoundError: if there is no such object.
            IntegrityError: if the object ends before the range does.
        """

    @abstractmethod
    def size(self, key: str) -> int | None:
        """An object's size in bytes, or None if there is no such object."""

    @abstractmethod
    def delete(self, key: str) -> bool:
        """Remove an object durably; False if there was none."""

    def delete_many(self, keys: Iterable[str]) -> Mapping[str, str]:
        """Remove objects durably, each that is there and can be removed; of those that the storage retains, why they stay."""
        retained = {}
        for key in keys:
            try:
                self.delete(key)
            except RetainedError as error:
                retained[key] = error.message
        return retained

    @abstractmethod
    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """The objects whose keys begin with ``prefix`` (any string), in the order of their keys' bytes.

        Memory stays bounded however many there are. What has no key's name is none of the store's and is passed over. An
        object that comes or goes during the listing may be in it or not.
        """

    def clear(self, prefix: str) -> Mapping[str, str]:
        """Remove all objects whose keys begin with a prefix, under which nobody else puts any; see `delete_many`.

        Args:
            prefix: ends with ``/``.
        """
        return self.delete_many([key for key, _ in self.list(prefix)])

    def thaw(self, key: str, days: int) -> str | None:  # noqa: ARG002 - most stores keep everything within reach
        """Have an object brought to where it can be read. Asking again, while it is on its way, is harmless.

        Args:
            key: the object's.
            days: how long it is to stay there, at least.

        Returns:
            how long that takes, for people; None if it can be read now.

        Raises:
            NotFoundError: if there is no such object.
        """
        return None

    def describe(self, key: str) -> Mapping[str, str]:  # noqa: ARG002 - what to look at, for a store that has more to tell
        """What there is to know of the storage beside its contract, such as whether it keeps versions, for people to read.

        Args:
            key: of an object that may be put, to be looked at.
        """
        return {}

    def sweep(self) -> int:
        """Remove what writers that died left behind, and nothing that a living one still needs; how many were removed."""
        return 0

    def close(self) -> None:
        """Give back what is held open. The store is not used afterwards; closing again is harmless."""
        return


def is_key(name: str) -> bool:
    """Whether a name can be a key: see `check_key`."""
    return len(name) <= MAX_KEY_BYTES and _KEY.fullmatch(name) is not None


def check_key(key: str) -> str:
    """Return a key as it is. Every store calls this on the way in, and `is_key` on what a listing brings out.

    Raises:
        UsageError: unless it is at most 1,024 bytes of segments with ``/`` between, each of 1 to 255 ASCII letters, digits,
            ``.``, ``_`` and ``-``, and none beginning with a dot (so neither ``..`` nor a hidden or temporary file is a key).
    """
    if not is_key(key):
        shown = key if len(key) <= 80 else f"{key[:80]}…"
        raise UsageError(f"{shown!r} is not a key of an object.", hint="Use plain names with / between: game/2025/a.zst.")
    return key
