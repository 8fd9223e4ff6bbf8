"""The catalog anew, from the packs alone.

A pack's index repeats all that the catalog knows of its games, so that nothing of them is lost with the catalog. Packs are
taken in the order in which they were archived. Two packs that hold one and the same revision (one of them left by a process
that was killed before the catalog named it) give one row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from msgspec.structs import replace

from gamearchive.archive import Archive
from gamearchive.backends.base import PackContents
from gamearchive.catalog import DictionaryRow, PackRow
from gamearchive.errors import IntegrityError, NotFoundError
from gamearchive.model import ArchiveEntry


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
    order: list[tuple[int, str]] = []
    for held in archive.holdings.packs():
        try:
            contents = archive.holdings.contents(held.key)
        except (IntegrityError, NotFoundError) as error:
            yield Rebuilt(held.key, error=error)
        else:
            order.append((min(entry.provenance.archived_at for entry in contents.entries), held.key))
    for _, key in sorted(order):
        contents = archive.holdings.contents(key)
        _name_dictionary(archive, contents)
        entries = _numbered(archive, contents)
        if entries:
            pack = contents.pack
            archive.catalog.add(entries, [PackRow(pack.key, pack.stored_bytes, pack.dictionary_id)])
        yield Rebuilt(key, len(entries))


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


def _numbered(archive: Archive, contents: PackContents) -> list[ArchiveEntry]:
    """The pack's entries with the revisions that follow on what is in the catalog, and without what is in it already."""
    there = archive.catalog.known({entry.key for entry in contents.entries})
    known = {key: (latest.revision, latest.checksum) for key, latest in there.items()}
    numbered: list[ArchiveEntry] = []
    for entry in contents.entries:
        revision, digest = known.get(entry.key, (0, b""))
        if digest != entry.checksum:
            known[entry.key] = revision + 1, entry.checksum
            numbered.append(replace(entry, revision=revision + 1))
    return numbered
