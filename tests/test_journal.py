"""The journal: what was flushed is recovered, whole and once, by whoever it belongs to."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from archiving import Home, game, plain
from catalog_samples import add, entry
from journaling import (
    HANDOVER,
    claim_at_once,
    flush_forever,
    hold_name,
    journal,
    kept_by_another,
    payload_of,
    recovered,
    snapshot,
)
from sqlalchemy import exc, insert, update

from gamearchive.catalog import Catalog
from gamearchive.database.engine import Database
from gamearchive.database.records import MAX_ERROR
from gamearchive.database.schema import servers, snapshots
from gamearchive.errors import ConfigurationError, GameArchiveError, LeaseLostError, LockedError, NotFoundError
from gamearchive.journal import Count, Failure, Journal, Snapshot, State, settle
from gamearchive.model import JSON, OPAQUE, EntityKey, Facts, GameRecord, Player, Sender, checksum
from gamearchive.query import ArchiveQuery

A, B = EntityKey("game", "a"), EntityKey("game", "b")


@pytest.fixture
def kept(database: Database, database_url: str) -> Iterator[Journal]:
    with journal(database_url) as opened:
        yield opened


# what is kept


def test_a_game_comes_back_with_all_that_is_known_of_it(kept: Journal):
    facts = Facts((Player("1", "Zoë 🎲"), Player(name="Bea")), Player("1", "Zoë 🎲"), "active", -1, 1_750_000_000_000_000)
    records = [
        GameRecord(
            "chess", "d3b07384-d113-4ec6-a7a5-2a9e1b6a8f00", bytes(range(256)) * 40, OPAQUE, facts, (("a", ""), ("b", "x"))
        ),
        GameRecord("game", "d3b07384-d113-4ec6-a7a5-2a9e1b6a8f00", b"", JSON),
        GameRecord("game", "a/é", b"{}", JSON, Facts(status="done")),
    ]
    made = [
        Snapshot(records[0], checksum(records[0].payload), 1),
        Snapshot(records[1], checksum(b""), 2, HANDOVER, 3, "no room", failed=True),
        Snapshot(records[2], checksum(b"{}"), 3, HANDOVER),
    ]
    assert kept.flush(made) == {}
    assert sorted(kept.recover(), key=lambda each: each.saved_at) == made
    assert [kept.get(each.key) for each in made] == made
    assert kept.get(EntityKey("chess", "a/é")) is None


def test_the_latest_flush_counts_and_what_is_gone_is_gone(kept: Journal):
    kept.flush([snapshot("a", b"1", handover=HANDOVER), snapshot("b"), snapshot("c")])
    kept.flush([snapshot("a", b"2"), snapshot("c", b"3")], gone=[B, EntityKey("game", "c"), EntityKey("chess", "a")])
    assert recovered(kept) == {"a": snapshot("a", b"2"), "c": snapshot("c", b"3")}
    kept.flush([], gone=[A])
    assert list(recovered(kept)) == ["c"]


def test_of_two_snapshots_of_one_game_the_later_stays(kept: Journal):
    assert kept.flush([snapshot("a", b"1"), snapshot("a", b"2")]) == {}
    assert recovered(kept) == {"a": snapshot("a", b"2")}


@pytest.mark.parametrize("count", [0, 1, 64, 99, 100, 101, 1_000])
def test_any_number_of_games_comes_back(kept: Journal, count: int):
    made = [snapshot(f"{number:x}", b"%d" % number) for number in range(count)]
    kept.flush(made)
    assert recovered(kept) == {each.record.entity_id: each for each in made}
    assert {each.record.entity_id for each in kept.read([each.key for each in made])} == set(recovered(kept))


def test_a_flush_that_fails_writes_nothing(kept: Journal):
    kept.flush([snapshot("a", b"1")])
    broken = Snapshot(plain("b", b"{}"), None, 0)  # type: ignore[arg-type]
    with pytest.raises(exc.IntegrityError):
        kept.flush([snapshot("a", b"2"), broken])
    assert recovered(kept) == {"a": snapshot("a", b"1")}


def test_a_journal_that_is_not_open_says_so(database: Database):
    with pytest.raises(GameArchiveError, match="'server' is not open"):
        Journal(database, "server").flush([])


def test_rows_that_contradict_themselves_are_refused(database: Database):
    row = {
        "entity_type": "game", "entity_key": b"a", "server_id": 1, "state": 0, "saved_at": 0, "attempts": 0,
        "checksum": b"", "content_type": JSON, "facts": b"", "payload": b"",
    }  # fmt: skip
    for wrong in ({"state": 3}, {"state": 1}, {"attempts": 1}, {"handed_over_at": 1}, {"policy": "p"}, {"trigger": "manual"}):
        with pytest.raises(exc.IntegrityError, match="ck_snapshots"), database.write() as connection:
            connection.execute(insert(snapshots).values(row | wrong))


# attempts


def test_attempts_are_counted_until_the_last(kept: Journal):
    kept.flush([snapshot("a", handover=HANDOVER), snapshot("b", handover=HANDOVER), snapshot("c", at=5), snapshot("d", at=3)])
    kept.note([Failure(A, "no room"), Failure(B, "no room"), Failure(EntityKey("game", "c"), "no room", final=True)])
    kept.note([Failure(A, "half a \ud800 and\0 all"), Failure(B, "x" * 5_000, final=True)])
    kept.note([])
    found = recovered(kept)
    assert [(each.attempts, each.state) for _, each in sorted(found.items())] == [
        (2, State.HANDED_OVER), (2, State.FAILED), (0, State.IN_PLAY), (0, State.IN_PLAY)
    ]  # fmt: skip
    assert (found["a"].error, found["b"].error) == ("half a ? and\ufffd all", "x" * MAX_ERROR)
    assert kept.counts() == {State.IN_PLAY: Count(2, 3), State.HANDED_OVER: Count(1, 0), State.FAILED: Count(1, 0)}
    kept.flush([snapshot("b", b"again", handover=HANDOVER)])
    assert kept.get(B) == snapshot("b", b"again", handover=HANDOVER)


# names


def test_a_living_servers_name_is_not_given_away(kept: Journal, database_url: str):
    with pytest.raises(LockedError, match=r"The server 'server' lives: it is process \d+ on"), journal(database_url):
        pass
    kept.flush([snapshot("a")])
    kept.close()
    with journal(database_url) as next_one:
        assert list(recovered(next_one)) == ["a"]
        with pytest.raises(GameArchiveError, match="not open"):
            kept.renew()


@pytest.mark.parametrize("name", ["", "a\0b", "\ud800", "x" * 513])
def test_a_name_that_no_database_takes_is_refused(sqlite_url: str, name: str):
    with pytest.raises(ConfigurationError, match="A server cannot be named"):
        Journal(Database(sqlite_url), name)


def test_a_name_is_waited_for(kept: Journal, database_url: str):
    with kept_by_another(hold_name, database_url, "other", []) as other:
        assert other.recv() == "open"
        with pytest.raises(LockedError), journal(database_url, "other", wait=0.3):
            pass
    with journal(database_url, "other", wait=60):
        pass


def test_who_lost_the_lease_can_write_no_more(database_url: str):
    with journal(database_url, lease_seconds=0) as first:
        first.flush([snapshot("a", b"1")])  # a lease that ran out is still one's own
        first.renew()
        with journal(database_url) as second:
            assert list(recovered(second)) == ["a"]
            for write in (
                lambda: first.flush([snapshot("a", b"2")], gone=[B]),
                lambda: first.note([Failure(A, "why")]),
                lambda: first.claim("third"),
                first.renew,
            ):
                with pytest.raises(LeaseLostError, match="games of server 'server' have been taken over"):
                    write()
            first.close()
            second.renew()
            assert recovered(second) == {"a": snapshot("a", b"1")}


def test_a_killed_server_starts_again_at_once(database: Database, database_url: str):
    with kept_by_another(hold_name, database_url, "server", ["a", "b"]) as other:
        assert other.recv() == "open"
        with pytest.raises(LockedError), journal(database_url):
            pass
    with journal(database_url) as again:
        assert set(recovered(again)) == {"a", "b"}


def test_in_a_container_the_holder_before_has_our_own_number(kept: Journal, database: Database, database_url: str):
    with database.write() as connection:
        connection.execute(update(servers).values(token=7))
    with journal(database_url):
        pass


@pytest.mark.parametrize("column", ["host", "boot"])
def test_of_another_machines_processes_only_the_lease_tells(database: Database, database_url: str, column: str):
    with kept_by_another(hold_name, database_url, "server", []) as other:
        assert other.recv() == "open"
    with database.write() as connection:
        connection.execute(update(servers).values({column: "elsewhere"}))
    with pytest.raises(LockedError), journal(database_url):
        pass
    with database.write() as connection:
        connection.execute(update(servers).values(lease_until=1))
    with journal(database_url):
        pass


def test_a_server_that_leaves_nothing_is_forgotten(kept: Journal, database_url: str):
    with journal(database_url, "empty"):
        assert [(each.name, each.alive, each.games) for each in kept.servers()] == [("empty", True, 0), ("server", True, 0)]
    with journal(database_url, "left") as left:
        left.flush([snapshot("a")])
    found = kept.servers()
    assert [(each.name, each.alive, each.games) for each in found] == [("left", False, 1), ("server", True, 0)]
    assert found[1].lease_until - found[1].started_at == pytest.approx(3_600_000_000, abs=60_000_000)


# two servers


def test_a_game_of_another_server_is_not_written_over(kept: Journal, database_url: str):
    kept.flush([snapshot("a", b"1"), snapshot("b", b"1")])
    with journal(database_url, "other") as other:
        made = [snapshot(f"g-{number}") for number in range(500)] + [snapshot("a", b"2")]
        assert other.flush(made, gone=[B]) == {A: "server"}
        assert len(recovered(other)) == 500
        assert other.get(A) is None
        assert recovered(kept) == {"a": snapshot("a", b"1"), "b": snapshot("b", b"1")}
        kept.flush([], gone=[A])
        assert other.flush([snapshot("a", b"2")]) == {}
        assert list(recovered(kept)) == ["b"]


def test_a_dead_servers_games_are_claimed_once(kept: Journal, database_url: str):
    with journal(database_url, "dead", lease_seconds=0) as dead:
        dead.flush([snapshot("a"), snapshot("b", handover=HANDOVER)])
        kept.flush([snapshot("c")])
        claimed = kept.claim("dead")
        assert sorted(kept.read(claimed), key=lambda each: each.key) == [snapshot("a"), snapshot("b", handover=HANDOVER)]
        assert set(recovered(kept)) == {"a", "b", "c"}
        with pytest.raises(NotFoundError, match="no server 'dead'"):
            kept.claim("dead")
        with pytest.raises(LeaseLostError):
            dead.flush([snapshot("a", b"late")])
        with journal(database_url, "dead") as reborn:
            assert recovered(reborn) == {}
            assert reborn.flush([snapshot("a", b"late")]) == {A: "server"}
            with pytest.raises(LeaseLostError):
                dead.renew()


def test_a_living_servers_games_are_not_claimed(kept: Journal, database_url: str):
    with journal(database_url, "other") as other:
        other.flush([snapshot("a")])
        with pytest.raises(LockedError, match="'other' lives"):
            kept.claim("other")
        with pytest.raises(LockedError, match="'server' lives"):
            kept.claim("server")
        other.renew()


def test_of_those_who_claim_at_once_one_gets_the_games(database: Database, database_url: str):
    for _ in range(3):
        with journal(database_url, "dead") as dead:
            dead.flush([snapshot("a"), snapshot("b")], gone=[A, B])
        with (
            kept_by_another(claim_at_once, database_url, "one", "dead") as one,
            kept_by_another(claim_at_once, database_url, "two", "dead") as two,
        ):
            for each in (one, two):
                assert each.recv() == "open"
            for each in (one, two):
                each.send("go")
            assert sorted([one.recv(), two.recv()], key=str) == [2, None]
        with journal(database_url, "last") as last:
            for name in ("one", "two"):
                assert len(last.claim(name)) in (0, 2)
            last.flush([], gone=[A, B])


# into the archive


@pytest.fixture
def home(tmp_path: Path, database_url: str) -> Iterator[Home]:
    made = Home(tmp_path, database_url)
    yield made
    made.close()


def test_what_is_archived_leaves_the_journal_unless_it_is_newer(kept: Journal, home: Home):
    records = [game(number) for number in range(4)]
    archived = [(EntityKey(record.entity_type, record.entity_id), checksum(record.payload)) for record in records]
    kept.flush([Snapshot(record, checksum(record.payload), 0, HANDOVER) for record in records])
    kept.flush([snapshot("g-2", b"newer")])
    home.open().add(records, Sender(live=True), settle=lambda connection: settle(connection, archived))
    assert recovered(kept) == {"g-2": snapshot("g-2", b"newer")}


def test_what_is_archived_already_leaves_the_journal_as_well(kept: Journal, home: Home):
    record = plain("a", b"{}")
    home.open().add([record])
    kept.flush([snapshot("a"), snapshot("b")])
    done = home.open().add([record], Sender(live=True), settle=lambda connection: settle(connection, [(A, checksum(b"{}"))]))
    assert done.skipped == [A]
    assert list(recovered(kept)) == ["b"]


def test_a_game_is_in_the_catalog_and_out_of_the_journal_or_neither(kept: Journal, home: Home):
    def fail(connection: object) -> None:
        settle(connection, [(A, checksum(b"{}"))])  # type: ignore[arg-type]
        raise ZeroDivisionError

    kept.flush([snapshot("a")])
    with pytest.raises(ZeroDivisionError):
        home.open().add([plain("a", b"{}")], settle=fail)
    assert list(recovered(kept)) == ["a"]
    assert home.open().catalog.count(ArchiveQuery()) == 0


# growing


def test_a_database_does_not_grow_by_being_written_over(tmp_path: Path):
    chance = random.Random(1)
    path = tmp_path / "gamearchive.db"
    ids = [chance.randbytes(8).hex() for _ in range(300)]
    sizes = []
    with journal(f"sqlite:///{path}") as kept:
        for _ in range(200):
            kept.flush([snapshot(entity_id, chance.randbytes(chance.randrange(3_000, 5_000))) for entity_id in ids])
            sizes.append(sum(each.stat().st_size for each in tmp_path.glob("gamearchive.db*")))
        assert max(sizes) < 10_000_000
        assert max(sizes[100:]) < 1.2 * max(sizes[20:100])
        for _ in range(20):  # other games, as many
            kept.flush(
                [snapshot(f"{number}", chance.randbytes(4_000)) for number in range(300)],
                gone=[each.key for each in kept.recover()],
            )
        assert sum(each.stat().st_size for each in tmp_path.glob("gamearchive.db*")) < 1.5 * max(sizes)


# made anew


def test_a_catalog_made_anew_leaves_the_journal_as_it_is(database: Database, database_url: str):
    made = [snapshot(f"{number}", b"%d" % number * 5_000) for number in range(450)]
    add(Catalog(database), entry("old"))
    with journal(database_url, "other") as other:
        other.flush([snapshot("a", handover=HANDOVER)])
    with journal(database_url) as before:
        before.flush(made)
    with database.anew() as fresh:
        add(Catalog(fresh), entry("new"))
    assert [each.entity_id for each in Catalog(database).find(ArchiveQuery()).entries] == ["new"]
    with journal(database_url) as after:
        assert recovered(after) == {each.record.entity_id: each for each in made}
        assert [(each.name, each.games) for each in after.servers()] == [("other", 1), ("server", 450)]
        assert list(after.read(after.claim("other"))) == [snapshot("a", handover=HANDOVER)]


def test_while_a_server_lives_the_catalog_is_not_made_anew(kept: Journal, database: Database):
    add(Catalog(database), entry("old"))
    with pytest.raises(LockedError, match="'server' lives") as caught, database.anew():
        pass
    assert "Stop it" in caught.value.hint
    kept.flush([snapshot("a")])
    assert Catalog(database).get("old") is not None


def test_a_server_that_wakes_after_it_writes_nothing(database: Database, database_url: str):
    with journal(database_url, lease_seconds=0, busy_seconds=0.2) as asleep:
        asleep.flush([snapshot("a", b"1")])
        with database.anew():
            with pytest.raises((LeaseLostError, LockedError)):  # on PostgreSQL a new catalog is one transaction
                asleep.flush([snapshot("a", b"2")])
            with pytest.raises(LockedError, match=r"locked|held"), journal(database_url, "other"):
                pass
        with pytest.raises(LeaseLostError):
            asleep.flush([snapshot("a", b"2")])
        with journal(database_url) as again:
            assert recovered(again) == {"a": snapshot("a", b"1")}


# killed


def test_killed_at_any_moment_it_has_the_last_flush_whole(database: Database, database_url: str):
    chance = random.Random(5)
    games, state = 150, 0
    for _ in range(15):
        with kept_by_another(flush_forever, database_url, "server", state, games) as child:
            for _ in range(chance.randrange(1, 5)):
                state = child.recv()
            child.poll(chance.uniform(0, 0.03))  # and some way into the next
        while True:
            try:
                state = child.recv()
            except EOFError:
                break
        with journal(database_url) as again:
            found = recovered(again)
        states = {each.saved_at for each in found.values()}
        assert states <= {state, state + 1}
        assert len(states) == 1
        written = states.pop()
        assert {each.record.entity_id: each.record.payload for each in found.values()} == {
            f"g-{number}": payload_of(written, number) for number in range(games)
        }
        assert all(checksum(each.record.payload) == each.checksum for each in found.values())
        state = written + 1
