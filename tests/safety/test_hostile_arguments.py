"""Arguments, variables and surroundings that nobody means: a clear error or an empty answer, and never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from reading import folders_within
from running import Run

from gamearchive.cli.declaration import EXIT_CODES

HOSTILE = (
    "",
    "\udcff",
    "a=\udcff",
    "9" * 400,
    "-" + "9" * 400,
    "9" * 400 + "d",
    "1" + "0" * 303 + "y",
    "9" * 400 + "MB",
    "x" * 5_000,
)
CHOOSING = ("--since", "--until", "--time", "--type", "--player", "--status", "--tag")
OPTIONS = {
    "archive": ("--type", "--format", "--id", "--players", "--tag", "--on-conflict", "--max-record", "--rejects"),
    "query": (*CHOOSING, "--id", "--sort", "--limit", "--cursor"),
    "restore": (*CHOOSING, "--revision", "--output"),
    "show": ("--type", "--revision"),
    "stats": ("--home", "--config", "--database", "--storage", "--color"),
}  # fmt: skip


@pytest.fixture
def home(gamearchive: Run, either_engine: None) -> None:
    Path("games.ndjson").write_text('{"id": "a"}\n', encoding="utf-8")
    assert gamearchive("archive", "games.ndjson").code == 0


@pytest.mark.parametrize(("command", "option"), [(command, option) for command in OPTIONS for option in OPTIONS[command]])
@pytest.mark.usefixtures("home")
def test_no_value_of_an_option_ends_in_a_traceback(gamearchive: Run, command: str, option: str) -> None:
    given = {"archive": ["games.ndjson"], "restore": ["a"] if option == "--revision" else [], "show": ["a"]}.get(command, [])
    for value in HOSTILE:
        ended = gamearchive(command, f"{option}={value}", *given)
        assert ended.code in EXIT_CODES
        assert ended.code in (0, 3) or "hint: " in ended.err


@pytest.mark.usefixtures("home")
def test_what_is_not_utf8_names_no_game(gamearchive: Run) -> None:
    for command in ("show", "restore"):
        assert gamearchive(command, "\udcff").code == 12
    for option in ("--player", "--status", "--id"):
        ended = gamearchive("query", f"{option}=\udcff")
        assert ended.code == 2
        assert "is not UTF-8" in ended.err


@pytest.mark.parametrize(
    "url",
    [
        *("--storage=file:///%00", "--storage=file://[", "--storage=file:///%ff", "--database=sqlite:///%00"),
        *("--database=sqlite:///x?timeout=abc", "--database=sqlite:///x?mode=ro"),
        *("--storage=memory:", "--home=b\udcffd", "--storage=file:///\udcff"),
    ],
)
def test_a_place_that_cannot_be_is_a_wrong_setting(gamearchive: Run, url: str) -> None:
    for command in (("archive", "games.ndjson"), ("query",), ("config", "check")):
        ended = gamearchive(*command, url)
        assert (ended.code, ended.out) == (16, "")
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("text", ["a = " + "[" * 5_000, f"max_record = {'9' * 5_000}", f"max_record = {'9' * 400}"])
def test_settings_that_are_too_much(gamearchive: Run, text: str) -> None:
    Path("gamearchive.toml").write_text(text, encoding="utf-8")
    assert gamearchive("config", "check").code == 16


def test_a_settings_file_without_end_is_not_read_to_its_end(gamearchive: Run) -> None:
    ended = gamearchive("config", "check", "--config", "/dev/zero")
    assert ended.code == 16
    assert "more than" in ended.err


def test_a_shell_that_does_not_say_what_to_complete(gamearchive: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_GAMEARCHIVE_COMPLETE", "complete_bash")
    for words, number in ((None, None), ("gamearchive q", None), ("gamearchive q", "x")):
        for name, value in (("COMP_WORDS", words), ("COMP_CWORD", number)):
            if value is not None:
                monkeypatch.setenv(name, value)
        ended = gamearchive()
        assert ended.code == 2
        assert "did not say what to complete" in ended.err


@pytest.mark.parametrize("limit", [5, 6, 7, 10])
@pytest.mark.usefixtures("home")
def test_a_process_that_may_open_few_files_says_so(limit: int) -> None:
    for command in ("query", "archive games.ndjson", "restore --type game -o out/"):
        script = f"ulimit -n {limit}; exec {sys.executable} -m gamearchive {command}"
        ended = subprocess.run(["sh", "-c", script], env=os.environ, capture_output=True, text=True, timeout=60, check=False)
        assert "Traceback" not in ended.stderr
        assert ended.returncode in (0, 15)


@pytest.mark.usefixtures("home")
def test_a_folder_of_any_depth_is_restored_to(gamearchive: Run, tmp_path: Path) -> None:
    with folders_within(tmp_path, 1_200):
        assert gamearchive("restore", "a", "--output", "d/" * 1_200).code == 0
