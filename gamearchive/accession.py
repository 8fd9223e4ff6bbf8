"""How entries come into the catalog: an accession, all in one transaction.

It happens only if nothing about these games has changed since their revisions were numbered: else `OvertakenError`, and the
caller numbers them again. Writers take turns (`Database.write`), so that what is looked up here stays true until the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, select, update

from gamearchive.database.engine import Database
from gamearchive.database.interning import BatchKey, Interning
from gamearchive.database.schema import (
    ACCEPTANCE_LAG,
    IN_TRASH,
    UNKNOWN_SECOND,
    UNKNOWN_TIME,
    batch_tags,
    batches,
    damages,
    entity_keys,
    entries,
    game_key,
    packs,
    second_at,
)
from gamearchive.errors import GameArchiveError
from gamearchive.model import ArchiveEntry, EntityKey, Provenance, decode_id

_CHUNK = 1_000


class OvertakenError(GameArchiveError):
    """Another process archived some of the same games meanwhile; their revisions must be numbered again."""

    code = "overtaken"
    exit_code = 11
    default_hint = "Run the command again."


class Latest(NamedTuple):
    """The latest revision of a game: its number, its checksum, and the id of its row; and the checksums of earlier ones.

    A revision that is marked as lost has no checksum, so that the same bytes, should they come again, are archived again; nor
    has one that is in the trash, which has no row either.
    """

    revision: int
    checksum: bytes | None
    row: int | None = None
    earlier: tuple[bytes | None, ...] = ()

    def has(self, checksum: bytes) -> bool:
        """Whether one of the game's revisions has these bytes."""
        return checksum == self.checksum or checksum in self.earlier

    def followed(self, checksum: bytes) -> Latest:
        """What is the latest once a revision with these bytes has followed."""
        return Latest(self.revision + 1, checksum, None, (*self.earlier, self.checksum))


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
    """A pack that the catalog names: its key, its length, and the dictionary that its frames need; of one that is added, also
    whether it is dense.
    """

    key: str
    stored_bytes: int
    dictionary_id: int | None = None
    dense: bool = False


class Accession:
    """One transaction's view of what is there, and the taking of what comes.

    Args:
        database: whose transaction it is.
        connection: the transaction.
        names: what is interned there.
    """

    def __init__(self, database: Database, connection: Connection, names: Interning) -> None:
        self._database = database
        self._connection = connection
        self._names = names

    def known(self, keys: Iterable[EntityKey]) -> Known:
        """What is archived of these games."""
        ends = self._ends()
        return Known(self._latest(keys), ends.batch - 1, ends.accepted_at)

    def take(
        self, added: Sequence[ArchiveEntry], pack_rows: Sequence[PackRow], known: Known | None, *, late: bool = False
    ) -> range:
        """Take entries in: see `Catalog.add`."""
        keys = [entry.key for entry in added]
        with self._database.decoding():
            ends = self._ends()
            current = known is not None and known.as_of == ends.batch - 1
            games = known.games if known is not None and current else self._latest(set(keys))
        latest = self._number_on(games, added, keys)
        if not late and min(entry.provenance.archived_at for entry in added) < ends.accepted_at - ACCEPTANCE_LAG:
            raise OvertakenError("The clock went back, or archiving these games took too long.")
        shared: dict[tuple[str, str, str | None, Provenance], list[ArchiveEntry]] = {}
        for entry in sorted(added, key=lambda entry: entry.provenance.archived_at):
            shared.setdefault((entry.entity_type, entry.content_type, entry.facts.status, entry.provenance), []).append(entry)
        groups = {BatchKey(*key): group for key, group in shared.items()}
        ordered = [entry for group in groups.values() for entry in group]
        pack_ids = self._add_packs(pack_rows, ordered, ends.entry)
        self._add_batches(groups, ends)
        batch_ids = [batch for batch, group in enumerate(groups.values(), ends.batch) for _ in group]
        dense = {row.key for row in pack_rows if row.dense}
        self._add_entries(ordered, batch_ids, pack_ids, ends.entry, latest, dense)
        self._supersede([row for row in [games[key].row for key in latest if key in games] if row is not None])
        return range(ends.batch, ends.batch + len(groups))

    def _latest(self, keys: Iterable[EntityKey]) -> dict[EntityKey, Latest]:
        wanted = set(keys)
        hashes = {game_key(key.entity_id)[1] for key in wanted}
        columns = (*[entries.c[name] for name in ("id", "entity_key", "revision", "checksum", "superseded")], batches.c.type_id)
        statement = (
            select(*columns, damages.c.reason)
            .join(entity_keys, entity_keys.c.entry_id == entries.c.id)
            .join(batches, batches.c.id == entries.c.batch_id)
            .outerjoin(damages, damages.c.entry_id == entries.c.id)
            .where(self._database.among(entity_keys.c.hash, hashes))
        )
        rows = self._database.typed(self._connection.execute(statement).all(), columns)
        words = self._names.words(self._connection, {row.type_id for row in rows})
        found: dict[EntityKey, Latest] = {}
        for row in sorted(rows, key=lambda row: row.revision):
            key = EntityKey(words[row.type_id], decode_id(row.entity_key))
            if key in wanted:
                is_there = row.superseded is None or row.superseded < IN_TRASH
                digest = row.checksum if row.reason is None and is_there else None
                before = found.get(key)
                found[key] = Latest(
                    row.revision, digest, row.id if is_there else None, (*before.earlier, before.checksum) if before else ()
                )
        return found

    def _number_on(
        self, games: Mapping[EntityKey, Latest], added: Sequence[ArchiveEntry], keys: Sequence[EntityKey]
    ) -> dict[EntityKey, int]:
        """The latest revision of each game with those added, once it is sure that they follow on what there is."""
        if not games and len(set(keys)) == len(keys) and all(entry.revision == 1 for entry in added):
            return dict.fromkeys(keys, 1)  # as it mostly is
        latest: dict[EntityKey, int] = {}
        # In the order of revisions: those of one game may lie in two packs, one of text and one of binary records.
        for key, entry in sorted(zip(keys, added, strict=True), key=lambda pair: pair[1].revision):
            before = latest.get(key) or (games[key].revision if key in games else 0)
            if before != entry.revision - 1:
                raise OvertakenError(f"The {entry.entity_type} {entry.entity_id!r} was archived by another process meanwhile.")
            latest[key] = entry.revision
        return latest

    def _ends(self) -> _Ends:
        columns = batches.c.accepted_at, batches.c.id, batches.c.last_id
        rows = self._connection.execute(select(*columns).order_by(batches.c.id.desc()).limit(1)).all()
        row = next(iter(self._database.typed(rows, columns)), None)
        if row is None:
            return _Ends(UNKNOWN_TIME, self._database.next_id(self._connection, batches), 1)
        return _Ends(row.accepted_at, row.id + 1, row.last_id + 1)

    def _add_packs(self, pack_rows: Sequence[PackRow], ordered: Sequence[ArchiveEntry], next_entry: int) -> dict[str, int]:
        first: dict[str, int] = {}
        last: dict[str, int] = {}
        for number, entry in enumerate(ordered, next_entry):
            first.setdefault(entry.place.pack, number)
            last[entry.place.pack] = number
        # A stranger's backend may give games of equal bytes one location, now or again years later.
        there: dict[str, int] = {}
        for start in range(0, len(pack_rows), _CHUNK):
            keys = [row.key for row in pack_rows[start : start + _CHUNK]]
            statement = select(packs.c.id, packs.c.key).where(packs.c.key.in_(keys))
            there |= {row.key: row.id for row in self._connection.execute(statement)}
        for key, pack_id in there.items():
            self._connection.execute(update(packs).where(packs.c.id == pack_id).values(last_id=last[key]))
        new = {row.key: row for row in pack_rows if row.key not in there}
        free = self._database.next_id(self._connection, packs)
        ids = {key: number for number, key in enumerate(new, free)}
        rows = [(ids[key], key, row.stored_bytes, row.dictionary_id, first[key], last[key]) for key, row in new.items()]
        self._database.insert(self._connection, packs, rows)
        return there | ids

    def _add_batches(self, groups: Mapping[BatchKey, Sequence[ArchiveEntry]], ends: _Ends) -> None:
        rows, tag_rows = [], []
        accepted_at, next_entry = ends.accepted_at, ends.entry
        numbered = self._names.batch_words(self._connection, groups.keys())
        for batch_id, (key, group) in enumerate(groups.items(), ends.batch):
            words = numbered[key]
            last = next_entry + len(group) - 1
            sent = key.provenance
            accepted_at = max(accepted_at, sent.archived_at)
            rows.append((
                batch_id, words.entity_type, words.content_type, words.status, sent.archived_at, accepted_at,
                words.trigger, int(sent.priority), words.policy, next_entry, last,
                *_span([entry.facts.created_at for entry in group]), *_span([entry.facts.completed_at for entry in group]),
            ))  # fmt: skip
            tag_rows += [(tag_id, batch_id) for tag_id in self._names.tag_ids(self._connection, sent.tags)]
            next_entry = last + 1
        self._database.insert(self._connection, batches, rows)
        self._database.insert(self._connection, batch_tags, tag_rows)

    def _add_entries(
        self,
        ordered: Sequence[ArchiveEntry],
        batch_numbers: Sequence[int],
        pack_ids: Mapping[str, int],
        next_entry: int,
        latest: Mapping[EntityKey, int],
        dense: AbstractSet[str],
    ) -> None:
        player_ids = self._names.player_ids(self._connection, ordered)
        stored = self._database.players.stored
        alone = len(latest) == len(ordered)  # no game comes in two revisions
        rows, hashes, played = [], [], []
        for entry_id, (entry, batch_id) in enumerate(zip(ordered, batch_numbers, strict=True), next_entry):
            facts, place = entry.facts, entry.place
            key, number = game_key(entry.entity_id)
            seats = [player_ids[player] for player in facts.players]
            rows.append((
                entry_id, key, entry.revision, None if alone or latest[entry.key] == entry.revision else 1, batch_id,
                pack_ids[place.pack], place.frame_offset, place.frame_bytes, place.record_offset, entry.raw_bytes,
                entry.stored_bytes if place.pack in dense or entry.stored_bytes != place.frame_bytes else None, entry.checksum,
                facts.created_at, facts.completed_at, player_ids[facts.winner] if facts.winner else None, stored(seats),
            ))  # fmt: skip
            hashes.append((number, entry_id))
            played.append((entry_id, seats))
        hashes.sort()  # neighbours go to one page of the index
        self._database.insert(self._connection, entries, rows)
        self._database.insert(self._connection, entity_keys, hashes)
        self._database.players.add(self._connection, played)

    def _supersede(self, rows: Sequence[int]) -> None:
        if rows:
            self._connection.execute(update(entries).where(self._database.among(entries.c.id, rows)).values(superseded=1))


def _span(instants: Iterable[int | None]) -> tuple[int, int]:
    """The first and the last second of those instants that are known."""
    seconds = [second_at(instant) for instant in instants if instant is not None] or [UNKNOWN_SECOND]
    return min(seconds), max(seconds)
