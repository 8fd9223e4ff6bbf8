"""Several stores as one: replicas, and tiers of them.

A pack lies in all parts of one tier: of the first as long as it is new, until it is moved (`mending`). What is no pack
(dictionaries, the mark of the archive) lies in all parts, so that each can be read by itself. Every part has the keys and the
bytes that a store of its own would have.

*Writing.* An object is put into all parts of its tier at once, read back from each, and counts once so many as the quorum have
it. With fewer it does not: `StorageUnavailableError`. The others are not waited for for long, and one that is not well not at
all: what it may not have got is noted in those that have it, as an empty object ``_owed/PART/KEY.owed``, until it has.

*Reading.* The nearest healthy part of the first tier is asked first, and the next one where it cannot answer or has no copy.

*Deleting* needs every part, and is refused before anything is done where one cannot be reached. *Listing* can do without fewer
parts of a tier than the quorum: what one of those has, another has as well.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar

from gamearchive.backends.health import Preference, to_measure
from gamearchive.backends.marks import Marks
from gamearchive.backends.packed import MARK_KEY, read_mark
from gamearchive.backends.parts import LEAST_RATE, PATIENCE_SECONDS, Outcome, Part, ask_all, ask_in_turn, worst
from gamearchive.errors import (
    GameArchiveError,
    IntegrityError,
    NotFoundError,
    RetainedError,
    StorageUnavailableError,
    UsageError,
)
from gamearchive.packs.dictionary import Dictionary, parse_dictionary_key
from gamearchive.packs.format import verify_pack
from gamearchive.stores.base import Store, StoredObject, check_key

OWED = "_owed/"
"""What the keys of notes begin with; no type of games begins so."""

_NOTE = ".owed"
_TURNS = 64

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Copies:
    """An object as a listing of all parts shows it: the length of each copy that should be there, None for one that is not,
    and the parts of warmer tiers that have it as well.
    """

    key: str
    sizes: Mapping[str, int | None]
    spare: Sequence[str] = ()


def note_of(part: Part, key: str) -> str:
    """The key of the note that a part lacks an object. Whoever lists the packs of one part does not take it for one."""
    return f"{OWED}{part.name}/{key}{_NOTE}"


def is_pack(key: str) -> bool:
    """Whether an object is a pack, by its name."""
    return key.endswith(".zst")


def is_sound(key: str, data: bytes) -> bool | None:
    """Whether an object's bytes are those that its name stands for; None where the name does not say."""
    try:
        if is_pack(key):
            verify_pack(key, data)
        elif parse_dictionary_key(key):
            Dictionary.from_bytes(key, data)
        elif key == MARK_KEY:
            read_mark(data, "")
        else:
            return None
    except IntegrityError:
        return False
    return True


class CompositeStore(Store):
    """Parts as one store.

    Args:
        parts: in the order of their tiers; the first one's tier is the first.
        write_quorum: so many parts of a tier must have an object before it counts; all, if it has fewer.
        patience: seconds to wait for a part where another could answer.
    """

    def __init__(self, parts: Sequence[Part], write_quorum: int = 1, *, patience: float = PATIENCE_SECONDS) -> None:
        self.tiers = tuple(dict.fromkeys(part.tier for part in parts))
        self.parts = tuple(sorted(parts, key=lambda part: self.tiers.index(part.tier)))
        self._write_quorum, self.patience = write_quorum, patience
        self._preferences = {tier: Preference(self.of_tier(tier)) for tier in self.tiers}
        self.marks = Marks(self.parts, patience)
        self._turns = [threading.Lock() for _ in range(_TURNS)]

    @property
    def url(self) -> str:
        return f"composite:{','.join(part.name for part in self.parts)}"

    def of_tier(self, tier: str) -> Sequence[Part]:
        """The parts of a tier."""
        return [part for part in self.parts if part.tier == tier]

    def quorum(self, tier: str) -> int:
        """How many parts of a tier must have a pack before it counts."""
        return min(self._write_quorum, len(self.of_tier(tier)))

    def put(self, key: str, data: bytes) -> None:
        with self._turns[hash(check_key(key)) % _TURNS]:  # of two puts of one key, all parts are to have the same one
            self.put_to(key, data, self.tiers[0])

    def put_new(self, key: str, data: bytes) -> bool:
        check_key(key)
        refused: StorageUnavailableError | None = None
        for part in self.parts:  # always in this order: whoever comes first to the first that can be reached has come first
            try:
                self.marks.settle(part)
                first = part.store.put_new(key, data)
            except StorageUnavailableError as error:
                refused = error
                continue
            if first:
                self.put(key, data)
            return first
        assert refused is not None  # noqa: S101 - there is a part
        raise refused

    def put_to(self, key: str, data: bytes, tier: str) -> None:
        """Put an object into a tier, or, if it is no pack, into all parts; at least a quorum of the tier's have it then."""
        self.marks.id()  # before there are threads that all want to know
        homes = self.of_tier(tier) if is_pack(key) else list(self.parts)
        needed = self.quorum(tier)
        ready = [part for part in homes if part.health.is_well]
        if sum(part.tier == tier for part in ready) < needed:
            ready = list(homes)  # also those that are not well are needed
        for part in homes:
            if part not in ready and part.health.breaker.admit(1, 1):
                part.begin(lambda part: self.put_into(part, key, data))  # should it be well again, that will show
        patience = self.patience + len(data) / LEAST_RATE
        told = ask_all(ready, lambda part: self.put_into(part, key, data), patience, needed=needed)
        took = [outcome.part for outcome in told if outcome.error is None]
        if sum(part.tier == tier for part in took) < needed:
            said = "; ".join(f"{outcome.part.name}: {outcome.error}" for outcome in told if outcome.error is not None)
            raise StorageUnavailableError(
                f"Fewer than {needed} of the {len(self.of_tier(tier))} parts of tier {tier!r} take it ({said}).",
                hint="Mend the part, or lower `write_quorum` of [composite]; nothing archived is lost.",
            )
        for part in homes:
            if part not in took:
                self._note(part, key, took)

    def _note(self, lacking: Part, key: str, having: Sequence[Part]) -> None:
        """Note that a part lacks an object. Should nobody be able to, a listing of all parts will tell as well."""
        note = note_of(lacking, key)
        ask_all(having, lambda part: part.store.put(note, b""), self.patience, needed=1)

    def put_into(self, part: Part, key: str, data: bytes) -> None:
        """Put an object into one part, and read it back."""
        self.marks.settle(part)
        part.store.put(key, data)
        if part.store.get(key) != data:
            raise StorageUnavailableError(f"{key} does not read back from part {part.name!r} as it was written.")

    def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        return self.fetch(key, offset, length)[0]

    def fetch(self, key: str, offset: int = 0, length: int | None = None) -> tuple[bytes, bool]:
        """An object or a range of it, and whether a copy of it was missing or cut off on the way there."""
        check_key(key)
        return self._seek(key, lambda part: part.store.get(key, offset, length))

    def size(self, key: str) -> int | None:
        check_key(key)

        def ask(part: Part) -> int:
            found = part.store.size(key)
            if found is None:
                raise NotFoundError(f"There is no object {key} in part {part.name!r}.")
            return found

        try:
            return self._seek(key, ask)[0]
        except NotFoundError:
            return None

    def _seek(self, key: str, ask: Callable[[Part], T]) -> tuple[T, bool]:
        """The first good answer, and whether a part of that tier had a missing or bad copy."""
        order = self.order()
        errors: list[tuple[Part, Exception]] = []
        for outcome in ask_in_turn(order, ask, self.patience, measured=True):
            if outcome.error is None:
                aside = to_measure([part for part in order if part.tier == outcome.part.tier and part is not outcome.part])
                if aside is not None:
                    aside.health.begin_measuring()
                    aside.begin(ask, measured=True)
                at_fault = [part for part, error in errors if isinstance(error, NotFoundError | IntegrityError)]
                whole = [part for part in at_fault if not is_pack(key) or part.tier == outcome.part.tier]
                return outcome.result, bool(whole)  # type: ignore[return-value]
            if isinstance(outcome.error, GameArchiveError):
                errors.append((outcome.part, outcome.error))
            else:
                raise outcome.error
        raise self._absence([error for _, error in errors])

    def _absence(self, errors: Sequence[Exception]) -> Exception:
        """Why no part has an object: it may be in one whose disk is not mounted."""
        error = worst(errors)
        away = self.away() if isinstance(error, NotFoundError) else ()
        return away[0][1] if away else error

    def order(self) -> Sequence[Part]:
        """The parts in the order in which to ask them."""
        parts = [part for tier in self.tiers for part in self._preferences[tier].order(self.of_tier(tier))]
        return sorted(parts, key=lambda part: not part.health.is_well)

    def delete(self, key: str) -> bool:
        check_key(key)
        for there in self._ask_everyone(lambda part: part.store.size(key)):
            there.check()
        deleted, retained = False, None
        while True:
            told = self._ask_everyone(lambda part: part.store.delete(key))
            for outcome in told:
                if isinstance(outcome.error, RetainedError):
                    retained = outcome.error
                else:
                    outcome.check()
            if not any(outcome.result for outcome in told):  # somebody may have mended a copy from one not deleted yet
                break
            deleted = True
        if retained is not None:
            raise retained
        return deleted

    def delete_many(self, keys: Iterable[str]) -> Mapping[str, str]:
        doomed = tuple(map(check_key, keys))
        for there in self._ask_everyone(lambda part: part.store.size(MARK_KEY)):
            there.check()
        retained: dict[str, str] = {}
        for _ in range(2):  # the second time, what somebody has mended meanwhile from a copy not deleted yet
            for outcome in self._ask_everyone(lambda part: part.store.delete_many(doomed)):
                outcome.check()
                retained |= outcome.result or {}
        return retained

    def thaw(self, key: str, days: int) -> str | None:
        check_key(key)
        told = None
        for part in self.order():
            if part.store.size(key) is not None:
                told = part.store.thaw(key, days)
                if told is None:
                    break
        return told

    def _ask_everyone(self, call: Callable[[Part], T]) -> Sequence[Outcome[T]]:
        return ask_all(self.parts, call, self.patience, needed=len(self.parts))

    def withdraw(self, key: str) -> None:
        """Delete a fresh pack that does not count, as far as its parts can be reached."""
        well = [part for part in self.of_tier(self.tiers[0]) if part.health.is_well]
        ask_all(well, lambda part: part.store.delete(key), self.patience)

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        for copies in self.survey(prefix):
            yield StoredObject(copies.key, self.length(copies))

    def length(self, copies: Copies) -> int:
        """How long an object is: where its copies differ, a good one's length."""
        lengths = set(copies.sizes.values()) - {None}
        return (lengths.pop() if len(lengths) == 1 else None) or len(self.good_copy(copies.key))

    def survey(self, prefix: str = "") -> Iterator[Copies]:
        """All objects, with the copies that there are of each.

        Args:
            prefix: what their keys begin with.

        Raises:
            StorageUnavailableError: if so many parts are not there that objects could be missing.
        """
        self.marks.id()

        def begin(part: Part) -> tuple[StoredObject | None, Iterator[StoredObject]]:
            self.marks.settle(part)
            listing = part.store.list(prefix)
            return next(listing, None), listing

        told = ask_all(self.parts, begin, self.patience)
        errors = {outcome.part: outcome.error for outcome in told if outcome.error is not None}
        for tier in self.tiers:
            missing = {part: error for part, error in errors.items() if part.tier == tier}
            if len(missing) >= self.quorum(tier):
                said = "; ".join(f"{part.name}: {error}" for part, error in missing.items())
                raise StorageUnavailableError(
                    f"Not all parts can be listed, and so nobody can say what there is ({said}).",
                    hint="Mend the part. A new one is filled with `gamearchive storage resync PART`.",
                )

        def listed(
            rank: int, outcome: Outcome[tuple[StoredObject | None, Iterator[StoredObject]]]
        ) -> Iterator[tuple[str, int, int]]:
            first, others = outcome.result or (None, iter(()))
            if first is not None:
                yield first.key, rank, first.size
                yield from ((each.key, rank, each.size) for each in others)

        listings = [listed(rank, outcome) for rank, outcome in enumerate(told) if outcome.error is None]
        present = [part for part in self.parts if part not in errors]
        for key, found in groupby(heapq.merge(*listings), lambda each: each[0]):
            if key.startswith(OWED):
                continue
            sizes = {self.parts[rank].name: size for _, rank, size in found}
            homes = self.homes(key, [part for part in present if part.name in sizes])
            yield Copies(
                key,
                {part.name: sizes.get(part.name) for part in present if part in homes},
                [part.name for part in present if part.name in sizes and part not in homes],
            )

    def away(self) -> Sequence[tuple[str, Exception]]:
        """The parts that cannot be used, by name, and why."""
        self.marks.id()
        told = ask_all(self.parts, self.marks.settle, self.patience)
        return [(outcome.part.name, outcome.error) for outcome in told if outcome.error is not None]

    def homes(self, key: str, having: Sequence[Part]) -> Sequence[Part]:
        """Where an object belongs that some parts have: a pack, into the last tier that has it."""
        return self.of_tier(having[-1].tier) if is_pack(key) and having else list(self.parts)

    def good_copy(self, key: str) -> bytes:
        """All of an object, from the first part whose copy is good; if none is, from the first that has it."""
        seen: list[bytes] = []
        errors: list[Exception] = []
        for outcome in ask_in_turn(self.order(), lambda part: part.store.get(key), self.patience):
            if outcome.result is None:
                errors.append(outcome.error or NotFoundError(key))
            elif is_sound(key, outcome.result) is not False:
                return outcome.result
            else:
                seen.append(outcome.result)
        if seen:
            return seen[0]
        raise self._absence(errors)

    def tier_of(self, key: str) -> str | None:
        """The tier that an object lies in; it must be in the last one if it is in no other. None where that cannot be told."""
        for tier in self.tiers[:-1]:
            told = ask_all(self.of_tier(tier), lambda part: part.store.size(key), self.patience, needed=1)
            if any(outcome.result is not None for outcome in told):
                return tier
            if any(outcome.error is not None for outcome in told):
                return None
        return self.tiers[-1]

    def part(self, name: str) -> Part:
        """The part of a name.

        Raises:
            UsageError: if none has it.
        """
        for part in self.parts:
            if part.name == name:
                return part
        raise UsageError(f"There is no part {name!r}.", hint=f"The parts are {', '.join(part.name for part in self.parts)}.")

    def notes(self) -> dict[str, Sequence[str]]:
        """What the parts that can be asked say that others lack: the keys, by part."""
        found: dict[str, set[str]] = {}
        for outcome in ask_all(self.parts, lambda part: [each.key for each in part.store.list(OWED)], self.patience):
            for note in outcome.result or ():
                part, _, key = note.removeprefix(OWED).removesuffix(_NOTE).partition("/")
                found.setdefault(part, set()).add(key)
        return {part.name: sorted(found[part.name]) for part in self.parts if part.name in found}

    def claim(self, archive_id: str) -> str:
        """Mark all parts as an archive's, unless they are marked; the id that they are marked as then."""
        self.marks.forget()
        if self.marks.id() is None:
            self.put_new(MARK_KEY, f"{archive_id}\n".encode())
            self.marks.forget()
        return self.marks.id() or archive_id

    def sweep(self) -> int:
        well = [part for part in self.parts if part.health.is_well]
        return sum(outcome.result or 0 for outcome in ask_all(well, lambda part: part.store.sweep(), self.patience))

    def close(self) -> None:
        for part in self.parts:
            part.store.close()
