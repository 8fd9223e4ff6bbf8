"""Games to measure with: made up, but of the size, variety and entropy of a game server's.

Four players at a table, some rounds of bids, turns and scores: about 4 KB of JSON, which Zstandard at level 3 with a
dictionary brings to about 17 %. The values hang together (scores add up, the winner has the most, times go on), a few players
play most of the games, bots fill the tables up, and one game in twelve is abandoned.

The same count and seed give the same games, byte for byte.
"""

from __future__ import annotations

import math
import random
from bisect import bisect
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple
from uuid import UUID

from gamearchive.units import SECOND, format_instant

MAX_PLAYERS = 30_000
"""So many people play, or a fifth as many as there are games."""

_FIRST_DAY = 1_740_787_200 * SECOND  # 2025-03-01
_SPAN = 90 * 86_400 * SECOND
_SEATS = ("north", "east", "south", "west")
_SUITS = ("clubs", "diamonds", "hearts", "spades")
_RANKS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "knave", "queen", "king", "ace")
_REGIONS = ("eu-west", "us-east", "ap-south", "sa-east")
_NAMES = (  # noqa: SIM905 - legible
    "Amber Arrow Birch Blaze Brook Cedar Cloud Comet Coral Crane Dusk Ember Fable Finch Flint Frost Glade Hazel Heron Indigo "
    "Iris Jade Juniper Kestrel Lark Linden Lotus Maple Marlin Meadow Mica Nova Oak Onyx Opal Otter Pearl Pike Quartz Raven "
    "Reed Robin Rowan Sage Slate Sparrow Storm Swift Teal Thistle Tiger Topaz Umber Vesper Violet Willow Wren Yarrow Zephyr "
    "Øyvind Łukasz José Zoë Мария 小明 さくら Çelik Ängla"
).split()


class Player(NamedTuple):
    """Someone who plays."""

    id: str
    name: str
    rating: int


_BOTS = (Player("bot-easy", "Bot (easy)", 1000), Player("bot-hard", "Bot (hard)", 1600))


class GameMaker:
    """Makes games one after another, in the order in which they were begun.

    What varies is drawn from tables of 256, by one random byte each: a game takes some 40 microseconds.

    Args:
        count: how many games there will be.
        seed: another seed gives other players and other games.
    """

    def __init__(self, count: int, seed: int) -> None:
        self._count = count
        self._chance = chance = random.Random(seed)  # noqa: S311 - nothing here is secret
        people = min(max(count // 5, 100), MAX_PLAYERS)
        self._people = [self._person(number) for number in range(people)]
        self._weights = list(accumulate(1 / (rank + 25) for rank in range(people)))  # Zipf's law, its head a little flattened
        self._turns = [self._turn() for _ in range(256)]
        self._pauses = [900 + round(math.exp(chance.gauss(8.7, 0.8))) for _ in range(256)]  # milliseconds, some of them long
        self._rounds = [self._outcome() for _ in range(256)]

    def __iter__(self) -> Iterator[bytes]:
        """All of them, each a line of JSON with its line end."""
        return map(self._game, range(self._count))

    def _game(self, number: int) -> bytes:
        drawn = iter(self._chance.randbytes(160))
        players = self._seats(_BOTS[: next(drawn) % 6 // 2])
        begun = _FIRST_DAY + _SPAN * number // self._count + self._chance.randrange(60 * SECOND)
        now = begun // 1000
        totals = [0] * 4
        rounds = []
        for played in range(1, 6 + next(drawn) % 3):
            bids, scores, points = self._rounds[next(drawn)]
            turns = []
            for _ in range(5 + next(drawn) % 4):
                now += self._pauses[next(drawn)]
                turns.append(f"{self._turns[next(drawn)]}{now}}}")
            rounds.append(f'{{"number":{played},"bids":{bids},"turns":[{",".join(turns)}],"scores":{scores}}}')
            totals = [total + gained for total, gained in zip(totals, points, strict=True)]
        abandoned = next(drawn) % 12 == 0
        winner = "null" if abandoned else f'"{players[totals.index(max(totals))][0]}"'
        seats = [
            f'{{"id":"{identity}","name":"{name}","rating":{rating},"score":{total}}}'
            for (identity, name, rating), total in zip(players, totals, strict=True)
        ]
        return (
            f'{{"id":"{self._uuid()}","region":"{_REGIONS[next(drawn) % 4]}",'
            f'"status":"{"abandoned" if abandoned else "completed"}",'
            f'"created_at":"{format_instant(begun)}","completed_at":"{format_instant(now * 1000)}",'
            f'"players":[{",".join(seats)}],"rounds":[{",".join(rounds)}],"winner":{winner}}}\n'
        ).encode()

    def _seats(self, bots: Sequence[Player]) -> list[Player]:
        """Four who play together, no one twice: people, and the bots that fill the table up."""
        chosen: set[int] = set()
        while len(chosen) < 4 - len(bots):
            chosen.add(bisect(self._weights, self._chance.random() * self._weights[-1]))
        return [*[self._people[person] for person in chosen], *bots]

    def _person(self, number: int) -> Player:
        name = "".join(self._chance.sample(_NAMES, 2))
        return Player(self._uuid(), f"{name}{number}", round(self._chance.gauss(1500, 200)))

    def _turn(self) -> str:
        """A turn up to its time."""
        suit = self._chance.choice(_SUITS)
        cards = ",".join(f'"{rank} of {suit}"' for rank in self._chance.sample(_RANKS, self._chance.choice((1, 1, 1, 1, 2, 2))))
        return f'{{"player":"{self._chance.choice(_SEATS)}","cards":[{cards}],"timestamp":'

    def _outcome(self) -> tuple[str, str, tuple[int, ...]]:
        """A round's bids and scores, and the scores as numbers."""
        bids = [self._chance.randrange(6) for _ in range(4)]
        points = tuple([bid + 5 if self._chance.random() < 0.4 else -self._chance.randrange(1, 4) for bid in bids])
        return f"[{','.join(map(str, bids))}]", f"[{','.join(map(str, points))}]", points

    def _uuid(self) -> str:
        return str(UUID(bytes=self._chance.randbytes(16), version=4))
