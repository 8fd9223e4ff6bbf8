"""A part of a store, as a store of its own: all keys that begin alike, without what they begin with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from gamearchive.stores.base import Store, StoredObject, check_key
from gamearchive.stores.wrapper import WrapperStore


class PrefixStore(WrapperStore):
    """The objects of another store whose keys begin with a prefix.

    Args:
        inner: the other store.
        prefix: a key, and a ``/``.
    """

    def __init__(self, inner: Store, prefix: str) -> None:
        super().__init__(inner)
        self._prefix = prefix

    @property
    def url(self) -> str:
        return f"{self.inner.url.rstrip('/')}/{self._prefix.rstrip('/')}"

    def put(self, key: str, data: bytes) -> None:
        self.inner.put(self._prefix + check_key(key), data)

    def put_new(self, key: str, data: bytes) -> bool:
        return self.inner.put_new(self._prefix + check_key(key), data)

    def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        return self.inner.get(self._prefix + check_key(key), offset, length)

    def size(self, key: str) -> int | None:
        return self.inner.size(self._prefix + check_key(key))

    def delete(self, key: str) -> bool:
        return self.inner.delete(self._prefix + check_key(key))

    def delete_many(self, keys: Iterable[str]) -> Mapping[str, str]:
        retained = self.inner.delete_many([self._prefix + check_key(key) for key in keys])
        return {key.removeprefix(self._prefix): why for key, why in retained.items()}

    def thaw(self, key: str, days: int) -> str | None:
        return self.inner.thaw(self._prefix + check_key(key), days)

    def describe(self, key: str) -> Mapping[str, str]:
        return self.inner.describe(self._prefix + check_key(key))

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        for held in self.inner.list(self._prefix + prefix):
            yield StoredObject(held.key.removeprefix(self._prefix), held.size)
