"""The commands on every storage, with the catalog on either engine: each does what it does with files."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from archiving import games
from databases import Databases, execute
from running import Ended, Run, process

COUNT = 300  # in three runs, the last with a dictionary


@pytest.fixture(params=["files", "s3", "postgresql"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a storage with nothing in it."""
    if request.param == "files":
        return (tmp_path / "the" / "packs").as_uri()
    if request.param == "s3":
        server = request.getfixturevalue("rclone")
        return str(server.url(server.new_bucket(), "the/packs"))
    return str(request.getfixturevalue("schema_url"))


@pytest.fixture
def settle(monkeypatch: pytest.MonkeyPatch, databases: Databases) -> Callable[[str, str], None]:
    """Makes a home and a storage those of the settings."""

    def settle(home: str, storage: str) -> None:
        monkeypatch.setenv("GAMEARCHIVE_HOME", home)
        monkeypatch.setenv("GAMEARCHIVE_STORAGE", storage)
        monkeypatch.setenv("GAMEARCHIVE_DATABASE", databases.of(home))

    return settle


def fill(gamearchive: Run, count: int = COUNT, runs: int = 3) -> list[bytes]:
    """Archive games; their payloads."""
    records = games(count)
    for run in range(runs):
        part = records[run * count // runs : (run + 1) * count // runs]
        Path("games.ndjson").write_bytes(b"\n".join(record.payload for record in part))
        assert gamearchive("archive", "games.ndjson", "--json").code == 0
    return [record.payload for record in records]


def summary(ended: Ended) -> dict[str, object]:
    return json.loads(ended.out.splitlines()[-1])  # type: ignore[no-any-return]


def restored(gamearchive: Run) -> list[bytes]:
    """All games, as ``restore`` gives them."""
    assert gamearchive("restore", "--status", "completed", "--output", "all.ndjson", "--force").code == 0
    return Path("all.ndjson").read_bytes().splitlines()


@pytest.mark.only("sqlite", "the catalog has no part in it")
def test_each_storage_is_fit_and_left_as_it_was(gamearchive: Run, storage: str, settle: Callable[[str, str], None]) -> None:
    settle("home", storage)
    fill(gamearchive, 20, 1)
    ended = gamearchive("storage", "check", "--json")
    items = [row for row in map(json.loads, ended.out.splitlines()) if row["type"] == "item"]
    assert (ended.code, [row for row in items if row["result"] == "no" and row["check"] != "first"]) == (0, [])
    assert gamearchive("verify", "--full").err == "Checked 20 games in 1 pack: all well.\n"


def test_every_command(gamearchive: Run, storage: str, databases: Databases, settle: Callable[[str, str], None]) -> None:
    settle("home", storage)
    assert gamearchive("config", "check").code == 0
    payloads = fill(gamearchive)
    again = summary(gamearchive("archive", "games.ndjson", "--json"))
    assert (again["archived"], again["skipped"]) == (0, COUNT // 3)
    assert gamearchive("query", "--count").out == f"{COUNT}\n"
    assert json.loads(gamearchive("show", "g-7", "--json").out)["stored_bytes"] > 0
    assert gamearchive("restore", "g-7").out.encode() == payloads[7]
    assert sorted(restored(gamearchive)) == sorted(payloads)
    assert summary(gamearchive("verify", "--full", "--json")) == {
        "type": "summary",
        "packs": 3,
        "records": COUNT,
        "damaged": 0,
        "missing": 0,
        "orphaned": 0,
        "repaired": 0,
    }
    stats = json.loads(gamearchive("stats", "--json").out)
    assert (stats["packs"], stats["dictionaries"]) == (3, 1)
    assert stats["catalog_bytes"] > 0
    Path("more.ndjson").write_bytes(b"\n".join(record.payload for record in games(20, first=COUNT)))
    assert gamearchive("archive", "more.ndjson", "--queue").code == 0
    assert gamearchive("worker", "run", "--burst").code == 0
    assert gamearchive("verify", "--repair").code == 0
    listed = gamearchive("query", "--limit", "0", "--json").out
    assert not Path("home/packs").exists()

    databases.lose("home")
    missing = gamearchive("query")
    assert missing.code == 10
    assert "gamearchive rebuild" in missing.err
    assert summary(gamearchive("rebuild", "--json"))["records"] == COUNT + 20
    assert gamearchive("query", "--limit", "0", "--json").out == listed
    assert gamearchive("verify", "--full").err == f"Checked {COUNT + 20} games in 4 packs: all well.\n"
    assert process("restore", "g-3").stdout == payloads[3]

    settle("other-home", storage)
    assert gamearchive("archive", "games.ndjson").code == 18  # another archive's storage


@pytest.mark.only("postgresql", "the packs lie in the database of the catalog")
def test_packs_may_lie_beside_their_catalog(gamearchive: Run, databases: Databases, settle: Callable[[str, str], None]) -> None:
    settle("home", databases.of("home"))
    payloads = fill(gamearchive, 120, 1)
    stats = json.loads(gamearchive("stats", "--json").out)
    sizes = (
        "SELECT pg_database_size(current_database()), sum(pg_total_relation_size(oid)) FROM pg_class "
        "WHERE relname LIKE 'gamearchive_packs%' AND relkind = 'r'"
    )
    [(everything, packs)] = execute(databases.of("home"), sizes)
    assert 0 < stats["catalog_bytes"] <= everything - packs
    listed = gamearchive("query", "--limit", "0", "--json").out
    assert gamearchive("rebuild", "--yes").code == 0
    assert gamearchive("query", "--limit", "0", "--json").out == listed
    assert sorted(restored(gamearchive)) == sorted(payloads)
    assert gamearchive("verify", "--full", "--repair").code == 0


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSTOP])
def test_who_is_killed_or_frozen_while_archiving_into_postgresql_loses_and_doubles_nothing(
    gamearchive: Run, schema_url: str, monkeypatch: pytest.MonkeyPatch, sent: signal.Signals
) -> None:
    monkeypatch.setenv("GAMEARCHIVE_HOME", "home")
    monkeypatch.setenv("GAMEARCHIVE_STORAGE", schema_url)
    payloads = fill(gamearchive, 20, 1)
    records = games(300, first=20)
    Path("games.ndjson").write_bytes(b"\n".join(record.payload for record in records))
    with psycopg.connect(schema_url) as holding:
        holding.execute("LOCK TABLE gamearchive_packs_games IN SHARE MODE")  # nothing can be put
        tool = subprocess.Popen([sys.executable, "-m", "gamearchive", "archive", "games.ndjson"], stderr=subprocess.DEVNULL)
        while not execute(schema_url, "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
            assert tool.poll() is None
            time.sleep(0.02)
        tool.send_signal(sent)
    assert gamearchive("archive", "games.ndjson").code == 0
    tool.send_signal(signal.SIGCONT)
    assert tool.wait(60) == (-signal.SIGKILL if sent is signal.SIGKILL else 0)
    assert gamearchive("verify", "--full", "--repair").code == 0
    assert gamearchive("verify", "--full").err.endswith("all well.\n")
    assert sorted(restored(gamearchive)) == sorted([*payloads, *(record.payload for record in records)])
