from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from archiving import Home, flip, found_by, game, games, listed, noise
from databases import execute

from gamearchive.archive import Archive
from gamearchive.backends.packed import PackHoldings
from gamearchive.errors import IntegrityError
from gamearchive.model import ArchiveEntry, GameRecord, Sender
from gamearchive.operations.verify import Finding, Found, verify
from gamearchive.packs.dictionary import dictionary_keys
from gamearchive.query import ArchiveQuery


@pytest.fixture
def filled(home: Home) -> Home:
    """Two packs of text with a dictionary, and one of binary."""
    archive = home.open()
    archive.add(games(120))
    home.clock.turn(60)
    archive.add(games(5, first=500))
    home.clock.turn(60)
    archive.add(list(noise(3)))
    return home


def entries_in(home: Home, entity_id: str) -> list[ArchiveEntry]:
    archive = home.open()
    return archive.catalog.entries_of(archive.get(entity_id).place.pack)


def path_of(home: Home, entity_id: str) -> Path:
    return home.path(home.open().get(entity_id).place.pack)


def check(home: Home, **how: object) -> list[Found]:
    return found_by(verify(home.open(), **how))  # type: ignore[arg-type]


def ids(found: list[Found]) -> list[str]:
    return [each.entry.entity_id for each in found if each.entry]


def ids_of(entries: list[ArchiveEntry]) -> list[str]:
    return [entry.entity_id for entry in entries]


@pytest.mark.parametrize("full", [False, True])
def test_a_sound_archive_is_sound(filled: Home, full: bool) -> None:
    steps = list(verify(filled.open(), full=full))
    assert found_by(steps) == []
    assert sum(step.records for step in steps) == 128
    assert [step.pack for step in steps if step.pack] == sorted(
        str(path.relative_to(filled.packs_folder)) for path in filled.packs
    )


def test_a_run_can_go_on_behind_the_pack_that_was_the_last_of_another(filled: Home) -> None:
    packs = [step.pack for step in verify(filled.open(), full=True) if step.pack]
    for number, pack in enumerate(packs, 1):
        steps = list(verify(filled.open(), full=True, after=pack))
        assert [step.pack for step in steps if step.pack] == packs[number:]
        assert found_by(steps) == []


def test_nothing_archived_yet(home: Home) -> None:
    assert list(verify(home.open(), full=True, repair=True)) == []


def test_later_revisions_do_not_trouble(filled: Home) -> None:
    filled.open().add([game(3, moves=40)])
    assert check(filled, full=True) == []


def test_a_missing_pack(filled: Home) -> None:
    lost = entries_in(filled, "g-501")
    path_of(filled, "g-501").unlink()
    found = check(filled)
    assert (ids(found), {each.finding for each in found}) == (ids_of(lost), {Finding.MISSING})
    assert check(filled, full=True) == found


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def cut_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 4])


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("spoil", [cut, cut_half, empty])
def test_a_pack_of_another_length_is_found_at_once(filled: Home, spoil: Callable[[Path], None]) -> None:
    entries = entries_in(filled, "g-501")
    path = path_of(filled, "g-501")
    spoil(path)
    kept = path.stat().st_size
    lost = [entry.entity_id for entry in entries if entry.place.frame_offset + entry.place.frame_bytes > kept]
    for full in (False, True):
        found = check(filled, full=full)
        assert {each.finding for each in found} == {Finding.DAMAGED}
        assert ids(found) == lost
        assert {each.object for each in found} == {entries[0].place.pack}


def test_a_flipped_byte_in_a_frame_loses_that_game_alone(filled: Home) -> None:
    entry = filled.open().get("g-502")
    flip(path_of(filled, "g-502"), entry.place.frame_offset + entry.place.frame_bytes // 2)
    assert check(filled) == []
    (found,) = check(filled, full=True)
    assert (found.finding, found.object, found.entry) == (Finding.DAMAGED, entry.place.pack, entry)
    assert "'g-502'" in found.reason


@pytest.mark.parametrize("where", ["index", "seek table"])
def test_a_flipped_byte_elsewhere_loses_no_game(filled: Home, where: str) -> None:
    entries = entries_in(filled, "g-502")
    data_end = max(entry.place.frame_offset + entry.place.frame_bytes for entry in entries)
    path = path_of(filled, "g-502")
    flip(path, data_end + 60 if where == "index" else path.stat().st_size - 12)
    found = check(filled, full=True, repair=True)
    assert [(each.finding, each.object, each.entry) for each in found] == [(Finding.DAMAGED, entries[0].place.pack, None)]
    assert [filled.open().catalog.damage(entry) for entry in entries] == [None] * len(entries)


def test_every_flipped_byte_is_found(home: Home) -> None:
    home.open().add(games(2))
    (path,) = home.packs
    for position in range(0, path.stat().st_size, 23):
        flip(path, position, position % 8)
        assert check(home, full=True) != []
        flip(path, position, position % 8)
    assert check(home, full=True) == []


def test_swapped_packs(filled: Home) -> None:
    one, other = path_of(filled, "g-1"), path_of(filled, "g-501")
    bytes_of_one = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(bytes_of_one)
    assert sorted(ids(check(filled))) == sorted(ids_of(entries_in(filled, "g-1")) + ids_of(entries_in(filled, "g-501")))


@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE entries SET checksum = substr(checksum, 2) WHERE id = 3",
        "UPDATE entries SET completed_at = completed_at + 1 WHERE id = 3",
        "UPDATE entries SET frame_offset = 0 WHERE id = 3",
        "UPDATE entries SET entity_key = substr(entity_key, 2) WHERE id = 3",
        "UPDATE words SET word = 'aborted' WHERE word = 'completed'",
        "UPDATE players SET name = 'Mallory' WHERE id = 1",
        "DELETE FROM entries WHERE id = 4",
    ],
)
def test_a_catalog_that_was_edited(home: Home, edit: str) -> None:
    home.open().add(games(10))
    execute(home.url, edit)
    found = check(home, full=True)
    assert found != [] or edit.startswith("DELETE")
    assert all(each.finding is Finding.DAMAGED for each in found)


# Orphans


def test_an_orphan_is_no_damage_and_goes_with_repair(filled: Home) -> None:
    whole = path_of(filled, "g-501")
    there = whole.with_name("0" * 32 + ".zst")
    there.write_bytes(whole.read_bytes())
    for repair in (False, True):
        (found,) = check(filled, repair=repair)
        assert (found.finding, found.object.endswith(there.name), found.entry) == (Finding.ORPHANED, True, None)
        assert found.repaired == repair
    assert not there.exists()
    assert check(filled, full=True) == []
    assert len(filled.packs) == 3


def stray_of(filled: Home, records: list[GameRecord], *, turn: float = 0) -> Path:
    """A pack that another archive made, now in this one's storage."""
    other = Home(filled.folder.parent / "other")
    other.clock.turn(filled.clock.now() / 1_000_000 - other.clock.now() / 1_000_000 + turn)
    other.open().add(records)
    other.close()
    (pack,) = other.packs
    there = filled.packs_folder / pack.relative_to(other.packs_folder)
    there.parent.mkdir(parents=True, exist_ok=True)
    pack.rename(there)
    return there


@pytest.mark.parametrize("turn", [1, -400_000])
def test_a_stray_pack_with_games_that_are_nowhere_else_is_taken_in(filled: Home, turn: float) -> None:
    before = {entry.entity_id: entry for entry in listed(filled.open())}
    there = stray_of(filled, [game(3), *games(3, first=900)], turn=turn)
    for repair in (False, True):
        (found,) = check(filled, full=True, repair=repair)
        assert (found.finding, found.repaired, found.harmless) == (Finding.ORPHANED, repair, False)
        assert "nor 3 of its games" in found.reason
    assert there.exists()
    assert check(filled, full=True, repair=True) == []
    archive = filled.open()
    assert {number: archive.read(archive.get(f"g-{number}")) for number in (3, 900, 902)} == {
        number: game(number).payload for number in (3, 900, 902)
    }
    assert {entry.entity_id: entry for entry in listed(archive) if entry.entity_id in before} == before
    archived_at = archive.get("g-900").provenance.archived_at
    found_at = [
        sorted(entry.entity_id for entry in archive.catalog.every(ArchiveQuery(limit=0, start_date=since, end_date=until)))
        for since, until in ((archived_at, archived_at + 1), (None, archived_at + 1), (archived_at + 1, None))
    ]
    assert ["g-900" in ids for ids in found_at] == [True, True, False]
    assert found_at[0] == ["g-900", "g-901", "g-902"]
    filled.clock.turn(60)
    archive.add(games(2, first=950))
    assert check(filled, full=True) == []


def test_a_stray_pack_that_somebody_may_be_about_to_name_is_harmless(filled: Home) -> None:
    stray_of(filled, games(3, first=900))
    (found,) = check(filled, adding=lambda: True)
    assert found.harmless


def test_a_stray_pack_of_older_bytes_takes_no_games_place(filled: Home) -> None:
    filled.open().add([game(900, moves=3)])
    there = stray_of(filled, [game(900)])
    for _ in range(2):
        (found,) = check(filled, full=True, repair=True)
        assert (found.finding, found.repaired, found.harmless) == (Finding.ORPHANED, False, True)
        assert "other, later bytes" in found.reason
    assert there.exists()
    assert filled.open().read(filled.open().get("g-900")) == game(900, moves=3).payload


def test_a_live_game_that_came_back_to_an_earlier_state_is_newer(home: Home) -> None:
    other = Home(home.folder.parent / "other")
    for moves in (2, 3, 2):
        other.open().add([game(1, moves=moves)], Sender(live=True))
        other.clock.turn(60)
    other.close()
    for moves in (2, 3):
        home.open().add([game(1, moves=moves)], Sender(live=True))
        home.clock.turn(60)
    for pack in other.packs:
        (home.packs_folder / pack.relative_to(other.packs_folder)).write_bytes(pack.read_bytes())
    assert [found.repaired for found in check(home, repair=True)] == [True]
    latest = home.open().get("g-1")
    assert (latest.revision, home.open().read(latest)) == (3, game(1, moves=2).payload)


def test_a_stray_pack_brings_lost_games_back(filled: Home) -> None:
    lost = path_of(filled, "g-501")
    stray_of(filled, games(5, first=500), turn=5)
    lost.unlink()
    found = check(filled, repair=True)
    assert [each.repaired for each in found] == [False] * 5 + [True]
    archive = filled.open()
    assert [archive.read(archive.get(f"g-{number}")) for number in range(500, 505)] == [
        record.payload for record in games(5, first=500)
    ]


@pytest.mark.parametrize("spoil", [cut, empty])
def test_a_stray_pack_that_cannot_be_read_is_left_alone(filled: Home, spoil: Callable[[Path], None]) -> None:
    there = stray_of(filled, games(3, first=900))
    spoil(there)
    (found,) = check(filled, full=True, repair=True)
    assert (found.finding, found.repaired, found.harmless) == (Finding.ORPHANED, False, False)
    assert "left alone" in found.reason
    assert there.exists()


def test_of_a_damaged_stray_pack_what_can_be_read_is_taken_in(filled: Home) -> None:
    there = stray_of(filled, games(3, first=900))
    flip(there, 20)
    (found,) = check(filled, repair=True)
    assert (found.repaired, "nor 2 of its games" in found.reason) == (True, True)
    assert [entry.entity_id for entry in listed(filled.open()) if entry.entity_id.startswith("g-9")][-2:] == ["g-901", "g-902"]


def test_a_copy_in_another_place_is_left_alone(filled: Home) -> None:
    pack = path_of(filled, "g-501")
    copy = filled.packs_folder / "backup-game" / pack.relative_to(filled.packs_folder / "game")
    copy.parent.mkdir(parents=True)
    copy.write_bytes(pack.read_bytes())
    (found,) = check(filled, full=True, repair=True)
    assert (found.object, found.repaired) == (str(copy.relative_to(filled.packs_folder)), False)
    assert "'game'" in found.reason
    assert copy.exists()


def test_repair_sweeps_what_dead_writers_left(filled: Home) -> None:
    left = filled.packs_folder / ".tmp" / ".tmp-0123456789abcdef"
    left.write_bytes(b"half a pack")
    check(filled)
    assert left.exists()
    check(filled, repair=True)
    assert not left.exists()


# Dictionaries


def copies(home: Home) -> list[Path]:
    (row,) = home.open().catalog.dictionaries()
    return [home.path(key) for key in dictionary_keys("game", row.id)]


@pytest.mark.parametrize("copy", [0, 1])
@pytest.mark.parametrize("spoil", [Path.unlink, empty, lambda path: flip(path, 5000)], ids=["lost", "empty", "flipped"])
def test_a_lost_copy_of_a_dictionary_is_mended_from_the_other(filled: Home, copy: int, spoil: Callable[[Path], None]) -> None:
    path = copies(filled)[copy]
    good = path.read_bytes()
    spoil(path)
    (found,) = check(filled)
    assert (found.finding, filled.path(found.object), found.repaired) == (Finding.DAMAGED, path, False)
    (found,) = check(filled, repair=True)
    assert (filled.path(found.object), found.repaired) == (path, True)
    assert path.read_bytes() == good
    assert check(filled, full=True) == []


def test_with_both_copies_of_its_dictionary_a_game_is_lost(filled: Home) -> None:
    paths = copies(filled)
    kept = [path.read_bytes() for path in paths]
    for path in paths:
        path.unlink()
    for full in (False, True):
        found = check(filled, full=full)
        assert [filled.path(each.object) for each in found if each.entry is None] == paths
        assert sorted(ids(found)) == sorted(record.entity_id for record in games(120) + games(5, first=500))
    check(filled, repair=True)
    archive = filled.open()
    assert "dictionary" in (archive.catalog.damage(archive.get("g-7")) or "")
    assert archive.catalog.damage(archive.get("noise-1")) is None
    for path, data in zip(paths, kept, strict=True):
        path.write_bytes(data)
    assert check(filled, full=True, repair=True) == []
    assert archive.catalog.damage(archive.get("g-7")) is None


def test_stray_dictionaries_are_told_and_go_if_no_pack_needs_them(filled: Home, tmp_path: Path) -> None:
    other = Home(tmp_path / "other")
    other.open().add([game(number, entity_type="chess") for number in range(130)])
    copies = [*other.packs_folder.rglob("*.zdict")]
    other.close()
    strays = [filled.packs_folder / path.relative_to(other.packs_folder) for path in copies]
    for path, stray in zip(copies, strays, strict=True):
        stray.parent.mkdir(parents=True, exist_ok=True)
        stray.write_bytes(path.read_bytes())
    unknown = filled.packs_folder / "chess" / "mine.zdict"
    unknown.write_bytes(b"mine")
    assert len(check(filled)) == 3
    assert all(stray.exists() for stray in strays)
    found = check(filled, repair=True)
    assert {each.object for each in found if each.repaired} == {str(each.relative_to(filled.packs_folder)) for each in strays}
    assert not any(stray.exists() for stray in strays)
    assert [each.object for each in check(filled, full=True)] == ["chess/mine.zdict"]


def test_a_dictionary_that_packs_need_is_named_again(filled: Home) -> None:
    execute(filled.url, "DELETE FROM dictionaries")
    assert ["packs need it" in each.reason for each in check(filled)] == [True, True]
    assert all(path.exists() for path in filled.packs_folder.rglob("*.zdict"))
    assert any(each.repaired for each in check(filled, repair=True))
    assert check(filled, full=True) == []


# Repair


def test_repair_marks_what_is_lost_and_nothing_else(filled: Home) -> None:
    archive = filled.open()
    entry = archive.get("g-502")
    flip(path_of(filled, "g-502"), entry.place.frame_offset + entry.place.frame_bytes - 1)
    path_of(filled, "noise-1").unlink()
    check(filled, full=True)
    assert archive.catalog.damage(entry) is None
    found = check(filled, full=True, repair=True)
    assert sorted(ids(found)) == ["g-502", "noise-0", "noise-1", "noise-2"]
    assert not any(each.repaired for each in found)  # to mark is not to mend
    marked = [each.entity_id for each in listed(archive) if archive.catalog.damage(each) is not None]
    assert sorted(marked) == ["g-502", "noise-0", "noise-1", "noise-2"]
    assert archive.read(archive.get("g-503")) == game(503).payload
    with pytest.raises(IntegrityError):
        archive.read(entry)


@pytest.mark.parametrize("full", [False, True])
def test_a_mark_goes_when_the_pack_comes_back(filled: Home, full: bool) -> None:
    path = path_of(filled, "g-501")
    data = path.read_bytes()
    path.unlink()
    check(filled, repair=True)
    archive = filled.open()
    assert archive.catalog.damage(archive.get("g-501")) is not None
    path.write_bytes(data)
    assert check(filled, full=full, repair=True) == []
    assert archive.catalog.damage(archive.get("g-501")) is None


def test_what_is_marked_is_told_until_it_can_be_read_again(filled: Home) -> None:
    entry = filled.open().get("g-502")
    flip(path_of(filled, "g-502"), entry.place.frame_offset + entry.place.frame_bytes - 1)
    check(filled, full=True, repair=True)
    for repair in (False, True):
        assert ids(check(filled, repair=repair)) == ["g-502"]
    flip(path_of(filled, "g-502"), entry.place.frame_offset + entry.place.frame_bytes - 1)
    assert check(filled) == []
    assert filled.open().catalog.damage(entry) is not None
    assert check(filled, repair=True) == []
    assert filled.open().catalog.damage(entry) is None


def test_a_lost_game_can_be_archived_again(filled: Home) -> None:
    path_of(filled, "g-501").unlink()
    check(filled, repair=True)
    archive = filled.open()
    archive.add([game(501, moves=1)])
    assert archive.read(archive.get("g-501")) == game(501, moves=1).payload


# Samples, stopping


def test_a_sample_reads_its_share_and_always_the_same(home: Home) -> None:
    archive = home.open()
    for number in range(20):
        archive.add([game(number)])
    for path in home.packs:
        flip(path, 20)
    found = {share: ids(check(home, full=True, sample=share)) for share in (0.01, 0.5, 1.0)}
    assert len(found[1.0]) == 20
    assert len(found[0.01]) <= len(found[0.5]) < 20
    assert set(found[0.01]) <= set(found[0.5])
    assert ids(check(home, full=True, sample=0.5)) == found[0.5] != []


def test_stopping_leaves_after_the_pack_in_hand(archive: Archive) -> None:
    for number in range(6):
        archive.add([game(number)])
    steps: list[object] = []
    for step in verify(archive, stopping=lambda: len(steps) >= 2):
        steps.append(step)  # noqa: PERF402 - what was told so far decides
    assert len(steps) == 2


def test_a_pack_that_is_named_while_the_storage_is_listed_is_no_orphan(home: Home) -> None:
    class Growing(PackHoldings):
        def packs(self):
            yield from super().packs()
            home.clock.turn(86_400)
            home.open().add(games(3, first=50))
            yield list(super().packs())[1]

    home.open().add(games(3))
    assert found_by(verify(home.open(holdings=Growing(home.store)), full=True)) == []
