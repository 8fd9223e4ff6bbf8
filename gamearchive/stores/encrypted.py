"""A store around another, in which every object is encrypted, so that who keeps the bytes cannot read or change them unnoticed.

The format of an encrypted object, version 1. It is a sequence of chunks, each of 16 KiB of the object but for the last, which
has what is left (of an empty object, nothing). A chunk stands alone, so that a range is read by reading the chunks it lies in::

    mark      4 bytes   "GAe1"
    key id    8 bytes   of the key, as `gamearchive.keyring` makes it
    nonce     12 bytes  random
    sealed    AES-256-GCM of the chunk, with its tag of 16 bytes behind it

What GCM authenticates with each chunk is its number (8 bytes, little-endian), whether it is the last (1 byte, 1 or 0), and the
object's key. So an object that is cut, put together from others, or lies under another's key, is an IntegrityError. What can be
done without the key is to take objects away, or to put an earlier one back under its own key: for packs, which never change,
that is the same one.

Sizes are arithmetic in both directions: a chunk takes 40 bytes more than it holds, 0.24 %. Random nonces are good for 2^32
chunks a key, 64 TiB written; use a new one long before that.

Keys of objects and the objects' sizes are not hidden.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence

from gamearchive.errors import IntegrityError, NotFoundError
from gamearchive.keyring import ID_BYTES, UNENCRYPTED, Keyring
from gamearchive.stores.base import Store, StoredObject
from gamearchive.stores.wrapper import WrapperStore

MARK = b"GAe1"
CHUNK_BYTES = 16 << 10

_HEAD_BYTES = len(MARK) + ID_BYTES
_NONCE_BYTES = 12
_MORE_BYTES = _HEAD_BYTES + _NONCE_BYTES + 16
_STORED_BYTES = CHUNK_BYTES + _MORE_BYTES
_CONTEXT = struct.Struct("<Q?")


class EncryptedStore(WrapperStore):
    """Encrypts what is put into another store, and decrypts what is read from it.

    Reading a range is one request of the inner store, and a second one where the range touches the object's last chunk. Where
    objects that are not encrypted are to be read as well, each that is read in part, or listed, is looked at first.

    Args:
        inner: the store that the objects are in.
        keyring: the keys. Where it has none, objects are stored and read as they are, and an encrypted one is told when it is
            read from its beginning.
    """

    def __init__(self, inner: Store, keyring: Keyring) -> None:
        super().__init__(inner)
        self._keyring = keyring

    def put(self, key: str, data: bytes) -> None:
        self.inner.put(key, self._encrypted(key, data))

    def put_new(self, key: str, data: bytes) -> bool:
        return self.inner.put_new(key, self._encrypted(key, data))

    def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        if not self._keyring.keys:
            data = self.inner.get(key, offset, length)
            if not offset and (key_id := _key_id(data)) is not None:
                raise self._keyring.missing(f"{key} in {self.url}", key_id)
            return data
        if length is None and not offset:
            data = self.inner.get(key)
            if self._keyring.reads_unencrypted and _key_id(data) is None:
                return data
            return self._decrypted(key, data, 0, ends=True)
        if not self._is_encrypted(key):
            return self.inner.get(key, offset, length)
        return self._get_range(key, offset, length)

    def size(self, key: str) -> int | None:
        stored = self.inner.size(key)
        return stored if stored is None else self._content_bytes(key, stored)

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        for held in self.inner.list(prefix):
            try:
                yield StoredObject(held.key, self._content_bytes(*held))
            except NotFoundError:  # it went during the listing
                continue

    def key_of(self, key: str) -> bytes | None:
        """The id of the key that an object is encrypted with; None where it is not encrypted.

        Raises:
            NotFoundError: if there is no such object.
        """
        try:
            return _key_id(self.inner.get(key, 0, _HEAD_BYTES))
        except IntegrityError:  # it is shorter than that
            return None

    def _is_encrypted(self, key: str) -> bool:
        """Whether an object is encrypted; not looked at where all must be."""
        return not self._keyring.reads_unencrypted or self.key_of(key) is not None

    def _content_bytes(self, key: str, stored: int) -> int:
        """How many bytes an object holds that takes so many; of one that is cut short, about."""
        if not self._keyring.keys or not self._is_encrypted(key):
            return stored
        return max(stored - -(-stored // _STORED_BYTES) * _MORE_BYTES, 0)

    def _encrypted(self, key: str, data: bytes) -> bytes:
        present = self._keyring.present
        if present is None:
            return data
        chunks = [data[start : start + CHUNK_BYTES] for start in range(0, len(data) or 1, CHUNK_BYTES)]
        nonces = os.urandom(_NONCE_BYTES * len(chunks))
        parts: list[bytes] = []
        for number, chunk in enumerate(chunks):
            nonce = nonces[number * _NONCE_BYTES : (number + 1) * _NONCE_BYTES]
            context = _context(key, number, last=number == len(chunks) - 1)
            parts += (MARK, present.id, nonce, present.encrypt(nonce, chunk, context))
        return b"".join(parts)

    def _get_range(self, key: str, offset: int, length: int | None) -> bytes:
        if offset < 0 or length == 0:
            size = self.size(key)
            if size is None:
                raise NotFoundError(f"There is no object {key} in {self.url}.")
            if not 0 <= offset <= size:
                raise self._too_short(key, offset)
            return b""
        # What is read up to the end has the last chunk in it, in which it stands that it is that.
        first = max(offset - 1, 0) // CHUNK_BYTES if length is None else offset // CHUNK_BYTES
        ends = length is None
        start = first * _STORED_BYTES
        if length is None:
            data = self.inner.get(key, start)
        else:
            chunks = (offset + length - 1) // CHUNK_BYTES - first + 1
            try:
                data = self.inner.get(key, start, chunks * _STORED_BYTES)
            except IntegrityError:  # it ends within these
                data, ends = self.inner.get(key, start), True
        content = self._decrypted(key, data, first, ends=ends)
        begin = offset - first * CHUNK_BYTES
        end = len(content) if length is None else begin + length
        if not begin <= end <= len(content):
            raise self._too_short(key, offset)
        return content[begin:end]

    def _decrypted(self, key: str, data: bytes, first: int, *, ends: bool) -> bytes:
        """What is in the chunks of an object.

        Args:
            key: the object's.
            data: some of its chunks, one after another.
            first: the number of the first of these.
            ends: whether the last of these must be the object's last.
        """
        chunks = [data[start : start + _STORED_BYTES] for start in range(0, len(data) or 1, _STORED_BYTES)]
        content = [self._opened(key, number, chunk, (False,)) for number, chunk in enumerate(chunks[:-1], first)]
        # Of those read from the middle it is not known whether the last of them is the object's.
        content.append(self._opened(key, first + len(chunks) - 1, chunks[-1], (True,) if ends else (False, True)))
        return b"".join(content)

    def _opened(self, name: str, number: int, chunk: bytes, lasts: Sequence[bool]) -> bytes:
        """What is in one chunk, which must be of this object and number, and one of the last, or not."""
        key_id = _key_id(chunk)
        known = None if key_id is None else self._keyring.keys.get(key_id)
        nonce, sealed = chunk[_HEAD_BYTES : _HEAD_BYTES + _NONCE_BYTES], chunk[_HEAD_BYTES + _NONCE_BYTES :]
        whole = len(chunk) >= _MORE_BYTES
        if known is not None and whole:
            for last in lasts:
                content = known.decrypt(nonce, sealed, _context(name, number, last=last))
                if content is not None:
                    return content
        what = f"{name} in {self.url}"
        if known is None and not (whole and self._is_ours(name, number, nonce, sealed, lasts)):
            if key_id is not None:
                raise self._keyring.missing(what, key_id)
            if not number:
                raise IntegrityError(
                    f"{what} is not encrypted, or damaged.",
                    hint=f"If it is from before there was a key, add the line `{UNENCRYPTED}` to the key file, below the keys.",
                )
        raise IntegrityError(f"{what} is damaged, cut short, or another object, in its chunk {number}.")

    def _is_ours(self, name: str, number: int, nonce: bytes, sealed: bytes, lasts: Sequence[bool]) -> bool:
        """Whether a chunk is encrypted with a key that is at hand, though its head does not say so, and so is damaged."""
        contexts = [_context(name, number, last=last) for last in lasts]
        keys = self._keyring.keys.values()
        return any(key.decrypt(nonce, sealed, context) is not None for key in keys for context in contexts)

    def _too_short(self, key: str, offset: int) -> IntegrityError:
        return IntegrityError(f"{key} in {self.url} ends before the range from byte {offset} does.")


def _key_id(data: bytes) -> bytes | None:
    """The id of the key that an object, or a chunk of one, begins with; None if it is not encrypted."""
    return data[len(MARK) : _HEAD_BYTES] if data.startswith(MARK) and len(data) >= _HEAD_BYTES else None


def _context(key: str, number: int, *, last: bool) -> bytes:
    return _CONTEXT.pack(number, last) + key.encode()
