"""How games move from pack to pack in the catalog: what packs hold that is still named, and all of a move in one transaction.

Only places change: which games there are, what is known of them, and the order of their listings stay as they are. A pack that
was replaced is named no longer; its bytes are for the caller to remove. `OvertakenError` says that the packs no longer hold
what was read of them, and nothing has changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, Row, bindparam, delete, func, select

from gamearchive.accession import OvertakenError, PackRow
from gamearchive.database.engine import Database
from gamearchive.database.interning import Interning
from gamearchive.database.schema import entries, packs
from gamearchive.model import ArchiveEntry, encode_id

_ROWS = 100_000  # so many entries are summed up at a time: others may write in between

_NAMED = (
    select(
        entries.c.pack_id,
        func.count().label("games"),
        func.sum(entries.c.raw_bytes).label("raw"),
        func.sum(func.coalesce(entries.c.stored_bytes, entries.c.frame_bytes)).label("stored"),
        func.count(entries.c.stored_bytes).label("shared"),
        func.max(entries.c.batch_id).label("batch"),
    )
    .where(entries.c.id > bindparam("after"), entries.c.id <= bindparam("upto"))
    .group_by(entries.c.pack_id)
)
# The driver's own words: thousands of rows are moved while nobody else can write.
_MOVES = {
    "sqlite": """
        UPDATE entries SET pack_id = ?, frame_offset = ?, frame_bytes = ?, record_offset = ?, stored_bytes = ? WHERE id = ?""",
    "postgresql": """
        UPDATE entries SET pack_id = %s, frame_offset = %s, frame_bytes = %s, record_offset = %s, stored_bytes = %s
        WHERE id = %s""",
}


class PackUse(NamedTuple):
    """A pack, and what of it the catalog names: so many revisions of games, of so many bytes, raw and in the pack.

    ``newest`` is when the last of them was archived, in microseconds since the epoch; ``content_type`` one of theirs.
    """

    key: str
    pack_bytes: int
    games: int
    raw_bytes: int
    stored_bytes: int
    dense: bool
    newest: int
    content_type: str

    @property
    def entity_type(self) -> str:
        """The type of its games."""
        return self.key.partition("/")[0]


def uses(database: Database, names: Interning) -> list[PackUse]:
    """All packs that the catalog names games of, in the order in which these were archived."""
    named: dict[int, list[int]] = {}
    last, upto = -1, 0
    while upto > last:
        last = upto
        with database.read() as connection:
            upto = min(last + _ROWS, connection.scalar(select(func.max(entries.c.id))) or 0)
            rows = connection.execute(_NAMED, {"after": last, "upto": upto}).all()
        for pack_id, *sums, batch in rows:
            before = named.get(pack_id, [0, 0, 0, 0, 0])
            named[pack_id] = [*(int(a) + int(b) for a, b in zip(before, sums, strict=False)), max(int(batch), before[-1])]
    with database.read() as connection:
        found = database.typed(connection.execute(select(packs).order_by(packs.c.first_id, packs.c.id)).all(), packs.c)
        batches = names.batches(connection, {sums[-1] for sums in named.values()})
    made = []
    for row in found:
        if row.id in named:
            games, raw, stored, shared, batch = named[row.id]
            last_batch = batches[batch]
            newest, content_type = last_batch.provenance.archived_at, last_batch.content_type
            made.append(PackUse(row.key, row.stored_bytes, games, raw, stored, shared > 0, newest, content_type))
    return made


class Repacking:
    """One transaction's view of some packs.

    Args:
        database: whose transaction it is.
        connection: the transaction.
        keys: the packs'.
    """

    def __init__(self, database: Database, connection: Connection, keys: Sequence[str]) -> None:
        self._database = database
        self._connection = connection
        self._keys = keys

    def rows(self) -> list[Row[tuple[object, ...]]]:
        """The rows of ``entries`` whose bytes lie in the packs, in the order in which they were archived."""
        there = list(self._packs())
        if not there:
            return []
        first, last = min(row.first_id for row in there), max(row.last_id for row in there)
        among = self._database.among(entries.c.pack_id, [row.id for row in there])
        statement = select(*entries.c).where(entries.c.id.between(first, last), among).order_by(entries.c.id)
        return list(self._connection.execute(statement).all())

    def move(self, before: Sequence[ArchiveEntry], after: Sequence[ArchiveEntry], pack_rows: Sequence[PackRow]) -> None:
        """Move games to other packs, and name these instead.

        Args:
            before: the entries as `rows` had them.
            after: the same ones where their bytes lie now as well.
            pack_rows: the packs where that is.

        Raises:
            OvertakenError: if the packs are not all named any more, or hold other games.
        """
        old = {row.id for row in self._packs()}
        rows = self.rows()
        expected = [(encode_id(entry.entity_id), entry.revision, entry.place.frame_offset) for entry in before]
        if len(old) < len(self._keys) or [(row.entity_key, row.revision, row.frame_offset) for row in rows] != expected:
            raise OvertakenError("Packs were changed by another process while they were being replaced.")
        ids = self._add_packs(pack_rows, [entry.place.pack for entry in after], [row.id for row in rows])
        moved: list[tuple[object, ...]] = []
        for row, entry in zip(rows, after, strict=True):
            place = entry.place
            where = ids[place.pack], place.frame_offset, place.frame_bytes, place.record_offset
            moved.append((*where, entry.stored_bytes, row.id))
        if moved:
            self._connection.exec_driver_sql(_MOVES[self._connection.dialect.name], moved)
        self._connection.execute(delete(packs).where(self._database.among(packs.c.id, old)))

    def _packs(self) -> Iterator[Row[tuple[object, ...]]]:
        for start in range(0, len(self._keys), 1_000):
            statement = select(packs).where(packs.c.key.in_(self._keys[start : start + 1_000]))
            yield from self._database.typed(self._connection.execute(statement).all(), packs.c)

    def _add_packs(self, pack_rows: Sequence[PackRow], keys: Sequence[str], numbers: Sequence[int]) -> dict[str, int]:
        """Name packs, in which the entries of these numbers lie, each in the one whose key is given; their ids.

        They come before the old ones go, so that no number is given again that others remember.
        """
        first = dict(zip(reversed(keys), reversed(numbers), strict=True))
        last = dict(zip(keys, numbers, strict=True))
        ids = {row.key: number for number, row in enumerate(pack_rows, self._database.next_id(self._connection, packs))}
        rows = [
            (ids[row.key], row.key, row.stored_bytes, row.dictionary_id, first[row.key], last[row.key]) for row in pack_rows
        ]
        self._database.insert(self._connection, packs, rows)
        return ids
