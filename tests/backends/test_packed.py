from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from archiving import flip, plain
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packs.pack_samples import entries_of_games, entry_of, make_games, small_dictionary

from gamearchive.backends.base import GameBytes
from gamearchive.backends.packed import FileSystemArchiveBackend, PackHoldings
from gamearchive.clock import ManualClock
from gamearchive.errors import GameArchiveError, IntegrityError, NotFoundError, StorageUnavailableError, UsageError
from gamearchive.model import Facts, Player, parse_location
from gamearchive.packs import format as pack_format
from gamearchive.packs.dictionary import dictionary_keys
from gamearchive.stores.filesystem import FileSystemStore
from gamearchive.stores.memory import MemoryStore
from gamearchive.stores.wrapper import WrapperStore
from gamearchive.testing import Fault, FaultyStore


def test_several_games_of_a_type_share_a_pack(tmp_path: Path) -> None:
    backend = FileSystemArchiveBackend(tmp_path)
    games = [GameBytes(f"g-{number}", ("chess", "go")[number % 2], b"%d" % number) for number in range(10)]
    locations = asyncio.run(backend.archive_many(games))
    assert len({parse_location(location)[0].pack for location in locations}) == len(list(tmp_path.rglob("*.zst"))) == 2
    assert [asyncio.run(backend.retrieve(location)) for location in locations] == [game.data for game in games]


def test_delete_leaves_a_pack_that_others_share(tmp_path: Path) -> None:
    backend = FileSystemArchiveBackend(tmp_path)
    first, second = asyncio.run(backend.archive_many([GameBytes("1", "game", b"one"), GameBytes("2", "game", b"two")]))
    assert asyncio.run(backend.delete(first)) is False
    assert asyncio.run(backend.retrieve(first)) == b"one"
    assert asyncio.run(backend.retrieve(second)) == b"two"


def test_list_archives_from_a_date_on_and_before_another(tmp_path: Path) -> None:
    clock = ManualClock()
    backend = FileSystemArchiveBackend(tmp_path, clock=clock)
    start = datetime.fromtimestamp(clock.now() / 1e6, UTC)
    locations = []
    for number in range(3):
        locations.append(asyncio.run(backend.archive(f"g-{number}", "game", b"%d" % number)))
        clock.turn(3600)
    hour = timedelta(hours=1)
    assert asyncio.run(backend.list_archives(None, start + hour, start + 2 * hour)) == [locations[1]]
    assert asyncio.run(backend.list_archives("game", start, start)) == []


@pytest.mark.parametrize(
    ("entity_id", "entity_type"), [("", "game"), ("a\0b", "game"), ("x" * 513, "game"), ("1", ""), ("1", "../up"), ("1", "A b")]
)
def test_what_cannot_be_archived_is_refused_before_anything_is_written(
    tmp_path: Path, entity_id: str, entity_type: str
) -> None:
    backend = FileSystemArchiveBackend(tmp_path)
    with pytest.raises(UsageError):
        asyncio.run(backend.archive_many([GameBytes("good", "game", b"good"), GameBytes(entity_id, entity_type, b"bad")]))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "location",
    [
        "", "nowhere", "../../etc/passwd", "../../etc/passwd#0+9:0+9", "game/2025/01/01/x.zst#0+9:0+9", "game/a#1", "{0}",
        "{0}#-1+9:0+9",
    ],
)  # fmt: skip
def test_a_malformed_location_is_an_integrity_error(tmp_path: Path, location: str) -> None:
    backend = FileSystemArchiveBackend(tmp_path)
    pack = parse_location(asyncio.run(backend.archive("1", "game", b"there")))[0].pack
    for method in (backend.retrieve, backend.delete):
        with pytest.raises(IntegrityError, match="not the location"):
            asyncio.run(method(location.format(pack)))


def test_a_location_beyond_its_pack_is_an_integrity_error(tmp_path: Path) -> None:
    backend = FileSystemArchiveBackend(tmp_path)
    good = asyncio.run(backend.archive("1", "game", b"some bytes"))
    place, raw_bytes = parse_location(good)
    for wrong in (
        f"{place.pack}#0+{place.frame_bytes}:0+{raw_bytes + 1}",
        f"{place.pack}#0+{place.frame_bytes}:5+{raw_bytes}",
        f"{place.pack}#1+{place.frame_bytes}:0+{raw_bytes}",
        f"{place.pack}#0+0:0+0",
        f"{place.pack}#0+{'9' * 18}:0+1",
        f"{place.pack}#{'9' * 18}+1:0+1",
    ):
        with pytest.raises(IntegrityError, match=place.pack):
            asyncio.run(backend.retrieve(wrong))


def test_use_compression_false_stores_what_it_is_given(tmp_path: Path) -> None:
    data = b" ".join(make_games(40))
    sizes = {}
    for name, compress in (("small", True), ("plain", False)):
        backend = FileSystemArchiveBackend(tmp_path / name, use_compression=compress)
        location = asyncio.run(backend.archive("1", "game", data))
        assert asyncio.run(FileSystemArchiveBackend(tmp_path / name).retrieve(location)) == data
        sizes[name] = sum(path.stat().st_size for path in (tmp_path / name).rglob("*.zst"))
    assert sizes["small"] < len(data) / 2
    assert sizes["plain"] > 2 * sizes["small"]


def retrieved(backend: FileSystemArchiveBackend, location: str) -> bytes | str:
    """The bytes at a location, or which pack is said to be damaged."""
    try:
        return asyncio.run(backend.retrieve(location))
    except IntegrityError as error:
        return "names " + re.findall(r"\w+\.zst", error.message)[0]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_no_flipped_bit_gives_wrong_bytes(tmp_path: Path, position: int, bit: int) -> None:
    backend = FileSystemArchiveBackend(tmp_path)
    games = [GameBytes(f"g-{number}", "game", b"game %d, its bytes" % number) for number in range(4)]
    locations = asyncio.run(backend.archive_many(games))
    path = tmp_path / parse_location(locations[0])[0].pack
    position %= path.stat().st_size
    flip(path, position, bit)
    for game, location in zip(games, locations, strict=True):
        assert retrieved(backend, location) in (game.data, f"names {path.name}")
    flip(path, position, bit)


class AlteringStore(MemoryStore):
    """Says that it stored, and stored something else."""

    def put(self, key: str, data: bytes) -> None:
        super().put(key, data[:-1] + bytes([data[-1] ^ 1]))


def test_what_does_not_read_back_is_not_accepted() -> None:
    payload = b'{"id": 1}'
    with pytest.raises(IntegrityError, match="does not read back"):
        PackHoldings(AlteringStore()).put([entry_of(payload)], [payload], None)


@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.UNANSWERED, Fault.CUT])
@pytest.mark.parametrize("at", [1, 2])
def test_a_store_that_fails_fails_the_put(fault: Fault, at: int) -> None:
    payload = b'{"id": 1}'
    inner = MemoryStore()
    with pytest.raises((StorageUnavailableError, IntegrityError)):
        PackHoldings(FaultyStore(inner, at=at, fault=fault, only=("put", "get"))).put([entry_of(payload)], [payload], None)
    deposit = PackHoldings(inner).put([entry_of(payload)], [payload], None)
    assert PackHoldings(inner).get(deposit.entries[0]) == payload


def with_dictionary(folder: Path) -> tuple[PackHoldings, list[bytes], list[GameArchiveError]]:
    holdings = PackHoldings(FileSystemStore(folder))
    holdings.put_dictionary(small_dictionary())
    return holdings, make_games(5), []


@pytest.mark.parametrize("spoil", ["lost", "damaged", "another", "linked"])
@pytest.mark.parametrize("copy", [0, 1])
def test_one_good_copy_of_a_dictionary_is_enough(tmp_path: Path, copy: int, spoil: str) -> None:
    holdings, games, _ = with_dictionary(tmp_path)
    deposit = holdings.put(entries_of_games(games), games, small_dictionary())
    path = tmp_path / dictionary_keys("game", small_dictionary().id)[copy]
    if spoil == "lost":
        path.unlink()
    elif spoil == "damaged":
        flip(path, 1000)
    elif spoil == "linked":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.write_bytes(b"no dictionary at all")
    fresh = PackHoldings(FileSystemStore(tmp_path))
    assert [fresh.get(entry) for entry in deposit.entries] == games
    copies = list(fresh.dictionary_copies("game", small_dictionary().id).values())
    assert [found is None for found in copies] == [number == copy for number in range(2)]


def test_without_its_dictionary_a_game_is_named_as_lost(tmp_path: Path) -> None:
    holdings, games, _ = with_dictionary(tmp_path)
    deposit = holdings.put(entries_of_games(games), games, small_dictionary())
    for key in dictionary_keys("game", small_dictionary().id):
        (tmp_path / key).unlink()
    entry = deposit.entries[0]
    with pytest.raises(IntegrityError, match=f"{re.escape(repr(entry.entity_id))}.*{entry.place.pack}.*Both copies"):
        PackHoldings(FileSystemStore(tmp_path)).get(entry)


def test_a_dictionary_that_cannot_be_asked_for_is_not_called_lost(tmp_path: Path) -> None:
    holdings, games, _ = with_dictionary(tmp_path)
    deposit = holdings.put(entries_of_games(games), games, small_dictionary())
    first, second = (tmp_path / key for key in dictionary_keys("game", small_dictionary().id))
    first.unlink()
    second.rename(tmp_path / "elsewhere")
    second.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageUnavailableError, match="symbolic link"):
        PackHoldings(FileSystemStore(tmp_path)).get(deposit.entries[0])


def test_a_pack_that_is_gone_is_not_found(tmp_path: Path) -> None:
    holdings, games, _ = with_dictionary(tmp_path)
    deposit = holdings.put(entries_of_games(games), games, None)
    key = deposit.packs[0].key
    assert holdings.remove(key) is True
    assert holdings.remove(key) is False
    for call in (lambda: holdings.get(deposit.entries[0]), lambda: holdings.contents(key), lambda: list(holdings.records(key))):
        with pytest.raises(NotFoundError):
            call()


def test_a_pack_says_what_is_in_it(tmp_path: Path) -> None:
    holdings, games, _ = with_dictionary(tmp_path)
    deposit = holdings.put(entries_of_games(games), games, small_dictionary())
    contents = holdings.contents(deposit.packs[0].key)
    assert (contents.pack, list(contents.entries)) == (deposit.packs[0], deposit.entries)
    assert contents.dictionary == (small_dictionary().id, small_dictionary().checksum)
    assert [result for _, result in holdings.records(contents.pack.key)] == games
    assert [held.key for held in holdings.packs()] == [contents.pack.key]


def test_more_games_than_one_pack_takes_become_several_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack_format, "MAX_RECORDS", 4)
    games = make_games(11)
    holdings = PackHoldings(MemoryStore())
    deposit = holdings.put(entries_of_games(games), games, None)
    assert len(deposit.packs) > 2
    assert [holdings.get(entry) for entry in deposit.entries] == games


def test_more_facts_than_one_index_takes_become_several_packs() -> None:
    names = iter(range(10**7))
    payloads = [b"%d" % number for number in range(140)]
    entries = [
        entry_of(payload, f"g-{number}", facts=Facts(tuple([Player(name=f"{next(names):0256}") for _ in range(1000)])))
        for number, payload in enumerate(payloads)
    ]
    holdings = PackHoldings(MemoryStore())
    deposit = holdings.put(entries, payloads, None)
    assert len(deposit.packs) == 2
    assert [entry.facts for entry in deposit.entries] == [entry.facts for entry in entries]


def test_the_largest_payload_is_refused_where_the_record_is_made() -> None:
    with pytest.raises(UsageError, match="1073741824 bytes"):
        plain("huge", bytes(1 << 30))


def test_of_a_dictionary_one_copy_is_read_unless_it_is_bad() -> None:
    store, dictionary = MemoryStore(), small_dictionary()
    PackHoldings(store).put_dictionary(dictionary)
    asked: list[str] = []

    class Watched(WrapperStore):
        def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
            asked.append(key)
            return super().get(key, offset, length)

    first, second = dictionary_keys(dictionary.entity_type, dictionary.id)
    for good in (True, False):
        if not good:
            store.put(first, b"bad")
        assert PackHoldings(Watched(store)).dictionary(dictionary.entity_type, dictionary.id).checksum == dictionary.checksum
    assert asked == [first, first, second]
