"""The catalog: what is added is there, entirely and once, on either engine, whoever adds at the same time."""

from __future__ import annotations

import multiprocessing
import string
import threading
import uuid
from random import Random

import pytest
from catalog_samples import NOW, add, add_as_another_process, entry, packed, packs_of, random_entries, sent
from msgspec import structs

from gamearchive.accession import OvertakenError, PackRow
from gamearchive.catalog import CHUNK, Catalog, DictionaryRow, Total
from gamearchive.database import interning
from gamearchive.database.engine import Database
from gamearchive.database.schema import ACCEPTANCE_LAG
from gamearchive.errors import NoArchiveError, UsageError
from gamearchive.model import (
    OPAQUE,
    PGN,
    ArchivalPriority,
    ArchivalTrigger,
    ArchiveEntry,
    EntityKey,
    Facts,
    Place,
    Player,
    Provenance,
)
from gamearchive.query import ArchiveQuery, SortField
from gamearchive.units import SECOND

DAY = 86_400 * SECOND


def there(catalog: Catalog) -> list[ArchiveEntry]:
    """All that is in a catalog, earlier revisions included, in the order of acceptance."""
    return list(catalog.every(ArchiveQuery(limit=0, ascending=True, all_revisions=True)))


# adding


def test_nothing_is_known_where_there_is_no_archive_and_nothing_is_made(database_url: str):
    database = Database(database_url)
    assert Catalog(database).known([EntityKey("game", "a")]).games == {}
    with pytest.raises(NoArchiveError):
        Catalog(database).get("a")
    assert not database.exists()
    database.close()


def test_all_of_an_entry_is_kept(catalog: Catalog):
    made = entry(
        "a",
        entity_type="ranked-match",
        content_type=PGN,
        facts=Facts((Player("1", "Ann"), Player("2"), Player(name="Bob")), Player("9", "Eve"), "1-0", NOW - 5, NOW + 7),
        provenance=Provenance(
            NOW, ArchivalTrigger.TIME_BASED, ArchivalPriority.HIGH, "default@3", (("a", ""), ("season", "2"), ("ü", "ß"))
        ),
        place=Place("game/2025/01/01/00.zst", 1 << 40, 700, 1 << 33),
    )
    made = structs.replace(made, raw_bytes=1 << 41, stored_bytes=55)
    catalog.add([made], [PackRow(made.place.pack, 1 << 42, 7)])
    assert there(catalog) == [made]
    assert Catalog(catalog.database).get("a") == made  # read anew, nothing remembered


@pytest.mark.parametrize(
    "entity_id",
    [
        "a",
        " ",
        "../../etc/passwd",
        "a\tb\nc",
        "%_'\"\\;--",
        "é",
        "e\u0301",
        "🎲" * 128,
        "שלום\u202e",
        "x" * 512,
        "\x01\x7f",
        "CON",
        "123e4567-e89b-12d3-a456-426614174000",
        "123E4567-E89B-12D3-A456-426614174000",
        "123e4567-e89b-12d3-a456-42661417400g",
        "123e4567e89b12d3a456426614174000",
        "{123e4567-e89b-12d3-a456-426614174000}",
    ],
)
def test_a_game_is_found_by_its_very_id_alone(catalog: Catalog, entity_id: str):
    near = [entity_id + "0", entity_id[:-1] or "b", entity_id.swapcase() + "~", f"{entity_id} "]
    add(catalog, *packed("pack", entry(entity_id), *[entry(other) for other in near if len(other.encode()) <= 512]))
    found = catalog.get(entity_id)
    assert found is not None
    assert found.entity_id == entity_id
    assert [e.entity_id for e in catalog.find(ArchiveQuery(entity_ids=[entity_id])).entries] == [entity_id]
    assert catalog.known([EntityKey("game", entity_id)]).games.keys() == {EntityKey("game", entity_id)}


def test_games_whose_ids_share_a_hash_are_told_apart(catalog: Catalog):
    one, other = "g39478", "g71367"
    from gamearchive.database.schema import short_hash

    assert short_hash(one.encode()) == short_hash(other.encode())
    add(catalog, entry(one))
    assert catalog.get(other) is None
    assert catalog.known([EntityKey("game", other)]).games == {}
    add(catalog, entry(other))
    assert [len(catalog.revisions(game)) for game in (one, other)] == [1, 1]
    assert catalog.count(ArchiveQuery(entity_ids=[one])) == 1


PLAYERS = {
    "id and name": Player("1", "Ann"),
    "id": Player("1"),
    "name": Player(name="Ann"),
    "neither": Player(),
    "uuid": Player(str(uuid.UUID(int=5)), "Ann"),
    "emoji": Player("🎲", "👩‍🚀 Zoë"),
    "right to left": Player("א", "שלום עולם"),
    "long": Player("x" * 256, "y" * 256),
    "blank": Player(" ", "\t"),
    "quotes": Player("'\"", '" OR "1" AND NOT ('),
}


@pytest.mark.parametrize("player", PLAYERS.values(), ids=PLAYERS)
def test_players_are_kept_as_they_are_and_found_by_id_and_by_name(catalog: Catalog, player: Player):
    facts = Facts((Player("0", "other"), player), player)
    add(catalog, entry("a", facts=facts), entry("b"))
    assert [e.facts for e in there(catalog)] == [facts, Facts()]
    for name in {player.id, player.name} - {None}:
        assert [e.entity_id for e in catalog.find(ArchiveQuery(players=[name or ""])).entries] == ["a"]


def test_players_of_one_name_are_several_and_are_found_together(catalog: Catalog):
    twins = [Player("1", "Twin"), Player("2", "Twin"), Player(name="Twin"), Player("Twin", "Other")]
    add(catalog, *packed("pack", *[entry(str(number), facts=Facts((twin,))) for number, twin in enumerate(twins)]))
    assert [e.facts.players for e in there(catalog)] == [(twin,) for twin in twins]
    assert catalog.count(ArchiveQuery(players=["Twin"])) == 4
    assert catalog.count(ArchiveQuery(players=["1"])) == 1
    assert catalog.count(ArchiveQuery(players=["twin"])) == catalog.count(ArchiveQuery(players=[""])) == 0


def test_an_id_or_a_name_that_is_empty_counts_as_unknown(catalog: Catalog):
    add(catalog, entry("a", facts=Facts((Player("", "Ann"), Player(None, "Ann"), Player("1", "")), Player("", "Ann"))))
    assert there(catalog)[0].facts == Facts((Player(None, "Ann"), Player(None, "Ann"), Player("1")), Player(None, "Ann"))


def test_the_winner_need_not_be_among_the_players_and_a_player_may_sit_twice(catalog: Catalog):
    ann = Player("1", "Ann")
    facts = [Facts((ann, ann), Player("3", "Eve")), Facts((), ann), Facts((ann,) * 300)]
    add(catalog, *packed("pack", *[entry(str(number), facts=one) for number, one in enumerate(facts)]))
    assert [e.facts for e in there(catalog)] == facts
    assert catalog.count(ArchiveQuery(players=["Ann"])) == 2
    assert catalog.count(ArchiveQuery(players=["Eve"])) == 0


@pytest.mark.parametrize(
    "instant",
    [None, 0, 1, -1, -999_999, -SECOND, -3_550_000_000 * SECOND, -62_135_596_800 * SECOND, 253_402_300_799_999_999],
    ids=["unknown", "epoch", "after", "before", "just-before", "second-before", "1857", "year-1", "year-9999"],
)
def test_instants_are_kept_to_the_microsecond_and_found(catalog: Catalog, instant: int | None):
    add(
        catalog, *packed("pack", entry("a", facts=Facts(created_at=instant, completed_at=instant)), entry("now", facts=Facts()))
    )
    assert there(catalog)[0].facts == Facts(created_at=instant, completed_at=instant)
    if instant is None:
        return
    for time in (SortField.CREATED, SortField.COMPLETED):
        for since, until, expected in ((instant, instant + 1, ["a"]), (instant + 1, None, []), (None, instant, [])):
            page = catalog.find(ArchiveQuery(time=time, start_date=since, end_date=until))
            assert [e.entity_id for e in page.entries] == expected


def test_one_batch_may_hold_games_of_all_kinds(catalog: Catalog):
    made = [
        entry("a", facts=Facts(status="completed"), provenance=sent(NOW, season="1")),
        entry("b", facts=Facts(status="abandoned"), provenance=sent(NOW, season="2", ranked="yes")),
        entry("a", entity_type="chess", content_type=PGN),
        entry("c", content_type=OPAQUE, provenance=Provenance(NOW + SECOND, ArchivalTrigger.SHUTDOWN)),
        entry("d", facts=Facts(status="completed"), provenance=sent(NOW, season="1")),
    ]
    add(catalog, *made)
    assert sorted(there(catalog), key=lambda e: e.key) == sorted(made, key=lambda e: e.key)
    assert [e.entity_id for e in catalog.find(ArchiveQuery(statuses=["completed"], ascending=True)).entries] == ["a", "d"]
    assert [e.entity_id for e in catalog.find(ArchiveQuery(tags={"ranked": "yes"})).entries] == ["b"]


def test_foreign_locations_are_kept_and_may_come_again(catalog: Catalog):
    place = Place("s3://somebody/else?key=é#1+2:3+4")
    add(catalog, entry("a", place=place))
    add(catalog, entry("b", place=place))
    assert [e.location for e in there(catalog)] == [place.pack] * 2
    assert [e.entity_id for e in catalog.entries_of(place.pack)] == ["a", "b"]
    assert len(list(catalog.packs())) == 1


def test_more_games_than_are_looked_up_at_a_time(catalog: Catalog):
    random = Random(5)
    made = packed("pack", *[e for batch in random_entries(random, CHUNK * 2 + 500, batches=1) for e in batch])
    add(catalog, *made)
    found = catalog.known([e.key for e in made] + [EntityKey("game", "absent")]).games
    assert {key: latest.revision for key, latest in found.items()} == {e.key: e.revision for e in made}
    assert {(e.key, e.revision) for e in catalog.entries_of("pack")} == {(e.key, e.revision) for e in made}


# revisions


def test_a_later_revision_takes_the_place_of_the_earlier(catalog: Catalog):
    first, second = entry("a", facts=Facts(status="in play")), entry("a", revision=2, facts=Facts(status="completed"))
    add(catalog, first)
    add(catalog, second)
    assert catalog.get("a") == second
    assert catalog.get("a", revision=1) == structs.replace(first, superseded=True)
    assert catalog.get("a", revision=3) is None
    assert [e.revision for e in catalog.revisions("a")] == [2, 1]
    assert [e.revision for e in catalog.find(ArchiveQuery()).entries] == [2]
    assert catalog.count(ArchiveQuery(statuses=["in play"])) == 0
    assert catalog.count(ArchiveQuery(statuses=["in play"], all_revisions=True)) == 1
    assert catalog.known([first.key]).games[first.key][:2] == (2, second.checksum)


@pytest.mark.parametrize("statuses", [("x", "x", "x"), ("x", "y", "x"), ("y", "x", "y")])
def test_two_revisions_of_a_game_may_come_at_once(catalog: Catalog, statuses: tuple[str, str, str]):
    other, first, second = (Facts(status=status) for status in statuses)
    add(catalog, entry("b", facts=second), entry("a", facts=first), entry("a", revision=2, facts=other))
    assert [(e.revision, e.superseded) for e in catalog.revisions("a")] == [(2, False), (1, True)]
    add(catalog, entry("a", revision=3), entry("a", revision=4, facts=first))
    assert [(e.revision, e.superseded) for e in catalog.revisions("a")] == [(4, False), (3, True), (2, True), (1, True)]
    assert catalog.count(ArchiveQuery()) == 2


def test_a_game_of_another_type_with_the_same_id_is_another_game(catalog: Catalog):
    add(catalog, entry("a"))
    add(catalog, entry("a", entity_type="chess"))
    add(catalog, entry("a", entity_type="chess", revision=2))
    assert [(e.entity_type, e.revision, e.superseded) for e in catalog.revisions("a")] == [
        ("chess", 2, False),
        ("chess", 1, True),
        ("game", 1, False),
    ]
    with pytest.raises(UsageError, match="several types: chess, game"):
        catalog.get("a")
    found = catalog.get("a", "game")
    assert found is not None
    assert found.revision == 1
    assert catalog.known([EntityKey("puzzle", "a")]).games == {}


@pytest.mark.parametrize("revision", [1, 3])
def test_a_revision_that_does_not_follow_is_refused_and_nothing_is_added(catalog: Catalog, revision: int):
    add(catalog, entry("a"))
    before = there(catalog)
    with pytest.raises(OvertakenError, match="'a' was archived by another"):
        add(catalog, entry("b"), entry("a", revision=revision))
    assert there(catalog) == before
    assert len(list(catalog.packs())) == 1


def test_who_knew_before_another_added_is_refused(catalog: Catalog):
    other = Catalog(catalog.database)
    made = entry("a")
    known = catalog.known([made.key])
    add(other, entry("a"))
    with pytest.raises(OvertakenError):
        catalog.add([made], packs_of([made]), known)
    assert len(there(catalog)) == 1


def test_who_knew_before_another_added_other_games_is_not_refused(catalog: Catalog):
    other = Catalog(catalog.database)
    add(catalog, entry("a"))
    made = entry("a", revision=2)
    known = catalog.known([made.key])
    add(other, entry("b"))
    catalog.add([made], packs_of([made]), known)
    assert [(e.entity_id, e.superseded) for e in there(catalog)] == [("a", True), ("b", False), ("a", False)]


def test_names_given_in_what_was_undone_are_not_remembered(catalog: Catalog):
    new = Facts((Player("1", "Ann"),), status="new")
    add(catalog, entry("a"))
    with pytest.raises(OvertakenError):
        add(catalog, entry("b", entity_type="chess", facts=new, provenance=sent(NOW, tag="x")), entry("a"))
    other = Facts((Player("2", "Bob"),), status="other")
    add(catalog, entry("c", entity_type="puzzle", facts=other, provenance=sent(NOW, tag="y")))
    made = entry("b", entity_type="chess", facts=new, provenance=sent(NOW, tag="x"))
    add(catalog, made)
    assert catalog.get("b") == Catalog(catalog.database).get("b") == made
    assert [e.facts for e in catalog.revisions("c")] == [other]


def test_what_is_remembered_is_bounded_and_right(catalog: Catalog, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(interning, "_REMEMBERED", 10)
    made = [e for batch in random_entries(Random(8), 600, batches=6) for e in batch]
    for start in range(0, 600, 100):
        add(catalog, *made[start : start + 100])
    expected = {(e.key, e.revision): e.facts for e in made}
    wrong: list[ArchiveEntry] = []

    def read() -> None:
        wrong.extend(e for e in there(catalog) if e.facts != expected[e.key, e.revision])

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert len(there(catalog)) == 600
    assert wrong == []


# the order of time


def test_a_clock_may_trail_a_little_and_not_more(catalog: Catalog):
    add(catalog, entry("a", provenance=sent(NOW)))
    add(catalog, entry("b", provenance=sent(NOW - ACCEPTANCE_LAG)))
    with pytest.raises(OvertakenError, match="clock went back"):
        add(catalog, entry("c", provenance=sent(NOW - ACCEPTANCE_LAG - 1)))
    assert [e.entity_id for e in there(catalog)] == ["a", "b"]


# sums, packs, dictionaries, damage


def test_totals_are_by_type_and_day_and_count_the_latest_revisions(catalog: Catalog):
    assert catalog.totals() == []
    today, tomorrow = NOW // DAY, NOW // DAY + 1
    add(catalog, *packed("one", entry("a"), entry("b"), entry("c", entity_type="chess")))
    add(catalog, *packed("two", entry("a", revision=2, provenance=sent(NOW + DAY))))
    sizes = {e.key: e.raw_bytes for e in there(catalog)}
    assert catalog.totals() == [
        Total("chess", today, 1, sizes[EntityKey("chess", "c")], 700),
        Total("game", today, 1, sizes[EntityKey("game", "b")], 700),
        Total("game", tomorrow, 1, sizes[EntityKey("game", "a")], 700),
    ]


def test_packs_come_in_the_order_of_their_bytes(catalog: Catalog):
    keys = ["a/b", "a-b", "B", "a", "ab", "é", "Z", "z", "a_b", "🎲", "\uffff", "0"]
    made = [entry(str(number), place=Place(key, 0, 700)) for number, key in enumerate(keys)]
    add(catalog, *made)
    assert [pack.key for pack in catalog.packs()] == sorted(keys, key=str.encode)
    assert catalog.has_pack("a/b")
    assert not catalog.has_pack("A/B")


def test_packs_are_read_by_the_page(catalog: Catalog):
    made = [entry(str(number), place=Place(f"pack-{number % (CHUNK + 5):05}", 0, 700)) for number in range(CHUNK + 10)]
    add(catalog, *made)
    assert [pack.key for pack in catalog.packs()] == [f"pack-{number:05}" for number in range(CHUNK + 5)]


def test_entries_of_a_pack_are_its_own_and_no_others_between_them(catalog: Catalog):
    made = [
        entry(letter, place=Place(f"pack-{number % 3}", number * 700, 700))
        for number, letter in enumerate(string.ascii_letters)
    ]
    add(catalog, *made)
    for number in range(3):
        assert catalog.entries_of(f"pack-{number}") == made[number::3]
    assert catalog.entries_of("pack-9") == []


def test_dictionaries_are_named_once_and_come_the_newest_last(catalog: Catalog):
    rows = [
        DictionaryRow(7, "game", b"7" * 16, 112_640),
        DictionaryRow(2**32 - 1, "chess", b"x" * 16, 5),
        DictionaryRow(3, "game", b"3" * 16, 9),
    ]
    for row in rows:
        catalog.add_dictionary(row)
    catalog.add_dictionary(DictionaryRow(7, "game", b"8" * 16, 1))
    assert catalog.dictionaries() == rows


def test_damage_is_noted_and_taken_away(catalog: Catalog):
    first, second, third = made = packed("pack", entry("a"), entry("b"), entry("b", revision=2))
    add(catalog, *made)
    first, second, third = there(catalog)
    catalog.mark_damaged([first, second, third], {first: "gone", third: "a bit flipped"})
    assert [catalog.damage(e) for e in (first, second, third)] == ["gone", None, "a bit flipped"]
    catalog.mark_damaged([first, second], {second: "gone"})
    assert [catalog.damage(e) for e in (first, second, third)] == [None, "gone", "a bit flipped"]


# several processes


def test_two_processes_add_at_once_and_a_third_reads(database_url: str):
    spawn = multiprocessing.get_context("spawn")
    ids = [[f"{own}-{number}" for number in range(300)] + [f"shared-{number}" for number in range(100)] for own in "ab"]
    Random(1).shuffle(ids[0])
    Random(2).shuffle(ids[1])
    adders = [spawn.Process(target=add_as_another_process, args=(database_url, own, 10)) for own in ids]
    for adder in adders:
        adder.start()
    database = Database(database_url)
    catalog = Catalog(database)
    counted = 0
    while any(adder.is_alive() for adder in adders):
        if database.exists():
            page = catalog.find(ArchiveQuery(limit=50))
            now = catalog.count(ArchiveQuery(all_revisions=True))
            assert now >= max(counted, len(page.entries))
            assert now % 10 == 0
            counted = now
    for adder in adders:
        adder.join()
        assert adder.exitcode == 0
        adder.close()
    expected = {f"{own}-{number}": [1] for own in "ab" for number in range(300)} | {f"shared-{n}": [1, 2] for n in range(100)}
    found: dict[str, list[int]] = {}
    for one in there(catalog):
        found.setdefault(one.entity_id, []).append(one.revision)
        assert one.superseded == (one.entity_id.startswith("shared") and one.revision == 1)
    assert found == expected
    assert catalog.count(ArchiveQuery()) == 700
    database.close()
