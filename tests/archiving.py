"""Archives in a folder, for the tests of all that works on one, and the games to put into them."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator
from pathlib import Path

from gamearchive.archive import Archive
from gamearchive.backends.base import Holdings
from gamearchive.backends.packed import PackHoldings
from gamearchive.catalog import Catalog
from gamearchive.clock import Clock, ManualClock
from gamearchive.database.engine import Database
from gamearchive.model import JSON, OPAQUE, ArchiveEntry, Facts, GameRecord, Player, Tags
from gamearchive.operations.verify import Checked, Found
from gamearchive.query import ArchiveQuery
from gamearchive.stores.base import Store
from gamearchive.stores.filesystem import FileSystemStore

EVERYTHING = ArchiveQuery(limit=0, all_revisions=True, ascending=True)
NOISE = random.Random(7)


class Home:
    """An archive in a folder, opened as often as a test likes: each time as another process would."""

    def __init__(self, folder: Path, url: str | None = None) -> None:
        self.folder = folder
        self.packs_folder = folder / "packs"
        self.url = url or f"sqlite:///{folder / 'gamearchive.db'}"
        self.clock = ManualClock()
        self._databases: list[Database] = []
        self.database = self._open_database()
        self.database.create()

    def open(self, *, store: Store | None = None, holdings: Holdings | None = None, clock: Clock | None = None) -> Archive:
        holdings = holdings or PackHoldings(store or self.store)
        return Archive(Catalog(self._open_database()), holdings, clock or self.clock)

    def _open_database(self) -> Database:
        self._databases.append(Database(self.url))
        return self._databases[-1]

    @property
    def store(self) -> Store:
        return FileSystemStore(self.packs_folder)

    @property
    def packs(self) -> list[Path]:
        return sorted(self.packs_folder.rglob("*.zst"))

    def path(self, key: str) -> Path:
        return self.packs_folder / key

    def key(self, path: Path) -> str:
        return path.relative_to(self.packs_folder).as_posix()

    def close(self) -> None:
        for database in self._databases:
            database.close()


def listed(archive: Archive) -> list[ArchiveEntry]:
    """Every revision of every game, in the order of archiving."""
    return list(archive.catalog.every(EVERYTHING))


def found_by(steps: Iterable[Checked]) -> list[Found]:
    """All that a verification found."""
    return [found for step in steps for found in step.found]


def flip(path: Path, position: int, bit: int = 0) -> None:
    """Change one bit of a file."""
    data = bytearray(path.read_bytes())
    data[position] ^= 1 << bit
    path.write_bytes(data)


def game(number: int, *, entity_type: str = "game", tags: Tags = (), moves: int = 12, status: str = "completed") -> GameRecord:
    """A JSON game of two players, the same for the same number."""
    chance = random.Random(number)
    names = chance.sample(["Ada", "Łukasz", "Bea", "Çem", "Dan", "Eve"], 2)
    played = [
        {"player": names[turn % 2], "card": chance.randrange(52), "points": chance.randrange(10)} for turn in range(moves)
    ]
    document = {"id": f"g-{number}", "players": names, "winner": names[0], "status": status, "moves": played}
    payload = json.dumps(document, ensure_ascii=False).encode()
    players = tuple([Player(name=name) for name in names])
    facts = Facts(players, players[0], status, None, 1_700_000_000_000_000 + number * 1_000_000)
    return GameRecord(entity_type, f"g-{number}", payload, JSON, facts, tags)


def games(count: int, first: int = 0) -> list[GameRecord]:
    return [game(number) for number in range(first, first + count)]


def plain(entity_id: str, payload: bytes, *, entity_type: str = "game", content_type: str = JSON) -> GameRecord:
    """A game of which nothing but the bytes is known."""
    return GameRecord(entity_type, entity_id, payload, content_type)


def noise(count: int) -> Iterator[GameRecord]:
    """Opaque games in which there is nothing to learn."""
    return (
        plain(f"noise-{number}", NOISE.randbytes(400), entity_type="replay", content_type=OPAQUE) for number in range(count)
    )
