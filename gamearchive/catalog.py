"""The catalog: what is archived, where it lies, and how sure that is.

`Catalog.add` takes the entries of packs that lie safely on the backend, all in one transaction, and only if nothing about
these games has changed since their revisions were numbered: else it says so, and the caller numbers them again. A game's
revisions count from 1; the highest is the game, the others are superseded.

The tables are described in `database.schema`. What is interned there is remembered here (`database.interning`), so that a
listing reads entries and little else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, literal_column, select

from gamearchive.accession import Accession, Known, PackRow
from gamearchive.database.engine import Database
from gamearchive.database.interning import Interning
from gamearchive.database.schema import (
    UNKNOWN_TIME,
    batches,
    damages,
    dictionaries,
    entity_keys,
    entries,
    game_key,
    identity,
    is_kept,
    packs,
)
from gamearchive.errors import NoArchiveError, UsageError
from gamearchive.model import ArchiveEntry, EntityKey, Facts, Place, decode_id
from gamearchive.query import ArchiveQuery, Resolved, SortField, encode_cursor, select_count, select_page
from gamearchive.repacking import PackUse, Repacking, uses

CHUNK = 1_000
"""So many rows are read or looked up at a time."""

Settle = Callable[[Connection], None]
"""What is done in the transaction that names games in the catalog: done if they are archived then, and only then."""


@dataclass(frozen=True, slots=True)
class DictionaryRow:
    """A dictionary that the catalog names."""

    id: int
    entity_type: str
    checksum: bytes
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing. ``next_cursor`` is None where it ends."""

    entries: Sequence[ArchiveEntry]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Total:
    """Sums over the latest revisions of the games of one type, archived on one day (days since the epoch, UTC)."""

    entity_type: str
    day: int
    games: int
    raw_bytes: int
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class Sizes:
    """What all revisions of all games take, raw and in their packs (indexes included), and what else there is."""

    revisions: int
    raw_bytes: int
    stored_bytes: int
    packs: int
    dictionaries: int
    dictionary_bytes: int
    catalog_bytes: int


class PackCounts(NamedTuple):
    """Of how many revisions of games the bytes lie in a pack, how many of these are superseded, and how many marked as lost."""

    revisions: int
    superseded: int
    marked: int


_WITHIN = entries.c.id.between(packs.c.first_id, packs.c.last_id) & (entries.c.pack_id == packs.c.id)

# Made once: to put a statement together takes as long as to run it.
_ALL_REVISIONS = (
    select(*entries.c)
    .join(entity_keys, entity_keys.c.entry_id == entries.c.id)
    .where(entity_keys.c.hash == bindparam("hash"), entries.c.entity_key == bindparam("key"))
)
_REVISIONS = _ALL_REVISIONS.where(is_kept())


class Catalog:
    """The catalog in a database.

    Args:
        database: where its tables are.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.names = Interning(database)

    def known(self, keys: Iterable[EntityKey]) -> Known:
        """What is archived of these games; nothing where there is no archive yet."""
        try:
            with self.database.read() as connection:
                return Accession(self.database, connection, self.names).known(keys)
        except NoArchiveError:
            return Known({}, 0, UNKNOWN_TIME)

    def identity(self) -> str | None:
        """The archive's id, that marks its storage as well; None where it was given none yet."""
        with self.database.read() as connection:
            rows = self.database.typed(connection.execute(select(identity)).all(), identity.c)
            return rows[0].id if rows else None

    def identify(self, new: str) -> str:
        """Give the archive an id, unless it has one; the one that it has then."""
        with self.database.write() as connection:
            there = connection.scalar(select(identity.c.id))
            if there is None:
                connection.execute(insert(identity).values(id=new))
            return there or new

    def add(
        self,
        added: Sequence[ArchiveEntry],
        pack_rows: Sequence[PackRow],
        known: Known | None = None,
        *,
        settle: Settle | None = None,
        late: bool = False,
    ) -> range:
        """Take entries whose packs lie on the backend, in one transaction.

        Args:
            added: the entries, each numbered one above the latest revision there is.
            pack_rows: the packs that their places name.
            known: what `known` told of these games; not to be looked up again if nothing came since.
            settle: what else is to be done in the same transaction.
            late: whether they may have been archived long ago, in a pack that was found only now.

        Returns:
            The numbers of the batches that they became.

        Raises:
            OvertakenError: if a game's latest revision is another by now; nothing is added.
        """
        numbers = range(0)
        with self.database.write() as connection:
            if added:
                numbers = Accession(self.database, connection, self.names).take(added, pack_rows, known, late=late)
            if settle is not None:
                settle(connection)
        if added:
            self.names.remember()
        return numbers

    def get(self, entity_id: str, entity_type: str | None = None, revision: int | None = None) -> ArchiveEntry | None:
        """One game's latest revision, or the one asked for; None if it is not archived.

        Raises:
            UsageError: if the id stands for games of several types and none is said.
        """
        found = self.revisions(entity_id, entity_type)
        if revision is not None:
            found = [entry for entry in found if entry.revision == revision]
        types = sorted({entry.entity_type for entry in found})
        if len(types) > 1:
            raise UsageError(
                f"The id {entity_id!r} stands for games of several types: {', '.join(types)}.",
                hint=f"Say which with --type {types[0]}.",
            )
        return found[0] if found else None

    def revisions(self, entity_id: str, entity_type: str | None = None, *, trash: bool = False) -> list[ArchiveEntry]:
        """All revisions of a game, the latest first; also those in the trash, if ``trash``."""
        key, number = game_key(entity_id)
        with self.database.read() as connection:
            statement = _ALL_REVISIONS if trash else _REVISIONS
            found = self.load(connection, connection.execute(statement, {"key": key, "hash": number}).all())
        chosen = [entry for entry in found if entity_type in (None, entry.entity_type)]
        return sorted(chosen, key=lambda entry: (entry.entity_type, -entry.revision))

    def find(self, query: ArchiveQuery) -> Page:
        """One page of a listing."""
        with self.database.read() as connection:
            names = self._resolve(connection, query)
            if names is None or not query.limit:
                return Page((), None)
            rows: list[Row[tuple[object, ...]]] = []
            for statement in select_page(self.database, connection, query, names):
                # One row more than the page has, which tells of a next page.
                rows += connection.execute(statement.limit(query.limit + 1 - len(rows))).all()
                if len(rows) > query.limit:
                    break
            found = self.load(connection, rows[: query.limit])
        if len(rows) <= query.limit:
            return Page(found, None)
        last = rows[query.limit - 1]
        instant = {SortField.COMPLETED: last.completed_at, SortField.CREATED: last.created_at}.get(query.order, 0)
        return Page(found, encode_cursor(query.order, UNKNOWN_TIME if instant is None else instant, last.id))

    def pages(self, query: ArchiveQuery) -> Iterator[Page]:
        """All that a query matches, page by page; its ``limit`` is the limit in all, 0 for none."""
        left = query.limit
        cursor, offset = query.cursor, query.offset
        while True:
            size = min(CHUNK, left) if query.limit else CHUNK
            page = self.find(replace(query, limit=size, cursor=cursor, offset=offset))
            yield page
            left -= size
            if page.next_cursor is None or (query.limit and not left):
                return
            cursor, offset = page.next_cursor, 0

    def every(self, query: ArchiveQuery) -> Iterator[ArchiveEntry]:
        """All that a query matches, one after another, in bounded memory; see `pages`."""
        for page in self.pages(query):
            yield from page.entries

    def count(self, query: ArchiveQuery) -> int:
        """How many games a query matches in all."""
        with self.database.read() as connection:
            names = self._resolve(connection, query)
            if names is None:
                return 0
            return connection.scalar(select_count(self.database, connection, query, names)) or 0

    def count_games(self) -> int:
        """How many games there are."""
        with self.database.read() as connection:
            return connection.scalar(select(func.count()).select_from(entries).where(entries.c.superseded.is_(None))) or 0

    def totals(self) -> list[Total]:
        """What there is, by type and day of archiving."""
        per_batch = (
            select(
                entries.c.batch_id,
                func.count().label("games"),
                func.sum(entries.c.raw_bytes).label("raw"),
                func.sum(func.coalesce(entries.c.stored_bytes, entries.c.frame_bytes)).label("stored"),
            )
            .where(entries.c.superseded.is_(None))
            .group_by(entries.c.batch_id)
            .subquery()
        )
        # Not bound: PostgreSQL would take the parameters of the two places for two values, and so refuse to group by it.
        day = (batches.c.archived_at // literal_column("86400000000")).label("day")
        sums = [func.sum(per_batch.c[name]) for name in ("games", "raw", "stored")]
        statement = select(batches.c.type_id, day, *sums).join(per_batch, per_batch.c.batch_id == batches.c.id)
        with self.database.read() as connection:
            rows = connection.execute(statement.group_by(batches.c.type_id, day)).all()
            words = self.names.words(connection, {row[0] for row in rows})
            found = [Total(words[row[0]], int(row[1]), int(row[2]), int(row[3]), int(row[4])) for row in rows]
        return sorted(found, key=lambda total: (total.entity_type, total.day))

    def summary(self) -> tuple[dict[str | None, int], int | None, int | None]:
        """How many games there are by status (None: without one), and when the first and the last of them were archived."""
        statement = (
            select(batches.c.status_id, func.count(), func.min(batches.c.archived_at), func.max(batches.c.archived_at))
            .select_from(entries.join(batches, batches.c.id == entries.c.batch_id))
            .where(entries.c.superseded.is_(None))
            .group_by(batches.c.status_id)
        )
        with self.database.read() as connection:
            rows = connection.execute(statement).all()
            words = self.names.words(connection, {row[0] for row in rows if row[0] is not None})
        by_status = {None if row[0] is None else words[row[0]]: int(row[1]) for row in rows}
        return by_status, min((row[2] for row in rows), default=None), max((row[3] for row in rows), default=None)

    def sizes(self) -> Sizes:
        """What everything takes."""
        with self.database.read() as connection:
            games = connection.execute(select(func.count(), func.sum(entries.c.raw_bytes)).select_from(entries)).one()
            kept = connection.execute(select(func.count(), func.sum(packs.c.stored_bytes)).select_from(packs)).one()
            learnt = connection.execute(select(func.count(), func.sum(dictionaries.c.stored_bytes * 2))).one()
            catalog_bytes = self.database.size(connection)
            numbers = [int(value or 0) for value in (*games, kept[1], kept[0], *learnt)]
        return Sizes(numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5], catalog_bytes)

    def packs(self) -> Iterator[PackRow]:
        """All packs, in the order of their keys, read by the page."""
        last = ""
        while True:
            statement = select(packs).where(packs.c.key > last).order_by(packs.c.key).limit(CHUNK)
            with self.database.read() as connection:
                rows = self.database.typed(connection.execute(statement).all(), packs.c)
            yield from (PackRow(row.key, row.stored_bytes, row.dictionary_id) for row in rows)
            if len(rows) < CHUNK:
                return
            last = rows[-1].key

    def pack(self, key: str) -> PackRow | None:
        """What the catalog says of a pack; None if it does not name it."""
        with self.database.read() as connection:
            rows = self.database.typed(connection.execute(select(packs).where(packs.c.key == key)).all(), packs.c)
        return next((PackRow(row.key, row.stored_bytes, row.dictionary_id) for row in rows), None)

    def has_pack(self, key: str) -> bool:
        """Whether the catalog names this pack."""
        return self.pack(key) is not None

    def archived_at(self, pack: str) -> int | None:
        """When the latest game in a pack was archived; None if the catalog does not name it."""
        within = entries.join(packs, _WITHIN).join(batches, batches.c.id == entries.c.batch_id)
        latest = select(func.max(batches.c.archived_at)).select_from(within)
        with self.database.read() as connection:
            found = connection.scalar(latest.where(packs.c.key == pack))
        return None if found is None else int(found)

    def entries_of(self, pack: str, *, marked: bool = False) -> list[ArchiveEntry]:
        """The entries whose bytes lie in a pack; only those that are marked as lost, if ``marked``."""
        statement = select(*entries.c).join(packs, _WITHIN).where(packs.c.key == pack)
        if marked:
            statement = statement.join(damages, damages.c.entry_id == entries.c.id)
        with self.database.read() as connection:
            return self.load(connection, connection.execute(statement.order_by(entries.c.id)).all())

    def counts_of(self, pack: str) -> PackCounts:
        """How many entries' bytes lie in a pack."""
        counts = func.count(), func.count(entries.c.superseded), func.count(damages.c.entry_id)
        joined = entries.join(packs, _WITHIN).outerjoin(damages, damages.c.entry_id == entries.c.id)
        with self.database.read() as connection:
            return PackCounts(*connection.execute(select(*counts).select_from(joined).where(packs.c.key == pack)).one())

    def pack_uses(self) -> list[PackUse]:
        """All packs with what of them is named, in the order in which that was archived."""
        return uses(self.database, self.names)

    def entries_in(self, keys: Sequence[str]) -> list[ArchiveEntry]:
        """The entries whose bytes lie in some packs, in the order in which they were archived."""
        with self.database.read() as connection:
            return self.load(connection, Repacking(self.database, connection, keys).rows())

    def repack(
        self, keys: Sequence[str], before: Sequence[ArchiveEntry], after: Sequence[ArchiveEntry], pack_rows: Sequence[PackRow]
    ) -> None:
        """Have other packs take the place of some: see `Repacking.move`. These are named no longer."""
        with self.database.write() as connection:
            Repacking(self.database, connection, keys).move(before, after, pack_rows)

    def add_dictionary(self, row: DictionaryRow) -> None:
        """Name a dictionary that lies on the backend. One that is named already stays."""
        with self.database.write() as connection:
            type_id = self.names.word_ids(connection, [row.entity_type])[row.entity_type]
            same = (dictionaries.c.id == row.id) & (dictionaries.c.type_id == type_id)
            if connection.execute(select(dictionaries.c.id).where(same)).first() is None:
                added = (connection.scalar(select(func.max(dictionaries.c.added))) or 0) + 1
                self.database.insert(connection, dictionaries, [(row.id, type_id, row.checksum, row.stored_bytes, added)])

    def dictionaries(self) -> list[DictionaryRow]:
        """All dictionaries, the newest last."""
        with self.database.read() as connection:
            statement = select(dictionaries).order_by(dictionaries.c.added)
            rows = self.database.typed(connection.execute(statement).all(), dictionaries.c)
            words = self.names.words(connection, {row.type_id for row in rows})
            return [DictionaryRow(row.id, words[row.type_id], row.checksum, row.stored_bytes) for row in rows]

    def mark_damaged(self, checked: Iterable[ArchiveEntry], lost: Mapping[ArchiveEntry, str]) -> None:
        """Note which of the entries checked have lost their bytes, and why; of the others such a note is taken away."""
        with self.database.write() as connection:
            if not lost and connection.execute(select(damages.c.entry_id).limit(1)).first() is None:
                return
            for entry in checked:
                entry_id = self._entry_id(connection, entry.key, entry.revision)
                noted = connection.scalar(select(damages.c.reason).where(damages.c.entry_id == entry_id))
                if noted == lost.get(entry):
                    continue
                connection.execute(delete(damages).where(damages.c.entry_id == entry_id))
                if entry in lost:
                    connection.execute(insert(damages).values(entry_id=entry_id, reason=lost[entry]))

    def damage(self, entry: ArchiveEntry) -> str | None:
        """Why a revision's bytes are lost; None where nothing is known of any loss."""
        with self.database.read() as connection:
            entry_id = self._entry_id(connection, entry.key, entry.revision)
            rows = connection.execute(select(damages.c.reason).where(damages.c.entry_id == entry_id)).all()
            return next((row.reason for row in self.database.typed(rows, [damages.c.reason])), None)

    def _entry_id(self, connection: Connection, key: EntityKey, revision: int) -> int | None:
        stored, number = game_key(key.entity_id)
        type_id = self.names.find_words(connection, [key.entity_type]).get(key.entity_type)
        statement = (
            select(entries.c.id)
            .join(entity_keys, entity_keys.c.entry_id == entries.c.id)
            .join(batches, batches.c.id == entries.c.batch_id)
            .where(entity_keys.c.hash == number, entries.c.entity_key == stored)
            .where(entries.c.revision == revision, batches.c.type_id == type_id)
        )
        return connection.scalar(statement)

    def _resolve(self, connection: Connection, query: ArchiveQuery) -> Resolved | None:
        """The query's names as ids; None where one of them is in no row, and so nothing matches."""
        words = [*([query.entity_type] if query.entity_type else []), *query.statuses]
        word_ids = self.names.find_words(connection, words)
        types = [word_ids[query.entity_type]] if query.entity_type in word_ids else []
        statuses = [word_ids[status] for status in query.statuses if status in word_ids]
        tag_ids = self.names.find_tags(connection, query.tags.items())
        players = [self.names.find_players(connection, player) for player in query.players]
        absent = (query.entity_type and not types) or (query.statuses and not statuses) or len(tag_ids) < len(query.tags)
        if absent or not all(players):
            return None
        keys = dict(map(game_key, query.entity_ids)) if query.entity_ids else None
        return Resolved(types or None, statuses or None, tag_ids, players, keys)

    def load(self, connection: Connection, rows: Sequence[Row[tuple[object, ...]]]) -> list[ArchiveEntry]:
        """Rows of ``entries`` as entries, in a transaction."""
        self.database.typed(rows, entries.c)
        seats = [self.database.players.loaded(row.players) for row in rows]
        wanted = {player for players in seats for player in players} | {row.winner_id for row in rows if row.winner_id}
        people = self.names.players(connection, wanted)
        shared = self.names.batches(connection, {row.batch_id for row in rows})
        keys = self.names.packs(connection, {row.pack_id for row in rows})
        found = []
        for row, players in zip(rows, seats, strict=True):
            batch = shared[row.batch_id]
            winner = people[row.winner_id] if row.winner_id else None
            facts = Facts(tuple([people[p] for p in players]), winner, batch.status, row.created_at, row.completed_at)
            place = Place(keys[row.pack_id], row.frame_offset, row.frame_bytes, row.record_offset)
            stored = row.frame_bytes if row.stored_bytes is None else row.stored_bytes
            found.append(ArchiveEntry(
                batch.entity_type, decode_id(row.entity_key), row.revision, batch.content_type, facts, batch.provenance,
                row.raw_bytes, stored, row.checksum, place, bool(row.superseded),
            ))  # fmt: skip
        return found
