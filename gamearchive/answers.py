"""Answers to those who wait for a game to be archived."""

from __future__ import annotations

import asyncio


class Answers:
    """What is still to be answered, by game."""

    def __init__(self) -> None:
        self._wanted: dict[str, list[asyncio.Future[bool]]] = {}

    def want(self, key: str) -> asyncio.Future[bool]:
        """What tells whether a game was archived, or stays for some reason."""
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._wanted.setdefault(key, []).append(answer)
        return answer

    def give(self, key: str, error: Exception | None = None, *, archived: bool = True) -> None:
        """Answer all who wait for a game."""
        for answer in self._wanted.pop(key, ()):
            if answer.done():
                continue
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(archived)
