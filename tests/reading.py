"""What a test gets from reading a source: the games, and the rejections."""

from __future__ import annotations

from collections.abc import Callable, Iterable

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
