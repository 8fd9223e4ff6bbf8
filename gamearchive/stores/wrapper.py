"""A store around another, that passes everything on: inherit it and change what is to be different."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from gamearchive.stores.base import Store, StoredObject


class WrapperStore(Store):
    """Does all that the inner store does, as it does it.

    Args:
        inner: the store that does the work; closed with this one.
    """

    def __init__(self, inner: Store) -> None:
        self.inner = inner

    @property
    def url(self) -> str:
        return self.inner.url

    def put(self, key: str, data: bytes) -> None:
        self.inner.put(key, data)

    def put_new(self, key: str, data: bytes) -> bool:
        return self.inner.put_new(key, data)

    def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        return self.inner.get(key, offset, length)

    def size(self, key: str) -> int | None:
        return self.inner.size(key)

    def delete(self, key: str) -> bool:
        return self.inner.delete(key)

    def delete_many(self, keys: Iterable[str]) -> Mapping[str, str]:
        return self.inner.delete_many(keys)

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        return self.inner.list(prefix)

    def clear(self, prefix: str) -> Mapping[str, str]:
        return self.inner.clear(prefix)

    def thaw(self, key: str, days: int) -> str | None:
        return self.inner.thaw(key, days)

    def describe(self, key: str) -> Mapping[str, str]:
        return self.inner.describe(key)

    def sweep(self) -> int:
        return self.inner.sweep()

    def close(self) -> None:
        self.inner.close()
