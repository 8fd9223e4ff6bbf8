"""A backup, put back: all of an archive into an empty place, whatever it is kept on there.

First the packs, then the database, all of it at once. Killed before that, this leaves a storage without a catalog, which is
gone on with when the same backup is put back there again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gamearchive.archive import Archive
from gamearchive.backups.contents import Contents
from gamearchive.backups.manifest import NOTES, KeptPack, Manifest
from gamearchive.backups.vault import Vault
from gamearchive.database import dump
from gamearchive.database.schema import REVISION
from gamearchive.errors import ExistsError, IntegrityError, NotFoundError, RefusedError, SchemaError, StoppedError

_ELSEWHERE = "Name an empty place with --to HOME, or with --database and --storage."


@dataclass(frozen=True, slots=True)
class PutBack:
    """A pack that was put back, or rows of the database; or why that cannot be done."""

    pack: str | None
    rows: int = 0
    written_bytes: int = 0
    problem: str | None = None


def put_back(
    vault: Vault, manifest: Manifest, archive: Archive, *, stopping: Callable[[], bool] = lambda: False
) -> Iterator[PutBack]:
    """Put a backup back.

    Args:
        vault: where it is.
        manifest: the backup.
        archive: where it goes: nothing is there yet.
        stopping: whether to leave.

    Yields:
        Each pack, and then the rows.

    Raises:
        ExistsError: if there is an archive already; RefusedError: if the storage is another's.
        SchemaError: if this program cannot take the backup's rows.
        StoppedError: if it was left.
    """
    _check(manifest, archive)
    archive.holdings.claim(manifest.archive)
    archive.holdings.sweep()
    yield from _put_dictionaries(vault, manifest, archive)  # first: a storage may look into the packs that it is given
    there = {held.key: held.stored_bytes for held in archive.holdings.packs()}
    for kept in manifest.packs:
        if stopping():
            raise _stopped()
        if kept.damaged or there.get(kept.key) != kept.stored_bytes:
            yield _put_pack(vault, kept, archive)
    for key in manifest.lost:
        yield PutBack(key, problem=f"{key} was lost already when the backup was made.")
    contents = Contents(vault, manifest)
    for notes in contents.section(NOTES)[1]:
        for name, data in notes:
            archive.holdings.put_note(name, data)
    with archive.catalog.database.anew() as fresh:
        for rows in dump.put_back(fresh, contents.section):
            if stopping():
                raise _stopped()
            yield PutBack(None, rows=rows)


def _check(manifest: Manifest, archive: Archive) -> None:
    """Make sure that nothing is there, or what is left of the same backup's being put back."""
    holdings, database = archive.holdings, archive.catalog.database
    if manifest.schema != REVISION:
        raise SchemaError(
            f"The backup's database is of version {manifest.schema}, and this program's of version {REVISION}.",
            hint=f"Put it back with the version of gamearchive that made it: {manifest.program}.",
        )
    if database.exists():
        with database.read() as connection:
            if not dump.is_empty(connection):
                raise ExistsError(f"There is an archive in {database.name} already.", hint=_ELSEWHERE)
    owner = holdings.owner()
    if owner != manifest.archive and (owner is not None or next(holdings.packs(), None) is not None):
        raise RefusedError(f"There are packs of another archive in {holdings.name}.", hint=_ELSEWHERE)


def _put_dictionaries(vault: Vault, manifest: Manifest, archive: Archive) -> Iterator[PutBack]:
    for each in manifest.dictionaries:
        copies = vault.packs.dictionary_copies(each.entity_type, each.id).values()
        good = next((copy for copy in copies if copy and copy.checksum.hex() == each.checksum), None)
        if good is None:
            yield PutBack(None, problem=f"Dictionary {each.id} of type {each.entity_type!r} is missing or damaged.")
        else:
            archive.holdings.put_dictionary(good)


def _put_pack(vault: Vault, kept: KeptPack, archive: Archive) -> PutBack:
    try:
        data = vault.pack(kept)
    except (IntegrityError, NotFoundError) as error:
        return PutBack(kept.key, problem=f"Pack {kept.key} cannot be put back: {error.message}")
    archive.holdings.put_pack(kept.key, data)
    problem = f"Pack {kept.key} was damaged already when the backup was made." if kept.damaged else None
    return PutBack(kept.key, written_bytes=len(data), problem=problem)


def _stopped() -> StoppedError:
    return StoppedError("Stopped: there is no archive yet.", hint="Run the same command again: it goes on where it ended.")
