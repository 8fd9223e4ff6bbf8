"""``gamearchive show``: all that is known of one game."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from running import Run

from gamearchive.cli.games import FIELDS


@pytest.fixture(autouse=True)
def _home(either_engine: None, gamearchive: Run) -> None:
    for number in (1, 2, 3):
        game = {"id": "a", "players": ["Ann", "Bob"], "winner": "Ann", "status": "won", "move": "x" * number}
        Path("games.ndjson").write_text(json.dumps(game), encoding="utf-8")
        assert gamearchive("archive", "games.ndjson", "--tag", f"run={number}").code == 0


def test_what_json_tells_is_a_promise(gamearchive: Run) -> None:
    ended = gamearchive("show", "a", "--json")
    assert (ended.code, ended.err) == (0, "")
    shown = json.loads(ended.out)
    assert list(shown) == [*(column.key for column in FIELDS), "damage", "revisions"]
    assert (shown["revision"], shown["tags"], shown["players"], shown["damage"]) == (3, {"run": "3"}, ["Ann", "Bob"], None)
    assert [each["revision"] for each in shown["revisions"]] == [3, 2, 1]
    for each in shown["revisions"]:
        assert list(each) == ["revision", "archived_at", "raw_bytes", "checksum", "location"]
    assert shown["revisions"][0].items() <= shown.items()
    assert len({each["checksum"] for each in shown["revisions"]}) == 3


def test_one_revision(gamearchive: Run) -> None:
    shown = json.loads(gamearchive("show", "a", "--revision", "2", "--json").out)
    assert (shown["revision"], shown["tags"]) == (2, {"run": "2"})
    assert gamearchive("show", "a", "--revision", "4").code == 12
    assert gamearchive("show", "a", "--revision", "0").code == 2


def test_people_get_fields_and_revisions(gamearchive: Run) -> None:
    lines = gamearchive("show", "a").out.splitlines()
    assert {"entity_id: a", "players: Ann; Bob", "winner: Ann", "revision: 3", "tags: run=3"} <= set(lines)
    assert not any(line.startswith("damage") for line in lines)
    begin = lines.index("Revisions")
    assert lines[begin + 1].split("\t")[:2] == ["revision", "archived"]
    assert [line.split("\t")[0] for line in lines[begin + 2 :]] == ["3", "2", "1"]


def test_an_id_of_several_types_needs_its_type(gamearchive: Run) -> None:
    assert gamearchive("archive", "games.ndjson", "--type", "chess").code == 0
    ended = gamearchive("show", "a")
    assert ended.code == 2
    assert "several types: chess, game" in ended.err
    assert json.loads(gamearchive("show", "a", "--type", "chess", "--json").out)["entity_type"] == "chess"


def test_a_game_that_is_not_there(gamearchive: Run) -> None:
    for arguments in (("b",), ("a", "--type", "chess"), ("",), ("A",)):
        ended = gamearchive("show", *arguments)
        assert (ended.code, ended.out) == (12, "")
        assert ended.err.startswith("error: not-found\n")
