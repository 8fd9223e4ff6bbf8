"""The archive as a program has it that holds its entities itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from archiving import flip
from archiving import game as record
from archiving import plain as archived
from playing import Shelf, game, over, quick_worker, run, until

from gamearchive import (
    ArchivalPolicy,
    ArchivalPriority,
    ArchivalTrigger,
    ArchiveManager,
    ArchiveQuery,
    ConfigurationError,
    EncodingError,
    GameArchivalStrategy,
    IntegrityError,
    NotFoundError,
    StorageUnavailableError,
    load_settings,
)
from gamearchive.clock import ManualClock
from gamearchive.holds import Hold
from gamearchive.model import Sender

GAMES = {"a": game("a"), "b": over("b", winner="Anna"), "bad": game("bad", thing=object())}


def plain(entity_id: str, entity_type: str) -> Any:
    return GAMES.get(entity_id) if entity_type == "game" else None


async def slow(entity_id: str, entity_type: str) -> Any:
    await asyncio.sleep(0)
    return plain(entity_id, entity_type)


def manager(folder: Path, provider: Any = plain, **more: Any) -> ArchiveManager:
    settings = load_settings({"home": str(folder / "home")})
    return ArchiveManager(provider, **{"settings": settings, "archiver": "thread", "worker": quick_worker()} | more)


@pytest.mark.parametrize("archiver", ["thread", "process"])
@pytest.mark.parametrize("provider", [plain, slow])
def test_entities_of_a_provider_are_archived_and_retrieved(tmp_path: Path, provider: Callable[..., Any], archiver: str) -> None:
    async def test() -> None:
        async with manager(tmp_path, provider, archiver=archiver) as archive:
            assert await archive.archive_entity("a", priority=ArchivalPriority.CRITICAL) is True
            assert await archive.archive_entity("a", "game", ArchivalTrigger.TIME_BASED) is True
            assert await archive.retrieve_entity("a") == GAMES["a"]
            (entry,) = await archive.query_archives(ArchiveQuery(entity_type="game"))
            assert (entry.provenance.trigger, entry.provenance.priority) == (ArchivalTrigger.MANUAL, ArchivalPriority.CRITICAL)
            assert entry.provenance.policy == archive.policies["game"].label
            with pytest.raises(NotFoundError):
                await archive.archive_entity("none")
            with pytest.raises(NotFoundError):
                await archive.retrieve_entity("none")
            with pytest.raises(EncodingError):
                await archive.archive_entity("bad")

    run(test())


def test_what_is_archived_already_is_so_without_its_provider(tmp_path: Path) -> None:
    async def test() -> None:
        async with manager(tmp_path) as archive:
            await archive.archive_entity("a")
        async with manager(tmp_path, None) as archive:
            assert await archive.archive_entity("a") is True

    run(test())


def test_revisions_can_be_told_apart(tmp_path: Path) -> None:
    async def test() -> None:
        held = {"g": game("g", moves=[1])}
        async with manager(tmp_path, lambda entity_id, _: held.get(entity_id)) as archive:
            await archive.archive_entity("g")
            held["g"]["moves"].append(2)
            await archive.archive_entity("g")
            assert (await archive.retrieve_entity("g"))["moves"] == [1, 2]
            assert (await archive.retrieve_entity("g", revision=1))["moves"] == [1]

    run(test())


def test_each_type_has_its_strategy(tmp_path: Path) -> None:
    async def test() -> None:
        class Room(GameArchivalStrategy[dict[str, Any]]):
            def describe(self, entity: dict[str, Any]) -> Any:
                from gamearchive import Facts

                return Facts(status="empty")

        strategies = {"room": Room(entity_type="room")}
        async with manager(tmp_path, lambda *_: {"id": "r"}, strategies=strategies) as archive:
            await archive.archive_entity("r", "room")
            await archive.archive_entity("r", "table")
            found = {entry.entity_type: entry for entry in await archive.query_archives(ArchiveQuery())}
            assert found["room"].facts.status == "empty"
            assert found["room"].provenance.policy == archive.policies["room"].label
            assert found["table"].facts.status is None

    run(test())


def test_the_statistics_have_the_promised_keys(tmp_path: Path) -> None:
    async def test() -> None:
        async with manager(tmp_path) as archive:
            empty = await archive.get_stats()
            assert (empty.total_entities, empty.oldest_archive, empty.by_status) == ({}, None, {})
            await archive.archive_entity("a")
            await archive.archive_entity("b")
            stats = await archive.get_stats()
            assert stats.keys() == [
                "total_entities", "total_size_bytes", "compression_ratio", "oldest_archive", "newest_archive", "by_status",
                "by_backend", "worker_stats", "backend_stats",
            ]  # fmt: skip
            assert dict(**stats)["total_size_bytes"] == stats.total_size_bytes
            assert stats.total_entities == {"game": 2}
            assert stats.by_status == {"playing": 1, "completed": 1}
            assert stats.total_size_bytes > 0
            assert stats.oldest_archive is not None
            assert stats.newest_archive is not None
            assert stats.oldest_archive <= stats.newest_archive
            assert sum(stats.by_backend.values()) > 0
            assert stats.worker_stats["metrics"]["total_archived"] == 2
            assert stats.backend_stats["packs"] == 2

    run(test())


def test_a_manager_without_a_worker_is_asked_only(tmp_path: Path) -> None:
    async def test() -> None:
        async with manager(tmp_path) as archive:
            await archive.archive_entity("a")
        async with manager(tmp_path, enable_worker=False) as archive:
            assert await archive.retrieve_entity("a") == GAMES["a"]
            assert (await archive.get_stats()).worker_stats == {}

    run(test())


def test_policies_are_those_of_the_settings_where_none_are_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("gamearchive.toml").write_text("[policies.game]\nbatch_size = 7\n[policies.room]\nbatch_size = 8\n")
    own = ArchivalPolicy(name="own", entity_type="room")
    archive = manager(tmp_path, policies={"room": own})
    assert archive.policies["game"].batch_size == 7
    assert archive.policies["room"] is own
    assert archive.worker.policies is archive.policies
    asyncio.run(archive.close())


def test_another_backend_takes_what_comes_and_the_former_is_still_read(tmp_path: Path) -> None:
    async def test() -> None:
        async with manager(tmp_path) as archive:
            await archive.archive_entity("a")
            shelf = Shelf()
            archive.backend = shelf
            assert archive.backend is shelf
            await archive.archive_entity("b")
            assert len(shelf.games) == 1
            assert await archive.retrieve_entity("a") == GAMES["a"]
            assert await archive.retrieve_entity("b") == GAMES["b"]
            other = Shelf()
            archive.backend = other
            assert await archive.retrieve_entity("a") == GAMES["a"]
            assert await archive.retrieve_entity("b") == GAMES["b"]
            shelf.down = True
            with pytest.raises(StorageUnavailableError):
                await archive.retrieve_entity("b")

    run(test())


def test_failures_are_logged_once_a_batch(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        shelf = Shelf()
        shelf.down = True
        worker = quick_worker(max_retries=0, batch_timeout=timedelta(hours=1))
        async with manager(tmp_path, backend=shelf, worker=worker) as archive:
            strategy = archive.strategy_of("game")
            for number in range(10):
                archive.worker.offer(strategy.record(game(f"g{number}")), Sender(priority=ArchivalPriority.NORMAL))
            archive.worker.hurry()
            await until(lambda: len(archive.worker.failed) == 10)
            left = await archive.stop(grace=0)
            assert {parcel.key.entity_id for parcel in left} == {f"g{number}" for number in range(10)}

    with caplog.at_level(logging.WARNING, "gamearchive"):
        run(test())
    (said,) = [each.getMessage() for each in caplog.records if "failed" in each.getMessage()]
    assert said == "archiving 10 games failed, the first of them game 'g0' in attempt 1: The shelf is down."


def test_a_backup_is_of_the_whole_archive_and_counts_the_games_asked_about(tmp_path: Path) -> None:
    async def test() -> None:
        async with manager(tmp_path) as archive:
            archive.core.add([record(number) for number in range(5)])
            archive.core.add([record(number, entity_type="room") for number in range(3)])
            assert await archive.backup_archives(tmp_path / "backup") == 8
            assert await archive.backup_archives((tmp_path / "backup").as_uri(), "room") == 3
            (pack, _) = (tmp_path).rglob("home/packs/**/*.zst")
            flip(pack, 40)
            with pytest.raises(IntegrityError, match="is damaged"):
                await archive.backup_archives(tmp_path / "another")

    run(test())


def test_an_archiver_that_there_is_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no archiver 'butler'"):
        manager(tmp_path, archiver="butler")


def test_old_archives_are_cleaned_up_but_not_what_is_held_or_kept_for_ever(tmp_path: Path) -> None:
    forever = {"name": "ranked", "where": "entity_id = 'r-2'", "keep": "forever"}
    settings = replace(load_settings({"home": str(tmp_path / "home")}), retention=[forever])
    clock = ManualClock()

    async def test() -> None:
        async with manager(tmp_path, settings=settings, enable_worker=False, clock=clock) as archive:
            archive.core.add([archived(f"r-{number}", b"{}") for number in range(4)])
            clock.turn(3600)
            archive.core.add([archived("new", b"{}"), archived("r-0", b"{}", entity_type="room")])
            await archive.retention.hold([Hold(0, "why", clock.now(), entity_id="r-3")])
            assert await archive.cleanup_old_archives("game", timedelta(days=1)) == 0
            assert await archive.cleanup_old_archives("game", timedelta(hours=1)) == 2
            clock.turn(1)
            assert await archive.cleanup_old_archives("game", timedelta(0)) == 1
            left = await archive.query_archives(ArchiveQuery())
            assert sorted(entry.entity_id for entry in left) == ["r-0", "r-2", "r-3"]
            back = await archive.retention.undelete(["new", "r-0"], "game")
            assert [entry.entity_id for entry in back] == ["new", "r-0"]
            assert await archive.count(ArchiveQuery()) == 5

    run(test())
