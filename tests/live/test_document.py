"""The code of the design that this package is built after runs as it stands there, one block after another."""

from __future__ import annotations

import ast
import asyncio
import inspect
import warnings
from typing import Any

from gamearchive import ArchiveStats, HybridGameRepository

BASIC = """
from gamearchive import HybridGameRepository

repo = HybridGameRepository(
    max_active_games=1000,
    archive_on_completion=True,
    archive_after_inactive=timedelta(hours=1),
    enable_compression=True
)

await repo.initialize()

game = await repo.get_by_id("game-123")
"""

POLICY = """
from gamearchive import ArchivalPolicy, ArchivalTrigger

custom_policy = ArchivalPolicy(
    name="aggressive_archival",
    entity_type="game",
    triggers={ArchivalTrigger.GAME_COMPLETED, ArchivalTrigger.TIME_BASED},
    archive_after=timedelta(minutes=30),  # Archive after 30 minutes
    compress_after=timedelta(hours=1),    # Compress after 1 hour
    retention_period=timedelta(days=30),   # Delete after 30 days
    batch_size=100,
    max_concurrent_archives=5
)

repo.policies['game'] = custom_policy
"""

MANUAL = """
success = await repo._archive_manager.archive_entity(
    entity_id="game-123",
    entity_type="game",
    trigger=ArchivalTrigger.MANUAL,
    priority=ArchivalPriority.HIGH
)
"""

QUERY = """
from gamearchive import ArchiveQuery

query = ArchiveQuery(
    entity_type="game",
    start_date=datetime.utcnow() - timedelta(days=7),
    limit=50
)

results = await repo._archive_manager.query_archives(query)
"""

WORKER = "stats = worker.get_status()"

MANAGER = "stats = await manager.get_stats()"

MIGRATION = """
repo = HybridGameRepository(
    archive_on_completion=True
)
await repo.initialize()
"""

BACKEND = """
class MyCustomBackend:
    async def archive(self, entity_id: str, entity_type: str, data: bytes) -> str:
        # Store data and return location
        pass

    async def retrieve(self, archive_location: str) -> bytes:
        # Retrieve data
        pass

repo._archive_backend = MyCustomBackend()
"""

PRELUDE = """
from datetime import datetime, timedelta
from gamearchive import ArchivalPriority
"""


async def run(block: str, names: dict[str, Any]) -> None:
    code = compile(block, "block", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of utcnow, since Python 3.12
        result = eval(code, names)
        if inspect.isawaitable(result):
            await result


def test_every_block_of_the_design_runs() -> None:
    asyncio.run(_every_block())


async def _every_block() -> None:
    names: dict[str, Any] = {}
    await run(PRELUDE, names)
    await run(BASIC, names)
    assert names["game"] is None
    repo: HybridGameRepository[dict[str, Any]] = names["repo"]
    mine = {"id": "game-123", "players": ["Anna", "Ben"], "status": "playing"}
    await repo.save(mine)
    assert await repo.get_by_id("game-123") is mine

    await run(POLICY, names)
    assert repo.policies["game"] is names["custom_policy"]

    await run(MANUAL, names)
    assert names["success"] is True
    again = await repo.get_by_id("game-123")
    assert again == mine
    assert again is not mine

    await run(QUERY, names)
    (result,) = names["results"]
    assert (result.entity_id, result.provenance.trigger.value, result.provenance.priority.name) == (
        "game-123",
        "manual",
        "HIGH",
    )
    assert result.provenance.policy == names["custom_policy"].label

    names |= {"worker": repo.archive_manager.worker, "manager": repo.archive_manager}
    await run(WORKER, names)
    status = names["stats"]
    assert status["state"] in ("idle", "processing")
    assert status["queue_sizes"] == {"LOW": 0, "NORMAL": 0, "HIGH": 0, "CRITICAL": 0}
    assert status["metrics"]["total_processed"] == 1
    assert status["metrics"]["success_rate"] == 1.0
    assert status["metrics"]["average_batch_time"] > 0

    await run(MANAGER, names)
    stats: ArchiveStats = names["stats"]
    assert stats["total_entities"] == stats.total_entities == {"game": 1}
    assert stats.compression_ratio < 1  # and below zero: one small game alone does not become smaller
    assert stats["worker_stats"]["metrics"] == status["metrics"]
    assert stats["backend_stats"]["packs"] == 1
    promised = (
        "total_entities total_size_bytes compression_ratio oldest_archive newest_archive by_status by_backend worker_stats "
        "backend_stats"
    )
    assert stats.keys() == promised.split()
    await repo.shutdown()

    await run(MIGRATION, names)
    repo = names["repo"]
    assert await repo.get_by_id("game-123") == mine
    await run(BACKEND, names)
    assert repo.archive_backend is repo._archive_backend
    assert type(repo.archive_backend).__name__ == "MyCustomBackend"
    assert await repo.get_by_id("game-123") is not None
    await repo.shutdown()
