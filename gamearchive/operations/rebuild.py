"""The catalog anew, from the packs alone.

A pack's index repeats all that the catalog knows of its games, so that nothing of them is lost with the catalog. Games are
taken in the order in which they were archived, whichever packs they lie in by now. Two packs that hold one and the same
revision (one of them left by a process that was killed before the catalog named it) give one row, which names the one that it
can be read from. A game that can be read from none is marked as lost. What has expired does not come back, and what is held
stays held: the ledger beside the packs says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from gamearchive.adoption import Adoption
from gamearchive.archive import Archive
from gamearchive.backends.base import PackContents
from gamearchive.errors import IntegrityError, NotFoundError
from gamearchive.model import ArchiveEntry, EntityKey, is_text
from gamearchive.trash import Trash

_PACKS_AT_HAND = 8

_Lost = dict[tuple[EntityKey, bytes], str]
"""Games, each by its key and checksum, with the reason why they cannot be read back."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A pack that was taken in, with so many revisions, so many of them the first of their games, and so many that are lost; or
    the error that kept it out.
    """

    pack: str
    records: int = 0
    games: int = 0
    lost: int = 0
    error: IntegrityError | NotFoundError | None = None


@dataclass(frozen=True, slots=True)
class SetAside:
    """The last step of a rebuild in place of a damaged catalog: where that one is kept."""

    path: Path


def rebuild(archive: Archive, *, stopping: Callable[[], bool] = lambda: False) -> Iterator[Rebuilt]:
    """Fill an empty catalog from the packs, every byte of which is read.

    Args:
        archive: its storage is read, its catalog written.
        stopping: whether to leave; the catalog is incomplete then.

    Yields:
        Each pack, once it is in the catalog or proven unreadable.
    """
    adoption = Adoption(archive)
    Trash(archive.catalog).hold_again(adoption.ledger.holds)
    order: list[tuple[int, str, bool, bool, str]] = []
    lost: dict[str, _Lost] = {}
    for held in archive.holdings.packs():
        if stopping():
            return
        try:
            inspected = adoption.inspect(held.key)
        except (IntegrityError, NotFoundError) as error:
            yield Rebuilt(held.key, error=error)
            continue
        entries = inspected.contents.entries
        kind = entries[0].entity_type, is_text(entries[0].content_type)
        # Of two copies the one whose name is right comes first.
        instants = {entry.provenance.archived_at for entry in entries}
        order += [(instant, *kind, not inspected.whole, held.key) for instant in instants]
        if inspected.lost:
            lost[held.key] = {(entry.key, entry.checksum): reason for entry, reason in inspected.lost.items()}
    order.sort()
    parts = Counter(key for *_, key in order)
    best = _best(archive, list(parts), lost)
    taken_from = {key: Rebuilt(key, lost=sum(best[game] == key for game in lost.get(key, ()))) for key in parts}
    opened = lru_cache(_PACKS_AT_HAND)(lambda key: _opened(archive, key))
    # What was archived at one moment was, most likely, archived in one transaction.
    for instant, group in groupby(order, key=itemgetter(0)):
        if stopping():
            return
        keys = [key for *_, key in group]
        packs = [opened(key) for key in keys]
        chosen = [
            entry
            for pack in packs
            for entry in pack.by_instant[instant]
            if best.get((entry.key, entry.checksum), entry.place.pack) == entry.place.pack
        ]
        gone = {game: why for key in keys for game, why in lost.get(key, {}).items() if best[game] == key}
        taken = adoption.take([pack.contents for pack in packs], chosen, gone)
        for key in keys:
            mine = [entry for entry in taken if entry.place.pack == key]
            before = taken_from[key]
            firsts = sum(entry.revision == 1 for entry in mine)
            taken_from[key] = replace(before, records=before.records + len(mine), games=before.games + firsts)
            parts[key] -= 1
            if not parts[key]:
                yield taken_from.pop(key)


class _Opened(NamedTuple):
    """A pack with its entries by when they were archived."""

    contents: PackContents
    by_instant: Mapping[int, Sequence[ArchiveEntry]]


def _opened(archive: Archive, key: str) -> _Opened:
    contents = archive.holdings.contents(key)
    by_instant: dict[int, list[ArchiveEntry]] = {}
    for entry in contents.entries:
        by_instant.setdefault(entry.provenance.archived_at, []).append(entry)
    return _Opened(contents, by_instant)


def _best(archive: Archive, keys: list[str], lost: dict[str, _Lost]) -> dict[tuple[EntityKey, bytes], str]:
    """The pack that each game that is lost in one is to be taken from: one that it can be read from, if there is any."""
    best: dict[tuple[EntityKey, bytes], str] = {}
    for key in reversed(keys):
        best |= dict.fromkeys(lost.get(key, ()), key)
    readable = set[tuple[EntityKey, bytes]]()
    for key in keys if best else ():
        found = {(entry.key, entry.checksum) for entry in archive.holdings.contents(key).entries} & best.keys()
        new = found - lost.get(key, {}).keys() - readable
        best |= dict.fromkeys(new, key)
        readable |= new
    return best
