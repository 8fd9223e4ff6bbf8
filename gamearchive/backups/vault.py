"""Where the backups of one archive lie: a store of objects that are written once and named by what they hold.

::

    gamearchive-backups                  the id of the archive
    backups/<instant>-<checksum>.json.zst   a manifest, written last: what it names is all there
    packs/...                            packs and dictionaries, under the keys that they have in the archive's storage
    rows/<two digits>/<checksum>.zst     groups of rows
    damaged/<checksum>.zst               packs that were damaged already when they were kept
    locks/...                            who is at work here: see `backups.locks`

A backup is its manifest, so that making one is one step: killed before it, there are objects that nobody names, which the next
backup finds, and `forget` drops. Nothing in it is needed of the archive itself. Of two backups what is the same is there once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, NamedTuple

from gamearchive.backends.packed import PackHoldings
from gamearchive.backups.manifest import (
    Group,
    KeptPack,
    Manifest,
    decode_column,
    decode_group,
    decode_manifest,
    encode_group,
    encode_manifest,
)
from gamearchive.errors import IntegrityError, NoArchiveError, NotFoundError, RefusedError, SchemaError
from gamearchive.model import CHECKSUM_BYTES
from gamearchive.packs.dictionary import Dictionary, dictionary_keys
from gamearchive.packs.format import verify_pack
from gamearchive.stores.base import Store
from gamearchive.stores.prefix import PrefixStore

_OWNER_KEY = "gamearchive-backups"
_ARCHIVES_OWN = "gamearchive-id"
_BACKUPS, _PACKS, _ROWS, _DAMAGED = "backups/", "packs/", "rows/", "damaged/"
_BACKUP = re.compile(r"backups/(?P<id>\d{8}T\d{6}\.\d{6}Z-(?P<checksum>[0-9a-f]{8}))\.json\.zst")
_OWNER = re.compile(rb"[0-9a-f]{32}\n?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Backup(NamedTuple):
    """A backup that is there: its id, its manifest or what is wrong with that, and the manifest's length."""

    id: str
    manifest: Manifest | IntegrityError | SchemaError
    stored_bytes: int


class Vault:
    """The backups in a store.

    Args:
        store: which.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.packs = PackHoldings(PrefixStore(store, _PACKS))

    @property
    def name(self) -> str:
        """Where it is, for people, without secrets."""
        return self.store.url

    def owner(self) -> str | None:
        """The id of the archive whose backups these are; None where there never were any.

        Raises:
            IntegrityError: if the mark that says so is damaged.
        """
        try:
            mark = self.store.get(_OWNER_KEY)
        except NotFoundError:
            return None
        if not _OWNER.fullmatch(mark):
            raise IntegrityError(
                f"The mark that says whose backups these are, {_OWNER_KEY} in {self.name}, is damaged.",
                hint=f"Write the archive's id into it, or remove it if all backups in {self.name} are of one archive.",
            )
        return mark.decode().strip()

    def claim(self, archive_id: str) -> None:
        """Make this the place of an archive's backups.

        Raises:
            RefusedError: if it is another's, or a storage that an archive works with.
        """
        if any(self.store.size(key) is not None for key in (_ARCHIVES_OWN, f"{_PACKS}{_ARCHIVES_OWN}")):
            raise RefusedError(
                f"In {self.name} an archive itself keeps its packs.", hint="Name another folder or bucket for the backups."
            )
        owner = self.owner()
        if owner is None:
            self.store.put_new(_OWNER_KEY, f"{archive_id}\n".encode())
            owner = self.owner()
        if owner != archive_id:
            raise RefusedError(
                f"The backups in {self.name} are those of another archive.",
                hint="Name another folder or bucket: each archive's backups have one of their own.",
            )

    def require(self) -> None:
        """Make sure that this is a place of backups.

        Raises:
            NoArchiveError: if it is not.
        """
        if self.owner() is None:
            raise NoArchiveError(
                f"There are no backups in {self.name}.", hint="Make one with `gamearchive backup create DEST`."
            )

    def backups(self) -> Iterator[Backup]:
        """All backups, the oldest first."""
        for held in self.store.list(_BACKUPS):
            if found := _BACKUP.fullmatch(held.key):
                try:
                    yield Backup(found["id"], self._manifest(held.key, found["checksum"]), held.size)
                except (IntegrityError, SchemaError) as error:
                    yield Backup(found["id"], error, held.size)
                except NotFoundError:  # forgotten just now
                    continue

    def _manifest(self, key: str, checksum: str) -> Manifest:
        data = self.store.get(key)
        subject = f"The backup {key} in {self.name}"
        if _checksum(data)[:8] != checksum:
            raise IntegrityError(f"{subject} is damaged: its bytes are not those that it is named by.", hint=_FORGET)
        return decode_manifest(data, subject)

    def find(self, at: int | None = None) -> tuple[str, Manifest]:
        """The latest backup, or the latest that was made not after an instant.

        Raises:
            NotFoundError: if there is none; IntegrityError: if its manifest is damaged.
        """
        self.require()
        there = [found for held in self.store.list(_BACKUPS) if (found := _BACKUP.fullmatch(held.key))]
        for found in reversed(there):
            if at is None or _instant_of(found["id"]) <= at:
                return found["id"], self._manifest(found[0], found["checksum"])
        raise NotFoundError(
            f"There is no backup in {self.name}{' that is as old' if there else ''}.",
            hint="List them with `gamearchive backup list DEST`.",
        )

    def add(self, manifest: Manifest) -> tuple[str, int]:
        """Make a backup, of what is all there already; its id, and the manifest's length."""
        data = encode_manifest(manifest)
        backup_id = f"{_EPOCH + timedelta(microseconds=manifest.created_at):%Y%m%dT%H%M%S.%fZ}-{_checksum(data)[:8]}"
        self.store.put(_backup_key(backup_id), data)
        return backup_id, len(data)

    def remove(self, backup_id: str) -> bool:
        """Take a backup away; what it names stays."""
        return self.store.delete(_backup_key(backup_id))

    def objects(self) -> dict[str, int]:
        """The keys of all that backups may name, with their lengths."""
        return {held.key: held.size for prefix in (_DAMAGED, _PACKS, _ROWS) for held in self.store.list(prefix)}

    def delete(self, key: str) -> bool:
        """Take an object away that no backup names."""
        return self.store.delete(key)

    def put_group(self, name: str, rows: Sequence[Sequence[Any]]) -> Group:
        """Keep a group of rows under its name."""
        data = encode_group(rows)
        self.store.put(rows_key(name), data)
        return Group(name, len(rows), len(data))

    def group(self, name: str) -> list[tuple[Any, ...]]:
        """The rows of a group.

        Raises:
            NotFoundError: if it is not there; IntegrityError: if it is damaged.
        """
        return decode_group(name, self.store.get(rows_key(name)))

    def column(self, name: str, place: int) -> list[Any]:
        """One column of a group, whose other columns are not looked at.

        Raises:
            NotFoundError: if it is not there; IntegrityError: if it cannot be read.
        """
        return decode_column(name, self.store.get(rows_key(name)), place)

    def put_damaged(self, data: bytes) -> str:
        """Keep a pack that is damaged, so that what can be read of it is kept; its checksum."""
        checksum = _checksum(data)
        self.store.put(f"{_DAMAGED}{checksum}.zst", data)
        return checksum

    def pack(self, kept: KeptPack) -> bytes:
        """All bytes of a pack, as they were when it was kept.

        Raises:
            NotFoundError: if it is not there; IntegrityError: if it is damaged since.
        """
        if kept.damaged is None:
            data = self.packs.pack_bytes(kept.key)
            verify_pack(kept.key, data)
            return data
        data = self.store.get(f"{_DAMAGED}{kept.damaged}.zst")
        if _checksum(data) != kept.damaged:
            raise IntegrityError(f"What was kept of the damaged pack {kept.key} is damaged since.")
        return data

    def check(self, key: str) -> None:
        """Read an object, and make sure that every byte of it is what its name says.

        Raises:
            NotFoundError: if it is not there; IntegrityError: if it is damaged.
        """
        data, name = self.store.get(key), key.rpartition("/")[2].partition(".")[0]
        if key.startswith(_ROWS):
            decode_group(name, data)
        elif key.endswith(".zdict"):
            Dictionary.from_bytes(key.removeprefix(_PACKS), data)
        elif _checksum(data) != name:
            raise IntegrityError(f"{key} in {self.name} is damaged: its bytes are not those that it is named by.")

    def sweep(self) -> None:
        """Clear away what writers that died left half written."""
        self.store.sweep()

    def close(self) -> None:
        """Let go of what is open."""
        self.store.close()


def rows_key(name: str) -> str:
    """Where a group lies."""
    return f"{_ROWS}{name[:2]}/{name}.zst"


def pack_key(kept: KeptPack) -> str:
    """Where a pack lies."""
    return f"{_PACKS}{kept.key}" if kept.damaged is None else f"{_DAMAGED}{kept.damaged}.zst"


def dictionary_places(entity_type: str, number: int) -> list[str]:
    """Where the copies of a dictionary lie."""
    return [f"{_PACKS}{key}" for key in dictionary_keys(entity_type, number)]


def needs(manifest: Manifest) -> dict[str, int]:
    """All that a backup names: the keys, with their lengths."""
    needed = {pack_key(pack): pack.stored_bytes for pack in manifest.packs}
    for each in manifest.dictionaries:
        needed |= dict.fromkeys(dictionary_places(each.entity_type, each.id), each.stored_bytes)
    for section in manifest.sections.values():
        needed |= {rows_key(group.name): group.stored_bytes for group in section.groups}
    return needed


def _backup_key(backup_id: str) -> str:
    return f"{_BACKUPS}{backup_id}.json.zst"


def _instant_of(backup_id: str) -> int:
    made = datetime.strptime(backup_id.partition("-")[0], "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC)
    return (made - _EPOCH) // timedelta(microseconds=1)


def _checksum(data: bytes) -> str:
    return blake2b(data, digest_size=CHECKSUM_BYTES).hexdigest()


_FORGET = "Remove it: the other backups do not need it."
