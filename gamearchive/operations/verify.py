"""Is the archive what it says it is? Packs, catalog and dictionaries, held against each other.

Quick: every pack that the catalog names is there and has its length; every dictionary is there twice, and good; what is marked
as lost is still lost; what the catalog does not name is an orphan. Full: every byte of every pack as well, against the pack's
name, its own checksums and the catalog's rows. What is found is told; only with ``repair`` is anything changed: a damaged copy
of a dictionary is written anew from the good one, games whose bytes are lost are marked, and no longer once they have come back
(should they come again, they are archived again), and orphans go, or are taken in.

Packs are compared in the order of their keys, so that memory stays bounded. An orphan is no damage where the catalog has all
its games: it is what a killed process leaves. It goes. One that holds games that are nowhere else is named by the catalog
instead, for it may be the catalog that lost them. What cannot be read is left alone. To change anything, nothing else may be
adding.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from hashlib import blake2b

from msgspec.structs import replace

from gamearchive.accession import PackRow
from gamearchive.adoption import Adoption, unreadable
from gamearchive.archive import Archive
from gamearchive.backends.base import Fault, HeldPack
from gamearchive.catalog import DictionaryRow
from gamearchive.errors import IntegrityError, NotFoundError, UnsupportedError
from gamearchive.model import ArchiveEntry

_NO_COPY = "no copy of this dictionary is good, and games compressed with it cannot be read"
_TOGETHER = 1000
"""So many packs that nothing needs are removed at once."""
_UNNAMED = "the catalog does not name it"


class Finding(Enum):
    """A kind of thing that verification finds."""

    DAMAGED = "damaged"
    MISSING = "missing"
    ORPHANED = "orphaned"


@dataclass(frozen=True, slots=True)
class Found:
    """One finding. ``entry`` is the game it is about, None where it is about a pack or a dictionary as a whole.

    ``harmless`` is what no game is at stake with. ``part`` is, in a storage of several parts, the one whose copy it is about,
    where others may be good.
    """

    finding: Finding
    object: str
    reason: str
    entry: ArchiveEntry | None = None
    repaired: bool = False
    harmless: bool = False
    part: str | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """A pack that was looked at, with so many revisions of so many games, whether every byte of it was read, and what was found
    about it; no pack where it is about something else.
    """

    pack: str | None
    records: int = 0
    games: int = 0
    read: bool = False
    found: Sequence[Found] = ()


def verify(
    archive: Archive,
    *,
    full: bool = False,
    sample: float = 1.0,
    repair: bool = False,
    after: str = "",
    stopping: Callable[[], bool] = lambda: False,
    adding: Callable[[], bool] = lambda: False,
) -> Iterator[Checked]:
    """Check the archive.

    Args:
        archive: which.
        full: read every byte, and not only lengths.
        sample: the share of packs to read when ``full``, above 0 to 1; the same share of the same packs always, and the first.
        repair: mend what can be mended, mark what is lost. The caller holds the archive, exclusively.
        after: the key of a pack that was the last of an earlier run: to go on behind it.
        stopping: whether to leave after the pack in hand.
        adding: whether somebody is adding games just now, whose packs the catalog may be about to name.

    Yields:
        The dictionaries, then each pack, as it is done, and then what the catalog does not name.
    """
    gone: set[tuple[str, int | None]] = set()
    needed: set[tuple[str, int | None]] = set()
    strays: list[str] = []
    begun = False
    for found in _check_shared(archive, gone, full=full, repair=repair):
        yield Checked(None, found=found)
    for row, held in _pairs(archive):
        if stopping():
            return
        if row is not None:
            dictionary_id = (row.key.partition("/")[0], row.dictionary_id)
            needed.add(dictionary_id)
            if row.key <= after:
                continue
            read = full and (not begun or _chosen(row.key, sample))
            begun = True
            copies = [] if held is None else _check_copies(archive, held, full=read, repair=repair)
            checked = _check_pack(archive, row, held, readable=dictionary_id not in gone, full=read, repair=repair)
            yield dataclasses.replace(checked, found=[*copies, *checked.found])
        elif held is not None:
            strays.append(held.key)
    stays = False
    for stray in _check_strays(archive, strays, adding=adding, repair=repair, stopping=stopping):
        stays |= not stray.repaired
        yield Checked(None, found=[stray])
    if stopping():
        return
    for stray in _check_stray_dictionaries(archive, needed, repair=repair and not stays):
        yield Checked(None, found=[stray])
    if repair:
        archive.holdings.sweep()


def _check_shared(
    archive: Archive, gone: set[tuple[str, int | None]], *, full: bool, repair: bool
) -> Iterator[Sequence[Found]]:
    """What packs share: the dictionaries, of which those that are lost are put into ``gone``, and copies of them in parts."""
    for dictionary in archive.catalog.dictionaries():
        found = _check_dictionary(archive, dictionary, repair=repair)
        if any(each.reason == _NO_COPY for each in found):
            gone.add((dictionary.entity_type, dictionary.id))
        yield found
    if found := _check_copies(archive, None, full=full, repair=repair):
        yield found


def _pairs(archive: Archive) -> Iterator[tuple[PackRow | None, HeldPack | None]]:
    """The packs of the catalog and of the storage side by side, None where one lacks what the other has."""
    rows = archive.catalog.packs()
    try:
        held = archive.holdings.packs()
        there = next(held, None)
    except UnsupportedError:
        # What cannot be listed is asked for pack by pack.
        yield from ((row, HeldPack(row.key, row.stored_bytes)) for row in rows)
        return
    row = next(rows, None)
    while row or there:
        if there is None or (row is not None and row.key < there.key):
            yield row, None
            row = next(rows, None)
        elif row is None or there.key < row.key:
            yield None, there
            there = next(held, None)
        else:
            yield row, there
            row, there = next(rows, None), next(held, None)


def _check_strays(
    archive: Archive, keys: Sequence[str], *, adding: Callable[[], bool], repair: bool, stopping: Callable[[], bool]
) -> Iterator[Found]:
    """Packs that the catalog does not name, in the order in which they were archived, as a rebuild would take them."""
    order: list[tuple[int, str]] = []
    for key in keys:
        try:
            order.append((min(entry.provenance.archived_at for entry in archive.holdings.contents(key).entries), key))
        except NotFoundError:
            continue  # another pack has taken its place since the packs were listed
        except IntegrityError as error:
            if not archive.catalog.has_pack(key):
                yield Found(Finding.ORPHANED, key, f"{_UNNAMED}, and it is left alone: {error.message}")
    # In this order: who has ended adding has named what he put.
    about_to_be_named = bool(order) and adding()
    adoption = Adoption(archive)
    needless: list[str] = []
    for _, key in sorted(order):
        if stopping():
            break
        if not archive.catalog.has_pack(key):
            found = _check_stray(archive, adoption, key, about_to_be_named=about_to_be_named, repair=repair)
            if found is None:
                needless.append(key)
            else:
                yield found
        if len(needless) == _TOGETHER:
            yield from _check_needless(archive, needless, "has all its games", repair=repair)
            needless = []
    yield from _check_needless(archive, needless, "has all its games", repair=repair)


def _check_stray(archive: Archive, adoption: Adoption, key: str, *, about_to_be_named: bool, repair: bool) -> Found | None:
    """What there is to say of a stray pack; None if the catalog has all its games."""
    try:
        stray = adoption.inspect(key)
    except (IntegrityError, NotFoundError) as error:
        return Found(Finding.ORPHANED, key, f"{_UNNAMED}, and it is left alone: {error.message}")
    use = adoption.use_of(stray)
    if use.wanted and repair:
        archive.catalog.mark_damaged(use.replaced, use.replaced)
        adoption.take([stray.contents], use.wanted)
        reason = f"the catalog did not name it, nor {len(use.wanted)} of its games, and does now"
        return Found(Finding.ORPHANED, key, reason, repaired=True)
    if use.wanted:
        reason = f"{_UNNAMED}, nor {len(use.wanted)} of its games"
        return Found(Finding.ORPHANED, key, reason, harmless=about_to_be_named)
    if use.lost:
        return Found(Finding.ORPHANED, key, f"{_UNNAMED}, nor {use.lost} of its games, which cannot be read: it is left alone")
    if use.overtaken:
        reason = f"{_UNNAMED}, and has {use.overtaken} of its games with other, later bytes: it is left alone"
        return Found(Finding.ORPHANED, key, reason, harmless=True)
    return None


def _check_needless(archive: Archive, keys: Sequence[str], why: str, *, repair: bool) -> Iterator[Found]:
    """What nothing needs goes, unless the storage keeps it until a date."""
    kept = archive.holdings.remove_many(keys) if repair and keys else {}
    for key in keys:
        reason = f"{_UNNAMED}, and {why}" + (f"; {kept[key]}" if key in kept else "")
        yield Found(Finding.ORPHANED, key, reason, repaired=repair and key not in kept, harmless=True)


def _check_stray_dictionaries(archive: Archive, needed: set[tuple[str, int | None]], *, repair: bool) -> Iterator[Found]:
    """Copies of dictionaries that the catalog does not name; one that a pack needs is named, others go."""
    named = {(row.entity_type, row.id) for row in archive.catalog.dictionaries()}
    needless = []
    try:
        for key, dictionary in archive.holdings.dictionary_files():
            if dictionary is None:
                yield Found(Finding.ORPHANED, key, "this is not the name of a dictionary, and it is left alone", harmless=True)
            elif dictionary in named:
                continue
            elif dictionary not in needed:
                needless.append(key)
            else:
                good = next((copy for copy in archive.holdings.dictionary_copies(*dictionary).values() if copy), None)
                if good and repair:
                    archive.catalog.add_dictionary(DictionaryRow(good.id, good.entity_type, good.checksum, len(good.data)))
                yield Found(Finding.ORPHANED, key, f"{_UNNAMED}, and packs need it", repaired=repair and good is not None)
    except UnsupportedError:
        return
    yield from _check_needless(archive, needless, "no pack needs it", repair=repair)


_COPIES = {Fault.MISSING: Finding.MISSING, Fault.DAMAGED: Finding.DAMAGED, Fault.EXTRA: Finding.ORPHANED}


def _check_copies(archive: Archive, held: HeldPack | None, *, full: bool, repair: bool) -> list[Found]:
    """Copies of a pack (None: of what is no pack) that are not what the others are, in a storage of several parts."""
    bad = archive.holdings.bad_copies(held, full=full)
    mended: dict[str, Sequence[str]] = {}
    if repair:
        mended = {key: archive.holdings.mend(key) for key in {each.key for each in bad if each.mendable}}
    return [
        Found(
            _COPIES[each.fault],
            each.key,
            each.reason,
            repaired=each.part in mended.get(each.key, ()),
            harmless=each.fault is Fault.EXTRA,
            part=each.part,
        )
        for each in bad
    ]


def _chosen(key: str, sample: float) -> bool:
    return int.from_bytes(blake2b(key.encode(), digest_size=4).digest(), "big") < sample * (1 << 32)


def _check_dictionary(archive: Archive, row: DictionaryRow, *, repair: bool) -> list[Found]:
    copies = archive.holdings.dictionary_copies(row.entity_type, row.id)
    good = next((copy for copy in copies.values() if copy and copy.checksum == row.checksum), None)
    bad = [key for key, copy in copies.items() if copy is None or copy.checksum != row.checksum]
    if good and bad and repair:
        archive.holdings.put_dictionary(good)
    reason = "this copy of the dictionary is missing or damaged" if good else _NO_COPY
    return [Found(Finding.DAMAGED, key, reason, repaired=repair and good is not None) for key in bad]


def _check_pack(archive: Archive, row: PackRow, held: HeldPack | None, *, readable: bool, full: bool, repair: bool) -> Checked:
    counts = archive.catalog.counts_of(row.key)
    if held is None and not counts.revisions:
        return Checked(row.key)  # all that was in it has expired
    finding, reason = Finding.DAMAGED, None
    if held is None:
        finding, reason = Finding.MISSING, "the pack is missing"
    elif held.stored_bytes != row.stored_bytes:
        reason = f"the pack has {held.stored_bytes} bytes, and not {row.stored_bytes}"
    elif not readable:
        reason = f"dictionary {row.dictionary_id}, that it needs, is lost"
    sound = reason is None and not full
    # A sound pack's games are not read, but for those that were lost before, and may have come back with it.
    entries = archive.catalog.entries_of(row.key, marked=True) if sound and counts.marked else []
    if not sound:
        entries = archive.catalog.entries_of(row.key)
        reason = reason or _read_pack(archive, row, entries)
    lost = dict.fromkeys(entries, "the pack is missing") if held is None else {}
    if held is not None and (reason or sound):
        lost = unreadable(archive, entries)
    if repair:
        archive.catalog.mark_damaged(entries, lost)
    found = [Found(finding, row.key, why, entry) for entry, why in lost.items()]
    if reason and not found:
        found = [Found(finding, row.key, reason)]
    if found and not archive.catalog.has_pack(row.key):
        return Checked(None)  # another pack has taken its place meanwhile
    return Checked(row.key, counts.revisions, counts.revisions - counts.superseded, full, found)


def _read_pack(archive: Archive, row: PackRow, entries: Sequence[ArchiveEntry]) -> str | None:
    """What is wrong with a pack, each byte of it read; None if nothing is."""
    named = {(entry.key, entry.place): entry for entry in entries}
    try:
        for entry, result in archive.holdings.records(row.key):
            if isinstance(result, IntegrityError):
                return result.message
            there = named.pop((entry.key, entry.place), None)
            if there is not None and not _same(there, entry):
                return f"its index and the catalog say different things of game {entry.entity_id!r}"
    except (IntegrityError, NotFoundError) as error:
        return error.message
    except UnsupportedError:
        return next(iter(unreadable(archive, entries).values()), None)
    if named:
        return f"it lacks game {next(iter(named))[0].entity_id!r}, that the catalog says is in it"
    return None


def _same(row: ArchiveEntry, indexed: ArchiveEntry) -> bool:
    """Whether catalog and pack agree; how many revisions came before, and whether one came later, is the catalog's to know."""
    return replace(row, superseded=False, revision=indexed.revision) == indexed
