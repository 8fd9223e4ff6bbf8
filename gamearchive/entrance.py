"""How games come into play when they are asked for or saved: if there is room, and out of the archive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from gamearchive.errors import CapacityError, GameArchiveError
from gamearchive.play import Play
from gamearchive.recall import Recall
from gamearchive.strategy import ArchivalStrategy

T = TypeVar("T")


class Entrance(Generic[T]):
    """Lets games in.

    Args:
        play: where to.
        strategy: brings archived games back.
        recall: reads them.
        unreadable: games that cannot be, each with why.
        waits: whether a new game waits for room.
        require_open: raises once nobody is let in any more.
    """

    def __init__(
        self,
        play: Play[T],
        strategy: ArchivalStrategy[T],
        recall: Recall,
        unreadable: dict[str, GameArchiveError],
        *,
        waits: bool,
        require_open: Callable[[], None],
    ) -> None:
        self._play = play
        self._strategy = strategy
        self._recall = recall
        self._unreadable = unreadable
        self._waits = waits
        self._require_open = require_open

    async def find_room(self, key: str) -> None:
        """Have room for a game, unless it is in play.

        Raises:
            CapacityError: if there is none, and it is not waited for.
        """
        while self._play.is_full and key not in self._play.games:
            if not self._waits:
                raise CapacityError(
                    f"There is no room for the game {key!r}: {len(self._play.games)} games are in memory.",
                    hint="Wait for the archive to take some, raise hard_limit, or see in `get_stats` what keeps it from that.",
                )
            self._play.room.clear()
            await self._play.room.wait()
            self._require_open()

    async def let_in(self, key: str, game: T) -> None:
        """Take a new game into play."""
        if key in self._unreadable:
            raise self._unreadable[key]
        await self.find_room(key)
        if key not in self._play.games:
            self._recall.forget(key)
            self._play.admit(key, game)

    async def fetch(self, key: str, *, finished_too: bool = False) -> T | None:
        """A game out of the archive, in play from then on, unless it is finished or there is no room; None if it is not there.

        Args:
            key: its id.
            finished_too: take it into play in any case.
        """
        self._require_open()
        if key in self._unreadable:
            raise self._unreadable[key]
        while True:
            if finished_too:
                await self.find_room(key)
            found = await self._recall.get(key)
            if key in self._play.games:  # it came into play while the archive was asked
                return self._play.games[key]
            if found is None or not (finished_too and self._play.is_full):
                break
        if found is None:
            return None
        entry, payload = found
        game = self._strategy.revive(payload, entry.content_type)
        if finished_too or not (self._strategy.is_finished(entry.facts) or self._play.is_full):
            self._recall.forget(key)
            self._play.admit(key, game, len(payload), returned=True)
        return game
