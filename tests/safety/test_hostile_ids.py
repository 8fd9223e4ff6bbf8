"""Ids that name other files, no file or the same file: archived, shown, restored, and never outside the folder asked for."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

import pytest
from running import Run

IDS = [
    *("../../etc/passwd", "/etc/passwd", "a/b", "a", ".", "..", "...", "~root", "-rf", "--help", "$(reboot)", "*", "?", "|"),
    *(
        "\\",
        "..\\..\\windows\\win.ini",
        "C:\\autoexec.bat",
        "name:stream",
        "CON",
        "con",
        "nul.txt",
        "COM1.json",
        "aux.",
        "LPT¹",
    ),
    *("trailing dot.", "trailing blank ", " leading blank", ".hidden", ".tmp-0123456789abcdef", "tab\there", "line\nbreak"),
    *("\r\n", "\x1b[31mred", "\u202egnp.exe", "\ufeff", "Game", "game", "GAME", "straße", "STRASSE", "ﬁ", "fi", "é", "e\u0301"),
    *("🎲" * 100, "x" * 512, "ä" * 256, "%2e%2e%2f", "a%00b", "a.json", "game.json.zst", "gamearchive.db", "0", "null"),
    *("' OR 1=1 --", "<script>"),
]
pytestmark = pytest.mark.usefixtures("either_engine")


def payload(entity_id: str) -> bytes:
    return json.dumps({"id": entity_id, "size": len(entity_id)}, ensure_ascii=False).encode()


@pytest.fixture
def home(gamearchive: Run, tmp_path: Path) -> tuple[str, str]:
    (tmp_path / "games.ndjson").write_bytes(b"\n".join(map(payload, IDS)))
    where = ("--home", str(tmp_path / "home"))
    ended = gamearchive("archive", "games.ndjson", "--json", *where)
    assert ended.code == 0
    assert json.loads(ended.out.splitlines()[-1])["archived"] == len(IDS) == len(set(IDS))
    return where


def test_every_id_is_restored_into_the_folder_and_nowhere_else(gamearchive: Run, home: tuple[str, str], tmp_path: Path) -> None:
    inner = tmp_path / "deep" / "er"
    before = {path for path in tmp_path.rglob("*") if "deep" not in path.parts}
    ended = gamearchive("restore", "--type", "game", "--output", f"{inner}/", "--json", *home)
    assert ended.code == 0
    items = [json.loads(line) for line in ended.out.splitlines()[:-1]]
    assert {item["entity_id"]: Path(item["path"]).read_bytes() for item in items} == {each: payload(each) for each in IDS}
    paths = [Path(item["path"]) for item in items]
    assert all(path.resolve().is_relative_to(inner.resolve()) for path in paths)
    assert len({str(path).casefold() for path in paths}) == len(IDS)  # also on a disk that does not tell case apart
    assert sum(path.is_file() for path in inner.rglob("*")) == len(IDS)
    assert {path for path in tmp_path.rglob("*") if "deep" not in path.parts} == before


def test_every_id_is_found_by_itself_alone(gamearchive: Run, home: tuple[str, str]) -> None:
    for entity_id in IDS:
        assert json.loads(gamearchive("show", "--json", *home, "--", entity_id).out)["entity_id"] == entity_id
        assert gamearchive("restore", *home, "--", entity_id).out.encode() == payload(entity_id)


def test_listings_hold_every_id_on_a_line_of_its_own_and_drive_no_terminal(gamearchive: Run, home: tuple[str, str]) -> None:
    rows = [json.loads(line) for line in gamearchive("query", "--json", *home).out.splitlines()]
    assert {row["entity_id"] for row in rows[:-1]} == set(IDS)
    for form in ((), ("--ids",), ("--quiet",), ("--csv",)):
        text = gamearchive("query", *form, *home).out
        assert not set("\x1b\r\u202e") & set(text)
        assert text.count("\n") == len(IDS) + ("--csv" in form)
    assert len(list(csv.reader(io.StringIO(gamearchive("query", "--csv", *home).out)))) == len(IDS) + 1


def test_a_link_in_the_folder_is_not_followed(gamearchive: Run, home: tuple[str, str], tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine", encoding="utf-8")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "game.json").symlink_to(precious)
    assert gamearchive("restore", "game", "--output", "out/", *home).code == 13
    assert gamearchive("restore", "game", "--output", "out/", "--force", *home).code == 0
    assert precious.read_text(encoding="utf-8") == "mine"
    assert not os.path.islink(tmp_path / "out" / "game.json")


@pytest.mark.parametrize("document", [b'{"id": "a\\u0000b"}', b'{"id": "' + b"x" * 513 + b'"}', b'{"id": "\\ud800"}'])
def test_ids_that_no_database_takes_are_rejected(gamearchive: Run, tmp_path: Path, document: bytes) -> None:
    (tmp_path / "games.ndjson").write_bytes(b'{"id": "good"}\n' + document)
    ended = gamearchive("archive", "games.ndjson", "--home", str(tmp_path / "home"))
    assert ended.code == 3
    assert "games.ndjson:2: the id " in ended.err
    assert gamearchive("query", "--ids", "--home", str(tmp_path / "home")).out == "good\n"
