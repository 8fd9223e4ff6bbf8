"""Copies kept equal: what is wrong with those of an object is found, and put right from a good one.

Whoever mends looks in the end whether the good copy is still there, and whoever deletes (`CompositeStore.delete`) looks again
until nothing is left: so nothing that is deleted comes back. A pack that is moved is put into the later tier and read back
before it is deleted from the earlier one; killed in between, it lies in both, which `examine` finds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from gamearchive.backends.base import BadCopy, Fault
from gamearchive.backends.composite_store import CompositeStore, Copies, is_sound, note_of
from gamearchive.backends.packed import MARK_KEY
from gamearchive.backends.parts import LEAST_RATE, Outcome, Part, ask_all
from gamearchive.errors import StorageUnavailableError
from gamearchive.packs.format import verify_pack


class Mender:
    """What keeps the copies of a composite equal.

    Args:
        store: the composite.
    """

    def __init__(self, store: CompositeStore) -> None:
        self._store = store

    def examine(self, copies: Copies, *, full: bool = False) -> list[BadCopy]:
        """What is wrong with copies of an object.

        Args:
            copies: as `survey` told.
            full: whether to read them all, and not only those of objects that have copies of several lengths.
        """
        key = copies.key
        lengths = set(copies.sizes.values()) - {None}
        found = [BadCopy(name, key, Fault.MISSING, "this part lacks it") for name, size in copies.sizes.items() if size is None]
        if full or len(lengths) > 1:
            there = [part for part in self._store.parts if copies.sizes.get(part.name) is not None]
            told = ask_all(there, lambda part: part.store.get(key), self._store.patience, needed=len(there))
            good = _good(key, told)
            for outcome in told:
                if isinstance(outcome.error, StorageUnavailableError):
                    raise outcome.error
                if good is None or outcome.result != good:
                    reason = "its bytes are not those that it is named by" if good is not None else "no part has a good copy"
                    found.append(BadCopy(outcome.part.name, key, Fault.DAMAGED, reason, mendable=good is not None))
        found += [BadCopy(name, key, Fault.EXTRA, "it lies in a later tier as well") for name in copies.spare]
        return found

    def mend(self, key: str, *, hurry: bool = False) -> list[str]:
        """Put right the copies of an object that are missing or wrong, from a good one; the names of their parts.

        Args:
            key: the object's.
            hurry: whether somebody is waiting, and parts that are not well are left for later.

        Raises:
            StorageUnavailableError: if a part that was asked cannot be reached; the others have been put right then.
        """
        self._store.marks.id()
        asked = [part for part in self._store.parts if part.health.is_well or not hurry]
        told = ask_all(asked, lambda part: part.store.get(key), self._store.patience, needed=1 if hurry else len(asked))
        good = _good(key, told)
        having = [outcome for outcome in told if outcome.result is not None]
        if good is None:
            return []
        homes = self._store.homes(key, [outcome.part for outcome in having])
        source = next(outcome.part for outcome in having if outcome.result == good)
        to_mend = [
            outcome.part
            for outcome in told
            if outcome.part in homes and outcome.result != good and not isinstance(outcome.error, StorageUnavailableError)
        ]

        def put_right(part: Part) -> None:
            self._store.put_into(part, key, good)
            if source.store.size(key) is None:  # it is being deleted, or moved
                part.store.delete(key)

        mended = ask_all(to_mend, put_right, self._store.patience + len(good) / LEAST_RATE, needed=len(to_mend))
        for outcome in mended:
            if outcome.error is None:
                self._forget_note(outcome.part, key)
        errors = [outcome.error for outcome in mended] + [outcome.error for outcome in told]
        away = next((error for error in errors if isinstance(error, StorageUnavailableError)), None)
        if away is not None and not hurry:
            raise away
        return [outcome.part.name for outcome in mended if outcome.error is None]

    def _forget_note(self, part: Part, key: str) -> None:
        ask_all(self._store.parts, lambda other: other.store.delete(note_of(part, key)), self._store.patience)

    def pay(self, stopping: Callable[[], bool] = lambda: False) -> int:
        """Give the parts what is noted that they lack, as far as they can be reached; how many objects that were."""
        paid = 0
        for name, keys in self._store.notes().items():
            part = self._store.part(name)
            with suppress(StorageUnavailableError):  # the notes stay
                if MARK_KEY in keys:
                    self._store.marks.adopt(part)
                for key in keys:
                    if stopping():
                        return paid
                    paid += name in self.mend(key)
                    self._forget_note(part, key)
        return paid

    def move(self, key: str, tier: str) -> int:
        """Take a pack to another tier: it is put there and read back, and then deleted from the tiers before it.

        Returns:
            Its length.

        Raises:
            IntegrityError: if there is no good copy of it.
        """
        data = self._store.good_copy(key)
        verify_pack(key, data)
        self._store.put_to(key, data, tier)
        self._delete_before(key, tier)
        return len(data)

    def drop_spare(self, key: str) -> bool:
        """Delete a pack from where it lies beside a later tier, if that has enough good copies of it; whether it has."""
        told = ask_all(self._store.parts, lambda part: part.store.get(key), self._store.patience, needed=len(self._store.parts))
        having = [outcome for outcome in told if outcome.result is not None]
        tier = having[-1].part.tier if having else self._store.tiers[0]
        good = [outcome for outcome in having if outcome.part.tier == tier and is_sound(key, outcome.result or b"")]
        if len(good) < self._store.quorum(tier):
            return False
        self._delete_before(key, tier)
        return True

    def _delete_before(self, key: str, tier: str) -> None:
        former = [part for part in self._store.parts if self._store.tiers.index(part.tier) < self._store.tiers.index(tier)]
        for outcome in ask_all(former, lambda part: part.store.delete(key), self._store.patience, needed=len(former)):
            outcome.check()


def _good(key: str, told: Sequence[Outcome[bytes]]) -> bytes | None:
    """The bytes of an object, of which several copies were read; None if none of them is good.

    Where its name does not say what they must be, they are good if all copies are the same.
    """
    there = [outcome.result for outcome in told if outcome.result is not None]
    for data in there:
        sound = is_sound(key, data)
        if sound or (sound is None and len(set(there)) == 1):
            return data
    return None
