"""Repositories of games in play for tests, backends that fail when told to, and what has become of games."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

from databases import execute

from gamearchive import (
    ArchivalWorker,
    ArchiveEntry,
    ArchiveQuery,
    GameArchivalStrategy,
    HybridGameRepository,
    StorageUnavailableError,
    load_settings,
)
from gamearchive.administration import Administration

Game = dict[str, Any]
MOMENT = timedelta(milliseconds=5)


def game(game_id: str, **more: Any) -> Game:
    """A game that goes on."""
    return {"id": game_id, "players": ["Anna", "Ben"], "status": "playing", "moves": []} | more


def over(game_id: str, **more: Any) -> Game:
    """A game that is over."""
    return game(game_id, status="completed") | more


def quick_worker(**more: Any) -> ArchivalWorker[Any]:
    """A worker that waits for nothing longer than a moment."""
    return ArchivalWorker(GameArchivalStrategy(), **{"batch_timeout": MOMENT, "retry_delay": MOMENT} | more)


def repository(folder: Path, **more: Any) -> HybridGameRepository[Any]:
    """A repository of games in a folder, whose turns follow closely on one another."""
    usual = {
        "settings": load_settings({"home": str(folder / "home")}),
        "journal_interval": timedelta(milliseconds=30),
        "minimum_residency": timedelta(0),
        "server": "here",
        "archiver": "thread",
    }
    if "worker" not in more:
        usual["worker"] = quick_worker()
    return HybridGameRepository(**usual | more)


class Shelf:
    """A stranger's backend: two methods, and what may go wrong with them."""

    def __init__(self) -> None:
        self.games: dict[str, bytes] = {}
        self.down = False
        self.poison: set[str] = set()
        self.held = False
        self.archived: list[str] = []
        self.reads = 0
        self.most_at_once = 0
        self._at_once = 0

    async def archive(self, entity_id: str, entity_type: str, data: bytes) -> str:
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            while self.held:
                await asyncio.sleep(0.001)
            if self.down:
                raise StorageUnavailableError("The shelf is down.")
            if entity_id in self.poison:
                raise ValueError(f"{entity_id} is poison")
            location = f"{entity_type}/{entity_id}/{len(self.games)}"
            self.games[location] = data
            self.archived.append(entity_id)
            return location
        finally:
            self._at_once -= 1

    async def retrieve(self, location: str) -> bytes:
        self.reads += 1
        while self.held:
            await asyncio.sleep(0.001)
        if self.down:
            raise StorageUnavailableError("The shelf is down.")
        return self.games[location]


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that is bound to happen."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.002)


def run(test: Awaitable[None]) -> None:
    """Run a test to its end, in a loop of its own."""

    async def whole() -> None:
        async with asyncio.timeout(240):
            await test

    asyncio.run(whole())


async def archived(folder: Path) -> list[ArchiveEntry]:
    """Every revision of every game, the first archived first."""
    async with Administration(load_settings({"home": str(folder / "home")})) as archive:
        if not await archive.has_catalog():
            return []
        everything = ArchiveQuery(limit=0, all_revisions=True, ascending=True)
        return [entry async for page in archive.pages(everything) for entry in page.entries]


def revisions(entries: Iterable[ArchiveEntry]) -> dict[str, int]:
    """How many revisions there are of each game."""
    found: dict[str, int] = {}
    for entry in entries:
        found[entry.entity_id] = found.get(entry.entity_id, 0) + 1
    return found


def journal(folder: Path) -> dict[str, int]:
    """The games in the journal, each with its state: 0 in play, 1 handed over, 2 failed."""
    return {bytes(key).decode(): state for key, state in executed(folder, "SELECT entity_key, state FROM snapshots")}


def payload(folder: Path, game_id: str) -> bytes:
    """What the journal has of a game."""
    ((found,),) = executed(folder, "SELECT payload FROM snapshots WHERE entity_key = :key", key=game_id.encode())
    return bytes(found)


def executed(folder: Path, statement: str, **parameters: object) -> list[Any]:
    """Run a statement on the archive's database; the rows that it gives."""
    return execute(load_settings({"home": str(folder / "home")}).database, statement, **parameters)
