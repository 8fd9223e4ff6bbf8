"""Objects in a dict: for tests, and for programs that keep their archive somewhere else. Durable is nothing of it."""

from __future__ import annotations

from collections.abc import Iterator

from gamearchive.errors import IntegrityError, NotFoundError
from gamearchive.stores.base import Store, StoredObject, check_key


class MemoryStore(Store):
    """A store that lives and dies with its process. Each is a store of its own."""

    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}

    @property
    def url(self) -> str:
        return "memory:"

    def put(self, key: str, data: bytes) -> None:
        self._objects[check_key(key)] = data

    def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        data = self._objects.get(check_key(key))
        if data is None:
            raise NotFoundError(f"There is no object {key} in {self.url}")
        end = len(data) if length is None else offset + length
        if not 0 <= offset <= end <= len(data):
            raise IntegrityError(f"{key} in {self.url} has {len(data)} bytes, and bytes {offset} to {end} were asked for.")
        return data[offset:end]

    def size(self, key: str) -> int | None:
        data = self._objects.get(check_key(key))
        return None if data is None else len(data)

    def delete(self, key: str) -> bool:
        return self._objects.pop(check_key(key), None) is not None

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        for key, data in sorted(self._objects.copy().items()):  # the copy is one step, whatever other threads do
            if key.startswith(prefix):
                yield StoredObject(key, len(data))
