"""``gamearchive stats``: totals and sizes, for people and for programs."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from running import Run

DATA = Path(__file__).parents[1] / "data"
SUMS = ["games", "raw_bytes", "stored_bytes", "ratio"]


@pytest.fixture(autouse=True)
def _home(either_engine: None) -> None:
    pass


@pytest.fixture
def filled(gamearchive: Run) -> Path:
    assert gamearchive("archive", str(DATA / "games/football.ndjson")).code == 0
    assert gamearchive("archive", str(DATA / "games/tilburg.pgn"), "--type", "chess").code == 0
    Path("again.ndjson").write_text('{"id": "a"}', encoding="utf-8")
    assert gamearchive("archive", "again.ndjson").code == 0
    Path("again.ndjson").write_text('{"id": "a", "n": 2}', encoding="utf-8")
    assert gamearchive("archive", "again.ndjson").code == 0
    return Path("home")


def test_what_json_tells_is_a_promise(gamearchive: Run, filled: Path) -> None:
    ended = gamearchive("stats", "--json")
    assert (ended.code, ended.err) == (0, "")
    told = json.loads(ended.out)
    assert list(told) == [
        *("games", "revisions", "raw_bytes", "stored_bytes", "ratio", "packs", "dictionaries", "dictionary_bytes"),
        *("catalog_bytes", "types", "days", "queue"),
    ]
    games, chess = 301, 6
    assert (told["games"], told["revisions"], told["packs"]) == (games + chess, games + chess + 1, 4)
    assert told["stored_bytes"] == sum(path.stat().st_size for path in filled.rglob("*.zst"))
    assert told["dictionary_bytes"] == sum(path.stat().st_size for path in filled.rglob("*.zdict"))
    assert told["ratio"] == round(told["stored_bytes"] / told["raw_bytes"], 4)
    assert [list(each) for each in told["types"]] == [["entity_type", *SUMS]] * 2
    assert {each["entity_type"]: each["games"] for each in told["types"]} == {"game": games, "chess": chess}
    assert [list(each) for each in told["days"]] == [["day", *SUMS]] * len(told["days"])
    assert sum(each["games"] for each in told["days"]) == games + chess
    assert told["days"][-1]["day"] == datetime.now(UTC).date().isoformat()
    assert told["queue"] == []


@pytest.mark.usefixtures("filled")
def test_the_queue_is_told_by_state_and_priority(gamearchive: Run) -> None:
    assert gamearchive("archive", "again.ndjson", "--queue", "--priority", "high").code == 0
    (told,) = json.loads(gamearchive("stats", "--json").out)["queue"]
    assert list(told) == ["state", "priority", "jobs", "raw_bytes", "oldest_enqueued_at"]
    assert (told["state"], told["priority"], told["jobs"], told["raw_bytes"]) == ("waiting", "high", 1, 19)
    lines = gamearchive("stats").out.splitlines()
    assert lines[lines.index("Queue") + 2].split("\t")[:4] == ["waiting", "high", "1", "19 B"]


@pytest.mark.usefixtures("filled")
def test_people_get_totals_types_and_a_plot(gamearchive: Run) -> None:
    lines = gamearchive("stats").out.splitlines()
    assert lines[0] == "games: 307"
    assert [line.split("\t")[:2] for line in lines if line.startswith(("chess", "game\t"))] == [["chess", "6"], ["game", "301"]]
    assert lines[lines.index("Archived a day") + 1].startswith(datetime.now(UTC).date().isoformat())
    assert gamearchive("stats", "--quiet").out == ""


@pytest.mark.skipif(sys.platform == "win32", reason="has no pseudo-terminals")
@pytest.mark.usefixtures("filled")
def test_a_terminal_gets_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    from terminal import on_terminal

    monkeypatch.setenv("TERM", "xterm-256color")
    code, shown = on_terminal("stats")
    assert code == 0
    assert "█" * 40 in shown


def test_an_archive_that_is_empty_or_not_there(gamearchive: Run) -> None:
    assert gamearchive("stats").code == 10
    Path("broken.ndjson").write_text("[", encoding="utf-8")
    assert gamearchive("archive", "broken.ndjson").code == 3
    told = json.loads(gamearchive("stats", "--json").out)
    assert (told["games"], told["ratio"], told["types"], told["days"]) == (0, None, [], [])
    assert gamearchive("stats").out.startswith("games: 0\n")
