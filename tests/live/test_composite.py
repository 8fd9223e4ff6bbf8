"""Games in play go into all parts of a storage, also from the archiver's own process."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gamearchive.manager import ArchiveManager
from gamearchive.settings import load_settings


@pytest.mark.parametrize("archiver", ["process", "thread"])
def test_a_game_goes_into_all_parts(tmp_path: Path, archiver: str) -> None:
    parts = [f"[[composite.part]]\nname = '{name}'\nurl = '{(tmp_path / name).as_uri()}'" for name in "ab"]
    file = tmp_path / "gamearchive.toml"
    file.write_text("\n".join([f"home = '{tmp_path / 'home'}'", "[composite]", "write_quorum = 2", *parts]))

    async def steps() -> None:
        settings = load_settings(config=str(file))
        async with ArchiveManager(lambda entity_id, _: {"id": entity_id}, settings=settings, archiver=archiver) as manager:
            assert await manager.archive_entity("g-1")
            assert await manager.retrieve_entity("g-1") == {"id": "g-1"}
            assert (await manager.get_stats()).by_backend.keys() == {"composite:a,b"}

    asyncio.run(steps())
    [one], [two] = [sorted((tmp_path / name).rglob("*.zst")) for name in "ab"]
    assert one.read_bytes() == two.read_bytes()
