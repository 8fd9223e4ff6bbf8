"""The archive: holdings and catalog in step.

`Archive.add` is the one way in. It numbers revisions, has the bytes put into packs and read back, and only then names them in
the catalog, in one transaction. Killed at any moment, it leaves at worst a pack that the catalog does not name, which
`gamearchive verify --repair` takes in, or away if its games came again; done again, it finds what is archived by its checksum,
and passes over it.

An id that comes again with bytes that none of its revisions has is a new revision of that game, unless told otherwise
(`OnConflict`). So a source that holds an id twice may be archived again and again, and nothing is doubled.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import Enum

from gamearchive.accession import Known, Latest, OvertakenError, PackRow
from gamearchive.backends.base import Deposit, HeldPack, Holdings
from gamearchive.catalog import Catalog, DictionaryRow, Settle
from gamearchive.clock import Clock
from gamearchive.errors import IntegrityError, LeaseLostError, NotFoundError, RetainedError, UnsupportedError
from gamearchive.model import (
    MAX_ID_BYTES,
    ArchiveEntry,
    EntityKey,
    GameRecord,
    Place,
    Provenance,
    Sender,
    Tags,
    checksum,
    id_problem,
    is_text,
)
from gamearchive.packs.dictionary import DENSE_DICTIONARY_BYTES, DICTIONARY_BYTES, MIN_SAMPLES, Dictionary, train
from gamearchive.query import ArchiveQuery

_ATTEMPTS = 20
_BY_HAND = Sender()
_NOWHERE = Place("")
_SAMPLES = 2_000
"""So many games a dictionary is trained on, at most."""


class OnConflict(Enum):
    """What becomes of a game whose id is archived with other bytes. One whose bytes are there already is always passed over."""

    SKIP = "skip"
    REPLACE = "replace"
    KEEP_BOTH = "keep-both"


@dataclass(frozen=True, slots=True)
class Added:
    """What became of some records: what was archived, and what was there already; ``conflicts`` are those of the latter that
    are there with other bytes. ``stored_bytes`` is all that was written.
    """

    entries: Sequence[ArchiveEntry] = ()
    skipped: Sequence[EntityKey] = ()
    conflicts: Sequence[EntityKey] = ()
    stored_bytes: int = 0


@dataclass(slots=True)
class Plan:
    """Records on their way: which are to be archived, numbered, and which are there already.

    ``conflicts`` are those of the latter that are there with other bytes, ``returned`` entries that are marked as lost, and can
    be read again; ``follower`` the plan that was made in the belief that this one will have been committed.
    """

    records: Sequence[GameRecord]
    sender: Sender
    on_conflict: OnConflict
    known: Known
    archived_at: int
    latest: dict[EntityKey, Latest]
    entries: list[ArchiveEntry] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)
    skipped: list[EntityKey] = field(default_factory=list)
    conflicts: list[EntityKey] = field(default_factory=list)
    returned: list[ArchiveEntry] = field(default_factory=list)
    follower: Plan | None = None

    def committed(self, batches: range) -> None:
        """These batches are this plan's: the one that was made after it need not look its games up again for them."""
        after = self.follower
        if after is not None and after.known.as_of == batches.start - 1 and after.latest.keys().isdisjoint(self.latest):
            after.known = replace(after.known, as_of=batches.stop - 1)


class Archive:
    """Holdings and the catalog of them.

    Args:
        catalog: what is where.
        holdings: the bytes.
        clock: the time.
    """

    def __init__(self, catalog: Catalog, holdings: Holdings, clock: Clock) -> None:
        self.catalog = catalog
        self.holdings = holdings
        self.clock = clock
        self._dictionaries: dict[str, Dictionary | None] = {}
        self._tried: dict[str, int] = {}

    def add(
        self,
        records: Sequence[GameRecord],
        sender: Sender = _BY_HAND,
        on_conflict: OnConflict = OnConflict.REPLACE,
        settle: Settle | None = None,
    ) -> Added:
        """Archive records: when this returns, they are durable, read back, and in the catalog.

        It is `plan`, `put` and `commit`, which a caller with many batches may overlap: the bytes of one are put while the next
        is being read.

        Args:
            records: of any types, in any order; of two with one id the later is the later revision.
            sender: on whose behalf.
            on_conflict: what to do about ids that are archived with other bytes.
            settle: what to do once they are all in the catalog, those that are there already too, in the same transaction.

        Raises:
            StorageUnavailableError: if the bytes cannot be written; DatabaseUnavailableError: if the catalog cannot.
            OvertakenError: if other processes archive the same games without end.
            LeaseLostError: if ``settle`` says that it may not be done; nothing is left of it.
        """
        plan = self.plan(records, sender, on_conflict)
        return self.commit(plan, self.put(plan), settle)

    def plan(
        self,
        records: Sequence[GameRecord],
        sender: Sender,
        on_conflict: OnConflict,
        *,
        checksums: Sequence[bytes] | None = None,
        after: Plan | None = None,
    ) -> Plan:
        """Number the records that are to be archived; nothing is written.

        Args:
            records: see `add`.
            sender: see `add`.
            on_conflict: see `add`.
            checksums: those of the records' payloads, where they are known.
            after: a plan that will have been committed before this one is.
        """
        keys = [EntityKey(record.entity_type, record.entity_id) for record in records]
        digests = checksums or [checksum(record.payload) for record in records]
        wanted = set(keys)
        if on_conflict is OnConflict.KEEP_BOTH:
            wanted |= {_kept_apart(key, digest) for key, digest in zip(keys, digests, strict=True)}
        known = self.catalog.known(wanted)
        latest = dict(known.games)
        newest = known.newest
        if after is not None:
            latest |= {key: after.latest[key] for key in wanted & after.latest.keys()}
            newest = max(newest, after.archived_at)
        # Where a clock was set back, or is another machine's: a rebuild takes the packs in the order of their instants.
        now = max(self.clock.now(), newest + 1)
        plan = Plan(records, sender, on_conflict, known, now, latest)
        if after is not None:
            after.follower = plan
        provenances: dict[Tags, Provenance] = {}
        for key, record, digest in zip(keys, records, digests, strict=True):
            there = latest.get(key)
            # One that is lost has no checksum: nothing is left of it that this one could be in conflict with.
            if on_conflict is OnConflict.KEEP_BOTH and there and there.checksum and not there.has(digest):
                key = _kept_apart(key, digest)  # noqa: PLW2901
                there = latest.get(key)
            same = there is not None and (there.checksum == digest if sender.live else there.has(digest))
            if same or (there and self._returned(plan, key, there, digest)):
                plan.skipped.append(key)
                continue
            if there and there.checksum and on_conflict is OnConflict.SKIP:
                plan.skipped.append(key)
                plan.conflicts.append(key)
                continue
            sent = provenances.get(record.tags)
            if sent is None:
                sent = Provenance(now, sender.trigger, sender.priority, sender.policy, record.tags)
                provenances[record.tags] = sent
            latest[key] = there.followed(digest) if there else Latest(1, digest)
            revision = latest[key].revision
            size = len(record.payload)
            plan.entries.append(ArchiveEntry(
                key.entity_type, key.entity_id, revision, record.content_type, record.facts, sent, size, 0, digest, _NOWHERE
            ))  # fmt: skip
            plan.payloads.append(record.payload)
        return plan

    def _returned(self, plan: Plan, key: EntityKey, there: Latest, digest: bytes) -> bool:
        """Whether a revision with these bytes that is marked as lost can be read again, its pack having come back."""
        if None not in (there.checksum, *there.earlier):
            return False
        revisions = self.catalog.revisions(key.entity_id, key.entity_type)
        for entry in revisions[:1] if plan.sender.live else revisions:
            if entry.checksum == digest:
                with suppress(IntegrityError, NotFoundError):
                    self.holdings.get(entry)
                    plan.returned.append(entry)
                    return True
        return False

    def put(self, plan: Plan) -> Deposit:
        """Put the bytes of a plan into packs: durable and read back, but in no catalog yet."""
        deposits = [
            self.holdings.put(entries, payloads, self.dictionary(entries[0].entity_type, payloads))
            for entries, payloads in _groups(plan)
        ]
        return Deposit(
            [entry for deposit in deposits for entry in deposit.entries],
            [pack for deposit in deposits for pack in deposit.packs],
        )

    def commit(self, plan: Plan, deposit: Deposit, settle: Settle | None = None) -> Added:
        """Name what was put in the catalog, and ``settle``: see `add`.

        Where another process was faster, the plan is made anew, and carried out.
        """
        attempts = 0
        if plan.returned:
            self.catalog.mark_damaged(plan.returned, {})
        while plan.entries:
            rows = [pack_row(pack) for pack in deposit.packs]
            try:
                plan.committed(self.catalog.add(deposit.entries, rows, plan.known, settle=settle))
            except OvertakenError:
                self.withdraw(deposit.packs)
                attempts += 1
                if attempts == _ATTEMPTS:
                    raise
                plan = self.plan(plan.records, plan.sender, plan.on_conflict)
                deposit = self.put(plan)
            except LeaseLostError:
                self.withdraw(deposit.packs)
                raise
            else:
                return Added(deposit.entries, plan.skipped, plan.conflicts, sum(row.stored_bytes for row in rows))
        if settle is not None:
            self.catalog.add((), (), settle=settle)
        return Added((), plan.skipped, plan.conflicts)

    def get(self, entity_id: str, entity_type: str | None = None, revision: int | None = None) -> ArchiveEntry:
        """What is known of a game: its latest revision, or the one asked for.

        Raises:
            NotFoundError: if it is not archived.
        """
        entry = None if id_problem(entity_id) else self.catalog.get(entity_id, entity_type, revision)
        if entry is None:
            kind = f"{entity_type} " if entity_type else "game "
            which = f" in revision {revision}" if revision is not None else ""
            raise NotFoundError(f"No {kind}{entity_id!r} is archived{which}.")
        return entry

    def read(self, entry: ArchiveEntry) -> bytes:
        """A game's exact bytes, checked against its checksum.

        Raises:
            IntegrityError: if they are lost or damaged.
            StorageUnavailableError: if they cannot be asked for.
        """
        while True:
            try:
                return self.holdings.get(entry)
            except NotFoundError as error:
                now = self.catalog.get(entry.entity_id, entry.entity_type, entry.revision)
                if now is None or now.place == entry.place:
                    raise IntegrityError(
                        f"Game {entry.entity_id!r} of type {entry.entity_type!r} is lost: its pack {entry.place.pack} is gone.",
                        hint="Put the pack back from a backup, or run `gamearchive verify` to see all that is missing.",
                    ) from error
                entry = now  # another pack has taken the place of that one since the entry was looked up

    def withdraw(self, packs: Iterable[HeldPack]) -> None:
        """Remove packs that were put, unless the catalog names them after all."""
        for pack in packs:
            if not self.catalog.has_pack(pack.key):
                with suppress(UnsupportedError, RetainedError):  # it stays then, and nobody names it
                    self.holdings.remove(pack.key)

    def dictionary(self, entity_type: str, payloads: Sequence[bytes]) -> Dictionary | None:
        """The dictionary to compress games of a type with: the one in use, or one trained now if there are games enough."""
        if entity_type not in self._dictionaries:
            self._dictionaries[entity_type] = self._current(entity_type, DICTIONARY_BYTES)
        found = self._dictionaries[entity_type]
        if found is not None:
            return found
        # Below MIN_SAMPLES nothing is learnt. After a vain attempt the next waits for ten times as many games.
        there = self.catalog.count(ArchiveQuery(entity_type=entity_type)) + len(payloads)
        if there < max(MIN_SAMPLES, self._tried.get(entity_type, 0) * 10):
            return None
        self._tried[entity_type] = there
        trained = train(entity_type, self._samples(entity_type, payloads))
        return trained if trained is not None and self.use(trained) else None

    def use(self, dictionary: Dictionary) -> bool:
        """Keep a dictionary, and compress games of its type with it from now on, densely if it is a large one; False where none
        can be kept.
        """
        try:
            self.holdings.put_dictionary(dictionary)
        except UnsupportedError:
            return False
        self.catalog.add_dictionary(
            DictionaryRow(dictionary.id, dictionary.entity_type, dictionary.checksum, len(dictionary.data))
        )
        if len(dictionary.data) <= DICTIONARY_BYTES:
            self._dictionaries[dictionary.entity_type] = dictionary
        return True

    def dense_dictionary(self, entity_type: str, payloads: Sequence[bytes]) -> Dictionary | None:
        """The dictionary to pack games of a type densely with: the last one there is, or one trained now."""
        return self._current(entity_type, DENSE_DICTIONARY_BYTES) or self.dictionary(entity_type, payloads)

    def _current(self, entity_type: str, most: int) -> Dictionary | None:
        rows = [row for row in self.catalog.dictionaries() if row.entity_type == entity_type and row.stored_bytes <= most]
        copies = self.holdings.dictionary_copies(entity_type, rows[-1].id) if rows else {}
        return next((copy for copy in copies.values() if copy is not None), None)

    def _samples(self, entity_type: str, payloads: Sequence[bytes]) -> list[bytes]:
        """Games to learn from: evenly out of those at hand, and where these are few, the latest archived as well."""
        step = -(-len(payloads) // _SAMPLES)
        samples = list(payloads[::step])
        if len(samples) < _SAMPLES // 4:
            latest = self.catalog.every(ArchiveQuery(entity_type=entity_type, limit=_SAMPLES // 4))
            for entry in latest:
                with suppress(IntegrityError):  # a game that is lost teaches nothing, and must not keep others out
                    samples.append(self.read(entry))
        return samples


def pack_row(held: HeldPack) -> PackRow:
    """A pack as the catalog names it."""
    return PackRow(held.key, held.stored_bytes, held.dictionary_id, held.dense)


def _groups(plan: Plan) -> list[tuple[list[ArchiveEntry], list[bytes]]]:
    """What can go into one pack: one type, all text or all binary; in an order that a rebuild finds again."""
    groups: dict[tuple[str, bool], tuple[list[ArchiveEntry], list[bytes]]] = {}
    for entry, payload in zip(plan.entries, plan.payloads, strict=True):
        entries, payloads = groups.setdefault((entry.entity_type, is_text(entry.content_type)), ([], []))
        entries.append(entry)
        payloads.append(payload)
    return [groups[kind] for kind in sorted(groups)]


def _kept_apart(key: EntityKey, digest: bytes) -> EntityKey:
    """The id of a game that is kept beside another of its id: the same one whenever it comes."""
    suffix = f"~{digest.hex()[:12]}"
    return EntityKey(key.entity_type, key.entity_id.encode()[: MAX_ID_BYTES - len(suffix)].decode(errors="ignore") + suffix)
