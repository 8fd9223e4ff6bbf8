"""``gamearchive query``: what each option leaves of a listing, and every form it is printed in."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path

import pytest
from databases import Databases
from running import Ended, Run, process, run

from gamearchive.cli.games import FIELDS
from gamearchive.database.engine import Database


def played(number: int, **facts: object) -> dict[str, object]:
    return {"id": f"g{number}", "created_at": f"2025-01-{number + 1:02}", **facts}


CHESS = [
    played(1, players=["Ann", "Bob"], winner="Ann", status="won", completed_at="2025-03-01T10:00:00Z"),
    played(2, players=["Bob", "Cid"], status="won", completed_at="2025-03-02T10:00:00Z"),
    played(3, players=["Ann", "Cid"], status="drawn", completed_at="2025-03-03T10:00:00Z"),
]
CARDS = [
    played(4, players=["Ann", "Bob", "Cid"], status="aborted"),
    played(5, players=["Łukasz"], status="won", completed_at="2024-12-31T23:59:59Z"),
]


@pytest.fixture(scope="module")
def shared(shared_databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive that the tests of this module read: g1 to g3 are chess, g4 and g5 are cards and were archived later."""
    folder = tmp_path_factory.mktemp("query")
    for name, games, tags in (("chess", CHESS, ("season=1", "ranked=yes")), ("cards", CARDS, ("season=2", "ranked=yes"))):
        (folder / name).write_text("\n".join(map(json.dumps, games)), encoding="utf-8")
        flags = [part for tag in tags for part in ("--tag", tag)]
        ended = run("archive", str(folder / name), "--type", name, *flags, *shared_databases.where(folder / "home"))
        assert ended.code == 0, ended
    return folder / "home"


@pytest.fixture(autouse=True)
def home(shared: Path, shared_databases: Databases, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GAMEARCHIVE_HOME", str(shared))
    if not shared_databases.are_files:
        monkeypatch.setenv("GAMEARCHIVE_DATABASE", shared_databases.of(shared))
    return shared


def ids(ended: Ended) -> list[str]:
    assert ended.code == 0, ended
    return ended.out.split()


def test_what_json_tells_is_a_promise(gamearchive: Run) -> None:
    ended = gamearchive("query", "--json", "--limit", "2")
    assert (ended.code, ended.err) == (0, "")
    first, second, told = [json.loads(line) for line in ended.out.splitlines()]
    for item in (first, second):
        assert list(item) == ["type", *(column.key for column in FIELDS)]
        assert item["type"] == "item"
    assert list(told) == ["type", "count", "next_cursor"]
    assert (told["type"], told["count"]) == ("summary", 2)
    assert second["entity_id"] == "g4"
    assert second.items() >= {
        "entity_type": "cards", "revision": 1, "status": "aborted", "players": ["Ann", "Bob", "Cid"], "winner": None,
        "created_at": "2025-01-05T00:00:00Z", "completed_at": None, "trigger": "manual", "priority": "normal", "policy": None,
        "tags": {"ranked": "yes", "season": "2"}, "content_type": "application/json", "held": False,
    }.items()  # fmt: skip


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", "g5 g4 g3 g2 g1"),
        ("--type chess", "g3 g2 g1"),
        ("--type nothing", ""),
        ("--player Ann", "g4 g3 g1"),
        ("--player Ann --player Cid", "g4 g3"),
        ("--player Łukasz", "g5"),
        ("--player An", ""),
        ("--status won", "g5 g2 g1"),
        ("--status won --status drawn", "g5 g3 g2 g1"),
        ("--tag season=1", "g3 g2 g1"),
        ("--tag ranked=yes --tag season=2", "g5 g4"),
        ("--tag season=", ""),
        ("--id g2 --id g5 --id none", "g5 g2"),
        ("--id g", ""),
        ("--type chess --player Ann --status drawn --tag season=1 --id g3", "g3"),
        ("--since 1h", "g5 g4 g3 g2 g1"),
        ("--until 1h", ""),
        ("--time completed --since 2025-03-02", "g3 g2"),
        ("--time completed --until 2025-03-02", "g1 g5"),
        ("--time completed --since 2025-03-02T10:00:00Z --until 2025-03-03T10:00:00Z", "g2"),
        ("--time completed --since 2025-03-02T12:00:00+02:00 --until 2025-03-03", "g2"),
        ("--time created --since 2025-01-03 --until 2025-01-05", "g3 g2"),
        ("--sort completed", "g3 g2 g1 g5 g4"),
        ("--sort completed:asc", "g4 g5 g1 g2 g3"),
        ("--sort created:desc", "g5 g4 g3 g2 g1"),
        ("--sort archived:asc", "g1 g2 g3 g4 g5"),
        ("--limit 2", "g5 g4"),
        ("--limit 0", "g5 g4 g3 g2 g1"),
        ("--limit 2 --sort created:asc --type chess", "g1 g2"),
    ],
)
def test_every_option_narrows_the_listing_or_orders_it(gamearchive: Run, options: str, expected: str) -> None:
    assert ids(gamearchive("query", "--ids", *options.split())) == expected.split()
    if "--limit" not in options:
        counted = gamearchive("query", "--count", *options.split())
        assert (counted.code, counted.out) == (0, f"{len(expected.split())}\n")


@pytest.mark.parametrize("sort", ["archived", "archived:asc", "completed", "completed:asc", "created", "created:asc"])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_pages_make_up_the_whole_listing(gamearchive: Run, sort: str, size: int) -> None:
    whole = ids(gamearchive("query", "--ids", "--sort", sort))
    walked: list[str] = []
    cursor: list[str] = []
    while True:
        told = [
            json.loads(line)
            for line in gamearchive("query", "--json", "--sort", sort, "--limit", str(size), *cursor).out.splitlines()
        ]
        assert told[-1]["count"] == len(told) - 1 <= size
        walked += [item["entity_id"] for item in told[:-1]]
        if told[-1]["next_cursor"] is None:
            break
        cursor = ["--cursor", told[-1]["next_cursor"]]
    assert walked == whole


def test_people_are_told_where_the_next_page_begins(gamearchive: Run) -> None:
    first = gamearchive("query", "--limit", "3")
    cursor = first.err.split("--cursor ")[1].strip().rstrip(".")
    second = gamearchive("query", "--limit", "3", "--cursor", cursor)
    assert [line.split("\t")[0] for line in (first.out + second.out).splitlines()] == ["g5", "g4", "g3", "g2", "g1"]
    assert second.err == "2 games.\n"


def test_csv_has_every_field_and_is_read_by_the_csv_module(gamearchive: Run) -> None:
    rows = list(csv.DictReader(io.StringIO(gamearchive("query", "--csv").out)))
    items = [json.loads(line) for line in gamearchive("query", "--json").out.splitlines()[:-1]]
    assert len(rows) == len(items) == 5
    for row, item in zip(rows, items, strict=True):
        assert list(row) == list(item)[1:]
        assert None not in row.values()
        for key, value in row.items():
            given = item[key]
            if isinstance(given, list):
                assert value == "; ".join(given)
            elif isinstance(given, dict):
                assert value == ", ".join(f"{name}={each}" for name, each in given.items())
            elif isinstance(given, bool):
                assert value == ("yes" if given else "no")
            else:
                assert value == ("" if given is None else str(given))


def test_a_pipe_gets_plain_lines_and_quiet_leaves_the_ids(gamearchive: Run) -> None:
    ended = gamearchive("query", "--id", "g1")
    assert ended.out.split("\t")[:4] == ["g1", "chess", "won", "Ann; Bob"]
    assert ended.err == "1 game.\n"
    assert gamearchive("query", "--id", "g1", "--quiet") == Ended(0, "g1\n", "")


def test_counts_in_json(gamearchive: Run) -> None:
    assert json.loads(gamearchive("query", "--count", "--json").out) == {"type": "summary", "count": 5, "next_cursor": None}


def test_an_empty_listing_is_done(gamearchive: Run) -> None:
    for form in ((), ("--json",), ("--csv",), ("--ids",), ("--count",), ("--quiet",)):
        assert gamearchive("query", "--player", "Nobody", *form).code == 0
    assert gamearchive("query", "--player", "Nobody").err == "0 games.\n"


def test_an_archive_that_is_not_there(gamearchive: Run, databases: Databases, tmp_path: Path) -> None:
    where = databases.where(tmp_path / "none")
    ended = gamearchive("query", *where)
    assert (ended.code, ended.out) == (10, "")
    code, message, hint = ended.err.splitlines()
    assert code == "error: no-archive"
    assert Database(databases.of(tmp_path / "none")).name in message
    assert hint.startswith("hint: Start one with `gamearchive archive")
    assert json.loads(gamearchive("query", "--json", *where).err)["exit_code"] == 10
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        *("--sort players", "--sort archived:up", "--limit -1", "--limit x", "--cursor nonsense", "--csv --ids", "--tag x"),
        *("--since yesterday", "--time played", "--type No", "--cursor " + "YXJjaGl2ZWQ6MTox" + " --sort completed"),
    ],
)
def test_wrong_usage(gamearchive: Run, wrong: str) -> None:
    ended = gamearchive("query", *wrong.split())
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("error: usage\n")


def test_options_have_variables(gamearchive: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAMEARCHIVE_PLAYER", "Ann")
    monkeypatch.setenv("GAMEARCHIVE_LIMIT", "1")
    assert ids(gamearchive("query", "--ids")) == ["g4"]
    assert ids(gamearchive("query", "--ids", "--limit", "0")) == ["g4", "g3", "g1"]


def test_a_process_of_its_own_prints_the_same(gamearchive: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONUTF8", "1")
    for form in ((), ("--json",), ("--csv",)):
        assert process("query", *form).stdout.decode() == gamearchive("query", *form).out


@pytest.mark.skipif(sys.platform == "win32", reason="has no pseudo-terminals")
@pytest.mark.parametrize("colour", [True, False])
def test_a_terminal_gets_a_table(monkeypatch: pytest.MonkeyPatch, colour: bool) -> None:
    from terminal import on_terminal

    monkeypatch.setenv("TERM", "xterm-256color")
    if not colour:
        monkeypatch.setenv("NO_COLOR", "1")
    code, shown = on_terminal("query", columns=160)
    assert code == 0
    heading, *rows, last = shown.replace("\r", "").splitlines()
    for word in ("id", "type", "status", "players", "winner", "completed", "archived", "size"):
        assert word in heading
    assert len(rows) == 5
    assert "Ann; Bob; Cid" in rows[1]
    assert "ago" in rows[1]
    assert last == "5 games."
    assert ("\x1b[" in shown) is colour
