"""Compaction: which packs become dense ones, that not a byte of a game changes, and who may come in between."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import nullcontext, suppress
from functools import partial

import pytest
from archiving import Home, flip, found_by, game, games, listed, noise, plain
from msgspec.structs import replace
from sqlalchemy import text

from gamearchive.archive import Archive
from gamearchive.catalog import Catalog
from gamearchive.errors import IntegrityError, StorageUnavailableError
from gamearchive.model import JSON, OPAQUE, ArchiveEntry
from gamearchive.operations import compaction
from gamearchive.operations.compaction import Compacted, Due, compact, groups
from gamearchive.operations.rebuild import rebuild
from gamearchive.operations.verify import verify
from gamearchive.repacking import PackUse
from gamearchive.stores.base import Store
from gamearchive.stores.wrapper import WrapperStore
from gamearchive.testing import FaultyStore


def at_once(entity_type: str, archived_at: int) -> bool:
    return True


def never(entity_type: str, archived_at: int) -> bool:
    return False


def compacted(archive: Archive, due: Due = at_once, **how: object) -> list[Compacted]:
    return list(compact(lambda: nullcontext(archive), due, **how))


def known(archive: Archive) -> list[ArchiveEntry]:
    """All that is known of all games, but for where they lie."""
    nowhere = replace(listed(archive)[0].place, pack="", frame_offset=0, frame_bytes=0, record_offset=0)
    return [replace(entry, place=nowhere, stored_bytes=0) for entry in listed(archive)]


def contents(archive: Archive) -> dict[tuple[str, str, int], bytes]:
    return {(entry.entity_type, entry.entity_id, entry.revision): archive.read(entry) for entry in listed(archive)}


def fill(home: Home, *, rounds: int = 6) -> Archive:
    """An archive of many small packs: of two types and kinds, with revisions, archived over some time."""
    archive = home.open()
    for round_ in range(rounds):
        archive.add(games(30, first=round_ * 30))
        archive.add([*noise(2), game(round_, status="active", moves=3), plain(f"p-{round_}", b"1. e4", entity_type="chess")])
        archive.add([plain(f"mixed-{round_}", b"\0%d" % round_, content_type=OPAQUE), game(round_ * 30, moves=5)])
        home.clock.turn(3600)
    return archive


def test_every_game_stays_what_it_was_in_fewer_and_smaller_packs(home: Home) -> None:
    archive = fill(home)
    before, payloads, packs = known(archive), contents(archive), home.packs
    steps = compacted(archive)
    assert sum(step.games for step in steps) == len(before)
    assert sorted(key for step in steps for key in step.replaced) == sorted(map(home.key, packs))
    assert {home.key(path) for path in home.packs} == {key for step in steps for key in step.packs}
    assert steps[-1].fraction == 1
    assert len(home.packs) == 4  # a type and kind each
    assert sum(step.written_bytes for step in steps) < 0.8 * sum(step.read_bytes for step in steps)
    for other in (archive, home.open()):
        assert known(other) == before
        assert contents(other) == payloads
    assert found_by(verify(home.open(), full=True, repair=True)) == []
    assert compacted(home.open()) == []


def test_what_is_rebuilt_from_dense_packs_is_the_same_row_for_row(home: Home) -> None:
    fill(home)
    for fresh_games in (0, 20, 0):
        archive = home.open()
        if fresh_games:
            archive.add(games(fresh_games, first=1000))
        else:
            compacted(archive)
        before, packs, uses = listed(archive), list(archive.catalog.packs()), archive.catalog.pack_uses()
        with home.database.anew() as fresh:
            rebuilt = list(rebuild(Archive(Catalog(fresh), archive.holdings, home.clock)))
        assert [each.error for each in rebuilt] == [None] * len(packs)
        assert sum(each.records for each in rebuilt) == len(before)
        archive = home.open()
        assert listed(archive) == before
        assert (list(archive.catalog.packs()), sorted(archive.catalog.pack_uses())) == (packs, sorted(uses))
        assert found_by(verify(archive, full=True)) == []


def test_games_of_packs_that_are_old_enough_are_packed_densely_and_others_stay(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "SMALL_BYTES", 0)
    archive = home.open()
    archive.add(games(50))
    home.clock.turn(100)
    moment = home.clock.now()
    archive.add(games(50, first=50))
    archive.add([plain("c", b"{}", entity_type="chess")])
    fresh = archive.get("g-60").place.pack
    assert [step.games for step in compacted(archive, lambda kind, at: kind == "game" and at < moment)] == [50]
    assert archive.get("g-60").place.pack == fresh
    assert archive.get("g-1").place.record_offset > 0
    assert [step.games for step in compacted(archive, entity_type="chess")] == [1]
    assert [step.games for step in compacted(archive)] == [50]
    assert compacted(archive) == []


@pytest.mark.only("sqlite", "it is about which packs are chosen")
def test_small_packs_are_merged_however_young_but_not_again_and_again(home: Home) -> None:
    archive = home.open()
    moved = 0
    for number in range(80):
        archive.add(games(3, first=3 * number))
        moved += sum(step.games for step in compacted(archive, never))
        home.clock.turn(60)
    assert len(home.packs) < 16
    assert moved < 7 * 240
    assert len(contents(archive)) == 240


def test_what_the_catalog_no_longer_names_goes(home: Home) -> None:
    archive = home.open()
    archive.add(games(40))
    archive.add(games(40, first=40))
    size = sum(path.stat().st_size for path in home.packs)
    forget(home, "g-1_")
    assert compacted(archive, never) == []  # a quarter of one is little
    forget(home, "g-2_")
    assert [(len(step.replaced), step.games) for step in compacted(archive, never)] == [(2, 60)]
    assert sum(path.stat().st_size for path in home.packs) < size
    assert "g-25" not in ids(archive, home.key(home.packs[0]))


def ids(archive: Archive, key: str) -> set[str]:
    return {entry.entity_id for entry in archive.holdings.contents(key).entries}


def forget(home: Home, like: str) -> None:
    """Take games out of the catalog."""
    with home.database.write() as connection:
        found = "SELECT id FROM entries WHERE CAST(entity_key AS TEXT) LIKE :like"
        if home.database.path is None:
            found = "SELECT id FROM entries WHERE encode(entity_key, 'escape') LIKE :like"
        connection.execute(text(f"DELETE FROM entity_keys WHERE entry_id IN ({found})"), {"like": like})
        connection.execute(text(f"DELETE FROM entries WHERE id IN ({found})"), {"like": like})


def test_work_is_bounded_and_goes_on_where_it_ended(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "PACK_RAW_BYTES", 20_000)
    archive = home.open()
    for number in range(12):
        archive.add(games(10, first=10 * number))
        home.clock.turn(1)
    payloads = contents(archive)
    planned = compacted(archive, dry_run=True)
    assert sum(step.games for step in planned) == 120
    assert len(home.packs) == 12
    first = compacted(archive, max_bytes=1)
    assert [step.replaced for step in first] == [planned[0].replaced]
    left = iter([False, False, True])
    second = compacted(archive, stopping=lambda: next(left))
    assert [step.replaced for step in second] == [step.replaced for step in planned[1:3]]
    third = compacted(archive)
    assert [step.replaced for step in third] == [step.replaced for step in planned[3:]]
    assert contents(home.open()) == payloads


class Meddling(WrapperStore):
    """A store during one of whose calls something else happens."""

    def __init__(self, inner: Store, **at: Callable[[], object]) -> None:
        super().__init__(inner)
        self._at = at

    def put(self, key: str, data: bytes) -> None:
        super().put(key, data)
        self._at.pop("put", bool)()

    def delete(self, key: str) -> bool:
        self._at.pop("before_delete", bool)()
        return super().delete(key)


def test_a_reader_of_an_old_place_still_gets_its_game(home: Home) -> None:
    archive, reader = fill(home), home.open()
    stale = listed(reader)
    expected = [reader.read(entry) for entry in stale]
    between: list[bytes] = []
    store = Meddling(home.store, before_delete=lambda: between.extend(map(reader.read, stale)))
    compacted(home.open(store=store))
    assert between == expected
    assert [reader.read(entry) for entry in stale] == expected
    lost = archive.get("g-7")
    home.path(lost.place.pack).unlink()
    for entry in (lost, stale[7]):
        with pytest.raises(IntegrityError, match="is gone"):
            reader.read(entry)


def test_packs_that_changed_meanwhile_are_left_alone(home: Home) -> None:
    archive = home.open()
    archive.add(games(20))
    packs = home.packs
    store = Meddling(home.store, put=lambda: forget(home, "g-3"))
    (step,) = compacted(home.open(store=store))
    assert (step.replaced, len(step.left)) == ([], 1)
    assert home.packs == packs
    assert len(contents(archive)) == 19
    (step,) = compacted(archive)
    assert step.games == 19
    assert "g-3" not in ids(archive, step.packs[0])


def test_a_revision_that_comes_meanwhile_is_in_nobodys_way(home: Home) -> None:
    archive = home.open()
    archive.add(games(20))
    store = Meddling(home.store, put=lambda: home.open().add([game(3, moves=2)]))
    (step,) = compacted(home.open(store=store))
    assert step.games == 20
    assert [(entry.revision, entry.superseded) for entry in archive.catalog.revisions("g-3")] == [(2, False), (1, True)]
    assert contents(archive)["game", "g-3", 1] == games(20)[3].payload


def test_two_that_replace_the_same_packs_do_no_harm(home: Home) -> None:
    archive = home.open()
    archive.add(games(20))
    payloads = contents(archive)
    store = Meddling(home.store, put=lambda: compacted(home.open()))
    steps = compacted(home.open(store=store))
    assert contents(home.open()) == payloads
    assert steps[0].replaced == []
    assert found_by(verify(home.open(), full=True, repair=True)) == []


def test_a_damaged_pack_is_left_alone_and_told(home: Home) -> None:
    archive = home.open()
    for number in range(3):
        archive.add(games(10, first=10 * number))
        home.clock.turn(1)
    damaged = archive.get("g-15").place.pack
    flip(home.path(damaged), 40)
    (step,) = compacted(archive)
    assert (step.games, list(step.left)) == (20, [damaged])
    assert home.path(damaged).exists()
    assert archive.get("g-15").place.pack == damaged
    missing = archive.get("g-1").place.pack
    home.path(missing).unlink()
    assert compacted(archive, never) == []
    (step,) = compacted(archive)
    assert (step.games, {*step.left}) == (0, {damaged, missing})


@pytest.mark.parametrize("at", range(1, 12))
def test_a_storage_that_fails_costs_nothing(home: Home, at: int) -> None:
    archive = home.open()
    for number in range(3):
        archive.add(games(50, first=50 * number))
        home.clock.turn(1)
    payloads = contents(archive)
    failing = FaultyStore(home.store, at=at, only=("put", "get", "delete"))
    with suppress(StorageUnavailableError):
        compacted(home.open(store=failing))
    assert contents(home.open()) == payloads
    compacted(home.open())
    assert contents(home.open()) == payloads
    verify_all = found_by(verify(home.open(), repair=True))
    assert all(found.harmless or found.repaired for found in verify_all)
    assert found_by(verify(home.open(), full=True)) == []


def test_a_dictionary_that_fits_much_better_is_learnt(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = home.open()
    archive.add(games(120, first=0))
    assert len(archive.catalog.dictionaries()) == 1
    chance = random.Random(5)
    phrases = [chance.randbytes(30).hex() for _ in range(1500)]
    archive.add(
        [
            plain(f"x-{number}", f'{{"id":"x-{number}","log":{chance.sample(phrases, 12)}}}'.replace("'", '"').encode())
            for number in range(3000)
        ]
    )
    payloads = contents(archive)
    compacted(archive)
    assert len(archive.catalog.dictionaries()) == 2
    assert contents(home.open()) == payloads
    newest = archive.catalog.dictionaries()[-1]
    assert {row.dictionary_id for row in archive.catalog.packs()} == {newest.id}


def use(key: str, *, pack_bytes: int = 1 << 21, dense: bool = False, games: int = 100, newest: int = 0) -> PackUse:
    return PackUse(f"game/{key}", pack_bytes, games, pack_bytes * 6, pack_bytes, dense, newest, JSON)


def chosen(packs: list[PackUse], due: Due = never, dead: str = "") -> list[str]:
    found = groups(packs, due, is_half_dead=lambda pack: pack.key.removeprefix("game/") in dead.split())
    return ["+".join(pack.key.removeprefix("game/") for pack in group) for group in found]


def test_which_packs_are_chosen() -> None:
    small, dense = partial(use, pack_bytes=9_000), partial(use, dense=True)
    assert chosen([use("a"), use("b")]) == []
    assert chosen([use("a", pack_bytes=5 << 20), use("b", pack_bytes=5 << 20)], at_once) == ["a", "b"]  # 30 MiB of games each
    assert chosen([dense("a"), use("b", newest=5)], lambda _, at: at >= 5) == ["b"]
    assert chosen([dense("a"), dense("b")], at_once) == []
    assert chosen([small("a"), small("b"), small("c")]) == []
    assert chosen([small("a"), small("b"), small("c"), small("d")]) == ["a+b+c+d"]
    assert chosen([small("a"), small("b"), use("x"), small("c"), small("d")]) == []
    assert chosen([small("a"), small("b")], dead="b") == ["a+b"]
    assert chosen([dense("a"), dense("b")], dead="b") == ["b"]
    large = use("a", pack_bytes=500_000)
    assert chosen([large, small("b"), small("c"), small("d"), small("e")]) == ["b+c+d+e"]
    assert chosen([small("a"), replace_type(small("b"), "chess"), small("c"), small("d"), small("e")]) == ["a+c+d+e"]
    binary = [small(letter)._replace(content_type=OPAQUE) for letter in "xyz"]
    assert chosen([small("a"), *binary, small("b"), small("c"), small("d")]) == ["a+b+c+d"]
    assert chosen([small("a", games=40_000), small("b", games=30_000)], at_once) == ["a", "b"]


def replace_type(pack: PackUse, entity_type: str) -> PackUse:
    return pack._replace(key=pack.key.replace("game/", f"{entity_type}/"))


def test_a_verification_meanwhile_takes_nothing_for_lost(home: Home) -> None:
    archive = fill(home)
    seen: list[object] = []
    for full in (False, True):
        steps = verify(home.open(), full=full, adding=lambda: True)
        seen += found_by([next(steps) for _ in range(4)])
        archive.add(games(40, first=2000 + full))
        compacted(archive)
        seen += [found for found in found_by(steps) if not found.harmless]
    assert seen == []
