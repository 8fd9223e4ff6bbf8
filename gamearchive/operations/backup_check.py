"""Are the backups what they say they are? All that they name, looked for, and, if asked, read byte by byte.

Each object is looked at once, however many backups name it. Nothing is needed of the archive itself, and nothing is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from gamearchive.backups.manifest import Manifest
from gamearchive.backups.vault import Vault, needs
from gamearchive.errors import IntegrityError, NotFoundError


@dataclass(frozen=True, slots=True)
class Found:
    """A finding: ``damaged`` or ``missing``, about an object that some backups need."""

    finding: str
    object: str
    reason: str
    backups: Sequence[str]


@dataclass(frozen=True, slots=True)
class Looked:
    """What was looked at: a backup's manifest, or an object that backups name, with so many bytes that were read."""

    backup_id: str | None
    read_bytes: int = 0
    found: Found | None = None


def check_backups(vault: Vault, *, full: bool = False, stopping: Callable[[], bool] = lambda: False) -> Iterator[Looked]:
    """Check all backups.

    Args:
        vault: whose.
        full: read every byte, and not only lengths.
        stopping: whether to leave.
    """
    vault.require()
    needed: dict[str, int] = {}
    for backup in vault.backups():
        if isinstance(backup.manifest, Manifest):
            needed |= needs(backup.manifest)
            yield Looked(backup.id, backup.stored_bytes)
        else:
            reason = backup.manifest.message
            yield Looked(backup.id, found=Found("damaged", f"backups/{backup.id}.json.zst", reason, [backup.id]))
    there = vault.objects()
    for key, size in sorted(needed.items()):
        if stopping():
            return
        wrong = _look(vault, key, size, there.get(key), full=full)
        found = None if wrong is None else Found(wrong[0], key, wrong[1], _naming(vault, key))
        yield Looked(None, there.get(key, 0) if full else 0, found)


def _look(vault: Vault, key: str, size: int, there: int | None, *, full: bool) -> tuple[str, str] | None:
    """What is wrong with an object, and why; None if nothing is."""
    if there is None:
        return "missing", "it is not there"
    if there != size:
        return "damaged", f"it has {there:,} bytes, and not {size:,}"
    try:
        if full:
            vault.check(key)
    except (NotFoundError, IntegrityError) as error:
        return ("missing" if isinstance(error, NotFoundError) else "damaged"), error.message
    return None


def _naming(vault: Vault, key: str) -> list[str]:
    """The backups that name an object."""
    read = ((backup.id, backup.manifest) for backup in vault.backups())
    return [backup_id for backup_id, manifest in read if isinstance(manifest, Manifest) and key in needs(manifest)]
