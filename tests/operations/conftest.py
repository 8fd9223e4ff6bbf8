"""An archive in a folder, for each test its own, with its catalog on each engine in turn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from archiving import Home
from databases import Databases

from gamearchive.archive import Archive


@pytest.fixture
def home(databases: Databases, tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path / "home", databases.of(tmp_path / "home"))
    yield home
    home.close()


@pytest.fixture
def archive(home: Home) -> Archive:
    return home.open()
