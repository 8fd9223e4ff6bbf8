"""What a game server sees of its games: in play, on their way, and in the archive."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from playing import Shelf, archived, game, journal, over, payload, quick_worker, repository, revisions, run, until

from gamearchive import (
    ArchivalPolicy,
    ArchivalPriority,
    ArchivalTrigger,
    CapacityError,
    ConfigurationError,
    EncodingError,
    GameArchiveError,
    HybridGameRepository,
    IntegrityError,
    NotFoundError,
    RefusedError,
    StorageUnavailableError,
    UsageError,
    load_settings,
)

IN_PLAY, HANDED_OVER, FAILED = 0, 1, 2
HOUR = timedelta(hours=1)


def test_a_game_in_play_is_that_very_object(tmp_path: Path) -> None:
    async def test() -> None:
        async with repository(tmp_path) as repo:
            mine = game("g")
            await repo.save(mine)
            assert await repo.get_by_id("g") is mine
            await repo.flush()
            assert await repo.get_by_id("g") is mine
            other = game("g")
            await repo.save(other)
            assert await repo.get_by_id("g") is other
            assert await repo.get_by_id("none") is None

    run(test())


def test_a_finished_game_leaves_memory_once_the_archive_has_it(tmp_path: Path) -> None:
    async def test() -> None:
        shelf = Shelf()
        shelf.held = True
        async with repository(tmp_path, backend=shelf) as repo:
            mine = over("g", winner="Anna")
            await repo.save(mine)
            await repo.save(game("other"))
            await until(lambda: repo.archive_manager.worker.get_status()["in_flight"] == 1)
            assert journal(tmp_path) == {"g": HANDED_OVER, "other": IN_PLAY}
            assert await repo.get_by_id("g") is mine
            shelf.held = False
            await until(lambda: "g" not in repo._play.games)
            assert journal(tmp_path) == {"other": IN_PLAY}
            again = await repo.get_by_id("g")
            assert again == mine
            assert again is not mine
            assert (await repo.get_stats())["active_games"] == 1
            (entry,) = (await repo.archive_manager.query(_all())).entries
            assert entry.facts.winner is not None
            assert entry.facts.winner.name == "Anna"
            sent = entry.provenance
            assert (sent.trigger, sent.priority) == (ArchivalTrigger.GAME_COMPLETED, ArchivalPriority.NORMAL)
            assert sent.policy == repo.policies["game"].label

    run(test())


def _all() -> Any:
    from gamearchive import ArchiveQuery

    return ArchiveQuery(limit=100, all_revisions=True)


def saved(repo: HybridGameRepository[Any], mine: dict[str, Any]) -> Any:
    return repo.save(mine)


async def _not_saved(repo: HybridGameRepository[Any], mine: dict[str, Any]) -> None:
    """A game changed in place, of which the repository is told nothing."""


@pytest.mark.parametrize("tell", [saved, _not_saved])
def test_a_game_changed_while_it_is_archived_stays_and_becomes_the_next_revision(
    tmp_path: Path, tell: Callable[..., Any]
) -> None:
    async def test() -> None:
        shelf = Shelf()
        shelf.held = True
        async with repository(tmp_path, backend=shelf) as repo:
            mine = over("g", moves=[1])
            await repo.save(mine)
            await until(lambda: repo.archive_manager.worker.get_status()["in_flight"])
            mine["moves"].append(2)
            await tell(repo, mine)
            shelf.held = False
            await until(lambda: len(shelf.games) == 1)
            await until(lambda: "g" not in repo._play.games)
            assert await repo.get_by_id("g") == over("g", moves=[1, 2])
        assert revisions(await archived(tmp_path)) == {"g": 2}
        assert journal(tmp_path) == {}

    run(test())


@pytest.mark.parametrize("flushed", [False, True])
def test_a_game_saved_with_other_types_while_it_is_archived_becomes_the_next_revision(tmp_path: Path, flushed: bool) -> None:
    """JSON does not tell a tuple from a list: a look at what it makes of the game is not enough."""

    async def test() -> None:
        shelf = Shelf()
        shelf.held = True
        async with repository(tmp_path, backend=shelf) as repo:
            mine = over("g", moves=[1])
            await repo.save(mine)
            await until(lambda: repo.archive_manager.worker.get_status()["in_flight"])
            mine["moves"] = (1,)
            await repo.save(mine)
            if flushed:
                await repo.flush()
            shelf.held = False
            await until(lambda: "g" not in repo._play.games)
            assert (await repo.get_by_id("g"))["moves"] == (1,)
        assert revisions(await archived(tmp_path)) == {"g": 2}

    run(test())


def test_a_game_that_was_changed_back_is_archived_as_it_is_last(tmp_path: Path) -> None:
    """A, B, A again: the third state is the latest though the archive has its bytes already."""

    async def test() -> None:
        async with repository(tmp_path) as repo:
            for moves in ([1], [1, 2], [1]):
                await repo.save(over("g", moves=moves))
                await until(lambda: "g" not in repo._play.games)
                assert await repo.get_by_id("g") == over("g", moves=moves)
        assert revisions(await archived(tmp_path)) == {"g": 3}

    run(test())


def test_a_finished_game_that_goes_on_is_in_play_again(tmp_path: Path) -> None:
    async def test() -> None:
        shelf = Shelf()
        shelf.down = True
        async with repository(tmp_path, backend=shelf, worker=quick_worker(retry_delay=HOUR)) as repo:
            await repo.save(over("g"))
            await until(lambda: repo.archive_manager.worker.get_status()["retrying"])
            await repo.save(game("g"))
            await repo.flush()
            shelf.down = False
            status = repo.archive_manager.worker.get_status()
            assert (status["retrying"], status["in_flight"]) == (0, 0)
            assert journal(tmp_path) == {"g": IN_PLAY}
        assert await archived(tmp_path) == []

    run(test())


def test_the_least_valuable_games_go_and_come_back_into_play(tmp_path: Path) -> None:
    async def test() -> None:
        async with repository(tmp_path, max_active_games=10) as repo:
            for number in range(20):
                await repo.save(game(f"g{number}"))
            await until(lambda: len(repo._play.games) <= 10)
            gone = [f"g{number}" for number in range(20) if f"g{number}" not in repo._play.games]
            stats = await repo.get_stats()
            assert stats["evictions"] == len(gone) >= 10
            assert stats["archived_games"] == len(gone)
            for key in gone[:5]:
                back = await repo.get_by_id(key)
                assert back == game(key)
                assert await repo.get_by_id(key) is back
            # What has left is remembered by a part of its hash: one may be forgotten for another that left after it.
            assert 1 <= (await repo.get_stats())["refaults"] <= 5
            (entry,) = [entry for entry in (await repo.archive_manager.query(_all())).entries if entry.entity_id == gone[0]]
            assert entry.provenance.trigger is ArchivalTrigger.MEMORY_PRESSURE

    run(test())


@pytest.mark.parametrize("weigh", [None, len])
def test_games_go_by_their_weight(tmp_path: Path, weigh: Callable[[Any], int] | None) -> None:
    async def test() -> None:
        most = 40 if weigh else 10_000
        async with repository(tmp_path, max_active_bytes=most, weigh=weigh) as repo:
            for number in range(20):
                await repo.save(game(f"g{number}", chat="x" * 1000))
            await until(lambda: len(repo._play.games) < 20 and repo._play.active.bytes <= most)
            assert 0 < len(repo._play.games) <= 10
            for number in range(20):
                assert await repo.get_by_id(f"g{number}") == game(f"g{number}", chat="x" * 1000)

    run(test())


def test_a_busy_game_is_never_evicted(tmp_path: Path) -> None:
    async def test() -> None:
        async with repository(tmp_path, max_active_games=3, hard_limit=10) as repo:
            await repo.save(game("busy"))
            async with repo.mutate("busy") as mine:
                for number in range(6):
                    await repo.save(game(f"g{number}"))
                await until(lambda: len(repo._play.games) <= 3)
                assert await repo.get_by_id("busy") is mine
                mine["moves"].append(1)
            assert await repo.get_by_id("busy") is mine

    run(test())


def test_beyond_the_hard_limit_a_new_game_is_refused(tmp_path: Path) -> None:
    async def test() -> None:
        shelf = Shelf()
        shelf.down = True
        async with repository(tmp_path, backend=shelf, max_active_games=2, hard_limit=4) as repo:
            for number in range(4):
                await repo.save(game(f"g{number}"))
            with pytest.raises(CapacityError, match="no room for the game 'g4': 4 games are in memory"):
                await repo.save(game("g4"))
            await repo.save(game("g0", moves=[1]))
            assert await repo.get_by_id("g4") is None
            shelf.down = False
            await until(lambda: len(repo._play.games) < 4)
            await repo.save(game("g4"))
            for number in range(1, 5):
                assert await repo.get_by_id(f"g{number}") == game(f"g{number}")

    run(test())


def test_or_a_new_game_waits_for_room(tmp_path: Path) -> None:
    async def test() -> None:
        shelf = Shelf()
        shelf.held = True
        async with repository(tmp_path, backend=shelf, max_active_games=2, hard_limit=4, when_full="wait") as repo:
            for number in range(4):
                await repo.save(game(f"g{number}"))
            waiting = [asyncio.create_task(repo.save(game(f"w{number}"))) for number in range(6)]
            await until(lambda: repo.archive_manager.worker.get_status()["in_flight"])
            assert not any(each.done() for each in waiting)
            shelf.held = False
            await asyncio.gather(*waiting)
            assert len(repo._play.games) <= 4
            for game_id in ["g0", "g3", "w0", "w5"]:
                assert await repo.get_by_id(game_id) == game(game_id)

    run(test())


def test_who_waits_for_room_is_told_of_the_end(tmp_path: Path) -> None:
    async def test() -> None:
        repo = repository(tmp_path, max_active_games=1, hard_limit=1, when_full="wait")
        await repo.initialize()
        await repo.save(game("g"))
        async with repo.mutate("g"):
            waiting = asyncio.create_task(repo.save(game("h")))
            ending = asyncio.create_task(repo.shutdown())
            with pytest.raises(RefusedError, match="shut down"):
                await waiting
        await ending

    run(test())


def test_a_room_that_a_deleted_game_leaves_is_taken(tmp_path: Path) -> None:
    async def test() -> None:
        async with repository(tmp_path, max_active_games=1, hard_limit=1, when_full="wait") as repo:
            await repo.save(game("g"))
            async with repo.mutate("g"):
                waiting = asyncio.create_task(repo.save(game("h")))
                await repo.flush()
                assert not waiting.done()
            await repo.delete("g")
            await waiting

    run(test())


def test_a_thousand_who_ask_at_once_are_one_read(tmp_path: Path) -> None:
    async def test() -> None:
        shelf = Shelf()
        async with repository(tmp_path, backend=shelf) as repo:
            await repo.save(over("done"))
            await repo.save(game("idle"))
            assert await repo.archive_manager.archive_entity("done")
            assert await repo.archive_manager.archive_entity("idle")
            before = shelf.reads
            found = await asyncio.gather(*[repo.get_by_id("done") for _ in range(1000)])
            assert all(each == over("done") for each in found)
            assert shelf.reads == before + 1
            found = await asyncio.gather(*[repo.get_by_id("idle") for _ in range(1000)])
            assert shelf.reads == before + 2
            assert len({id(each) for each in found}) == 1, "an unfinished game is in play once"

    run(test())


def test_a_failing_backend_raises_and_never_says_that_there_is_no_game(tmp_path: Path) -> None:
    async def test() -> None:
        shelf = Shelf()
        async with repository(tmp_path, backend=shelf) as repo:
            await repo.save(over("g"))
            await until(lambda: "g" not in repo._play.games)
            shelf.down = True
            for _ in range(2):
                found = await asyncio.gather(*[repo.get_by_id("g") for _ in range(10)], return_exceptions=True)
                assert {type(each) for each in found} == {StorageUnavailableError}
            shelf.down = False
            shelf.games = dict.fromkeys(shelf.games, b"other")
            with pytest.raises(IntegrityError):
                await repo.get_by_id("g")

    run(test())


def test_a_miss_is_remembered_until_there_is_such_a_game(tmp_path: Path) -> None:
    async def test() -> None:
        async with repository(tmp_path) as repo:
            assert await repo.get_by_id("g") is None
            elsewhere = repository(tmp_path, server="elsewhere")
            async with elsewhere:
                await elsewhere.save(over("g"))
                assert await elsewhere.archive_manager.archive_entity("g")
            assert await repo.get_by_id("g") is None, "it was looked for a moment ago"
            await repo.save(over("g", moves=[1]))
            await until(lambda: "g" not in repo._play.games)
            assert await repo.get_by_id("g") == over("g", moves=[1])

    run(test())


def test_a_read_that_a_save_overtakes_is_not_believed(tmp_path: Path) -> None:
    async def test() -> None:
        shelf = Shelf()
        async with repository(tmp_path, backend=shelf) as repo:
            await repo.save(game("g", moves=[1]))
            assert await repo.archive_manager.archive_entity("g")
            shelf.held = True
            reading = asyncio.create_task(repo.get_by_id("g"))
            before = shelf.reads
            await until(lambda: shelf.reads > before)
            await repo.save(game("g", moves=[1, 2]))
            archiving = asyncio.create_task(repo.archive_manager.archive_entity("g"))
            await until(lambda: repo.archive_manager.worker.get_status()["in_flight"])
            shelf.held = False
            assert await archiving
            assert await reading == game("g", moves=[1, 2])
            assert await repo.get_by_id("g") == game("g", moves=[1, 2])

    run(test())


def test_one_after_another_works_on_a_game(tmp_path: Path) -> None:
    async def test() -> None:
        async with repository(tmp_path) as repo:
            await repo.save(game("g"))

            async def move(number: int) -> None:
                async with repo.mutate("g") as mine:
                    there = len(mine["moves"])
                    await asyncio.sleep(0)
                    mine["moves"].append(number)
                    assert len(mine["moves"]) == there + 1

            await asyncio.gather(*map(move, range(100)))
            assert (await repo.get_by_id("g"))["moves"] == list(range(100))
            assert (await repo.get_stats())["busy_games"] == 0
            with pytest.raises(NotFoundError, match="no game 'none'"):
                async with repo.mutate("none"):
                    pass

    run(test())


def test_what_an_exception_leaves_is_in_memory_and_not_saved(tmp_path: Path) -> None:
    async def test() -> None:
        async with repository(tmp_path) as repo:
            mine = game("g")
            await repo.save(mine)
            await repo.flush()
            with suppress(ZeroDivisionError):
                async with repo.mutate("g") as same:
                    same["moves"].append(1)
                    raise ZeroDivisionError
            assert await repo.get_by_id("g") is mine
            assert mine["moves"] == [1]
            assert repo._play.dirty == {}
            async with repo.mutate("g") as same:
                assert same is mine

    run(test())


def test_who_works_on_an_archived_game_is_not_overtaken_by_who_reads_and_saves_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with repository(tmp_path) as repo:
            await repo.save(over("g"))
            await until(lambda: "g" not in repo._play.games)
            async with repo.mutate("g") as mine:
                other = await repo.get_by_id("g")
                assert other is mine
                mine["moves"].append(1)
                await repo.save(other)
            await until(lambda: "g" not in repo._play.games)
            assert await repo.get_by_id("g") == over("g", moves=[1])

    run(test())


def test_an_archived_game_can_be_worked_on(tmp_path: Path) -> None:
    async def test() -> None:
        async with repository(tmp_path) as repo:
            await repo.save(over("g"))
            await until(lambda: "g" not in repo._play.games)
            async with repo.mutate("g") as mine:
                mine["moves"].append(1)
            await until(lambda: "g" not in repo._play.games)
            assert await repo.get_by_id("g") == over("g", moves=[1])
        assert revisions(await archived(tmp_path)) == {"g": 2}

    run(test())


def test_a_game_is_never_kept_half_changed(tmp_path: Path) -> None:
    async def test() -> None:
        repo = repository(tmp_path)
        await repo.initialize()
        await repo.save(game("g", moves=["whole"]))
        async with repo.mutate("g") as mine:
            mine["moves"] = ["half"]
            await repo.flush()
            await repo.archive_manager.worker.stop()
            assert "g" not in journal(tmp_path)
            mine["moves"] = ["whole", "again"]
        await repo.shutdown()
        async with repository(tmp_path) as repo:
            assert await repo.get_by_id("g") == game("g", moves=["whole", "again"])

    run(test())


def test_a_game_that_is_always_worked_on_is_kept_as_it_was_in_between(tmp_path: Path) -> None:
    async def test() -> None:
        async with repository(tmp_path, journal_interval=HOUR) as repo:
            await repo.save(game("g"))
            for move in range(3):
                async with repo.mutate("g") as mine:
                    mine["moves"].append(f"half {move}")
                    await repo.flush()
                    mine["moves"][-1] = f"whole {move}"
            async with repo.mutate("g") as mine:
                mine["moves"].append("half 3")
                await repo.flush()
                assert b"whole 2" in payload(tmp_path, "g")
                assert b"half" not in payload(tmp_path, "g")

    run(test())


def test_shutting_down_waits_for_those_who_work_on_games(tmp_path: Path) -> None:
    async def test() -> None:
        repo = repository(tmp_path)
        await repo.initialize()
        await repo.save(game("g"))
        async with repo.mutate("g") as mine:
            ending = asyncio.create_task(repo.shutdown())
            await asyncio.sleep(0)
            with pytest.raises(RefusedError):
                await repo.save(game("h"))
            with pytest.raises(RefusedError):
                await repo.flush()
            mine["moves"].append(1)
        await ending
        with pytest.raises(RefusedError):
            await repo.save(game("g"))
        with pytest.raises(RefusedError, match="was shut down"):
            await repo.initialize()
        async with repository(tmp_path) as repo:
            assert await repo.get_by_id("g") == game("g", moves=[1])

    run(test())


def test_a_game_that_is_still_half_changed_at_the_end_is_named(tmp_path: Path) -> None:
    async def test() -> None:
        repo = repository(tmp_path)
        await repo.initialize()
        await repo.save(game("g"))
        work = repo.mutate("g")
        await work.__aenter__()
        with pytest.raises(GameArchiveError, match="1 games could be neither kept nor archived: g"):
            await repo.shutdown(grace=0)
        with pytest.raises(RefusedError):
            await work.__aexit__(None, None, None)

    run(test())


def test_a_deleted_game_is_gone_from_memory_and_journal(tmp_path: Path) -> None:
    async def test() -> None:
        async with repository(tmp_path) as repo:
            await repo.save(game("g"))
            await repo.flush()
            assert journal(tmp_path) == {"g": IN_PLAY}
            assert await repo.delete("g")
            assert not await repo.delete("g")
            assert await repo.get_by_id("g") is None
            await repo.flush()
            assert journal(tmp_path) == {}
            await repo.save(game("g", moves=[1]))
            assert await repo.delete("g")
            await repo.save(game("g", moves=[2]))
            await repo.flush()
            assert journal(tmp_path) == {"g": IN_PLAY}
            assert await repo.get_by_id("g") == game("g", moves=[2])

    run(test())


def test_who_waits_for_a_game_to_be_archived_is_told_that_it_was_deleted_or_goes_on(tmp_path: Path) -> None:
    async def test() -> None:
        shelf = Shelf()
        shelf.down = True
        async with repository(tmp_path, backend=shelf, worker=quick_worker(retry_delay=HOUR)) as repo:
            for end in (lambda: repo.delete("g"), lambda: repo.save(game("g", moves=[1]))):
                await repo.save(game("g"))
                waiting = asyncio.create_task(repo.archive_manager.archive_entity("g"))
                await until(lambda: repo.archive_manager.worker.get_status()["retrying"])
                await end()
                assert await waiting is False

    run(test())


def test_games_in_play_by_room_and_by_player(tmp_path: Path) -> None:
    async def test() -> None:
        shelf = Shelf()
        shelf.held = True
        async with repository(tmp_path, backend=shelf) as repo:
            done = over("a", room_id="blue")
            mine = game("b", room_id="blue", players=[{"id": "p1", "name": "Anna"}])
            other = game("c", room_id="red", players=[{"id": "p2", "name": "Ben"}, {"id": "p1", "name": "Anna"}])
            for each in (done, mine, other):
                await repo.save(each)
            assert await repo.get_by_room_id("blue") is mine
            assert await repo.get_by_room_id("green") is None
            assert await repo.get_games_by_player_id("p1") == [mine, other]
            assert await repo.get_games_by_player_id("Ben") == [done, other]
            assert await repo.get_games_by_player_id("Carl") == []
            assert await repo.list_active_games() == [mine, other]
            await repo.delete("b")
            assert await repo.get_by_room_id("blue") is done
            shelf.held = False

    run(test())


def test_what_flush_returns_from_is_in_the_journal(tmp_path: Path) -> None:
    async def test() -> None:
        async with repository(tmp_path, journal_interval=HOUR) as repo:
            for number in range(50):
                await repo.save(game(f"g{number}"))
            await asyncio.gather(*[repo.flush() for _ in range(50)])
            assert len(journal(tmp_path)) == 50

    run(test())


def test_many_who_flush_at_once_share_turns(tmp_path: Path) -> None:
    async def test() -> None:
        async with repository(tmp_path, journal_interval=HOUR) as repo:
            writes = 0
            write = repo._play._write
            assert write is not None

            async def count(*of: Any) -> Any:
                nonlocal writes
                writes += 1
                return await write(*of)

            repo._play._write = count

            async def finish(number: int) -> None:
                await repo.save(game(f"g{number}"))
                await repo.flush()

            await asyncio.gather(*map(finish, range(100)))
            assert len(journal(tmp_path)) == 100
            assert writes <= 3

    run(test())


def test_a_finished_game_is_durable_when_saving_it_returns(tmp_path: Path) -> None:
    async def test() -> None:
        shelf = Shelf()
        shelf.held = True
        async with repository(tmp_path, backend=shelf, durability="completed", journal_interval=HOUR) as repo:
            await repo.save(game("g"))
            await repo.flush()
            assert journal(tmp_path) == {}
            await repo.save(over("g"))
            assert journal(tmp_path) == {"g": HANDED_OVER}
            await repo.save(game("h"))
            async with repo.mutate("h") as mine:
                mine["status"] = "completed"
            assert journal(tmp_path) == {"g": HANDED_OVER, "h": HANDED_OVER}
            with pytest.raises(EncodingError):
                await repo.save(over("i", bad=object()))
            await repo.delete("i")
            await repo.save(game("j"))
            shelf.held = False
        found = {entry.entity_id: entry.provenance.trigger.value for entry in await archived(tmp_path)}
        assert found == {"g": "game_completed", "h": "game_completed", "j": "shutdown"}
        assert journal(tmp_path) == {}

    run(test())


def test_a_finished_game_that_stays_is_durable_all_the_same(tmp_path: Path) -> None:
    async def test() -> None:
        async with repository(tmp_path, durability="completed", archive_on_completion=False) as repo:
            await repo.save(over("g"))
            assert journal(tmp_path) == {"g": IN_PLAY}
            assert await repo.get_by_id("g") is not None

    run(test())


def test_without_a_journal_all_is_archived_at_the_end(tmp_path: Path) -> None:
    async def test() -> None:
        async with repository(tmp_path, durability="off") as repo:
            await repo.save(game("g"))
            await repo.save(over("h"))
            await repo.flush()
            with pytest.raises(ConfigurationError, match="nothing to claim"):
                await repo.claim("other")
        assert revisions(await archived(tmp_path)) == {"g": 1, "h": 1}
        assert journal(tmp_path) == {}

    run(test())


def test_without_a_journal_what_the_archive_does_not_take_is_named(tmp_path: Path) -> None:
    async def test() -> None:
        shelf = Shelf()
        repo = repository(tmp_path, durability="off", backend=shelf)
        await repo.initialize()
        shelf.down = True
        await repo.save(game("g"))
        with pytest.raises(GameArchiveError, match="1 games could be neither kept nor archived: g"):
            await repo.shutdown(grace=0)

    run(test())


@pytest.mark.parametrize("at_shutdown", [False, True])
def test_games_in_play_wait_in_the_journal_unless_the_policy_archives_them(tmp_path: Path, at_shutdown: bool) -> None:
    async def test() -> None:
        triggers = {ArchivalTrigger.SHUTDOWN} if at_shutdown else {ArchivalTrigger.GAME_COMPLETED}
        policy = ArchivalPolicy(name="mine", entity_type="game", triggers=triggers, condition="status = 'completed'")
        async with repository(tmp_path, policies={"game": policy}) as repo:
            await repo.save(game("g"))
        assert revisions(await archived(tmp_path)) == ({"g": 1} if at_shutdown else {})
        assert journal(tmp_path) == ({} if at_shutdown else {"g": IN_PLAY})
        async with repository(tmp_path) as repo:
            assert await repo.get_by_id("g") == game("g")

    run(test())


def test_games_in_play_stay_so_over_a_restart_by_default(tmp_path: Path) -> None:
    async def test() -> None:
        async with repository(tmp_path) as repo:
            await repo.save(game("g"))
        assert await archived(tmp_path) == []
        async with repository(tmp_path) as repo:
            assert await repo.list_active_games() == [game("g")]

    run(test())


def test_idle_games_are_archived(tmp_path: Path) -> None:
    async def test() -> None:
        policy = ArchivalPolicy(
            name="quick",
            entity_type="game",
            triggers={ArchivalTrigger.TIME_BASED},
            archive_after=timedelta(milliseconds=1),
            check_interval=timedelta(milliseconds=1),
        )
        async with repository(tmp_path, policies={"game": policy}) as repo:
            await repo.save(game("g"))
            await until(lambda: "g" not in repo._play.games)
        (entry,) = await archived(tmp_path)
        assert (entry.provenance.trigger, entry.provenance.policy) == (ArchivalTrigger.TIME_BASED, policy.label)

    run(test())


def test_games_go_while_the_memory_is_short(tmp_path: Path) -> None:
    async def test() -> None:
        async with repository(tmp_path) as repo:
            for number in range(10):
                await repo.save(game(f"g{number}"))
            repo.policies["game"] = ArchivalPolicy(name="tight", entity_type="game", memory_threshold_percent=1)
            await until(lambda: len(repo._play.games) < 10)
            assert (await repo.get_stats())["is_short_of_memory"]
            for number in range(10):
                assert await repo.get_by_id(f"g{number}") == game(f"g{number}")

    run(test())


def test_policies_may_change_while_games_are_played(tmp_path: Path) -> None:
    async def test() -> None:
        async with repository(tmp_path) as repo:
            only = ArchivalPolicy(
                name="only", entity_type="game", triggers={ArchivalTrigger.GAME_COMPLETED}, condition="winner = 'Anna'"
            )
            repo.policies["game"] = only
            await repo.save(over("ben", winner="Ben"))
            await repo.save(over("anna", winner="Anna"))
            await until(lambda: "anna" not in repo._play.games)
            assert await repo.archive_manager.archive_entity("ben", trigger=ArchivalTrigger.GAME_COMPLETED) is False
            assert await repo.get_by_id("ben") is not None
            assert journal(tmp_path) == {"ben": IN_PLAY}
            assert await repo.archive_manager.archive_entity("ben") is True
        assert {entry.provenance.policy for entry in await archived(tmp_path)} == {only.label}

    run(test())


def test_a_condition_that_fails_keeps_its_game_and_no_other(tmp_path: Path) -> None:
    async def test() -> None:
        async with repository(tmp_path) as repo:
            repo.policies["game"] = ArchivalPolicy(
                name="wrong", entity_type="game", condition=lambda record: bool(1 // (record.entity_id != "zero"))
            )
            await repo.save(over("zero"))
            await repo.save(over("one"))
            await until(lambda: "one" not in repo._play.games)
            assert await repo.get_by_id("zero") is not None
            assert journal(tmp_path) == {"zero": IN_PLAY}

    run(test())


def test_policies_of_the_settings_count_unless_arguments_say_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("gamearchive.toml").write_text(
        '[policies.game]\nname = "said"\nbatch_size = 7\ntriggers = ["game_completed", "time_based"]\narchive_after = "5m"\n'
        "[policies.chess]\nbatch_size = 9\n"
    )
    settings = load_settings({"home": str(tmp_path / "home")})
    usual = repository(tmp_path, settings=settings).policies
    assert (usual["game"].name, usual["game"].batch_size, usual["chess"].batch_size) == ("said", 7, 9)
    assert usual["game"].archive_after == timedelta(minutes=5)
    said = repository(tmp_path, settings=settings, archive_on_completion=False, archive_after_inactive=2 * HOUR).policies[
        "game"
    ]
    assert (said.batch_size, said.archive_after) == (7, 2 * HOUR)
    assert said.triggers == {ArchivalTrigger.TIME_BASED}
    never = repository(tmp_path, settings=settings, archive_after_inactive=None).policies["game"]
    assert never.triggers == {ArchivalTrigger.GAME_COMPLETED}
    own = ArchivalPolicy(name="own", entity_type="game")
    repo = repository(tmp_path, settings=settings, policies={"game": own})
    assert repo.policies["game"] is own
    assert repo.archive_manager.worker.policies is repo.archive_manager.policies is repo.policies


def test_a_game_that_cannot_be_encoded_stays_and_is_reported(tmp_path: Path) -> None:
    async def test() -> None:
        repo = repository(tmp_path)
        await repo.initialize()
        bad = over("bad", thing=object())
        await repo.save(bad)
        await repo.save(over("good"))
        await until(lambda: "good" not in repo._play.games)
        assert await repo.get_by_id("bad") is bad
        assert list((await repo.get_stats())["problems"]) == ["bad"]
        with pytest.raises(EncodingError):
            await repo.archive_manager.archive_entity("bad")
        del bad["thing"]
        await repo.save(bad)
        await until(lambda: "bad" not in repo._play.games)
        assert (await repo.get_stats())["problems"] == {}
        await repo.save(over("worse", thing=object()))
        with pytest.raises(GameArchiveError, match="neither kept nor archived: worse"):
            await repo.shutdown()

    run(test())


@pytest.mark.parametrize("bad", [{}, {"id": ""}, {"id": "a\0b"}, {"id": "x" * 600}, {"id": [1]}, {"id": None}])
def test_a_game_without_an_id_is_refused(tmp_path: Path, bad: dict[str, Any]) -> None:
    async def test() -> None:
        async with repository(tmp_path) as repo:
            with pytest.raises(UsageError):
                await repo.save(bad)
            assert (await repo.get_stats())["active_games"] == 0

    run(test())


def test_a_closed_repository_says_so(tmp_path: Path) -> None:
    async def test() -> None:
        repo = repository(tmp_path)
        with pytest.raises(RefusedError, match="not open"):
            await repo.save(game("g"))
        with pytest.raises(RefusedError, match="not open"):
            await repo.get_by_id("g")
        await repo.shutdown()
        await repo.initialize()
        await repo.initialize()
        await repo.shutdown()
        await repo.shutdown()

    run(test())


@pytest.mark.only("sqlite", "nothing comes as far as a database")
@pytest.mark.parametrize(
    "wrong",
    [
        {"max_active_games": 0},
        {"max_active_bytes": 0},
        {"max_active_games": 10, "hard_limit": 9},
        {"durability": "sometimes"},
        {"when_full": "panic"},
        {"archiver": "butler"},
        {"journal_interval": timedelta(0)},
    ],
)
def test_absurd_arguments_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        repository(tmp_path, **wrong)


def test_a_home_of_its_own_is_what_it_is_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def shown(**arguments: Any) -> tuple[str, str]:
        settings = HybridGameRepository(**arguments).archive_manager.settings
        return settings.database, settings.storage

    monkeypatch.delenv("GAMEARCHIVE_DATABASE", raising=False)
    home = (tmp_path / "games").as_uri()
    assert shown(home=tmp_path / "games") == (f"sqlite:///{tmp_path / 'games' / 'gamearchive.db'}", f"{home}/packs")
    monkeypatch.setenv("GAMEARCHIVE_DATABASE", f"sqlite:///{tmp_path / 'elsewhere.db'}")
    assert shown(home=tmp_path / "games") == (f"sqlite:///{tmp_path / 'elsewhere.db'}", f"{home}/packs")
    with pytest.raises(ConfigurationError, match="settings or a home, not both"):
        shown(home=tmp_path, settings=load_settings())
