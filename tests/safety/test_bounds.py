"""Sources larger than the memory, honest and hostile: neither makes it grow."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from running import Run
from zstandard import ZstdCompressor

MAX_MEMORY = 300 << 20

pytestmark = pytest.mark.skipif(not hasattr(os, "wait4"), reason="cannot tell how much memory a process took")


MEASURE = """
import os, subprocess, sys
command = [sys.executable, "-m", "gamearchive", *sys.argv[1:]]
process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(os.waitstatus_to_exitcode(status), usage.ru_maxrss)
"""


def run_measured(*arguments: str) -> tuple[int, int]:
    """Run a command line in a process of its own; its exit code, and the most memory that it took, in bytes."""
    # By way of a small process: what one is forked from counts as its own until it is replaced, and tests grow large.
    ended = subprocess.run([sys.executable, "-c", MEASURE, *arguments], capture_output=True, text=True, check=True)
    code, peak = map(int, ended.stdout.split())
    return code, peak * (1 if sys.platform == "darwin" else 1024)


@pytest.mark.usefixtures("either_engine")
def test_a_source_of_200_mb_fits_the_memory(gamearchive: Run, tmp_path: Path) -> None:
    count, size = 20_000, 10_240
    moves = json.dumps([{"card": number % 52, "points": number % 7} for number in range(300)])
    source, home = tmp_path / "games.ndjson.zst", ("--home", str(tmp_path / "home"))
    with source.open("wb") as file, ZstdCompressor(level=1).stream_writer(file) as stream:
        for number in range(count):
            game = f'{{"id": {number}, "players": ["p{number % 997}", "q{number % 13}"], "moves": {moves}}}'
            stream.write(game.ljust(size - 1).encode() + b"\n")
    assert source.stat().st_size < 4 << 20
    code, memory = run_measured("archive", str(source), *home)
    assert code == 0
    assert memory < MAX_MEMORY
    assert gamearchive("query", "--count", *home).out == f"{count}\n"
    code, memory = run_measured("restore", "--type", "game", "--output", str(tmp_path / "all.ndjson.zst"), *home)
    assert code == 0
    assert memory < MAX_MEMORY
    code, memory = run_measured("verify", "--full", *home)
    assert code == 0
    assert memory < MAX_MEMORY


def test_many_large_rejections_fit_the_memory(tmp_path: Path) -> None:
    source = tmp_path / "games.ndjson"
    with source.open("wb") as file:
        for number in range(6_000):
            file.write(b'{"id": %d, "cut": "%s\n' % (number, b"x" * 70_000))
    code, memory = run_measured("archive", str(source), "--rejects", str(tmp_path / "bad"), "--home", str(tmp_path / "home"))
    assert code == 3
    assert memory < MAX_MEMORY


@pytest.mark.usefixtures("either_engine")
def test_games_of_a_thousand_players_fit_the_memory(tmp_path: Path) -> None:
    source = tmp_path / "games.ndjson"
    with source.open("w") as file:
        for number in range(300):
            players = [{"id": f"id-{number}-{seat}", "name": f"player {seat} of {number}"} for seat in range(1000)]
            file.write(json.dumps({"id": number, "players": players}) + "\n")
    code, memory = run_measured("archive", str(source), "--home", str(tmp_path / "home"))
    assert code == 0
    assert memory < MAX_MEMORY


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("suffix", "compress"),
    [(".zst", ZstdCompressor().compress), (".gz", gzip.compress), (".xz", lzma.compress), (".bz2", bz2.compress)],
    ids=["zst", "gz", "xz", "bz2"],
)
def test_a_bomb_is_rejected_and_the_rest_archived(
    gamearchive: Run, tmp_path: Path, suffix: str, compress: Callable[[bytes], bytes]
) -> None:
    bomb, good, home = tmp_path / f"bomb.json{suffix}", tmp_path / "good.ndjson", ("--home", str(tmp_path / "home"))
    opening = b'{"id": "good-0"}\n{"id": "bomb", "moves": "'
    bomb.write_bytes(compress(opening) + compress(b"a" * (8 << 20)) * 1_000)  # 8 GB
    good.write_bytes(b'{"id": "good-1"}\n{"id": "good-2"}\n')
    code, memory = run_measured("archive", str(bomb), str(good), "--max-record", "4MB", "--rejects", "rejects.jsonl", *home)
    assert code == 3
    assert memory < MAX_MEMORY
    rejected = [json.loads(line) for line in (tmp_path / "rejects.jsonl").read_bytes().splitlines()]
    assert {(each["source"], each["line"]) for each in rejected} == {(str(bomb), 2)}
    assert "200 times its size" in rejected[-1]["reason"]
    assert gamearchive("query", "--ids", "--sort", "archived:asc", *home).out.split() == ["good-0", "good-1", "good-2"]
