from __future__ import annotations

import asyncio
import gc
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from archiving import game, games, plain

from gamearchive.administration import Administration
from gamearchive.clock import ManualClock
from gamearchive.database.engine import Database
from gamearchive.errors import LockedError, NoArchiveError, NotFoundError
from gamearchive.model import GameRecord
from gamearchive.query import ArchiveQuery
from gamearchive.readers import ReadOptions, batches
from gamearchive.settings import Settings, load_settings

OPTIONS = ReadOptions()


@pytest.fixture
def settings(either_engine: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    return load_settings({"home": str(tmp_path / "home")})


@pytest.fixture
def manager(settings: Settings) -> Iterator[Administration]:
    manager = Administration(settings, ManualClock())
    yield manager
    asyncio.run(manager.close())


def ndjson(path: Path, records: list[GameRecord]) -> list[str]:
    path.write_bytes(b"".join(record.payload + b"\n" for record in records))
    return [str(path)]


@contextmanager
def held(manager: Administration, *, shared: bool) -> Iterator[None]:
    """Hold the archive as another process would."""
    database = Database(manager.settings.database)
    try:
        with database.hold(shared=shared):
            yield
    finally:
        database.close()


async def every(steps: AsyncIterator[object]) -> list[object]:
    return [step async for step in steps]


def test_from_archiving_to_verifying(manager: Administration, tmp_path: Path) -> None:
    async def steps() -> None:
        source = ndjson(tmp_path / "a.ndjson", games(20))
        assert [len(step.added.entries) async for step in manager.archive(source, OPTIONS)] == [20]
        assert [len(step.added.skipped) async for step in manager.archive(source, OPTIONS)] == [20]
        page = await manager.query(ArchiveQuery(limit=5))
        assert [entry.entity_id for entry in page.entries] == ["g-19", "g-18", "g-17", "g-16", "g-15"]
        assert await manager.count(ArchiveQuery()) == 20
        entry = await manager.get("g-7")
        assert await manager.read(entry) == game(7).payload
        assert await manager.revisions(entry) == [entry]
        assert await manager.damage(entry) is None
        restored = manager.restore(lambda: [entry], output=tmp_path / "out", folder=True)
        assert [each.path async for each in restored] == [tmp_path / "out" / "g-7.json"]
        written: list[bytes] = []
        assert len(await every(manager.restore(lambda: [entry], output=None, write=written.append))) == 1
        assert written == [game(7).payload]
        assert [checked.found async for checked in manager.verify(full=True)] == [[]]
        assert [rebuilt.records async for rebuilt in manager.rebuild()] == [20]
        assert await manager.get("g-7") == entry

    asyncio.run(steps())


def test_nothing_is_made_by_looking(manager: Administration, settings: Settings) -> None:
    for look in (lambda: manager.query(ArchiveQuery()), lambda: manager.get("g-1"), lambda: every(manager.verify())):
        with pytest.raises(NoArchiveError):
            asyncio.run(look())
    assert not settings.home.exists()


def test_a_dry_run_makes_nothing(manager: Administration, settings: Settings, tmp_path: Path) -> None:
    source = ndjson(tmp_path / "a.ndjson", games(3))
    (step,) = asyncio.run(every(manager.archive(source, OPTIONS, dry_run=True)))
    assert len(step.added.entries) == 3  # type: ignore[attr-defined]
    assert not settings.home.exists()


def test_what_is_not_there(manager: Administration, tmp_path: Path) -> None:
    asyncio.run(every(manager.archive(ndjson(tmp_path / "a.ndjson", games(1)), OPTIONS)))
    with pytest.raises(NotFoundError):
        asyncio.run(manager.get("g-2"))


def test_names_are_right_after_a_rebuild(manager: Administration, settings: Settings, tmp_path: Path) -> None:
    """What the catalog before remembered by number is another thing by the same number in the catalog after."""

    async def steps() -> None:
        await every(manager.archive(ndjson(tmp_path / "a.ndjson", [game(1)]), ReadOptions(entity_type="first")))
        await every(manager.archive(ndjson(tmp_path / "b.ndjson", [game(2)]), ReadOptions(entity_type="second")))
        listed = (await manager.query(ArchiveQuery())).entries
        for pack in (settings.home / "packs" / "first").rglob("*.zst"):
            pack.unlink()
        await every(manager.rebuild(force=True))
        assert list((await manager.query(ArchiveQuery())).entries) == listed[:1]

    asyncio.run(steps())


def test_a_catalog_that_another_process_made_anew(manager: Administration, settings: Settings, tmp_path: Path) -> None:
    async def steps() -> None:
        for number, players in enumerate((["Ada", "Bea"], ["Çem", "Dan"])):
            source = tmp_path / f"{number}.ndjson"
            source.write_text(json.dumps({"id": number, "players": players, "winner": players[0]}))
            await every(manager.archive([str(source)], ReadOptions(entity_type=f"type-{number}")))
        for pack in (settings.home / "packs" / "type-0").rglob("*.zst"):
            pack.unlink()
        async with Administration(settings, ManualClock()) as other:
            await every(other.rebuild(force=True))
        source = tmp_path / "2.ndjson"
        source.write_text(json.dumps({"id": 2, "players": ["Dan", "Çem", "Eve"], "winner": "Dan"}))
        await every(manager.archive([str(source)], OPTIONS))
        async with Administration(settings, ManualClock()) as other:
            for each in (manager, other):
                found = (await each.query(ArchiveQuery(players=["Çem"]))).entries
                assert [[player.name for player in entry.facts.players] for entry in found] == [
                    ["Dan", "Çem", "Eve"],
                    ["Çem", "Dan"],
                ]

    asyncio.run(steps())


@pytest.mark.only("postgresql", "on SQLite a reader goes on with the file that it has open")
def test_a_reader_sees_a_catalog_that_another_process_made_anew_as_it_is(
    manager: Administration, settings: Settings, tmp_path: Path
) -> None:
    async def players(entity_id: str) -> tuple[str, list[str | None], str]:
        entry = await manager.get(entity_id)
        return entry.entity_type, [player.name for player in entry.facts.players], entry.place.pack

    async def steps() -> None:
        for number, name in enumerate(("Ada", "Bea", "Çem")):
            source = tmp_path / f"{number}.ndjson"
            source.write_text(json.dumps({"id": str(number), "players": [name]}))
            await every(manager.archive([str(source)], ReadOptions(entity_type=f"type-{number}", tags=(("of", name),))))
        before = [await players(str(number)) for number in range(3)]
        for pack in (settings.home / "packs" / "type-0").rglob("*.zst"):
            pack.unlink()
        async with Administration(settings, ManualClock()) as other:
            await every(other.rebuild(force=True))
        assert [await players(str(number)) for number in (1, 2)] == before[1:]
        (entry,) = (await manager.query(ArchiveQuery(tags={"of": "Çem"}))).entries
        assert json.loads(await manager.read(entry))["players"] == ["Çem"]

    asyncio.run(steps())


def test_a_stream_left_early_lets_go(manager: Administration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "BATCH_RECORDS", 5)
    source = ndjson(tmp_path / "a.ndjson", games(40))
    problems: list[object] = []
    before = threading.enumerate()  # another test's may be held up by a pipe

    async def steps() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
        left = manager.archive(source, OPTIONS)
        assert len((await anext(left)).added.entries) == 5
        with pytest.raises(LockedError), held(manager, shared=False):
            pass
        await manager.close()
        with held(manager, shared=False):
            pass
        del left
        gc.collect()
        await asyncio.sleep(0)

    asyncio.run(steps())
    assert problems == []
    ours = [thread for thread in threading.enumerate() if thread not in before and thread.name.startswith("gamearchive")]
    for thread in ours:
        thread.join(10)  # the one that reads is told to leave, and not waited for
    assert [thread.name for thread in ours if thread.is_alive()] == []


def test_a_stream_that_is_closed_lets_go_at_once(
    manager: Administration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "BATCH_RECORDS", 5)

    async def steps() -> None:
        left = manager.archive(ndjson(tmp_path / "a.ndjson", games(40)), OPTIONS)
        await anext(left)
        await left.aclose()  # type: ignore[attr-defined]
        with held(manager, shared=False):
            assert await manager.count(ArchiveQuery()) == 5

    asyncio.run(steps())


def test_the_loop_runs_on_while_games_are_archived(manager: Administration, tmp_path: Path) -> None:
    async def steps() -> None:
        archiving = asyncio.ensure_future(every(manager.archive(ndjson(tmp_path / "a.ndjson", games(300)), OPTIONS)))
        turns = 0
        while not archiving.done():
            turns += 1
            await asyncio.sleep(0)
        assert turns > 10
        assert await manager.count(ArchiveQuery()) == 300

    asyncio.run(steps())


def test_listing_does_not_wait_for_archiving(manager: Administration, tmp_path: Path) -> None:
    source = ndjson(tmp_path / "a.ndjson", games(3))

    async def steps() -> None:
        await every(manager.archive(source, OPTIONS))
        with_hand_on_it = threading.Event()
        held = asyncio.get_running_loop().run_in_executor(manager._writing, with_hand_on_it.wait)
        try:
            assert await manager.count(ArchiveQuery()) == 3
        finally:
            with_hand_on_it.set()
            await held

    asyncio.run(steps())


def test_repair_waits_for_those_who_archive(manager: Administration, tmp_path: Path) -> None:
    """Else it would take away packs that a running process has put and not named yet."""
    asyncio.run(every(manager.archive(ndjson(tmp_path / "a.ndjson", games(3)), OPTIONS)))
    with held(manager, shared=True):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("gamearchive.administration.LOCK_WAIT_SECONDS", 0.0)
            with pytest.raises(LockedError):
                asyncio.run(every(manager.verify(repair=True)))
        assert asyncio.run(every(manager.verify()))
    assert asyncio.run(every(manager.verify(repair=True)))


def test_the_games_of_the_settings_types_come_from_the_settings_storage(tmp_path: Path) -> None:
    settings = load_settings({"home": str(tmp_path / "home"), "storage": (tmp_path / "elsewhere").as_uri()})

    async def steps() -> None:
        async with Administration(settings) as manager:
            await every(manager.archive(ndjson(tmp_path / "a.ndjson", [plain("a", b'{"id": "a"}')]), OPTIONS))

    asyncio.run(steps())
    assert len(list((tmp_path / "elsewhere").rglob("*.zst"))) == 1
    assert not (tmp_path / "home" / "packs").exists()
