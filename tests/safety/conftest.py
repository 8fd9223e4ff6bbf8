"""A command line to run in this process, away from the user's settings, and processes that fork others to be killed."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import killing
import pytest
from running import Run, leave_user, runner


@pytest.fixture(autouse=True)
def _own_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    leave_user(monkeypatch, tmp_path)


@pytest.fixture
def gamearchive(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs ``gamearchive ARGUMENTS...`` and gives its exit code and what it printed."""
    return runner(capsys)


@pytest.fixture(scope="session")
def workers() -> Iterator[ProcessPoolExecutor]:
    """See `killing.workers`."""
    with killing.workers() as executor:
        yield executor
