"""A store that encrypts is as good as the one in it, and without the key no object is read, or changed unnoticed."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from gamearchive.errors import IntegrityError
from gamearchive.keyring import Key, Keyring, MissingKeyError
from gamearchive.stores.base import Store, StoredObject
from gamearchive.stores.encrypted import CHUNK_BYTES, EncryptedStore
from gamearchive.stores.filesystem import FileSystemStore
from gamearchive.stores.memory import MemoryStore
from gamearchive.stores.wrapper import WrapperStore
from gamearchive.testing import StoreTests

SECRET, OTHER = b"k" * 32, b"o" * 32
KEY = Key(SECRET)
STORED = CHUNK_BYTES + 40


def sealed(name: str, data: bytes, secret: bytes = SECRET) -> bytes:
    """An encrypted object, as the format's description has it."""
    parts = [data[start : start + 16384] for start in range(0, len(data) or 1, 16384)]
    return b"".join(
        b"GAe1" + Key(secret).id + b"n" * 12 + AESGCM(secret).encrypt(b"n" * 12, part, context(name, number, parts))
        for number, part in enumerate(parts)
    )


def unsealed(name: str, stored: bytes) -> bytes:
    """What an encrypted object holds, as the format's description has it."""
    parts = [stored[start : start + 16424] for start in range(0, len(stored), 16424)]
    assert all(part.startswith(b"GAe1" + KEY.id) for part in parts)
    return b"".join(
        AESGCM(SECRET).decrypt(part[12:24], part[24:], context(name, number, parts)) for number, part in enumerate(parts)
    )


def context(name: str, number: int, parts: Sequence[bytes]) -> bytes:
    return struct.pack("<QB", number, number == len(parts) - 1) + name.encode()


class TestEncryptedStore(StoreTests):
    def open(self, folder: Path) -> Store:
        return EncryptedStore(FileSystemStore(folder), Keyring((KEY,)))

    def plant(self, store: EncryptedStore, key: str, data: bytes) -> None:
        store.inner.put(key, sealed(key, data))

    def peek(self, store: EncryptedStore, key: str) -> bytes | None:
        return None if store.inner.size(key) is None else unsealed(key, store.inner.get(key))


class TestWhereSomeIsNotEncrypted(TestEncryptedStore):
    def open(self, folder: Path) -> Store:
        return EncryptedStore(FileSystemStore(folder), Keyring((KEY, None)))

    def plant(self, store: EncryptedStore, key: str, data: bytes) -> None:
        store.inner.put(key, data if len(key) % 2 else sealed(key, data))

    def peek(self, store: EncryptedStore, key: str) -> bytes | None:
        stored = store.inner.get(key) if store.inner.size(key) is not None else None
        return unsealed(key, stored) if stored and stored.startswith(b"GAe1") else stored


class TestWithoutAKey(StoreTests):
    def open(self, folder: Path) -> Store:
        return EncryptedStore(FileSystemStore(folder), Keyring())

    def plant(self, store: EncryptedStore, key: str, data: bytes) -> None:
        store.inner.put(key, data)

    def peek(self, store: EncryptedStore, key: str) -> bytes | None:
        return None if store.inner.size(key) is None else store.inner.get(key)


class Counting(WrapperStore):
    """Notes what is read of the inner store."""

    def __init__(self) -> None:
        super().__init__(MemoryStore())
        self.read: list[int] = []

    def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        data = super().get(key, offset, length)
        self.read.append(len(data))
        return data


def store_of(*keys: Key | None) -> EncryptedStore:
    return EncryptedStore(Counting(), Keyring(keys, Path("ring.key")))


DATA = bytes(range(251)) * 300  # a little over four chunks


@given(
    size=st.sampled_from([0, 1, 16383, 16384, 16385, 32768, 40000]),
    offset=st.integers(0, 40001),
    length=st.none() | st.integers(0, 40001),
)
@settings(max_examples=300, deadline=None)
def test_every_range_of_every_size_is_what_the_object_has_there(size: int, offset: int, length: int | None) -> None:
    data, store = DATA[:size], store_of(KEY)
    store.put("a", data)
    assert (store.size("a"), list(store.list())) == (size, [StoredObject("a", size)])
    if offset + (length or 0) > size:
        with pytest.raises(IntegrityError, match="a"):
            store.get("a", offset, length)
    else:
        assert store.get("a", offset, length) == data[offset:][:length]


def test_a_range_is_one_read_of_the_chunks_it_lies_in() -> None:
    store = store_of(KEY)
    store.put("a", DATA)
    assert store.get("a", CHUNK_BYTES + 5, 600) == DATA[CHUNK_BYTES + 5 :][:600]
    assert store.inner.read == [STORED]
    assert store.get("a", 2 * CHUNK_BYTES - 1, 2) == DATA[2 * CHUNK_BYTES - 1 :][:2]
    assert store.inner.read == [STORED, 2 * STORED]


def test_nothing_of_the_object_can_be_read_in_what_is_stored() -> None:
    store = store_of(KEY)
    store.put("a", b"Anna beat Bo. " * 5000)
    stored = store.inner.get("a")
    assert b"Anna" not in stored
    store.put("a", b"Anna beat Bo. " * 5000)
    assert store.inner.get("a") != stored


@given(at=st.integers(0, 2 * 16424 + 99), bit=st.integers(0, 7))
@settings(max_examples=300, deadline=None)
def test_any_flipped_bit_is_noticed_and_told_from_a_missing_key(at: int, bit: int) -> None:
    store = store_of(KEY)
    store.put("a", DATA[: 2 * CHUNK_BYTES + 60])
    stored = bytearray(store.inner.get("a"))
    stored[at] ^= 1 << bit
    store.inner.put("a", bytes(stored))
    chunk = at // STORED
    for ask in ((), (chunk * CHUNK_BYTES, 10), (chunk * CHUNK_BYTES + 10,)):
        with pytest.raises(IntegrityError, match=f"chunk {chunk}"):
            store.get("a", *ask)
    elsewhere = CHUNK_BYTES if chunk != 1 else 0
    assert store.get("a", elsewhere, 100) == DATA[elsewhere:][:100]


@pytest.mark.parametrize("left", [0, 1, 39, 40, 100, STORED - 1, STORED, STORED + 1, STORED + 39, 2 * STORED, 2 * STORED + 99])
def test_a_cut_object_is_noticed(left: int) -> None:
    store = store_of(KEY)
    store.put("a", DATA[: 2 * CHUNK_BYTES + 60])
    store.inner.put("a", store.inner.get("a")[:left])
    for ask in ((), (2 * CHUNK_BYTES, 60), (2 * CHUNK_BYTES,), (5,)):
        with pytest.raises(IntegrityError, match="a"):
            store.get("a", *ask)


def test_chunks_in_another_order_or_of_another_object_are_noticed() -> None:
    store = store_of(KEY)
    for key in ("a", "b"):
        store.put(key, DATA)
    a, b = store.inner.get("a"), store.inner.get("b")
    for wrong in (
        a[STORED : 2 * STORED] + a[:STORED] + a[2 * STORED :],
        a[:STORED] + b[STORED : 2 * STORED] + a[2 * STORED :],
        a[:STORED] + a[2 * STORED :],
        a + a[-STORED:],
        b,
    ):
        store.inner.put("a", wrong)
        with pytest.raises(IntegrityError, match="a"):
            store.get("a")
        with suppress(IntegrityError):  # never other bytes
            assert store.get("a", CHUNK_BYTES, 100) == DATA[CHUNK_BYTES:][:100]


@pytest.mark.parametrize("ask", [(), (0, 10), (CHUNK_BYTES, 10), (CHUNK_BYTES + 10,)])
def test_a_key_that_is_not_at_hand_is_named_and_counts_as_no_damage(ask: tuple[int, ...]) -> None:
    store = store_of(KEY)
    store.put("game/a.zst", DATA)
    another = EncryptedStore(store.inner, Keyring((Key(OTHER), None), Path("ring.key")))
    with pytest.raises(MissingKeyError, match=f"game/a.zst .* {KEY.id.hex()}, which is not in ring.key") as caught:
        another.get("game/a.zst", *ask)
    assert caught.value.exit_code == 16
    if not ask or not ask[0]:
        with pytest.raises(MissingKeyError, match=f"{KEY.id.hex()}, and there is no key file") as caught:
            EncryptedStore(store.inner, Keyring()).get("game/a.zst", 0, 100)
        assert "encryption_key_file" in caught.value.hint


def test_keys_are_changed_object_by_object() -> None:
    old = store_of(KEY)
    for key in ("a", "b"):
        old.put(key, DATA)
    both = EncryptedStore(old.inner, Keyring((Key(OTHER), KEY)))
    both.put("b", both.get("b"))
    assert (both.key_of("a"), both.key_of("b")) == (KEY.id, Key(OTHER).id)
    assert (both.get("a"), both.get("b", 10, 10)) == (DATA, DATA[10:20])
    assert EncryptedStore(old.inner, Keyring((Key(OTHER),))).get("b") == DATA
    with pytest.raises(MissingKeyError):
        old.get("b")


def test_what_is_not_encrypted_is_damage_unless_the_keys_say_otherwise() -> None:
    store = store_of(KEY)
    for key, data in {"long": DATA, "short": b"0123456789abcdef\n", "mark": b"GAe1"}.items():
        store.inner.put(key, data)
        for ask in ((), (0, 3)):
            with pytest.raises(IntegrityError, match=f"{key} .* is not encrypted, or damaged") as caught:
                store.get(key, *ask)
            assert "`unencrypted`" in caught.value.hint
        tolerant = EncryptedStore(store.inner, Keyring((KEY, None)))
        assert (tolerant.get(key), tolerant.get(key, 1, 2)) == (data, data[1:3])
        assert (tolerant.size(key), tolerant.key_of(key)) == (len(data), None)


def test_encryption_can_be_left_again() -> None:
    store = store_of(KEY)
    store.put("a", DATA)
    leaving = EncryptedStore(store.inner, Keyring((None, KEY)))
    leaving.put("b", DATA)
    assert store.inner.get("b") == DATA
    assert (leaving.get("a"), leaving.get("b")) == (DATA, DATA)
    assert [held.size for held in leaving.list()] == [len(DATA)] * 2
