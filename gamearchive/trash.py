"""The trash: games that have expired and can still be brought back; and the only way that games leave the catalog for good.

An expired game is in no listing from then on. Its rows stay as they are, all revisions of it, but for a mark
(``entries.superseded``); so bringing it back is exact. Rows go when the time for that is over, and packs that nothing is in any
more go with them. Nothing gets into the trash, or out of the catalog, that a hold keeps or that is in play or on its way into
the archive once more: whoever deletes comes by here.

An id in the trash is free: a game that comes again under it is archived, as the next revision.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, delete, func, literal_column, select, update

from gamearchive.candidates import Listed
from gamearchive.catalog import Catalog
from gamearchive.database import holds as hold_rows
from gamearchive.database.schema import (
    IN_TRASH,
    batch_tags,
    batches,
    damages,
    entity_keys,
    entries,
    expirations,
    game_key,
    jobs,
    packs,
    snapshots,
)
from gamearchive.holds import Hold, Holds
from gamearchive.model import ArchiveEntry, EntityKey, decode_id

CHUNK = 300
"""So many games change in one transaction, so that nobody waits for it for long."""

# Each as the condition of one of the indexes on `jobs`, which serve no other.
_CURRENT = ("jobs.state IN (0, 2)", "jobs.state = 1", "jobs.state = 3")


@dataclass(slots=True)
class Sorted:
    """What may become of some games that are to go: ``going`` may; ``held`` are kept by a hold, ``busy`` because they are in
    play or wait to be archived, and ``changed`` are no longer what they were, or not there.
    """

    going: list[int] = field(default_factory=list)
    held: dict[int, Hold] = field(default_factory=dict)
    busy: list[int] = field(default_factory=list)
    changed: list[int] = field(default_factory=list)
    stored_bytes: int = 0


class Expired(NamedTuple):
    """A game in the trash: which revisions of it, by when the last of them was archived, and since when."""

    key: EntityKey
    archived_until: int
    expired_at: int


class Due(NamedTuple):
    """A revision whose time in the trash is over, and its pack."""

    number: int
    pack: int


class Trash:
    """The trash of a catalog.

    Args:
        catalog: the catalog.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._database = catalog.database

    def holds(self) -> list[Hold]:
        """All holds, those that have ended too."""
        with self._database.read() as connection:
            return _holds(connection)

    def hold(self, wanted: Sequence[Hold]) -> list[Hold]:
        """Add holds; they, with their numbers."""
        with self._database.write() as connection:
            free = hold_rows.next_number(connection)
            numbered = [replace(hold, number=number) for number, hold in enumerate(wanted, free)]
            hold_rows.add(connection, map(_row, numbered))
        return numbered

    def hold_again(self, holds: Sequence[Hold]) -> None:
        """Give a new catalog the holds that there were."""
        with self._database.write() as connection:
            hold_rows.add(connection, map(_row, holds))

    def release(self, numbers: Collection[int]) -> int:
        """Take holds away; how many there were."""
        with self._database.write() as connection:
            return hold_rows.remove(connection, numbers)

    def sort(self, numbers: Sequence[int], now: int) -> Sorted:
        """What would become of games if they were to expire, each by the number of its latest revision."""
        with self._database.read() as connection:
            return self._sort(connection, numbers, now)[0]

    def entries(self, numbers: Sequence[int]) -> list[tuple[int, ArchiveEntry]]:
        """The entries of these numbers that are there, in the order of their numbers."""
        with self._database.read() as connection:
            statement = select(*entries.c).where(self._database.among(entries.c.id, numbers)).order_by(entries.c.id)
            rows = connection.execute(statement).all()
            return [(row[0], entry) for row, entry in zip(rows, self._catalog.load(connection, rows), strict=True)]

    def expire(self, numbers: Sequence[int], now: int) -> Sorted:
        """Put games into the trash, at most `CHUNK` of them, each by the number of its latest revision.

        Returns:
            What became of them.
        """
        with self._database.write() as connection:
            found, rows = self._sort(connection, numbers, now)
            going = set(found.going)
            chosen = [row for row in rows if row.id in going]
            revisions = [*found.going, *self._earlier(connection, [row for row in chosen if row.revision > 1])]
            self._database.insert(connection, expirations, [(number, now) for number in revisions])
            raised = func.coalesce(entries.c.superseded, 0) + IN_TRASH
            moved = update(entries).where(self._database.among(entries.c.id, revisions))
            connection.execute(moved.values(superseded=raised))
        return found

    def expire_again(self, expired: Mapping[EntityKey, Expired], taken: Sequence[ArchiveEntry]) -> None:
        """Put games that a new catalog has just taken in back where they were: into the trash."""
        wanted = {entry.key for entry in taken if _covers(expired.get(entry.key), entry)}
        if not wanted:
            return
        with self._database.write() as connection:
            for key in wanted:
                since = expired[key].expired_at
                rows = [row for row in self._revisions(connection, key) if row.superseded is None]
                numbers = [row.id for row in rows]
                revisions = [*numbers, *self._earlier(connection, rows)]
                self._database.insert(connection, expirations, [(number, since) for number in revisions])
                raised = func.coalesce(entries.c.superseded, 0) + IN_TRASH
                connection.execute(update(entries).where(entries.c.id.in_(revisions)).values(superseded=raised))

    def bring_back(self, key: EntityKey) -> int:
        """Take a game out of the trash, with all its revisions; how many they are. One that was archived anew meanwhile stays
        what it is, and has these for earlier revisions.
        """
        with self._database.write() as connection:
            rows = self._revisions(connection, key)
            back = [row for row in rows if row.superseded is not None and row.superseded >= IN_TRASH]
            anew = len(back) < len(rows)
            latest = max((row.revision for row in back), default=0)
            for row in back:
                state = None if row.revision == latest and not anew else 1
                connection.execute(update(entries).where(entries.c.id == row.id).values(superseded=state))
            connection.execute(delete(expirations).where(expirations.c.entry_id.in_([row.id for row in back])))
            return len(back)

    def find(self, entity_id: str, entity_type: str | None = None) -> list[tuple[ArchiveEntry, int]]:
        """What is in the trash under an id: of each type the latest revision, and when it expired."""
        key, number = game_key(entity_id)
        joined = entries.join(entity_keys, entity_keys.c.entry_id == entries.c.id)
        statement = (
            select(*entries.c, *[expirations.c.expired_at])
            .select_from(joined.join(expirations, expirations.c.entry_id == entries.c.id))
            .where(entity_keys.c.hash == number, entries.c.entity_key == key, entries.c.superseded == IN_TRASH)
            .order_by(entries.c.id)
        )
        with self._database.read() as connection:
            rows = connection.execute(statement).all()
            found = zip(self._catalog.load(connection, rows), rows, strict=True)
            latest = {entry.entity_type: (entry, row.expired_at) for entry, row in found}
        return [each for name, each in sorted(latest.items()) if entity_type in (None, name)]

    def contents(self) -> Iterator[Expired]:
        """All that is in the trash, in the order in which it was archived."""
        after = 0
        while True:
            statement = (
                select(entries.c.id, entries.c.entity_key, entries.c.batch_id, expirations.c.expired_at)
                .join(expirations, expirations.c.entry_id == entries.c.id)
                .where(entries.c.superseded == IN_TRASH, expirations.c.entry_id > after)
                .order_by(expirations.c.entry_id)
                .limit(CHUNK * 10)
            )
            with self._database.read() as connection:
                rows = connection.execute(statement).all()
                shared = self._catalog.names.batches(connection, {row.batch_id for row in rows})
            for row in rows:
                batch = shared[row.batch_id]
                key = EntityKey(batch.entity_type, decode_id(row.entity_key))
                yield Expired(key, batch.provenance.archived_at, row.expired_at)
            if not rows:
                return
            after = rows[-1].id

    def due(self, expired_until: int) -> list[Due]:
        """The revisions that expired then or before."""
        statement = (
            select(entries.c.id, entries.c.pack_id)
            .join(expirations, expirations.c.entry_id == entries.c.id)
            .where(expirations.c.expired_at <= expired_until)
            .order_by(entries.c.id)
        )
        with self._database.read() as connection:
            return [Due(row[0], row[1]) for row in connection.execute(statement)]

    def purge(self, due: Sequence[Due], now: int) -> int:
        """Take revisions in the trash out of the catalog, at most `CHUNK` of them, but those that a hold keeps by now, and
        those that lie in another pack by now; how many went.
        """
        packs_of = dict(due)
        with self._database.write() as connection:
            among = self._database.among(entries.c.id, list(packs_of))
            statement = select(*entries.c).where(among, entries.c.superseded >= IN_TRASH)
            rows = [row for row in connection.execute(statement) if row.pack_id == packs_of[row.id]]
            holds = Holds(_holds(connection))
            if holds:
                loaded = self._catalog.load(connection, rows)
                rows = [row for row, entry in zip(rows, loaded, strict=True) if not holds.on(Listed(entry), now)]
            self._remove(connection, rows)
        return len(rows)

    def held(self, due: Sequence[Due], now: int) -> set[int]:
        """Which of these revisions a hold keeps: all those of a game that it is on one of."""
        holds = Holds(self.holds())
        if not holds:
            return set()
        keys: dict[EntityKey, list[int]] = {}
        kept: set[EntityKey] = set()
        for start in range(0, len(due), CHUNK):
            for number, entry in self.entries([each.number for each in due[start : start + CHUNK]]):
                keys.setdefault(entry.key, []).append(number)
                if holds.on(Listed(entry), now):
                    kept.add(entry.key)
        return {number for key in kept for number in keys[key]}

    def names_of(self, due: Sequence[Due]) -> Iterator[tuple[str, EntityKey, int]]:
        """Of these revisions the pack, the game, and when it was archived."""
        statement = select(*[entries.c[name] for name in ("entity_key", "batch_id", "pack_id")])
        with self._database.read() as connection:
            among = self._database.among(entries.c.id, [each.number for each in due])
            rows = connection.execute(statement.where(among)).all()
            shared = self._catalog.names.batches(connection, {row.batch_id for row in rows})
            keys = self._catalog.names.packs(connection, {row.pack_id for row in rows})
        for row in rows:
            batch = shared[row.batch_id]
            yield keys[row.pack_id], EntityKey(batch.entity_type, decode_id(row.entity_key)), batch.provenance.archived_at

    def empty_packs(self) -> list[str]:
        """The packs that nothing in the catalog lies in any more."""
        within = entries.c.id.between(packs.c.first_id, packs.c.last_id) & (entries.c.pack_id == packs.c.id)
        statement = select(packs.c.key).where(~select(entries.c.id).where(within).exists()).order_by(packs.c.key)
        with self._database.read() as connection:
            return list(connection.scalars(statement))

    def forget_packs(self, keys: Sequence[str]) -> None:
        """Take packs that are gone out of the catalog, all but the newest: the next one's number follows on its number, and
        none is given twice.
        """
        with self._database.write() as connection:
            newest = connection.scalar(select(func.max(packs.c.id))) or 0
            connection.execute(delete(packs).where(packs.c.key.in_(keys), packs.c.id < newest))

    def forget_batches(self) -> None:
        """Take batches that have no games any more out of the catalog, all but the newest, likewise."""
        within = entries.c.id.between(batches.c.first_id, batches.c.last_id)
        with self._database.read() as connection:
            newest = connection.scalar(select(func.max(batches.c.id))) or 0
            empty = select(batches.c.id).where(~select(entries.c.id).where(within).exists(), batches.c.id < newest)
            numbers = list(connection.scalars(empty))
        for start in range(0, len(numbers), CHUNK):
            some = numbers[start : start + CHUNK]
            with self._database.write() as connection:
                connection.execute(delete(batch_tags).where(self._database.among(batch_tags.c.batch_id, some)))
                connection.execute(delete(batches).where(self._database.among(batches.c.id, some)))

    def _sort(self, connection: Connection, numbers: Sequence[int], now: int) -> tuple[Sorted, Sequence[Row[Any]]]:
        statement = select(*entries.c).where(self._database.among(entries.c.id, numbers), entries.c.superseded.is_(None))
        rows = connection.execute(statement.order_by(entries.c.id)).all()
        there = {row.id for row in rows}
        found = Sorted(changed=[number for number in numbers if number not in there])
        busy = self._busy(connection, numbers)
        holds = Holds(_holds(connection))
        loaded = self._catalog.load(connection, rows) if holds else ()
        kept = {row.id: hold for row, entry in zip(rows, loaded, strict=False) if (hold := holds.on(Listed(entry), now))}
        for row in rows:
            if row.id in kept:
                found.held[row.id] = kept[row.id]
            elif row.id in busy:
                found.busy.append(row.id)
            else:
                found.going.append(row.id)
                found.stored_bytes += row.frame_bytes if row.stored_bytes is None else row.stored_bytes
        return found, rows

    def _busy(self, connection: Connection, numbers: Sequence[int]) -> set[int]:
        """Which of these are in play, or on their way into the archive."""
        among = self._database.among(entries.c.id, numbers)
        named = select(entries.c.id, entries.c.batch_id)
        statements = [
            named.add_columns(snapshots.c.entity_type).join(snapshots, snapshots.c.entity_key == entries.c.entity_key),
            *[
                named.add_columns(jobs.c.entity_type)
                .join(jobs, jobs.c.entity_key == entries.c.entity_key)
                .where(literal_column(state))
                for state in _CURRENT
            ],
        ]
        rows = [row for statement in statements for row in connection.execute(statement.where(among))]
        shared = self._catalog.names.batches(connection, {row.batch_id for row in rows})
        return {row.id for row in rows if shared[row.batch_id].entity_type == row.entity_type}

    def _earlier(self, connection: Connection, latest: Sequence[Row[Any]]) -> list[int]:
        """The numbers of the earlier revisions of these games that are not in the trash."""
        found: list[int] = []
        for row in latest:
            entity_type = self._catalog.names.batches(connection, {row.batch_id})[row.batch_id].entity_type
            revisions = self._revisions(connection, EntityKey(entity_type, decode_id(row.entity_key)))
            found += [each.id for each in revisions if each.superseded == 1 and each.id != row.id]
        return found

    def _revisions(self, connection: Connection, key: EntityKey) -> list[Row[Any]]:
        """All revisions of a game, in the trash or not."""
        stored, number = game_key(key.entity_id)
        statement = (
            select(*[entries.c[name] for name in ("id", "revision", "superseded", "batch_id", "entity_key")])
            .join(entity_keys, entity_keys.c.entry_id == entries.c.id)
            .where(entity_keys.c.hash == number, entries.c.entity_key == stored)
            .order_by(entries.c.revision)
        )
        rows = connection.execute(statement).all()
        shared = self._catalog.names.batches(connection, {row.batch_id for row in rows})
        return [row for row in rows if shared[row.batch_id].entity_type == key.entity_type]

    def _remove(self, connection: Connection, rows: Sequence[Row[Any]]) -> None:
        """Take rows out of all the tables that have something of an entry."""
        numbers = [row.id for row in rows]
        loaded = self._database.players.loaded
        self._database.players.remove(connection, [(row.id, loaded(row.players)) for row in rows])
        hashes = {game_key(decode_id(row.entity_key))[1] for row in rows}
        among = self._database.among
        found = among(entity_keys.c.hash, hashes) & among(entity_keys.c.entry_id, numbers)
        connection.execute(delete(entity_keys).where(found))
        for table, column in (
            (damages, damages.c.entry_id),
            (expirations, expirations.c.entry_id),
            (entries, entries.c.id),
        ):
            connection.execute(delete(table).where(among(column, numbers)))


def _covers(expired: Expired | None, entry: ArchiveEntry) -> bool:
    return expired is not None and entry.provenance.archived_at <= expired.archived_until


def _row(hold: Hold) -> tuple[object, ...]:
    return tuple([getattr(hold, each.name) for each in fields(hold)])


def _holds(connection: Connection) -> list[Hold]:
    return [Hold(*row) for row in hold_rows.rows(connection)]
