"""The README says what is true: every command and option, the exit codes, the JSON keys, and code that runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gamearchive.cli.app import COMMANDS, main
from gamearchive.cli.declaration import EXIT_CODES
from gamearchive.cli.games import FIELDS as LISTED
from gamearchive.expression import parse
from gamearchive.expression.tree import FIELDS
from gamearchive.given import POLICY, RETENTION
from gamearchive.policy import policies_from
from gamearchive.retention import rules_from
from gamearchive.settings import KEYS, load_settings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SUBCOMMANDS = {
    "config": (("config", "show"), ("config", "check")),
    "queue": tuple(("queue", verb) for verb in ("list", "show", "retry", "discard", "bump")),
    "storage": (
        ("storage", "check"),
        ("storage", "resync"),
        ("storage", "move"),
    ),
    "backup": tuple(("backup", verb) for verb in ("create", "list", "verify", "restore", "forget")),
    "bench": (("bench",), ("bench", "live")),
    "retention": (
        ("retention", "plan"),
        ("retention", "apply"),
        ("retention", "explain"),
        ("retention", "undelete"),
        ("retention", "hold", "add"),
        ("retention", "hold", "remove"),
        ("retention", "hold", "list"),
    ),
    "worker": (("worker", "run"), ("worker", "status"), ("worker", "pause"), ("worker", "resume")),
}
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def options_of(capsys: pytest.CaptureFixture[str], *command: str) -> set[str]:
    assert main([*command, "--help"]) == 0
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", capsys.readouterr().out.partition("Example:")[0]))


def section(title: str) -> str:
    return README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_option_is_named(command: str, capsys: pytest.CaptureFixture[str]):
    commands = section("Commands")
    for words in SUBCOMMANDS.get(command, ((command,),)):
        assert " ".join(words) in commands
        named = set(re.findall(r"--[a-z][a-z-]*", commands))
        assert options_of(capsys, *words) <= named, words


def test_no_option_is_named_that_is_not_there(capsys: pytest.CaptureFixture[str]):
    there = options_of(capsys)
    for command in COMMANDS:
        for words in SUBCOMMANDS.get(command, ((command,),)):
            there |= options_of(capsys, *words)
    named = set(re.findall(r"(?<=`)--[a-z][a-z-]*|(?<=, `)--[a-z][a-z-]*", section("Commands")))
    assert named - there == {"--some-name"}


def test_its_settings_can_be_used_and_none_is_missing(tmp_path: Path):
    settings = section("Settings")
    file = tmp_path / "games.toml"
    file.write_text(re.findall(r"```toml\n(.*?)```", settings, re.DOTALL)[0])
    loaded = load_settings(config=str(file))
    assert set(KEYS) <= {key for key, source in loaded.sources.items() if source != "default"}
    assert policies_from(loaded.policies)["lol"].condition
    rules_from(loaded.retention, policies_from(loaded.policies))
    rows = re.findall(r"^\| `(\w+)` \|", settings, re.MULTILINE)
    assert rows == [*POLICY, *RETENTION]
    of_daemon = re.findall(r"^\| `(worker\.\w+|schedule\.\w+)` \|", settings, re.MULTILINE)
    assert of_daemon == [key for key in loaded.shown() if key.startswith(("worker.", "schedule."))]


def test_its_conditions_can_be_read():
    text = section("Settings").partition("### Conditions")[2]
    for condition in re.findall(r"```\n(.*?)```", text, re.DOTALL)[0].splitlines():
        parse(condition)
    assert set(FIELDS) <= set(re.findall(r"`(\w+)`", text))


def test_the_exit_codes_are_those_of_the_program():
    table = section("Exit codes")
    listed = {int(code) for row in re.findall(r"^\| ([\d, ]+) \|", table, re.MULTILINE) for code in row.split(",")}
    assert listed == set(EXIT_CODES)


def test_the_keys_of_a_game_are_those_of_a_listing():
    row = re.search(r"a game in any listing \| (.*) \|", README)
    assert row is not None
    assert re.findall(r"`(\w+)`", row[1]) == [column.key for column in LISTED]


@pytest.mark.parametrize("number", range(len(PYTHON)))
def test_its_python_runs(number: int, tmp_path: Path):
    code = PYTHON[number].replace("tests/data/games", str(ROOT / "tests/data/games"))
    ended = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    if "manager.archive" in code:
        assert "336 archived" in ended.stdout
        assert "True" in ended.stdout


def test_its_unit_is_one_that_systemd_takes(tmp_path: Path):
    unit = re.findall(r"```ini\n(.*?)```", README, re.DOTALL)[0]
    program = shutil.which("gamearchive", path=str(Path(sys.executable).parent))
    file = tmp_path / "gamearchive-worker.service"
    file.write_text(unit.replace("/usr/local/bin/gamearchive", str(program)))
    analyze = shutil.which("systemd-analyze")
    if analyze is not None:
        ended = subprocess.run([analyze, "verify", file], capture_output=True, text=True, timeout=60)
        assert (ended.returncode, ended.stderr) == (0, "")
    line = re.findall(r"^ExecStart=/usr/local/bin/gamearchive (.*)$", unit, re.MULTILINE)[0]
    assert_runs(line, tmp_path, "--burst")


def test_its_lines_for_cron_run(tmp_path: Path):
    places = {"/var/lib/gamearchive": str(tmp_path / "home"), "/mnt/backup": str(tmp_path / "backup")}
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "GAMEARCHIVE_HOME": places["/var/lib/gamearchive"],
    }
    settings = tmp_path / "gamearchive.toml"
    settings.write_text(re.findall(r"```toml\n.*?(\[\[retention\]\].*?)\[worker\]", README, re.DOTALL)[0])
    environment["GAMEARCHIVE_CONFIG"] = str(settings)
    blocks = re.findall(r"```cron\n(.*?)```", README, re.DOTALL)
    lines = [line.split(maxsplit=5)[5] for block in blocks for line in block.splitlines()]
    assert len(lines) >= 4
    for line in (f"gamearchive archive --quiet {ROOT / 'tests/data/games'}", *lines):
        for place, here in places.items():
            line = line.replace(place, here)
        ended = subprocess.run(["sh", "-c", line], env=environment, capture_output=True, text=True, timeout=120)
        assert ended.returncode == 0, ended.stderr


def assert_runs(line: str, folder: Path, *more: str) -> None:
    """Run a command line of the README's, in a home of its own."""
    arguments = line.replace("/var/lib/gamearchive", str(folder / "home")).replace("9187", "0").split()
    ended = subprocess.run([sys.executable, "-m", "gamearchive", *arguments, *more], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr


def test_its_first_command_archives_real_games_and_lists_them(tmp_path: Path):
    found = re.search(r"<!-- command: try -->\n```sh\n(.*?)\n```", README)
    assert found is not None
    install, _, commands = found[1].partition(" && .venv/bin/gamearchive ")
    assert install.startswith("python3 -m venv .venv && .venv/bin/pip install")
    program = shutil.which("gamearchive", path=str(Path(sys.executable).parent))
    assert program is not None
    script = f"{program} {commands.replace('.venv/bin/gamearchive', program)}"
    environment = {"PATH": "/usr/bin:/bin", "XDG_DATA_HOME": str(tmp_path)}
    ended = subprocess.run(["sh", "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    assert "Archived 336 games" in ended.stderr
    assert len(ended.stdout.splitlines()) == 100
