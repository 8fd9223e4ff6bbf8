"""What a backend is, seen from either side.

`IArchivalBackend` is the public face: four asynchronous methods, of which a backend needs only the first two, and an optional
fifth for batches. Anything that has ``archive`` and ``retrieve`` will do, whether it inherits from this class or not. Its
promises, which `gamearchive.testing.BackendTests` holds it to:

- When ``archive`` returns, the bytes are durable, and ``retrieve`` of the location returns exactly them, from any process.
- A location is a string that means something to its backend alone. It stays good until ``delete``.
- Archiving the same game again never harms what was archived before: each location keeps its own bytes.
- ``retrieve`` raises `NotFoundError` for a location that nothing lies at, `IntegrityError` when the bytes are not what they
  were, `StorageUnavailableError` when the storage cannot be asked. It never returns wrong bytes.

`Holdings` is what the archive itself works with: the same storage in batches, synchronous, and knowing of packs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import NamedTuple

from gamearchive.errors import IntegrityError, UnsupportedError
from gamearchive.model import ArchiveEntry
from gamearchive.packs.dictionary import Dictionary


class GameBytes(NamedTuple):
    """A game as ``archive_many`` takes it."""

    entity_id: str
    entity_type: str
    data: bytes


class IArchivalBackend(ABC):
    """Keeps the bytes of games. The module's docstring says what it promises."""

    @abstractmethod
    async def archive(self, entity_id: str, entity_type: str, data: bytes) -> str:
        """Keep a game's bytes; return the location they are found at."""

    @abstractmethod
    async def retrieve(self, location: str) -> bytes:
        """The bytes kept at a location.

        Raises:
            NotFoundError: if nothing lies there.
            IntegrityError: if what lies there is not what was kept.
        """

    async def delete(self, location: str) -> bool:
        """Remove what lies at a location; False if there was nothing, or if others share its pack, which then stays.

        Raises:
            RetainedError: if the storage keeps it until a date.
        """
        raise UnsupportedError(f"{type(self).__name__} cannot delete what it keeps ({location}).")

    async def list_archives(
        self, entity_type: str | None = None, start_date: datetime | None = None, end_date: datetime | None = None
    ) -> list[str]:
        """The locations of all games of a type that were archived from ``start_date`` on and before ``end_date``."""
        raise UnsupportedError(f"{type(self).__name__} cannot list what it keeps ({entity_type}, {start_date}, {end_date}).")

    async def archive_many(self, games: Sequence[GameBytes]) -> list[str]:
        """Keep many games at once; their locations, in the same order."""
        return [await self.archive(*game) for game in games]


class Fault(Enum):
    """What can be wrong with one of several copies."""

    MISSING = "missing"
    DAMAGED = "damaged"
    EXTRA = "extra"


@dataclass(frozen=True, slots=True)
class BadCopy:
    """A copy of an object in one of the parts of a storage, what is wrong with it, and whether it can be put right."""

    part: str
    key: str
    fault: Fault
    reason: str
    mendable: bool = True


@dataclass(frozen=True, slots=True)
class HeldPack:
    """A pack as the storage has it: its key, its length, the dictionary that its frames need, and whether it is dense.

    ``copies`` are, where the storage has several parts, the lengths of those that there should be, by part; None for one that
    is missing.
    """

    key: str
    stored_bytes: int
    dictionary_id: int | None = None
    copies: Mapping[str, int | None] = field(default_factory=dict)
    dense: bool = False


@dataclass(frozen=True, slots=True)
class PackContents:
    """What a pack says of itself: its entries, and the id and BLAKE2b-128 of its dictionary."""

    pack: HeldPack
    entries: Sequence[ArchiveEntry]
    dictionary: tuple[int, bytes] | None


@dataclass(frozen=True, slots=True)
class Deposit:
    """What `Holdings.put` did: the entries with their places, and the packs they lie in."""

    entries: Sequence[ArchiveEntry]
    packs: Sequence[HeldPack]


class Holdings(ABC):
    """The bytes of games in batches, as the archive puts and gets them.

    What only some storage can do (all that is about packs and dictionaries) raises `UnsupportedError` where it cannot.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """Where it is, for people, without secrets."""

    @abstractmethod
    def put(self, entries: Sequence[ArchiveEntry], payloads: Sequence[bytes], dictionary: Dictionary | None) -> Deposit:
        """Keep games of one type, all text or all binary, durably, and read them back before returning.

        Args:
            entries: what is known of them; their places are still empty.
            payloads: their bytes, in the same order.
            dictionary: what to compress them with, itself kept already.
        """

    def put_dense(self, entries: Sequence[ArchiveEntry], payloads: Sequence[bytes], dictionary: Dictionary | None) -> Deposit:
        """Keep games as `put` does, in less space, at the cost of time."""
        asked = f"{len(entries)} games of {sum(map(len, payloads))} bytes, {'with' if dictionary else 'without'} a dictionary"
        raise UnsupportedError(f"{self.name} keeps games as they come, and does not pack them densely ({asked}).")

    @abstractmethod
    def get(self, entry: ArchiveEntry) -> bytes:
        """A game's bytes, checked against its checksum.

        Raises:
            IntegrityError: if they are not what was put; NotFoundError: if their pack is gone.
        """

    def put_dictionary(self, dictionary: Dictionary) -> None:
        """Keep a dictionary, twice."""
        raise UnsupportedError(f"{self.name} keeps no dictionaries, and so not that of type {dictionary.entity_type!r}.")

    def dictionary_copies(self, entity_type: str, number: int) -> dict[str, Dictionary | None]:
        """Each copy of a dictionary by its key; None for one that is missing or damaged."""
        raise UnsupportedError(f"{self.name} keeps no dictionaries, and so not {number} of type {entity_type!r}.")

    def owner(self) -> str | None:
        """The id of the archive that this storage is marked as; None where it is not marked."""
        raise UnsupportedError(f"{self.name} cannot be marked as an archive's.")

    def claim(self, archive_id: str) -> str:
        """Mark the storage as an archive's, unless it is marked; the id of the archive that it is marked as then."""
        raise UnsupportedError(f"{self.name} cannot be marked as that of archive {archive_id}.")

    def dictionary_files(self) -> Iterator[tuple[str, tuple[str, int] | None]]:
        """The keys of all copies of dictionaries, each with its type and id; None for what has no dictionary's name."""
        raise UnsupportedError(f"{self.name} keeps no dictionaries.")

    def packs(self) -> Iterator[HeldPack]:
        """All packs there are, in the order of their keys. Only their lengths are looked up."""
        raise UnsupportedError(f"{self.name} cannot list what it keeps.")

    def contents(self, key: str) -> PackContents:
        """What a pack says of itself.

        Raises:
            NotFoundError: if there is no such pack; IntegrityError: if it cannot be read, or does not belong under this key.
        """
        raise UnsupportedError(f"{self.name} has no packs to read ({key}).")

    def is_whole(self, key: str) -> bool:
        """Whether every byte of a pack is what its name says.

        Raises:
            NotFoundError: if there is no such pack.
        """
        raise UnsupportedError(f"{self.name} has no packs to read ({key}).")

    def pack_bytes(self, key: str) -> bytes:
        """All bytes of a pack, as they are, to be kept elsewhere.

        Raises:
            NotFoundError: if there is no such pack.
        """
        raise UnsupportedError(f"{self.name} has no packs to read ({key}).")

    def put_pack(self, key: str, data: bytes) -> None:
        """Keep a pack that was made elsewhere, durably, under the key that it has there, and read it back."""
        raise UnsupportedError(f"{self.name} keeps no packs that were made elsewhere ({key}, {len(data)} bytes).")

    def records(self, key: str) -> Iterator[tuple[ArchiveEntry, bytes | IntegrityError]]:
        """All of a pack, every byte of it checked: each record with its payload, or with what is wrong with it.

        Raises:
            NotFoundError: if there is no such pack; IntegrityError: if it cannot be read, or is not what its name says.
        """
        raise UnsupportedError(f"{self.name} has no packs to read ({key}).")

    def bad_copies(self, held: HeldPack | None, *, full: bool) -> Sequence[BadCopy]:
        """What is wrong with single copies of a pack, in a storage of several parts.

        Args:
            held: as `packs` told; None for all that is no pack.
            full: whether to read every byte of a pack.
        """
        del held, full
        return ()

    def mend(self, key: str) -> Sequence[str]:
        """Put right the copies of an object that are missing or damaged, from a good one; the names of their parts."""
        del key
        return ()

    def failing(self) -> Sequence[tuple[str, str]]:
        """The parts of a storage that have failed and are not back yet, by name, and why."""
        return ()

    def tier_of(self, key: str) -> str | None:
        """The tier that a pack lies in; None where there are none, or it cannot be asked."""
        del key
        return None

    def remove(self, key: str) -> bool:
        """Remove a pack or a copy of a dictionary; False if there was none."""
        raise UnsupportedError(f"{self.name} cannot delete what it keeps ({key}).")

    def remove_many(self, keys: Iterable[str]) -> Mapping[str, str]:
        """Remove packs and copies of dictionaries; of those that the storage retains, why they stay."""
        raise UnsupportedError(f"{self.name} cannot delete what it keeps ({', '.join(keys)}).")

    def thaw(self, pack: str, days: int) -> str | None:  # noqa: ARG002 - most storage keeps everything within reach
        """Have a pack brought to where it can be read.

        Args:
            pack: its key.
            days: how long it is to stay there, at least.

        Returns:
            how long that takes, for people; None if it can be read now.

        Raises:
            NotFoundError: if there is no such pack.
        """
        return None

    def thaw_dictionary(self, entity_type: str, number: int, days: int) -> str | None:  # noqa: ARG002 - likewise
        """Have a dictionary brought to where it can be read, as `thaw` has a pack."""
        return None

    def put_note(self, name: str, data: bytes) -> None:
        """Keep a note beside the packs, durably: something about their games that they cannot say themselves."""
        raise UnsupportedError(f"{self.name} keeps no notes, and so not {name} of {len(data)} bytes.")

    def notes(self) -> Iterator[str]:
        """The names of all notes, in their order."""
        raise UnsupportedError(f"{self.name} keeps no notes.")

    def note(self, name: str) -> bytes:
        """A note.

        Raises:
            NotFoundError: if there is none of this name.
        """
        raise UnsupportedError(f"{self.name} keeps no notes, and so not {name}.")

    def remove_note(self, name: str) -> bool:
        """Remove a note; False if there was none."""
        raise UnsupportedError(f"{self.name} keeps no notes, and so not {name}.")

    def sweep(self) -> int:
        """Remove what writers that died left half written; how many things that were."""
        return 0

    @abstractmethod
    def close(self) -> None:
        """Let go of what is open."""
