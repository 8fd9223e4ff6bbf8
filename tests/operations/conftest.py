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
