"""Readers of others: found through the entry-point group of an installed package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gamearchive.readers.base import Reader
from gamearchive.readers.registry import OWN, reader_named, reader_of_content, reader_of_name

SGF = '''
from collections.abc import Iterator
from gamearchive.model import GameRecord, Rejection
from gamearchive.readers import ByteStream, ReadContext, Reader


class SgfReader(Reader):
    """Go games, one a file."""

    name = "sgf"
    suffixes = (".sgf",)

    def sniff(self, head: bytes) -> bool:
        return head.lstrip().startswith(b"(;")

    def read(self, stream: ByteStream, context: ReadContext) -> Iterator[GameRecord | Rejection]:
        payload = stream.read_whole(context.options.max_record_bytes)
        yield context.record(payload, content_type="application/x-go-sgf", entity_id=context.name)
'''
SCRIPT = """
import sys
from gamearchive.errors import GameArchiveError
from gamearchive.readers import ReadOptions, read_source
try:
    for outcome in read_source(sys.argv[1], ReadOptions(format=sys.argv[2] or None)):
        print(outcome.content_type, outcome.entity_id)
except GameArchiveError as error:
    print(error.code, error.message, error.hint)
"""


def run_with(package: Path, source: Path, format_: str = "") -> str:
    command = [sys.executable, "-c", SCRIPT, source, format_]
    done = subprocess.run(command, capture_output=True, check=True, text=True, env={"PYTHONPATH": str(package)})
    return done.stdout.strip()


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    (folder / "sgf_games-1.dist-info").mkdir(parents=True)
    (folder / "sgf_games.py").write_text(SGF)
    (folder / "sgf_games-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: sgf-games\nVersion: 1\n")
    (folder / "sgf_games-1.dist-info" / "entry_points.txt").write_text("[gamearchive.readers]\nsgf = sgf_games:SgfReader\n")
    return folder


@pytest.mark.parametrize(("name", "format_"), [("a.sgf", ""), ("a.game", ""), ("a.json", "sgf")])
def test_a_reader_of_others_is_found_by_name_by_content_and_by_format(
    package: Path, tmp_path: Path, name: str, format_: str
) -> None:
    (tmp_path / name).write_bytes(b"(;GM[1])")
    assert run_with(package, tmp_path / name, format_) == f"application/x-go-sgf {name}"


def test_the_known_formats_are_named(package: Path, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    assert "Use one of: json, opaque, pgn, sgf." in run_with(package, tmp_path / "a", "xyz")


def test_a_reader_that_cannot_be_loaded_is_named(package: Path, tmp_path: Path) -> None:
    (package / "sgf_games.py").write_text("class SgfReader: pass\n")
    (tmp_path / "a.sgf").write_bytes(b"x")
    assert run_with(package, tmp_path / "a.sgf").startswith("configuration The reader 'sgf'")
    (package / "sgf_games.py").write_text("")
    assert run_with(package, tmp_path / "a.sgf").startswith("configuration The reader 'sgf'")


def test_own_readers_need_no_search_of_what_is_installed() -> None:
    script = (
        "import sys; from gamearchive.readers.registry import reader_named, reader_of_name\n"
        "reader_named('pgn'); reader_of_name('a.ndjson')\n"
        "assert 'importlib.metadata' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_own_readers() -> None:
    assert [reader_named(reader.name) for reader in OWN] == list(OWN)
    assert reader_of_name("a.rep") is None
    assert reader_of_content(b"").name == "opaque"
    assert all(isinstance(reader, Reader) for reader in OWN)
