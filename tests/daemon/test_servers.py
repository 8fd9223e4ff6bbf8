"""Servers that play, and workers that archive, each in a process of its own."""

from __future__ import annotations

import asyncio
import json
from contextlib import ExitStack
from multiprocessing.connection import Connection

from daemons import Place, until
from journaling import kept_by_another
from playing import over
from sqlalchemy import func, select

from gamearchive import HybridGameRepository, load_settings
from gamearchive.database.schema import job_attempts


def play(config: str, server: str, games: int, said: Connection) -> None:
    """Play games to their ends, on a server that others archive for, and tell when it has let go of all of them."""

    async def serve() -> None:
        settings = load_settings(config=config)
        async with HybridGameRepository(2 * games, settings=settings, archiver="queue", server=server) as repository:
            for number in range(games):
                await repository.save(over(f"{server}-{number}", n=number))
            await repository.flush()
            said.send("enqueued")
            while (await repository.get_stats())["worker"]["in_flight"]:
                await asyncio.sleep(0.1)
            said.send("archived")
            said.recv()

    asyncio.run(serve())


def test_ten_thousand_games_of_two_servers_are_archived_by_three_workers(engine: str, any_place: Place) -> None:
    games = 5_000 if engine == "postgresql" else 1_000  # there one writes at a time, whoever it is
    names = ("one", "two", "three")
    with ExitStack() as stack:
        workers = [stack.enter_context(any_place.process("--name", name, "--batch-size", "200")) for name in names]
        for worker in workers:
            worker.wait_for("started")
        config = str(any_place.file)
        servers = [stack.enter_context(kept_by_another(play, config, server, games)) for server in ("north", "south")]
        for server in servers:
            assert (server.recv(), server.recv()) == ("enqueued", "archived")
        until(any_place.is_empty)
    played = [over(f"{server}-{number}", n=number) for server in ("north", "south") for number in range(games)]
    found = {entity_id: json.loads(payload) for entity_id, payload in any_place.archived().items()}
    assert found == {game["id"]: game for game in played}
    with any_place.administration.database.read() as connection:
        assert set(connection.scalars(select(job_attempts.c.worker))) == set(names)
        assert connection.scalar(select(func.count()).select_from(job_attempts)) == 2 * games
