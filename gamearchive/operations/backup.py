"""A backup of the whole archive, made while it is worked on.

What the catalog names now is copied first, and takes as long as it takes. Then the archive is held, as all hold it who add to
it, so that nobody takes a pack away; one transaction of the database says what there is at that instant, and what came since
the first look is copied as well. So a backup is of one instant: catalog, journal and queue agree, and every pack that they
need is there. The manifest comes last, and with it the backup.

What lies in the vault already is not read again, whichever backup it came with; of the database every row is read, and only
groups of rows that are not there are written. A pack that is missing or damaged is told and does not keep the others out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from gamearchive.archive import Archive
from gamearchive.backups.locks import Lock
from gamearchive.backups.manifest import NOTES, Group, KeptDictionary, KeptPack, Manifest, Section, group_name
from gamearchive.backups.vault import Vault, dictionary_places, needs, pack_key, rows_key
from gamearchive.database import dump
from gamearchive.database.schema import REVISION
from gamearchive.errors import IntegrityError, LockedError, NotFoundError, UnsupportedError
from gamearchive.ownership import check_owner
from gamearchive.packs.format import verify_pack

HOLD_SECONDS = 60.0
"""How long a backup waits for one who has the archive to himself."""

_WRITERS, _IN_HAND = 4, 16
_LOOKS = 5
"""How often it is looked what there is, where packs are replaced by denser ones meanwhile."""

S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Copied:
    """A pack or a dictionary that was looked at: whether it is new in the vault, and how many bytes were written; or why it is
    not as it should be.
    """

    key: str
    new: bool = False
    written_bytes: int = 0
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """The backup, at the end."""

    backup_id: str
    manifest: Manifest
    new_packs: int
    reused_packs: int
    new_bytes: int


def back_up(
    archive: Archive,
    vault: Vault,
    lock: Lock,
    *,
    tag: str | None,
    settings: Mapping[str, Any],
    program: str,
    stopping: Callable[[], bool] = lambda: False,
) -> Iterator[Copied | Made]:
    """Make a backup.

    Args:
        archive: of what.
        vault: where to.
        lock: the vault's, shared.
        tag: what it is called.
        settings: what is kept of the settings.
        program: the version of this program.
        stopping: whether to leave; there is no backup then, and what was copied is not copied again by the next.

    Yields:
        Each pack, and last the backup.

    Raises:
        RefusedError: if the backups there are another archive's.
        UnsupportedError: if the archive's storage has no packs.
    """
    with archive.catalog.database.hold(shared=True, wait=HOLD_SECONDS):
        check_owner(archive.catalog, archive.holdings, claim=True)
    owner = archive.catalog.identity() or ""
    vault.claim(owner)
    with ThreadPoolExecutor(_WRITERS, thread_name_prefix="gamearchive-backup") as executor:
        run = _Run(archive, vault, lock, executor, vault.objects())
        for copied in run.copy((pack.key, pack.stored_bytes) for pack in archive.catalog.packs()):
            if copied.problem is None:
                yield copied
            else:  # it may have gone for good reasons: it is looked at again
                run.packs.pop(copied.key, None)
            if stopping():
                return
        with archive.catalog.database.hold(shared=True, wait=HOLD_SECONDS):
            for _ in range(_LOOKS):
                with archive.catalog.database.read() as connection:
                    created_at = archive.clock.now()
                    named, (games, revisions, raw_bytes) = dump.named(connection), dump.totals(connection)
                    sections = {section.name: run.keep(connection, section) for section in dump.sections()}
                if stopping():
                    return
                problems = []
                for copied in run.copy((key, size) for key, size in named.packs.items() if key not in run.packs):
                    if copied.problem is None:
                        yield copied
                    else:
                        problems.append(copied)
                    if stopping():
                        return
                if all(archive.catalog.has_pack(key) for key in run.lost):
                    break  # else denser packs have taken the place of some meanwhile
            yield from problems
            sections[NOTES] = run.keep_notes()
            dictionaries = []
            for (entity_type, number), checksum in named.dictionaries.items():
                kept, copied = run.learn(entity_type, number, checksum)
                dictionaries += [kept] if kept else []
                yield copied
    manifest = Manifest(
        archive=owner,
        created_at=created_at,
        tag=tag,
        program=program,
        schema=REVISION,
        settings=dict(settings),
        games=games,
        revisions=revisions,
        raw_bytes=raw_bytes,
        packs=[run.packs[key] for key in named.packs if key in run.packs],
        dictionaries=dictionaries,
        lost=run.lost,
        sections=sections,
    )
    new = [pack for pack in manifest.packs if pack.key in run.new]
    backup_id, size = _add(vault, lock, manifest)
    yield Made(backup_id, manifest, len(new), len(manifest.packs) - len(new), run.written + size)


def _add(vault: Vault, lock: Lock, manifest: Manifest) -> tuple[str, int]:
    """Write the manifest, and make sure that nobody has taken away meanwhile what it names."""
    lock.check()
    backup_id, size = vault.add(manifest)
    try:
        lock.check()
    except LockedError:
        if not needs(manifest).keys() <= vault.objects().keys():
            vault.remove(backup_id)
            raise
    return backup_id, size


class _Run:
    """One backup on its way."""

    def __init__(self, archive: Archive, vault: Vault, lock: Lock, executor: ThreadPoolExecutor, there: dict[str, int]) -> None:
        self._archive, self._vault, self._lock, self._executor, self._there = archive, vault, lock, executor, there
        self.packs: dict[str, KeptPack] = {}
        self.new: set[str] = set()
        self.lost: list[str] = []
        self.written = 0

    def copy(self, packs: Iterable[tuple[str, int]]) -> Iterator[Copied]:
        """Copy those packs that are not there."""
        self.lost = []
        for (key, _), kept in self._each(packs, lambda pack: self._copy(*pack)):
            if kept is None:
                self.lost.append(key)
                yield Copied(key, problem=f"Pack {key} is not in {self._archive.holdings.name}.")
                continue
            self.packs[key] = kept
            place = pack_key(kept)
            new = self._there.get(place) != kept.stored_bytes
            if new:
                self._there[place] = kept.stored_bytes
                self.new.add(key)
                self.written += kept.stored_bytes
            problem = f"Pack {key} is damaged: it is kept as it is." if kept.damaged else None
            yield Copied(key, new, kept.stored_bytes if new else 0, problem)

    def _copy(self, key: str, size: int) -> KeptPack | None:
        whole = KeptPack(key, size)
        if self._there.get(pack_key(whole)) == size:
            return whole
        try:
            data = self._archive.holdings.pack_bytes(key)
        except (NotFoundError, IntegrityError):
            return None
        try:
            verify_pack(key, data)
        except IntegrityError:
            return KeptPack(key, len(data), self._vault.put_damaged(data))
        self._vault.packs.put_pack(key, data)
        return KeptPack(key, len(data))

    def learn(self, entity_type: str, number: int, checksum: bytes) -> tuple[KeptDictionary | None, Copied]:
        """Copy a dictionary, both copies of it, if one is not there."""
        copies = self._archive.holdings.dictionary_copies(entity_type, number)
        places = dictionary_places(entity_type, number)
        good = next((copy for copy in copies.values() if copy and copy.checksum == checksum), None)
        if good is None:  # it may be good still in the vault
            copies = self._vault.packs.dictionary_copies(entity_type, number)
            good = next((copy for copy in copies.values() if copy and copy.checksum == checksum), None)
        if good is None:
            self.lost += copies
            return None, Copied(places[0], problem=f"Dictionary {number} of type {entity_type!r} is lost.")
        kept = KeptDictionary(entity_type, number, checksum.hex(), len(good.data))
        if all(self._there.get(place) == len(good.data) for place in places):
            return kept, Copied(places[0])
        self._vault.packs.put_dictionary(good)
        self.written += len(places) * len(good.data)
        return kept, Copied(places[0], new=True, written_bytes=len(places) * len(good.data))

    def keep(self, connection: Any, section: dump.Section) -> Section:
        """Keep the rows of a section."""
        groups: list[Group | None] = []

        def new() -> Iterator[tuple[int, str, list[dump.Row]]]:
            for place, rows in enumerate(dump.groups(connection, section)):
                name = group_name(rows)
                size = self._there.get(rows_key(name))
                groups.append(None if size is None else Group(name, len(rows), size))
                if size is None:
                    yield place, name, rows

        for (place, name, _), group in self._each(new(), lambda each: self._vault.put_group(*each[1:])):
            groups[place] = group
            self._there[rows_key(name)] = group.stored_bytes
            self.written += group.stored_bytes
        return Section(section.names, [group for group in groups if group is not None])

    def keep_notes(self) -> Section:
        """Keep the notes that lie beside the packs."""
        holdings = self._archive.holdings
        try:
            rows = [(name, holdings.note(name)) for name in sorted(holdings.notes())]
        except UnsupportedError:
            rows = []
        group = self._vault.put_group(group_name(rows), rows) if rows else None
        return Section(["name", "data"], [] if group is None else [group])

    def _each(self, items: Iterable[S], work: Callable[[S], T]) -> Iterator[tuple[S, T]]:
        """Each of them with what came of it, in their order. To write is to wait: some are worked on at once."""
        in_hand: deque[tuple[S, Future[T]]] = deque()
        for item in items:
            self._lock.renew()
            in_hand.append((item, self._executor.submit(work, item)))
            if len(in_hand) == _IN_HAND:
                first, done = in_hand.popleft()
                yield first, done.result()
        for item, done in in_hand:
            yield item, done.result()
