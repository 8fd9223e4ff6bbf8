"""``gamearchive restore``: which games, where to, and what happens if something is there or missing."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from databases import Databases
from running import Ended, Run, process
from zstandard import ZstdDecompressor

from gamearchive.cli.games import FIELDS

DATA = Path(__file__).parents[1] / "data"
GAMES = {
    "a": '{"id": "a", "players": ["Ann"], "note": "ü"}',
    "b": '{"id": "b",\n  "players": ["Bob"]\n}\n',
    "c": '{"id": "c", "players": ["Ann", "Cid"]}',
}


@pytest.fixture(autouse=True)
def _home(either_engine: None, gamearchive: Run) -> None:
    for name, text in GAMES.items():
        Path(f"{name}.json").write_text(text, encoding="utf-8")
        assert gamearchive("archive", f"{name}.json", "--tag", f"name={name}").code == 0
        Path(f"{name}.json").unlink()


def files(folder: str) -> dict[str, str]:
    return {path.name: path.read_bytes().decode() for path in Path(folder).iterdir()}


def test_one_game_to_standard_output_is_its_bytes_and_nothing_else(gamearchive: Run) -> None:
    for entity_id, text in GAMES.items():
        assert gamearchive("restore", entity_id) == Ended(0, text, "")
        assert gamearchive("restore", entity_id, "--output", "-") == Ended(0, text, "")
    assert process("restore", "b").stdout == GAMES["b"].encode()


def test_binary_games_come_to_standard_output_as_they_are(gamearchive: Run) -> None:
    for path in (DATA / "binary").iterdir():
        assert gamearchive("archive", str(path)).code == 0
        assert process("restore", path.name).stdout == path.read_bytes()


def test_several_games_to_standard_output_have_a_line_end_between(gamearchive: Run) -> None:
    assert gamearchive("restore", "a", "b", "c").out == f"{GAMES['a']}\n{GAMES['b']}{GAMES['c']}"
    assert gamearchive("restore", "c", "a").out == f"{GAMES['c']}\n{GAMES['a']}"


def test_a_file(gamearchive: Run) -> None:
    ended = gamearchive("restore", "a", "-o", "deep/er/a.json")
    assert ended == Ended(0, "", "Restored 1 game (45 B) to deep/er/a.json.\n")
    assert files("deep/er") == {"a.json": GAMES["a"]}
    assert gamearchive("restore", "a", "-o", "a.json.zst").code == 0
    assert ZstdDecompressor().stream_reader(Path("a.json.zst").read_bytes()).read().decode() == GAMES["a"]
    assert gamearchive("restore", "a", "-o", "a.json.gz").code == 0
    assert gzip.decompress(Path("a.json.gz").read_bytes()).decode() == GAMES["a"]
    for ending in ("bz2", "xz"):
        ended = gamearchive("restore", "a", "-o", f"a.json.{ending}")
        assert ended.code == 2
        assert "*.zst or *.gz" in ended.err


@pytest.mark.parametrize("made", [True, False])
def test_a_folder_has_one_file_a_game(gamearchive: Run, made: bool) -> None:
    if made:
        Path("out").mkdir()
    assert gamearchive("restore", "a", "b", "--output", "out" if made else "out/").code == 0
    assert files("out") == {"a.json": GAMES["a"], "b.json": GAMES["b"]}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        *(("--player Ann", "ac"), ("--type game", "abc"), ("--type chess", ""), ("--tag name=b", "b"), ("--player Nobody", "")),
        *(("--since 1h", "abc"), ("--until 1h", ""), ("--status won", ""), ("--player Ann --tag name=c", "c")),
        ("--time completed --since 2020-01-01", ""),
    ],
)
def test_the_options_of_query_choose_games(gamearchive: Run, options: str, expected: str) -> None:
    assert gamearchive("restore", *options.split(), "--output", "out/").code == 0
    assert (files("out") if expected else {}) == {f"{name}.json": GAMES[name] for name in expected}
    assert Path("out").exists() is bool(expected)


def test_one_file_of_lines(gamearchive: Run, databases: Databases) -> None:
    ended = gamearchive("restore", "--type", "game", "-o", "all.ndjson")
    assert ended.code == 0
    assert "warning: 1 game of several lines went onto one line each" in ended.err
    lines = Path("all.ndjson").read_text(encoding="utf-8").splitlines()
    assert lines == [GAMES["c"], '{"id": "b", "players": ["Bob"] }', GAMES["a"]]
    assert gamearchive("restore", "--type", "game", "-o", "all.ndjson.zst").code == 0
    packed = ZstdDecompressor().stream_reader(Path("all.ndjson.zst").read_bytes()).read()
    assert packed == Path("all.ndjson").read_bytes()
    assert gamearchive("archive", "all.ndjson", *databases.where("other")).code == 0
    assert gamearchive("query", "--count", *databases.where("other")).out == "3\n"


def test_one_file_of_chess_games(gamearchive: Run) -> None:
    assert gamearchive("archive", str(DATA / "games/tilburg.pgn"), "--type", "chess").code == 0
    assert gamearchive("restore", "--type", "chess", "-o", "all.pgn").code == 0
    ended = gamearchive("archive", "all.pgn", "--type", "chess", "--json")
    told = json.loads(ended.out.splitlines()[-1])
    assert (told["archived"], told["skipped"], told["failed"]) == (0, 6, 0)


def test_games_that_cannot_be_in_one_file(gamearchive: Run) -> None:
    for name in ("all.txt", "all", "all.zst"):
        ended = gamearchive("restore", "a", "b", "-o", name)
        assert ended.code == 2
        assert not Path(name).exists()
    ended = gamearchive("restore", "a", "b", "-o", "all.pgn")
    assert ended.code == 2
    assert list(Path().glob("*all*")) == []


def test_what_is_there_is_not_written_over(gamearchive: Run) -> None:
    Path("out").mkdir()
    Path("out/a.json").write_text("mine", encoding="utf-8")
    ended = gamearchive("restore", "a", "-o", "out/a.json")
    assert ended.code == 13
    assert ended.err.splitlines()[0] == "error: exists"
    ended = gamearchive("restore", "--type", "game", "-o", "out")
    assert ended.code == 13
    assert "out/a.json exists already" in ended.err
    assert ended.err.endswith("Restored 2 games (73 B) to out. 1 failed.\n")
    assert files("out") == {"a.json": "mine", "b.json": GAMES["b"], "c.json": GAMES["c"]}
    assert gamearchive("restore", "--type", "game", "-o", "out", "--force").code == 0
    assert files("out") == {f"{name}.json": text for name, text in GAMES.items()}
    Path("all.ndjson").write_text("mine", encoding="utf-8")
    assert gamearchive("restore", "--type", "game", "-o", "all.ndjson").code == 13
    assert Path("all.ndjson").read_text(encoding="utf-8") == "mine"
    assert gamearchive("restore", "--type", "game", "-o", "all.ndjson", "--force").code == 0


def test_of_several_ids_one_is_missing(gamearchive: Run) -> None:
    ended = gamearchive("restore", "a", "none", "c", "-o", "out/")
    assert ended.code == 12
    assert "warning: No game 'none' is archived." in ended.err
    assert sorted(files("out")) == ["a.json", "c.json"]
    ended = gamearchive("restore", "none")
    assert (ended.code, ended.out) == (12, "")
    assert ended.err.startswith("error: not-found\n")


def test_failures_of_several_kinds_have_a_code_of_their_own(gamearchive: Run) -> None:
    Path("out").mkdir()
    Path("out/a.json").touch()
    assert gamearchive("restore", "a", "none", "c", "-o", "out/").code == 3


def test_an_earlier_revision(gamearchive: Run) -> None:
    Path("a.json").write_text('{"id": "a", "n": 2}', encoding="utf-8")
    assert gamearchive("archive", "a.json").code == 0
    assert gamearchive("restore", "a").out == '{"id": "a", "n": 2}'
    assert gamearchive("restore", "a", "--revision", "1").out == GAMES["a"]
    assert gamearchive("restore", "a", "--revision", "3").code == 12


def test_what_json_tells_is_a_promise(gamearchive: Run) -> None:
    fields = [column.key for column in FIELDS]
    ended = gamearchive("restore", "a", "none", "--json")
    assert (ended.code, ended.err) == (12, "")
    error, item, told = [json.loads(line) for line in ended.out.splitlines()]
    assert list(item) == ["type", *fields, "payload"]
    assert item["payload"] == GAMES["a"]
    assert list(error) == ["type", "code", "message", "entity_id"]
    assert told == {"type": "summary", "restored": 1, "failed": 1, "raw_bytes": 45}
    ended = gamearchive("restore", "a", "--json", "-o", "out/")
    item, told = [json.loads(line) for line in ended.out.splitlines()]
    assert list(item) == ["type", *fields, "path"]
    assert item["path"] == "out/a.json"
    assert told == {"type": "summary", "restored": 1, "failed": 0, "raw_bytes": 45}


def test_json_has_binary_games_in_base64(gamearchive: Run) -> None:
    from base64 import b64decode

    path = next((DATA / "binary").glob("*.SC2Replay"))
    assert gamearchive("archive", str(path)).code == 0
    item = json.loads(gamearchive("restore", path.name, "--json").out.splitlines()[0])
    assert b64decode(item["payload_base64"]) == path.read_bytes()


@pytest.mark.parametrize(
    "wrong", ["", "a --player Ann", "a --revision 0", "--type game --revision 1", "--tag x", "--since yesterday"]
)
def test_wrong_usage(gamearchive: Run, wrong: str) -> None:
    assert gamearchive("restore", *wrong.split()).code == 2


def test_an_archive_that_is_not_there(gamearchive: Run, databases: Databases) -> None:
    for arguments in (("a",), ("--type", "game"), ("a", "b", "-o", "out/")):
        assert gamearchive("restore", *arguments, *databases.where("none")).code == 10
    assert not Path("out").exists()


def test_nothing_found_is_said(gamearchive: Run) -> None:
    ended = gamearchive("restore", "--type", "nosuch", "-o", "out/")
    assert ended == Ended(0, "", "Restored nothing: no game was found.\n")
    assert not Path("out").exists()


def test_a_pipe_is_written_to_and_stays(gamearchive: Run) -> None:
    os.mkfifo("pipe")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(Path("pipe").read_bytes()))
    reader.start()
    for force in ((), ("--force",)):
        if force:
            reader = threading.Thread(target=lambda: read.append(Path("pipe").read_bytes()))
            reader.start()
        ended = gamearchive("restore", "a", "-o", "pipe", *force)
        reader.join()
        assert ended == Ended(0, "", "Restored 1 game (45 B) to pipe.\n")
    assert read == [GAMES["a"].encode()] * 2
    assert Path("pipe").is_fifo()


def test_devices_are_written_to_and_stay(gamearchive: Run) -> None:
    assert gamearchive("restore", "a", "-o", "/dev/null", "--force").code == 0
    assert Path("/dev/null").is_char_device()
    ended = gamearchive("restore", "a", "-o", "/dev/full")
    assert ended.code == 15
    assert "no space left on device" in ended.err
    assert process("restore", "a", "-o", "/dev/stdout", "--force").stdout == GAMES["a"].encode()
    assert Path("/dev/stdout").is_symlink()


@pytest.mark.only("sqlite", "its file is what would be written to")
@pytest.mark.parametrize("place", ["gamearchive.db", "gamearchive.db-wal", "packs/a", "packs/", "packs/game/"])
def test_the_archive_itself_is_not_written_to(gamearchive: Run, place: str) -> None:
    before = sorted(Path("home").rglob("*"))
    ended = gamearchive("restore", "a", "-o", f"home/{place}", "--force")
    assert ended.code == 2
    assert "belongs to the archive itself" in ended.err
    assert sorted(Path("home").rglob("*")) == before
    assert gamearchive("restore", "a").out == GAMES["a"]


@pytest.mark.only("sqlite", "its file is what would be written to")
def test_no_id_leads_into_the_archive_itself(gamearchive: Run) -> None:
    Path("in/home").mkdir(parents=True)
    Path("in/home/gamearchive.db").write_bytes(b"mine")
    assert gamearchive("archive", "in").code == 0
    assert gamearchive("restore", "home/gamearchive.db", "-o", "./", "--force").code == 13
    assert gamearchive("restore", "home/gamearchive.db", "-o", "out/").code == 0
    assert Path("out/home/gamearchive.db").read_bytes() == b"mine"


def test_a_folder_that_was_archived_comes_back_as_it_was(gamearchive: Run) -> None:
    names = ("Finale.rep", "2025/Star Station/Game 1 (Ann vs. Bö).SC2Replay", "2025/a.rep")
    for name in names:
        Path("in", name).parent.mkdir(parents=True, exist_ok=True)
        Path("in", name).write_text(name, encoding="utf-8")
    assert gamearchive("archive", "in", "--type", "replay").code == 0
    assert gamearchive("restore", "--type", "replay", "-o", "out/").code == 0
    found = {str(path.relative_to("out")): path.read_text("utf-8") for path in Path("out").rglob("*") if path.is_file()}
    assert found == {name: name for name in names}


def test_a_stop_says_what_was_restored(gamearchive: Run) -> None:
    os.mkfifo("pipe")
    Path("large.ndjson").write_text("".join(json.dumps({"id": f"l-{n}", "x": "x" * 90_000}) + "\n" for n in range(9)), "utf-8")
    assert gamearchive("archive", "large.ndjson", "--type", "large").code == 0
    command = [sys.executable, "-m", "gamearchive", "restore", "--type", "large", "-o", "pipe"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running, Path("pipe").open("rb") as pipe:
        assert len(pipe.read(100_000)) == 100_000  # so it is in the middle, for a pipe holds less than is left
        running.send_signal(signal.SIGINT)
        assert running.stderr is not None
        assert running.stderr.readline().startswith("Finishing the batch in hand")
        rest = pipe.read()
        told = running.stderr.read()
    assert running.returncode == 130
    games = (100_000 + len(rest)) // 90_000
    assert 0 < games < 9
    assert f"Stopped: restored {games} games (" in told
