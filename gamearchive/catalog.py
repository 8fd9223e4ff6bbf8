"""The catalog: what is archived, where it lies, and how sure that is.

`Catalog.add` takes the entries of packs that lie safely on the backend, all in one transaction, and only if nothing about
these games has changed since their revisions were numbered: else it says so, and the caller numbers them again. A game's
revisions count from 1; the highest is the game, the others are superseded.

The tables are described in `database.schema`. What is interned there is remembered here (`database.interning`), so that a
listing reads entries and little else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from sqlalchemy import Connection, Row, delete, func, insert, literal_column, select, update

from gamearchive.database.engine import Database
from gamearchive.database.interning import BatchKey, Interning
from gamearchive.database.schema import (
    UNKNOWN_SECOND,
    UNKNOWN_TIME,
    batch_tags,
    batches,
    damages,
    dictionaries,
    entity_hash,
    entity_keys,
    entries,
    packs,
    second_at,
)
from gamearchive.errors import GameArchiveError, NoArchiveError, UsageError
from gamearchive.model import ArchiveEntry, EntityKey, Facts, Place, decode_id, encode_id
from gamearchive.query import ACCEPTANCE_LAG, ArchiveQuery, Resolved, SortField, encode_cursor, select_count, select_page

CHUNK = 1_000
"""So many rows are read or looked up at a time."""


class OvertakenError(GameArchiveError):
    """Another process archived some of the same games meanwhile; their revisions must be numbered again."""

    code = "overtaken"
    exit_code = 11
    default_hint = "Run the command again."


class Latest(NamedTuple):
    """The latest revision of a game: its number, its checksum, and the id of its row."""

    revision: int
    checksum: bytes
    row: int | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """The latest revisions of those of some games that are archived, as of which batch, and when the newest was archived."""

    games: Mapping[EntityKey, Latest]
    as_of: int
    newest: int


class _Ends(NamedTuple):
    """Where the catalog goes on: the running maximum of acceptance, and the next ids of a batch and an entry."""

    accepted_at: int
    batch: int
    entry: int


@dataclass(frozen=True, slots=True)
class PackRow:
    """A pack that the catalog names: its key, its length, and the dictionary that its frames need."""

    key: str
    stored_bytes: int
    dictionary_id: int | None = None


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


class Catalog:
    """The catalog in a database.

    Args:
        database: where its tables are.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self._names = Interning(database)

    def known(self, keys: Iterable[EntityKey]) -> Known:
        """What is archived of these games; nothing where there is no archive yet."""
        try:
            with self.database.read() as connection:
                ends = self._ends(connection)
                return Known(self._latest(connection, keys), ends.batch - 1, ends.accepted_at)
        except NoArchiveError:
            return Known({}, 0, UNKNOWN_TIME)

    def add(self, added: Sequence[ArchiveEntry], pack_rows: Sequence[PackRow], known: Known | None = None) -> None:
        """Take entries whose packs lie on the backend, in one transaction.

        Args:
            added: the entries, each numbered one above the latest revision there is.
            pack_rows: the packs that their places name.
            known: what `known` told of these games; not to be looked up again if nothing came since.

        Raises:
            OvertakenError: if a game's latest revision is another by now; nothing is added.
        """
        keys = [entry.key for entry in added]
        with self.database.write() as connection:
            ends = self._ends(connection)
            current = known is not None and known.as_of == ends.batch - 1
            games = known.games if known is not None and current else self._latest(connection, set(keys))
            latest = self._number_on(games, added, keys)
            if min(entry.provenance.archived_at for entry in added) < ends.accepted_at - ACCEPTANCE_LAG:
                raise OvertakenError("The clock went back, or archiving these games took too long.")
            groups: dict[BatchKey, list[ArchiveEntry]] = {}
            for entry in sorted(added, key=lambda entry: entry.provenance.archived_at):
                key = BatchKey(entry.entity_type, entry.content_type, entry.facts.status, entry.provenance)
                groups.setdefault(key, []).append(entry)
            ordered = [entry for group in groups.values() for entry in group]
            pack_ids = self._add_packs(connection, pack_rows, ordered, ends.entry)
            self._add_batches(connection, groups, ends)
            batch_ids = [batch for batch, group in enumerate(groups.values(), ends.batch) for _ in group]
            self._add_entries(connection, ordered, batch_ids, pack_ids, ends.entry, latest)
            self._supersede(connection, [row for row in [games[key].row for key in latest if key in games] if row is not None])

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

    def revisions(self, entity_id: str, entity_type: str | None = None) -> list[ArchiveEntry]:
        """All revisions of a game, the latest first."""
        key = encode_id(entity_id)
        statement = select(*entries.c).join(entity_keys, entity_keys.c.entry_id == entries.c.id)
        statement = statement.where(entity_keys.c.hash == entity_hash(key), entries.c.entity_key == key)
        with self.database.read() as connection:
            found = self._load(connection, connection.execute(statement).all())
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
            found = self._load(connection, rows[: query.limit])
        if len(rows) <= query.limit:
            return Page(found, None)
        last = rows[query.limit - 1]
        instant = {SortField.COMPLETED: last.completed_at, SortField.CREATED: last.created_at}.get(query.order)
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
            words = self._names.words(connection, {row[0] for row in rows})
        found = [Total(words[row[0]], int(row[1]), int(row[2]), int(row[3]), int(row[4])) for row in rows]
        return sorted(found, key=lambda total: (total.entity_type, total.day))

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
                rows = connection.execute(statement).all()
            yield from (PackRow(row.key, row.stored_bytes, row.dictionary_id) for row in rows)
            if len(rows) < CHUNK:
                return
            last = rows[-1].key

    def has_pack(self, key: str) -> bool:
        """Whether the catalog names this pack."""
        with self.database.read() as connection:
            return connection.execute(select(packs.c.id).where(packs.c.key == key)).first() is not None

    def entries_of(self, pack: str) -> list[ArchiveEntry]:
        """The entries whose bytes lie in a pack."""
        within = entries.c.id.between(packs.c.first_id, packs.c.last_id) & (entries.c.pack_id == packs.c.id)
        statement = select(*entries.c).join(packs, within).where(packs.c.key == pack)
        with self.database.read() as connection:
            return self._load(connection, connection.execute(statement.order_by(entries.c.id)).all())

    def add_dictionary(self, row: DictionaryRow) -> None:
        """Name a dictionary that lies on the backend. One that is named already stays."""
        with self.database.write() as connection:
            type_id = self._names.word_ids(connection, [row.entity_type])[row.entity_type]
            same = (dictionaries.c.id == row.id) & (dictionaries.c.type_id == type_id)
            if connection.execute(select(dictionaries.c.id).where(same)).first() is None:
                added = (connection.scalar(select(func.max(dictionaries.c.added))) or 0) + 1
                self.database.insert(connection, dictionaries, [(row.id, type_id, row.checksum, row.stored_bytes, added)])

    def dictionaries(self) -> list[DictionaryRow]:
        """All dictionaries, the newest last."""
        with self.database.read() as connection:
            rows = connection.execute(select(dictionaries).order_by(dictionaries.c.added)).all()
            words = self._names.words(connection, {row.type_id for row in rows})
        return [DictionaryRow(row.id, words[row.type_id], row.checksum, row.stored_bytes) for row in rows]

    def mark_damaged(self, checked: Iterable[ArchiveEntry], lost: Mapping[ArchiveEntry, str]) -> None:
        """Note which of the entries checked have lost their bytes, and why; of the others such a note is taken away."""
        with self.database.write() as connection:
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
            return connection.scalar(select(damages.c.reason).where(damages.c.entry_id == entry_id))

    def _entry_id(self, connection: Connection, key: EntityKey, revision: int) -> int | None:
        stored = encode_id(key.entity_id)
        type_id = self._names.find_words(connection, [key.entity_type]).get(key.entity_type)
        statement = (
            select(entries.c.id)
            .join(entity_keys, entity_keys.c.entry_id == entries.c.id)
            .join(batches, batches.c.id == entries.c.batch_id)
            .where(entity_keys.c.hash == entity_hash(stored), entries.c.entity_key == stored)
            .where(entries.c.revision == revision, batches.c.type_id == type_id)
        )
        return connection.scalar(statement)

    def _latest(self, connection: Connection, keys: Iterable[EntityKey]) -> dict[EntityKey, Latest]:
        wanted = set(keys)
        hashes = {entity_hash(encode_id(key.entity_id)) for key in wanted}
        columns = entries.c.id, entries.c.entity_key, entries.c.revision, entries.c.checksum, batches.c.type_id
        statement = (
            select(*columns)
            .join(entity_keys, entity_keys.c.entry_id == entries.c.id)
            .join(batches, batches.c.id == entries.c.batch_id)
            .where(entries.c.superseded.is_(None))
        )
        found: dict[EntityKey, Latest] = {}
        rows = connection.execute(statement.where(self.database.among(entity_keys.c.hash, hashes))).all()
        words = self._names.words(connection, {row.type_id for row in rows})
        for row in rows:
            key = EntityKey(words[row.type_id], decode_id(row.entity_key))
            if key in wanted:
                found[key] = Latest(row.revision, row.checksum, row.id)
        return found

    def _number_on(
        self, games: Mapping[EntityKey, Latest], added: Sequence[ArchiveEntry], keys: Sequence[EntityKey]
    ) -> dict[EntityKey, int]:
        """The latest revision of each game with those added, once it is sure that they follow on what there is."""
        latest: dict[EntityKey, int] = {}
        # In the order of revisions: those of one game may lie in two packs, one of text and one of binary records.
        for key, entry in sorted(zip(keys, added, strict=True), key=lambda pair: pair[1].revision):
            before = latest.get(key) or (games[key].revision if key in games else 0)
            if before != entry.revision - 1:
                raise OvertakenError(f"The {entry.entity_type} {entry.entity_id!r} was archived by another process meanwhile.")
            latest[key] = entry.revision
        return latest

    def _ends(self, connection: Connection) -> _Ends:
        row = connection.execute(
            select(batches.c.accepted_at, batches.c.id, batches.c.last_id).order_by(batches.c.id.desc()).limit(1)
        ).first()
        return _Ends(row.accepted_at, row.id + 1, row.last_id + 1) if row else _Ends(UNKNOWN_TIME, 1, 1)

    def _add_packs(
        self, connection: Connection, pack_rows: Sequence[PackRow], ordered: Sequence[ArchiveEntry], next_entry: int
    ) -> dict[str, int]:
        first: dict[str, int] = {}
        last: dict[str, int] = {}
        for number, entry in enumerate(ordered, next_entry):
            first.setdefault(entry.place.pack, number)
            last[entry.place.pack] = number
        # A stranger's backend may give games of equal bytes one location, now or again years later.
        there: dict[str, int] = {}
        for start in range(0, len(pack_rows), CHUNK):
            keys = [row.key for row in pack_rows[start : start + CHUNK]]
            there |= {
                row.key: row.id for row in connection.execute(select(packs.c.id, packs.c.key).where(packs.c.key.in_(keys)))
            }
        for key, pack_id in there.items():
            connection.execute(update(packs).where(packs.c.id == pack_id).values(last_id=last[key]))
        new = {row.key: row for row in pack_rows if row.key not in there}
        free = (connection.scalar(select(func.max(packs.c.id))) or 0) + 1
        ids = {key: number for number, key in enumerate(new, free)}
        rows = [(ids[key], key, row.stored_bytes, row.dictionary_id, first[key], last[key]) for key, row in new.items()]
        self.database.insert(connection, packs, rows)
        return there | ids

    def _add_batches(self, connection: Connection, groups: Mapping[BatchKey, Sequence[ArchiveEntry]], ends: _Ends) -> None:
        rows, tag_rows = [], []
        accepted_at, next_entry = ends.accepted_at, ends.entry
        for batch_id, (key, group) in enumerate(groups.items(), ends.batch):
            words = self._names.batch_words(connection, key)
            last = next_entry + len(group) - 1
            sent = key.provenance
            accepted_at = max(accepted_at, sent.archived_at)
            rows.append((
                batch_id, words.entity_type, words.content_type, words.status, sent.archived_at, accepted_at,
                words.trigger, int(sent.priority), words.policy, next_entry, last,
                *_span([entry.facts.created_at for entry in group]), *_span([entry.facts.completed_at for entry in group]),
            ))  # fmt: skip
            tag_rows += [(tag_id, batch_id) for tag_id in self._names.tag_ids(connection, sent.tags)]
            next_entry = last + 1
        self.database.insert(connection, batches, rows)
        self.database.insert(connection, batch_tags, tag_rows)

    def _add_entries(
        self,
        connection: Connection,
        ordered: Sequence[ArchiveEntry],
        batch_numbers: Sequence[int],
        pack_ids: Mapping[str, int],
        next_entry: int,
        latest: Mapping[EntityKey, int],
    ) -> None:
        player_ids = self._names.player_ids(connection, ordered)
        rows, hashes, played = [], [], []
        for entry_id, (entry, batch_id) in enumerate(zip(ordered, batch_numbers, strict=True), next_entry):
            facts, place = entry.facts, entry.place
            key = encode_id(entry.entity_id)
            seats = [player_ids[player] for player in facts.players]
            rows.append((
                entry_id, key, entry.revision, None if latest[entry.key] == entry.revision else 1, batch_id,
                pack_ids[place.pack], place.frame_offset, place.frame_bytes, place.record_offset, entry.raw_bytes,
                None if entry.stored_bytes == place.frame_bytes else entry.stored_bytes, entry.checksum,
                facts.created_at, facts.completed_at, player_ids[facts.winner] if facts.winner else None,
                self.database.players.stored(seats),
            ))  # fmt: skip
            hashes.append((entity_hash(key), entry_id))
            played.append((entry_id, seats))
        hashes.sort()  # neighbours go to one page of the index
        self.database.insert(connection, entries, rows)
        self.database.insert(connection, entity_keys, hashes)
        self.database.players.add(connection, played)

    def _supersede(self, connection: Connection, rows: Sequence[int]) -> None:
        if rows:
            connection.execute(update(entries).where(self.database.among(entries.c.id, rows)).values(superseded=1))

    def _resolve(self, connection: Connection, query: ArchiveQuery) -> Resolved | None:
        """The query's names as ids; None where one of them is in no row, and so nothing matches."""
        words = [*([query.entity_type] if query.entity_type else []), *query.statuses]
        word_ids = self._names.find_words(connection, words)
        types = [word_ids[query.entity_type]] if query.entity_type in word_ids else []
        statuses = [word_ids[status] for status in query.statuses if status in word_ids]
        tag_ids = self._names.find_tags(connection, query.tags.items())
        players = [self._names.find_players(connection, player) for player in query.players]
        absent = (query.entity_type and not types) or (query.statuses and not statuses) or len(tag_ids) < len(query.tags)
        if absent or not all(players):
            return None
        keys = {key: entity_hash(key) for key in map(encode_id, query.entity_ids)} if query.entity_ids else None
        return Resolved(types or None, statuses or None, tag_ids, players, keys)

    def _load(self, connection: Connection, rows: Sequence[Row[tuple[object, ...]]]) -> list[ArchiveEntry]:
        """Rows of ``entries`` as entries."""
        seats = [self.database.players.loaded(row.players) for row in rows]
        wanted = {player for players in seats for player in players} | {row.winner_id for row in rows if row.winner_id}
        people = self._names.players(connection, wanted)
        shared = self._names.batches(connection, {row.batch_id for row in rows})
        keys = self._names.packs(connection, {row.pack_id for row in rows})
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


def _span(instants: Iterable[int | None]) -> tuple[int, int]:
    """The first and the last second of those instants that are known."""
    seconds = [second_at(instant) for instant in instants if instant is not None] or [UNKNOWN_SECOND]
    return min(seconds), max(seconds)
