from __future__ import annotations

from pathlib import Path

import pytest
from reading import Outcome, Read, split

from gamearchive.readers import ReadOptions, read_source


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Writes a file of that name and content, and reads it."""

    def read(name: str, content: bytes, **options: object) -> Outcome:
        path = tmp_path / name
        path.write_bytes(content)
        return split(read_source(path, ReadOptions(**options)))  # type: ignore[arg-type]

    return read


@pytest.fixture(scope="session")
def data() -> Path:
    return Path(__file__).parents[1] / "data"
