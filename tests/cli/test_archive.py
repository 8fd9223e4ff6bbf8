"""``gamearchive archive``: sources, options, what it tells, and how it is stopped."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from running import Ended, Run, process
from zstandard import ZstdCompressor, ZstdDecompressor

DATA = Path(__file__).parents[1] / "data"
GAME_FIELDS = [
    *("entity_type", "entity_id", "revision", "status", "players", "winner", "created_at", "completed_at", "archived_at"),
    *("trigger", "priority", "policy", "tags", "content_type", "raw_bytes", "stored_bytes", "checksum", "location"),
    *("tier", "held", "expires_at"),
]


def lines(ended: Ended) -> list[dict[str, object]]:
    return [json.loads(line) for line in ended.out.splitlines()]


def summary(ended: Ended) -> dict[str, object]:
    return lines(ended)[-1]


def archived(gamearchive: Run, *arguments: str) -> tuple[object, ...]:
    """How many games a run archived, skipped and rejected."""
    told = summary(gamearchive("archive", *arguments, "--json"))
    return told["archived"], told["skipped"], told["failed"]


def payloads(gamearchive: Run, *arguments: str) -> dict[object, str]:
    """All games of the archive by their ids."""
    found = lines(gamearchive("restore", "--type", "game", "--json", *arguments))
    return {line["entity_id"]: str(line["payload"]) for line in found[:-1]}


@pytest.fixture(autouse=True)
def _home(either_engine: None) -> None:
    pass


def write(name: str, *games: object) -> str:
    Path(name).write_text("".join(f"{json.dumps(game)}\n" for game in games), encoding="utf-8")
    return name


def test_what_json_tells_is_a_promise(gamearchive: Run) -> None:
    Path("games.ndjson").write_text('{"id": "a", "players": ["Ann"]}\nbroken\n', encoding="utf-8")
    ended = gamearchive("archive", "games.ndjson", "--json")
    assert (ended.code, ended.err) == (3, "")
    item, error, told = lines(ended)
    assert list(item) == ["type", *GAME_FIELDS]
    assert list(error) == ["type", "code", "message", "source", "line", "reason"]
    assert list(told) == [
        *("type", "archived", "queued", "skipped", "conflicts", "failed", "raw_bytes", "stored_bytes", "seconds")
    ]
    assert [line["type"] for line in (item, error, told)] == ["item", "error", "summary"]
    assert (error["source"], error["line"]) == ("games.ndjson", 2)
    assert (told["archived"], told["skipped"], told["failed"], told["raw_bytes"]) == (1, 0, 1, 31)
    packs = Path("home/packs").rglob("*.zst")
    assert told["stored_bytes"] == sum(pack.stat().st_size for pack in packs)


def test_people_get_a_sentence(gamearchive: Run) -> None:
    games = write("games.ndjson", {"id": "a"}, {"id": "b"})
    ended = gamearchive("archive", games)
    assert (ended.code, ended.out) == (0, "")
    assert ended.err.startswith("Archived 2 games, 22 B in ")
    assert "Archived 0 games, 2 there already; " in gamearchive("archive", games).err
    assert gamearchive("archive", games, "--quiet") == Ended(0, "", "")


@pytest.mark.parametrize(
    "name",
    ["games/football.ndjson", "json/boardgame_scores.ndjson", "json/18xx.jsonl.gz", "json/mahjong_states.ndjson"],
)
def test_lines_come_back_byte_for_byte(gamearchive: Run, name: str) -> None:
    data = (DATA / name).read_bytes()
    given = sorted((gzip.decompress(data) if name.endswith(".gz") else data).splitlines())
    assert archived(gamearchive, str(DATA / name)) == (len(given), 0, 0)
    restored = payloads(gamearchive)
    assert sorted(text.encode() for text in restored.values()) == given
    entity_id, text = next(iter(restored.items()))
    assert json.loads(gamearchive("show", str(entity_id), "--json").out)["raw_bytes"] == len(text.encode())
    assert process("restore", str(entity_id)).stdout == text.encode()


@pytest.mark.parametrize("path", sorted((DATA / "pgn").iterdir()), ids=lambda path: path.stem)
def test_chess_games_come_back_byte_for_byte(gamearchive: Run, path: Path) -> None:
    data = path.read_bytes()
    told = summary(gamearchive("archive", str(path), "--type", "chess", "--json"))
    assert told["archived"]
    assert gamearchive("restore", "--type", "chess", "--output", "out/").code == 0
    restored = [file.read_bytes() for file in Path("out").iterdir()]
    assert len(restored) == told["archived"]
    assert all(game in data for game in restored)
    if not told["failed"]:
        assert sum(game.count(b"[Event ") for game in restored) == len(set(data.split(b"[Event "))) - 1
    assert archived(gamearchive, str(path), "--type", "chess") == (0, told["archived"], told["failed"])


def test_a_folder_of_anything_comes_back_byte_for_byte(gamearchive: Run) -> None:
    given = {path.name: path.read_bytes() for path in (DATA / "binary").iterdir()}
    assert archived(gamearchive, str(DATA / "binary")) == (len(given), 0, 0)
    for name, data in given.items():
        assert gamearchive("restore", name, "--output", "one").code == 0
        assert Path("one").read_bytes() == data
        Path("one").unlink()


def test_an_object_whose_values_are_games_gives_them_by_their_names(gamearchive: Run) -> None:
    told = archived(gamearchive, str(DATA / "json/nfl.ndjson.zst"))
    data = ZstdDecompressor().stream_reader((DATA / "json/nfl.ndjson.zst").read_bytes()).read()
    assert told == (data.count(b"\n"), 0, 0)
    for entity_id, text in payloads(gamearchive).items():
        assert f'"{entity_id}": {text}'.encode() in data or f'"{entity_id}":{text}'.encode() in data


def test_standard_input(gamearchive: Run) -> None:
    given = b'{"id": "a"}\n{"id": "b"}\n'
    for data in (given, ZstdCompressor().compress(given)):
        ended = process("archive", "-", "--json", stdin=data)
        assert ended.returncode == 0
    assert payloads(gamearchive) == {"a": '{"id": "a"}', "b": '{"id": "b"}'}
    empty = process("archive", "-", stdin=b"")
    assert empty.returncode == 3
    assert b"-: the file is empty" in empty.stderr


def test_a_second_run_passes_over_everything_and_writes_no_pack(gamearchive: Run) -> None:
    first = summary(gamearchive("archive", str(DATA / "games"), "--json"))
    before = {path: path.stat().st_mtime_ns for path in Path("home/packs").rglob("*")}
    second = summary(gamearchive("archive", str(DATA / "games"), "--json"))
    assert (second["archived"], second["skipped"], second["stored_bytes"]) == (0, first["archived"], 0)
    assert {path: path.stat().st_mtime_ns for path in Path("home/packs").rglob("*")} == before


def test_tags(gamearchive: Run) -> None:
    games = write("games.ndjson", {"id": "a"})
    tags = ("--tag", "season=2024", "--tag", "ranked=yes", "--tag", "season=2025", "--tag", "note=a = b")
    assert gamearchive("archive", games, *tags).code == 0
    shown = json.loads(gamearchive("show", "a", "--json").out)
    assert shown["tags"] == {"season": "2025", "ranked": "yes", "note": "a = b"}
    for wrong in ("season", "=2025", ""):
        assert gamearchive("archive", games, "--tag", wrong).code == 2


def test_rejects_are_written_with_their_bytes(gamearchive: Run) -> None:
    Path("games.ndjson").write_bytes(b'{"id": "a"}\n{"id": "cut\n{"id": "\xff\xfe"}\n[1]\n{"id": "b"}\n')
    ended = gamearchive("archive", "games.ndjson", "none.json", "--rejects", "deep/rejects.jsonl")
    assert ended.code == 3
    kept = [json.loads(line) for line in Path("deep/rejects.jsonl").read_bytes().splitlines()]
    assert [(each["source"], each["line"]) for each in kept] == [
        *(("games.ndjson", 2), ("games.ndjson", 3), ("games.ndjson", 4), ("none.json", None)),
    ]
    assert kept[0].keys() == {"source", "line", "reason", "raw"}
    assert kept[0]["raw"] == '{"id": "cut'
    assert kept[1].keys() == {"source", "line", "reason", "raw_base64"}
    for each in kept:
        where = each["source"] if each["line"] is None else f"{each['source']}:{each['line']}"
        assert f"warning: {where}: {each['reason']}\n" in ended.err
    assert sorted(payloads(gamearchive)) == ["a", "b"]


def test_rejects_that_cannot_be_written(gamearchive: Run) -> None:
    games = write("games.ndjson", {"id": "a"})
    Path("taken").mkdir()
    assert gamearchive("archive", games, "--rejects", "taken").code == 2
    assert gamearchive("archive", games, "--rejects", "").code == 2
    assert gamearchive("archive", games, "--rejects", "x" * 5_000).code == 15


def test_a_source_that_is_not_there_is_rejected_and_the_rest_archived(gamearchive: Run) -> None:
    games = write("games.ndjson", {"id": "a"})
    ended = gamearchive("archive", "none.ndjson", games, "x" * 5_000)
    assert ended.code == 3
    assert "none.ndjson: it cannot be read: No such file or directory" in ended.err
    assert "it cannot be read: File name too long" in ended.err
    assert list(payloads(gamearchive)) == ["a"]


def test_a_dry_run_touches_nothing(gamearchive: Run) -> None:
    games = write("games.ndjson", {"id": "a"}, {"id": "b"})
    before = sorted(Path().rglob("*"))
    for flag in ("--dry-run", "-n"):
        assert archived(gamearchive, games, flag) == (2, 0, 0)
    assert "Would archive 2 games" in gamearchive("archive", games, "-n").err
    assert sorted(Path().rglob("*")) == before
    assert gamearchive("archive", write("one.ndjson", {"id": "a"})).code == 0
    before = sorted(Path().rglob("*"))
    assert archived(gamearchive, games, "-n") == (1, 1, 0)
    assert sorted(Path().rglob("*")) == before
    assert list(payloads(gamearchive)) == ["a"]


@pytest.mark.parametrize(
    ("on_conflict", "told", "again", "kept"),
    [
        ("skip", (0, 1, 0), (0, 1, 0), {"a": '{"id": "a", "n": 1}'}),
        ("replace", (1, 0, 0), (0, 1, 0), {"a": '{"id": "a", "n": 2}'}),
        ("keep-both", (1, 0, 0), (0, 1, 0), {"a": '{"id": "a", "n": 1}', "a~": '{"id": "a", "n": 2}'}),
    ],
)
def test_an_id_that_comes_again_with_other_bytes(
    gamearchive: Run, on_conflict: str, told: tuple[int, ...], again: tuple[int, ...], kept: dict[str, str]
) -> None:
    assert archived(gamearchive, write("one.ndjson", {"id": "a", "n": 1})) == (1, 0, 0)
    two = write("two.ndjson", {"id": "a", "n": 2})
    assert archived(gamearchive, two, "--on-conflict", on_conflict) == told
    assert archived(gamearchive, two, "--on-conflict", on_conflict) == again
    assert {
        str(name).partition("~")[0] + "~" * ("~" in str(name)): text for name, text in payloads(gamearchive).items()
    } == kept
    assert len(json.loads(gamearchive("show", "a", "--json").out)["revisions"]) == 1 + (on_conflict == "replace")


def test_of_one_id_twice_in_a_source_the_later_is_the_later_revision(gamearchive: Run) -> None:
    games = write("games.ndjson", {"id": "a", "n": 1}, {"id": "a", "n": 2}, {"id": "a", "n": 2})
    assert archived(gamearchive, games) == (2, 1, 0)
    assert payloads(gamearchive) == {"a": '{"id": "a", "n": 2}'}


ODD = {
    "meta": {"match": 7, "state": "over"},
    "seats": [{"who": "Ann"}, {"who": "Bob"}],
    "best": "Bob",
    "times": {"from": "2025-03-01T10:00:00Z", "to": 1740830400},
}
POINTERS = {
    "id": "/meta/match",
    "players": "/seats/*/who",
    "winner": "/best",
    "status": "/meta/state",
    "created_at": "/times/from",
    "completed_at": "/times/to",
}


@pytest.mark.parametrize("way", ["flags", "file", "environment", "flags over file"])
def test_pointers_say_where_the_facts_are(gamearchive: Run, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    games = write("games.ndjson", ODD)
    flags = [part for name, pointer in POINTERS.items() for part in (f"--{name.replace('_', '-')}", pointer)]
    in_file = POINTERS | ({"players": "/nobody", "winner": "/nobody"} if way == "flags over file" else {})
    if "file" in way:
        table = "\n".join(f"{name} = '{pointer}'" for name, pointer in in_file.items())
        Path("gamearchive.toml").write_text(
            f"[types.odd.facts]\n{table}\n[types.other.facts]\nid = '/best'\n", encoding="utf-8"
        )
    if way == "environment":
        for name, pointer in POINTERS.items():
            monkeypatch.setenv(f"GAMEARCHIVE_{name.upper()}", pointer)
    given = {"flags": flags, "flags over file": ["--players", "/seats/*/who", "--winner", "/best"]}.get(way, [])
    (item, _) = lines(gamearchive("archive", games, "--type", "odd", "--json", *given))
    assert item["entity_id"] == "7"
    assert (item["players"], item["winner"], item["status"]) == (["Ann", "Bob"], "Bob", "over")
    assert (item["created_at"], item["completed_at"]) == ("2025-03-01T10:00:00Z", "2025-03-01T12:00:00Z")


def test_records_above_the_limit_are_rejected(gamearchive: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    games = write("games.ndjson", {"id": "small"}, {"id": "large", "moves": "x" * 2_000})
    ended = gamearchive("archive", games, "--max-record", "1KB")
    assert ended.code == 3
    assert "warning: games.ndjson:2: the record has more than 1024 bytes" in ended.err
    monkeypatch.setenv("GAMEARCHIVE_MAX_RECORD", "1KB")
    assert archived(gamearchive, games) == (0, 1, 1)
    assert archived(gamearchive, games, "--max-record", "1MB") == (1, 1, 0)


def test_the_format_may_be_said(gamearchive: Run) -> None:
    Path("games.txt").write_text('{"id": "a"}\n{"id": "b"}\n', encoding="utf-8")
    assert archived(gamearchive, "games.txt", "--format", "opaque") == (1, 0, 0)
    assert archived(gamearchive, "games.txt", "--format", "json") == (2, 0, 0)
    assert sorted(payloads(gamearchive)) == ["a", "b", "games.txt"]
    assert gamearchive("archive", "games.txt", "--format", "sgf").code == 2


def test_what_is_left_out_for_its_other_bytes_is_counted_apart(gamearchive: Run) -> None:
    Path("one.ndjson").write_text('{"id": "a"}\n{"id": "b"}\n', encoding="utf-8")
    Path("two.ndjson").write_text('{"id": "a", "score": 1}\n{"id": "b"}\n', encoding="utf-8")
    assert gamearchive("archive", "one.ndjson").code == 0
    told = summary(gamearchive("archive", "two.ndjson", "--on-conflict", "skip", "--json"))
    assert (told["archived"], told["skipped"], told["conflicts"]) == (0, 2, 1)
    ended = gamearchive("archive", "two.ndjson", "--on-conflict", "skip")
    assert "1 there already, 1 left out, there with other bytes" in ended.err


@pytest.mark.parametrize("wrong", [(), ("x", "--type", "No Such"), ("x", "--on-conflict", "merge")])
def test_wrong_usage(gamearchive: Run, wrong: tuple[str, ...]) -> None:
    ended = gamearchive("archive", *wrong)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("error: usage\n")
    assert not Path("home").exists()


@pytest.mark.parametrize("wrong", [("--max-record", "much"), ("--id", "meta"), ("--players", "/a~2")])
def test_wrong_settings(gamearchive: Run, wrong: tuple[str, str]) -> None:
    assert gamearchive("archive", "x", *wrong).code == 16
    assert not Path("home").exists()


@pytest.mark.only("sqlite", "it is a file that is something else")
def test_a_database_of_something_else_is_left_alone(gamearchive: Run) -> None:
    games = write("games.ndjson", {"id": "a"})
    Path("home").mkdir()
    Path("home/gamearchive.db").write_bytes(b"not a database, but somebody's only copy of something" * 100)
    before = Path("home/gamearchive.db").read_bytes()
    for command in (("archive", games), ("query",)):
        ended = gamearchive(*command)
        assert ended.code == 14
        assert "gamearchive rebuild" in ended.err
    assert Path("home/gamearchive.db").read_bytes() == before


SMALL_BATCHES = """
import sys
from gamearchive.cli.app import main
from gamearchive.readers import batches
batches.BATCH_RECORDS = 20
sys.exit(main(["archive", "-", "--json"]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no such signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_what_a_slow_pipe_brings_is_archived_as_it_comes_and_a_signal_ends_the_wait(
    gamearchive: Run, number: signal.Signals, code: int
) -> None:
    command = [sys.executable, "-m", "gamearchive", "archive", "-", "--json"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        assert run.stdin is not None
        assert run.stdout is not None
        for sent in (1, 2):
            run.stdin.write(b'{"id": "g-%d"}\n' % sent)
            run.stdin.flush()
            while gamearchive("query", "--count").out != f"{sent}\n":
                pass  # it comes to be there, though the pipe is open
        os.kill(run.pid, number)
        assert run.wait(60) == code
        told = [json.loads(line) for line in run.stdout]
    assert [line.get("entity_id") for line in told if line["type"] == "item"] == ["g-1", "g-2"]
    assert told[-1]["archived"] == 2


@pytest.mark.skipif(sys.platform == "win32", reason="has no such signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_lets_it_finish_the_batch_in_hand(gamearchive: Run, number: signal.Signals, code: int) -> None:
    filler = "x" * 100_000  # a pipe is read by the MiB
    given = [f'{{"id": "{n}", "filler": "{filler}"}}\n'.encode() for n in range(120)]
    with subprocess.Popen([sys.executable, "-c", SMALL_BATCHES], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        assert run.stdin is not None
        assert run.stdout is not None
        run.stdin.write(b"".join(given[:70]))
        run.stdin.flush()
        while gamearchive("query", "--count").out in ("", "0\n"):
            pass  # something is archived by now, and more is in hand
        os.kill(run.pid, number)
        with suppress(BrokenPipeError):  # it may have gone already
            run.stdin.write(b"".join(given[70:]))
            run.stdin.close()
        told = run.stdout.readlines()
    assert run.returncode == code
    *lines, last = [json.loads(line) for line in told]
    items = [line for line in lines if line["type"] == "item"]  # on a slow machine, among lines of progress
    assert last["type"] == "summary"
    assert last["archived"] == len(items) < len(given)
    assert sorted(payloads(gamearchive)) == sorted(item["entity_id"] for item in items)
    Path("all.ndjson").write_bytes(b"".join(given))
    assert archived(gamearchive, "all.ndjson") == (len(given) - len(items), len(items), 0)
    assert sorted(text.encode() + b"\n" for text in payloads(gamearchive).values()) == sorted(given)


@pytest.mark.skipif(sys.platform == "win32", reason="has no pseudo-terminals")
@pytest.mark.parametrize("form", [(), ("--quiet",), ("--json",)])
def test_only_a_person_at_a_terminal_sees_a_progress_bar(monkeypatch: pytest.MonkeyPatch, form: tuple[str, ...]) -> None:
    from terminal import on_terminal

    monkeypatch.setenv("TERM", "xterm-256color")
    code, shown = on_terminal("archive", str(DATA / "games"), *form, columns=120, program=IMPATIENT)
    assert code == 0
    assert ("Archiving" in shown) is (not form)
    assert ("Archived 336 games" in shown) is (not form)


IMPATIENT = """
import sys
from gamearchive.cli import output
from gamearchive.cli.app import main
output.PATIENCE_SECONDS = 0.0
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.only("sqlite", "its file is what would be replaced")
def test_rejects_never_replace_a_source_or_a_device(gamearchive: Run) -> None:
    Path("source.ndjson").write_text('{"id": "a"}\n[]\n')
    for rejects in ("source.ndjson", "./source.ndjson", "/dev/null"):
        assert gamearchive("archive", "source.ndjson", "--rejects", rejects, "--home", "fresh").code == 2
    assert Path("source.ndjson").read_text() == '{"id": "a"}\n[]\n'
    assert not Path("/dev/null").is_file()
    assert not Path("fresh").exists()


@pytest.mark.only("sqlite", "its file lies in the folder that is archived")
def test_the_archive_itself_is_no_source(gamearchive: Run) -> None:
    games = write("games.ndjson", {"id": "a"}, [])
    for _ in range(3):
        ended = gamearchive("archive", ".", "--rejects", "bad.ndjson")
        assert ended.code == 3
        assert gamearchive("query", "--ids").out == "a\n"
    for name in ("home/packs", "home/gamearchive.db", "bad.ndjson"):
        assert f"{name}: it is this program's own, and is left out" in ended.err
    for source in ("home", "home/packs", "home/gamearchive.db", "home/gamearchive.db.lock"):
        ended = gamearchive("archive", source)
        assert ended.code == 0
        assert "warning: " in ended.err
        assert "Archived 0 games; " in ended.err
    notice = lines(gamearchive("archive", games, "home/gamearchive.db", "--json"))[-2]
    assert list(notice) == ["type", "code", "message", "source", "line", "reason"]
    assert (notice["type"], notice["code"]) == ("error", "notice")


@pytest.mark.only("sqlite", "its file is what would be replaced")
def test_rejects_never_replace_the_archive(gamearchive: Run) -> None:
    games = write("games.ndjson", {"id": "a"})
    assert gamearchive("archive", games).code == 0
    for name in ("gamearchive.db", "gamearchive.db-wal", "packs/rejects", "packs/game/x", "../home/gamearchive.db"):
        assert gamearchive("archive", games, "--rejects", f"home/{name}").code == 2
    assert gamearchive("query", "--ids").out == "a\n"


def test_a_fact_that_no_game_has_where_it_was_said_to_be(gamearchive: Run) -> None:
    games = write("games.ndjson", {"id": "a", "who": ["Ann"]}, {"id": "b"})
    ended = gamearchive("archive", games, "--id", "/meta/id", "--players", "/who", "--winner", "/won")
    assert ended.code == 0
    assert [line for line in ended.err.splitlines() if line.startswith("warning: ")] == [
        "warning: id at /meta/id: found in 0 of 2 games.",
        "warning: winner at /won: found in 0 of 2 games.",
    ]
    warnings = lines(gamearchive("archive", games, "--type", "other", "--status", "/x", "--json"))[-2:-1]
    assert [(each["code"], each["fact"], each["pointer"]) for each in warnings] == [("not-there", "status", "/x")]


def test_what_is_there_already_keeps_its_tags_and_that_is_said(gamearchive: Run) -> None:
    games = write("games.ndjson", {"id": "a"})
    assert gamearchive("archive", games, "--tag", "season=1").code == 0
    assert "1 there already, with the tags they had" in gamearchive("archive", games, "--tag", "season=2").err
    assert gamearchive("query", "--tag", "season=2", "--count").out == "0\n"


def test_verbose_tells_of_each_step(gamearchive: Run, engine: str) -> None:
    games = write("games.ndjson", {"id": "a"})
    quiet, verbose, all_of_it = (gamearchive("archive", games, "--dry-run", *more).err for more in ((), ("-v",), ("-vv",)))
    assert len(quiet.splitlines()) == 1
    assert f"Catalog: {engine}" in verbose
    assert "is read as" not in verbose
    assert "games.ndjson is read as json." in all_of_it
    assert "Wrote game/" in gamearchive("archive", games, "-v").err


def test_a_bundle_of_files_is_one_game_and_that_is_said(gamearchive: Run) -> None:
    Path("games.tar.gz").write_bytes(gzip.compress(b"x" * 600))
    ended = gamearchive("archive", "games.tar.gz")
    assert ended.code == 0
    assert "warning: games.tar.gz: it is archived as one game; unpack it" in ended.err
    assert gamearchive("query", "--ids").out == "games.tar\n"


def test_no_share_is_told_of_what_became_no_smaller(gamearchive: Run) -> None:
    games = write("games.ndjson", {"id": "a"})
    assert "%" not in gamearchive("archive", games).err
