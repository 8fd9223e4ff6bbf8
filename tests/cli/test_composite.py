"""The commands on an archive in several parts: replicas that fail, are damaged and made good, and tiers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from archiving import flip, games
from databases import Databases
from running import Ended, Run

COUNT = 60


@pytest.fixture(autouse=True)
def _settings(tmp_path: Path, databases: Databases) -> None:
    settle(2)
    if not databases.are_files:
        text = Path("gamearchive.toml").read_text()
        Path("gamearchive.toml").write_text(f"database = '{databases.of(tmp_path / 'home')}'\n{text}")


def settle(quorum: int, *parts: str, move_after: str = "30d") -> None:
    """Settings of two replicas, or others, and a cold tier."""
    file = Path("gamearchive.toml")
    database = [line for line in (file.read_text() if file.exists() else "").splitlines() if line.startswith("database")]
    lines = [*database, "home = 'home'", "[composite]", f"write_quorum = {quorum}"]
    for name in parts or ("a", "b"):
        lines += ["[[composite.part]]", f"name = '{name}'", f"url = '{Path(name).absolute().as_uri()}'"]
    lines += ["[[composite.part]]", "name = 'c'", f"url = '{Path('c').absolute().as_uri()}'"]
    file.write_text("\n".join([*lines, "tier = 'cold'", f"move_after = '{move_after}'", ""]))


def fill(gamearchive: Run, *, first: int = 0) -> list[bytes]:
    """Archive games; their payloads."""
    records = games(COUNT, first=first)
    Path("games.ndjson").write_bytes(b"\n".join(record.payload for record in records))
    ended = gamearchive("archive", "games.ndjson", "--json")
    assert ended.code == 0, ended.err
    return [record.payload for record in records]


def packs(part: str) -> list[Path]:
    return sorted(Path(part).rglob("*.zst"))


def contents(part: str) -> dict[str, bytes]:
    """All that lies in a part."""
    return {
        path.relative_to(part).as_posix(): path.read_bytes()
        for path in Path(part).rglob("*")
        if path.is_file() and ".tmp" not in path.parts
    }


def items(ended: Ended) -> list[dict[str, object]]:
    return [row for row in map(json.loads, ended.out.splitlines()) if row["type"] == "item"]


def summary(ended: Ended) -> dict[str, object]:
    return json.loads(ended.out.splitlines()[-1])  # type: ignore[no-any-return]


def restored(gamearchive: Run) -> list[bytes]:
    ended = gamearchive("restore", "--status", "completed", "--output", "all.ndjson", "--force")
    assert ended.code == 0, ended.err
    return Path("all.ndjson").read_bytes().splitlines()


def test_flipped_missing_and_extra_objects_are_named_and_put_right_exactly(gamearchive: Run) -> None:
    for run in range(3):
        fill(gamearchive, first=run * COUNT)
    whole = contents("a")
    assert contents("b") == whole
    flipped, lost, _ = packs("b")
    flip(flipped, 40)
    lost.unlink()
    Path("b/game/2026").mkdir(parents=True, exist_ok=True)
    Path("b/game/2026/copy.zst").write_bytes(b"no pack")
    names = {path.relative_to("b").as_posix(): kind for path, kind in ((flipped, "damaged"), (lost, "missing"))}
    expected = {**names, "game/2026/copy.zst": "extra"}
    seen = gamearchive("storage", "resync", "--full", "--dry-run", "--json")
    assert {str(row["object"]): row["finding"] for row in items(seen)} == expected
    assert {row["part"] for row in items(seen)} == {"b"}
    assert (seen.code, summary(seen)["repaired"]) == (3, 0)
    assert gamearchive("storage", "resync", "--full", "--prune").code == 18
    done = gamearchive("storage", "resync", "--full", "--prune", "--yes", "--json")
    assert (done.code, summary(done)["repaired"], summary(done)["failed"]) == (0, 3, 0)
    assert contents("a") == contents("b") == whole
    assert summary(gamearchive("storage", "resync", "--full", "--json"))["repaired"] == 0


def test_verify_names_the_part_and_mends_from_a_good_copy(gamearchive: Run) -> None:
    fill(gamearchive)
    [pack] = packs("b")
    flip(pack, 40)
    found = gamearchive("verify", "--full", "--json")
    assert found.code == 3
    assert [(row["part"], row["finding"], row["repaired"]) for row in items(found)] == [("b", "damaged", False)]
    assert pack.read_bytes() != packs("a")[0].read_bytes()
    assert "in part b: its bytes are not those that it is named by; mended" in gamearchive("verify", "--full", "--repair").err
    assert pack.read_bytes() == packs("a")[0].read_bytes()
    assert gamearchive("verify", "--full").code == 0


def test_a_new_part_is_filled_and_gets_nothing_before(gamearchive: Run) -> None:
    settle(1, "a")
    fill(gamearchive)
    settle(1)
    more = fill(gamearchive, first=COUNT)
    assert contents("b") == {}
    away = gamearchive("verify")
    assert away.code == 15
    assert "gamearchive storage resync b" in away.err or "storage resync PART" in away.err
    would = gamearchive("storage", "resync", "b", "-n", "--json")
    assert (summary(would)["missing"], contents("b")) == (len(contents("a")) - 3, {})  # a pack and a dictionary are noted
    assert gamearchive("storage", "resync", "b").code == 0
    assert gamearchive("storage", "resync", "--json").code == 0
    assert contents("b") == contents("a")
    assert gamearchive("verify", "--full").code == 0
    assert set(more) < set(restored(gamearchive))


def test_a_part_that_is_away_is_caught_up_when_it_is_back(gamearchive: Run) -> None:
    settle(1)
    payloads = fill(gamearchive)
    Path("b").rename("elsewhere")
    payloads += fill(gamearchive, first=COUNT)
    Path("one.ndjson").write_bytes(games(1, first=2 * COUNT)[0].payload)
    told = gamearchive("archive", "one.ndjson")
    assert "Part 'b' of the storage did not get everything" in told.err
    assert told.code == 0
    payloads.append(Path("one.ndjson").read_bytes())
    assert not Path("b").exists()  # a disk that is not mounted is not written to
    Path("elsewhere").rename("b")
    ended = gamearchive("storage", "resync", "--json")
    assert (ended.code, summary(ended)["missing"], summary(ended)["repaired"]) == (0, 4, 4)
    assert contents("a") == contents("b")
    assert sorted(restored(gamearchive)) == sorted(payloads)


def test_with_too_few_parts_nothing_is_archived_and_nothing_is_lost(gamearchive: Run) -> None:
    fill(gamearchive)
    Path("b").rename("elsewhere")
    Path("more.ndjson").write_bytes(games(1, first=COUNT)[0].payload)
    ended = gamearchive("archive", "more.ndjson", "--json")
    assert ended.code == 15
    assert "Fewer than 2 of the 2 parts of tier 'hot' take it" in json.loads(ended.err)["message"]
    assert gamearchive("query", "--count").out == f"{COUNT}\n"
    Path("elsewhere").rename("b")
    assert gamearchive("archive", "more.ndjson").code == 0
    assert gamearchive("verify", "--full").code == 0


def test_packs_that_are_due_move_to_the_next_tier(gamearchive: Run, databases: Databases) -> None:
    payloads = fill(gamearchive)
    listed = gamearchive("query", "--limit", "0", "--json").out
    assert {row["tier"] for row in items(gamearchive("query", "--limit", "0", "--json"))} == {"hot"}
    assert summary(gamearchive("storage", "resync", "--json"))["moved"] == 0
    settle(2, move_after="0s")
    assert summary(gamearchive("storage", "resync", "--json", "-n"))["moved"] == 1
    assert (len(packs("a")), len(packs("c"))) == (1, 0)
    assert summary(gamearchive("storage", "resync", "--json"))["moved"] == 1
    assert (len(packs("a")), len(packs("b")), len(packs("c"))) == (0, 0, 1)
    assert json.loads(gamearchive("show", "g-1", "--json").out)["tier"] == "cold"
    assert sorted(restored(gamearchive)) == sorted(payloads)
    assert gamearchive("verify", "--full").code == 0
    databases.lose("home")
    assert gamearchive("rebuild").code == 0
    assert gamearchive("query", "--limit", "0", "--json").out == listed.replace('"tier":"hot"', '"tier":"cold"')
    Path("c").rename("elsewhere")
    ended = gamearchive("restore", "g-1", "--json")
    assert (ended.code, json.loads(ended.err)["code"]) == (15, "storage-unavailable")


def test_a_pack_that_the_catalog_does_not_name_stays_while_its_games_are_nowhere_else(
    gamearchive: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(gamearchive)
    for option, value in (("STORAGE", Path("other").absolute().as_uri()), ("HOME", "other-home")):
        monkeypatch.setenv(f"GAMEARCHIVE_{option}", value)
    monkeypatch.setenv("GAMEARCHIVE_DATABASE", f"sqlite:///{Path('other.db').absolute()}")
    fill(gamearchive, first=COUNT)
    for option in ("STORAGE", "HOME", "DATABASE"):
        monkeypatch.delenv(f"GAMEARCHIVE_{option}")
    [stray] = packs("other")
    planted = Path("a") / stray.relative_to("other")
    planted.write_bytes(stray.read_bytes())
    ended = gamearchive("storage", "resync", "--prune", "-y", "--json")
    [row] = items(ended)
    assert (ended.code, row["finding"], row["repaired"], planted.exists()) == (3, "extra", False, True)
    assert "verify --repair" in str(row["reason"])
    assert gamearchive("verify", "--repair").code == 0
    assert gamearchive("storage", "resync").code == 0
    assert contents("a") == contents("b")
    assert gamearchive("query", "--count").out == f"{2 * COUNT}\n"


def test_one_storage_has_no_parts(gamearchive: Run) -> None:
    Path("gamearchive.toml").unlink()
    fill(gamearchive)
    ended = gamearchive("storage", "resync", "--json")
    assert (ended.code, json.loads(ended.err)["code"]) == (1, "unsupported")
    assert gamearchive("show", "g-1", "--json").out.count('"tier":null') == 1


def test_a_storage_moves_to_another_address_and_what_came_meanwhile_follows(gamearchive: Run) -> None:
    Path("gamearchive.toml").write_text("\n".join(
        line for line in Path("gamearchive.toml").read_text().splitlines() if line.startswith(("database", "home"))
    ))  # fmt: skip
    old, new = Path("home/packs").absolute().as_uri(), Path("new").absolute().as_uri()
    payloads = fill(gamearchive)
    moved = gamearchive("storage", "move", old, new, "--json")
    assert moved.code == 0, moved.err
    said = summary(moved)
    assert (said["setting"], said["complete"], said["objects"], said["sent"]) == ("storage", True, 2, 1)  # but for the mark
    assert contents("new") == contents("home/packs")
    payloads += fill(gamearchive, first=COUNT)  # by somebody who does not know yet
    with Path("gamearchive.toml").open("a") as file:
        file.write(f"\nstorage = '{new}'\n")
    payloads += fill(gamearchive, first=2 * COUNT)
    assert gamearchive("verify").code == 3
    assert gamearchive("storage", "move", old, new, "--json").code == 2
    again = summary(gamearchive("storage", "move", old, new, "--storage", old, "--json"))
    assert (again["sent"], again["removed"]) == (3, 0)  # a pack, and a dictionary twice
    assert gamearchive("verify", "--full").code == 0
    assert sorted(restored(gamearchive)) == sorted(payloads)


def test_a_part_moves_and_nothing_is_written_over(gamearchive: Run) -> None:
    fill(gamearchive)
    new = Path("new").absolute().as_uri()
    Path("new").mkdir()
    Path("new/something").write_bytes(b"else")
    refused = gamearchive("storage", "move", "b", new, "--json")
    assert (refused.code, json.loads(refused.err)["code"]) == (18, "refused")
    Path("new/something").unlink()
    assert summary(gamearchive("storage", "move", "b", new, "--json"))["setting"] == "composite.b.url"
    assert contents("new") == contents("b")
    assert gamearchive("storage", "move", "x", new).code == 2
