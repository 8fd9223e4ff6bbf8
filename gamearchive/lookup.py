"""Games in play by what is in them: looked for among all of them, in slices, so that nothing need be kept for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Generic, TypeVar

from gamearchive.pace import Pace
from gamearchive.play import Play
from gamearchive.strategy import ArchivalStrategy

T = TypeVar("T")


class Lookup(Generic[T]):
    """Finds games in play.

    Args:
        play: the games.
        strategy: knows their rooms and players.
    """

    def __init__(self, play: Play[T], strategy: ArchivalStrategy[T]) -> None:
        self._play = play
        self._strategy = strategy

    async def in_room(self, room_id: str) -> T | None:
        """The game in a room; of several, one that is not finished."""
        found = [game async for game in self._each() if self._strategy.room_of(game) == room_id]
        return next((game for game in found if not self._play.is_finished(game)), found[0] if found else None)

    async def of_player(self, player_id: str) -> list[T]:
        """The games that a player takes part in, known by id or by name."""
        return [
            game
            async for game in self._each()
            if any(player_id in (player.id, player.name) for player in self._strategy.record(game).facts.players)
        ]

    async def unfinished(self) -> list[T]:
        """The games that are not finished."""
        return [game async for game in self._each() if not self._play.is_finished(game)]

    async def _each(self) -> AsyncIterator[T]:
        games = self._play.games
        keys = [*games]
        pace = Pace(len(keys))
        for done, key in enumerate(keys):
            await pace.rest(done)
            game = games.get(key)
            if game is not None:
                yield game
