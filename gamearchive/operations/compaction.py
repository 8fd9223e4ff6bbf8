"""Packs made denser: many small ones, half-dead ones, and those that are old enough, become few that take less space.

A dense pack has its games in blocks, compressed as well as can be, and nothing in it that the catalog no longer names. What is
replaced is removed only once its games have been read from it, written elsewhere, synced, read back, and named there by the
catalog, in one transaction. Killed at any moment, this leaves at worst packs that nobody names, or that hold nothing which is
not elsewhere too: ``verify --repair`` takes them away. What cannot be read exactly as the catalog has it is left alone.

It is bounded: groups of packs are replaced one after another, each becoming a dense pack of up to 48 MiB of games, and after
each of them it may be left; done again, it goes on with what is left. Packs are only merged with those next to them in the
order of archiving, so that those of one time stay together.

Which packs (`groups`): those whose games are *due*, as their policy's ``compress_after`` says, unless they are dense already;
those of which *half* is named no longer; and *small* ones, as soon as there are some of about one size: each game is so moved
but a few times, however slowly they come in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field

from gamearchive.accession import OvertakenError
from gamearchive.archive import Archive, pack_row
from gamearchive.errors import IntegrityError, NotFoundError, RetainedError
from gamearchive.model import ArchiveEntry, is_text
from gamearchive.packs.dictionary import DENSE_DICTIONARY_BYTES, Dictionary, train
from gamearchive.packs.format import DENSE_LEVEL
from gamearchive.packs.frames import compress
from gamearchive.packs.index import MAX_RECORDS
from gamearchive.repacking import PackUse

PACK_RAW_BYTES = 48 << 20
"""A dense pack is made of about so many bytes of games."""
SMALL_BYTES = 1 << 20
"""A pack below this is small."""
SMALL_ONES = 4
"""So many small packs are merged at least."""

_SAMPLES = 2_000
_TRIALS, _TRIAL_GAMES = 8, 30

Due = Callable[[str, int], bool]
"""Whether games of a type, archived at an instant (microseconds since the epoch), are to be packed densely by now."""


@dataclass(frozen=True, slots=True)
class Compacted:
    """What became of a group of packs.

    Attributes:
        replaced: the packs that were replaced, by their keys.
        packs: those that took their place.
        games: so many revisions of games moved.
        read_bytes: of the packs that were replaced.
        written_bytes: of those that took their place.
        left: packs that were left as they are, with the reason; for people.
        stays: packs that are named no longer, and that the storage keeps, with the reason.
        fraction: of all that was to be done when it began, 0 to 1, so much is done.
    """

    replaced: Sequence[str]
    packs: Sequence[str] = ()
    games: int = 0
    read_bytes: int = 0
    written_bytes: int = 0
    left: Mapping[str, str] = field(default_factory=dict)
    stays: Mapping[str, str] = field(default_factory=dict)
    fraction: float = 0.0


def groups(
    packs: Iterable[PackUse], due: Due, *, entity_type: str | None = None, is_half_dead: Callable[[PackUse], bool]
) -> Iterator[list[PackUse]]:
    """The packs that are to be replaced, each group of them by one.

    Args:
        packs: all packs, in the order in which their games were archived.
        due: which of them are old enough.
        entity_type: only those of this type.
        is_half_dead: whether half of a pack is named no longer.
    """
    runs: dict[tuple[str, bool], _Run] = {}
    for pack in packs:
        kind = pack.entity_type, is_text(pack.content_type)
        if entity_type not in (None, kind[0]):
            continue
        run = runs.setdefault(kind, _Run())
        pressing = (not pack.dense and due(kind[0], pack.newest)) or is_half_dead(pack)
        taken = pressing or pack.pack_bytes < SMALL_BYTES
        if not taken or not run.has_room_for(pack):
            yield from run.worth()
            run = runs[kind] = _Run()
        if taken:
            run.add(pack, pressing=pressing)
    for run in runs.values():
        yield from run.worth()


class _Run:
    """Packs next to each other, that may become one."""

    def __init__(self) -> None:
        self._packs: list[PackUse] = []
        self._games = self._raw_bytes = 0
        self._pressing = False

    def has_room_for(self, pack: PackUse) -> bool:
        """Whether one more can be among them."""
        return self._raw_bytes + pack.raw_bytes <= PACK_RAW_BYTES and self._games + pack.games <= MAX_RECORDS

    def add(self, pack: PackUse, *, pressing: bool) -> None:
        """Take one more; ``pressing`` is one that is to be replaced whatever the others are."""
        self._packs.append(pack)
        self._games += pack.games
        self._raw_bytes += pack.raw_bytes
        self._pressing |= pressing

    def worth(self) -> Iterator[list[PackUse]]:
        """All of them, if one is pressing; else the later ones, of about one size, if these are enough."""
        first, rest = 0, sum(pack.pack_bytes for pack in self._packs)
        while not self._pressing and first < len(self._packs):
            # One that is larger than all after it would be moved again and again, for a little more each time.
            rest -= self._packs[first].pack_bytes
            if self._packs[first].pack_bytes <= rest:
                break
            first += 1
        if self._pressing or len(self._packs) - first >= SMALL_ONES:
            yield self._packs[first:]


def compact(
    held: Callable[[], AbstractContextManager[Archive]],
    due: Due,
    *,
    entity_type: str | None = None,
    max_bytes: int | None = None,
    dry_run: bool = False,
    stopping: Callable[[], bool] = lambda: False,
) -> Iterator[Compacted]:
    """Make packs denser.

    Args:
        held: gives the archive, held shared, for as long as a group takes. Nobody else makes packs denser meanwhile.
        due: which packs are old enough.
        entity_type: only games of this type.
        max_bytes: leave once packs of so many bytes have been replaced.
        dry_run: only say what would be done: bytes and packs are those that would be replaced.
        stopping: whether to leave after the group in hand.

    Yields:
        Each group, once it is done.
    """
    with held() as archive:
        packs = archive.catalog.pack_uses()
        plan = list(groups(packs, due, entity_type=entity_type, is_half_dead=_half_dead(archive)))
    raw_bytes: Counter[str] = Counter()
    for pack in packs:
        raw_bytes[pack.entity_type] += pack.raw_bytes
    whole, done = sum(pack.pack_bytes for group in plan for pack in group), 0
    for group in plan:
        if stopping() or (max_bytes is not None and done >= max_bytes):
            return
        done += sum(pack.pack_bytes for pack in group)
        if dry_run:
            games, read_bytes = sum(pack.games for pack in group), sum(pack.pack_bytes for pack in group)
            yield Compacted([pack.key for pack in group], games=games, read_bytes=read_bytes, fraction=done / whole)
            continue
        with held() as archive:
            step = _replace(archive, group, raw_bytes=raw_bytes[group[0].entity_type], fraction=done / whole)
        yield step


def _half_dead(archive: Archive) -> Callable[[PackUse], bool]:
    """Whether half of a pack is named no longer; it is only looked into where its size does not tell."""

    def is_half_dead(pack: PackUse) -> bool:
        if pack.stored_bytes * 2 > pack.pack_bytes:
            return False
        with suppress(NotFoundError, IntegrityError):
            return pack.games * 2 <= len(archive.holdings.contents(pack.key).entries)
        return False

    return is_half_dead


def _replace(archive: Archive, group: Sequence[PackUse], *, raw_bytes: int, fraction: float) -> Compacted:
    """Have a dense pack take the place of some; ``raw_bytes`` are those of all games of their type."""
    keys = [pack.key for pack in group]
    entries = archive.catalog.entries_in(keys)
    payloads, left = _read(archive, keys, entries)
    good = [pack for pack in group if pack.key not in left]
    keys = [pack.key for pack in good]
    entries = [entry for entry in entries if entry.place.pack not in left]
    if not entries:
        return Compacted([], left=left, fraction=fraction)
    contents = [payloads.pop(entry) for entry in entries]
    dictionary = _best_dictionary(archive, contents, entries[0].entity_type, raw_bytes)
    deposit = archive.holdings.put_dense(entries, contents, dictionary)
    try:
        archive.catalog.repack(keys, entries, deposit.entries, [pack_row(pack) for pack in deposit.packs])
    except OvertakenError as error:
        archive.withdraw(deposit.packs)
        return Compacted([], left=left | dict.fromkeys(keys, error.message), fraction=fraction)
    stays: dict[str, str] = {}
    for key in keys:
        try:
            archive.holdings.remove(key)
        except RetainedError as error:
            stays[key] = error.message
    return Compacted(
        keys,
        [pack.key for pack in deposit.packs],
        len(entries),
        sum(pack.pack_bytes for pack in good),
        sum(pack.stored_bytes for pack in deposit.packs),
        left,
        stays,
        fraction,
    )


def _read(
    archive: Archive, keys: Sequence[str], entries: Sequence[ArchiveEntry]
) -> tuple[dict[ArchiveEntry, bytes], dict[str, str]]:
    """The payloads of entries, every byte of their packs checked; and which packs are not what the catalog says, and why."""
    payloads: dict[ArchiveEntry, bytes] = {}
    left: dict[str, str] = {}
    wanted: dict[str, dict[tuple[object, ...], ArchiveEntry]] = {key: {} for key in keys}
    for entry in entries:
        wanted[entry.place.pack][_identity(entry)] = entry
    for key in keys:
        found: dict[ArchiveEntry, bytes] = {}
        try:
            for indexed, payload in archive.holdings.records(key):
                if isinstance(payload, IntegrityError):
                    raise payload
                identity = _identity(indexed)
                if identity in wanted[key]:
                    found[wanted[key].pop(identity)] = payload
        except (IntegrityError, NotFoundError) as error:
            left[key] = error.message
            continue
        if wanted[key]:
            missing = next(iter(wanted[key].values()))
            left[key] = f"Pack {key} and the catalog say different things of game {missing.entity_id!r}."
            continue
        payloads |= found
    return payloads, left


def _identity(entry: ArchiveEntry) -> tuple[object, ...]:
    """What pack and catalog must agree on before a game is moved; how many revisions came before is the catalog's to know."""
    return entry.entity_id, entry.place, entry.checksum, entry.raw_bytes


def _best_dictionary(archive: Archive, payloads: Sequence[bytes], entity_type: str, raw_bytes: int) -> Dictionary | None:
    """The dictionary in use, or one learnt from these games, where that saves more than its two copies take.

    What it saves of all the games of this type is taken for what it will save of those that it is used for.
    """
    current = archive.dense_dictionary(entity_type, payloads)
    samples = payloads[:: -(-len(payloads) // _SAMPLES)]
    learnt = train(entity_type, samples, size=DENSE_DICTIONARY_BYTES)
    if learnt is None or (current is not None and learnt.id == current.id):
        return current
    size = -(-len(payloads) // _TRIALS)
    blocks = [b"".join(payloads[start : start + min(size, _TRIAL_GAMES)]) for start in range(0, len(payloads), size)]
    before, after = (sum(map(len, compress(blocks, DENSE_LEVEL, used, 1))) for used in (current, learnt))
    saved = (before - after) * raw_bytes / (sum(map(len, blocks)) or 1)
    return learnt if saved > 2 * len(learnt.data) and archive.use(learnt) else current
