from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gamearchive.model import GameRecord, Rejection
from gamearchive.readers import ReadOptions, read_source

Outcome = tuple[list[GameRecord], list[Rejection]]
Read = Callable[..., Outcome]


def split(outcomes: list[GameRecord | Rejection]) -> Outcome:
    games = [outcome for outcome in outcomes if isinstance(outcome, GameRecord)]
    return games, [outcome for outcome in outcomes if isinstance(outcome, Rejection)]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Writes a file of that name and content, and reads it: the games, and the rejections."""

    def read(name: str, content: bytes, **options: object) -> Outcome:
        path = tmp_path / name
        path.write_bytes(content)
        return split(list(read_source(path, ReadOptions(**options))))  # type: ignore[arg-type]

    return read


@pytest.fixture(scope="session")
def data() -> Path:
    return Path(__file__).parents[1] / "data"
