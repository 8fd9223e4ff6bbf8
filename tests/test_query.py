"""Listings: each equals what plain Python would list, on either engine, and none of them reads the whole table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from functools import cached_property
from math import inf
from random import Random
from typing import Any

import pytest
from catalog_samples import NOW, PEOPLE, add, entry, packed, random_entries, sent
from msgspec import structs
from sqlalchemy import event

from gamearchive import query
from gamearchive.catalog import Catalog
from gamearchive.database.engine import Database
from gamearchive.database.players import SQLitePlayerIndex
from gamearchive.errors import UsageError
from gamearchive.model import ArchiveEntry, EntityKey, Facts, Player
from gamearchive.query import ArchiveQuery, SortField, decode_cursor, encode_cursor
from gamearchive.units import SECOND

ARCHIVED, COMPLETED, CREATED = SortField.ARCHIVED, SortField.COMPLETED, SortField.CREATED


# the query itself


@pytest.mark.parametrize("wrong", [{"limit": -1}, {"offset": -1}])
def test_a_listing_of_less_than_nothing_is_refused(wrong: dict[str, int]):
    with pytest.raises(UsageError, match="cannot be negative"):
        ArchiveQuery(**wrong)


@pytest.mark.parametrize(
    "said",
    [
        NOW,
        datetime.fromtimestamp(NOW // SECOND, UTC),
        datetime.fromtimestamp(NOW // SECOND, UTC).replace(tzinfo=None),
        datetime.fromtimestamp(NOW // SECOND, timezone(timedelta(hours=-7))),
    ],
    ids=["number", "utc", "naive", "other-zone"],
)
def test_an_instant_may_be_said_in_several_ways(said: datetime | int):
    assert ArchiveQuery(start_date=said).since == ArchiveQuery(end_date=said).until == NOW


def test_a_listing_is_in_the_order_of_its_time_unless_told_otherwise():
    assert ArchiveQuery().order is ARCHIVED
    assert ArchiveQuery(time=COMPLETED).order is COMPLETED
    assert ArchiveQuery(time=COMPLETED, sort=CREATED).order is CREATED


@pytest.mark.parametrize("instant", [0, -1, NOW, -(1 << 62)])
@pytest.mark.parametrize("order", list(SortField))
def test_a_cursor_says_where_it_was(order: SortField, instant: int):
    assert decode_cursor(encode_cursor(order, instant, 7), order) == (instant, 7)


@pytest.mark.parametrize("cursor", ["x", "é", "", "YXJjaGl2ZWQ", "YXJjaGl2ZWQ6MDp4", "/../", "a" * 1001])
def test_what_is_no_cursor_is_refused(cursor: str):
    with pytest.raises(UsageError, match="is not a cursor"):
        decode_cursor(cursor, ARCHIVED)


def test_a_cursor_of_a_listing_in_another_order_is_refused():
    with pytest.raises(UsageError, match="sorted by completed, not by archived") as caught:
        decode_cursor(encode_cursor(COMPLETED, 5, 7), ARCHIVED)
    assert caught.value.hint == "Add --sort completed."


@pytest.mark.parametrize("instant", [-(1 << 70), 1 << 70])
@pytest.mark.parametrize("entry_id", [-(1 << 70), 1 << 70])
def test_a_made_up_cursor_beyond_all_numbers_lists_something_or_nothing(catalog: Catalog, instant: int, entry_id: int):
    add(catalog, entry("a", facts=Facts(completed_at=NOW)))
    for order in SortField:
        for ascending in (True, False):
            asked = ArchiveQuery(sort=order, ascending=ascending, cursor=encode_cursor(order, instant, entry_id))
            assert len(catalog.find(asked).entries) <= 1


# against plain Python


class Reference:
    """A catalog in plain Python: every entry in the order of acceptance."""

    def __init__(self) -> None:
        self.accepted: list[ArchiveEntry] = []

    def add(self, entries: Sequence[ArchiveEntry]) -> None:
        """What is archived together is accepted in its order in time, and what is alike in all that batches know together."""
        groups: dict[object, list[ArchiveEntry]] = {}
        for one in sorted(entries, key=lambda e: e.provenance.archived_at):
            groups.setdefault((one.entity_type, one.content_type, one.facts.status, one.provenance), []).append(one)
        self.accepted += [one for group in groups.values() for one in group]

    @cached_property
    def numbered(self) -> list[tuple[int, ArchiveEntry]]:
        """All entries with their place in the order, once all are there."""
        latest: dict[EntityKey, int] = {}
        for one in self.accepted:
            latest[one.key] = max(one.revision, latest.get(one.key, 0))
        return [
            (number, structs.replace(one, superseded=latest[one.key] != one.revision))
            for number, one in enumerate(self.accepted)
        ]

    def find(self, asked: ArchiveQuery) -> list[ArchiveEntry]:
        found = [(_place(one, asked.order), number, one) for number, one in self.numbered if self._matches(asked, one)]
        found.sort(key=lambda item: item[:2], reverse=not asked.ascending)
        return [one for *_, one in found]

    def _matches(self, asked: ArchiveQuery, one: ArchiveEntry) -> bool:
        at = _time(one, asked.time)
        return (
            (asked.all_revisions or not one.superseded)
            and asked.entity_type in (None, one.entity_type)
            and (not asked.entity_ids or one.entity_id in asked.entity_ids)
            and (not asked.statuses or one.facts.status in asked.statuses)
            and all(any(wanted in (p.id, p.name) for p in one.facts.players) for wanted in asked.players)
            and set(asked.tags.items()) <= set(one.provenance.tags)
            and (asked.since is None or (at is not None and at >= asked.since))
            and (asked.until is None or (at is not None and at < asked.until))
        )


def _place(one: ArchiveEntry, order: SortField) -> float:
    at = _time(one, order)
    return 0 if order is ARCHIVED else -inf if at is None else at


def _time(one: ArchiveEntry, field: SortField) -> int | None:
    facts = one.facts
    return {ARCHIVED: one.provenance.archived_at, COMPLETED: facts.completed_at, CREATED: facts.created_at}[field]


def random_query(random: Random, accepted: Sequence[ArchiveEntry]) -> ArchiveQuery:
    """A question of any kind, most often one that has an answer."""

    def sometimes(chance: float) -> bool:
        return random.random() < chance

    names = [label for player in PEOPLE for label in (player.id, player.name) if label]
    time = random.choice(list(SortField))
    known = sorted(at for one in accepted if (at := _time(one, time)) is not None)
    ends = sorted(random.choice(known) + random.choice((-1, 0, 0, 1, SECOND)) for _ in range(2))
    return ArchiveQuery(
        entity_type=random.choice(("game", "chess", "no-such")) if sometimes(0.3) else None,
        entity_ids=[random.choice(accepted).entity_id for _ in range(20)] + ["no such"] if sometimes(0.1) else (),
        start_date=ends[0] if sometimes(0.4) else None,
        end_date=ends[1] if sometimes(0.4) else None,
        tags=dict(random.sample([("season", "2"), ("ranked", "yes")], random.choice((1, 1, 2)))) if sometimes(0.2) else {},
        players=random.sample([*names, "nobody"], random.choice((1, 1, 1, 2))) if sometimes(0.3) else (),
        statuses=random.sample(["completed", "abandoned", "1-0", "no such"], random.choice((1, 2))) if sometimes(0.3) else (),
        time=time,
        sort=random.choice((None, *SortField)),
        ascending=sometimes(0.5),
        all_revisions=sometimes(0.3),
    )


bounds = pytest.mark.parametrize(
    ("few", "several"), [(5_000, 20_000), (30, 20_000), (30, 30)], ids=["all-is-few", "all-is-several", "little-is-few"]
)


@bounds
def test_listings_are_what_plain_python_lists(catalog: Catalog, monkeypatch: pytest.MonkeyPatch, few: int, several: int):
    monkeypatch.setattr(query, "_FEW", few)
    monkeypatch.setattr(SQLitePlayerIndex, "several", several)
    random = Random(few)
    reference = Reference()
    for batch in random_entries(random, 3_000):
        add(catalog, *batch)
        reference.add(batch)
    answered = 0
    for _ in range(100):
        asked = random_query(random, reference.accepted)
        expected = reference.find(asked)
        answered += bool(expected)
        size = max(len(expected) // random.randrange(1, 4), 1)
        assert list(_walk(catalog, replace(asked, limit=size))) == expected, asked
        assert catalog.count(asked) == len(expected), asked
        first, limit = random.randrange(0, 50), random.randrange(1, 50)
        assert list(catalog.find(replace(asked, offset=first, limit=limit)).entries) == expected[first : first + limit], asked
    assert answered > 50


def test_a_cursor_is_short(catalog: Catalog):
    for batch in random_entries(Random(1), 100):
        add(catalog, *batch)
    assert len(catalog.find(ArchiveQuery(limit=99)).next_cursor or "") < 20


def _walk(catalog: Catalog, asked: ArchiveQuery) -> Iterator[ArchiveEntry]:
    while True:
        page = catalog.find(asked)
        assert len(page.entries) == asked.limit or page.next_cursor is None
        yield from page.entries
        if page.next_cursor is None:
            return
        asked = replace(asked, cursor=page.next_cursor)


@bounds
@pytest.mark.parametrize("ascending", [False, True], ids=["down", "up"])
@pytest.mark.parametrize("order", list(SortField))
def test_pages_neither_repeat_nor_leave_out_while_games_are_added(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, few: int, several: int, order: SortField, ascending: bool
):
    monkeypatch.setattr(query, "_FEW", few)
    monkeypatch.setattr(SQLitePlayerIndex, "several", several)
    old, new = (
        random_entries(Random(1), 400, batches=8)[:4],
        random_entries(Random(2), 400, until=NOW + 10 * 3600 * SECOND, batches=8),
    )
    for batch in old:
        add(catalog, *batch)
    asked = ArchiveQuery(sort=order, ascending=ascending, limit=20, entity_type="game")
    expected = [(e.key, e.revision) for e in catalog.every(replace(asked, limit=0))]
    seen: list[tuple[EntityKey, int]] = []
    while True:
        page = catalog.find(asked)
        seen += [(e.key, e.revision) for e in page.entries]
        if page.next_cursor is None:
            break
        asked = replace(asked, cursor=page.next_cursor)
        if new:
            add(catalog, *new.pop(0))
    were_there = set(expected)
    assert [one for one in seen if one in were_there] == expected
    assert len(set(seen)) == len(seen)


def test_a_listing_by_archived_time_finds_what_came_late_but_not_too_late(catalog: Catalog):
    add(catalog, entry("first", provenance=sent(NOW)))
    add(catalog, entry("trails", provenance=sent(NOW - query.ACCEPTANCE_LAG)))
    add(catalog, entry("both", provenance=sent(NOW + SECOND)), entry("far-ahead", provenance=sent(NOW + 10**6 * SECOND)))

    def listed(since: int | None, until: int | None) -> list[str]:
        return [e.entity_id for e in catalog.find(ArchiveQuery(start_date=since, end_date=until)).entries]

    assert listed(None, NOW) == ["trails"]
    assert listed(NOW - query.ACCEPTANCE_LAG, NOW + 1) == ["trails", "first"]
    assert listed(NOW, NOW + 2 * SECOND) == ["both", "first"]
    assert listed(NOW + 2 * SECOND, None) == ["far-ahead"]
    assert listed(NOW + 10**7 * SECOND, None) == listed(None, NOW - 10**9 * SECOND) == []


# what a listing costs

_GAMES = 20_000

LISTINGS = {
    "all": ArchiveQuery(),
    "all, the oldest first": ArchiveQuery(ascending=True),
    "common type": ArchiveQuery(entity_type="game"),
    "rare type": ArchiveQuery(entity_type="chess"),
    "common status": ArchiveQuery(statuses=["completed"]),
    "rare status": ArchiveQuery(statuses=["abandoned"]),
    "statuses": ArchiveQuery(statuses=["abandoned", "1-0"]),
    "tag": ArchiveQuery(tags={"season": "2"}),
    "busy player": ArchiveQuery(players=["Busy"]),
    "rare player": ArchiveQuery(players=["Player 7"]),
    "two players": ArchiveQuery(players=["Busy", "7"]),
    "busy player, rare status": ArchiveQuery(players=["Busy"], statuses=["abandoned"]),
    "busy player, rare type": ArchiveQuery(players=["Busy"], entity_type="chess"),
    "archived since": ArchiveQuery(start_date=NOW - 50 * SECOND),
    "archived until": ArchiveQuery(end_date=NOW - 150 * SECOND),
    "archived until, player": ArchiveQuery(end_date=NOW - 150 * SECOND, players=["Busy"]),
    "by completed": ArchiveQuery(sort=COMPLETED),
    "by completed, the oldest first": ArchiveQuery(sort=COMPLETED, ascending=True),
    "completed in a window": ArchiveQuery(time=COMPLETED, start_date=NOW - 9_000 * SECOND, end_date=NOW - 8_000 * SECOND),
    "completed in a window, by archived": ArchiveQuery(
        time=COMPLETED, start_date=NOW - 19_000 * SECOND, end_date=NOW - 10_000 * SECOND, sort=ARCHIVED
    ),
    "rare type by completed": ArchiveQuery(entity_type="chess", sort=COMPLETED),
    "rare status by completed": ArchiveQuery(statuses=["abandoned"], sort=COMPLETED),
    "busy player by created": ArchiveQuery(players=["Busy"], sort=CREATED),
    "busy player, rare type by completed": ArchiveQuery(players=["Busy"], entity_type="chess", sort=COMPLETED),
    "rare type by unknown": ArchiveQuery(entity_type="chess", sort=CREATED),
    "ids": ArchiveQuery(entity_ids=["5", "6", "no such"]),
    "unknown player": ArchiveQuery(players=["nobody"]),
}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    """Games of which most are alike: an old, small import of another type, one busy player, few of a rare status."""
    if request.param == "postgresql":
        server = request.getfixturevalue("postgresql")
        url = server.new_database()
    else:
        url = f"sqlite:///{tmp_path_factory.mktemp('filled') / 'gamearchive.db'}"
    database = Database(url)
    database.create()
    catalog = Catalog(database)
    random = Random(3)
    for batch in range(_GAMES // 100):
        made = []
        for number in range(batch * 100, batch * 100 + 100):
            chess = batch in (20, 21, 22, 23)
            at = None if random.random() < 0.02 else (NOW if not chess else -NOW) + (number - _GAMES) * SECOND
            facts = Facts(
                (
                    Player(name="Busy" if random.random() < 0.3 else f"Player {random.randrange(500)}"),
                    Player(str(number % 1000)),
                ),
                status="abandoned" if random.random() < 0.005 else "1-0" if random.random() < 0.05 else "completed",
                created_at=None if chess else at,
                completed_at=at,
            )
            way = sent(NOW + (batch - 200) * SECOND, season=str(batch % 20))
            made.append(entry(str(number), entity_type="chess" if chess else "game", facts=facts, provenance=way))
        add(catalog, *packed(f"pack-{batch}", *made))
    if request.param == "postgresql":
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("ANALYZE")
    yield catalog
    database.close()
    if request.param == "postgresql":
        server.drop(url)


@pytest.mark.parametrize("listing", LISTINGS)
def test_no_listing_reads_the_whole_table(filled: Catalog, monkeypatch: pytest.MonkeyPatch, listing: str):
    monkeypatch.setattr(query, "_FEW", 200)
    asked = replace(LISTINGS[listing], limit=10)
    with _asked_of(filled.database) as asking:
        first = filled.find(asked)
        assert first.entries or listing == "unknown player"
        if first.next_cursor:
            filled.find(replace(asked, cursor=first.next_cursor))
    if filled.database.path is None:
        _check_postgresql(filled.database, asking)
    else:
        _check_sqlite(filled.database, asking)


@contextmanager
def _asked_of(database: Database) -> Iterator[list[tuple[str, object]]]:
    """The questions that a database is asked meanwhile, with their parameters."""
    asking: list[tuple[str, object]] = []

    def note(_: object, __: object, statement: str, parameters: object, ___: object, ____: bool) -> None:
        if statement.startswith("SELECT"):
            asking.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", note)
    yield asking
    event.remove(database.engine, "before_cursor_execute", note)


def _check_sqlite(database: Database, asking: Sequence[tuple[str, object]]) -> None:
    with database.engine.connect() as connection:
        for statement, parameters in asking:
            plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
            unordered = any(re.fullmatch("USE TEMP B-TREE FOR ORDER BY", line) for line in plan)
            for line in plan:
                # In the order of its rows or of an index the table is read until the page is full, and unsorted.
                assert not re.match("SCAN entries", line) or not unordered, (plan, statement)


def _check_postgresql(database: Database, asking: Sequence[tuple[str, object]]) -> None:
    with database.engine.connect() as connection:
        for statement, parameters in asking:
            (plan,) = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters).scalar_one()
            assert _rows_read(plan["Plan"]) < _GAMES / 2, (plan, statement)


def _rows_read(node: dict[str, Any]) -> float:
    """How many rows of the entries a plan has read, whether it had a use for them or not."""
    rows = sum(_rows_read(below) for below in node.get("Plans", ()))
    if node.get("Relation Name") == "entries":
        rows += (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
    return rows


@pytest.mark.parametrize("filled", ["sqlite"], indirect=True)
@pytest.mark.parametrize("listing", LISTINGS)
def test_a_first_page_costs_the_same_however_many_games_there_are(
    filled: Catalog, monkeypatch: pytest.MonkeyPatch, listing: str
):
    monkeypatch.setattr(query, "_FEW", 100)
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    with filled.database.read() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        driver.set_progress_handler(count, 100)
    filled.find(replace(LISTINGS[listing], limit=10))  # on the only connection of the pool
    driver.set_progress_handler(None, 0)
    # A walk over all games takes 10 steps of SQLite's machine for each at the least.
    assert steps * 100 < _GAMES * 5, steps * 100
