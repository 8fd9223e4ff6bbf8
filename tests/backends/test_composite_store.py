"""Several stores as one: what is written to all of them is read from any, and a part that fails holds up nobody."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

import pytest
from composites import Composite

from gamearchive.backends.composite_store import CompositeStore, note_of
from gamearchive.backends.mending import Mender
from gamearchive.backends.parts import Part
from gamearchive.clock import ManualClock, SystemClock
from gamearchive.errors import IntegrityError, NotFoundError, RefusedError, StorageUnavailableError
from gamearchive.stores.filesystem import FileSystemStore
from gamearchive.testing import StoreTests


class TestCompositeStore(StoreTests):
    def open(self, folder):
        parts = [Part(name, "hot", FileSystemStore(folder / name), SystemClock()) for name in ("a", "b")]
        return CompositeStore(parts, 2)

    def peek(self, store, key):
        paths = [part.store._root / key for part in store.parts]
        found = [path.read_bytes() if path.is_file() else None for path in paths]
        assert found[0] == found[1]
        return found[0]

    def plant(self, store, key, data):
        for part in store.parts:
            path = part.store._root / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def pack(data: bytes, day: str = "2026/11/23") -> str:
    """What a pack of these bytes is called."""
    return f"game/{day}/{blake2b(data, digest_size=16).hexdigest()}.zst"


DATA = b"whatever a pack holds"
KEY = pack(DATA)


@pytest.fixture
def pair(tmp_path: Path) -> Composite:
    return Composite(tmp_path)


def test_what_one_part_does_not_get_is_noted_in_the_other_and_made_good(pair: Composite) -> None:
    pair.switches["b"].on = False
    pair.store.put(KEY, DATA)
    assert pair.keys("a") == [f"_owed/b/{KEY}.owed", KEY]
    assert pair.store.notes() == {"b": [KEY]}
    assert Mender(pair.store).pay() == 0
    pair.switches["b"].on = True
    assert Mender(pair.store).pay() == 1
    assert pair.keys("a") == pair.keys("b") == [KEY]
    assert pair.store.notes() == {}


def test_with_fewer_parts_than_the_quorum_nothing_counts(tmp_path: Path) -> None:
    three = Composite(tmp_path, {"hot": "a b c"}, write_quorum=2)
    three.switches["a"].on = False
    three.store.put(KEY, DATA)
    three.switches["b"].on = False
    with pytest.raises(StorageUnavailableError, match=r"Fewer than 2 of the 3 parts of tier 'hot' take it .*switched off"):
        three.store.put("game/other.zst", DATA)
    assert three.store.get(KEY) == DATA


def test_a_part_that_fails_is_passed_over_and_left_alone_until_it_is_well(tmp_path: Path) -> None:
    clock = ManualClock()
    pair = Composite(tmp_path, clock=clock)
    pair.store.put(KEY, DATA)
    a, b = pair.switches["a"], pair.switches["b"]
    a.on = False
    assert pair.store.get(KEY) == DATA
    before = a.reads
    assert [pair.store.get(KEY) for _ in range(5)] == [DATA] * 5
    assert a.reads == before
    a.on = True
    assert pair.store.order()[0].name == "b"
    clock.turn(5)
    b.on = False  # then whoever is not well is better than nobody
    assert pair.store.get(KEY) == DATA
    assert pair.store.order()[0].name == "a"


def test_an_absent_object_is_told_from_one_that_nobody_can_ask_for(pair: Composite) -> None:
    with pytest.raises(NotFoundError):
        pair.store.get(KEY)
    pair.switches["b"].on = False
    with pytest.raises(StorageUnavailableError):
        pair.store.get(KEY)
    with pytest.raises(StorageUnavailableError):
        pair.store.size(KEY)


def test_nothing_is_deleted_while_a_part_cannot_be_reached(pair: Composite) -> None:
    pair.store.put(KEY, DATA)
    pair.switches["b"].on = False
    with pytest.raises(StorageUnavailableError):
        pair.store.delete(KEY)
    assert pair.keys("a") == [KEY]
    pair.switches["b"].on = True
    assert pair.store.delete(KEY)
    assert pair.keys("a") == pair.keys("b") == []


def test_a_listing_does_without_fewer_parts_than_the_quorum(tmp_path: Path) -> None:
    three = Composite(tmp_path, {"hot": "a b c"}, write_quorum=2)
    three.switches["a"].on = False
    three.store.put(KEY, DATA)
    assert [each.key for each in three.store.list()] == [KEY]
    three.switches["b"].on = False
    with pytest.raises(StorageUnavailableError, match="Not all parts can be listed"):
        next(three.store.list())


def test_wrong_and_missing_copies_are_found_and_put_right_and_those_alone(tmp_path: Path) -> None:
    three = Composite(tmp_path, {"hot": "a b c"})
    packs = {pack(data): data for data in (b"one", b"two", b"three")}
    for key, data in packs.items():
        three.store.put(key, data)
    flipped, lost, _ = packs
    three.path("b", flipped).write_bytes(b"onE")
    three.path("c", lost).unlink()
    stats = {part: three.path(part, key).stat().st_mtime_ns for part in "ac" for key in [flipped]}
    mender = Mender(three.store)
    found = [bad for copies in three.store.survey() for bad in mender.examine(copies, full=True)]
    assert {(bad.part, bad.key, bad.fault.value) for bad in found} == {("b", flipped, "damaged"), ("c", lost, "missing")}
    assert (mender.mend(flipped), mender.mend(lost)) == (["b"], ["c"])
    assert all(three.path(part, key).read_bytes() == data for part in "abc" for key, data in packs.items())
    assert stats == {part: three.path(part, key).stat().st_mtime_ns for part in "ac" for key in [flipped]}
    assert [bad for copies in three.store.survey() for bad in mender.examine(copies, full=True)] == []


def test_where_no_copy_is_good_none_is_put_over_another(pair: Composite) -> None:
    pair.store.put(KEY, DATA)
    for part in "ab":
        pair.path(part, KEY).write_bytes(b"whatever a pack hole" + part.encode())
    mender = Mender(pair.store)
    [copies] = pair.store.survey()
    assert {(bad.part, bad.mendable) for bad in mender.examine(copies, full=True)} == {("a", False), ("b", False)}
    assert mender.mend(KEY) == []
    with pytest.raises(IntegrityError):
        mender.move(KEY, "hot")


def test_copies_of_different_lengths_are_found_without_reading_all(pair: Composite) -> None:
    pair.store.put(KEY, DATA)
    pair.path("a", KEY).write_bytes(DATA[:-1])
    [copies] = pair.store.survey()
    assert [(bad.part, bad.fault.value) for bad in Mender(pair.store).examine(copies)] == [("a", "damaged")]
    assert [each.size for each in pair.store.list()] == [len(DATA)]


def test_a_part_without_the_mark_gets_nothing_until_it_is_adopted(pair: Composite) -> None:
    pair.store.claim("0" * 32)
    pair.path("b", "gamearchive-id").unlink()  # as of a disk that is not mounted
    again = Composite(pair.folder)
    again.store.put(KEY, DATA)
    assert again.keys("b") == []
    with pytest.raises(StorageUnavailableError, match="not marked as this archive's"):
        next(again.store.list())
    assert again.store.marks.adopt(again.store.part("b"))
    assert Mender(again.store).pay() == 1
    assert again.keys("b") == [KEY, "gamearchive-id"]


def test_a_part_that_was_away_when_the_archive_was_made_is_marked_later(pair: Composite) -> None:
    pair.switches["b"].on = False
    pair.store.claim("0" * 32)
    pair.switches["b"].on = True
    again = Composite(pair.folder)
    assert again.store.notes() == {"b": ["gamearchive-id"]}
    Mender(again.store).pay()
    assert again.keys("a") == again.keys("b") == ["gamearchive-id"]


def test_parts_of_two_archives_are_refused(pair: Composite) -> None:
    for part in "ab":
        pair.path(part, "").mkdir()
        pair.path(part, "gamearchive-id").write_text(part * 32)
    with pytest.raises(RefusedError, match="several archives: a, b"):
        pair.store.put(KEY, DATA)


def test_a_pack_moves_to_a_later_tier_whole_and_is_read_from_there(tmp_path: Path) -> None:
    tiers = Composite(tmp_path, {"hot": "a b", "cold": "c"})
    tiers.store.put(KEY, DATA)
    assert tiers.keys("c") == []
    assert tiers.store.tier_of(KEY) == "hot"
    assert Mender(tiers.store).move(KEY, "cold") == len(DATA)
    assert (tiers.keys("a"), tiers.keys("b"), tiers.keys("c")) == ([], [], [KEY])
    assert tiers.store.get(KEY, 3, 5) == DATA[3:8]
    assert tiers.store.tier_of(KEY) == "cold"
    tiers.switches["c"].on = False
    with pytest.raises(StorageUnavailableError):
        Mender(tiers.store).move(KEY, "cold")


def test_a_move_that_was_broken_off_is_found_and_ended(tmp_path: Path) -> None:
    tiers = Composite(tmp_path, {"hot": "a", "cold": "c d"}, write_quorum=1)
    tiers.store.put(KEY, DATA)
    tiers.path("d", KEY).parent.mkdir(parents=True)
    tiers.path("d", KEY).write_bytes(DATA)
    mender = Mender(tiers.store)
    [copies] = tiers.store.survey()
    assert {(bad.part, bad.fault.value) for bad in mender.examine(copies)} == {("a", "extra"), ("c", "missing")}
    assert mender.mend(KEY) == ["c"]
    assert mender.drop_spare(KEY)
    assert (tiers.keys("a"), tiers.keys("c"), tiers.keys("d")) == ([], [KEY], [KEY])


def test_what_lies_beside_a_later_tier_stays_while_that_has_no_good_copy(tmp_path: Path) -> None:
    tiers = Composite(tmp_path, {"hot": "a", "cold": "c"})
    for part in "ac":
        tiers.path(part, KEY).parent.mkdir(parents=True)
        tiers.path(part, KEY).write_bytes(DATA if part == "a" else DATA[:-1])
    mender = Mender(tiers.store)
    assert not mender.drop_spare(KEY)
    assert mender.mend(KEY) == ["c"]
    assert mender.drop_spare(KEY)
    assert tiers.path("c", KEY).read_bytes() == DATA


def test_dictionaries_and_the_mark_lie_in_every_tier(tmp_path: Path) -> None:
    tiers = Composite(tmp_path, {"hot": "a", "cold": "c"})
    tiers.store.put("game/game-1234567890.zdict", b"learnt")
    tiers.store.claim("0" * 32)
    assert tiers.keys("a") == tiers.keys("c") == ["game/game-1234567890.zdict", "gamearchive-id"]


def test_a_note_has_no_pack_s_name(pair: Composite) -> None:
    assert not note_of(pair.store.part("a"), KEY).endswith(".zst")
