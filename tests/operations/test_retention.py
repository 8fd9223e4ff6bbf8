"""Retention carried out: what goes, what stays, what can be brought back, and what a new catalog knows of it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from archiving import EVERYTHING, Home, found_by, game, games, listed, plain
from retention_reference import Kept, expired

from gamearchive.archive import Archive
from gamearchive.catalog import Catalog
from gamearchive.database.engine import Database
from gamearchive.errors import IntegrityError, LockedError, NotFoundError, RefusedError, UnsupportedError
from gamearchive.holds import Hold
from gamearchive.ledger import read_ledger
from gamearchive.model import EntityKey, Facts, GameRecord, Player, Sender
from gamearchive.operations.rebuild import rebuild
from gamearchive.operations.retention import Emptied, Retention, Step
from gamearchive.operations.verify import verify
from gamearchive.plans import Plan, SavedPlan, decode_plan, encode_plan
from gamearchive.prospects import Prospects
from gamearchive.query import ArchiveQuery
from gamearchive.queue import JobQueue
from gamearchive.retention import Per, Rule, Since
from gamearchive.trash import Trash
from gamearchive.units import SECOND

DAY = 86_400.0
WEEK = 7 * DAY
TEN_DAYS = Rule(name="old", keep_for=timedelta(days=10))
AT_ONCE = Rule(name="all", keep_for=timedelta(0))


def retention(archive: Archive, *rules: Rule, window: float = WEEK) -> Retention:
    return Retention(archive, rules or (TEN_DAYS,), undelete_seconds=window)


def apply(archive: Archive, *rules: Rule, window: float = WEEK, **options: Any) -> tuple[int, int, int]:
    """How many games expired, and how many revisions and packs went for good."""
    gone, emptied = 0, Emptied()
    for step in retention(archive, *rules, window=window).apply(**options):
        gone += len(step.done.going) if isinstance(step, Step) else 0
        emptied = step if isinstance(step, Emptied) else emptied
    return gone, emptied.revisions, emptied.packs


def ids(archive: Archive) -> list[str]:
    return sorted(entry.entity_id for entry in archive.catalog.every(ArchiveQuery(limit=0)))


def rebuilt(home: Home) -> Archive:
    """The archive with a catalog made from its packs alone, in a database of its own."""
    database = Database(f"sqlite:///{home.folder / 'anew.db'}")
    home._databases.append(database)
    Path(home.folder / "anew.db").unlink(missing_ok=True)
    database.create()
    again = Archive(Catalog(database), home.open().holdings, home.clock)
    assert [step.error for step in rebuild(again)].count(None) == len(home.packs)
    again.catalog.identify(home.open().catalog.identity() or "0" * 32)
    return again


@pytest.fixture
def old(archive: Archive, home: Home) -> Archive:
    """Ten games of twelve days ago, and ten of today."""
    archive.add(games(10))
    home.clock.turn(12 * DAY)
    archive.add(games(10, first=10))
    return archive


def test_what_is_due_leaves_every_listing_at_once_and_comes_back_exactly(old: Archive) -> None:
    before = listed(old)
    assert apply(old) == (10, 0, 0)
    assert ids(old) == sorted(f"g-{number}" for number in range(10, 20))
    assert len(listed(old)) == old.catalog.count(ArchiveQuery()) == sum(total.games for total in old.catalog.totals()) == 10
    assert [entry.entity_id for entry in old.catalog.every(ArchiveQuery(limit=0, players=["Ada"]))] == [
        entry.entity_id for entry in before[:9:-1] if "Ada" in [player.name for player in entry.facts.players]
    ]
    assert old.catalog.get("g-3") is None
    assert retention(old).bring_back([EntityKey("game", f"g-{number}") for number in range(10)]) == 10
    assert listed(old) == before
    assert [old.read(entry) for entry in before] == [record.payload for record in games(20)]
    assert found_by(verify(old, full=True)) == []


def test_after_the_window_it_is_gone_with_its_pack(old: Archive, home: Home) -> None:
    apply(old)
    assert len(home.packs) == 2
    home.clock.turn(WEEK - 1)
    assert apply(old) == (0, 0, 0)
    assert found_by(verify(old, full=True)) == []
    home.clock.turn(1)
    assert apply(old) == (0, 10, 1)
    assert len(home.packs) == 1
    with pytest.raises(NotFoundError):
        retention(old).in_trash("g-3")
    assert found_by(verify(old, full=True)) == []
    assert ids(old) == ids(rebuilt(home)) == sorted(f"g-{number}" for number in range(10, 20))
    assert read_ledger(old.holdings).purged == {}


def test_a_pack_stays_for_as_long_as_one_of_its_games_does(old: Archive, home: Home) -> None:
    some = Rule(name="some", where="entity_id IN ('g-1', 'g-2', 'g-12')", keep_for=timedelta(0))
    assert apply(old, some, window=0) == (3, 3, 0)
    assert len(home.packs) == 2
    assert len(ids(old)) == 17
    assert [old.read(entry) for entry in listed(old)]
    for archive in (home.open(), rebuilt(home)):
        assert ids(archive) == ids(old)
        assert found_by(verify(archive, full=True)) == []
    assert apply(old, AT_ONCE, window=0) == (17, 17, 2)
    assert home.packs == []
    assert found_by(verify(old, full=True)) == []


def test_a_new_catalog_has_in_the_trash_what_was_in_the_trash(old: Archive, home: Home) -> None:
    apply(old)
    again = rebuilt(home)
    assert ids(again) == ids(old)
    assert list(Trash(again.catalog).contents()) == list(Trash(old.catalog).contents())
    assert retention(again).bring_back([EntityKey("game", "g-3")]) == 1
    assert again.read(again.get("g-3")) == game(3).payload
    home.clock.turn(WEEK)
    assert apply(again, window=WEEK)[1] == 9


def test_a_new_catalog_has_the_holds(old: Archive, home: Home) -> None:
    made = retention(old).hold([Hold(0, "why", home.clock.now(), entity_id="g-3"), Hold(0, "so", 1, player="Ada")])
    again = rebuilt(home)
    assert retention(again).holds() == made
    assert [hold.number for hold in made] == [1, 2]


def test_stray_packs_of_what_has_expired_do_not_bring_it_back(old: Archive, home: Home) -> None:
    """As a kill leaves them between the catalog and the storage, or somebody puts them back from a backup."""
    kept = {path: path.read_bytes() for path in home.packs}
    some = Rule(name="some", where="entity_id = 'g-1'", keep_for=timedelta(0))
    apply(old, some, window=0)
    assert apply(old, TEN_DAYS) == (9, 0, 0)
    anew = rebuilt(home)
    assert "g-1" not in ids(anew)
    for path, data in kept.items():
        path.write_bytes(data)
    assert found_by(verify(old, repair=True)) == []
    assert "g-1" not in ids(old)
    assert "g-2" not in ids(old)


def test_an_id_in_the_trash_is_free_and_what_comes_under_it_stays(old: Archive, home: Home) -> None:
    apply(old)
    done = old.add([game(3), plain("g-4", b'{"other": 1}')])
    assert [entry.revision for entry in done.entries] == [2, 2]
    again = rebuilt(home)
    for archive in (old, again):
        assert archive.read(archive.get("g-3")) == game(3).payload
        assert archive.read(archive.get("g-4")) == b'{"other": 1}'
    home.clock.turn(WEEK)
    assert apply(old, TEN_DAYS)[1:] == (10, 1)
    for archive in (old, rebuilt(home)):
        assert archive.read(archive.get("g-3")) == game(3).payload
        assert archive.read(archive.get("g-4")) == b'{"other": 1}'
        assert found_by(verify(archive, full=True)) == []


def test_a_game_that_was_archived_anew_has_what_is_brought_back_for_earlier_revisions(old: Archive) -> None:
    apply(old)
    old.add([plain("g-4", b'{"other": 1}')])
    assert retention(old).bring_back([EntityKey("game", "g-4")]) == 1
    assert [(entry.revision, entry.superseded) for entry in old.catalog.revisions("g-4")] == [(2, False), (1, True)]
    assert old.read(old.get("g-4", revision=1)) == game(4).payload


def test_all_revisions_of_a_game_go_and_come_together(archive: Archive, home: Home) -> None:
    for number in range(3):
        archive.add([plain("g-1", b'{"n": %d}' % number), plain("g-2", b'{"n": 0}')])
        home.clock.turn(5 * DAY)
    before = listed(archive)
    assert apply(archive) == (1, 0, 0)
    assert ids(archive) == ["g-1"]
    home.clock.turn(6 * DAY)
    assert apply(archive) == (1, 0, 0)
    assert listed(archive) == []
    assert retention(archive).bring_back([EntityKey("game", "g-1"), EntityKey("game", "g-2")]) == 4
    assert listed(archive) == before
    assert apply(archive, window=0) == (2, 4, 3)
    assert listed(archive) == []


def test_the_same_id_of_another_type_is_another_game(archive: Archive) -> None:
    archive.add([plain("g-1", b"{}"), plain("g-1", b"{}", entity_type="room")])
    assert apply(archive, Rule(name="rooms", entity_type="room", keep_for=timedelta(0))) == (1, 0, 0)
    assert [entry.key for entry in listed(archive)] == [("game", "g-1")]
    assert retention(archive).in_trash("g-1").entity_type == "room"


def test_what_is_held_stays_and_what_is_held_in_the_trash_is_not_purged(old: Archive, home: Home) -> None:
    now = home.clock.now()
    by_id, by_player = Hold(0, "a", now, entity_id="g-3"), Hold(0, "b", now, player="Ada", entity_type="game")
    retention(old).hold([by_id, by_player, Hold(0, "c", now, now + 1, where="status = 'completed'")])
    home.clock.turn(1)
    spared = {f"g-{number}" for number in range(10) if "Ada" in str(game(number).facts) or number == 3}
    plan = retention(old).plan()
    assert (len(plan.held), plan.kept) == (len(spared), 10)
    assert apply(old)[0] == 10 - len(spared)
    assert spared < set(ids(old))
    gone = next(f"g-{number}" for number in range(10) if f"g-{number}" not in spared)
    (late,) = retention(old).hold([Hold(0, "late", now, entity_id=gone)])
    home.clock.turn(WEEK)
    assert apply(old)[1] == 10 - len(spared) - 1
    assert retention(old).in_trash(gone).entity_id == gone
    assert retention(old).release([1, 2, late.number]) == 3
    assert apply(old)[1] == 1
    with pytest.raises(NotFoundError, match="no hold 1"):
        retention(old).release([1])
    with pytest.raises(NotFoundError):
        retention(old).hold([Hold(0, "why", now, entity_id="nobody")])


def test_what_waits_to_be_archived_again_stays(old: Archive, home: Home) -> None:
    queue = JobQueue(old.catalog.database, home.clock, 100)
    queue.enqueue([plain("g-3", b'{"newer": 1}')], Sender())
    assert apply(old) == (9, 0, 0)
    assert "g-3" in ids(old)


def test_a_plan_is_done_exactly(old: Archive) -> None:
    work = retention(old)
    plan = work.plan()
    assert (len(plan.going), plan.kept, plan.games) == (10, 10, 20)
    saved = decode_plan(b"".join(encode_plan(plan, work.items(plan))))
    assert (saved.expired, saved.kept, saved.held, saved.bytes) == (10, 10, 0, plan.stored_bytes)
    assert {item.entity_id for item in saved.items} == {f"g-{number}" for number in range(10)}
    assert saved.items[0].reason == "archived 2025-06-15T15:06:40Z, and kept for 10d after it was archived"
    old.add(games(5, first=30))
    assert apply(old, saved=saved) == (10, 0, 0)
    with pytest.raises(RefusedError, match="no longer there"):
        apply(old, saved=saved)


def saved_plan(archive: Archive) -> SavedPlan:
    work = retention(archive)
    plan = work.plan()
    return decode_plan(b"".join(encode_plan(plan, work.items(plan))))


def test_a_plan_of_what_has_changed_is_refused_and_nothing_is_done(old: Archive, home: Home) -> None:
    saved = saved_plan(old)
    before = ids(old)
    with pytest.raises(RefusedError, match="rules of retention have changed"):
        apply(old, AT_ONCE, saved=saved)
    with pytest.raises(RefusedError, match="of another archive"):
        apply(old, saved=SavedPlan(1, "f" * 32, *[getattr(saved, name) for name in SavedPlan.__struct_fields__[2:]]))
    (hold,) = retention(old).hold([Hold(0, "a complaint", home.clock.now(), entity_id="g-3")])
    with pytest.raises(RefusedError, match="'g-3' is held: a complaint"):
        apply(old, saved=saved)
    retention(old).release([hold.number])
    old.add([plain("g-4", b'{"other": 1}')])
    with pytest.raises(RefusedError, match="'g-4' is no longer there"):
        apply(old, saved=saved)
    assert ids(old) == before
    with pytest.raises(IntegrityError, match="not a plan"):
        decode_plan(b'{"plan": 1}')


def test_more_than_the_share_that_may_go_is_refused(old: Archive) -> None:
    with pytest.raises(RefusedError, match=r"10 of 20 games would go, which is more than 49.9%"):
        apply(old, max_share=0.499)
    assert apply(old, max_share=0.5) == (10, 0, 0)


def test_a_clock_that_has_jumped_is_not_trusted(old: Archive, home: Home) -> None:
    apply(old)
    home.clock.turn(30 * DAY)
    assert apply(old)[1] == 10
    home.clock.turn(3650 * DAY)
    with pytest.raises(RefusedError, match="may have jumped"):
        apply(old)
    old.add([game(50)])  # by the same clock
    with pytest.raises(RefusedError, match="may have jumped"):
        apply(old)
    assert apply(old, trust_clock=True, dry_run=True)[0] == 0
    with pytest.raises(RefusedError, match="may have jumped"):
        apply(old)
    apply(old, trust_clock=True)
    apply(old)


def test_without_a_run_before_the_newest_game_tells_whether_the_clock_is_right(old: Archive, home: Home) -> None:
    home.clock.turn(32 * DAY)
    with pytest.raises(RefusedError, match="may have jumped"):
        apply(old)
    assert apply(old, trust_clock=True) == (20, 0, 0)


def test_a_dry_run_changes_nothing(old: Archive, home: Home) -> None:
    before = listed(old)
    assert apply(old, dry_run=True) == (10, 0, 0)
    assert listed(old) == before
    apply(old)
    home.clock.turn(WEEK)
    assert apply(old, dry_run=True) == (0, 10, 0)
    assert len(home.packs) == 2


def test_two_never_act_at_once(old: Archive, home: Home) -> None:
    other = home.open()
    with other.catalog.database.retain(), pytest.raises(LockedError):
        apply(old)
    with other.catalog.database.retain(), pytest.raises(LockedError):
        retention(old).hold([Hold(0, "why", 0, entity_id="g-3")])
    assert len(ids(old)) == 20


def test_what_is_archived_while_games_expire_is_not_in_its_way(old: Archive, home: Home) -> None:
    other = home.open()
    steps = retention(old).apply()
    next(steps)
    other.add([plain("new", b"{}"), plain("g-3", b'{"newer": 1}')])
    done = next(step for step in steps if isinstance(step, Step)).done
    assert (len(done.going), len(done.changed)) == (9, 1)
    assert old.read(old.get("g-3")) == b'{"newer": 1}'


def test_numbers_are_not_given_twice_to_what_others_remember(old: Archive, home: Home) -> None:
    other = home.open()
    assert len(listed(other)) == 20
    apply(old, AT_ONCE, window=0)
    assert home.packs == []
    home.clock.turn(1)
    old.add(games(30, first=100))
    assert [other.read(entry) for entry in listed(other)] == [record.payload for record in games(30, first=100)]


def test_no_backend_that_cannot_delete_has_games_expire(old: Archive) -> None:
    from gamearchive.backends.foreign import ForeignHoldings

    class Two:
        async def archive(self, entity_id: str, entity_type: str, data: bytes) -> str:
            return entity_id

        async def retrieve(self, location: str, /) -> bytes:
            return b""

    holdings = ForeignHoldings(Two())
    with pytest.raises(UnsupportedError):
        apply(Archive(old.catalog, holdings, old.clock))
    holdings.close()
    assert len(ids(old)) == 20


def test_a_damaged_ledger_is_passed_over_for_the_one_before_and_without_one_nothing_is_guessed(
    old: Archive, home: Home
) -> None:
    retention(old).hold([Hold(0, "why", 0, entity_id="g-3")])
    retention(old).hold([Hold(0, "so", 0, entity_id="g-4")])
    first, second = sorted((home.packs_folder / "_notes").iterdir())
    assert len(read_ledger(old.holdings).holds) == 2
    second.write_bytes(second.read_bytes()[:-9])
    assert [hold.reason for hold in read_ledger(old.holdings).holds] == ["why"]
    first.write_bytes(b"")
    with pytest.raises(IntegrityError, match="ledger"):
        read_ledger(old.holdings)


def test_a_game_is_explained_rule_by_rule(old: Archive, home: Home) -> None:
    last = Rule(name="last", entity_type="game", keep_last=3, keep_for=timedelta(days=20))
    rules = (
        Rule(name="rooms", entity_type="room", forever=True),
        Rule(name="drawn", where="status = 'draw'", forever=True),
        last,
    )
    prospects = Prospects(old.catalog, rules, home.clock, undelete_seconds=WEEK)
    found = prospects.explain("g-3")
    assert [(link.rule.name, link.matches, link.decides) for link in found.chain][-1] == ("last", True, True)
    assert (found.verdict, found.expires_at) == ("kept", None)
    home.clock.turn(10 * DAY)
    assert (prospects.explain("g-3").verdict, prospects.explain("g-19").verdict) == ("expires", "kept")
    plain_rule = Prospects(old.catalog, (TEN_DAYS,), home.clock, undelete_seconds=WEEK)
    expected = old.get("g-19").provenance.archived_at + round(10 * DAY) * SECOND
    assert plain_rule.explain("g-19").expires_at == expected == plain_rule.outlooks().of(old.get("g-19")).expires_at
    retention(old).hold([Hold(0, "a complaint", home.clock.now(), entity_id="g-19")])
    assert plain_rule.explain("g-19").reason == "hold 1: a complaint"
    assert plain_rule.outlooks().of(old.get("g-19")).held
    apply(old)
    assert plain_rule.explain("g-3").verdict == "expired"
    assert plain_rule.explain("g-3").purged_at == home.clock.now() + round(WEEK) * SECOND
    with pytest.raises(NotFoundError):
        plain_rule.explain("nobody")
    assert Prospects(old.catalog, (), home.clock, undelete_seconds=WEEK).explain("g-19").verdict == "held"


def test_random_archives_equal_the_reference(home: Home) -> None:
    """On a real catalog, with its batches and revisions; the rules alone are compared in tests/test_retention.py."""
    chance = random.Random(5)
    for seed in range(12):
        archive = home.open()
        kind = f"t{seed}"
        for _ in range(chance.randint(1, 5)):
            archive.add([random_game(chance, kind, home.clock.now()) for _ in range(chance.randint(1, 12))])
            home.clock.turn(chance.randint(1, 5) * DAY)
        days = [timedelta(days=chance.randint(0, 9)) for _ in range(2)]
        last: dict[str, Any] = {"keep_last": chance.randint(1, 3), "per": chance.choice(list(Per))}
        rules = [
            Rule(name="won", entity_type=kind, where="status = 'won' AND tags.room = 'a'", keep_for=days[0]),
            Rule(name="rest", entity_type=kind, keep_for=days[1], since=chance.choice(list(Since)), **last),
        ]
        now = home.clock.now()
        chosen = chance.choice([{"player": "Ada"}, {"where": "entity_id LIKE 'g-1%'"}])
        holds = [Hold(0, "why", now, entity_type=kind, **chosen)]
        entries = list(archive.catalog.every(ArchiveQuery(entity_type=kind, limit=0, ascending=True)))
        kept = [
            Kept(number, *entry.key, entry.provenance.archived_at, entry.content_type, entry.facts, entry.provenance.tags)
            for number, entry in enumerate(entries)
        ]
        wanted = {kept[number].entity_id for number in expired(rules, holds, kept, now)}
        retention(archive).hold(holds)
        apply(archive, *rules, window=0, trust_clock=True)
        left = {entry.entity_id for entry in archive.catalog.every(ArchiveQuery(entity_type=kind, limit=0))}
        assert left == {entry.entity_id for entry in entries} - wanted, seed
    assert found_by(verify(home.open(), full=True)) == []
    assert listed_ids(rebuilt(home)) == listed_ids(home.open())


def random_game(chance: random.Random, kind: str, now: int) -> GameRecord:
    people = tuple([Player(name=name) for name in chance.sample(["Ada", "Bea", "Dan"], chance.randint(0, 3))])
    done = chance.choice([None, now - chance.randint(0, 10**12)])
    facts = Facts(people, None, chance.choice(["draw", "won", None]), None, done)
    tags = chance.choice([(), (("room", "a"),), (("room", "b"),)])
    return GameRecord(kind, f"g-{chance.randint(0, 30)}", chance.randbytes(8).hex().encode(), "text/plain", facts, tags)


def listed_ids(archive: Archive) -> Sequence[tuple[str, str, bytes]]:
    return sorted((*entry.key, entry.checksum) for entry in archive.catalog.every(EVERYTHING))


def test_there_is_a_plan_before_anything_is_done(old: Archive) -> None:
    steps = retention(old).apply()
    assert isinstance(next(steps), Plan)
    steps.close()
    assert len(ids(old)) == 20
    assert apply(old, stopping=lambda: True) == (0, 0, 0)
    assert len(ids(old)) == 20
