"""An example game server: four players a game, lines of JSON over TCP, and a `HybridGameRepository` behind it.

A client asks ``{"do": "create", "game": ID}``, ``{"do": "move", "game": ID, "player": NAME, "move": N}``, ``{"do": "finish",
"game": ID}`` or ``{"do": "get", "game": ID}``. Each answer is the game, or ``{"error": ...}``. A move counts once it is saved;
the end of a game once the journal has it.

    python example_server.py HOME PORT_FILE [ARCHIVER]
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gamearchive import GameArchiveError, HybridGameRepository, load_settings

INTERVAL = timedelta(seconds=1)
PLAYERS = ("north", "east", "south", "west")


@dataclass
class TableGame:
    """A game of cards, or so."""

    id: str
    players: list[str] = field(default_factory=lambda: [*PLAYERS])
    moves: list[tuple[str, int]] = field(default_factory=list)
    status: str = "playing"
    winner: str | None = None
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    completed_at: datetime | None = None

    def finish(self) -> None:
        self.status = "completed"
        self.completed_at = datetime.now(UTC)
        self.winner = PLAYERS[sum(move for _, move in self.moves) % len(PLAYERS)]


class Server:
    """Answers clients."""

    def __init__(self, repository: HybridGameRepository[TableGame]) -> None:
        self.repository = repository

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            try:
                answer = await self.answer(json.loads(line))
            except GameArchiveError as error:
                answer = {"error": str(error)}
            writer.write(json.dumps(answer, default=str).encode() + b"\n")
            await writer.drain()
        writer.close()

    async def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        match asked:
            case {"do": "create", "game": game_id}:
                game = TableGame(game_id)
                await self.repository.save(game)
            case {"do": "move", "game": game_id, "player": player, "move": move}:
                async with self.repository.mutate(game_id) as game:
                    game.moves.append((player, move))
            case {"do": "finish", "game": game_id}:
                async with self.repository.mutate(game_id) as game:
                    game.finish()
                await self.repository.flush()
            case {"do": "get", "game": game_id}:
                found = await self.repository.get_by_id(game_id)
                if found is None:
                    return {"error": "not found"}
                game = found
            case _:
                return {"error": "not understood"}
        return dataclasses.asdict(game)


async def main(home: str, port_file: str, archiver: str = "thread") -> None:
    repository = HybridGameRepository(
        max_active_games=200,
        game_type=TableGame,
        settings=load_settings({"home": home}),
        journal_interval=INTERVAL,
        when_full="wait",
        archiver=archiver,
    )
    async with repository:
        server = await asyncio.start_server(Server(repository).serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        scratch = Path(port_file).with_suffix(f".{os.getpid()}")
        scratch.write_text(str(port))
        scratch.replace(port_file)
        async with server:
            await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
