"""What is in one backup: the rows of its database, and the games they are about, found without putting it back."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Any

from gamearchive.backups.manifest import Group, Manifest
from gamearchive.backups.vault import Vault
from gamearchive.errors import IntegrityError, NotFoundError, UsageError
from gamearchive.model import ArchiveEntry, Facts, Place, Provenance, decode_id, encode_id

Rows = list[tuple[Any, ...]]


class Contents:
    """The contents of a backup.

    Args:
        vault: where it is.
        manifest: the backup.
    """

    def __init__(self, vault: Vault, manifest: Manifest) -> None:
        self._vault, self._manifest = vault, manifest

    def section(self, name: str) -> tuple[Sequence[str], Iterator[Rows]]:
        """The columns of a section, and its groups of rows; of one that is not in the backup there are none."""
        section = self._manifest.sections.get(name)
        if section is None:
            return (), iter(())
        return section.columns, (self._vault.group(group.name) for group in section.groups)

    def find(self, entity_id: str, entity_type: str | None = None) -> ArchiveEntry:
        """The latest revision of a game.

        Raises:
            NotFoundError: if it is not in the backup; UsageError: if games of several types have the id.
        """
        key = encode_id(entity_id)
        place = self._manifest.sections["entries"].columns.index("entity_key")
        found: dict[str, ArchiveEntry] = {}
        for group in reversed(self._manifest.sections["entries"].groups):  # later revisions have higher numbers
            if key in self._vault.column(group.name, place):
                for entry in reversed(self._entries(group)):
                    if entry.entity_id == entity_id and entity_type in (None, entry.entity_type):
                        found.setdefault(entry.entity_type, entry)
            if found and entity_type is not None:
                break
        if len(found) > 1:
            types = ", ".join(sorted(found))
            raise UsageError(
                f"The id {entity_id!r} stands for games of several types: {types}.", hint=f"Say which with --type {min(found)}."
            )
        if not found:
            raise NotFoundError(f"No game {entity_id!r} is in this backup.", hint="Look into an earlier one with --at TIME.")
        return next(iter(found.values()))

    def sample(self, count: int, chance: random.Random) -> Iterator[ArchiveEntry]:
        """So many revisions of games, or all if there are no more, evenly out of all of them."""
        groups = self._manifest.sections["entries"].groups
        ends = list(accumulate(group.rows for group in groups))
        total = ends[-1] if ends else 0
        wanted = sorted(chance.sample(range(total), min(count, total)))
        for group, end in zip(groups, ends, strict=True):
            begin = end - group.rows
            chosen = [number - begin for number in wanted if begin <= number < end]
            if chosen:
                entries = self._entries(group)
                yield from (entries[number] for number in chosen)

    def _entries(self, group: Group) -> list[ArchiveEntry]:
        """The games of a group of entries, with as much of them as is needed to read them back."""
        columns = self._manifest.sections["entries"].columns
        found = []
        for cells in self._vault.group(group.name):
            row = dict(zip(columns, cells, strict=True))
            try:
                batch, pack = self._batches[row["batch_id"]], self._packs[row["pack_id"]]
                kind, content = self._words[batch["type_id"]]["word"], self._words[batch["content_type_id"]]["word"]
            except KeyError as error:
                raise IntegrityError(f"The backup has no row {error}, that another one refers to.") from error
            place = Place(pack["key"], row["frame_offset"], row["frame_bytes"], row["record_offset"])
            facts = Facts(created_at=row["created_at"], completed_at=row["completed_at"])
            stored = row["frame_bytes"] if row["stored_bytes"] is None else row["stored_bytes"]
            found.append(ArchiveEntry(
                kind, decode_id(row["entity_key"]), row["revision"], content, facts, Provenance(batch["archived_at"]),
                row["raw_bytes"], stored, row["checksum"], place,
            ))  # fmt: skip
        return found

    @cached_property
    def _words(self) -> dict[int, dict[str, Any]]:
        return self._by_number("words")

    @cached_property
    def _batches(self) -> dict[int, dict[str, Any]]:
        return self._by_number("batches")

    @cached_property
    def _packs(self) -> dict[int, dict[str, Any]]:
        return self._by_number("packs")

    def _by_number(self, section: str) -> dict[int, dict[str, Any]]:
        columns, groups = self.section(section)
        return {row[0]: dict(zip(columns, row, strict=True)) for rows in groups for row in rows}
