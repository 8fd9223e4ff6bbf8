from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from archiving import Home, flip, game, games, listed, noise, plain
from databases import Databases
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gamearchive.accession import OvertakenError
from gamearchive.archive import Archive, OnConflict
from gamearchive.backends.base import Deposit
from gamearchive.backends.packed import PackHoldings
from gamearchive.catalog import Catalog
from gamearchive.errors import IntegrityError, LeaseLostError, NotFoundError, StorageUnavailableError, UsageError
from gamearchive.model import (
    JSON,
    OPAQUE,
    PGN,
    ArchivalPriority,
    ArchivalTrigger,
    ArchiveEntry,
    EntityKey,
    Facts,
    GameRecord,
    Player,
    Sender,
    checksum,
)
from gamearchive.operations.rebuild import rebuild
from gamearchive.packs.dictionary import Dictionary, dictionary_keys
from gamearchive.query import ArchiveQuery
from gamearchive.testing import Fault, FaultyStore


@pytest.fixture
def home(databases: Databases, tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path, databases.of(tmp_path))
    yield home
    home.close()


@pytest.fixture
def archive(home: Home) -> Archive:
    return home.open()


def revisions(archive: Archive, entity_id: str) -> list[tuple[int, bytes, bool]]:
    """Number, bytes, and whether superseded, of each revision, the latest first."""
    found = archive.catalog.revisions(entity_id)
    return [(entry.revision, archive.read(entry), entry.superseded) for entry in found]


# What comes back


def test_bytes_and_facts_come_back_in_another_process(home: Home) -> None:
    records = [game(number, tags=(("season", str(number % 2)),)) for number in range(30)]
    home.open().add(records, Sender(ArchivalTrigger.SHUTDOWN, ArchivalPriority.HIGH, "default@3"))
    archive = home.open()
    for record in records:
        entry = archive.get(record.entity_id)
        assert archive.read(entry) == record.payload
        assert (entry.facts, entry.content_type, entry.raw_bytes) == (record.facts, JSON, len(record.payload))
        sent = entry.provenance
        assert (sent.trigger, sent.priority, sent.policy) == (ArchivalTrigger.SHUTDOWN, ArchivalPriority.HIGH, "default@3")
        assert (sent.tags, sent.archived_at) == (record.tags, home.clock.now())


@pytest.mark.parametrize("payload", [b"", b"\0", b"\n", b"\xff\xfe", b'{"a": "\\ud800"}', bytes(range(256)) * 5000])
@pytest.mark.parametrize("content_type", [JSON, PGN, OPAQUE, "text/x-go"])
def test_any_bytes(archive: Archive, payload: bytes, content_type: str) -> None:
    archive.add([plain("before", b"{}"), plain("it", payload, content_type=content_type), plain("after", b"{}")])
    assert archive.read(archive.get("it")) == payload


def test_the_same_id_of_two_types(archive: Archive) -> None:
    archive.add([plain("1", b"chess", entity_type="chess"), plain("1", b"go", entity_type="go")])
    assert archive.read(archive.get("1", "chess")) == b"chess"
    assert archive.read(archive.get("1", "go")) == b"go"
    with pytest.raises(UsageError, match="chess, go"):
        archive.get("1")


def test_what_is_not_there(archive: Archive) -> None:
    archive.add([game(1), game(10)])
    for entity_id in ("g-", "g-100", "G-1", "", "%", "g_1"):
        with pytest.raises(NotFoundError):
            archive.get(entity_id)
    with pytest.raises(NotFoundError, match="revision 2"):
        archive.get("g-1", revision=2)
    with pytest.raises(NotFoundError, match="chess"):
        archive.get("g-1", "chess")


def test_nothing_to_add(archive: Archive, home: Home) -> None:
    assert (archive.add([]).entries, home.packs) == ((), [])


# Ids that come again


def test_the_same_bytes_are_passed_over(archive: Archive, home: Home) -> None:
    archive.add(games(5))
    packs = home.packs
    home.clock.turn(60)
    added = archive.add(games(7))
    assert [entry.entity_id for entry in added.entries] == ["g-5", "g-6"]
    assert [key.entity_id for key in added.skipped] == [f"g-{number}" for number in range(5)]
    assert len(home.packs) == len(packs) + 1
    assert archive.add(games(7)).stored_bytes == 0


@pytest.mark.parametrize(
    ("on_conflict", "expected"),
    [
        (OnConflict.REPLACE, [(2, b"two", False), (1, b"one", True)]),
        (OnConflict.SKIP, [(1, b"one", False)]),
        (OnConflict.KEEP_BOTH, [(1, b"one", False)]),
    ],
)
def test_other_bytes_under_an_archived_id(
    archive: Archive, home: Home, on_conflict: OnConflict, expected: list[tuple[int, bytes, bool]]
) -> None:
    archive.add([plain("a", b"one")])
    home.clock.turn(60)
    archive.add([plain("a", b"two")], on_conflict=on_conflict)
    assert revisions(archive, "a") == expected
    kept_apart = f"a~{checksum(b'two').hex()[:12]}"
    if on_conflict is OnConflict.KEEP_BOTH:
        assert revisions(archive, kept_apart) == [(1, b"two", False)]
    before = listed(archive)
    again = archive.add([plain("a", b"two")], on_conflict=on_conflict)
    assert (again.entries, listed(archive)) == ((), before)


@pytest.mark.parametrize("on_conflict", OnConflict)
def test_ids_that_come_again_within_one_call(archive: Archive, on_conflict: OnConflict) -> None:
    archive.add([plain("a", b"one"), plain("b", b"b"), plain("a", b"two"), plain("a", b"two")], on_conflict=on_conflict)
    expected = {
        OnConflict.REPLACE: [(2, b"two", False), (1, b"one", True)],
        OnConflict.SKIP: [(1, b"one", False)],
        OnConflict.KEEP_BOTH: [(1, b"one", False)],
    }
    assert revisions(archive, "a") == expected[on_conflict]
    assert archive.catalog.count(ArchiveQuery()) == (3 if on_conflict is OnConflict.KEEP_BOTH else 2)


def test_an_id_as_long_as_they_get_is_kept_apart_too(archive: Archive) -> None:
    entity_id = "é" * 256
    archive.add([plain(entity_id, b"one")])
    archive.add([plain(entity_id, b"two")], on_conflict=OnConflict.KEEP_BOTH)
    assert {archive.read(entry) for entry in listed(archive)} == {b"one", b"two"}
    assert archive.add([plain(entity_id, b"two")], on_conflict=OnConflict.KEEP_BOTH).entries == ()


def test_a_source_that_holds_an_id_twice_may_come_again_and_again(archive: Archive) -> None:
    source = [plain("a", b"one"), plain("b", b"only"), plain("a", b"two")]
    assert len(archive.add(source).entries) == 3
    for _ in range(2):
        assert archive.add(source).entries == ()
        assert archive.add(source[:2]).entries == ()
    assert revisions(archive, "a") == [(2, b"two", False), (1, b"one", True)]


def test_a_game_that_is_marked_as_lost_is_archived_again(archive: Archive) -> None:
    archive.add([plain("a", b"one")])
    entry = archive.get("a")
    archive.catalog.mark_damaged([entry], {entry: "its pack is gone"})
    archive.holdings.remove(entry.place.pack)
    assert [again.revision for again in archive.add([plain("a", b"one")]).entries] == [2]
    assert archive.read(archive.get("a")) == b"one"
    assert archive.add([plain("a", b"one")]).entries == ()


def test_the_last_of_several_states_in_one_call_is_the_game(archive: Archive) -> None:
    # States of one game among others, so that what is stored together is not what came together.
    states = [game(1), game(2, status="active"), game(2, moves=20), game(3, status="active"), game(1, moves=5, status="active")]
    archive.add(states)
    assert archive.read(archive.get("g-2")) == states[2].payload
    assert archive.read(archive.get("g-1")) == states[4].payload
    current = {entry.entity_id: entry.revision for entry in archive.catalog.every(ArchiveQuery(limit=0))}
    assert current == {"g-1": 2, "g-2": 2, "g-3": 1}


@pytest.mark.parametrize("kinds", [(JSON, OPAQUE, JSON), (OPAQUE, JSON, OPAQUE), (JSON, PGN, OPAQUE)])
def test_revisions_of_one_call_in_packs_of_text_and_of_binary(archive: Archive, kinds: tuple[str, ...]) -> None:
    records = [plain("other", b"{}"), *[plain("a", b"%d" % at, content_type=kind) for at, kind in enumerate(kinds)]]
    archive.add(records)
    assert revisions(archive, "a") == [(3, b"2", False), (2, b"1", True), (1, b"0", True)]


# Poison


SURROGATE = "half \ud800 of a pair"


@pytest.mark.parametrize(
    "poison",
    [
        {"entity_id": ""},
        {"entity_id": "x" * 513},
        {"entity_id": "a\0b"},
        {"entity_id": SURROGATE},
        {"entity_type": "../up"},
        {"content_type": ""},
        {"content_type": SURROGATE},
        {"tags": (("b", "1"), ("a", "2"))},
        {"tags": (("a", "1"), ("a", "2"))},
        {"tags": (("", "1"),)},
        {"tags": (("a", SURROGATE),)},
        {"tags": (("a", "x" * 257),)},
        {"facts": Facts(status=SURROGATE)},
        {"facts": Facts(status="")},
        {"facts": Facts((Player(),))},
        {"facts": Facts((Player(id=""),))},
        {"facts": Facts((Player(name=""),))},
        {"facts": Facts((Player(name="a\0b"),))},
        {"facts": Facts((Player(name="x" * 257),))},
        {"facts": Facts((), Player(id=SURROGATE))},
        {"facts": Facts(tuple([Player(name="x")] * 1001))},
        {"facts": Facts(created_at=1 << 61)},
        {"facts": Facts(completed_at=-(1 << 61))},
    ],
)
def test_a_game_that_nothing_could_hold_is_refused_before_it_meets_others(poison: dict[str, object]) -> None:
    values: dict[str, object] = {"entity_type": "game", "entity_id": "a", "payload": b"{}", "content_type": JSON}
    with pytest.raises(UsageError):
        GameRecord(**(values | poison))  # type: ignore[arg-type]


texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=256)
instants = st.none() | st.integers(-(1 << 60), 1 << 60)
players = st.builds(Player, texts, st.none() | texts) | st.builds(Player, st.none(), texts)
facts = st.builds(Facts, st.lists(players, max_size=5).map(tuple), st.none() | players, st.none() | texts, instants, instants)
tags = st.dictionaries(texts, st.just("") | texts, max_size=3).map(lambda pairs: tuple(sorted(pairs.items())))
records = st.builds(
    GameRecord,
    st.from_regex(r"[a-z0-9][a-z0-9_-]{0,63}", fullmatch=True),
    texts.filter(lambda text: len(text.encode()) <= 512),
    st.binary(max_size=200),
    st.sampled_from([JSON, PGN, OPAQUE]) | texts,
    facts,
    tags,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(given_records=st.lists(records, max_size=8))
def test_any_game_that_can_be_made_can_be_archived(archive: Archive, given_records: list[GameRecord]) -> None:
    archive.add(given_records)
    latest = {(record.entity_type, record.entity_id): record for record in given_records}
    for record in latest.values():
        entry = archive.get(record.entity_id, record.entity_type)
        assert archive.read(entry) == record.payload
        if entry.provenance.tags == record.tags:  # else the same bytes were archived before
            assert entry.entity_type == record.entity_type


# Dictionaries


def dictionary_files(home: Home) -> list[Path]:
    return sorted(home.packs_folder.rglob("*.zdict"))


def test_a_dictionary_is_trained_from_the_first_games_of_a_type(archive: Archive, home: Home) -> None:
    archive.add(games(300))
    (row,) = archive.catalog.dictionaries()
    assert row.entity_type == "game"
    assert [home.path(key) for key in sorted(dictionary_keys("game", row.id))] == dictionary_files(home)
    assert [path.stat().st_size for path in dictionary_files(home)] == [row.stored_bytes] * 2
    assert {pack.dictionary_id for pack in archive.catalog.packs()} == {row.id}
    entries = listed(archive)
    assert sum(entry.stored_bytes for entry in entries) < 0.4 * sum(entry.raw_bytes for entry in entries)


def test_a_dictionary_is_trained_from_games_that_trickle_in(home: Home) -> None:
    home.open().add([game(number, moves=30) for number in range(95)])
    for number in range(95, 105):
        archive = home.open()
        archive.add([game(number, moves=30)])
    (row,) = archive.catalog.dictionaries()
    used = [pack.dictionary_id for pack in archive.catalog.packs()]
    assert (used.count(None), used.count(row.id)) == (5, 6)
    assert [archive.read(archive.get(f"g-{number}")) for number in range(105)] == [
        game(number, moves=30).payload for number in range(105)
    ]


def test_another_process_uses_the_dictionary_there_is(home: Home) -> None:
    home.open().add(games(200))
    home.open().add(games(200, first=200))
    archive = home.open()
    assert len(archive.catalog.dictionaries()) == 1
    assert {pack.dictionary_id for pack in archive.catalog.packs()} == {archive.catalog.dictionaries()[0].id}


def test_no_dictionary_where_there_is_nothing_to_learn(archive: Archive, home: Home) -> None:
    archive.add(list(noise(300)))
    archive.add(games(99, first=0))
    archive.add([plain("x", b"{}", entity_type="chess")] * 3)
    assert (archive.catalog.dictionaries(), dictionary_files(home)) == ([], [])


def test_each_type_has_a_dictionary_of_its_own_even_of_the_same_games(archive: Archive, home: Home) -> None:
    archive.add([game(number, entity_type=entity_type) for number in range(150) for entity_type in ("chess", "go")])
    assert sorted(row.entity_type for row in archive.catalog.dictionaries()) == ["chess", "go"]
    assert len(dictionary_files(home)) == 4


def test_damaged_games_do_not_keep_others_out(home: Home) -> None:
    archive = home.open()
    for first in range(0, 90, 10):
        archive.add(games(10, first))
    for path in home.packs[:4]:
        path.unlink()
    archive = home.open()
    archive.add(games(150, first=1000))
    assert archive.read(archive.get("g-1149")) == game(1149).payload


def test_games_go_on_being_archived_when_their_dictionary_is_lost(home: Home) -> None:
    home.open().add(games(200))
    for path in dictionary_files(home):
        path.unlink()
    archive = home.open()
    archive.add(games(20, first=500))
    assert archive.read(archive.get("g-510")) == game(510).payload
    with pytest.raises(IntegrityError, match="'g-1'"):
        archive.read(archive.get("g-1"))


# Several processes


class Interrupting(PackHoldings):
    """Lets something happen once the bytes are put, and before the catalog names them."""

    def __init__(self, home: Home, happen: Callable[[], None], times: int = 1) -> None:
        super().__init__(home.store)
        self.happen = happen
        self.times = times
        self.put_packs: list[str] = []

    def put(self, entries: Sequence[ArchiveEntry], payloads: Sequence[bytes], dictionary: Dictionary | None) -> Deposit:
        deposit = super().put(entries, payloads, dictionary)
        self.put_packs += [pack.key for pack in deposit.packs]
        if self.times:
            self.times -= 1
            self.happen()
        return deposit


def test_another_process_that_was_faster_with_the_same_games(home: Home) -> None:
    other = home.open()
    holdings = Interrupting(home, lambda: (home.clock.turn(1), other.add(games(6))))
    added = home.open(holdings=holdings).add(games(5))
    assert (added.entries, len(added.skipped)) == ((), 5)
    assert [entry.revision for entry in listed(other)] == [1] * 6
    assert not home.path(holdings.put_packs[0]).exists()
    assert len(home.packs) == 1


def test_another_process_that_was_faster_with_some_of_the_games(home: Home) -> None:
    other = home.open()
    holdings = Interrupting(home, lambda: (home.clock.turn(1), other.add([plain("a", b"theirs")])))
    added = home.open(holdings=holdings).add([plain("a", b"ours"), plain("b", b"b")])
    assert [(entry.entity_id, entry.revision) for entry in added.entries] == [("a", 2), ("b", 1)]
    assert revisions(other, "a") == [(2, b"ours", False), (1, b"theirs", True)]
    assert {home.path(pack.key) for pack in other.catalog.packs()} == set(home.packs)


def test_another_process_with_other_games_is_no_hindrance(home: Home) -> None:
    other = home.open()
    holdings = Interrupting(home, lambda: other.add(games(5, first=100)))
    home.open(holdings=holdings).add(games(5))
    assert len(holdings.put_packs) == 1
    assert len(listed(other)) == 10


def test_processes_that_archive_the_same_game_without_end(home: Home) -> None:
    other = home.open()
    numbers = iter(range(100))
    holdings = Interrupting(home, lambda: other.add([plain("a", b"theirs %d" % next(numbers))]), times=100)
    with pytest.raises(OvertakenError):
        home.open(holdings=holdings).add([plain("a", b"ours")])
    assert {archived for _, archived, _ in revisions(other, "a")} == {b"theirs %d" % at for at in range(next(numbers))}
    assert {home.path(pack.key) for pack in other.catalog.packs()} == set(home.packs)


def test_a_clock_that_is_set_back_neither_stops_anything_nor_turns_the_order_around(archive: Archive, home: Home) -> None:
    archive.add([plain("a", b"one"), plain("b", b"b")])
    home.clock.turn(-366 * 86_400)
    archive.add([plain("a", b"two")])
    assert revisions(archive, "a") == [(2, b"two", False), (1, b"one", True)]
    second, first = (entry.provenance.archived_at for entry in archive.catalog.revisions("a"))
    assert second > first


# Storage that fails


@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.UNANSWERED, Fault.CUT])
@pytest.mark.parametrize("at", range(1, 6))
def test_whatever_fails_nothing_is_half_archived(home: Home, fault: Fault, at: int) -> None:
    """A pack is put and read back; a dictionary is put twice, before it."""
    store = FaultyStore(home.store, at=at, fault=fault, only=("put", "get"))
    archive = home.open(store=store)
    records = games(120)
    try:
        archive.add(records)
    except (StorageUnavailableError, IntegrityError):
        assert store.count == at
        assert listed(home.open()) == []
    else:
        assert store.count < at
    again = archive if at % 2 else home.open()
    again.add(records)
    reader = home.open()
    assert [reader.read(reader.get(record.entity_id)) for record in records] == [record.payload for record in records]
    assert [entry.revision for entry in listed(reader)] == [1] * 120


def test_a_store_that_refuses_leaves_what_was_archived(home: Home) -> None:
    home.open().add(games(3))
    with pytest.raises(StorageUnavailableError):
        home.open(store=FaultyStore(home.store, at=1, only=("put",))).add(games(3, first=10))
    assert [entry.entity_id for entry in listed(home.open())] == ["g-0", "g-1", "g-2"]


def test_killed_between_put_and_commit_and_done_again(home: Home) -> None:
    class KilledError(BaseException):
        pass

    def die() -> None:
        raise KilledError

    with pytest.raises(KilledError):
        home.open(holdings=Interrupting(home, die)).add(games(4))
    assert (len(home.packs), listed(home.open())) == (1, [])
    home.clock.turn(1)
    home.open().add(games(4))
    assert [entry.revision for entry in listed(home.open())] == [1] * 4


# Damage


def test_a_pack_that_is_gone_is_an_integrity_error(archive: Archive, home: Home) -> None:
    archive.add(games(2))
    entry = archive.get("g-1")
    home.path(entry.place.pack).unlink()
    with pytest.raises(IntegrityError, match=f"'g-1'.*{entry.place.pack}"):
        archive.read(entry)


def read_all(archive: Archive, records: Sequence[GameRecord], pack: str) -> int:
    """Read every game; how many are lost, each of them with an error that names pack and game."""
    outcomes = [read_or_error(archive, record.entity_id) for record in records]
    for record, outcome in zip(records, outcomes, strict=True):
        if isinstance(outcome, bytes):
            assert outcome == record.payload
        else:
            assert pack in outcome
            assert repr(record.entity_id) in outcome
    return sum(isinstance(outcome, str) for outcome in outcomes)


def read_or_error(archive: Archive, entity_id: str) -> bytes | str:
    try:
        return archive.read(archive.get(entity_id))
    except IntegrityError as error:
        return error.message


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_no_flipped_bit_gives_wrong_bytes(archive: Archive, home: Home, at: float, bit: int) -> None:
    records = games(6)
    archive.add(records)
    (path,) = home.packs
    position = int(at * path.stat().st_size)
    flip(path, position, bit)
    assert read_all(archive, records, archive.get("g-0").place.pack) <= 1
    flip(path, position, bit)
    assert read_all(archive, records, "") == 0


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.floats(0, 1, exclude_max=True))
def test_no_truncation_gives_wrong_bytes(archive: Archive, home: Home, at: float) -> None:
    records = games(6)
    archive.add(records)
    (path,) = home.packs
    whole = path.read_bytes()
    path.write_bytes(whole[: int(at * len(whole))])
    read_all(archive, records, archive.get("g-0").place.pack)
    path.write_bytes(whole)


def test_swapped_packs_give_no_wrong_bytes(archive: Archive, home: Home) -> None:
    size = random.Random(1)
    first = [plain(f"a{number}", b'{"n": %d}' % size.randrange(100, 999)) for number in range(3)]
    second = [plain(f"b{number}", b'{"n": %d}' % size.randrange(100, 999)) for number in range(3)]
    archive.add(first)
    archive.add(second)
    one, other = home.packs
    bytes_of_one = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(bytes_of_one)
    for record in first + second:
        with pytest.raises(IntegrityError, match=repr(record.entity_id)):
            archive.read(archive.get(record.entity_id))


def test_ids_that_only_look_like_uuids_stay_as_they_are(archive: Archive) -> None:
    odd = ["1234--78-1234-1234-1234-1234567890ab", "12--3478-1234-1234-1234-1234567890ab", "-" * 36]
    records = [plain(entity_id, entity_id.encode()) for entity_id in odd]
    assert len(archive.add(records).entries) == 3
    assert archive.add(records).entries == ()
    assert [archive.read(archive.get(entity_id)).decode() for entity_id in odd] == odd


def test_of_a_live_game_the_last_state_wins_though_it_was_there_before(home: Home) -> None:
    archive, live = home.open(), Sender(live=True)
    states = [plain("a", payload) for payload in (b"A", b"B", b"A")]
    for state in states:
        assert len(archive.add([state], live).entries) == 1
        assert archive.add([state], live).skipped == [EntityKey("game", "a")]
    assert (archive.get("a").revision, archive.read(archive.get("a"))) == (3, b"A")
    assert archive.add([states[1]]).skipped == [EntityKey("game", "a")]  # of a source it is there already
    assert [entry.revision for entry in archive.add([states[1], *states], live).entries] == [4, 5, 6, 7]
    assert archive.read(archive.get("a")) == b"A"
    before = listed(archive)
    with home.database.anew() as fresh:
        assert [step.error for step in rebuild(Archive(Catalog(fresh), archive.holdings, home.clock))].count(None) == 4
    assert listed(home.open()) == before


@pytest.fixture
def lost(home: Home, archive: Archive) -> bytes:
    """The pack of a game that is marked as lost, its pack having gone."""
    archive.add([plain("a", b"one"), plain("b", b"two")])
    (pack,) = home.packs
    data = pack.read_bytes()
    entries = listed(archive)
    archive.catalog.mark_damaged(entries, dict.fromkeys(entries, "the pack is missing"))
    pack.unlink()
    return data


def test_a_lost_game_that_has_come_back_is_passed_over_and_unmarked(home: Home, archive: Archive, lost: bytes) -> None:
    pack = home.packs_folder / archive.get("a").place.pack
    pack.write_bytes(lost)
    dry = archive.plan([plain("a", b"one")], Sender(), OnConflict.REPLACE)
    assert (dry.entries, len(dry.skipped)) == ([], 1)
    assert archive.catalog.damage(archive.get("a")) is not None
    assert archive.add([plain("a", b"one")]).entries == ()
    assert archive.catalog.damage(archive.get("a")) is None
    assert archive.catalog.damage(archive.get("b")) is not None
    assert [entry.revision for entry in listed(archive)] == [1, 1]


@pytest.mark.parametrize("on_conflict", OnConflict)
@pytest.mark.parametrize("payload", [b"one", b"other"])
def test_a_lost_game_is_stored_again_under_its_id_whatever_conflicts_mean(
    archive: Archive, lost: bytes, on_conflict: OnConflict, payload: bytes
) -> None:
    added = archive.add([plain("a", payload)], on_conflict=on_conflict)
    assert [(entry.entity_id, entry.revision) for entry in added.entries] == [("a", 2)]
    assert archive.read(archive.get("a")) == payload
    assert archive.add([plain("a", payload)], on_conflict=on_conflict).entries == ()


def test_conflicts_are_counted_apart(archive: Archive) -> None:
    archive.add([plain("a", b"one"), plain("b", b"two")])
    added = archive.add([plain("a", b"other"), plain("b", b"two")], on_conflict=OnConflict.SKIP)
    assert ([key.entity_id for key in added.skipped], [key.entity_id for key in added.conflicts]) == (["a", "b"], ["a"])


def test_of_a_batch_that_may_not_be_committed_nothing_is_left(home: Home) -> None:
    def refuse(_connection: object) -> None:
        raise LeaseLostError("Others have these jobs now.")

    archive = home.open()
    archive.add(games(3))
    with pytest.raises(LeaseLostError):
        archive.add(games(3, first=10), settle=refuse)
    assert (len(home.packs), len(listed(archive))) == (1, 3)
    archive.add(games(3, first=10))
    assert (len(home.packs), len(listed(archive))) == (2, 6)
