from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from archiving import Home, flip, found_by, game, games, listed, noise, plain

from gamearchive.archive import Archive
from gamearchive.catalog import Catalog
from gamearchive.clock import ManualClock
from gamearchive.model import JSON, OPAQUE, ArchivalPriority, ArchivalTrigger, ArchiveEntry, Sender
from gamearchive.operations.ingest import ingest
from gamearchive.operations.rebuild import Rebuilt, rebuild
from gamearchive.operations.verify import verify
from gamearchive.query import ArchiveQuery, SortField
from gamearchive.readers import ReadOptions

DATA = Path(__file__).parent.parent / "data"
ORDERS = [
    ArchiveQuery(limit=0, sort=sort, ascending=ascending, all_revisions=revisions)
    for sort in SortField
    for ascending in (False, True)
    for revisions in (False, True)
]


def anew(home: Home) -> list[Rebuilt]:
    """Rebuild the catalog in its place."""
    with home.database.anew() as fresh:
        return list(rebuild(Archive(Catalog(fresh), home.open().holdings, home.clock)))


def listings(home: Home) -> list[list[ArchiveEntry]]:
    archive = home.open()
    return [list(archive.catalog.every(query)) for query in ORDERS]


def test_row_for_row_on_either_engine(home: Home) -> None:
    archive = home.open()
    for entity_type, season in (("chess", "1"), ("mixed", "2"), ("chess", "3")):
        for folder in ("games", "json", "pgn", "binary"):
            options = ReadOptions(entity_type=entity_type, tags=(("season", season), ("set", folder)))
            assert list(ingest(archive, [str(DATA / folder)], options))
            home.clock.turn(3600)
    archive.add(games(150), Sender(ArchivalTrigger.TIME_BASED, ArchivalPriority.CRITICAL, "nightly@2"))
    home.clock.turn(-5)  # a clock that is set back a little
    archive.add([game(number, moves=3, status="active", tags=(("why", "again"),)) for number in range(0, 150, 3)])
    archive.add(list(noise(5)))
    before, dictionaries = listings(home), archive.catalog.dictionaries()
    packs, totals = list(archive.catalog.packs()), archive.catalog.totals()
    rebuilt = anew(home)
    assert [each.error for each in rebuilt] == [None] * len(packs)
    assert sum(each.records for each in rebuilt) == len(before[1])
    archive = home.open()
    assert listings(home) == before
    assert archive.catalog.dictionaries() == dictionaries
    assert (list(archive.catalog.packs()), archive.catalog.totals()) == (packs, totals)
    assert found_by(verify(archive, full=True)) == []


def test_types_and_kinds_of_one_moment_keep_their_order_and_revisions(home: Home) -> None:
    chance = ManualClock(home.clock.now())
    for round_ in range(6):
        records = [
            plain(f"{round_}-{number % 2}", b"%d %d" % (round_, number), entity_type=entity_type, content_type=kind)
            for number, (entity_type, kind) in enumerate(
                [("go", JSON), ("go", OPAQUE), ("chess", JSON), ("go", JSON), ("go", OPAQUE), ("go", JSON), ("chess", OPAQUE)]
            )
        ]
        home.open(clock=chance).add(records[round_:] + records[:round_])
        chance.turn(1)
    before = listings(home)
    anew(home)
    assert listings(home) == before


def test_the_orphan_of_a_killed_process_doubles_nothing(home: Home, tmp_path: Path) -> None:
    archive = home.open()
    archive.add(games(3))
    shutil.copytree(home.packs_folder, tmp_path / "kept")
    dead = Home(tmp_path / "dead")
    dead.clock.turn(10)
    dead.open().add(games(5, first=1))
    dead.close()
    shutil.copytree(dead.packs_folder, home.packs_folder, dirs_exist_ok=True)
    home.clock.turn(20)
    archive.add(games(5, first=1))
    expected = {record.entity_id: record.payload for record in games(6)}
    anew(home)
    archive = home.open()
    assert [(entry.entity_id, entry.revision) for entry in listed(archive)] == [(entity_id, 1) for entity_id in expected]
    assert {entry.entity_id: archive.read(entry) for entry in listed(archive)} == expected
    orphans = found_by(verify(archive, full=True, repair=True))
    assert len(orphans) == 1
    assert {entry.entity_id: archive.read(entry) for entry in listed(archive)} == expected


def test_a_damaged_pack_is_told_and_the_others_are_taken_in(home: Home) -> None:
    archive = home.open()
    for first in (0, 10, 20):
        archive.add(games(4, first=first))
        home.clock.turn(60)
    before = listed(archive)
    damaged = archive.get("g-11").place.pack
    flip(home.path(damaged), home.path(damaged).stat().st_size - 3)
    rebuilt = anew(home)
    assert [(each.pack, each.records) for each in rebuilt if each.error] == [(damaged, 0)]
    assert damaged in str(next(each.error for each in rebuilt if each.error))
    assert listed(home.open()) == [entry for entry in before if entry.place.pack != damaged]


def test_a_pack_whose_records_are_damaged_still_says_what_was_in_it(home: Home) -> None:
    archive = home.open()
    archive.add(games(4))
    before = listed(archive)
    flip(home.packs[0], 30)
    anew(home)
    assert listed(home.open()) == before


def test_a_lost_dictionary_is_named_so_that_verify_tells(home: Home) -> None:
    home.open().add(games(150))
    before = listed(home.open())
    for path in home.packs_folder.rglob("*.zdict"):
        path.unlink()
    anew(home)
    assert listed(home.open()) == before
    assert len(found_by(verify(home.open()))) == 152


def test_no_packs_no_rows(home: Home) -> None:
    assert anew(home) == []
    assert listed(home.open()) == []


def test_interrupted_it_leaves_the_catalog_that_was(home: Home) -> None:
    archive = home.open()
    for number in range(4):
        archive.add([game(number)])
        home.clock.turn(1)
    before = listed(archive)

    def leave() -> None:
        with home.database.anew() as fresh:
            for number, _ in enumerate(rebuild(Archive(Catalog(fresh), home.open().holdings, home.clock))):
                if number == 2:
                    raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        leave()
    assert listed(home.open()) == before
    anew(home)
    assert listed(home.open()) == before
    assert sorted(path.name for path in home.folder.glob("*.anew*")) == []


def everything(home: Home) -> dict[str, bytes]:
    archive = home.open()
    return {entry.entity_id: archive.read(entry) for entry in archive.catalog.every(ArchiveQuery(limit=0))}


def expected(count: int) -> dict[str, bytes]:
    return {record.entity_id: record.payload for record in games(count)}


def copied_as(pack: Path, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(pack, path)
    return path


def test_of_two_packs_with_a_game_it_is_taken_from_the_one_that_it_can_be_read_from(home: Home, tmp_path: Path) -> None:
    home.open().add(games(5))
    (first,) = home.packs
    home.clock.turn(60)
    other = Home(tmp_path / "other")
    other.clock.turn(60)
    other.open().add(games(5))
    other.close()
    shutil.copytree(other.packs_folder, home.packs_folder, dirs_exist_ok=True)
    entry = home.open().get("g-2")
    flip(first, entry.place.frame_offset + entry.place.frame_bytes // 2)
    assert [each.lost for each in anew(home)] == [0, 0]
    assert everything(home) == expected(5)
    assert [entry.revision for entry in listed(home.open())] == [1] * 5
    assert [found.entry for found in found_by(verify(home.open()))] == []


def test_a_game_that_was_lost_and_archived_again_has_one_revision_after(home: Home) -> None:
    home.open().add(games(5))
    lost = home.open().get("g-2")
    flip(home.packs[0], lost.place.frame_offset + lost.place.frame_bytes // 2)
    found_by(verify(home.open(), full=True, repair=True))
    home.clock.turn(60)
    home.open().add(games(5))
    assert home.open().get("g-2").revision == 2
    anew(home)
    assert everything(home) == expected(5)
    assert [(entry.entity_id, entry.revision) for entry in listed(home.open()) if entry.entity_id == "g-2"] == [("g-2", 1)]
    assert [found.entry for found in found_by(verify(home.open(), full=True))] == [None]


def test_a_game_that_can_be_read_from_nowhere_is_marked_and_told(home: Home) -> None:
    home.open().add(games(5))
    lost = home.open().get("g-2")
    flip(home.packs[0], lost.place.frame_offset + lost.place.frame_bytes // 2)
    (rebuilt,) = anew(home)
    assert (rebuilt.records, rebuilt.games, rebuilt.lost) == (5, 5, 1)
    archive = home.open()
    assert [entry.entity_id for entry in listed(archive) if archive.catalog.damage(entry)] == ["g-2"]


def test_stray_copies_are_told_and_not_taken(home: Home) -> None:
    home.open().add(games(150))
    before = listings(home)
    (pack,) = home.packs
    below = pack.relative_to(home.packs_folder / "game")
    strays = [
        copied_as(pack, home.packs_folder / "backup-game" / below),
        copied_as(pack, home.packs_folder / "game" / "old.zst"),
        copied_as(pack, home.packs_folder / "aaa.zst"),
    ]
    copied_as(pack, pack.with_name("0" * 32 + ".zst"))  # where packs belong, but under another's name
    rebuilt = anew(home)
    assert {each.pack for each in rebuilt if each.error} == {str(path.relative_to(home.packs_folder)) for path in strays}
    assert {each.records for each in rebuilt if not each.error} == {0, 150}
    assert listings(home) == before
    assert everything(home) == expected(150)


def test_a_copy_under_a_wrong_name_serves_where_there_is_no_other(home: Home) -> None:
    home.open().add(games(5))
    home.packs[0].rename(home.packs[0].with_name("0" * 32 + ".zst"))
    anew(home)
    assert everything(home) == expected(5)


def test_either_engine_marks_what_is_lost(home: Home) -> None:
    home.open().add(games(120))
    home.clock.turn(1)
    home.open().add([game(3, moves=2)])
    for path in home.packs_folder.rglob("*.zdict"):
        path.unlink()
    rebuilt = anew(home)
    assert sum(each.lost for each in rebuilt) == 121
    archive = home.open()
    assert all(archive.catalog.damage(entry) for entry in listed(archive))
