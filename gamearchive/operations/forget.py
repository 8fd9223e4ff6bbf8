"""Backups that are wanted no more, and what no backup names any more, taken away.

First the backups go, then what they alone needed: killed in between, this leaves objects that the next run takes away. While
one backup cannot be read, nobody knows what it needs, and no object goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gamearchive.backups.keeping import Keep, reasons_to_keep
from gamearchive.backups.locks import Lock
from gamearchive.backups.manifest import Manifest
from gamearchive.backups.vault import Vault, needs
from gamearchive.errors import IntegrityError, RefusedError, RetainedError


@dataclass(frozen=True, slots=True)
class Decided:
    """A backup, and the reasons to keep it; with none of them it is forgotten."""

    backup_id: str
    manifest: Manifest
    reasons: list[str]


@dataclass(frozen=True, slots=True)
class Dropped:
    """An object that no backup names, and its length; or the date until which its storage retains it."""

    key: str
    stored_bytes: int
    retained: str | None = None


def forget(
    vault: Vault, lock: Lock | None, keep: Keep, now: int, *, stopping: Callable[[], bool] = lambda: False
) -> Iterator[Decided | Dropped]:
    """Forget backups.

    Args:
        vault: whose.
        lock: the vault's, that nobody else has; None to change nothing.
        keep: which stay.
        now: the present instant.
        stopping: whether to leave.

    Yields:
        Each backup, the oldest first, and then what goes with those that are forgotten.

    Raises:
        IntegrityError: if a backup cannot be read.
        RefusedError: if none would stay.
    """
    manifests = _manifests(vault)
    instants = [(backup_id, manifest.created_at) for backup_id, manifest in manifests.items()]
    reasons = reasons_to_keep(instants, keep, now)
    if manifests and not any(reasons.values()):
        raise RefusedError("None of the backups would stay.", hint="Keep one at least: --keep-last 1.")
    for backup_id, manifest in manifests.items():
        if lock is not None and not reasons[backup_id]:
            if stopping():
                return
            lock.check()
            vault.remove(backup_id)
        yield Decided(backup_id, manifest, reasons[backup_id])
    needed = {key for backup_id, manifest in manifests.items() if reasons[backup_id] for key in needs(manifest)}
    for key, size in vault.objects().items():
        if key in needed:
            continue
        if stopping():
            return
        try:
            if lock is not None:
                lock.renew()
                vault.delete(key)
        except RetainedError as error:
            yield Dropped(key, size, error.message)
        else:
            yield Dropped(key, size)
    if lock is not None:
        vault.sweep()


def _manifests(vault: Vault) -> dict[str, Manifest]:
    """All backups, the oldest first."""
    manifests: dict[str, Manifest] = {}
    for backup in vault.backups():
        if not isinstance(backup.manifest, Manifest):
            raise IntegrityError(
                f"Backup {backup.id} cannot be read, and so nobody knows what it needs: {backup.manifest.message}",
                hint=backup.manifest.hint,
            )
        manifests[backup.id] = backup.manifest
    return manifests
