"""A command line to run in this process, away from the settings of whoever runs the tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from running import Run, leave_user, runner


@pytest.fixture(autouse=True)
def _own_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    leave_user(monkeypatch, tmp_path)


@pytest.fixture
def gamearchive(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs ``gamearchive ARGUMENTS...`` and gives its exit code and what it printed."""
    return runner(capsys)
