"""What a daemon does for a storage in several parts."""

from __future__ import annotations

import pytest
from daemons import Place, until


def compose(place: Place, *lines: str, move_after: str = "0s") -> None:
    """Settings of two replicas and a cold tier, and more lines."""
    base = place.packs.parent / "parts"
    parts = [f"[[composite.part]]\nname = '{name}'\nurl = '{(base / name).as_uri()}'" for name in "abc"]
    said = ["[composite]", *parts, "tier = 'cold'", f"move_after = '{move_after}'", *lines, ""]
    place.file.write_text(place.file.read_text() + "\n".join(said))


def packs(place: Place, part: str) -> list[str]:
    root = place.packs.parent / "parts" / part
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*.zst"))


@pytest.mark.only("sqlite", "it is about storages")
def test_a_worker_archives_into_all_parts_and_makes_good_what_one_did_not_get(place: Place) -> None:
    compose(place, move_after="1d")
    place.enqueue_games(10)
    with place.process() as daemon:
        daemon.wait_for("batch")
    [pack] = packs(place, "a")
    assert packs(place, "b") == [pack]
    folder = place.packs.parent / "parts"
    (folder / "b").rename(folder / "away")
    place.enqueue_games(20)
    with place.process() as daemon:
        daemon.wait_for("batch")
    assert (len(packs(place, "a")), (folder / "b").exists()) == (2, False)
    (folder / "away").rename(folder / "b")
    with place.process() as daemon:
        done = daemon.wait_for("duty")
    assert (done["duty"], done["repaired"]) == ("resync", 1)
    assert packs(place, "a") == packs(place, "b")


@pytest.mark.only("sqlite", "it is about storages")
def test_packs_move_and_parts_are_compared_when_the_schedule_says_so(place: Place) -> None:
    compose(place, "[schedule]", "tier = 'every 1s'", "resync = 'every 1s'")
    place.enqueue_games(10)
    with place.process() as daemon:
        until(lambda: packs(place, "c") and not packs(place, "a") and not packs(place, "b"))
    assert len(packs(place, "c")) == 1
    (place.packs.parent / "parts" / "a" / "game" / "what.txt").write_bytes(b"is this")
    with place.process() as daemon:
        damage = daemon.wait_for("damage")
    assert (damage["finding"], damage["object"]) == ("extra", "game/what.txt")
