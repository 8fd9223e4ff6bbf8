"""Disks that are full, forbidden or failing: a clear error, nothing half-visible, and the same command works afterwards."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import killing
import pytest
from archiving import flip, noise
from databases import Databases
from running import Ended, Run

COUNT = 300


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Games that nothing can make smaller: 150 KB of them."""
    lines = (json.dumps({"id": record.entity_id, "seed": record.payload.hex()}) for record in noise(COUNT))
    path = tmp_path / "games.ndjson"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB, that a test may make larger."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mounting, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def enlarge(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)


def holds_nothing(gamearchive: Run, *where: str) -> bool:
    """Whether an archive is as if nobody had tried to put anything into it."""
    ended = gamearchive("query", "--count", *where)
    return ended.code == 10 or (ended.code, ended.out) == (0, "0\n")


def assert_told(ended: Ended, code: int, *words: str) -> None:
    assert (ended.code, ended.out) == (code, "")
    lines = ended.err.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("error: ")
    assert lines[2].startswith("hint: ")
    for word in words:
        assert word in ended.err


def assert_archives(gamearchive: Run, source: Path, *where: str) -> None:
    """The same command succeeds now, and all is well."""
    ended = gamearchive("archive", str(source), "--json", *where)
    assert ended.code == 0
    assert json.loads(ended.out.splitlines()[-1])["archived"] == COUNT
    gamearchive("verify", "--repair", *where)
    checked = gamearchive("verify", "--full", "--json", *where)
    assert checked.code == 0
    found = json.loads(checked.out.splitlines()[-1])
    assert (found["records"], found["damaged"], found["missing"], found["orphaned"]) == (COUNT, 0, 0, 0)


def temporaries(folder: Path) -> list[Path]:
    return list(folder.rglob(".tmp-*"))


@pytest.mark.usefixtures("either_engine")
def test_a_full_disk_of_packs(gamearchive: Run, source: Path, small_disk: Path, tmp_path: Path) -> None:
    where = ("--home", str(tmp_path / "home"), "--storage", (small_disk / "packs").as_uri())
    assert_told(gamearchive("archive", str(source), *where), 15, "no space left on device", str(small_disk), "Free some space")
    assert holds_nothing(gamearchive, *where)
    assert list(small_disk.rglob("*.zst")) == temporaries(small_disk) == []
    enlarge(small_disk)
    assert_archives(gamearchive, source, *where)


def test_a_full_disk_of_the_catalog(gamearchive: Run, source: Path, small_disk: Path, tmp_path: Path) -> None:
    where = ("--home", str(tmp_path / "home"), "--database", f"sqlite:///{small_disk}/gamearchive.db")
    assert_told(gamearchive("archive", str(source), *where), 15, "full", str(small_disk))
    assert holds_nothing(gamearchive, *where)
    enlarge(small_disk)
    assert_archives(gamearchive, source, *where)


def test_a_catalog_whose_disk_fills_up_keeps_what_it_has(gamearchive: Run, small_disk: Path, tmp_path: Path) -> None:
    enlarge(small_disk)
    where = ("--home", str(tmp_path / "home"), "--database", f"sqlite:///{small_disk}/gamearchive.db")
    first = killing.write_games(tmp_path / "first.ndjson", 50)
    assert gamearchive("archive", str(first), *where).code == 0
    used = sum(path.stat().st_blocks * 512 for path in small_disk.iterdir())
    subprocess.run(["mount", "-o", f"remount,size={used + 8192}", str(small_disk)], check=True)
    more = killing.write_games(tmp_path / "more.ndjson", COUNT)
    assert_told(gamearchive("archive", str(more), *where), 15)
    assert gamearchive("query", "--count", *where).out == "50\n"
    enlarge(small_disk)
    ended = gamearchive("archive", str(more), "--json", *where)
    assert json.loads(ended.out.splitlines()[-1]).items() >= {"archived": COUNT - 50, "skipped": 50, "failed": 0}.items()


@pytest.mark.usefixtures("either_engine")
def test_a_full_disk_of_restored_games(gamearchive: Run, source: Path, small_disk: Path, tmp_path: Path) -> None:
    home = ("--home", str(tmp_path / "home"))
    assert gamearchive("archive", str(source), *home).code == 0
    for output, command in (
        ("all.ndjson", ("--output", f"{small_disk}/all.ndjson")),
        ("games", ("--output", f"{small_disk}/games/")),
    ):
        ended = gamearchive("restore", "--type", "game", *command, *home)
        assert ended.code == 15
        assert "no space left on device" in ended.err
        assert temporaries(small_disk) == []
        for path in (small_disk / "games").glob("*"):
            assert json.loads(path.read_bytes())["id"] == path.stem
        shutil.rmtree(small_disk / output, ignore_errors=True)
        assert list(small_disk.iterdir()) == []
    enlarge(small_disk)
    assert gamearchive("restore", "--type", "game", "--output", f"{small_disk}/games/", *home).code == 0
    assert len(list((small_disk / "games").iterdir())) == COUNT


LIMITED = """
import resource, sys
from gamearchive.cli.app import main
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.usefixtures("either_engine")
@pytest.mark.skipif(sys.platform == "win32", reason="has no limits to set")
def test_files_that_may_not_grow(gamearchive: Run, source: Path, tmp_path: Path) -> None:
    home = str(tmp_path / "home")
    command = [sys.executable, "-c", LIMITED, "archive", str(source), "--home", home]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert_told(Ended(ended.returncode, ended.stdout, ended.stderr), 15)
    assert holds_nothing(gamearchive, "--home", home)
    assert temporaries(tmp_path) == []
    assert_archives(gamearchive, source, "--home", home)


def test_every_sync_that_fails(
    gamearchive: Run, databases: Databases, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failing = os.fsync, 0

    def fsync(descriptor: int) -> None:
        nonlocal failing
        failing -= 1
        if failing == 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    for number in range(1, 100):
        home = tmp_path / f"home-{number}"
        where = databases.where(home)
        failing = number
        ended = gamearchive("archive", str(source), *where)
        if failing > 0:
            assert ended.code == 0
            assert number > 10  # so many syncs there were, and each of them has failed once
            return
        assert_told(ended, 15, "input/output error", "The disk may be failing")
        assert holds_nothing(gamearchive, *where)
        assert temporaries(home) == []
        assert_archives(gamearchive, source, *where)
    pytest.fail("there is no end of syncs")


@contextmanager
def unprivileged() -> Iterator[None]:
    """As a user without privileges, whom permissions bind."""
    if os.geteuid() != 0:
        yield
        return
    os.setegid(65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that every user can enter."""
    folder = Path(tempfile.mkdtemp(prefix="gamearchive-test-"))
    folder.chmod(0o755)
    yield folder
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    shutil.rmtree(folder)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="has no users of this kind")
def test_folders_that_may_not_be_written_or_entered(
    gamearchive: Run, source: Path, public: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*arguments: str) -> Ended:
        with unprivileged():
            return gamearchive(*arguments)

    monkeypatch.chdir(public)
    monkeypatch.setenv("HOME", str(public))
    games = Path(shutil.copy(source, public))
    commands = [
        *(("archive", str(games)), ("query",), ("stats",), ("verify", "--full"), ("show", "noise-1"), ("restore", "noise-1")),
        ("rebuild", "--yes"),
    ]
    home, locked, made = public / "home", public / "locked", public / "made"
    for command in commands:  # whatever is imported late is imported now: it may lie where only its owner can read
        assert gamearchive(*command, "--home", str(made)).code == 0
    home.mkdir()
    home.chmod(0o555)
    locked.mkdir()
    locked.chmod(0o000)

    assert_told(forbidden("archive", str(games), "--home", str(home)), 15, str(home))
    assert list(home.iterdir()) == []
    for command in commands:
        assert_told(forbidden(*command, "--home", str(locked / "home")), 15, str(locked))
    refused = forbidden("archive", str(locked), str(locked / "games.ndjson"), str(games), "--dry-run", "--home", str(home))
    assert refused.code == 3
    assert refused.err.count("it cannot be read: Permission denied") == 2
    assert_told(forbidden("restore", "noise-1", "--output", str(locked / "x.json"), "--home", str(made)), 15, str(locked))

    home.chmod(0o755)
    assert_archives(gamearchive, games, "--home", str(home))
    for path in [home, *home.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    assert forbidden("query", "--count", "--home", str(home)).out == f"{COUNT}\n"
    assert forbidden("verify", "--full", "--home", str(home)).code == 0
    assert_told(forbidden("archive", str(games), "--home", str(home)), 15, str(home))
    for pack in home.rglob("*.zst"):
        pack.chmod(0o000)
    assert_told(forbidden("restore", "noise-1", "--home", str(home)), 15, str(home), ".zst")


def two_packs(gamearchive: Run, tmp_path: Path) -> tuple[list[str], list[Path]]:
    """An archive of two packs of twenty games each: how a command line names it, and the packs."""
    home = ["--home", str(tmp_path / "home")]
    lines = [payload + b"\n" for payload in killing.payloads(40).values()]
    for half in (lines[:20], lines[20:]):
        (tmp_path / "half.ndjson").write_bytes(b"".join(half))
        assert gamearchive("archive", "half.ndjson", *home).code == 0
    return home, sorted((tmp_path / "home").rglob("*.zst"))


@pytest.mark.usefixtures("either_engine")
@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
def test_a_damaged_pack_is_named_with_its_games_and_the_others_are_restored(
    gamearchive: Run, tmp_path: Path, harm: str
) -> None:
    home, (pack, _) = two_packs(gamearchive, tmp_path)
    rows = [json.loads(line) for line in gamearchive("query", "--json", *home).out.splitlines()[:-1]]
    inside = [row["entity_id"] for row in rows if pack.name in row["location"]]
    assert len(inside) == 20
    if harm == "flip":
        offset = next(int(row["location"].split("#")[1].split("+")[0]) for row in rows if row["entity_id"] == inside[3])
        flip(pack, offset + 30)
        lost = [inside[3]]
    else:
        pack.write_bytes(pack.read_bytes()[:10]) if harm == "cut" else pack.unlink()
        lost = inside
    ended = gamearchive("restore", "--type", "game", "--output", "games/", *home)
    assert ended.code == 14
    complaints = [line for line in ended.err.splitlines() if line.startswith("warning: ")]
    assert len(complaints) == len(lost)
    for game in lost:
        assert any(repr(game) in line and pack.name in line for line in complaints)
        alone = gamearchive("restore", game, *home)
        assert (alone.code, alone.out) == (14, "")
        assert repr(game) in alone.err
        assert pack.name in alone.err
    restored = {path.stem: path.read_bytes() for path in Path("games").iterdir()}
    assert restored == {name: payload for name, payload in killing.payloads(40).items() if name not in lost}
    assert gamearchive("restore", "--type", "game", "--output", "all.ndjson", *home).code == 14
    assert list(tmp_path.glob("all*")) == temporaries(tmp_path) == []
    listed = gamearchive("restore", "--type", "game", "--json", *home)
    assert listed.code == 14
    lines = [json.loads(line) for line in listed.out.splitlines()]
    assert {line["entity_id"]: line["payload"].encode() for line in lines if line["type"] == "item"} == restored
    assert sorted(line["entity_id"] for line in lines if line["type"] == "error") == sorted(lost)
    assert lines[-1].items() >= {"restored": 40 - len(lost), "failed": len(lost)}.items()
