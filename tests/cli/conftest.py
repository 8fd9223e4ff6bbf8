"""A command line to run in this process, away from the settings of whoever runs the tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from running import Ended, Run

from gamearchive.cli.app import main


@pytest.fixture(autouse=True)
def _own_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("GAMEARCHIVE_", "XDG_")) or name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def gamearchive(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs ``gamearchive ARGUMENTS...`` and gives its exit code and what it printed."""

    def run(*arguments: str) -> Ended:
        capsys.readouterr()
        code = main(arguments)
        return Ended(code, *capsys.readouterr())

    return run
