"""A drill: some games are taken out of a backup, as if there were nothing else, and looked at.

Each is read from the vault, written to a file, read back, and held against the checksum that the catalog had of it; what is
JSON or PGN must be that. So it is proven that backups can be restored from before they must be.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gamearchive import files
from gamearchive.backups.contents import Contents
from gamearchive.backups.manifest import Manifest
from gamearchive.backups.vault import Vault
from gamearchive.errors import IntegrityError, NotFoundError
from gamearchive.model import JSON, PGN, ArchiveEntry, checksum, media_type


@dataclass(frozen=True, slots=True)
class Drilled:
    """A game that was restored; or what is wrong with it."""

    entry: ArchiveEntry
    problem: str | None = None


def drill(
    vault: Vault,
    manifest: Manifest,
    folder: Path,
    count: int,
    chance: random.Random,
    *,
    stopping: Callable[[], bool] = lambda: False,
) -> Iterator[Drilled]:
    """Restore a sample.

    Args:
        vault: where from.
        manifest: the backup.
        folder: an empty one, to write them to.
        count: so many revisions of games, or all if there are no more.
        chance: what chooses them.
        stopping: whether to leave.
    """
    for number, entry in enumerate(Contents(vault, manifest).sample(count, chance)):
        if stopping():
            return
        path = folder / str(number)
        try:
            files.put(path, vault.packs.get(entry), overwrite=False)
            yield Drilled(entry, _problem(entry, files.read_range(path)))
            files.remove(path)
        except (IntegrityError, NotFoundError) as error:
            yield Drilled(entry, error.message)


def _problem(entry: ArchiveEntry, data: bytes) -> str | None:
    """What is wrong with a game that was restored."""
    if len(data) != entry.raw_bytes or checksum(data) != entry.checksum:
        return "it is not what was archived: its checksum differs"
    kind = media_type(entry.content_type)
    try:
        if kind == JSON:
            json.loads(data)
        elif kind == PGN:
            data.decode()
    except (ValueError, RecursionError) as error:
        return f"it cannot be read as {entry.content_type}: {error}"
    return None
