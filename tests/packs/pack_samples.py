"""Games, and packs of them, for the tests of packs: made here, always the same."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Sequence
from functools import cache

from gamearchive.model import (
    JSON,
    OPAQUE,
    ArchivalPriority,
    ArchivalTrigger,
    ArchiveEntry,
    Facts,
    Place,
    Player,
    Provenance,
    checksum,
)
from gamearchive.packs.dictionary import Dictionary, train
from gamearchive.packs.format import Pack, PackReader, build_pack

MAX_RECORD_BYTES = 64 << 20
ARCHIVED_AT = 1_748_736_000_000_000  # 2025-06-01
PIECES = ["general", "advisor", "elephant", "chariot", "horse", "cannon", "soldier"]


def make_games(count: int, seed: int = 1) -> list[bytes]:
    """Some JSON games of four players, of about 900 bytes each."""
    random_ = random.Random(seed)
    people = [(str(uuid.UUID(int=random_.getrandbits(128), version=4)), f"Spieler Łukasz {number}") for number in range(50)]
    games = []
    for _ in range(count):
        seats = random_.sample(people, 4)
        turns = [
            {"player": random_.randrange(4), "piece": random_.choice(PIECES), "points": random_.randrange(1, 15)}
            for _ in range(16)
        ]
        game = {
            "id": str(uuid.UUID(int=random_.getrandbits(128), version=4)),
            "players": [{"id": identifier, "name": name} for identifier, name in seats],
            "turns": turns,
            "winner": seats[random_.randrange(4)][0],
            "status": "completed",
            "completed_at": ARCHIVED_AT - random_.randrange(10**12),
        }
        games.append(json.dumps(game, ensure_ascii=False).encode())
    return games


def entry_of(payload: bytes, entity_id: str = "game-1", **fields: object) -> ArchiveEntry:
    """What is known of a payload; by default little."""
    values: dict[str, object] = {
        "entity_type": "game",
        "entity_id": entity_id,
        "revision": 1,
        "content_type": JSON,
        "facts": Facts(),
        "provenance": Provenance(ARCHIVED_AT),
        "raw_bytes": len(payload),
        "stored_bytes": 0,
        "checksum": checksum(payload),
        "place": Place(""),
    }
    return ArchiveEntry(**(values | fields))  # type: ignore[arg-type]


def entries_of_games(games: Sequence[bytes]) -> list[ArchiveEntry]:
    """What a reader would find in games that `make_games` made."""
    entries = []
    for number, payload in enumerate(games):
        game = json.loads(payload)
        players = tuple(Player(seat["id"], seat["name"]) for seat in game["players"])
        winner = next(player for player in players if player.id == game["winner"])
        completed_at = game["completed_at"]
        facts = Facts(players, winner, game["status"], completed_at - 900_000_000, completed_at)
        provenance = Provenance(
            ARCHIVED_AT + number // 3,
            ArchivalTrigger.GAME_COMPLETED,
            ArchivalPriority(number % 4),
            "default@3" if number % 2 else None,
            (("region", "eu"), ("season", str(number % 3))),
        )
        entries.append(entry_of(payload, game["id"], facts=facts, provenance=provenance, revision=1 + number % 5))
    return entries


def binary_entries(payloads: Sequence[bytes]) -> list[ArchiveEntry]:
    """What is known of opaque games."""
    return [
        entry_of(payload, f"replay [{number}].rep", content_type=OPAQUE, entity_type="replay")
        for number, payload in enumerate(payloads)
    ]


@cache
def small_dictionary() -> Dictionary:
    """A dictionary of some KiB, trained on games of the same kind."""
    dictionary = train("game", make_games(300, seed=2), size=8192)
    assert dictionary is not None
    return dictionary


@cache
def small_pack(*, dense: bool = False) -> tuple[Pack, list[bytes]]:
    """A pack of a few games with the small dictionary, and their payloads."""
    games = make_games(6)
    four = sum(len(game) + 1 for game in games[:4])
    pack = build_pack(entries_of_games(games), games, dictionary=small_dictionary(), block_bytes=four if dense else 0)
    return pack, games


def open_bytes(key: str, data: bytes, max_record_bytes: int = MAX_RECORD_BYTES) -> PackReader:
    """A reader of a pack that is in memory."""
    return PackReader(key, len(data), lambda offset, length: data[offset : offset + length], max_record_bytes=max_record_bytes)
