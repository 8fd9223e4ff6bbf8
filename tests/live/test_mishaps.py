"""What goes wrong at the worst moment: while a game is on its way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from playing import Shelf, archived, executed, game, journal, over, quick_worker, repository, revisions, run, until

from gamearchive.errors import GameArchiveError

IN_PLAY, HANDED_OVER, FAILED = 0, 1, 2
HOUR = timedelta(hours=1)


class SlowReads(Shelf):
    """A shelf from which one game is taken slowly, once told so, while others come and go."""

    def __init__(self) -> None:
        super().__init__()
        self.slow = False
        self.waiting = 0

    async def retrieve(self, location: str) -> bytes:
        found = await super().retrieve(location)
        if self.slow and not self.waiting:
            self.waiting += 1
            while self.slow:
                await asyncio.sleep(0.001)
        return found


@contextmanager
def unwritable(folder: Path) -> Iterator[None]:
    """While this lasts, the journal cannot be written."""
    executed(folder, "ALTER TABLE snapshots RENAME TO elsewhere")
    try:
        yield
    finally:
        executed(folder, "ALTER TABLE elsewhere RENAME TO snapshots")


def test_a_game_deleted_while_the_journal_fails_does_not_come_back(tmp_path: Path) -> None:
    async def test() -> None:
        async with repository(tmp_path, journal_interval=HOUR) as repo:
            await repo.save(game("g"))
            await repo.flush()
            with unwritable(tmp_path):
                await repo.delete("g")
                with pytest.raises(GameArchiveError):
                    await repo.flush()
            await repo.flush()
            assert journal(tmp_path) == {}

    run(test())


def test_what_failed_while_the_journal_fails_too_is_noted_once_it_does_not(tmp_path: Path) -> None:
    async def test() -> None:
        shelf = Shelf()
        shelf.poison = {"g"}
        worker = quick_worker(max_retries=0)
        async with repository(tmp_path, backend=shelf, journal_interval=HOUR, worker=worker) as repo:
            await repo.save(over("g"))
            await repo.flush()
            await until(lambda: worker.failed)
            with unwritable(tmp_path), pytest.raises(GameArchiveError):
                await repo.flush()
            assert journal(tmp_path) == {"g": HANDED_OVER}
            await repo.flush()
            assert journal(tmp_path) == {"g": FAILED}

    run(test())


def test_a_read_that_takes_longer_than_a_whole_game_is_not_believed(tmp_path: Path) -> None:
    """It found the game as it was before it was played on, and archived again."""

    async def test() -> None:
        shelf = SlowReads()
        async with repository(tmp_path, backend=shelf) as repo:
            await repo.save(over("g", moves=[1]))
            await until(lambda: "g" not in repo._play.games)
            shelf.slow = True
            reading = asyncio.create_task(repo.get_by_id("g"))
            await until(lambda: shelf.waiting)
            await repo.save(over("g", moves=[1, 2]))
            await until(lambda: "g" not in repo._play.games)
            shelf.slow = False
            assert await reading == over("g", moves=[1, 2])

    run(test())


def test_a_game_that_somebody_works_on_stays_though_it_is_archived(tmp_path: Path) -> None:
    async def test() -> None:
        shelf = Shelf()
        shelf.held = True
        async with repository(tmp_path, backend=shelf) as repo:
            await repo.save(over("g"))
            await until(lambda: repo.archive_manager.worker.get_status()["in_flight"])
            async with repo.mutate("g") as mine:
                shelf.held = False
                await until(lambda: repo.archive_manager.worker.get_status()["metrics"]["total_archived"])
                await until(lambda: not repo._play._handed_over)
                assert await repo.get_by_id("g") is mine
                mine["moves"].append(1)
            await until(lambda: "g" not in repo._play.games)
            assert await repo.get_by_id("g") == over("g", moves=[1])
        assert revisions(await archived(tmp_path)) == {"g": 2}

    run(test())


def test_games_that_find_the_queue_full_go_when_there_is_room(tmp_path: Path) -> None:
    async def test() -> None:
        shelf = Shelf()
        shelf.held = True
        worker = quick_worker(max_queue_size=2)
        async with repository(tmp_path, backend=shelf, worker=worker) as repo:
            for number in range(9):
                await repo.save(over(f"g{number}"))
            await until(lambda: worker.get_status()["metrics"]["total_refused"] > 7)
            shelf.held = False
            await until(lambda: not repo._play.games)
        assert revisions(await archived(tmp_path)) == {f"g{number}": 1 for number in range(9)}

    run(test())
