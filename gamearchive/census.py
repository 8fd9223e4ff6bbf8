"""All games of a catalog shown to the rules of retention, in bounded memory, and no game that nothing can expire.

What games that were archived together have in common is in their batch. Where that settles the matter, their rows are not read
at all: so a nightly run costs what is due, and not what there is.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from gamearchive.candidates import Shared, person
from gamearchive.catalog import Catalog
from gamearchive.database.engine import Database
from gamearchive.database.interning import BatchKey
from gamearchive.database.schema import batches, entries
from gamearchive.model import Facts, Player, Tags, decode_id
from gamearchive.retention import KEPT, Trial

_BATCHES = 1_000
_ROWS = 5_000
_GAP = 1_000
"""So many rows are read in vain sooner than another statement is made."""

_COLUMNS = [
    entries.c[name]
    for name in ("id", "batch_id", "entity_key", "raw_bytes", "created_at", "completed_at", "winner_id", "players")
]


class Treatment(NamedTuple):
    """What is done with the games of a batch: all go by one rule, or each is looked at by some."""

    shared: Shared
    opened: Sequence[tuple[int, bool]]
    settled: int | None
    completed_until: int | None


class _Range(NamedTuple):
    """Rows from one number to another; those that are let go by the batch, or those that are looked at: of these, where it can
    be said, only those completed until then.
    """

    first: int
    last: int
    looks: bool
    completed_until: int | None


class _Game:
    """A row as rules see it. What they do not ask for is not made."""

    __slots__ = ("_people", "_row", "_seats", "_shared", "completed_at", "number")

    def __init__(self, row: Sequence[object], shared: Shared, seats: Sequence[int], people: Mapping[int, Player]) -> None:
        self._row, self._shared, self._seats, self._people = row, shared, seats, people
        self.number: int = row[0]  # type: ignore[assignment]
        self.completed_at: int | None = row[5]  # type: ignore[assignment]

    @property
    def entity_type(self) -> str:
        return self._shared.entity_type

    @property
    def entity_id(self) -> str:
        return decode_id(self._row[2])  # type: ignore[arg-type]

    @property
    def content_type(self) -> str:
        return self._shared.content_type

    @property
    def tags(self) -> Tags:
        return self._shared.tags

    @property
    def archived_at(self) -> int:
        return self._shared.archived_at

    @property
    def raw_bytes(self) -> int:
        return self._row[3]  # type: ignore[return-value]

    @property
    def payload(self) -> bytes:
        return b""

    @property
    def players(self) -> Sequence[Hashable]:
        people = self._people
        return [person(people[seat]) for seat in self._seats]

    @property
    def facts(self) -> Facts:
        winner = self._people.get(self._row[6])  # type: ignore[call-overload]
        people = tuple([self._people[seat] for seat in self._seats])
        return Facts(people, winner, self._shared.status, self._row[4], self._row[5])  # type: ignore[arg-type]


def take_census(catalog: Catalog, trial: Trial) -> int:
    """Show all games of a catalog to a trial, as of one moment; how many there are."""
    with catalog.database.read() as connection:
        after = 0
        while page := _page(connection, after):
            after = page[-1][0]
            treatments = _treatments(catalog, connection, trial, [row[0] for row in page])
            for chosen in _ranges(page, treatments):
                _walk(catalog, connection, trial, treatments, chosen)
        total = select(func.count()).select_from(entries).where(entries.c.superseded.is_(None))
        return connection.scalar(total) or 0


def _page(connection: Connection, after: int) -> list[tuple[int, int, int]]:
    statement = select(batches.c.id, batches.c.first_id, batches.c.last_id).where(batches.c.id > after)
    return [(row[0], row[1], row[2]) for row in connection.execute(statement.order_by(batches.c.id).limit(_BATCHES))]


def _treatments(catalog: Catalog, connection: Connection, trial: Trial, ids: Sequence[int]) -> dict[int, Treatment]:
    """What is to be done with the games of batches, without those of which all are kept."""
    found = {}
    for number, key in catalog.names.batches(connection, ids).items():
        shared = _shared(key)
        opened = trial.open(shared)
        settled = trial.settle(shared, opened)
        if settled != KEPT:
            found[number] = Treatment(shared, opened, settled, trial.completed_until(opened))
    return found


def _shared(key: BatchKey) -> Shared:
    return Shared(key.entity_type, key.content_type, key.status, key.provenance.tags, key.provenance.archived_at)


def _ranges(page: Sequence[tuple[int, int, int]], treatments: Mapping[int, Treatment]) -> Iterator[_Range]:
    """The rows to read, in as few ranges as is reasonable."""
    found: _Range | None = None
    for number, first, last in page:
        if number not in treatments:
            continue
        treatment = treatments[number]
        new = _Range(first, last, treatment.settled is None, treatment.completed_until)
        if found is not None and found[2:] == new[2:] and first - found.last <= _GAP:
            found = found._replace(last=last)
            continue
        if found is not None:
            yield found
        found = new
    if found is not None:
        yield found


def _walk(catalog: Catalog, connection: Connection, trial: Trial, treatments: Mapping[int, Treatment], chosen: _Range) -> None:
    columns = _COLUMNS if chosen.looks else _COLUMNS[:2]
    statement = select(*columns).where(entries.c.id.between(chosen.first, chosen.last), entries.c.superseded.is_(None))
    if chosen.looks and chosen.completed_until is not None:
        statement = statement.where(entries.c.completed_at <= chosen.completed_until)
    result = connection.execute(statement.order_by(entries.c.id), execution_options={"yield_per": _ROWS})
    for rows in result.partitions():
        catalog.database.typed(rows, columns)
        if not chosen.looks:
            for row in rows:
                treatment = treatments.get(row[1])
                if treatment is not None and treatment.settled is not None:
                    trial.let_go(treatment.settled, row[0])
            continue
        seats = [catalog.database.players.loaded(row[7]) if trial.asks_players else () for row in rows]
        wanted = {seat for each in seats for seat in each}
        if trial.asks_players:
            wanted |= {row[6] for row in rows if row[6]}
        people = catalog.names.players(connection, wanted)
        for row, each in zip(rows, seats, strict=True):
            treatment = treatments.get(row[1])
            if treatment is not None and treatment.settled is None:
                trial.look(treatment.opened, _Game(row, treatment.shared, each, people))


def hole_since(database: Database, since: int | None, now: int) -> tuple[int, int] | None:
    """The longest time up to now in which nothing was archived: since an instant, or, without one, since the newest game was;
    None if there is neither.
    """
    instant = batches.c.accepted_at
    statement = select(instant).order_by(batches.c.id)
    statement = statement.where(instant > since) if since is not None else select(func.max(instant))
    with database.read() as connection:
        found = [row[0] for row in connection.execute(statement) if row[0] is not None]
    seen = [*([] if since is None else [since]), *found, now]
    return max(pairwise(seen), key=lambda pair: pair[1] - pair[0], default=None)
