"""Games that somebody works on: one after another, and not to be touched meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class _Desk:
    """Where somebody works on a game, and others wait for it."""

    __slots__ = ("is_taken", "lock", "users")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.is_taken = False
        self.users = 0


class Busy:
    """The games that are being worked on, by id."""

    def __init__(self) -> None:
        self._desks: dict[str, _Desk] = {}
        self._nobody = asyncio.Event()

    def __len__(self) -> int:
        return len(self._desks)

    def __contains__(self, key: object) -> bool:
        """Whether a game is being worked on, or about to be."""
        return key in self._desks

    def is_taken(self, key: str) -> bool:
        """Whether a game is being worked on right now, and so may be half changed."""
        desk = self._desks.get(key)
        return desk is not None and desk.is_taken

    @asynccontextmanager
    async def alone_with(self, key: str) -> AsyncIterator[_Desk]:
        """Have a game to oneself, once those who came before are done."""
        desk = self._desks.setdefault(key, _Desk())
        desk.users += 1
        try:
            async with desk.lock:
                yield desk
        finally:
            desk.users -= 1
            if not desk.users:
                del self._desks[key]
                if not self._desks:
                    self._nobody.set()

    async def wait_for_all(self) -> None:
        """Wait until nobody works on any game."""
        while self._desks:
            self._nobody.clear()
            await self._nobody.wait()
