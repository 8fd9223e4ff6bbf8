"""Several storages as one: packs in replicas and tiers, for the archive, and for whoever wants just a backend.

A game that does not come back as it was kept, or whose pack a part lacks, is read from another part, and the copy is put right
on the spot. Whole packs are read from whatever part has a good copy, and nothing is changed by that: it is for `verify` and
``storage resync`` to say what is wrong with which copy, and to mend it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress

from gamearchive.backends.base import BadCopy, Fault, HeldPack
from gamearchive.backends.composite_store import CompositeStore, Copies, is_pack
from gamearchive.backends.mending import Mender
from gamearchive.backends.packed import MARK_KEY, PackArchiveBackend, PackHoldings, level_of
from gamearchive.backends.parts import Part
from gamearchive.clock import Clock, SystemClock
from gamearchive.composition import Composition
from gamearchive.errors import ConfigurationError, GameArchiveError, IntegrityError
from gamearchive.model import ArchiveEntry, Place
from gamearchive.stores.base import Store
from gamearchive.stores.registry import store_from_url

HERE = "here"
"""The tier of parts that have none."""


class CompositeHoldings(PackHoldings):
    """Packs in several parts.

    Args:
        store: the parts.
        level: of Zstandard, for fresh packs.
    """

    store: CompositeStore

    def __init__(self, store: CompositeStore, *, level: int = 3) -> None:
        super().__init__(store, level=level)
        self.mender = Mender(store)

    def put_pack(self, key: str, data: bytes) -> None:
        try:
            self.store.put(key, data)
        except GameArchiveError:
            with suppress(GameArchiveError):
                self.store.withdraw(key)  # nobody will name it
            raise

    def read_place(self, place: Place, raw_bytes: int, entry: ArchiveEntry | None = None) -> bytes:
        try:
            return super().read_place(place, raw_bytes, entry)
        except IntegrityError:
            if not self.mender.mend(place.pack, hurry=True):
                raise
            return super().read_place(place, raw_bytes, entry)

    def _frame(self, place: Place) -> bytes:
        data, at_fault = self.store.fetch(place.pack, place.frame_offset, place.frame_bytes)
        if at_fault:
            with suppress(GameArchiveError):  # the game is there, and what is wrong will be found again
                self.mender.mend(place.pack, hurry=True)
        return data

    def _whole(self, key: str) -> bytes:
        return self.store.good_copy(key)

    def owner(self) -> str | None:
        return self.store.marks.id()

    def claim(self, archive_id: str) -> str:
        return self.store.claim(archive_id)

    def packs(self) -> Iterator[HeldPack]:
        for copies in self.store.survey():
            if is_pack(copies.key):
                yield HeldPack(copies.key, self.store.length(copies), copies=copies.sizes)

    def bad_copies(self, held: HeldPack | None, *, full: bool) -> Sequence[BadCopy]:
        if held is not None:
            return self.mender.examine(Copies(held.key, held.copies), full=full)
        away = [BadCopy(name, MARK_KEY, Fault.MISSING, str(error), mendable=False) for name, error in self.store.away()]
        others = (copies for copies in self.store.survey() if not is_pack(copies.key))
        return away + [bad for copies in others for bad in self.mender.examine(copies, full=True)]

    def mend(self, key: str) -> Sequence[str]:
        return self.mender.mend(key)

    def failing(self) -> Sequence[tuple[str, str]]:
        reasons = {part.name: part.health.breaker.reason for part in self.store.parts}
        return [(name, reason) for name, reason in reasons.items() if reason is not None]

    def tier_of(self, key: str) -> str | None:
        return self.store.tier_of(key)


def open_composite(composition: Composition, open_store: Callable[[str], Store], *, level: int) -> CompositeHoldings:
    """The holdings that settings describe.

    Args:
        composition: the parts.
        open_store: gives the store at a part's URL.
        level: of Zstandard, for fresh packs.
    """
    clock = SystemClock()
    parts = [Part(plan.name, plan.tier, open_store(plan.url), clock) for plan in composition.parts]
    return CompositeHoldings(CompositeStore(parts, composition.write_quorum), level=level)


class CompositeArchiveBackend(PackArchiveBackend):
    """Several backends as one: replicas of each other, in tiers.

    Args:
        parts: backends of packs, or storage URLs; as a mapping, the replicas of each tier by its name, the first of which takes
            what is new.
        write_quorum: so many replicas must have a game before it counts.
        use_compression: False to write packs without trying to make them smaller.
        clock: what says when a game was archived.

    Raises:
        ConfigurationError: if they cannot be put together so.
    """

    def __init__(
        self,
        parts: Sequence[PackArchiveBackend | str] | Mapping[str, Sequence[PackArchiveBackend | str]],
        *,
        write_quorum: int = 1,
        use_compression: bool = True,
        clock: Clock | None = None,
    ) -> None:
        tiers = parts if isinstance(parts, Mapping) else {HERE: parts}
        named: list[Part] = []
        for tier, members in tiers.items():
            for member in members:
                store = store_from_url(member) if isinstance(member, str) else member.holdings.store
                named.append(Part(f"{tier}-{len(named) + 1}", tier, store, clock or SystemClock()))
        replicas = sum(part.tier == named[0].tier for part in named) if named else 0
        if not 1 <= write_quorum <= replicas:
            raise ConfigurationError(
                f"The first tier has {replicas} parts, of which {write_quorum} cannot be the write_quorum."
            )
        super().__init__(CompositeHoldings(CompositeStore(named, write_quorum), level=level_of(use_compression)), clock)
