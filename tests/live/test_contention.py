"""Several tasks that all do something else with the same games: the last acknowledged state wins in every one."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path
from typing import Any

import pytest
from playing import Shelf, archived, game, over, quick_worker, repository, run

from gamearchive import HybridGameRepository, NotFoundError

GAMES = [f"g{number}" for number in range(50)]
ROUNDS = int(os.environ.get("ROUNDS", "300"))


class Slow(Shelf):
    """A shelf that takes a moment, and fails now and then."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self._chance = chance

    async def archive(self, entity_id: str, entity_type: str, data: bytes) -> str:
        await asyncio.sleep(self._chance.random() * 0.01)
        if self._chance.random() < 0.05:
            raise OSError("not now")
        return await super().archive(entity_id, entity_type, data)

    async def retrieve(self, location: str) -> bytes:
        await asyncio.sleep(self._chance.random() * 0.01)
        return await super().retrieve(location)


@pytest.mark.parametrize("backend", ["packs", "slow"])
def test_the_last_acknowledged_state_wins(tmp_path: Path, backend: str) -> None:
    chance = random.Random(11)
    more: dict[str, Any] = {"backend": Slow(chance)} if backend == "slow" else {}
    told: dict[str, int] = dict.fromkeys(GAMES, 0)
    faults: list[str] = []

    def check(game_id: str, found: Any, least: int) -> None:
        if found is None:
            faults.append(f"{game_id} is gone")
        elif found["count"] < least:
            faults.append(f"{game_id} is at {found['count']}, and was at {least}")

    async def mutating(repo: HybridGameRepository[Any]) -> None:
        """The only one that counts."""
        for _ in range(ROUNDS * 5):
            game_id = chance.choice(GAMES)
            try:
                async with repo.mutate(game_id) as mine:
                    check(game_id, mine, told[game_id])
                    if chance.random() < 0.3:
                        await asyncio.sleep(chance.random() * 0.003)
                    mine["count"] += 1
                    mine["status"] = "completed" if chance.random() < 0.2 else "playing"
                    now = mine["count"]
            except NotFoundError:
                faults.append(f"{game_id} is gone")
                continue
            told[game_id] = now

    async def evicting(repo: HybridGameRepository[Any]) -> None:
        for _ in range(ROUNDS):
            await repo.archive_manager.archive_entity(chance.choice(GAMES))

    async def getting(repo: HybridGameRepository[Any]) -> None:
        for _ in range(ROUNDS * 5):
            game_id = chance.choice(GAMES)
            least = told[game_id]
            check(game_id, await repo.get_by_id(game_id), least)
            await asyncio.sleep(0)

    async def saving(repo: HybridGameRepository[Any]) -> None:
        """Saves what it gets at once, as a server does that has not changed it."""
        for _ in range(ROUNDS * 2):
            game_id = chance.choice(GAMES)
            found = await repo.get_by_id(game_id)
            if found is not None:
                await repo.save(found)
            await asyncio.sleep(chance.random() * 0.002)

    async def test() -> None:
        async with repository(
            tmp_path, max_active_games=20, hard_limit=1000, worker=quick_worker(max_retries=50), **more
        ) as repo:
            for game_id in GAMES:
                await repo.save(game(game_id, count=0))
            async with asyncio.TaskGroup() as group:
                for task in (mutating, mutating, evicting, getting, saving):
                    group.create_task(task(repo))
            assert faults == []
            for game_id in GAMES:
                found = await repo.get_by_id(game_id)
                assert found is not None
                assert found["count"] == told[game_id]
                await repo.save(over(game_id, count=told[game_id]))
        async with repository(tmp_path, **more) as repo:
            for game_id in GAMES:
                assert await repo.get_by_id(game_id) == over(game_id, count=told[game_id])
        latest = {entry.entity_id: entry for entry in await archived(tmp_path) if not entry.superseded}
        assert set(latest) == set(GAMES)

    run(test())
