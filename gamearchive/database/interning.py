"""What many rows share, written once: words, players, tags, batches and packs by number.

Numbers are never given anew, so what was read stays true, and is remembered up to a bound; on SQLite, for as long as no other
file has taken the database's place, where numbers stand for something else. What a transaction that was undone
had given numbers to is forgotten with it: only what another transaction can see is remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Column, Connection, Row, Table, or_, select, tuple_

from gamearchive.database.engine import Database
from gamearchive.database.schema import batch_tags, batches, packs, player_keys, players, short_hash, tags, words
from gamearchive.database.sqlite import EDITION
from gamearchive.model import (
    ArchivalPriority,
    ArchivalTrigger,
    ArchiveEntry,
    Player,
    Provenance,
    Tags,
    decode_id,
    encode_id,
)

_REMEMBERED = 50_000
_CHUNK = 1_000

K = TypeVar("K")
V = TypeVar("V")


class BatchKey(NamedTuple):
    """What the games of one batch share."""

    entity_type: str
    content_type: str
    status: str | None
    provenance: Provenance


class BatchWords(NamedTuple):
    """The words of a `BatchKey`, by number."""

    entity_type: int
    content_type: int
    status: int | None
    trigger: int
    policy: int | None


class _Known:
    """What is remembered of one edition of the database."""

    def __init__(self, edition: int | None) -> None:
        self.edition = edition
        self.words: dict[int, str] = {}
        self.people: dict[int, Player] = {}
        self.player_ids: dict[Player, int] = {}
        self.numbered: dict[Player, int] = {}
        self.batches: dict[int, BatchKey] = {}
        self.packs: dict[int, str] = {}


class Interning:
    """Looks up numbers and gives new ones, in a transaction of the caller's."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._latest = _Known(None)

    def _known(self, connection: Connection) -> _Known:
        """What is remembered of what this connection is to. Another thread's may still be to another edition."""
        known, edition = self._latest, connection.info.get(EDITION)
        if known.edition != edition:
            known = self._latest = _Known(edition)
        return known

    def words(self, connection: Connection, ids: Collection[int]) -> Mapping[int, str]:
        """The words of these numbers."""
        return _remember(self._known(connection).words, ids, lambda missing: {
            row.id: row.word for row in self._by_id(connection, words.c, words.c.id, missing)
        })  # fmt: skip

    def players(self, connection: Connection, ids: Collection[int]) -> Mapping[int, Player]:
        """The players of these numbers."""
        return _remember(self._known(connection).people, ids, lambda missing: {
            row.id: Player(decode_id(row.ident) or None, row.name or None)
            for row in self._by_id(connection, players.c, players.c.id, missing)
        })  # fmt: skip

    def packs(self, connection: Connection, ids: Collection[int]) -> Mapping[int, str]:
        """The keys of the packs of these numbers."""
        return _remember(self._known(connection).packs, ids, lambda missing: {
            row.id: row.key for row in self._by_id(connection, [packs.c.id, packs.c.key], packs.c.id, missing)
        })  # fmt: skip

    def batches(self, connection: Connection, ids: Collection[int]) -> Mapping[int, BatchKey]:
        """The batches of these numbers."""
        return _remember(self._known(connection).batches, ids, lambda missing: self._read_batches(connection, missing))

    def _read_batches(self, connection: Connection, ids: Sequence[int]) -> dict[int, BatchKey]:
        rows = self._by_id(connection, batches.c, batches.c.id, ids)
        tagged: dict[int, list[tuple[str, str]]] = {}
        for row in self._by_id(connection, [batch_tags.c.batch_id, tags.c.key, tags.c.value], batch_tags.c.batch_id, ids):
            tagged.setdefault(row.batch_id, []).append((row.key, row.value))
        used = {getattr(row, name) for row in rows for name in _WORD_COLUMNS} - {None}
        known = self.words(connection, used)
        return {
            row.id: BatchKey(
                known[row.type_id],
                known[row.content_type_id],
                None if row.status_id is None else known[row.status_id],
                Provenance(
                    row.archived_at,
                    ArchivalTrigger(known[row.trigger_id]),
                    ArchivalPriority(row.priority),
                    None if row.policy_id is None else known[row.policy_id],
                    tuple(sorted(tagged.get(row.id, ()))),
                ),
            )
            for row in rows
        }

    def find_words(self, connection: Connection, wanted: Collection[str]) -> dict[str, int]:
        """The numbers of those of the words that have one."""
        if not wanted:
            return {}
        return {row.word: row.id for row in connection.execute(select(words).where(words.c.word.in_(wanted)))}

    def word_ids(self, connection: Connection, wanted: Collection[str]) -> dict[str, int]:
        """The numbers of words, new ones where need be."""
        found = self.find_words(connection, wanted)
        new = [word for word in dict.fromkeys(wanted) if word not in found]
        return found | self._number(connection, words, {word: (word,) for word in new})

    def batch_words(self, connection: Connection, keys: Collection[BatchKey]) -> dict[BatchKey, BatchWords]:
        """The numbers of the words of some batches, new ones where need be."""
        named = {
            key: (key.entity_type, key.content_type, key.status, key.provenance.trigger.value, key.provenance.policy)
            for key in keys
        }
        ids = self.word_ids(connection, [word for words in named.values() for word in words if word is not None])
        return {
            key: BatchWords(
                ids[kind], ids[content], ids[status] if status else None, ids[trigger], ids[policy] if policy else None
            )
            for key, (kind, content, status, trigger, policy) in named.items()
        }

    def find_tags(self, connection: Connection, wanted: Iterable[tuple[str, str]]) -> list[int]:
        """The numbers of those of the tags that have one."""
        pairs = list(wanted)
        if not pairs:
            return []
        return list(connection.scalars(select(tags.c.id).where(tuple_(tags.c.key, tags.c.value).in_(pairs))))

    def tag_ids(self, connection: Connection, wanted: Tags) -> list[int]:
        """The numbers of tags, new ones where need be."""
        if not wanted:
            return []
        rows = connection.execute(select(tags).where(tuple_(tags.c.key, tags.c.value).in_(wanted)))
        found = {(row.key, row.value): row.id for row in rows}
        new = {tag: tag for tag in wanted if tag not in found}
        return sorted((found | self._number(connection, tags, new)).values())

    def find_players(self, connection: Connection, wanted: str) -> list[int]:
        """The numbers of all players of this name or id."""
        if not wanted:  # it stands for an unknown name, and for an unknown id
            return []
        ident = encode_id(wanted)
        hashes = {short_hash(ident), short_hash(wanted.encode())}
        statement = select(players.c.id).join(player_keys, player_keys.c.player_id == players.c.id).distinct()
        statement = statement.where(player_keys.c.hash.in_(hashes), or_(players.c.name == wanted, players.c.ident == ident))
        return list(connection.scalars(statement.order_by(players.c.id)))

    def player_ids(self, connection: Connection, added: Iterable[ArchiveEntry]) -> dict[Player, int]:
        """The numbers of all the players, and winners, of these entries, new ones where need be."""
        wanted = {player for entry in added for player in entry.facts.players}
        wanted |= {entry.facts.winner for entry in added if entry.facts.winner}
        known = self._known(connection)
        ids = {player: number for player in wanted if (number := known.player_ids.get(player))}
        known.numbered = {}
        if len(ids) < len(wanted):
            keys = {player: (encode_id(player.id or ""), player.name or "") for player in wanted if player not in ids}
            numbers = self._number_players(connection, keys.values())
            known.numbered = {player: numbers[key] for player, key in keys.items()}
            ids |= known.numbered
        return ids

    def remember(self) -> None:
        """Remember what the last transaction gave numbers to, now that it is committed."""
        known = self._latest
        if len(known.player_ids) > _REMEMBERED:
            known.player_ids.clear()
        known.player_ids |= known.numbered
        known.numbered = {}

    def _number_players(self, connection: Connection, keys: Iterable[_PlayerKey]) -> Mapping[_PlayerKey, int]:
        hashes = {key: player_hashes(*key) for key in keys}
        # Each by one of its hashes is enough, and few players share an id.
        statement = select(players).join(player_keys, player_keys.c.player_id == players.c.id)
        among = self._database.among(player_keys.c.hash, {numbers[0] for numbers in hashes.values()})
        found = {(row.ident, row.name): row.id for row in connection.execute(statement.where(among))}
        new = self._number(connection, players, {key: key for key in hashes if key not in found})
        rows = {(number, player_id) for key, player_id in new.items() for number in hashes[key]}
        self._database.insert(connection, player_keys, sorted(rows))
        return found | new

    def _by_id(
        self, connection: Connection, columns: Iterable[Column[Any]], column: Column[int], ids: Sequence[int]
    ) -> list[Row[Any]]:
        """The rows of these numbers; columns of tags come with those of the batches that have them."""
        columns = list(columns)
        statement = select(*columns)
        if column.table is batch_tags:
            statement = statement.join(tags, tags.c.id == batch_tags.c.tag_id)
        found: list[Row[Any]] = []
        for start in range(0, len(ids), _CHUNK):
            rows = connection.execute(statement.where(column.in_(ids[start : start + _CHUNK]))).all()
            found += self._database.typed(rows, columns)
        return found

    def _number(self, connection: Connection, table: Table, rows: Mapping[K, tuple[object, ...]]) -> dict[K, int]:
        """Insert rows under the next numbers; a key to each row in, its number out."""
        if not rows:
            return {}
        first = self._database.next_id(connection, table)
        self._database.insert(connection, table, [(number, *row) for number, row in enumerate(rows.values(), first)])
        return {key: number for number, key in enumerate(rows, first)}


_PlayerKey = tuple[bytes, str]  # as the columns of `players` have them


def player_hashes(ident: bytes, name: str) -> list[int]:
    """What a player is looked up by: the hashes of id and name, of those that are known."""
    return [short_hash(key) for key in (ident, name.encode()) if key] or [short_hash(b"")]


_WORD_COLUMNS = ("type_id", "content_type_id", "status_id", "trigger_id", "policy_id")


def _remember(known: dict[int, V], ids: Collection[int], read: Callable[[list[int]], dict[int, V]]) -> Mapping[int, V]:
    # Into a mapping of its own: another thread may forget what is remembered at any moment.
    found = {number: value for number in ids if (value := known.get(number)) is not None}
    missing = [number for number in ids if number not in found]
    if missing:
        new = read(missing)
        if len(known) + len(new) > _REMEMBERED:
            known.clear()
        known.update(new)
        found |= new
    return found
