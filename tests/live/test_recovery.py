"""What a server finds when it comes back, and what another may take over."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from playing import Shelf, archived, executed, game, journal, over, quick_worker, repository, revisions, run, until

from gamearchive import (
    ArchivalTrigger,
    GameArchivalStrategy,
    LockedError,
    NotFoundError,
    SchemaError,
)
from gamearchive.errors import LeaseLostError

HERE = Path(__file__).parent.parent
HOUR = timedelta(hours=1)
IN_PLAY, HANDED_OVER, FAILED = 0, 1, 2


def die(folder: Path, program: str) -> None:
    """Run a server in a process of its own that ends as if it was killed, in the middle of its games."""
    body = textwrap.indent(textwrap.dedent(program), " " * 8)
    code = (
        "import asyncio, os, sys\nfrom pathlib import Path\nfrom playing import *\n"
        "async def main():\n"
        f"    repo = repository(Path({str(folder)!r}), server='dead')\n"
        "    async with repo:\n"
        f"{body}\n"
        "        os._exit(9)\n"
        "asyncio.run(main())\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(HERE)}, timeout=60, check=False)
    assert ended.returncode == 9


def test_all_that_was_flushed_comes_back(tmp_path: Path) -> None:
    die(
        tmp_path,
        """
        for number in range(250):
            await repo.save(game(f"g{number}", moves=[number]))
        await repo.flush()
        await repo.save(over("done"))
        await repo.flush()
        await repo.delete("g0")
        await repo.flush()
        """,
    )

    async def test() -> None:
        async with repository(tmp_path, server="dead") as repo:
            for number in range(1, 250):
                assert await repo.get_by_id(f"g{number}") == game(f"g{number}", moves=[number])
            assert await repo.get_by_id("g0") is None
            assert await repo.get_by_id("done") == over("done")
            await until(lambda: "done" not in repo._play.games)
        assert revisions(await archived(tmp_path)) == {"done": 1}

    run(test())


def test_games_that_come_back_are_not_looked_through_as_if_they_were_new(tmp_path: Path) -> None:
    """The garbage collector would hold up the loop, for seconds where there are many."""

    async def test() -> None:
        async with repository(tmp_path) as repo:
            await repo.save(game("g", moves=[[1], [2]]))
        async with repository(tmp_path) as repo:
            found = await repo.get_by_id("g")
            assert found is not None
            young = [*gc.get_objects(generation=0), *gc.get_objects(generation=1)]
            assert not any(each is found["moves"] for each in young)
            assert gc.isenabled()
            assert gc.get_freeze_count() == 0

    run(test())


def test_a_name_is_one_servers_and_a_dead_servers_games_can_be_claimed_once(tmp_path: Path) -> None:
    die(
        tmp_path,
        """
        for number in range(20):
            await repo.save(game(f"g{number}"))
        await repo.save(over("done"))
        await repo.flush()
        """,
    )

    async def test() -> None:
        async with repository(tmp_path, server="a") as a, repository(tmp_path, server="b") as b:
            await a.save(game("mine"))
            await a.flush()
            with pytest.raises(LockedError):
                await b.claim("a")
            with pytest.raises(NotFoundError):
                await b.claim("nobody")
            claimed = await asyncio.gather(a.claim("dead"), b.claim("dead"), return_exceptions=True)
            assert 21 in claimed
            assert {type(each) for each in claimed} == {int, NotFoundError}
            winner = a if claimed[0] == 21 else b
            assert [len(await each.list_active_games()) for each in (a, b)] == ([21, 0] if winner is a else [1, 20])
            assert await winner.get_by_id("g7") == game("g7")
            await until(lambda: "done" not in winner._play.games)
        assert revisions(await archived(tmp_path)) == {"done": 1}

    run(test())


def test_two_servers_get_each_their_own_games_back(tmp_path: Path) -> None:
    async def test() -> None:
        async with repository(tmp_path, server="a") as a, repository(tmp_path, server="b") as b:
            await a.save(game("of-a"))
            await b.save(game("of-b"))
        async with repository(tmp_path, server="a") as a, repository(tmp_path, server="b") as b:
            assert await a.list_active_games() == [game("of-a")]
            assert await b.list_active_games() == [game("of-b")]

    run(test())


def test_a_name_in_use_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gamearchive.journal.Journal.open.__defaults__", (0.0,))

    async def test() -> None:
        async with repository(tmp_path) as first:
            await first.save(game("g"))
            with pytest.raises(LockedError):
                await repository(tmp_path).initialize()
            await first.flush()

    run(test())


def test_a_game_of_another_server_is_reported_and_not_kept(tmp_path: Path) -> None:
    async def test() -> None:
        async with repository(tmp_path, server="a") as a:
            await a.save(game("g", moves=["a"]))
            await a.flush()
            b = repository(tmp_path, server="b")
            await b.initialize()
            await b.save(game("g", moves=["b"]))
            await b.flush()
            assert "is in play on the server 'a'" in (await b.get_stats())["problems"]["g"]
            assert await b.delete("g")
            await b.shutdown()
        async with repository(tmp_path, server="a") as a:
            assert await a.get_by_id("g") == game("g", moves=["a"])

    run(test())


def test_a_server_whose_games_were_claimed_ends(tmp_path: Path) -> None:
    async def test() -> None:
        first = repository(tmp_path, server="a")
        await first.initialize()
        await first.save(game("g", moves=[1]))
        await first.flush()
        _expire(tmp_path)
        async with repository(tmp_path, server="b") as second:
            assert await second.claim("a") == 1
            await first.archive_manager.worker.stop()
            await until(lambda: first._turns.problem is not None)
            with pytest.raises(LeaseLostError):
                await first.save(game("g", moves=[1, 2]))
            await first.shutdown()
            assert await second.get_by_id("g") == game("g", moves=[1])
        assert await archived(tmp_path) == []
        assert journal(tmp_path) == {"g": IN_PLAY}

    run(test())


def _expire(folder: Path) -> None:
    """Have the servers' leases be long over, and their processes be of another machine."""
    executed(folder, "UPDATE servers SET host = 'elsewhere', lease_until = 1")


def test_a_game_that_failed_stays_and_is_tried_again_by_the_next_server(tmp_path: Path) -> None:
    async def test() -> None:
        shelf = Shelf()
        shelf.down = True
        repo = repository(tmp_path, backend=shelf, worker=quick_worker(max_retries=1))
        await repo.initialize()
        await repo.save(over("g"))
        await until(lambda: repo.archive_manager.worker.get_status()["failed"] == {"g": "The shelf is down."})
        await repo.flush()
        assert journal(tmp_path) == {"g": FAILED}
        assert await repo.get_by_id("g") == over("g")
        await repo.shutdown(grace=0)
        assert journal(tmp_path) == {"g": FAILED}
        shelf.down = False
        async with repository(tmp_path, backend=shelf) as repo:
            await until(lambda: "g" not in repo._play.games)
            assert journal(tmp_path) == {}
            assert await repo.get_by_id("g") == over("g")
        (entry,) = await archived(tmp_path)
        assert entry.provenance.trigger is ArchivalTrigger.GAME_COMPLETED

    run(test())


def test_poison_keeps_no_other_game_back(tmp_path: Path) -> None:
    async def test() -> None:
        shelf = Shelf()
        shelf.poison.add("g3")
        async with repository(tmp_path, backend=shelf, worker=quick_worker(max_retries=0)) as repo:
            for number in range(8):
                await repo.save(over(f"g{number}"))
            await until(lambda: len(repo._play.games) == 1)
            assert await repo.get_by_id("g3") == over("g3")
            await until(lambda: repo.archive_manager.worker.failed)
            await repo.flush()
            assert journal(tmp_path) == {"g3": FAILED}
            shelf.poison.clear()
            assert repo.archive_manager.worker.retry_failed() == 1
            await until(lambda: not repo._play.games)
        assert revisions(await archived(tmp_path)) == {f"g{number}": 1 for number in range(8)}

    run(test())


@dataclass
class Old:
    id: str
    points: int = 0


@dataclass
class New:
    id: str
    score: int
    players: list[str] = field(default_factory=list)


def test_a_snapshot_that_cannot_be_read_is_kept_and_reported(tmp_path: Path) -> None:
    def wrong(document: dict[str, Any]) -> dict[str, Any]:
        return {"id": document["id"], "score": document["nonesuch"]}

    def right(document: dict[str, Any]) -> dict[str, Any]:
        return {"id": document["id"], "score": document["points"]}

    async def test() -> None:
        async with repository(tmp_path, strategy=GameArchivalStrategy(Old)) as repo:
            await repo.save(Old("g", 7))
        for strategy in (GameArchivalStrategy(New), GameArchivalStrategy(New, upcasters={1: wrong})):
            async with repository(tmp_path, strategy=strategy) as repo:
                assert list((await repo.get_stats())["unreadable"]) == ["g"]
                with pytest.raises(SchemaError):
                    await repo.get_by_id("g")
                with pytest.raises(SchemaError):
                    await repo.save(New("g", 8))
        async with repository(tmp_path, strategy=GameArchivalStrategy(New, upcasters={1: right})) as repo:
            assert await repo.get_by_id("g") == New("g", 7)
            assert (await repo.get_stats())["unreadable"] == {}
            await repo.save(New("g", 8))

    run(test())


def test_a_journal_that_cannot_be_written_for_a_while_loses_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        async with repository(tmp_path) as repo:
            write = repo._play._write

            async def fail(*_: object) -> Any:
                raise LockedError("The database is being made anew.")

            repo._play._write = fail
            await repo.save(game("g"))
            await repo.save(over("done"))
            with pytest.raises(LockedError):
                await repo.flush()
            with pytest.raises(LockedError):
                await repo.archive_manager.archive_entity("g")
            await until(lambda: repo._turns.problem is not None)
            assert (await repo.get_stats())["journal_problem"] == "The database is being made anew."
            repo._play._write = write
            await repo.flush()
            await until(lambda: not repo._play.games)
            await until(lambda: repo._turns.problem is None)
        found = {entry.entity_id: entry.provenance.trigger.value for entry in await archived(tmp_path)}
        assert found == {"g": "manual", "done": "game_completed"}

    run(test())


def test_how_long_a_game_was_idle_outlives_its_server(tmp_path: Path) -> None:
    die(tmp_path, "for name in ('a-late', 'b-early'):\n    await repo.save(game(name))\nawait repo.flush()")
    executed(tmp_path, "UPDATE snapshots SET saved_at = saved_at - 7200000000 WHERE entity_key = :key", key=b"b-early")

    async def test() -> None:
        async with repository(tmp_path, server="dead", archive_after_inactive=HOUR) as repo:
            await until(lambda: list(repo._play.games) == ["a-late"])
        (entry,) = await archived(tmp_path)
        assert (entry.entity_id, entry.provenance.trigger) == ("b-early", ArchivalTrigger.TIME_BASED)

    run(test())
