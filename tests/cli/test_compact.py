"""``gamearchive compact``."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import pytest
from archiving import flip, games
from running import Ended, Run

from gamearchive import ArchiveManager, load_settings
from gamearchive.database.engine import Database
from gamearchive.operations import compaction

pytestmark = pytest.mark.usefixtures("either_engine")


def fill(gamearchive: Run, runs: int = 3, count: int = 40) -> None:
    for run in range(runs):
        Path("games.ndjson").write_bytes(b"\n".join(record.payload for record in games(count, run * count)))
        assert gamearchive("archive", "games.ndjson").code == 0


def packs() -> list[Path]:
    return sorted(Path("home/packs").rglob("*.zst"))


def summary(ended: Ended) -> dict[str, int]:
    found: dict[str, int] = json.loads(ended.out.splitlines()[-1])
    return found


def restored(gamearchive: Run) -> list[bytes]:
    assert gamearchive("restore", "--status", "completed", "--output", "all.ndjson", "--force").code == 0
    return sorted(Path("all.ndjson").read_bytes().splitlines())


def test_it_says_what_became_of_the_packs(gamearchive: Run) -> None:
    assert gamearchive("compact").code == 10
    fill(gamearchive)
    before = restored(gamearchive)
    ended = gamearchive("compact")
    assert (ended.code, ended.err) == (0, "Nothing to pack more densely.\n")
    ended = gamearchive("compact", "--after", "0s", "--dry-run")
    assert (ended.code, len(packs())) == (0, 3)
    assert ended.err.startswith("Would pack 120 games of 3 packs (")
    ended = gamearchive("compact", "--after", "0s", "--json")
    item, last = map(json.loads, ended.out.splitlines())
    assert list(item) == ["type", "replaced", "packs", "games", "read_bytes", "written_bytes"]
    assert list(last) == ["type", "replaced", "packs", "games", "read_bytes", "written_bytes", "left", "seconds"]
    assert (last["replaced"], last["packs"], last["games"], last["left"]) == (3, 1, 120, 0)
    assert [path.relative_to("home/packs").as_posix() for path in packs()] == item["packs"]
    assert last["written_bytes"] == packs()[0].stat().st_size < last["read_bytes"]
    assert restored(gamearchive) == before
    assert gamearchive("verify", "--full").code == 0
    assert gamearchive("rebuild", "--yes").code == 0
    assert restored(gamearchive) == before
    assert gamearchive("compact", "--after", "0s", "-q").err == ""


def test_policies_say_when(gamearchive: Run) -> None:
    fill(gamearchive, runs=1)
    Path("gamearchive.toml").write_text('[policies.game]\ncompress_after = "1d"\n')
    assert gamearchive("compact").err == "Nothing to pack more densely.\n"
    Path("gamearchive.toml").write_text('[policies.game]\ncompress_after = "0s"\n')
    assert gamearchive("compact", "--type", "chess").err == "Nothing to pack more densely.\n"
    assert gamearchive("compact").err.startswith("Packed 40 games more densely: 1 pack (")


def test_work_can_be_bounded(gamearchive: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "PACK_RAW_BYTES", 1)
    fill(gamearchive)
    ended = gamearchive("compact", "--after", "0s", "--max-bytes", "1B")
    assert "became 1 (" in ended.err
    assert "% of what there is to do is left: run it again." in ended.err
    assert summary(gamearchive("compact", "--after", "0s", "--budget", "0s", "--json"))["replaced"] == 1
    assert summary(gamearchive("compact", "--after", "0s", "--budget", "1h", "--json"))["replaced"] == 1
    assert summary(gamearchive("compact", "--after", "0s", "--json"))["replaced"] == 0
    assert gamearchive("compact", "--budget", "soon").code == 2


def test_what_is_damaged_is_left_and_told(gamearchive: Run) -> None:
    fill(gamearchive)
    flip(packs()[1], 50)
    ended = gamearchive("compact", "--after", "0s")
    assert ended.code == 3
    assert packs()[0].name in ended.err or packs()[1].name in ended.err
    assert "1 pack left as they are: run `gamearchive verify`" in ended.err
    assert len(packs()) == 2


def test_two_at_once_do_not_do_the_same(gamearchive: Run) -> None:
    fill(gamearchive, runs=1)
    database = Database(load_settings({"home": "home"}).database)
    with database.compaction():
        ended = gamearchive("compact", "--after", "0s", "--json")
        assert (ended.code, json.loads(ended.err)["code"]) == (11, "locked")
        assert gamearchive("compact", "--after", "0s", "--lock-wait", "0.2s").code == 11
        assert gamearchive("compact", "--after", "0s", "--dry-run").code == 0
        fill(gamearchive, runs=1, count=50)  # others go on
    database.close()
    assert gamearchive("compact", "--after", "0s", "--lock-wait", "1s").code == 0


def test_the_documents_call(gamearchive: Run) -> None:
    fill(gamearchive, runs=2)

    async def test() -> None:
        async with ArchiveManager(settings=load_settings({"home": "home"}), enable_worker=False) as manager:
            assert await manager.compress_archives("game", timedelta(days=1)) == 0
            assert await manager.compress_archives("chess", timedelta(0)) == 0
            assert await manager.compress_archives("game", timedelta(0)) == 80
            assert await manager.compress_archives("game", timedelta(0)) == 0

    asyncio.run(test())
    assert len(packs()) == 1
