"""Entries for catalogs, and processes that add them."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from random import Random

from gamearchive.accession import OvertakenError, PackRow
from gamearchive.catalog import Catalog
from gamearchive.database.engine import Database
from gamearchive.model import (
    JSON,
    ArchivalPriority,
    ArchivalTrigger,
    ArchiveEntry,
    EntityKey,
    Facts,
    Place,
    Player,
    Provenance,
    checksum,
)
from gamearchive.units import SECOND

NOW = 1_750_000_000 * SECOND


def sent(at: int = NOW, **tags: str) -> Provenance:
    """How a game came in, at an instant and with tags."""
    return Provenance(at, tags=tuple(sorted(tags.items())))


def entry(
    entity_id: str,
    *,
    entity_type: str = "game",
    revision: int = 1,
    facts: Facts | None = None,
    provenance: Provenance | None = None,
    place: Place | None = None,
    content_type: str = JSON,
) -> ArchiveEntry:
    """An entry of which a test says only what matters to it."""
    payload = f"{entity_type}/{entity_id}/{revision}".encode()
    where = place or Place(f"{entity_type}/{uuid.uuid4().hex}.zst", 0, 700)
    return ArchiveEntry(
        entity_type,
        entity_id,
        revision,
        content_type,
        facts or Facts(),
        provenance or sent(),
        len(payload),
        700,
        checksum(payload),
        where,
    )


def packs_of(entries: Iterable[ArchiveEntry]) -> list[PackRow]:
    """The packs that entries lie in."""
    return [PackRow(key, 1_000) for key in dict.fromkeys(entry.place.pack for entry in entries)]


def add(catalog: Catalog, *entries: ArchiveEntry) -> None:
    """Add entries together with their packs."""
    catalog.add(entries, packs_of(entries))


def packed(key: str, *entries: ArchiveEntry) -> list[ArchiveEntry]:
    """The same entries, one behind another in a pack."""
    return [
        ArchiveEntry(
            e.entity_type, e.entity_id, e.revision, e.content_type, e.facts, e.provenance, e.raw_bytes, 700, e.checksum,
            Place(key, number * 700, 700),
        )
        for number, e in enumerate(entries)
    ]  # fmt: skip


PEOPLE = (
    *[Player(str(uuid.UUID(int=number)), f"Player {number}") for number in range(30)],
    *[Player(f"id-{number}") for number in range(10)],
    *[Player(name=f"Name {number}") for number in range(10)],
    Player("first", "Twin"),
    Player("second", "Twin"),
    Player("Twin"),
    Player("Zoë 🎲", "שלום"),
)
STATUSES = (None, "completed", "completed", "completed", "abandoned", "1-0")
TYPES = ("game", "game", "game", "chess", "puzzle")
TAGS = ((), (), (("season", "1"),), (("season", "2"),), (("ranked", "yes"), ("season", "2")))


def random_entries(random: Random, games: int, *, until: int = NOW, batches: int = 20) -> list[list[ArchiveEntry]]:
    """Games of many kinds, as they may be added one batch after another; about every tenth has two revisions or more."""
    revisions: defaultdict[EntityKey, int] = defaultdict(int)
    spoken_for: list[EntityKey] = []
    out = []
    for number in range(batches):
        at = until - (batches - number) * 3600 * SECOND
        ways = [
            Provenance(
                at + random.randrange(60) * SECOND,
                random.choice(list(ArchivalTrigger)),
                random.choice(list(ArchivalPriority)),
                random.choice((None, "default@1")),
                random.choice(TAGS),
            )
            for _ in range(3)
        ]
        batch = []
        for _ in range(games // batches):
            if spoken_for and random.random() < 0.1:
                key = random.choice(spoken_for)
            else:
                key = EntityKey(
                    random.choice(TYPES), random.choice((str(uuid.UUID(int=random.getrandbits(128))), _word(random)))
                )
            spoken_for.append(key)
            revisions[key] += 1
            made = entry(
                key.entity_id,
                entity_type=key.entity_type,
                revision=revisions[key],
                facts=random_facts(random),
                provenance=random.choice(ways),
            )
            batch.append(made)
        out.append(packed(f"pack-{random.getrandbits(64):016x}.zst", *batch))
    return out


def random_facts(random: Random) -> Facts:
    """Facts with every field known or unknown, and instants that are often the same, or in the same second."""
    players = tuple(random.choice(PEOPLE) for _ in range(random.choice((0, 1, 2, 2, 4))))
    created = random.choice(
        (None, -3_550_000_000 * SECOND, NOW, NOW + 1, NOW + random.randrange(-50_000, 50_000) * SECOND // 3)
    )
    completed = random.choice((None, -1, 0, 999_999, NOW - SECOND, NOW + random.randrange(-100_000, 100_000) * SECOND // 2))
    return Facts(players, random.choice((None, *players, PEOPLE[0])), random.choice(STATUSES), created, completed)


def _word(random: Random) -> str:
    return "".join(random.choice("abc/%_é \t") for _ in range(random.randrange(1, 12))) + str(random.getrandbits(40))


def add_as_another_process(url: str, ids: Sequence[str], at_a_time: int) -> None:
    """Add the next revision of these games, some at a time; what another process takes first is numbered again."""
    database = Database(url)
    database.create()
    catalog = Catalog(database)
    for start in range(0, len(ids), at_a_time):
        keys = [EntityKey("game", entity_id) for entity_id in ids[start : start + at_a_time]]
        while True:
            known = catalog.known(keys).games
            made = [entry(key.entity_id, revision=known[key].revision + 1 if key in known else 1) for key in keys]
            try:
                catalog.add(made, packs_of(made))
            except OvertakenError:
                continue
            break
    database.close()
