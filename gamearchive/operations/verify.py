"""Is the archive what it says it is? Packs, catalog and dictionaries, held against each other.

Quick: every pack that the catalog names is there and has its length; every dictionary is there twice, and good; what the
catalog does not name is an orphan. Full: every byte of every pack as well, against the pack's name, its own checksums and the
catalog's rows. What is found is told; only with ``repair`` is anything changed: orphans go, a damaged copy of a dictionary is
written anew from the good one, and games whose bytes are lost are marked: should they come again, they are archived again.

Packs are compared in the order of their keys, so that memory stays bounded. Orphans are no damage: they are what a killed
process leaves, or what a running one has not named yet. To take them away, nothing else may be adding; and one that holds a
game that the catalog does not know is never taken away, for it may be the catalog that was lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from hashlib import blake2b

from msgspec.structs import replace

from gamearchive.accession import PackRow
from gamearchive.archive import Archive
from gamearchive.backends.base import HeldPack
from gamearchive.catalog import DictionaryRow
from gamearchive.errors import IntegrityError, NotFoundError, UnsupportedError
from gamearchive.model import ArchiveEntry

_NO_COPY = "no copy of this dictionary is good, and games compressed with it cannot be read"


class Finding(Enum):
    """A kind of thing that verification finds."""

    DAMAGED = "damaged"
    MISSING = "missing"
    ORPHANED = "orphaned"


@dataclass(frozen=True, slots=True)
class Found:
    """One finding. ``entry`` is the game it is about, None where it is about a pack or a dictionary as a whole."""

    finding: Finding
    object: str
    reason: str
    entry: ArchiveEntry | None = None
    repaired: bool = False


@dataclass(frozen=True, slots=True)
class Checked:
    """A pack that was looked at, with so many games, and what was found about it; no pack where it is about something else."""

    pack: str | None
    records: int
    found: Sequence[Found] = ()


def verify(
    archive: Archive,
    *,
    full: bool = False,
    sample: float = 1.0,
    repair: bool = False,
    stopping: Callable[[], bool] = lambda: False,
) -> Iterator[Checked]:
    """Check the archive.

    Args:
        archive: which.
        full: read every byte, and not only lengths.
        sample: the share of packs to read when ``full``, above 0 to 1; the same share of the same packs always.
        repair: mend what can be mended, mark what is lost. The caller holds the archive, exclusively.
        stopping: whether to leave after the pack in hand.

    Yields:
        Each pack, as it is done, and the dictionaries before them.
    """
    gone: set[tuple[str, int | None]] = set()
    for dictionary in archive.catalog.dictionaries():
        found = _check_dictionary(archive, dictionary, repair=repair)
        if any(each.reason == _NO_COPY for each in found):
            gone.add((dictionary.entity_type, dictionary.id))
        yield Checked(None, 0, found)
    for row, held in _pairs(archive):
        if stopping():
            return
        if row is None and held is not None:
            # The listing of the storage is newer than that of the catalog, which may name it by now.
            if not archive.catalog.has_pack(held.key):
                yield Checked(None, 0, [_check_orphan(archive, held, repair=repair)])
        elif row is not None:
            readable = (row.key.partition("/")[0], row.dictionary_id) not in gone
            yield _check_pack(archive, row, held, readable=readable, full=full and _chosen(row.key, sample), repair=repair)
    if repair:
        archive.holdings.sweep()


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


def _check_orphan(archive: Archive, held: HeldPack, *, repair: bool) -> Found:
    """A pack that the catalog does not name. It goes only if all its games can be read from where the catalog has them: it
    may be the catalog that was lost, or the pack that it names.
    """
    try:
        entries = archive.holdings.contents(held.key).entries
    except (IntegrityError, NotFoundError) as error:
        return Found(Finding.ORPHANED, held.key, f"the catalog does not name it, and it is left alone: {error.message}")
    alone = sum(not _is_elsewhere(archive, entry) for entry in entries)
    if alone:
        reason = f"the catalog does not name it, nor {alone} of its games: archive these again, or run `gamearchive rebuild`"
        return Found(Finding.ORPHANED, held.key, reason)
    removed = repair and archive.holdings.remove_pack(held.key)
    return Found(Finding.ORPHANED, held.key, "the catalog does not name it, and has all its games", repaired=removed)


def _is_elsewhere(archive: Archive, entry: ArchiveEntry) -> bool:
    """Whether the catalog names the same bytes in another place, from which they can be read."""
    same = [each for each in archive.catalog.revisions(entry.entity_id, entry.entity_type) if each.checksum == entry.checksum]
    return any(not _lost(archive, [each]) for each in same)


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
    finding, reason = Finding.DAMAGED, None
    if held is None:
        finding, reason = Finding.MISSING, "the pack is missing"
    elif held.stored_bytes != row.stored_bytes:
        reason = f"the pack has {held.stored_bytes} bytes, and not {row.stored_bytes}"
    elif not readable:
        reason = f"dictionary {row.dictionary_id}, that it needs, is lost"
    elif not full:
        return Checked(row.key, archive.catalog.count_of(row.key))
    entries = archive.catalog.entries_of(row.key)
    if reason is None:
        reason = _read_pack(archive, row, entries)
    lost = {} if reason is None else dict.fromkeys(entries, reason) if held is None else _lost(archive, entries)
    if repair:
        archive.catalog.mark_damaged(entries, lost)
    found = [Found(finding, row.key, why, entry) for entry, why in lost.items()]
    if reason and not found:
        found = [Found(finding, row.key, reason)]
    return Checked(row.key, len(entries), found)


def _read_pack(archive: Archive, row: PackRow, entries: Sequence[ArchiveEntry]) -> str | None:
    """What is wrong with a pack, each byte of it read; None if nothing is."""
    named = {(entry.key, entry.revision): entry for entry in entries}
    try:
        for entry, result in archive.holdings.records(row.key):
            if isinstance(result, IntegrityError):
                return result.message
            there = named.pop((entry.key, entry.revision), None)
            if there is not None and not _same(there, entry):
                return f"its index and the catalog say different things of game {entry.entity_id!r}"
    except (IntegrityError, NotFoundError) as error:
        return error.message
    except UnsupportedError:
        return next(iter(_lost(archive, entries).values()), None)
    if named:
        return f"it lacks game {next(iter(named))[0].entity_id!r}, that the catalog says is in it"
    return None


def _same(row: ArchiveEntry, indexed: ArchiveEntry) -> bool:
    """Whether catalog and pack agree; that a later revision has come is the catalog's to know."""
    return replace(row, superseded=False) == indexed


def _lost(archive: Archive, entries: Sequence[ArchiveEntry]) -> dict[ArchiveEntry, str]:
    """Which of these games cannot be read back, each with the reason: the others of a damaged pack are still good."""
    lost: dict[ArchiveEntry, str] = {}
    for entry in entries:
        try:
            archive.holdings.get(entry)
        except (IntegrityError, NotFoundError) as error:
            lost[entry] = error.message
    return lost
