"""Games in several parts: whatever happens to a copy, the game comes back, and the copy is put right on the spot."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from archiving import flip
from composites import Composite

from gamearchive.backends.base import GameBytes
from gamearchive.backends.composite import CompositeArchiveBackend
from gamearchive.backends.packed import FileSystemArchiveBackend, PackArchiveBackend
from gamearchive.errors import ConfigurationError, IntegrityError, StorageUnavailableError

GAMES = [GameBytes(f"g-{number}", "game", b'{"id":"g-%d","moves":"e4 e5"}' % number) for number in range(3)]


def run(backend: PackArchiveBackend, *locations: str) -> list[bytes]:
    async def steps() -> list[bytes]:
        return [await backend.retrieve(location) for location in locations]

    return asyncio.run(steps())


def filled(parts: Composite) -> tuple[PackArchiveBackend, list[str], str]:
    """A backend with games in it, their locations, and their pack."""
    backend = PackArchiveBackend(parts.holdings)
    locations = asyncio.run(backend.archive_many(GAMES))
    [pack] = [key for key in parts.keys("a") if key.endswith(".zst")]
    return backend, locations, pack


def test_a_flipped_copy_is_read_from_another_part_and_put_right(tmp_path: Path) -> None:
    parts = Composite(tmp_path, write_quorum=2)
    backend, locations, pack = filled(parts)
    whole = parts.path("a", pack).read_bytes()
    flip(parts.path("a", pack), 40)
    assert run(backend, *locations) == [game.data for game in GAMES]
    assert parts.path("a", pack).read_bytes() == parts.path("b", pack).read_bytes() == whole


def test_a_missing_or_cut_off_copy_likewise(tmp_path: Path) -> None:
    parts = Composite(tmp_path, write_quorum=2)
    backend, locations, pack = filled(parts)
    whole = parts.path("a", pack).read_bytes()
    for harm in (Path.unlink, lambda path: path.write_bytes(whole[:20])):
        harm(parts.path("a", pack))
        assert run(backend, locations[2]) == [GAMES[2].data]
        assert parts.path("a", pack).read_bytes() == whole


def test_a_game_that_no_part_has_good_is_damaged(tmp_path: Path) -> None:
    parts = Composite(tmp_path, write_quorum=2)
    backend, locations, pack = filled(parts)
    for name in "ab":
        flip(parts.path(name, pack), 40)
    with pytest.raises(IntegrityError):
        run(backend, *locations)


def test_nothing_is_left_of_a_pack_that_does_not_count(tmp_path: Path) -> None:
    parts = Composite(tmp_path, write_quorum=2)
    backend = PackArchiveBackend(parts.holdings)
    parts.switches["b"].on = False
    with pytest.raises(StorageUnavailableError, match="Fewer than 2 of the 2 parts"):
        asyncio.run(backend.archive_many(GAMES))
    assert parts.keys("a") == []
    parts.switches["b"].on = True
    assert len(asyncio.run(backend.archive_many(GAMES))) == 3


def test_backends_and_urls_make_tiers(tmp_path: Path) -> None:
    hot, cold = FileSystemArchiveBackend(tmp_path / "hot"), (tmp_path / "cold").as_uri()
    backend = CompositeArchiveBackend({"hot": [hot], "cold": [cold]})
    location = asyncio.run(backend.archive("g", "game", b"bytes"))
    assert run(hot, location) == [b"bytes"]
    assert not list((tmp_path / "cold").rglob("*.zst"))
    asyncio.run(backend.close())


@pytest.mark.parametrize(("parts", "quorum"), [([], 1), (["memory:"], 2), (["memory:"], 0)])
def test_what_cannot_be_put_together(parts: list[str], quorum: int) -> None:
    with pytest.raises(ConfigurationError):
        CompositeArchiveBackend(parts, write_quorum=quorum)
