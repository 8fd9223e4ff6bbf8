"""The catalog anew, from the packs alone.

A pack's index repeats all that the catalog knows of its games, so that nothing of them is lost with the catalog. Packs are
taken in the order in which they were archived. Two packs that hold one and the same revision (one of them left by a process
that was killed before the catalog named it) give one row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from msgspec.structs import replace

from gamearchive.accession import PackRow
from gamearchive.archive import Archive
from gamearchive.backends.base import PackContents
from gamearchive.catalog import DictionaryRow
from gamearchive.errors import IntegrityError, NotFoundError
from gamearchive.model import ArchiveEntry, is_text


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A pack that was taken in, with so many games; or the error that kept it out."""

    pack: str
    records: int = 0
    error: IntegrityError | NotFoundError | None = None


def rebuild(archive: Archive) -> Iterator[Rebuilt]:
    """Fill an empty catalog from the packs.

    Yields:
        Each pack, once it is in the catalog or proven unreadable.
    """
    order: list[tuple[int, str, bool, str]] = []
    for held in archive.holdings.packs():
        try:
            entries = archive.holdings.contents(held.key).entries
        except (IntegrityError, NotFoundError) as error:
            yield Rebuilt(held.key, error=error)
        else:
            instant = min(entry.provenance.archived_at for entry in entries)
            order.append((instant, entries[0].entity_type, is_text(entries[0].content_type), held.key))
    for _, together in groupby(sorted(order), key=itemgetter(0)):
        yield from _take_in(archive, [archive.holdings.contents(key) for *_, key in together])


def _take_in(archive: Archive, together: Sequence[PackContents]) -> Iterator[Rebuilt]:
    """Name packs that were archived at one moment, and so, most likely, in one transaction."""
    for contents in together:
        _name_dictionary(archive, contents)
    entries = _numbered(archive, [entry for contents in together for entry in contents.entries])
    counts = Counter(entry.place.pack for entry in entries)
    packs = [contents.pack for contents in together]
    if entries:
        rows = [PackRow(pack.key, pack.stored_bytes, pack.dictionary_id) for pack in packs if counts[pack.key]]
        archive.catalog.add(entries, rows)
    yield from (Rebuilt(pack.key, counts[pack.key]) for pack in packs)


def _name_dictionary(archive: Archive, contents: PackContents) -> None:
    if contents.dictionary is None:
        return
    number, expected = contents.dictionary
    entity_type = contents.entries[0].entity_type
    for copy in archive.holdings.dictionary_copies(entity_type, number).values():
        if copy is not None and copy.checksum == expected:
            archive.catalog.add_dictionary(DictionaryRow(number, entity_type, expected, len(copy.data)))
            return
    archive.catalog.add_dictionary(DictionaryRow(number, entity_type, expected, 0))  # lost: verify will say so


def _numbered(archive: Archive, entries: Sequence[ArchiveEntry]) -> list[ArchiveEntry]:
    """The entries with the revisions that follow on what is in the catalog, and without what is in it already."""
    there = archive.catalog.known({entry.key for entry in entries}).games
    known = {key: (latest.revision, latest.checksum) for key, latest in there.items()}
    numbered: dict[int, ArchiveEntry] = {}
    for position, entry in sorted(enumerate(entries), key=lambda pair: pair[1].revision):
        revision, digest = known.get(entry.key, (0, b""))
        if digest != entry.checksum:
            known[entry.key] = revision + 1, entry.checksum
            numbered[position] = replace(entry, revision=revision + 1)
    return [numbered[position] for position in sorted(numbered)]
