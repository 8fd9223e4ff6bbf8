"""Packs in a store of objects: `PackHoldings` for the archive; for whoever wants just a backend, one in a folder or on S3.

A pack is written once, under a key that its content names, and read back before it counts. Reading a game takes one ranged
read of its frame. A dictionary lies there twice; a copy that is missing or damaged is passed over for the other.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from gamearchive.backends.base import Deposit, GameBytes, HeldPack, IArchivalBackend, PackContents
from gamearchive.backends.notes import StoreNotes
from gamearchive.clock import Clock, SystemClock
from gamearchive.errors import IntegrityError, NotFoundError, StorageUnavailableError, ThawingError, UsageError
from gamearchive.model import (
    OPAQUE,
    ArchiveEntry,
    Facts,
    Place,
    Provenance,
    check_type,
    checksum,
    id_problem,
    parse_location,
)
from gamearchive.packs.dictionary import Dictionary, dictionary_keys, parse_dictionary_key
from gamearchive.packs.format import (
    DENSE_LEVEL,
    Pack,
    PackReader,
    build_packs,
    dense_block_bytes,
    is_pack_key,
    read_record,
    subject_of,
    verify_pack,
)
from gamearchive.packs.frames import dictionary_id
from gamearchive.stores.base import Store
from gamearchive.stores.filesystem import FileSystemStore
from gamearchive.units import to_instant

MAX_RECORD_BYTES = (1 << 30) - 1
"""What may be taken for a record of which nothing but the location is known."""

MARK_KEY = "gamearchive-id"  # where a storage says whose it is
_MARK = re.compile(rb"[0-9a-f]{32}\n?")
_BEGINNING = 64
_UNPACKED_LEVEL = -100  # Zstandard's fastest, which finds next to nothing to compress

T = TypeVar("T")


def read_mark(mark: bytes, where: str) -> str:
    """The id of an archive in the mark of a storage.

    Raises:
        IntegrityError: if there is none in it.
    """
    if not _MARK.fullmatch(mark):
        raise IntegrityError(
            f"The mark that says whose the storage is, {MARK_KEY} in {where}, is damaged.",
            hint="Remove it, and run the command again: it is made anew.",
        )
    return mark.decode().strip()


class PackHoldings(StoreNotes):
    """Packs in a store.

    Args:
        store: where they lie.
        level: of Zstandard, for fresh packs.
    """

    def __init__(self, store: Store, *, level: int = 3) -> None:
        self.store = store
        self._level = level
        self._dictionaries: dict[tuple[str, int], Dictionary] = {}

    @property
    def name(self) -> str:
        return self.store.url

    def put(self, entries: Sequence[ArchiveEntry], payloads: Sequence[bytes], dictionary: Dictionary | None) -> Deposit:
        return self._keep(build_packs(entries, payloads, dictionary=dictionary, level=self._level), dictionary)

    def put_dense(self, entries: Sequence[ArchiveEntry], payloads: Sequence[bytes], dictionary: Dictionary | None) -> Deposit:
        size = dense_block_bytes(entries)
        built = build_packs(entries, payloads, dictionary=dictionary, level=DENSE_LEVEL, block_bytes=size)
        return self._keep(built, dictionary, dense=True)

    def _keep(self, built: Iterator[Pack], dictionary: Dictionary | None, *, dense: bool = False) -> Deposit:
        filled: list[ArchiveEntry] = []
        packs: list[HeldPack] = []
        for pack in built:
            self.put_pack(pack.key, pack.data)
            packs.append(HeldPack(pack.key, len(pack.data), dictionary.id if dictionary else None, dense=dense))
            filled += pack.entries
        return Deposit(filled, packs)

    def put_pack(self, key: str, data: bytes) -> None:
        self.store.put(key, data)
        if self.store.get(key) != data:
            raise IntegrityError(f"Pack {key} does not read back from {self.name} as it was written.")

    def pack_bytes(self, key: str) -> bytes:
        return self._whole(key)

    def get(self, entry: ArchiveEntry) -> bytes:
        return self.read_place(entry.place, entry.raw_bytes, entry)

    def read_place(self, place: Place, raw_bytes: int, entry: ArchiveEntry | None = None) -> bytes:
        """The record at a place, checked against its entry where that is known, else by its frame's own checksum."""
        key = entry.key if entry else None
        try:
            with self._told_if_encrypted(place.pack):
                frame = self._frame(place)
                needed = dictionary_id(frame)
            dictionary = self.dictionary(place.pack.partition("/")[0], needed) if needed else None
        except (IntegrityError, UsageError) as error:
            hint = error.hint if isinstance(error, IntegrityError) else None  # what is no key at all is a damaged catalog's
            raise IntegrityError(f"{subject_of(place.pack, key)} cannot be read: {error.message}", hint=hint) from error
        return read_record(
            frame,
            place,
            raw_bytes,
            max_record_bytes=raw_bytes if entry else MAX_RECORD_BYTES,
            key=key,
            checksum=entry.checksum if entry else None,
            dictionary=dictionary,
        )

    def _frame(self, place: Place) -> bytes:
        return self.store.get(place.pack, place.frame_offset, place.frame_bytes)

    def put_dictionary(self, dictionary: Dictionary) -> None:
        for key in dictionary_keys(dictionary.entity_type, dictionary.id):
            self.store.put(key, dictionary.data)
        self._dictionaries[dictionary.entity_type, dictionary.id] = dictionary

    def dictionary(self, entity_type: str, number: int) -> Dictionary:
        """A dictionary, from whichever of its copies is good.

        Raises:
            IntegrityError: if none of them is.
        """
        known = self._dictionaries.get((entity_type, number))
        if known is not None:
            return known
        for _, copy in self._copies(entity_type, number):
            if copy is not None:
                self._dictionaries[entity_type, number] = copy
                return copy
        copies = ", ".join(dictionary_keys(entity_type, number))
        raise IntegrityError(
            f"Both copies of dictionary {number} of type {entity_type!r} are missing or damaged: {copies}.",
            hint="Put one of them back from a backup; without it, games compressed with it cannot be read.",
        )

    def dictionary_copies(self, entity_type: str, number: int) -> dict[str, Dictionary | None]:
        """Each copy of a dictionary by its key; None for one that is missing or damaged, or cannot be asked for.

        Raises:
            StorageUnavailableError: if none is good, and it was for that.
        """
        return dict(self._copies(entity_type, number))

    def _copies(self, entity_type: str, number: int) -> Iterator[tuple[str, Dictionary | None]]:
        good = False
        refused: StorageUnavailableError | None = None
        for key in dictionary_keys(entity_type, number):
            copy = None
            try:
                copy = Dictionary.from_bytes(key, self._whole(key))
            except StorageUnavailableError as error:
                refused = error
            except (NotFoundError, IntegrityError, UsageError):
                pass
            good |= copy is not None
            yield key, copy
        if refused is not None and not good:
            raise refused

    def owner(self) -> str | None:
        try:
            mark = self.store.get(MARK_KEY)
        except NotFoundError:
            return None
        return read_mark(mark, self.name)

    def claim(self, archive_id: str) -> str:
        self.store.put_new(MARK_KEY, f"{archive_id}\n".encode())
        return self.owner() or archive_id

    def dictionary_files(self) -> Iterator[tuple[str, tuple[str, int] | None]]:
        for held in self.store.list():
            if held.key.endswith(".zdict"):
                yield held.key, parse_dictionary_key(held.key)

    def packs(self) -> Iterator[HeldPack]:
        for held in self.store.list():
            if held.key.endswith(".zst"):
                yield HeldPack(held.key, held.size)

    def contents(self, key: str) -> PackContents:
        size = self.store.size(key)
        if size is None:
            raise NotFoundError(f"Pack {key} is not in {self.name}.")
        with self._told_if_encrypted(key):
            reader = PackReader(key, size, partial(self.store.get, key), max_record_bytes=MAX_RECORD_BYTES)
        needed = reader.dictionary
        entries = reader.entries()
        if not is_pack_key(key, entries[0].entity_type):
            raise IntegrityError(
                f"Pack {key} is not where packs of its type, {entries[0].entity_type!r}, belong.",
                hint="Move it to where it came from; a copy may be removed.",
            )
        return PackContents(HeldPack(key, size, needed[0] if needed else None, dense=reader.dense), entries, needed)

    def is_whole(self, key: str) -> bool:
        try:
            verify_pack(key, self._whole(key))
        except IntegrityError:
            return False
        return True

    def _whole(self, key: str) -> bytes:
        """All of an object, to be checked."""
        return self.store.get(key)

    def records(self, key: str) -> Iterator[tuple[ArchiveEntry, bytes | IntegrityError]]:
        data = self._whole(key)
        reader = PackReader(key, len(data), lambda at, length: data[at : at + length], max_record_bytes=MAX_RECORD_BYTES)
        needed = reader.dictionary
        yield from reader.records(self.dictionary(key.partition("/")[0], needed[0]) if needed else None)
        verify_pack(key, data)

    @contextmanager
    def _told_if_encrypted(self, key: str) -> Iterator[None]:
        """Where an object cannot be understood, have the store look at its beginning, from which it tells a missing key."""
        try:
            yield
        except IntegrityError:
            with suppress(NotFoundError, IntegrityError):
                self.store.get(key, 0, _BEGINNING)
            raise

    def remove(self, key: str) -> bool:
        return self.store.delete(key)

    def remove_many(self, keys: Iterable[str]) -> Mapping[str, str]:
        return self.store.delete_many(keys)

    def thaw(self, pack: str, days: int) -> str | None:
        return self.store.thaw(pack, days)

    def thaw_dictionary(self, entity_type: str, number: int, days: int) -> str | None:
        try:
            self.dictionary(entity_type, number)
        except ThawingError:
            for key in dictionary_keys(entity_type, number):
                with suppress(NotFoundError):
                    return self.store.thaw(key, days)
        except IntegrityError:  # whoever reads a game that needs it is told
            pass
        return None

    def sweep(self) -> int:
        return self.store.sweep()

    def close(self) -> None:
        self.store.close()


class PackArchiveBackend(IArchivalBackend):
    """The four methods over packs in a store, run in a thread of their own.

    Args:
        holdings: the packs.
        clock: what says when a game was archived.
    """

    def __init__(self, holdings: PackHoldings, clock: Clock | None = None) -> None:
        self.holdings = holdings
        self._clock = clock or SystemClock()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="gamearchive-backend")

    async def archive(self, entity_id: str, entity_type: str, data: bytes) -> str:
        return (await self.archive_many([GameBytes(entity_id, entity_type, data)]))[0]

    async def archive_many(self, games: Sequence[GameBytes]) -> list[str]:
        return await self._run(lambda: self._archive(games))

    async def retrieve(self, location: str) -> bytes:
        return await self._run(lambda: self.holdings.read_place(*parse_location(location)))

    async def delete(self, location: str) -> bool:
        return await self._run(lambda: self._delete(location))

    async def list_archives(
        self, entity_type: str | None = None, start_date: datetime | None = None, end_date: datetime | None = None
    ) -> list[str]:
        since = to_instant(start_date) if start_date else None
        until = to_instant(end_date) if end_date else None
        return await self._run(lambda: self._list(entity_type, since, until))

    async def close(self) -> None:
        """Let go of the thread and the store."""
        self._executor.shutdown()
        self.holdings.close()

    async def _run(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, call)

    def _archive(self, games: Sequence[GameBytes]) -> list[str]:
        locations: list[str] = [""] * len(games)
        provenance = Provenance(self._clock.now())
        by_type: dict[str, list[int]] = {}
        for position, game in enumerate(games):
            problem = id_problem(game.entity_id)
            if problem:
                raise UsageError(f"The game {game.entity_id!r} cannot be archived: {problem}.")
            by_type.setdefault(check_type(game.entity_type), []).append(position)
        for entity_type, positions in by_type.items():
            entries = [
                ArchiveEntry(
                    entity_type, games[at].entity_id, 1, OPAQUE, Facts(), provenance,
                    len(games[at].data), 0, checksum(games[at].data), Place(""),
                )
                for at in positions
            ]  # fmt: skip
            deposit = self.holdings.put(entries, [games[at].data for at in positions], None)
            for position, entry in zip(positions, deposit.entries, strict=True):
                locations[position] = entry.location
        return locations

    def _delete(self, location: str) -> bool:
        place, _ = parse_location(location)
        try:
            alone = len(self.holdings.contents(place.pack).entries) == 1
        except NotFoundError:
            return False
        return alone and self.holdings.remove(place.pack)

    def _list(self, entity_type: str | None, since: int | None, until: int | None) -> list[str]:
        prefix = f"{check_type(entity_type)}/" if entity_type else ""
        return [
            entry.location
            for held in self.holdings.store.list(prefix)
            if held.key.endswith(".zst")
            for entry in self.holdings.contents(held.key).entries
            if (since is None or entry.provenance.archived_at >= since)
            and (until is None or entry.provenance.archived_at < until)
        ]


class FileSystemArchiveBackend(PackArchiveBackend):
    """Packs as files in a folder.

    Args:
        base_path: the folder; made with the first game.
        use_compression: False to write packs without trying to make them smaller.
        clock: what says when a game was archived.
    """

    def __init__(self, base_path: str | Path, use_compression: bool = True, clock: Clock | None = None) -> None:
        super().__init__(PackHoldings(FileSystemStore(base_path), level=level_of(use_compression)), clock)


class S3ArchiveBackend(PackArchiveBackend):
    """Packs as objects in a bucket of S3, or of a server that speaks its protocol.

    Args:
        bucket: its name. The bucket is there already.
        prefix: what all keys begin with, before a ``/``; nothing for the whole bucket.
        endpoint_url: the server; boto3's own choice if None.
        region: the bucket's; boto3's own choice if None.
        storage_class: of what is put, such as ``STANDARD_IA``; the bucket's own if None.
        sse: how the server is to encrypt: ``AES256``, ``aws:kms`` or ``aws:kms:dsse``; the bucket's own way if None.
        sse_kms_key_id: the key for that.
        tags: of the objects that are put.
        use_compression: False to write packs without trying to make them smaller.
        clock: what says when a game was archived.

    Raises:
        ConfigurationError: if one of these is none, or boto3 is not installed.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        endpoint_url: str | None = None,
        region: str | None = None,
        storage_class: str | None = None,
        *,
        sse: str | None = None,
        sse_kms_key_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        use_compression: bool = True,
        clock: Clock | None = None,
    ) -> None:
        from gamearchive.stores.s3 import S3Store

        store = S3Store(
            bucket,
            prefix,
            endpoint_url=endpoint_url,
            region=region,
            storage_class=storage_class,
            sse=sse,
            sse_kms_key_id=sse_kms_key_id,
            tags=tags,
        )
        super().__init__(PackHoldings(store, level=level_of(use_compression)), clock)


class PostgreSQLArchiveBackend(PackArchiveBackend):
    """Packs in tables of PostgreSQL, a row for each game.

    Args:
        dsn: the database, as ``postgresql://user@host/name``; libpq finds what is not said in it.
        queryable: whether games that are JSON are there as ``jsonb`` beside, with an index, for SQL to ask for.
        use_compression: False to write packs without trying to make them smaller.
        clock: what says when a game was archived.

    Raises:
        ConfigurationError: if the dsn is no such URL, or psycopg is not installed.
    """

    def __init__(self, dsn: str, *, queryable: bool = False, use_compression: bool = True, clock: Clock | None = None) -> None:
        from gamearchive.backends.postgresql import PostgreSQLStore

        store = PostgreSQLStore(dsn, queryable=queryable)
        super().__init__(PackHoldings(store, level=level_of(use_compression)), clock)


def level_of(use_compression: bool) -> int:
    """The level of Zstandard that stands for this."""
    return 3 if use_compression else _UNPACKED_LEVEL
