"""Sources: files, folders and standard input; names, compressions and formats; and what cannot be opened."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import Read, folders_within, split

from gamearchive.errors import UsageError
from gamearchive.model import JSON, OPAQUE, PGN, Notice
from gamearchive.readers import ReadOptions, read_source
from gamearchive.readers.base import derived_id

TOKENS = [b"{", b"}", b"[", b"]", b'"', b",", b":", b"1", b"\n", b"\xef\xbb\xbf", b"\x1e", b'{"id":"x"}', b"\\"]
LINES = b"".join(b'{"id":"g%d","moves":[%d]}\n' % (n, n) for n in range(200))
CHESS = b'[Event "x"]\n[White "A"]\n[Black "B"]\n\n1. e4 e5 *\n'
COMPRESS = {".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress, ".bz2": bz2.compress, ".xz": lzma.compress}


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("name", ["games.ndjson", "games.json", "games"])
def test_compressed_files_are_read_as_what_they_hold(read: Read, name: str, suffix: str) -> None:
    games, rejections = read(name + suffix, COMPRESS[suffix](LINES))
    assert rejections == []
    assert b"".join(game.payload + b"\n" for game in games) == LINES


def test_a_text_format_is_unwrapped_even_where_its_name_does_not_say_so(read: Read) -> None:
    assert len(read("games.ndjson", gzip.compress(LINES))[0]) == 200
    assert len(read("games", gzip.compress(LINES), format="json")[0]) == 200


def test_a_replay_that_is_compressed_inside_stays_as_it_is(read: Read) -> None:
    content = gzip.compress(b"<mjloggm/>")
    games, _ = read("a.mjlog", content)
    assert [(game.entity_id, game.payload, game.content_type) for game in games] == [("a.mjlog", content, OPAQUE)]


def test_a_compressed_opaque_file_is_known_by_the_name_within(read: Read) -> None:
    games, _ = read("a.rep.gz", gzip.compress(b"\0\1\2"))
    assert [(game.entity_id, game.payload) for game in games] == [("a.rep", b"\0\1\2")]


@pytest.mark.parametrize("content", [b"", b"no gzip at all"])
def test_a_name_that_promises_too_much(read: Read, content: bytes) -> None:
    games, rejections = read("a.rep.gz", content)
    assert (games, len(rejections)) == ([], 1)


def test_a_cut_file_gives_its_games_and_the_line_of_the_cut(read: Read) -> None:
    content = gzip.compress(LINES)
    games, rejections = read("games.ndjson.gz", content[:-20])
    assert 0 < len(games) <= 200
    (rejection,) = rejections
    assert (rejection.line, rejection.reason) == (len(games) + 1, "the gzip data is cut")


def test_a_cut_opaque_file_is_no_game(read: Read) -> None:
    games, rejections = read("a.rep.zst", COMPRESS[".zst"](os.urandom(5000))[:-100])
    assert (games, len(rejections)) == ([], 1)


def test_a_bomb_is_one_rejection(read: Read) -> None:
    games, rejections = read("games.ndjson.bz2", bz2.compress(bytes(100 << 20)), max_record_bytes=1 << 20)
    assert games == []
    assert ["times its size" in rejection.reason for rejection in rejections] == [True]


@pytest.mark.parametrize(
    ("name", "content", "content_type"),
    [
        ("a.dat", CHESS, PGN),
        ("a.dat", b"\xef\xbb\xbf" + CHESS, PGN),
        ("a.dat", LINES, JSON),
        ("a.dat", b"[\n{}]", JSON),
        ("a.toml", b"[section]\nx = 1\n", OPAQUE),
        ("a.slp", b"{U\x03raw[$U#l", OPAQUE),
        ("a.txt", b"hello", OPAQUE),
        ("A.PGN", CHESS, PGN),
    ],
)
def test_formats_are_known_by_name_and_content(read: Read, name: str, content: bytes, content_type: str) -> None:
    games, rejections = read(name, content)
    assert rejections == []
    assert {game.content_type for game in games} == {content_type}


def test_the_format_asked_for_decides(read: Read) -> None:
    games, _ = read("games.ndjson", LINES, format="opaque")
    assert [(game.entity_id, game.payload) for game in games] == [("games.ndjson", LINES)]
    with pytest.raises(UsageError, match="'sgf'") as caught:
        read("games.ndjson", LINES, format="sgf")
    assert caught.value.hint == "Use one of: json, opaque, pgn."


def test_type_and_tags_are_put_on_every_game(read: Read) -> None:
    games, _ = read("games.ndjson", LINES, entity_type="match", tags=(("a", "b"),))
    assert {(game.entity_type, game.tags) for game in games} == {("match", (("a", "b"),))}


def test_an_opaque_file_that_is_empty_or_too_large(read: Read) -> None:
    assert [rejection.reason for rejection in read("a.rep", b"")[1]] == ["the file is empty"]
    assert "more than 10 bytes" in read("a.rep", b"\0" * 11, max_record_bytes=10)[1][0].reason


def test_a_folder_is_read_in_sorted_order(tmp_path: Path) -> None:
    for name in ("b/2.rep", "b/10.rep", "a.rep", "c&d [1].rep", ".hidden.rep", ".git/x.rep"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "link.rep").symlink_to(tmp_path / "a.rep")
    os.mkfifo(tmp_path / "fifo")
    games, rejections = split(read_source(tmp_path))
    assert rejections == []
    assert [game.entity_id for game in games] == ["a.rep", "b/10.rep", "b/2.rep", "c&d [1].rep", "link.rep"]


def test_a_file_given_by_itself_is_known_by_its_name(tmp_path: Path) -> None:
    (tmp_path / ".hidden.rep").write_bytes(b"x")
    games, _ = split(read_source(str(tmp_path / ".hidden.rep")))
    assert games[0].entity_id == ".hidden.rep"


def test_what_cannot_be_opened_is_a_rejection(tmp_path: Path) -> None:
    (tmp_path / "dangling.rep").symlink_to(tmp_path / "nowhere")
    (tmp_path / "good.rep").write_bytes(b"x")
    games, rejections = split(read_source(tmp_path))
    assert len(games) == 1
    assert [(rejection.source, rejection.line) for rejection in rejections] == [(str(tmp_path / "dangling.rep"), None)]
    assert "No such file" in split(read_source(tmp_path / "nowhere"))[1][0].reason


def test_a_name_that_is_no_utf8_becomes_an_id_with_escapes(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.rep")).write_bytes(b"x")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.ndjson")).write_bytes(LINES)
    games, rejections = split(read_source(tmp_path))
    assert len(games) == 201
    assert [game.entity_id for game in games if game.content_type == OPAQUE] == ["\\xff.rep"]
    assert rejections == []


SCRIPT = """
import json, sys
from gamearchive.readers import read_source
for outcome in read_source("-"):
    print(json.dumps([type(outcome).__name__, getattr(outcome, "entity_id", None), getattr(outcome, "reason", None)]))
"""


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (LINES, ["GameRecord", "g0", None]),
        (gzip.compress(LINES), ["GameRecord", "g0", None]),
        (CHESS, ["GameRecord", derived_id(CHESS), None]),
        (b' {"a": 1}\n', ["GameRecord", derived_id(b'{"a": 1}'), None]),
        (b"\0opaque", ["GameRecord", derived_id(b"\0opaque"), None]),
        (b"", ["Rejection", None, "the file is empty"]),
    ],
)
def test_standard_input(content: bytes, expected: list[str | None]) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], input=content, capture_output=True, check=True)
    assert json.loads(done.stdout.splitlines()[0]) == expected


def test_binary_games_of_others(data: Path) -> None:
    games, rejections = split(read_source(data / "binary"))
    assert rejections == []
    assert {game.entity_id: game.payload for game in games} == {
        path.name: path.read_bytes() for path in (data / "binary").iterdir()
    }


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    line = json.dumps({"id": "x", "moves": ["e4"] * 500}).encode()
    script = (
        "import resource, sys; from gamearchive.readers import read_source\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "n = sum(1 for _ in read_source(sys.argv[1]))\n"
        "print(n, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)"
    )
    for name, before, between, after in (("a.ndjson", b"", b"\n", b""), ("a.json", b"[", b",", b"]")):
        count = (120 << 20) // len(line)
        path = tmp_path / f"{name}.zst"
        with path.open("wb") as file, zstandard.ZstdCompressor(level=1).stream_writer(file) as writer:
            writer.write(before)
            for number in range(count):
                writer.write(between + line if number else line)
            writer.write(after)
        done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, check=True, text=True)
        read, grown = done.stdout.split()
        assert int(read) == count
        assert int(grown) < 80


@settings(deadline=None, max_examples=200)
@given(
    st.sampled_from(["a.json", "a.ndjson", "a.pgn", "a.rep", "a", "a.json.gz", "a.pgn.zst", "a.xz"]),
    st.binary(max_size=60) | st.lists(st.sampled_from(TOKENS)).map(b"".join),
    st.booleans(),
)
def test_no_bytes_raise_out_of_a_source(name: str, content: bytes, compressed: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(gzip.compress(content) if compressed else content)
        for outcome in read_source(path, ReadOptions(max_record_bytes=50)):
            assert outcome is not None


def test_a_tree_of_any_depth_is_walked_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with folders_within(tmp_path, 1_200):
        for _ in range(1_200):
            Path("d").mkdir()
            os.chdir("d")
        Path("deep.pgn").write_bytes(b'[White "Ann"]\n\n1. e4 1-0\n')
        os.chdir(tmp_path)
        for name in ("a.rep", "e.rep", "d/z.rep"):
            Path(name).write_bytes(b"x")
        games, rejections = split(read_source("."))
    assert rejections == []
    assert [game.content_type for game in games] == [OPAQUE, PGN, OPAQUE, OPAQUE]
    assert [game.entity_id for game in games if game.content_type == OPAQUE] == ["a.rep", "d/z.rep", "e.rep"]


@pytest.mark.parametrize("source", [".", "own", "own/deep", "own/deep/pack.zst", "link.zst", "db-wal"])
def test_what_is_the_programs_own_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("own/deep/pack.zst", "db", "db-wal", "owner/a.rep"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"x")
    Path("link.zst").symlink_to("own/deep/pack.zst")
    own = (f"{tmp_path.resolve().as_posix()}/own/", f"{tmp_path.resolve().as_posix()}/db")
    games, notices = split(read_source(source, ReadOptions(own=own)))
    assert [game.entity_id for game in games] == (["owner/a.rep"] if source == "." else [])
    assert [type(notice) for notice in notices] == [Notice] * (2 if source == "." else 1)
