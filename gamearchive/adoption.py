"""Packs as they lie in the storage, taken into the catalog: all of them to make it anew, a stray one to mend it.

A pack's index repeats all that the catalog knows of its games. But a pack may be damaged, a copy, or left by a process that was
killed before the catalog named it; so each is looked at before (`Adoption.inspect`): whether its bytes are those that it is
named by, and if they are not, which of its games cannot be read back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from msgspec.structs import replace

from gamearchive.accession import Latest
from gamearchive.archive import Archive, pack_row
from gamearchive.backends.base import PackContents
from gamearchive.catalog import DictionaryRow
from gamearchive.errors import IntegrityError, NotFoundError
from gamearchive.ledger import Ledger, read_ledger
from gamearchive.model import ArchiveEntry, EntityKey
from gamearchive.trash import Trash


@dataclass(frozen=True, slots=True)
class Inspected:
    """A pack with what was found about it: whether it is whole, and which of its games cannot be read back, and why."""

    contents: PackContents
    whole: bool
    lost: Mapping[ArchiveEntry, str]


@dataclass(frozen=True, slots=True)
class Use:
    """What a stray pack is good for.

    ``wanted`` are games that can be read from it and from nowhere else; ``replaced`` the catalog's own entries of the same
    bytes, which cannot be read, and why; ``lost`` counts those that can be read from nowhere at all, ``overtaken`` those
    of which the catalog knows a revision as late or later: they were never told to be safe, or are out of date.
    """

    wanted: Sequence[ArchiveEntry]
    replaced: Mapping[ArchiveEntry, str]
    lost: int
    overtaken: int


class Adoption:
    """Takes packs into the catalog of an archive.

    Args:
        archive: which; its catalog is written to, its storage only read.
    """

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._dictionaries: dict[tuple[str, int, bytes], int] = {}

    @cached_property
    def ledger(self) -> Ledger:
        """What is known of games in packs that these cannot say: it holds good for a new catalog as well."""
        return read_ledger(self._archive.holdings)

    def inspect(self, key: str) -> Inspected:
        """Look at a pack, every byte of it.

        Raises:
            NotFoundError: if there is no such pack; IntegrityError: if it does not say what is in it, or lies where it does
                not belong.
        """
        contents = self._archive.holdings.contents(key)
        whole = self._archive.holdings.is_whole(key)
        if whole and (
            contents.dictionary is None or self._dictionary_bytes(contents.entries[0].entity_type, *contents.dictionary)
        ):
            return Inspected(contents, whole, {})
        return Inspected(contents, whole, unreadable(self._archive, contents.entries))

    def use_of(self, stray: Inspected) -> Use:
        """What a pack that the catalog does not name is good for."""
        wanted: list[ArchiveEntry] = []
        replaced: dict[ArchiveEntry, str] = {}
        lost = overtaken = 0
        for entry in stray.contents.entries:
            if self.ledger.is_purged(entry):
                continue  # it has expired, and must not come back
            revisions = self._archive.catalog.revisions(entry.entity_id, entry.entity_type, trash=True)
            same = [each for each in revisions if each.checksum == entry.checksum]
            gone = unreadable(self._archive, same)
            # A live game may come back to a state that it was in before.
            newer = not revisions or (entry.revision > revisions[0].revision and revisions[0].checksum != entry.checksum)
            if len(gone) < len(same) and not newer:
                continue  # it can be read elsewhere
            if entry in stray.lost:
                lost += newer or not same
            elif newer or revisions[0] in gone:
                wanted.append(entry)
                replaced |= gone
            else:
                overtaken += 1
        return Use(wanted, replaced, lost, overtaken)

    def take(
        self,
        packs: Sequence[PackContents],
        chosen: Sequence[ArchiveEntry],
        lost: Mapping[tuple[EntityKey, bytes], str] = MappingProxyType({}),
    ) -> list[ArchiveEntry]:
        """Name packs, and those of their games that are chosen, in one transaction.

        A game whose latest revision has the same bytes already is passed over; another comes as the next revision. So is one
        that has expired and left the catalog; one in the trash goes back into the trash.

        Args:
            packs: the packs.
            chosen: entries of theirs.
            lost: of games that cannot be read back, by checksum, the reason; they are marked with it.

        Returns:
            The entries that were taken, as they are in the catalog.
        """
        catalog = self._archive.catalog
        entries = self._numbered([entry for entry in chosen if not self.ledger.is_purged(entry)])
        used = {entry.place.pack for entry in entries}
        named = [contents for contents in packs if contents.pack.key in used]
        for contents in named:
            if contents.dictionary is not None:
                entity_type, (number, expected) = contents.entries[0].entity_type, contents.dictionary
                size = self._dictionary_bytes(entity_type, number, expected)  # 0 if it is lost: verify will say so
                catalog.add_dictionary(DictionaryRow(number, entity_type, expected, size))
        if entries:
            catalog.add(entries, [pack_row(each.pack) for each in named], late=True)
            marks = {entry: lost[entry.key, entry.checksum] for entry in entries if (entry.key, entry.checksum) in lost}
            if marks:
                catalog.mark_damaged(marks, marks)
            if self.ledger.expired:
                Trash(catalog).expire_again(self.ledger.expired, entries)
        return entries

    def _dictionary_bytes(self, entity_type: str, number: int, expected: bytes) -> int:
        """The length of a dictionary; 0 if no copy of it is good."""
        key = entity_type, number, expected
        if key not in self._dictionaries:
            copies = self._archive.holdings.dictionary_copies(entity_type, number).values()
            self._dictionaries[key] = max((len(copy.data) for copy in copies if copy and copy.checksum == expected), default=0)
        return self._dictionaries[key]

    def _numbered(self, entries: Sequence[ArchiveEntry]) -> list[ArchiveEntry]:
        """The entries with the revisions that follow on what is in the catalog, and without what is in it already."""
        known: dict[EntityKey, Latest] = dict(self._archive.catalog.known({entry.key for entry in entries}).games)
        numbered: dict[int, ArchiveEntry] = {}
        for position, entry in sorted(enumerate(entries), key=lambda pair: pair[1].revision):
            there = known.get(entry.key)
            if there is None or there.checksum != entry.checksum:
                known[entry.key] = there.followed(entry.checksum) if there else Latest(1, entry.checksum)
                numbered[position] = replace(entry, revision=known[entry.key].revision)
        return [numbered[position] for position in sorted(numbered)]


def unreadable(archive: Archive, entries: Iterable[ArchiveEntry]) -> dict[ArchiveEntry, str]:
    """Which of these games cannot be read back, each with the reason: the others of a damaged pack are still good."""
    lost: dict[ArchiveEntry, str] = {}
    for entry in entries:
        try:
            archive.holdings.get(entry)
        except (IntegrityError, NotFoundError) as error:
            lost[entry] = error.message
    return lost
