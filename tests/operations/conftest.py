"""An archive in a folder, for each test its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from archiving import Home

from gamearchive.archive import Archive


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path / "home")
    yield home
    home.close()


@pytest.fixture
def archive(home: Home) -> Archive:
    return home.open()


@pytest.fixture
def either_home(database_url: str, tmp_path: Path) -> Iterator[Home]:
    """An archive in a folder whose catalog is on each engine in turn."""
    home = Home(tmp_path / "home", database_url)
    yield home
    home.close()
