"""Command lines that tests run, in this process or in one of their own, and how they have ended."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import pytest

from gamearchive.cli.app import main


class Ended(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Ended]
"""Runs ``gamearchive ARGUMENTS...`` in this process: the fixture `gamearchive` of tests/cli and tests/safety."""


def leave_user(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Go into a folder, and away from the settings of whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith(("GAMEARCHIVE_", "XDG_")) or name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(folder / "user"))
    monkeypatch.chdir(folder)


def runner(capsys: pytest.CaptureFixture[str]) -> Run:
    """What runs a command line in this process and gives its exit code and what it printed."""

    def run(*arguments: str) -> Ended:
        capsys.readouterr()
        code = main(arguments)
        return Ended(code, *capsys.readouterr())

    return run


def run(*arguments: str) -> Ended:
    """Run a command line in this process, where no test's `runner` is at hand; it must not print payloads."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(arguments)
    return Ended(code, out.getvalue(), err.getvalue())


def process(*arguments: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run a command line in a process of its own."""
    command = [sys.executable, "-m", "gamearchive", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=120, check=False)
