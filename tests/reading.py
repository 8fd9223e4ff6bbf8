"""What a test gets from reading a source: the games, and the rejections."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gamearchive.model import GameRecord, Rejection

Outcome = tuple[list[GameRecord], list[Rejection]]
Read = Callable[..., Outcome]
"""Writes a file of some name and content, and reads it: the fixture `read` of tests/readers."""


def split(outcomes: Iterable[GameRecord | Rejection]) -> Outcome:
    games, rejections = [], []
    for outcome in outcomes:
        if isinstance(outcome, GameRecord):
            games.append(outcome)
        else:
            rejections.append(outcome)
    return games, rejections


@contextmanager
def folders_within(top: Path, depth: int) -> Iterator[None]:
    """Clear away so many folders named ``d``, one within the other, afterwards: nobody else could."""
    before = Path.cwd()
    try:
        yield
    finally:
        os.chdir(top)
        for _ in range(depth):
            os.chdir("d")
        for _ in range(depth):
            for path in Path().iterdir():
                path.unlink() if path.is_file() else path.rmdir()
            os.chdir("..")
        Path("d").rmdir()
        os.chdir(before)
