"""``gamearchive backup`` and ``drill``: an archive and its backups, on either engine, as an administrator sees them."""

from __future__ import annotations

import json
import shutil
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from archiving import flip, game
from databases import Databases
from journaling import journal, recovered, snapshot
from running import Ended, Run
from s3_servers import Rclone

KEYS = ["type", "backup_id", "new_packs", "reused_packs", "new_bytes", "total_bytes"]
COMPOSITE = '[composite]\n[[composite.part]]\nname = "part"\nurl = "file:///nowhere/at/all"\n'
LISTED = [
    "type",
    "backup_id",
    "created_at",
    "tag",
    "program",
    "games",
    "revisions",
    "raw_bytes",
    "packs",
    "total_bytes",
    "error",
]


@pytest.fixture(autouse=True)
def _home(either_engine: None, gamearchive: Run) -> None:
    """Three packs: of twenty games without a dictionary, then twice of a hundred with one."""
    for first, count in ((0, 20), (20, 100), (120, 100)):
        add(gamearchive, first, count)


def add(gamearchive: Run, first: int, count: int, **more: Any) -> None:
    Path("games.ndjson").write_bytes(b"\n".join(game(number, **more).payload for number in range(first, first + count)))
    assert gamearchive("archive", "games.ndjson").code == 0
    Path("games.ndjson").unlink()


def summary(ended: Ended, code: int = 0) -> dict[str, Any]:
    assert ended.code == code, ended
    last: dict[str, Any] = json.loads(ended.out.splitlines()[-1])
    assert last.pop("type") == "summary"
    return last


def items(ended: Ended) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, ended.out.splitlines()) if line["type"] == "item"]


def create(gamearchive: Run, *arguments: str, code: int = 0) -> dict[str, Any]:
    return summary(gamearchive("backup", "create", "backups", *arguments, "--json"), code)


def everything(gamearchive: Run, *where: str) -> dict[str, str]:
    """All that the archive says of itself, in the order of listings, with the bytes of every game."""
    restored = gamearchive("restore", "--type", "game", *where, "--json")
    assert restored.code == 0
    return {
        "rows": gamearchive("query", "--limit", "0", "--json", *where).out,
        "games": restored.out,
        "history": gamearchive("show", "g-5", "--json", *where).out,
        "jobs": gamearchive("queue", "list", "--limit", "0", "--json", *where).out,
    }


def backups(folder: str = "backups") -> list[Path]:
    return sorted(Path(folder, "backups").glob("*.json.zst"))


def rows_of(folder: str = "backups") -> list[Path]:
    return sorted(Path(folder, "rows").rglob("*.zst"))


def packs_of(folder: str = "backups") -> list[Path]:
    return sorted(Path(folder, "packs").rglob("*.zst"))


def test_the_whole_archive_comes_back_and_needs_nothing_of_the_old_one(
    gamearchive: Run, databases: Databases, tmp_path: Path
) -> None:
    add(gamearchive, 5, 1, moves=3)
    Path("queued.ndjson").write_bytes(game(900).payload)
    assert gamearchive("archive", "queued.ndjson", "--queue").code == 0
    with journal(databases.of("home"), "server-1") as server:
        server.flush([snapshot("in-play", b"[1]")])
    made = create(gamearchive, "--tag", "first")
    assert list(made) == KEYS[1:]
    assert (made["new_packs"], made["reused_packs"]) == (4, 0)
    before = everything(gamearchive)
    shutil.rmtree("home/packs")
    databases.lose("home")
    new = databases.where("new")
    ended = gamearchive("backup", "restore", "backups", "--to", "new", *new[2:], "--json")
    put = summary(ended)
    assert (put["backup_id"], put["games"], put["revisions"], put["packs"]) == (made["backup_id"], 220, 221, 4)
    assert everything(gamearchive, *new) == before
    assert gamearchive("verify", "--full", *new).err == "Checked 220 games (221 revisions) in 4 packs: all well.\n"
    with journal(databases.of("new"), "server-1") as server:
        assert recovered(server)["in-play"].record.payload == b"[1]"
    Path("queued.ndjson").write_bytes(game(901).payload)
    assert gamearchive("archive", "queued.ndjson", "--queue", *new).code == 0
    assert gamearchive("worker", "run", "--burst", *new).code == 0
    assert json.loads(gamearchive("query", "--count", "--json", *new).out)["count"] == 222
    assert gamearchive("rebuild", "--yes", *new).code == 0
    assert create(gamearchive, *new)["reused_packs"] == 4


def test_what_is_there_is_not_written_again(gamearchive: Run) -> None:
    first = create(gamearchive)
    again = create(gamearchive)
    assert (again["new_packs"], again["reused_packs"]) == (0, 3)
    assert again["new_bytes"] < 4000
    assert again["total_bytes"] == first["total_bytes"]
    written = sum(path.stat().st_size for path in Path("backups").rglob("*") if path.is_file())
    assert written == first["new_bytes"] + again["new_bytes"] + len("0" * 32 + "\n")
    add(gamearchive, 300, 2)
    more = create(gamearchive)
    assert (more["new_packs"], more["reused_packs"]) == (1, 3)
    listed = items(gamearchive("backup", "list", "backups", "--json"))
    assert [row["games"] for row in listed] == [220, 220, 222]
    assert [row["backup_id"] for row in listed] == [made["backup_id"] for made in (first, again, more)]
    assert list(listed[0]) == LISTED


def test_for_people(gamearchive: Run) -> None:
    ended = gamearchive("backup", "create", "backups", "--tag", "nightly")
    assert ended.code == 0
    assert "220 games, 3 new packs, " in ended.err
    listed = gamearchive("backup", "list", "backups")
    assert (listed.code, listed.out.split("\t")[2:4], listed.err) == (0, ["nightly", "220"], "1 backup.\n")
    assert gamearchive("backup", "verify", "backups").err.endswith(" of 1 backup: all well.\n")
    assert gamearchive("drill", "backups").err.startswith("Restored 100 games (")


def test_of_backups_the_one_of_a_time_comes_back(gamearchive: Run, databases: Databases) -> None:
    first = create(gamearchive)
    instant = items(gamearchive("backup", "list", "backups", "--json"))[0]["created_at"]
    add(gamearchive, 300, 2)
    create(gamearchive)
    new = databases.where("new")
    put = summary(gamearchive("backup", "restore", "backups", "--at", instant, "--to", "new", *new[2:], "--json"))
    assert (put["backup_id"], put["games"]) == (first["backup_id"], 220)
    early = gamearchive("backup", "restore", "backups", "--at", "2020-01-01", "--to", "other")
    assert (early.code, "as old" in early.err) == (12, True)


def test_an_archive_that_is_there_is_not_touched(gamearchive: Run, databases: Databases) -> None:
    create(gamearchive)
    before = everything(gamearchive)
    assert gamearchive("backup", "restore", "backups").code == 13
    other = databases.where("other")
    Path("one.ndjson").write_text('{"id": "one"}')
    assert gamearchive("archive", "one.ndjson", *other).code == 0
    assert gamearchive("backup", "restore", "backups", "--to", "other", *other[2:]).code == 13
    databases.lose("other")
    ended = gamearchive("backup", "restore", "backups", "--to", "other", *other[2:])
    assert (ended.code, "packs of another archive" in ended.err) == (18, True)
    assert everything(gamearchive) == before


@pytest.mark.only("sqlite", "the database is to be in the new home")
def test_what_the_settings_file_says_of_places_is_about_another_archive(gamearchive: Run) -> None:
    create(gamearchive)
    where = 'database = "sqlite:///home/gamearchive.db"\n'
    for storage in (f'storage = "{Path("home/packs").absolute().as_uri()}"\n', COMPOSITE):
        Path("gamearchive.toml").write_text(where + storage)
        assert summary(gamearchive("backup", "restore", "backups", "--to", "new", "--json"))["packs"] == 3
        assert {path.name for path in Path("new").iterdir()} >= {"gamearchive.db", "packs"}
        shutil.rmtree("new")


def test_one_game_comes_out_of_a_backup_as_it_went_in(gamearchive: Run) -> None:
    create(gamearchive)
    add(gamearchive, 50, 1, moves=3)
    create(gamearchive)
    instant = items(gamearchive("backup", "list", "backups", "--json"))[0]["created_at"]
    shutil.rmtree("home")
    assert (
        gamearchive("backup", "restore", "backups", "--only", "g-50", "--type", "game").out
        == game(50, moves=3).payload.decode()
    )
    assert gamearchive("backup", "restore", "backups", "--only", "g-50", "--at", instant).out == game(50).payload.decode()
    assert gamearchive("backup", "restore", "backups", "--only", "g-7", "-o", "seven.json").code == 0
    assert Path("seven.json").read_bytes() == game(7).payload
    assert gamearchive("backup", "restore", "backups", "--only", "g-7", "-o", "seven.json").code == 13
    assert gamearchive("backup", "restore", "backups", "--only", "g-7", "-o", "seven.json", "--force").code == 0
    (item,) = items(gamearchive("backup", "restore", "backups", "--only", "g-7", "--json"))
    assert (item["entity_id"], item["payload"]) == ("g-7", game(7).payload.decode())
    assert gamearchive("backup", "restore", "backups", "--only", "nobody").code == 12


def test_what_is_damaged_or_missing_in_backups_is_named_with_those_that_need_it(gamearchive: Run) -> None:
    first = create(gamearchive)["backup_id"]
    add(gamearchive, 300, 2)
    second = create(gamearchive)["backup_id"]
    clean = summary(gamearchive("backup", "verify", "backups", "--full", "--json"))
    assert (clean["backups"], clean["damaged"], clean["missing"]) == (2, 0, 0)
    assert clean["objects"] == len(packs_of()) + len(rows_of()) + 2
    pack = min(packs_of(), key=lambda path: path.stat().st_size)  # of two games
    flip(pack, 20)
    assert gamearchive("backup", "verify", "backups").code == 0
    ended = gamearchive("backup", "verify", "backups", "--full", "--json")
    (found,) = items(ended)
    assert (ended.code, found["finding"], found["backups"]) == (3, "damaged", [second])
    assert found["object"] == pack.relative_to("backups").as_posix()
    pack.unlink()
    for group in rows_of():
        flip(group, group.stat().st_size // 2)
    for dictionary in Path("backups").rglob("*.zdict"):
        dictionary.write_bytes(b"")
    ended = gamearchive("backup", "verify", "backups", "--full", "--json")
    assert summary(ended, 3) | {"read_bytes": 0} == {
        "backups": 2, "objects": clean["objects"], "damaged": len(rows_of()) + 2, "missing": 1, "read_bytes": 0,
    }  # fmt: skip
    assert {tuple(item["backups"]) for item in items(ended)} >= {(second,), (first, second)}
    flip(backups()[0], 30)
    assert first in gamearchive("backup", "verify", "backups").err
    listed = gamearchive("backup", "list", "backups", "--json")
    assert (listed.code, [row["error"] is None for row in items(listed)]) == (3, [False, True])
    assert gamearchive("backup", "forget", "backups", "--keep-last", "1", "--yes").code == 14
    assert len(backups()) == 2


def test_what_is_lost_in_backups_comes_back_with_the_next_one(gamearchive: Run) -> None:
    create(gamearchive)
    packs_of()[0].unlink()
    rows_of()[0].unlink()
    next(Path("backups").rglob("*.zdict")).unlink()
    assert create(gamearchive)["new_packs"] == 1
    assert gamearchive("backup", "verify", "backups", "--full").code == 0


@pytest.mark.parametrize("harm", ["damaged", "missing"])
def test_an_archive_that_is_harmed_is_backed_up_with_what_it_has(gamearchive: Run, databases: Databases, harm: str) -> None:
    location = json.loads(gamearchive("show", "g-50", "--json").out)["location"]
    key, _, place = location.partition("#")
    pack = Path("home/packs", key)
    whole = pack.read_bytes()
    if harm == "damaged":
        flip(pack, int(place.partition("+")[0]) + 20)
    else:
        pack.unlink()
    ended = gamearchive("backup", "create", "backups", "--json")
    assert summary(ended, 3)["backup_id"]
    assert key in next(json.loads(line)["message"] for line in ended.out.splitlines() if '"error"' in line)
    assert gamearchive("backup", "verify", "backups", "--full").code == 0
    new = databases.where("new")
    assert gamearchive("backup", "restore", "backups", "--to", "new", *new[2:]).code == 3
    lost = summary(gamearchive("verify", "--full", "--json", *new), 3)
    assert lost[harm] == (1 if harm == "damaged" else 100)
    pack.write_bytes(whole)
    create(gamearchive)
    pack.unlink()
    create(gamearchive)  # the backup's own is still good
    again = databases.where("again")
    assert gamearchive("backup", "restore", "backups", "--to", "again", *again[2:]).code == 0


def test_forget_says_why_and_drops_what_no_backup_needs(gamearchive: Run) -> None:
    create(gamearchive)
    add(gamearchive, 300, 2)
    kept = create(gamearchive)
    create(gamearchive, "--tag", "last")
    Path("backups/rows/ff").mkdir(exist_ok=True)
    Path("backups/rows/ff", "f" * 32 + ".zst").write_bytes(b"of a backup that was killed")
    before = len(rows_of())
    for options in (("--keep-last", "2", "--dry-run"), ("--keep-last", "2", "--yes")):
        ended = gamearchive("backup", "forget", "backups", *options, "--json")
        done = summary(ended)
        assert (done["kept"], done["forgotten"]) == (2, 1)
        assert [(row["kept"], row["reasons"]) for row in items(ended)] == [(False, []), (True, ["last"]), (True, ["last"])]
        assert len(backups()) == (3 if "--dry-run" in options else 2)
    assert before - len(rows_of()) == done["dropped_objects"]
    assert done["dropped_objects"] > 1
    assert gamearchive("backup", "verify", "backups", "--full").code == 0
    assert len(packs_of()) == 4
    assert summary(gamearchive("backup", "forget", "backups", "--keep-daily", "3", "--yes", "--json"))["kept"] == 1
    assert kept["backup_id"] not in gamearchive("backup", "list", "backups").out
    assert gamearchive("backup", "verify", "backups", "--full").code == 0


def test_forget_refuses_what_would_leave_nothing(gamearchive: Run) -> None:
    create(gamearchive)
    assert gamearchive("backup", "forget", "backups", "--yes").code == 2
    assert gamearchive("backup", "forget", "backups", "--keep-last", "0", "--yes").code == 2
    assert gamearchive("backup", "forget", "backups", "--keep-within", "0.001s", "--yes").code == 18
    assert gamearchive("backup", "forget", "backups", "--keep-last", "1").code == 18
    assert len(backups()) == 1


def test_a_destination_belongs_to_one_archive_and_is_none_itself(gamearchive: Run, databases: Databases) -> None:
    create(gamearchive)
    other = databases.where("other")
    Path("one.ndjson").write_text('{"id": "one"}')
    assert gamearchive("archive", "one.ndjson", *other).code == 0
    ended = gamearchive("backup", "create", "backups", *other)
    assert (ended.code, "another archive" in ended.err) == (18, True)
    assert gamearchive("backup", "create", "home/packs").code == 2
    assert gamearchive("backup", "create", "home/packs/backups").code == 2
    assert gamearchive("backup", "create", "home").code == 18
    assert gamearchive("backup", "create", "memory:").code == 2
    assert gamearchive("backup", "create", "other/packs").code == 18
    assert gamearchive("backup", "create", "elsewhere", *databases.where("nowhere")).code == 10
    for verb in ("list", "verify", "restore"):
        assert gamearchive("backup", verb, "nothing", "--home", "nowhere").code == 10
    assert not Path("nothing").exists()
    assert gamearchive("drill", "nothing").code == 10


def test_a_drill_proves_games_or_names_those_that_fail(gamearchive: Run) -> None:
    create(gamearchive)
    shutil.rmtree("home")
    done = summary(gamearchive("drill", "backups", "--sample", "20", "--json"))
    assert (done["games"], done["failed"]) == (20, 0)
    largest = max(packs_of(), key=lambda path: path.stat().st_size)
    largest.write_bytes(b"")
    ended = gamearchive("drill", "backups", "--sample", "5000", "--json")
    done = summary(ended, 3)
    assert (done["games"], done["failed"]) == (220, 100)
    errors = [json.loads(line) for line in ended.out.splitlines() if '"error"' in line]
    assert len({error["entity_id"] for error in errors}) == 100


def test_the_settings_say_where_backups_go(gamearchive: Run) -> None:
    assert gamearchive("backup", "create").code == 2
    Path("gamearchive.toml").write_text('[backup]\ndestination = "kept/here"\n')
    assert gamearchive("backup", "create").code == 0
    assert len(backups("kept/here")) == 1
    assert gamearchive("drill").code == 0
    Path("gamearchive.toml").write_text('[schedule]\nbackup = "daily 02:00"\n')
    assert "nothing says where they go" in gamearchive("config", "check").err
    Path("gamearchive.toml").write_text("[backup]\ndestination = 3\n")
    assert gamearchive("config", "check").code == 16


@pytest.mark.only("sqlite", "the bucket is the same, whatever the engine")
def test_from_files_to_a_bucket_and_back(gamearchive: Run, databases: Databases, rclone: Rclone) -> None:
    bucket = rclone.new_bucket()
    url, stored = rclone.url(bucket, "backups"), rclone.url(bucket, "packs")
    before = everything(gamearchive)
    assert summary(gamearchive("backup", "create", url, "--json"))["new_packs"] == 3
    again = summary(gamearchive("backup", "create", url, "--json"))
    assert (again["new_packs"], again["new_bytes"] < 4000) == (0, True)
    new = databases.where("new")
    assert gamearchive("backup", "restore", url, "--to", "new", *new[2:], "--storage", stored).code == 0
    assert everything(gamearchive, *new, "--storage", stored) == before
    assert gamearchive("backup", "forget", url, "--keep-last", "1", "--yes").code == 0
    assert summary(gamearchive("drill", url, "--json"))["failed"] == 0


@pytest.mark.only("sqlite", "no database knows of keys")
def test_the_backups_of_an_encrypted_archive_are_encrypted_with_its_keys(gamearchive: Run, databases: Databases) -> None:
    key = Path("ring.key")
    key.touch(mode=0o600)
    key.write_text(b64encode(bytes(range(32))).decode())
    settings = Path("gamearchive.toml")
    settings.write_text('home = "secret"\nencryption_key_file = "ring.key"\n')
    secret = databases.where("secret")
    Path("games.ndjson").write_bytes(b"\n".join(game(number).payload for number in range(150)))
    assert gamearchive("archive", "games.ndjson", *secret).code == 0
    before = everything(gamearchive, *secret)
    create(gamearchive, *secret)
    again = create(gamearchive, *secret)
    assert (again["new_packs"], again["reused_packs"]) == (0, 1)
    stored = [path.read_bytes() for path in Path("backups").rglob("*") if path.is_file()]
    assert all(data.startswith(b"GAe1") for data in stored)
    assert gamearchive("backup", "verify", "backups", "--full", *secret).code == 0
    shutil.rmtree("secret")
    new = databases.where("new")
    assert gamearchive("backup", "restore", "backups", "--to", "new", *new[2:]).code == 0
    assert everything(gamearchive, *new) == before
    assert gamearchive("drill", "backups").code == 0
    assert gamearchive("backup", "forget", "backups", "--keep-last", "1", "--yes").code == 0
    settings.write_text("")
    ended = gamearchive("drill", "backups")
    assert (ended.code, "encryption_key_file" in ended.err) == (16, True)
