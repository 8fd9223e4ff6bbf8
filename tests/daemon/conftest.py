"""Archives with a queue, for daemons to work on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from daemons import Place
from running import leave_user


@pytest.fixture(autouse=True)
def _own_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    leave_user(monkeypatch, tmp_path)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """An archive on SQLite, whose jobs are tried again at once."""
    made = Place(tmp_path / "home", settings="[worker]\nmax_retries = 2\nretry_delay = '0s'\n")
    yield made
    made.close()


@pytest.fixture
def any_place(tmp_path: Path, database_url: str) -> Iterator[Place]:
    """The same on each engine in turn."""
    made = Place(tmp_path / "home", database_url, settings="[worker]\nmax_retries = 2\nretry_delay = '0s'\n")
    yield made
    made.close()
