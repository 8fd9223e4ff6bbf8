from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from archiving import Home, found_by, game, games, listed, plain
from databases import Databases

from gamearchive.backends.base import GameBytes, IArchivalBackend
from gamearchive.backends.foreign import ForeignHoldings
from gamearchive.errors import ConfigurationError, IntegrityError, NotFoundError, UnsupportedError
from gamearchive.model import checksum
from gamearchive.operations.rebuild import rebuild
from gamearchive.operations.restore import restore_to_folder
from gamearchive.operations.verify import Finding, verify


class Shelf:
    """A stranger's backend: nothing of ours is in it."""

    def __init__(self) -> None:
        self.games: dict[str, bytes] = {}
        self.loops: set[asyncio.AbstractEventLoop] = set()

    async def archive(self, entity_id: str, entity_type: str, data: bytes) -> str:
        self.loops.add(asyncio.get_running_loop())
        await asyncio.sleep(0)
        location = f"shelf {len(self.games)}: {entity_type} #{entity_id}"
        self.games[location] = data
        return location

    async def retrieve(self, location: str) -> bytes:
        self.loops.add(asyncio.get_running_loop())
        if location not in self.games:
            raise NotFoundError(f"The shelf has no {location!r}.")
        return self.games[location]


class BatchingShelf(Shelf):
    batches = 0

    async def archive_many(self, games: list[GameBytes]) -> list[str]:
        self.batches += 1
        return [await self.archive(*each) for each in games]


class ContentShelf(Shelf):
    """Keeps equal bytes once."""

    async def archive(self, entity_id: str, entity_type: str, data: bytes) -> str:
        location = checksum(data).hex()
        self.games[location] = data
        return location


@pytest.fixture
def home(databases: Databases, tmp_path: Path):
    home = Home(tmp_path, databases.of(tmp_path))
    yield home
    home.close()


@pytest.mark.parametrize("kind", [Shelf, BatchingShelf, ContentShelf])
def test_archive_find_and_read(home: Home, kind: type[Shelf]) -> None:
    shelf = kind()
    archive = home.open(holdings=ForeignHoldings(shelf))
    records = games(120)
    added = archive.add(records)
    assert len(added.entries) == 120
    assert [archive.read(archive.get(record.entity_id)) for record in records] == [record.payload for record in records]
    assert archive.add(records).entries == ()
    assert len(shelf.loops) == 1
    assert isinstance(shelf, BatchingShelf) is (getattr(shelf, "batches", 0) == 1)
    archive.holdings.close()


def test_verify_restore_and_what_cannot_be_done(home: Home, tmp_path: Path) -> None:
    shelf = Shelf()
    archive = home.open(holdings=ForeignHoldings(shelf))
    records = games(5)
    archive.add(records)
    for full in (False, True):
        steps = list(verify(archive, full=full))
        assert (sum(step.records for step in steps), found_by(steps)) == (5, [])
    restored = list(restore_to_folder(archive, listed(archive), tmp_path / "out", force=False))
    assert [each.path and each.path.read_bytes() for each in restored] == [record.payload for record in records]
    with pytest.raises(UnsupportedError, match="Shelf"):
        list(rebuild(archive))
    with pytest.raises(UnsupportedError, match="Shelf"):
        archive.holdings.packs()
    archive.holdings.close()


def test_verify_finds_what_a_stranger_lost_and_altered(home: Home) -> None:
    shelf = Shelf()
    archive = home.open(holdings=ForeignHoldings(shelf))
    archive.add(games(4))
    lost, altered, *_ = list(shelf.games)
    del shelf.games[lost]
    shelf.games[altered] = b"something else"
    found = found_by(verify(archive, full=True, repair=True))
    assert {(each.finding, each.entry.entity_id) for each in found if each.entry} == {
        (Finding.DAMAGED, "g-0"),
        (Finding.DAMAGED, "g-1"),
    }
    assert archive.catalog.damage(archive.get("g-0")) is not None
    with pytest.raises(IntegrityError, match="'g-1'"):
        archive.read(archive.get("g-1"))
    archive.holdings.close()


def test_games_of_equal_bytes_may_share_a_location(home: Home) -> None:
    archive = home.open(holdings=ForeignHoldings(ContentShelf()))
    archive.add([plain("a", b"{}"), plain("b", b"{}"), plain("c", b"[]")])
    archive.add([plain("d", b"{}")])
    assert [archive.read(archive.get(entity_id)) for entity_id in "abcd"] == [b"{}", b"{}", b"[]", b"{}"]
    assert len({archive.get(entity_id).location for entity_id in "abd"}) == 1
    shared = archive.get("a").place.pack
    assert [entry.entity_id for entry in archive.catalog.entries_of(shared)] == ["a", "b", "d"]
    steps = list(verify(archive, full=True))
    assert (sum(step.records for step in steps), found_by(steps)) == (4, [])
    archive.holdings.close()


def test_a_stranger_that_alters_what_it_keeps_is_not_believed(home: Home) -> None:
    class Altering(Shelf):
        async def retrieve(self, location: str) -> bytes:
            return (await super().retrieve(location)).upper()

    archive = home.open(holdings=ForeignHoldings(Altering()))
    with pytest.raises(IntegrityError, match=r"'g-1'.*Altering"):
        archive.add([game(1)])
    assert listed(archive) == []
    archive.holdings.close()


def test_a_class_without_the_two_methods_is_refused() -> None:
    class Half:
        async def archive(self, entity_id: str, entity_type: str, data: bytes) -> str:
            return entity_id

    threads = threading.active_count()
    with pytest.raises(ConfigurationError, match="Half"):
        ForeignHoldings(Half())  # type: ignore[arg-type]
    assert threading.active_count() == threads


def test_the_interface_says_what_a_backend_cannot_do() -> None:
    class Two(IArchivalBackend):
        async def archive(self, entity_id: str, entity_type: str, data: bytes) -> str:
            return f"{entity_type}/{entity_id}"

        async def retrieve(self, location: str) -> bytes:
            return b""

    with pytest.raises(UnsupportedError, match="Two cannot delete"):
        asyncio.run(Two().delete("x"))
    with pytest.raises(UnsupportedError, match="Two cannot list"):
        asyncio.run(Two().list_archives())
    assert asyncio.run(Two().archive_many([GameBytes("1", "go", b""), GameBytes("2", "go", b"")])) == ["go/1", "go/2"]


def test_closing_twice_is_harmless() -> None:
    holdings = ForeignHoldings(Shelf())
    holdings.close()
    holdings.close()
