"""A game server that is killed again and again: nothing it acknowledged is lost, old, doubled or altered."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import example_server
import pytest

from gamearchive import ArchiveQuery, load_settings
from gamearchive.administration import Administration

HERE = Path(example_server.__file__).parent
INTERVAL = example_server.INTERVAL.total_seconds() + 1  # and the moment that it takes to write them


class Host:
    """Runs the server, and kills it."""

    def __init__(self, folder: Path, archiver: str) -> None:
        self._home = folder / "home"
        self._port_file = folder / "port"
        self._archiver = archiver
        self._process: subprocess.Popen[bytes] | None = None
        self.kills = 0

    async def start(self) -> None:
        self._port_file.unlink(missing_ok=True)
        program = [sys.executable, str(HERE / "example_server.py"), str(self._home), str(self._port_file), self._archiver]
        self._process = subprocess.Popen(program)
        while not self._port_file.exists():
            assert self._process.poll() is None, "the server does not start"
            await asyncio.sleep(0.01)

    @property
    def port(self) -> int:
        return int(self._port_file.read_text())

    def kill(self) -> None:
        assert self._process is not None
        self._port_file.unlink()
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self.kills += 1

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


@dataclass
class Told:
    """What the server has acknowledged of one game: when it had how many moves, and its end."""

    moves: list[tuple[float, int]] = field(default_factory=list)
    end: dict[str, Any] | None = None


class Driver:
    """Plays games, whatever happens to the server, and remembers what it was told."""

    def __init__(self, host: Host, chance: random.Random) -> None:
        self._host = host
        self._chance = chance
        self.told: dict[str, Told] = {}
        self.killed_at = 0.0
        self.faults: list[str] = []
        self.finished = 0
        self._may_be_lost = INTERVAL
        self._late = 0.0

    def kill(self) -> None:
        """Kill the server: what it acknowledged within the interval before may be lost, and somewhat more where the machine has
        too much to do, which this process feels as the server does.
        """
        self.killed_at = time.monotonic()
        self._may_be_lost = INTERVAL + 5 * self._late
        self._late = 0.0
        for told in self.told.values():
            told.moves = [(at, count) for at, count in told.moves if at < self.killed_at - self._may_be_lost]
        self._host.kill()

    async def feel(self) -> None:
        """Note how late this process wakes up, until cancelled."""
        while True:
            begun = time.monotonic()
            await asyncio.sleep(0.01)
            self._late = max(self._late, time.monotonic() - begun - 0.01)

    async def play(self, prefix: str, games: Callable[[], bool]) -> None:
        """One table after another, by one client."""
        number = 0
        while games():
            number += 1
            await self._play(f"{prefix}-{number}")

    async def _play(self, game_id: str) -> None:
        told = self.told[game_id] = Told()
        moves = self._chance.randrange(1, 12)
        while told.end is None:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._host.port)
            except (OSError, ValueError):
                await asyncio.sleep(0.01)
                continue
            try:
                await self._go_on(game_id, told, moves, partial(_ask, reader, writer))
            except (ConnectionError, asyncio.IncompleteReadError):
                pass
            finally:
                writer.close()
        self.finished += 1

    async def _go_on(
        self, game_id: str, told: Told, moves: int, ask: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
    ) -> None:
        found = await ask({"do": "get", "game": game_id})
        due = [count for at, count in told.moves if at < self.killed_at - self._may_be_lost]
        if "error" in found:
            if due:
                self.faults.append(f"{game_id}: it had {due[-1]} moves {self._age(told, 0):.2f} s before, and is gone")
            told.moves = []
            found = await ask({"do": "create", "game": game_id})
            told.moves.append((time.monotonic(), 0))
        elif due and len(found["moves"]) < due[-1]:
            age = self._age(told, len(found["moves"]) + 1)
            self.faults.append(f"{game_id}: it had {due[-1]} moves, and has {len(found['moves'])}, of {age:.2f} s before")
        if [move for _, move in found["moves"]] != list(range(len(found["moves"]))):
            self.faults.append(f"{game_id}: its moves are {found['moves']}")
        told.moves = [(at, count) for at, count in told.moves if count <= len(found["moves"])]  # the others never were
        for move in range(len(found["moves"]), moves):
            player = example_server.PLAYERS[move % 4]
            found = await ask({"do": "move", "game": game_id, "player": player, "move": move})
            told.moves.append((time.monotonic(), len(found["moves"])))
            await asyncio.sleep(self._chance.random() * 0.02)
        told.end = found if found["status"] == "completed" else await ask({"do": "finish", "game": game_id})

    def _age(self, told: Told, moves: int) -> float:
        """How long before the server was killed a game first had so many moves."""
        return self.killed_at - min(at for at, count in told.moves if count >= moves)


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: dict[str, Any]) -> dict[str, Any]:
    writer.write(json.dumps(asked).encode() + b"\n")
    await writer.drain()
    answer: dict[str, Any] = json.loads(await reader.readuntil(b"\n"))
    if "error" in answer and asked["do"] != "get":
        raise AssertionError(answer)
    return answer


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("archiver", "kills"), [("thread", 15), ("process", 4)])
def test_no_game_that_was_acknowledged_is_lost_old_or_doubled(engine: str, tmp_path: Path, archiver: str, kills: int) -> None:
    kills = kills if engine == "sqlite" else 4
    host = Host(tmp_path, archiver)
    try:
        told = asyncio.run(_run(host, kills))
    finally:
        host.stop()
    asyncio.run(_check(tmp_path / "home", told))


async def _run(host: Host, kills: int) -> dict[str, Told]:
    chance = random.Random(7)
    driver = Driver(host, chance)
    await host.start()
    feeling = asyncio.create_task(driver.feel())
    async with asyncio.TaskGroup() as group:
        for table in range(60):
            group.create_task(driver.play(f"table{table}", lambda: host.kills < kills))
        while host.kills < kills:
            await asyncio.sleep(0.05 + chance.random() * 2)
            driver.kill()
            await host.start()
    feeling.cancel()
    assert driver.faults == []
    assert driver.finished > 2 * kills
    # What is handed over is archived in time; a game that goes on being asked for is there all along.
    reader, writer = await asyncio.open_connection("127.0.0.1", host.port)
    for game_id, told in driver.told.items():
        assert await _ask(reader, writer, {"do": "get", "game": game_id}) == told.end
    writer.close()
    return driver.told


async def _check(home: Path, told: dict[str, Told]) -> None:
    """Everything is archived by the next server at the latest, each game once, and as it ended."""
    settings = load_settings({"home": str(home)})
    repository = example_server.HybridGameRepository(game_type=example_server.TableGame, settings=settings, archiver="thread")
    async with repository:
        pass
    async with Administration(settings) as archive:
        found = {}
        async for page in archive.pages(ArchiveQuery(all_revisions=True, limit=0)):
            for entry in page.entries:
                assert entry.entity_id not in found, f"{entry.entity_id} is there twice"
                found[entry.entity_id] = json.loads(await archive.read(entry))
    assert found.keys() == told.keys()
    for game_id, game in found.items():
        end = told[game_id].end
        assert end is not None
        assert (game["moves"], game["winner"], game["status"]) == (end["moves"], end["winner"], end["status"])
