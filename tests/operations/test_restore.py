from __future__ import annotations

import io
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import zstandard
from archiving import Home, flip, game, games, listed, plain

from gamearchive.archive import Archive
from gamearchive.errors import ExistsError, IntegrityError, StorageUnavailableError, UsageError
from gamearchive.model import OPAQUE, PGN, ArchiveEntry, GameRecord
from gamearchive.operations.restore import Restored, restore_each, restore_to_file, restore_to_folder

HOSTILE = (
    "../../etc/passwd", "/etc/passwd", "a/b", "a\\b", ".", "..", ".hidden", "🎲" * 100, "a\tb\nc", "con", "nul.txt", "COM1",
    "a:b", "x" * 512, "trailing.", " ", "~", "-rf", "Game", "game", "GAME", "é", "e\u0301", "ﬁ", "fi", "\u202egpj.exe",
    "%2e%2e%2f",
)  # fmt: skip
PRETTY = b'{\n  "id": "pretty",\r\n  "text": "a\\nb  c",\n  "list": [\n    1,\n\n    2\n  ]\n}\n'
CHESS = b'[Event "A"]\n[Result "1-0"]\n\n1. e4 e5 1-0\n'


def all_of(archive: Archive) -> list[ArchiveEntry]:
    return listed(archive)


def to_stream(archive: Archive) -> tuple[bytes, list[Restored]]:
    stream = io.BytesIO()
    restored = list(restore_each(archive, listed(archive), stream.write))
    return stream.getvalue(), restored


def tree(folder: Path) -> list[str]:
    """All files below a folder, temporary ones too."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def damage(home: Home, entry: ArchiveEntry) -> None:
    flip(home.path(entry.place.pack), entry.place.frame_offset + entry.place.frame_bytes - 1)


# To a stream


@pytest.mark.parametrize("payload", [b'{"a":1}', PRETTY, b"", b"\n"])
def test_one_game_is_written_exactly(archive: Archive, payload: bytes) -> None:
    archive.add([plain("a", payload)])
    assert to_stream(archive)[0] == payload


def test_several_text_games_are_told_apart_by_line_ends(archive: Archive) -> None:
    archive.add([plain("a", b'{"a":1}'), plain("b", PRETTY), plain("c", b'{"c":1}')])
    assert to_stream(archive)[0] == b'{"a":1}\n' + PRETTY + b'{"c":1}'


def test_a_game_with_a_schema_version_is_the_json_that_it_is(archive: Archive, tmp_path: Path) -> None:
    third = "application/json; schema=3"
    archive.add([plain("a", b'{"a":1}'), plain("b", PRETTY, content_type=third), plain("c", b'{"c":1}', content_type=third)])
    assert to_stream(archive)[0] == b'{"a":1}\n' + PRETTY + b'{"c":1}'
    list(restore_to_file(archive, listed(archive), tmp_path / "all.ndjson", force=False))
    assert [list(json.loads(line)) for line in (tmp_path / "all.ndjson").read_bytes().splitlines()] == [
        ["a"],
        ["id", "text", "list"],
        ["c"],
    ]
    list(restore_to_folder(archive, listed(archive), tmp_path / "each", force=False))
    assert tree(tmp_path / "each") == ["a.json", "b.json", "c.json"]


def test_binary_games_are_written_as_they_are(archive: Archive) -> None:
    archive.add([plain("a", b"\x00\x01", content_type=OPAQUE), plain("b", b"\x02\n\x03", content_type=OPAQUE)])
    assert to_stream(archive)[0] == b"\x00\x01\x02\n\x03"


def test_a_damaged_game_is_told_and_the_others_are_written(archive: Archive, home: Home) -> None:
    archive.add(games(3))
    damage(home, archive.get("g-1"))
    written, restored = to_stream(archive)
    assert written == game(0).payload + b"\n" + game(2).payload
    assert [each.entry.entity_id for each in restored if each.error] == ["g-1"]


# Into a folder


def test_one_file_a_game_named_by_its_id(archive: Archive, tmp_path: Path) -> None:
    archive.add([*games(2), plain("match", CHESS, content_type=PGN), plain("replay.rep", b"\0", content_type=OPAQUE)])
    restored = list(restore_to_folder(archive, all_of(archive), tmp_path / "new" / "out", force=False))
    assert tree(tmp_path / "new" / "out") == ["g-0.json", "g-1.json", "match.pgn", "replay.rep"]
    for each in restored:
        assert each.path is not None
        assert each.path.read_bytes() == archive.read(each.entry)


def test_no_id_leads_out_of_the_folder_or_to_anothers_file(archive: Archive, tmp_path: Path) -> None:
    archive.add([plain(entity_id, entity_id.encode()) for entity_id in HOSTILE])
    out = tmp_path / "around" / "out"
    restored = list(restore_to_folder(archive, all_of(archive), out, force=False))
    assert [each.error for each in restored] == [None] * len(HOSTILE)
    names = [str(each.path.relative_to(out)) for each in restored if each.path]
    assert len({name.casefold() for name in names}) == len(HOSTILE)
    assert tree(tmp_path / "around") == sorted(f"out/{name}" for name in names)
    assert all(each.path and each.path.read_bytes() == each.entry.entity_id.encode() for each in restored)


@pytest.mark.parametrize("force", [False, True])
def test_games_that_share_a_name_do_not_share_a_file(archive: Archive, tmp_path: Path, force: bool) -> None:
    archive.add([plain("1", b"chess", entity_type="chess"), plain("1", b"go", entity_type="go")])
    archive.add([plain("1", b"go again", entity_type="go"), plain("1.json", b"named alike", content_type=OPAQUE)])
    restored = list(restore_to_folder(archive, all_of(archive), tmp_path / "out", force=force))
    assert [each.error for each in restored] == [None] * 4
    assert sorted((tmp_path / "out" / name).read_bytes() for name in tree(tmp_path / "out")) == [
        b"chess", b"go", b"go again", b"named alike",
    ]  # fmt: skip


def test_what_is_there_stays_unless_forced(archive: Archive, tmp_path: Path) -> None:
    archive.add(games(3))
    (tmp_path / "g-1.json").write_bytes(b"mine")
    restored = list(restore_to_folder(archive, all_of(archive), tmp_path, force=False))
    assert [type(each.error) for each in restored] == [type(None), ExistsError, type(None)]
    assert (tmp_path / "g-1.json").read_bytes() == b"mine"
    list(restore_to_folder(archive, all_of(archive), tmp_path, force=True))
    assert (tmp_path / "g-1.json").read_bytes() == game(1).payload


def test_a_link_in_the_folder_is_not_followed(archive: Archive, tmp_path: Path) -> None:
    archive.add([plain("a", b"{}")])
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").write_bytes(b"mine")
    (tmp_path / "out" / "a.json").symlink_to(tmp_path / "elsewhere")
    (restored,) = restore_to_folder(archive, all_of(archive), tmp_path / "out", force=False)
    assert isinstance(restored.error, ExistsError)
    list(restore_to_folder(archive, all_of(archive), tmp_path / "out", force=True))
    assert (tmp_path / "elsewhere").read_bytes() == b"mine"
    assert not (tmp_path / "out" / "a.json").is_symlink()


def test_a_damaged_game_leaves_no_file(archive: Archive, home: Home, tmp_path: Path) -> None:
    archive.add(games(3))
    damage(home, archive.get("g-1"))
    restored = list(restore_to_folder(archive, all_of(archive), tmp_path / "out", force=False))
    assert [each.entry.entity_id for each in restored if isinstance(each.error, IntegrityError)] == ["g-1"]
    assert tree(tmp_path / "out") == ["g-0.json", "g-2.json"]


# Into one file


@pytest.mark.parametrize("name", ["game.json", "game", "game.txt", "game.pgn"])
def test_one_game_into_a_file_is_written_exactly(archive: Archive, tmp_path: Path, name: str) -> None:
    archive.add([plain("a", PRETTY)])
    (restored,) = restore_to_file(archive, all_of(archive), tmp_path / name, force=False)
    assert restored.path == tmp_path / name
    assert (tmp_path / name).read_bytes() == PRETTY


@pytest.mark.parametrize("name", ["game.zst", "game.json.zst", "game.pgn.zst"])
def test_one_game_into_a_compressed_file(archive: Archive, tmp_path: Path, name: str) -> None:
    archive.add([plain("a", b"\0\r\n\n", content_type=OPAQUE)])
    list(restore_to_file(archive, all_of(archive), tmp_path / name, force=False))
    assert unpacked(tmp_path / name) == b"\0\r\n\n"


def unpacked(path: Path) -> bytes:
    with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(path.read_bytes())) as reader:
        return reader.read()


@pytest.mark.parametrize("name", ["all.ndjson", "all.jsonl", "all.ndjson.zst"])
def test_json_games_become_lines(archive: Archive, tmp_path: Path, name: str) -> None:
    archive.add([*games(2), plain("pretty", PRETTY), plain("cr", b'{\r"a":\r\r1}')])
    list(restore_to_file(archive, all_of(archive), tmp_path / name, force=False))
    written = unpacked(tmp_path / name) if name.endswith(".zst") else (tmp_path / name).read_bytes()
    lines = written.split(b"\n")
    assert lines[:2] == [game(0).payload, game(1).payload]
    assert [json.loads(line) for line in lines[2:4]] == [json.loads(PRETTY), {"a": 1}]
    assert lines[4:] == [b""]


def test_one_game_into_ndjson_is_a_line(archive: Archive, tmp_path: Path) -> None:
    archive.add([plain("pretty", PRETTY)])
    list(restore_to_file(archive, all_of(archive), tmp_path / "a.ndjson", force=False))
    assert [json.loads(line) for line in (tmp_path / "a.ndjson").read_bytes().splitlines()] == [json.loads(PRETTY)]


@pytest.mark.parametrize("name", ["all.pgn", "all.pgn.zst"])
def test_chess_games_have_an_empty_line_between(archive: Archive, tmp_path: Path, name: str) -> None:
    windows = CHESS.replace(b"\n", b"\r\n")
    archive.add([plain("a", CHESS.rstrip(), content_type=PGN), plain("b", windows, content_type=PGN)])
    list(restore_to_file(archive, all_of(archive), tmp_path / name, force=False))
    written = unpacked(tmp_path / name) if name.endswith(".zst") else (tmp_path / name).read_bytes()
    assert written == CHESS + b"\n" + windows + b"\r\n"


def test_games_that_do_not_go_into_one_file(archive: Archive, tmp_path: Path) -> None:
    archive.add([*games(2), plain("match", CHESS, content_type=PGN)])
    for name, why in (("all.txt", "all.txt"), ("all.zst", "all.zst"), ("all.ndjson", "'match'"), ("all.pgn", "'g-0'")):
        with pytest.raises(UsageError, match=why):
            list(restore_to_file(archive, all_of(archive), tmp_path / "out" / name, force=False))
    assert tree(tmp_path / "out") == []


def test_no_games_no_file(archive: Archive, tmp_path: Path) -> None:
    assert list(restore_to_file(archive, [], tmp_path / "all.ndjson", force=False)) == []
    assert not (tmp_path / "all.ndjson").exists()


@pytest.mark.parametrize("name", ["all.ndjson", "all.ndjson.zst"])
def test_a_file_that_is_there_stays_unless_forced(archive: Archive, tmp_path: Path, name: str) -> None:
    archive.add(games(3))
    path = tmp_path / "out" / name
    path.parent.mkdir()
    path.write_bytes(b"mine")
    with pytest.raises(ExistsError, match=name):
        list(restore_to_file(archive, all_of(archive), path, force=False))
    assert path.read_bytes() == b"mine"
    list(restore_to_file(archive, all_of(archive), path, force=True))
    assert path.read_bytes() != b"mine"
    assert tree(path.parent) == [name]


@pytest.mark.parametrize("name", ["all.ndjson", "all.ndjson.zst"])
def test_a_damaged_game_in_the_middle_leaves_no_file(archive: Archive, home: Home, tmp_path: Path, name: str) -> None:
    archive.add(games(5))
    damage(home, archive.get("g-3"))
    with pytest.raises(IntegrityError, match="'g-3'"):
        list(restore_to_file(archive, all_of(archive), tmp_path / "out" / name, force=False))
    assert tree(tmp_path / "out") == []


def test_left_in_the_middle_there_is_no_file(archive: Archive, tmp_path: Path) -> None:
    archive.add(games(5))
    steps = restore_to_file(archive, all_of(archive), tmp_path / "out" / "all.ndjson", force=False)
    next(steps)
    steps.close()  # type: ignore[attr-defined]
    assert tree(tmp_path / "out") == []


# Disks that fill, processes that die


@contextmanager
def no_file_above(limit: int) -> Iterator[None]:
    """Let the system refuse, in the middle of writing, every file of more bytes than this."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("name", ["all.ndjson", "all.ndjson.zst"])
def test_a_file_that_cannot_be_written_to_its_end_does_not_appear(archive: Archive, tmp_path: Path, name: str) -> None:
    archive.add([plain(f"r-{number}", os.urandom(300_000).hex().encode()) for number in range(4)])
    with no_file_above(1_000_000), pytest.raises(StorageUnavailableError, match=name):
        list(restore_to_file(archive, all_of(archive), tmp_path / "out" / name, force=False))
    assert tree(tmp_path / "out") == []
    assert len(list(restore_to_file(archive, all_of(archive), tmp_path / "out" / name, force=False))) == 4


def test_a_disk_that_refuses_leaves_whole_files_in_a_folder(archive: Archive, tmp_path: Path) -> None:
    records = [*games(2), plain("large", os.urandom(600_000).hex().encode())]
    archive.add(records)
    with no_file_above(1_000_000), pytest.raises(StorageUnavailableError, match=r"large\.json"):
        list(restore_to_folder(archive, all_of(archive), tmp_path / "out", force=False))
    assert tree(tmp_path / "out") == ["g-0.json", "g-1.json"]
    assert [(tmp_path / "out" / name).read_bytes() for name in tree(tmp_path / "out")] == [r.payload for r in records[:2]]


KILLED = """
import os, signal, sys
from pathlib import Path
from archiving import Home, listed
from gamearchive.operations.restore import restore_to_file
home = Home(Path(sys.argv[1]), sys.argv[2])
archive = home.open()
for number, _ in enumerate(restore_to_file(archive, listed(archive), Path(sys.argv[3]), force=True)):
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_killed_in_the_middle_the_earlier_file_is_whole(archive: Archive, home: Home, tmp_path: Path) -> None:
    records: list[GameRecord] = games(5)
    archive.add(records)
    out = tmp_path / "out" / "all.ndjson"
    list(restore_to_file(archive, all_of(archive)[:2], out, force=False))
    command = [sys.executable, "-c", KILLED, str(home.folder), home.url, str(out)]
    ended = subprocess.run(command, cwd=Path(__file__).parent.parent, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert out.read_bytes() == b"".join(record.payload + b"\n" for record in records[:2])
    list(restore_to_file(archive, all_of(archive), out, force=True))
    assert out.read_bytes() == b"".join(record.payload + b"\n" for record in records)
