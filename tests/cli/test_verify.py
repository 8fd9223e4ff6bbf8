"""``gamearchive verify``: what it finds in a damaged home, what it mends, and what it tells."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest
from archiving import flip, games
from databases import Databases
from running import Ended, Run

from gamearchive.backends.base import HeldPack
from gamearchive.backends.packed import PackHoldings

KEYS = ["type", "packs", "records", "damaged", "missing", "orphaned", "repaired"]


@pytest.fixture(autouse=True)
def _home(either_engine: None, gamearchive: Run) -> None:
    """Three packs: of twenty games without a dictionary, then twice of a hundred with one."""
    for first, count in ((0, 20), (20, 100), (120, 100)):
        Path("games.ndjson").write_bytes(b"\n".join(record.payload for record in games(count, first)))
        assert gamearchive("archive", "games.ndjson").code == 0
    Path("games.ndjson").unlink()


def pack_of(gamearchive: Run, entity_id: str) -> tuple[Path, int]:
    """The pack that a game lies in, and where in it."""
    location = json.loads(gamearchive("show", entity_id, "--json").out)["location"]
    key, _, place = location.partition("#")
    return Path("home/packs") / key, int(place.partition("+")[0])


def told(ended: Ended) -> tuple[list[dict[str, object]], dict[str, int]]:
    """What was found, and the sums."""
    *items, last = [json.loads(line) for line in ended.out.splitlines()]
    assert list(last) == KEYS
    del last["type"]
    return items, last


def sums(ended: Ended) -> tuple[int, ...]:
    return tuple(told(ended)[1].values())


def test_all_is_well(gamearchive: Run) -> None:
    for options in ((), ("--full",), ("--sample", "0.0001%"), ("--repair",), ("--full", "--repair")):
        ended = gamearchive("verify", *options, "--json")
        assert (ended.code, ended.err) == (0, "")
        assert sums(ended) == (3, 220, 0, 0, 0, 0)
        read = ", 1 of which read byte by byte" if "--sample" in options else ""
        assert gamearchive("verify", *options) == Ended(0, "", f"Checked 220 games in 3 packs{read}: all well.\n")


def test_the_least_sample_reads_one_pack(gamearchive: Run) -> None:
    assert "1 of which read byte by byte" in gamearchive("verify", "--sample", "1e-9%").err


def test_revisions_are_told_from_games(gamearchive: Run) -> None:
    Path("again.ndjson").write_text('{"id": "g-7", "status": "replayed"}')
    assert gamearchive("archive", "again.ndjson").code == 0
    assert gamearchive("verify").err == "Checked 220 games (221 revisions) in 4 packs: all well.\n"


def test_interrupted_it_does_not_say_that_all_is_well(gamearchive: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = PackHoldings.packs

    def interrupted(self: PackHoldings) -> Iterator[HeldPack]:
        yield from islice(whole(self), 2)
        signal.raise_signal(signal.SIGINT)
        yield from islice(whole(self), 2, None)

    monkeypatch.setattr(PackHoldings, "packs", interrupted)
    ended = gamearchive("verify")
    assert ended.code == 130
    assert "Interrupted after " in ended.err
    assert "nothing found so far" in ended.err


def remove(pack: Path, _: int) -> None:
    pack.unlink()


def cut(pack: Path, _: int) -> None:
    pack.write_bytes(pack.read_bytes()[:-1])


def flip_in_frame(pack: Path, offset: int) -> None:
    flip(pack, offset + 20)


@pytest.mark.parametrize(
    ("harm", "quick", "full", "lost"),
    [
        # A pack that lacks its last byte still has all its games.
        (remove, (0, 100, 0), (0, 100, 0), [f"g-{number}" for number in range(20, 120)]),
        (cut, (1, 0, 0), (1, 0, 0), []),
        (flip_in_frame, (0, 0, 0), (1, 0, 0), ["g-50"]),
    ],
)
def test_harm_is_found_and_the_lost_games_are_named(
    gamearchive: Run, harm: Callable[[Path, int], None], quick: tuple[int, ...], full: tuple[int, ...], lost: list[str]
) -> None:
    pack, offset = pack_of(gamearchive, "g-50")
    harm(pack, offset)
    ended = gamearchive("verify", "--json")
    assert ended.code == (3 if any(quick) else 0)
    assert sums(ended)[2:5] == quick
    for options in (("--full",), ("--sample", "100%")):
        ended = gamearchive("verify", *options, "--json")
        assert ended.code == 3
        items, _ = told(ended)
        assert sums(ended) == (3, 220, *full, 0)
        for item in items:
            assert list(item) == [
                "type",
                "finding",
                "object",
                "part",
                "entity_type",
                "entity_id",
                "revision",
                "reason",
                "repaired",
            ]
            assert item["finding"] == ("missing" if harm is remove else "damaged")
            assert str(pack).endswith(str(item["object"]))
            assert item["repaired"] is False
        assert sorted(str(item["entity_id"]) for item in items if item["entity_id"]) == sorted(lost)
    people = gamearchive("verify", "--full")
    assert (people.code, people.out) == (3, "")
    assert people.err.count("warning: ") == 1
    assert "verify --repair" in people.err if lost else "1 file damaged" in people.err
    named = ", ".join(repr(entity_id) for entity_id in lost[:5])
    more = f" … and {len(lost) - 5} more" if len(lost) > 5 else ""
    assert f"{named}{more}: " in people.err
    told_all = gamearchive("verify", "--full", "--verbose").err
    for entity_id in lost:
        assert f"game {entity_id!r}, revision 1: " in told_all


def test_people_are_told_of_so_many_packs_and_no_more(gamearchive: Run, databases: Databases) -> None:
    many = databases.where("many")
    for number in range(22):
        Path("one.ndjson").write_text(f'{{"id": "one-{number}"}}')
        assert gamearchive("archive", "one.ndjson", *many).code == 0
    for pack in Path("many/packs").rglob("*.zst"):
        pack.unlink()
    ended = gamearchive("verify", *many)
    assert ended.err.count("warning: missing: ") == 20
    assert "warning: … and 2 more." in ended.err
    assert "22 games lost." in ended.err
    assert len(gamearchive("verify", *many, "--json").out.splitlines()) == 23


def test_a_storage_that_is_away_is_no_damage(gamearchive: Run) -> None:
    packs = Path("home/packs")
    for empty in (False, True):
        packs.rename("away")
        if empty:
            packs.mkdir()
        for options in ((), ("--full",), ("--repair",)):
            ended = gamearchive("verify", *options)
            assert (ended.code, "--storage" in ended.err) == (15, True)
        Path("again.ndjson").write_text('{"id": "g-7", "status": "replayed"}')
        assert gamearchive("archive", "again.ndjson").code == 15
        if empty:
            packs.rmdir()
        Path("away").rename(packs)
        assert json.loads(gamearchive("show", "g-50", "--json").out)["damage"] is None
        assert sums(gamearchive("verify", "--json")) == (3, 220, 0, 0, 0, 0)


def test_a_catalog_that_lost_its_last_transactions_gets_them_from_the_packs(gamearchive: Run, databases: Databases) -> None:
    put_back = databases.keep("home")
    Path("more.ndjson").write_bytes(b"\n".join(record.payload for record in games(30, 500)))
    assert gamearchive("archive", "more.ndjson", "--tag", "late=yes").code == 0
    expected = gamearchive("query", "--json", "--limit", "0").out
    put_back()
    ended = gamearchive("verify", "--json")
    ((item,), _) = told(ended)
    assert ended.code == 3
    assert (item["finding"], item["reason"]) == ("orphaned", "the catalog does not name it, nor 30 of its games")
    ended = gamearchive("verify", "--repair")
    assert (ended.code, "1 file mended" in ended.err) == (0, True)
    assert gamearchive("verify", "--full").code == 0
    assert gamearchive("query", "--json", "--limit", "0").out == expected


def test_repair_marks_what_is_lost_and_unmarks_what_has_come_back(gamearchive: Run) -> None:
    pack, offset = pack_of(gamearchive, "g-50")
    whole = pack.read_bytes()
    flip_in_frame(pack, offset)
    assert json.loads(gamearchive("show", "g-50", "--json").out)["damage"] is None
    ended = gamearchive("verify", "--full", "--repair", "--json")
    assert ended.code == 3
    assert sums(ended) == (3, 220, 1, 0, 0, 0)
    damage = json.loads(gamearchive("show", "g-50", "--json").out)["damage"]
    assert pack.name in damage
    assert f"damage: {damage}" in gamearchive("show", "g-50").out
    assert json.loads(gamearchive("show", "g-51", "--json").out)["damage"] is None
    pack.write_bytes(whole)
    assert gamearchive("verify", "--full", "--repair").code == 0
    assert json.loads(gamearchive("show", "g-50", "--json").out)["damage"] is None


def test_a_lost_game_is_archived_again_from_its_source(gamearchive: Run) -> None:
    pack, _ = pack_of(gamearchive, "g-50")
    pack.unlink()
    assert gamearchive("verify", "--repair").code == 3
    Path("games.ndjson").write_bytes(b"\n".join(record.payload for record in games(220)))
    ended = gamearchive("archive", "games.ndjson", "--json")
    assert json.loads(ended.out.splitlines()[-1])["archived"] == 100
    *items, _ = [json.loads(line) for line in gamearchive("restore", "--type", "game", "--json").out.splitlines()]
    assert {item["entity_id"]: item["payload"].encode() for item in items} == {
        record.entity_id: record.payload for record in games(220)
    }


def test_orphans_are_no_damage_and_repair_takes_them_away(gamearchive: Run) -> None:
    pack, _ = pack_of(gamearchive, "g-50")
    orphan = pack.with_name("0" * 32 + ".zst")
    orphan.write_bytes(pack.read_bytes())
    left = pack.parents[4] / ".tmp" / ".tmp-0123456789abcdef"
    left.write_bytes(b"half")
    ended = gamearchive("verify", "--json")
    assert ended.code == 0
    ((item,), _) = told(ended)
    assert sums(ended) == (3, 220, 0, 0, 1, 0)
    reason = "the catalog does not name it, and has all its games"
    assert (item["finding"], item["entity_id"], item["reason"]) == ("orphaned", None, reason)
    assert orphan.exists()
    assert sums(gamearchive("verify", "--repair", "--json")) == (3, 220, 0, 0, 1, 1)
    assert not orphan.exists()
    assert not left.exists()
    assert sums(gamearchive("verify", "--full", "--json")) == (3, 220, 0, 0, 0, 0)


def test_a_copy_of_a_dictionary_is_mended_from_the_other(gamearchive: Run) -> None:
    first, second = sorted(Path("home/packs").rglob("*.zdict"))
    whole = first.read_bytes()
    flip(first, 2_000)
    ended = gamearchive("verify", "--json")
    assert ended.code == 3
    ((item,), _) = told(ended)
    assert (item["finding"], item["repaired"]) == ("damaged", False)
    assert str(first).endswith(str(item["object"]))
    assert gamearchive("restore", "g-50").code == 0
    assert sums(gamearchive("verify", "--repair", "--json")) == (3, 220, 1, 0, 0, 1)
    assert first.read_bytes() == second.read_bytes() == whole
    assert gamearchive("verify").code == 0


def test_without_both_copies_of_a_dictionary_its_games_are_lost(gamearchive: Run) -> None:
    for copy in Path("home/packs").rglob("*.zdict"):
        copy.unlink()
    items, counted = told(gamearchive("verify", "--json"))
    assert counted["damaged"] == 2 + 200
    assert {item["entity_id"] for item in items if item["entity_id"]} == {f"g-{number}" for number in range(20, 220)}


@pytest.mark.parametrize("wrong", ["--sample 5", "--sample 0%", "--sample 101%", "--sample x%", "--sample 5% --full"])
def test_wrong_usage(gamearchive: Run, wrong: str) -> None:
    assert gamearchive("verify", *wrong.split()).code == 2


def test_an_archive_that_is_not_there(gamearchive: Run, databases: Databases) -> None:
    for options in ((), ("--full",), ("--repair",)):
        assert gamearchive("verify", *options, *databases.where("none")).code == 10
    assert not Path("none").exists()
