"""The program: options before and after the command, errors and exit codes, signals, streams that fail, and its start-up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from running import Run

from gamearchive import errors
from gamearchive.cli import app as program
from gamearchive.cli.declaration import EXIT_CODES

HEAVY = {"sqlalchemy", "boto3", "zstandard", "psycopg", "alembic", "msgspec", "pyarrow", "asyncio", "rich.table"}


def process(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gamearchive", *arguments]
    return subprocess.run(command, text=True, timeout=60, check=False, **({"capture_output": True} | options))


def commands() -> list[tuple[str, ...]]:
    """Every command as its words, the program itself first."""
    found: list[tuple[str, ...]] = [()]
    for group in program.make_app().registered_groups:
        nested = group.typer_instance
        noun = () if nested.info.name is None or not isinstance(nested.info.name, str) else (nested.info.name,)
        found += [noun] if noun else []
        found += [(*noun, str(each.name)) for each in nested.registered_commands]
    return found


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_help_ends_with_exit_codes_and_an_example(gamearchive: Run, words: tuple[str, ...]) -> None:
    ended = gamearchive(*words, "--help")
    assert (ended.code, ended.err) == (0, "")
    codes, example = ended.out.split("Exit codes:")[1].split("Example:")
    for line in codes.strip().splitlines():
        code, meaning = line.split(maxsplit=1)
        assert EXIT_CODES[int(code)] == meaning
    assert example.strip().startswith("gamearchive ")
    assert ended == gamearchive(*words, "-h")


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_option_has_its_environment_variable_in_its_help(gamearchive: Run, words: tuple[str, ...]) -> None:
    text = gamearchive(*words, "--help").out.split("Options:")[1].split("Commands:")[0].split("Exit codes:")[0]
    entries = " ".join(text.split()).replace(" -", "\n-").splitlines()
    options = [entry for entry in entries if entry.strip().startswith("--") and "." in entry]
    assert len(options) >= 8
    for entry in options:
        name = entry.strip().split()[0]
        if name not in ("--version", "--help", "--install-completion", "--show-completion"):
            assert f"[env var: GAMEARCHIVE_{name[2:].upper().replace('-', '_')}" in entry


def test_global_options_stand_before_or_after_the_command(gamearchive: Run) -> None:
    for arguments in (
        ("--home", "/srv/x", "--json", "config", "show"),
        ("config", "--home", "/srv/x", "--json", "show"),
        ("config", "show", "--home", "/srv/x", "--json"),
        ("--home", "/srv/y", "--json", "config", "show", "--home", "/srv/x"),
    ):
        ended = gamearchive(*arguments)
        assert json.loads(ended.out)["settings"]["home"] == {"value": "/srv/x", "source": "flag --home"}


def test_variables_stand_for_global_options_and_options_go_over_them(gamearchive: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAMEARCHIVE_JSON", "1")
    monkeypatch.setenv("GAMEARCHIVE_COLOR", "always")
    assert json.loads(gamearchive("config", "show").out)["file"] is None
    assert json.loads(gamearchive("bogus").err)["code"] == "usage"
    monkeypatch.setenv("GAMEARCHIVE_JSON", "0")
    assert "\x1b[" in gamearchive("config", "show").out
    assert "\x1b[" not in gamearchive("--color", "never", "config", "show").out
    monkeypatch.setenv("GAMEARCHIVE_QUIET", "yes")
    assert gamearchive("config", "show").out == ""


@pytest.mark.parametrize(("name", "value"), [("JSON", "maybe"), ("VERBOSE", "lots"), ("COLOR", "blue")])
def test_a_variable_with_a_value_its_option_would_not_take_is_an_error(
    gamearchive: Run, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"GAMEARCHIVE_{name}", value)
    ended = gamearchive("config", "show")
    assert ended.code == 16
    assert f"GAMEARCHIVE_{name} is '{value}'" in ended.err


def test_nothing_at_all_asks_for_help(gamearchive: Run) -> None:
    assert gamearchive() == gamearchive("--help")


def test_the_version_is_told_before_or_after_the_command(gamearchive: Run) -> None:
    assert gamearchive("--version").out.startswith("gamearchive ")
    assert gamearchive("--version") == gamearchive("config", "show", "--version")


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (("bogus",), "gamearchive"),
        (("config",), "gamearchive config"),
        (("config", "show", "--bogus"), "gamearchive config show"),
        (("config", "show", "--home"), "gamearchive"),  # Typer does not say of which command
        (("config", "show", "--color", "blue"), "gamearchive config show"),
        (("config", "show", "more"), "gamearchive config show"),
    ],
)
def test_wrong_usage_is_told_as_any_other_error(gamearchive: Run, arguments: tuple[str, ...], command: str) -> None:
    ended = gamearchive(*arguments)
    assert (ended.code, ended.out) == (2, "")
    code, sentence, hint = ended.err.splitlines()
    assert code == "error: usage"
    assert hint == f"hint: Run `{command} --help` to see what it takes."
    told = json.loads(gamearchive(*arguments[:1], "--json", *arguments[1:]).err)
    assert told.items() >= {"type": "error", "code": "usage", "exit_code": 2}.items()
    assert sentence in told["message"] or arguments[-1] == "--home"


def test_an_error_is_three_lines_or_one_of_json(gamearchive: Run) -> None:
    ended = gamearchive("config", "show", "--config", "none.toml")
    assert ended.err.splitlines() == [
        "error: configuration",
        "There is no settings file 'none.toml'.",
        "hint: Name another with --config, or leave it out.",
    ]
    ended = gamearchive("config", "show", "--config", "none.toml", "--json")
    assert json.loads(ended.err) == {
        "type": "error",
        "code": "configuration",
        "message": "There is no settings file 'none.toml'.",
        "hint": "Name another with --config, or leave it out.",
        "exit_code": 16,
    }
    assert len(ended.err.splitlines()) == 1


def test_every_error_class_has_an_exit_code_that_is_told() -> None:
    classes, waiting = [], [errors.GameArchiveError]
    while waiting:
        classes.append(waiting.pop())
        waiting += classes[-1].__subclasses__()
    assert {each.exit_code for each in classes} <= EXIT_CODES.keys()


def declared(monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    """Put the command `probe`, whose body is given, in the place of all others."""
    namespace: dict[str, object] = {}
    exec(PROBE + source, namespace)
    module = type(sys)("gamearchive.cli.commands.probe")
    vars(module).update(namespace)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(program, "COMMANDS", ("probe", "config"))


PROBE = """
import os, signal
from typing import Annotated
from gamearchive.cli.context import Context
from gamearchive.cli.declaration import command, command_group
from gamearchive.cli.options import option
from gamearchive.cli.parts import Column
app = command_group()
@command(app, exits=(3,), example="gamearchive probe")
def probe(
    context: Context,
    tag: Annotated[list[str], option("--tag", help="Tags.")] = [],
    limit: Annotated[int, option("--max-limit", minimum=1, help="Limit.")] = 7,
):
    "Probes."
"""


def test_what_a_command_returns_is_the_exit_code(gamearchive: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    declared(monkeypatch, "    return 3")
    assert gamearchive("probe").code == 3


def test_a_bug_keeps_its_traceback(gamearchive: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    declared(monkeypatch, "    raise OSError('a bug')")
    with pytest.raises(OSError, match="a bug"):
        gamearchive("probe")


def test_a_commands_own_options_have_variables_too(gamearchive: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    declared(monkeypatch, "    context.output.text(f'{tag} {limit}')")
    assert gamearchive("probe", "--tag", "a", "--tag", "b").out == "['a', 'b'] 7\n"
    monkeypatch.setenv("GAMEARCHIVE_MAX_LIMIT", "9")
    assert gamearchive("probe").out == "[] 9\n"
    assert "GAMEARCHIVE_MAX_LIMIT" in gamearchive("probe", "--help").out
    monkeypatch.setenv("GAMEARCHIVE_MAX_LIMIT", "0")
    assert gamearchive("probe").code == 2


def test_a_commands_own_option_can_be_a_setting(gamearchive: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    declared(monkeypatch, "    context.set_flags(max_record='2KB'); context.output.text(str(context.settings.max_record))")
    assert gamearchive("probe").out == "2048\n"


def test_a_signal_lets_a_verb_finish_its_batch(gamearchive: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    body = """
    async def work():
        done = 0
        while not context.stopping.is_set():
            done += 1
            os.kill(os.getpid(), signal.{name})
        return done
    context.output.text(f"finished {{context.run(work(), finishes_batch=True)}}")
"""
    for name, code in (("SIGINT", 130), ("SIGTERM", 143)):
        handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
        declared(monkeypatch, body.format(name=name))
        ended = gamearchive("probe")
        assert (ended.code, ended.out) == (code, "finished 1\n")
        assert handlers == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))


def test_a_signal_ends_other_commands_there_and_then(gamearchive: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    body = """
    async def work():
        import asyncio
        try:
            os.kill(os.getpid(), signal.{name})
            await asyncio.sleep(60)
        finally:
            context.output.text("closed")
    context.run(work())
"""
    for name, code in (("SIGINT", 130), ("SIGTERM", 143)):
        declared(monkeypatch, body.format(name=name))
        ended = gamearchive("probe")
        assert (ended.code, ended.out) == (code, "closed\n")


def test_a_second_interrupt_leaves_at_once() -> None:
    code = """
import os, signal, sys
from gamearchive.cli.signals import finishing
with finishing(lambda number: print("asked", number, flush=True), lambda: print("restored", flush=True)):
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGTERM)
    print("going on", flush=True)
    os.kill(os.getpid(), signal.SIGINT)
    print("never", flush=True)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 130
    assert ended.stdout == "asked 2\ngoing on\nrestored\n"


def test_main_works_away_from_the_main_thread(gamearchive: Run) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as executor:
        assert executor.submit(gamearchive, "config", "check").result().code == 0


def test_it_runs_as_a_module_and_as_a_script(tmp_path: Path) -> None:
    module = process("--version")
    script = subprocess.run(
        [Path(sys.executable).with_name("gamearchive"), "--version"], capture_output=True, text=True, timeout=60, check=False
    )
    assert module.returncode == script.returncode == 0
    assert module.stdout == script.stdout
    assert process("bogus").returncode == 2


def test_a_reader_that_goes_away_is_no_error() -> None:
    for arguments in (["config", "show"], ["config", "show", "--json"]):
        reading, writing = os.pipe()
        os.close(reading)
        try:
            ended = process(*arguments, capture_output=False, stdout=writing, stderr=subprocess.PIPE)
        finally:
            os.close(writing)
        assert (ended.returncode, ended.stderr) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("arguments", [("config", "show"), ("config", "show", "--json"), ("--help",), ("--version",)])
def test_an_output_that_is_full_is_an_error(arguments: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        ended = process(*arguments, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert ended.returncode == 1
    assert "Standard output cannot be written: No space left on device." in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr


def test_streams_that_are_closed_are_an_error_or_none() -> None:
    command = [sys.executable, "-m", "gamearchive", "config", "show"]
    closed = subprocess.run(["sh", "-c", '"$@" >&-', "sh", *command], capture_output=True, text=True, timeout=60, check=False)
    assert closed.returncode == 1
    assert "Standard output is closed." in closed.stderr
    silent = subprocess.run(["sh", "-c", '"$@" 2>&-', "sh", *command], capture_output=True, timeout=60, check=False)
    assert silent.returncode == 0


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_help_imports_nothing_heavy(words: tuple[str, ...]) -> None:
    code = (
        f"import sys; from gamearchive.cli.app import main; main({[*words, '--help']!r}); print(*sys.modules, file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert not HEAVY & set(ended.stderr.split())


def test_a_command_imports_no_other_command() -> None:
    code = (
        "import sys; from gamearchive.cli.app import main; main(['config', 'show']);"
        "print(*(name for name in sys.modules if name.startswith('gamearchive.cli.commands.')), file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stderr.split() == ["gamearchive.cli.commands.config"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_imports_nothing_heavy(shell: str) -> None:
    code = "import sys; from gamearchive.cli.app import main; main([]); print(*sys.modules, file=sys.stderr)"
    environment = os.environ | {
        "_GAMEARCHIVE_COMPLETE": f"complete_{shell}",
        "_TYPER_COMPLETE_ARGS": "gamearchive config show --",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "COMP_WORDS": "gamearchive config show --",
        "COMP_CWORD": "3",
    }
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, env=environment
    )
    assert "--database" in ended.stdout
    assert not HEAVY & set(ended.stderr.split())


def test_no_private_name_of_typer_is_used() -> None:
    for file in Path(program.__file__).parent.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        assert "typer._" not in text
        assert "import click" not in text
    assert isinstance(program.make_app(), typer.Typer)
