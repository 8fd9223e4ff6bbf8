"""``gamearchive rebuild``: the catalog from the packs, row for row, and never without being asked twice."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from archiving import games
from databases import Databases, execute
from journaling import journal, recovered, snapshot
from running import Ended, Run

from gamearchive.adoption import Adoption, Inspected

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(autouse=True)
def _home(either_engine: None, gamearchive: Run) -> None:
    """Games of several types, tags and times; one of them in two revisions."""
    Path("games.ndjson").write_bytes(b"\n".join(record.payload for record in games(120)))
    Path("again.ndjson").write_text('{"id": "g-7", "status": "replayed"}', encoding="utf-8")
    for arguments in (
        *(("games.ndjson", "--tag", "run=1"), (str(DATA / "games/tilburg.pgn"), "--type", "chess"), (str(DATA / "binary"),)),
        ("again.ndjson", "--tag", "run=2", "--tag", "odd=yes"),
    ):
        assert gamearchive("archive", *arguments).code == 0


def everything(gamearchive: Run) -> tuple[object, ...]:
    """All that the catalog says, but for its own size."""
    listing = gamearchive("query", "--json", "--limit", "0").out
    assert listing.count("\n") > 120
    stats = json.loads(gamearchive("stats", "--json").out)
    del stats["catalog_bytes"]
    return listing, gamearchive("show", "g-7", "--json").out, stats, gamearchive("query", "--ids", "--sort", "completed").out


def test_a_lost_catalog_comes_back_row_for_row(gamearchive: Run, databases: Databases) -> None:
    before = everything(gamearchive)
    databases.lose("home")
    assert gamearchive("query").code == 10
    ended = gamearchive("rebuild", "--json")
    assert (ended.code, ended.err) == (0, "")
    *items, last = [each for line in ended.out.splitlines() if (each := json.loads(line))["type"] != "progress"]
    assert [list(item) for item in items] == [["type", "pack", "records"]] * 4
    assert list(last) == ["type", "packs", "records", "failed"]
    assert (last["packs"], last["failed"]) == (4, 0)
    assert last["records"] == sum(item["records"] for item in items)
    assert everything(gamearchive) == before
    assert gamearchive("verify", "--full").code == 0
    assert list(Path("home").glob("*.anew*")) == []


@pytest.mark.only("sqlite", "its file stays byte for byte")
def test_a_catalog_that_is_there_is_kept_without_a_yes(gamearchive: Run) -> None:
    before = Path("home/gamearchive.db").read_bytes()
    for form in ((), ("--json",), ("--quiet",)):
        ended = gamearchive("rebuild", *form)
        assert (ended.code, ended.out) == (18, "")
        assert "--yes" in ended.err
    assert Path("home/gamearchive.db").read_bytes() == before


def test_with_a_yes_it_is_made_anew(gamearchive: Run) -> None:
    before = everything(gamearchive)
    for flag in ("--yes", "-y"):
        ended = gamearchive("rebuild", flag)
        assert (ended.code, ended.out) == (0, "")
        assert ended.err == "Took 129 games (130 revisions) from 4 packs.\n"
        assert everything(gamearchive) == before


def test_a_dry_run_says_what_it_would_take_and_changes_nothing(gamearchive: Run, databases: Databases) -> None:
    before = {path: path.read_bytes() for path in Path("home").rglob("*") if path.is_file()}
    for flag in ("--dry-run", "-n"):
        ended = gamearchive("rebuild", flag)
        assert ended.code == 0
        assert ended.err.startswith("Would take ")
    assert {path: path.read_bytes() for path in Path("home").rglob("*") if path.is_file()} == before
    databases.lose("home")
    assert gamearchive("rebuild", "-n").code == 0
    assert not Path("home/gamearchive.db").exists()


def scribble(database: Path) -> None:
    database.write_bytes(b"x" * 50_000)


def scribble_in_the_middle(database: Path) -> None:
    data = bytearray(database.read_bytes())
    for page in range(4096, len(data), 4096):
        data[page : page + 100] = b"x" * 100
    database.write_bytes(data)


@pytest.mark.only("sqlite", "its file is damaged")
@pytest.mark.parametrize("harm", [scribble, scribble_in_the_middle])
def test_a_damaged_catalog_is_kept_aside_and_made_anew(gamearchive: Run, harm: Callable[[Path], None]) -> None:
    before = everything(gamearchive)
    for name in ("gamearchive.db.damaged", "gamearchive.db.damaged-2"):
        harm(Path("home/gamearchive.db"))
        damaged = Path("home/gamearchive.db").read_bytes()
        ended = gamearchive("query")
        assert ended.code == 14
        assert "gamearchive rebuild" in ended.err
        assert gamearchive("rebuild").code == 18
        ended = gamearchive("rebuild", "--yes")
        assert ended.code == 0
        assert str(Path("home").resolve() / name) in ended.err
        assert Path("home", name).read_bytes() == damaged
        assert everything(gamearchive) == before
    assert gamearchive("archive", "games.ndjson").code == 0


@pytest.mark.only("sqlite", "on PostgreSQL the journal stays where it is, and is not read")
def test_games_in_play_that_cannot_be_read_are_not_left_behind_unasked(gamearchive: Run, databases: Databases) -> None:
    before = everything(gamearchive)
    execute(databases.of("home"), "DROP TABLE snapshots")
    ended = gamearchive("rebuild", "--yes")
    assert (ended.code, "--force" in ended.err) == (14, True)
    assert gamearchive("rebuild", "--yes", "--force").code == 0
    assert everything(gamearchive) == before


def test_a_catalog_of_more_games_than_there_are_packs_for_stays(gamearchive: Run) -> None:
    before = everything(gamearchive)
    Path("home/packs").rename("away")
    for form in (("--yes",), ("--dry-run",)):
        ended = gamearchive("rebuild", *form)
        assert (ended.code, "129" in ended.err, "--force" in ended.err) == (18, True, True)
    Path("home/packs/chess").mkdir(parents=True)
    assert gamearchive("rebuild", "--yes").code == 18
    Path("home/packs/chess").rmdir()
    Path("home/packs").rmdir()
    Path("away").rename("home/packs")
    assert everything(gamearchive) == before
    for path in Path("home/packs/chess").rglob("*.zst"):
        path.unlink()
    assert gamearchive("rebuild", "--yes").code == 18
    assert gamearchive("rebuild", "--yes", "--force").code == 0
    assert gamearchive("query", "--count").out == "123\n"


@pytest.mark.parametrize("command", [("query",), ("verify",), ("restore", "g-1"), ("stats",), ("show", "g-1")])
def test_without_a_catalog_it_is_what_every_command_names(
    gamearchive: Run, databases: Databases, command: tuple[str, ...]
) -> None:
    databases.lose("home")
    ended = gamearchive(*command)
    assert (ended.code, "gamearchive rebuild" in ended.err) == (10, True)


def test_interrupted_it_says_that_the_catalog_is_as_it_was(gamearchive: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    before = everything(gamearchive)
    whole = Adoption.inspect

    def interrupted(self: Adoption, key: str) -> Inspected:
        signal.raise_signal(signal.SIGINT)
        return whole(self, key)

    with monkeypatch.context() as patch:
        patch.setattr(Adoption, "inspect", interrupted)
        ended = gamearchive("rebuild", "--yes")
    assert (ended.code, "The catalog is as it was." in ended.err) == (130, True)
    assert everything(gamearchive) == before


def test_a_pack_that_cannot_be_read_is_told_and_the_others_are_taken(gamearchive: Run, databases: Databases) -> None:
    pack = Path("home/packs") / json.loads(gamearchive("show", "g-50", "--json").out)["location"].partition("#")[0]
    pack.write_bytes(pack.read_bytes()[:-5])
    databases.lose("home")
    ended = gamearchive("rebuild", "--json")
    assert ended.code == 3
    (error,) = [json.loads(line) for line in ended.out.splitlines() if '"error"' in line]
    assert list(error) == ["type", "code", "message", "pack"]
    assert str(pack).endswith(error["pack"])
    assert json.loads(ended.out.splitlines()[-1])["packs"] == 3
    assert gamearchive("query", "--count", "--type", "chess").out == "6\n"


def test_no_catalog_and_no_packs_are_no_archive(gamearchive: Run, databases: Databases) -> None:
    for flags in ((), ("--yes",), ("-n",)):
        assert gamearchive("rebuild", *flags, *databases.where("none")).code == 10
    assert not Path("none").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="has no pseudo-terminals")
def test_at_a_terminal_it_asks(gamearchive: Run) -> None:
    from terminal import on_terminal

    before = everything(gamearchive)
    for typed, expected in ((b"n\n", 1), (b"y\n", 0)):
        code, shown = on_terminal("rebuild", columns=200, typed=typed)
        assert code == expected, shown
        assert "Write over the catalog in " in shown
        assert ("Took" in shown) is (expected == 0)
        assert everything(gamearchive) == before


def test_quiet_says_nothing(gamearchive: Run) -> None:
    assert gamearchive("rebuild", "--yes", "--quiet") == Ended(0, "", "")


def test_packs_without_a_catalog_are_not_left_to_an_empty_one(gamearchive: Run, databases: Databases) -> None:
    lost = databases.where("lost")
    Path("one.ndjson").write_text('{"id": "one"}\n')
    Path("two.ndjson").write_text('{"id": "two"}\n')
    assert gamearchive("archive", "one.ndjson", *lost).code == 0
    databases.lose("lost")
    ended = gamearchive("archive", "two.ndjson", *lost)
    assert (ended.code, "gamearchive rebuild" in ended.err) == (18, True)
    assert gamearchive("rebuild", *lost).code == 0
    assert gamearchive("archive", "two.ndjson", *lost).code == 0
    assert gamearchive("query", "--ids", *lost).out == "two\none\n"
    assert gamearchive("archive", "two.ndjson", "--home", "lost", "--database", databases.of("other")).code == 18


def test_while_a_server_plays_games_nothing_is_made_anew_but_all_can_be_checked(gamearchive: Run, databases: Databases) -> None:
    url = databases.of("home")
    with journal(url) as kept:
        ended = gamearchive("rebuild", "--yes")
        assert (ended.code, ended.out) == (11, "")
        assert "The server 'server' lives" in ended.err
        assert gamearchive("rebuild", "--dry-run").code == 0
        for arguments in (("--full",), ("--repair",)):
            assert gamearchive("verify", *arguments).code == 0
        kept.flush([snapshot("a")])
    assert gamearchive("rebuild", "--yes").code == 0
    with journal(url) as kept:
        assert recovered(kept) == {"a": snapshot("a")}
