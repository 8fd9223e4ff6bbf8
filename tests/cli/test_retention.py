"""``gamearchive retention``: what it tells, asks and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from archiving import games
from running import Ended, Run

COUNTS = ["expired", "kept", "held", "bytes"]
ITEM = ["entity_type", "entity_id", "revision", "archived_at", "raw_bytes", "stored_bytes", "checksum", "rule", "reason"]


@pytest.fixture(autouse=True)
def _home(either_engine: None, gamearchive: Run) -> None:
    Path("games.ndjson").write_bytes(b"\n".join(record.payload for record in games(20)))
    assert gamearchive("archive", "games.ndjson").code == 0
    Path("gamearchive.toml").write_text("""
        max_share = "60%"
        [[retention]]
        name = "first"
        where = "entity_id IN ('g-0', 'g-1', 'g-2', 'g-3')"
        keep_for = "0s"
        [[retention]]
        name = "rest"
        entity_type = "game"
        keep_for = "30d"
    """)


def lines(ended: Ended, code: int = 0) -> tuple[list[dict[str, object]], dict[str, object]]:
    assert ended.code == code, ended
    *items, last = [json.loads(line) for line in ended.out.splitlines()]
    assert last.pop("type") == "summary"
    return items, last


def test_a_plan_is_shown_written_and_done_exactly(gamearchive: Run) -> None:
    shown = gamearchive("retention", "plan")
    assert shown.code == 0
    assert shown.out.splitlines()[1].startswith("first\tgame\t4\t")
    assert "expired: 4\nkept: 16\nheld: 0\nbytes: " in shown.out
    found = json.loads(gamearchive("retention", "plan", "--json", "--out", "plan.json").out)
    assert list(found) == [*COUNTS, "made_at", "items"]
    assert [list(item) for item in found["items"]] == [ITEM] * 4
    assert json.loads(Path("plan.json").read_bytes())["expired"] == 4
    assert gamearchive("retention", "plan", "--out", "plan.json").code == 13
    assert gamearchive("retention", "plan", "--out", "plan.json", "--force").code == 0
    items, last = lines(gamearchive("retention", "apply", "plan.json", "--yes", "--json"))
    assert [list(item) for item in items] == [["type", *ITEM]] * 4
    assert list(last) == [*COUNTS, "purged", "packs"]
    assert (last["expired"], last["kept"], last["held"]) == (4, 16, 0)
    again = gamearchive("retention", "apply", "plan.json", "--yes")
    assert (again.code, "is no longer there" in again.err) == (18, True)


def test_it_asks_before_games_go_and_refuses_where_nobody_is_to_be_asked(gamearchive: Run) -> None:
    refused = gamearchive("retention", "apply")
    assert (refused.code, "Let 4 games expire: this needs a yes" in refused.err) == (18, True)
    assert gamearchive("retention", "apply", "--dry-run").err.startswith("Would let 4 games expire (")
    assert json.loads(gamearchive("query", "--count", "--json").out)["count"] == 20
    done = gamearchive("retention", "apply", "-y")
    assert done.code == 0
    assert done.err.startswith("4 games expired (")
    assert done.err.endswith("), 16 kept.\n")
    assert gamearchive("retention", "apply").code == 0  # there is nothing to ask about


def test_more_than_the_share_that_may_go_is_refused(gamearchive: Run) -> None:
    ended = gamearchive("retention", "apply", "--yes", "--max-share", "10%")
    assert (ended.code, "more than 10%" in ended.err) == (18, True)
    assert gamearchive("retention", "apply", "--yes", "--max-share", "2").code == 16


def test_what_has_expired_is_brought_back(gamearchive: Run) -> None:
    before = gamearchive("query", "--json").out
    gamearchive("retention", "apply", "--yes")
    assert gamearchive("show", "g-1").code == 12
    explained = json.loads(gamearchive("retention", "explain", "g-1", "--json").out)
    assert (explained["verdict"], [rule["decides"] for rule in explained["rules"]]) == ("expired", [True, False])
    nothing = gamearchive("retention", "undelete", "g-1", "g-9")
    assert (nothing.code, gamearchive("show", "g-1").code) == (12, 12)
    items, last = lines(gamearchive("retention", "undelete", "g-0", "g-1", "g-2", "g-3", "--json"))
    assert ([item["entity_id"] for item in items], last) == (["g-0", "g-1", "g-2", "g-3"], {"undeleted": 4})
    assert gamearchive("query", "--json").out == before


def test_holds_are_added_listed_honoured_and_removed(gamearchive: Run) -> None:
    assert gamearchive("retention", "hold", "add", "--reason", "why").code == 2
    assert gamearchive("retention", "hold", "add", "nobody", "--reason", "why").code == 12
    items, last = lines(gamearchive("retention", "hold", "add", "g-1", "--reason", "a complaint", "--until", "90d", "--json"))
    assert (last, items[0]["entity_id"], items[0]["hold"]) == ({"held": 1}, "g-1", 1)
    assert gamearchive("retention", "hold", "add", "--where", "entity_id = 'g-2'", "--reason", "so", "--type", "game").code == 0
    shown = json.loads(gamearchive("show", "g-1", "--json").out)
    assert (shown["held"], json.loads(gamearchive("show", "g-3", "--json").out)["held"]) == (True, False)
    assert json.loads(gamearchive("retention", "explain", "g-1", "--json").out)["reason"] == "hold 1: a complaint"
    assert lines(gamearchive("retention", "apply", "--yes", "--json"))[1]["held"] == 2
    listed, last = lines(gamearchive("retention", "hold", "list", "--json"))
    assert ([item["on"] for item in listed], last) == (["g-1", "game: entity_id = 'g-2'"], {"count": 2})
    assert gamearchive("retention", "hold", "remove", "1", "7").code == 12
    assert gamearchive("retention", "hold", "remove", "1").err == "1 hold ended.\n"
    assert lines(gamearchive("retention", "apply", "--yes", "--json"))[1]["expired"] == 1


def test_every_listing_says_when_a_game_expires(gamearchive: Run) -> None:
    for item in (json.loads(line) for line in gamearchive("query", "--json").out.splitlines()[:-1]):
        assert item["expires_at"] > item["archived_at"] or item["entity_id"] in {"g-0", "g-1", "g-2", "g-3"}
    Path("more.ndjson").write_bytes(b'{"id": "more"}')
    item = json.loads(gamearchive("archive", "more.ndjson", "--json").out.splitlines()[0])
    assert item["expires_at"] == json.loads(gamearchive("show", "more", "--json").out)["expires_at"] is not None
    assert json.loads(gamearchive("restore", "more", "--json").out.splitlines()[0])["expires_at"] == item["expires_at"]


def test_without_rules_nothing_expires_and_that_is_said(gamearchive: Run) -> None:
    Path("gamearchive.toml").write_text("")
    for command in (("plan",), ("apply", "--yes")):
        ended = gamearchive("retention", *command)
        assert (ended.code, "no rules of retention" in ended.err) == (16, True)
    assert json.loads(gamearchive("retention", "explain", "g-1", "--json").out)["verdict"] == "kept"


def test_a_rule_that_cannot_be_is_a_setting_that_cannot_be(gamearchive: Run) -> None:
    Path("gamearchive.toml").write_text("[[retention]]\nname = 'x'")
    for command in (("config", "check"), ("retention", "plan")):
        ended = gamearchive(*command)
        assert (ended.code, "does not say what it keeps" in ended.err) == (16, True)


def test_where_there_is_no_archive_nothing_is_made(gamearchive: Run, tmp_path: Path) -> None:
    nowhere = f"sqlite:///{tmp_path / 'nowhere' / 'g.db'}"
    for command in (("plan",), ("apply", "--yes"), ("undelete", "g-1"), ("hold", "list"), ("explain", "g-1")):
        assert gamearchive("retention", *command, "--database", nowhere).code == 10, command
    assert not (tmp_path / "nowhere").exists()


def test_another_that_is_at_it_is_waited_for_or_told(gamearchive: Run, tmp_path: Path) -> None:
    from gamearchive.database.engine import Database
    from gamearchive.settings import load_settings

    database = Database(load_settings().database)
    with database.retain():
        ended = gamearchive("retention", "apply", "--yes")
        assert (ended.code, ended.err.startswith("error: locked")) == (11, True)
        assert gamearchive("retention", "apply", "--yes", "--lock-wait", "0.2s").code == 11
    database.close()
    assert gamearchive("retention", "apply", "--yes").code == 0


@pytest.mark.only("sqlite", "a home of its own is put back")
def test_a_backup_knows_what_has_expired_and_what_is_held(gamearchive: Run) -> None:
    assert gamearchive("retention", "hold", "add", "g-1", "--reason", "a complaint").code == 0
    assert gamearchive("retention", "apply", "--yes").code == 0
    assert gamearchive("backup", "create", "vault").code == 0
    assert gamearchive("backup", "restore", "vault", "--to", "other").code == 0
    before = gamearchive("query", "--ids").out
    assert "g-1\n" in before
    assert "g-2\n" not in before
    assert gamearchive("query", "--ids", "--home", "other").out == before
    assert gamearchive("rebuild", "--yes", "--home", "other").code == 0
    assert gamearchive("query", "--ids", "--home", "other").out == before
    assert "a complaint" in gamearchive("retention", "hold", "list", "--home", "other").out
    assert gamearchive("retention", "undelete", "g-2", "--home", "other").code == 0


def test_what_has_expired_stays_so_when_packs_are_made_denser(gamearchive: Run) -> None:
    assert gamearchive("retention", "apply", "--yes").code == 0
    assert gamearchive("compact", "--after", "0s").code == 0
    before = gamearchive("query", "--ids").out
    assert gamearchive("rebuild", "--yes").code == 0
    assert gamearchive("query", "--ids").out == before
    assert gamearchive("retention", "undelete", "g-2").code == 0
    assert gamearchive("restore", "g-2").code == 0
    assert gamearchive("verify", "--full").code == 0
