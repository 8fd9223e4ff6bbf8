"""A database's rows, out and in again: the same rows, whichever engine they come from and go to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from archiving import Home, game, games
from journaling import journal, recovered, snapshot
from queueing import FILED

from gamearchive.database import dump
from gamearchive.database.engine import Database
from gamearchive.database.schema import metadata, servers
from gamearchive.query import ArchiveQuery
from gamearchive.queue import JobQueue


@pytest.fixture
def home(tmp_path: Path, database_url: str) -> Iterator[Home]:
    made = Home(tmp_path / "home", database_url)
    yield made
    made.close()


def dumped(database: Database) -> dict[str, list[list[dump.Row]]]:
    with database.read() as connection:
        return {section.name: list(dump.groups(connection, section)) for section in dump.sections()}


def fill(home: Home) -> None:
    """Games in two revisions, one of them lost, tags, and a job."""
    archive = home.open()
    archive.add(games(1200))
    home.clock.turn(60)
    archive.add([game(number, moves=3, tags=(("season", "2026"),)) for number in range(0, 1200, 100)])
    lost = archive.get("g-7")
    archive.catalog.mark_damaged([lost], {lost: "for a test"})
    JobQueue(home.database, home.clock).enqueue([game(5000), game(5001)], FILED)


def test_every_table_is_kept_or_it_is_said_why_not(home: Home) -> None:
    kept = {section.table for section in dump.sections()}
    assert kept | {*dump.OF_NOW, *dump.DERIVED} == set(metadata.tables.values())
    for section in dump.sections():
        assert section.span is None or section.columns[0] is next(iter(section.table.primary_key))


def test_groups_stay_the_same_but_for_the_last(home: Home) -> None:
    fill(home)
    before = dumped(home.database)["entries"]
    assert [len(group) for group in before] == [511, 512, 189]
    home.open().add([game(number, moves=4) for number in (1, 600)])
    after = dumped(home.database)
    assert after["entries"][:2] == before[:2]
    assert {row[0] for group in after["entries.superseded"] for row in group} > {2, 601}


@pytest.mark.parametrize("to", ["sqlite", "postgresql"])
def test_rows_go_from_either_engine_to_either(home: Home, to: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    fill(home)
    kept = dumped(home.database)
    if to == "sqlite":
        url = f"sqlite:///{tmp_path / 'other.db'}"
    else:
        server = request.getfixturevalue("postgresql")
        url = server.new_database()
    names = {section.name: section.names for section in dump.sections()}

    def read(name: str) -> tuple[Sequence[str], Sequence[Sequence[dump.Row]]]:
        return names[name], kept[name]

    other = Home(tmp_path / "home", url)
    with other.database.read() as connection:
        assert dump.is_empty(connection)
    assert sum(dump.put_back(other.database, read)) == sum(
        len(group) for name, groups in kept.items() if "." not in name for group in groups
    )
    assert dumped(other.database) == kept
    here, there = home.open(), other.open()
    for player in ("Ada", "Łukasz"):
        query = ArchiveQuery(players=[player], limit=0, all_revisions=True)
        assert list(there.catalog.every(query)) == list(here.catalog.every(query))
    assert there.get("g-100").revision == 2
    assert there.catalog.damage(there.get("g-7")) == "for a test"
    assert there.read(there.get("g-501")) == game(501).payload
    there.add([game(7000)])
    JobQueue(other.database, other.clock).enqueue([game(7001)], FILED)
    assert len({row[0] for group in dumped(other.database)["jobs"] for row in group}) == 3
    other.close()
    if to == "postgresql":
        server.drop(url)


def test_rows_that_hold_a_game_each_come_in_groups_of_bounded_bytes(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    JobQueue(home.database, home.clock).enqueue(games(50), FILED)
    (whole,) = dumped(home.database)["job_records"]
    monkeypatch.setattr(dump, "_GROUP_BYTES", 3 * len(game(0).payload))
    parts = dumped(home.database)["job_records"]
    assert [row for part in parts for row in part] == whole
    assert max(len(part) for part in parts) <= 4


def test_a_server_of_the_rows_is_dead_where_they_are_put_back(home: Home, tmp_path: Path) -> None:
    with journal(home.url, "server-1") as living:
        living.flush([snapshot("in-play", b"{1}")])
        kept = dumped(home.database)
    other = Home(tmp_path / "other")
    names = {section.name: section.names for section in dump.sections()}
    list(dump.put_back(other.database, lambda name: (names[name], kept[name])))
    with other.database.read() as connection:
        (row,) = connection.execute(servers.select()).all()
    assert (row.name, row.lease_until) == ("server-1", 0)
    assert row.token != kept["servers"][0][0][2]
    with journal(other.url, "server-1") as again:
        assert recovered(again)["in-play"].record.payload == b"{1}"
    other.close()
