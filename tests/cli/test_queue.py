"""``gamearchive queue``, and what ``archive`` puts into it: for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from databases import Databases
from journaling import HANDOVER, journal, recovered, snapshot
from queueing import ack, games, live, session
from running import Run

from gamearchive.clock import SystemClock
from gamearchive.database.engine import Database
from gamearchive.jobs import JobFilter, JobState
from gamearchive.leases import WorkerSession
from gamearchive.model import ArchivalPriority
from gamearchive.queue import JobQueue

JOB = [
    *("job", "state", "entity_type", "entity_id", "priority", "trigger", "policy", "live", "raw_bytes", "checksum"),
    *("enqueued_at", "due_at", "attempts", "worker", "leased_at", "finished_at", "error"),
]


@pytest.fixture(autouse=True)
def _home(either_engine: None) -> None:
    pass


@pytest.fixture
def url(databases: Databases) -> str:
    return databases.of("home")


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    made = Database(url)
    yield made
    made.close()


@pytest.fixture
def worker(gamearchive: Run, database: Database) -> WorkerSession:
    """A worker that has failed at job 1, of a, put off job 2, of b, has job 3, of c, and left job 4, of d."""
    Path("games.ndjson").write_text("".join(f'{{"id": "{name}"}}\n' for name in "abcd"), encoding="utf-8")
    assert gamearchive("archive", "games.ndjson", "--queue").code == 0
    made = session(database, SystemClock(), retry_seconds=3_600)
    first, second, _ = made.lease(3)
    made.fail([first], "Too large")
    made.release([second], "Timeout of the storage", delay=3_600)
    return made


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def states(gamearchive: Run) -> dict[int, str]:
    return {line["job"]: line["state"] for line in lines(gamearchive("queue", "list", "--json").out)[:-1]}


# into the queue


def test_games_are_spooled_and_archived_by_whoever_works(gamearchive: Run, url: str, database: Database) -> None:
    Path("games.ndjson").write_text('{"id": "a", "players": ["Ann"]}\nbroken\n{"id": "b"}\n', encoding="utf-8")
    ended = gamearchive("archive", "games.ndjson", "--queue", "--json", "--tag", "season=1")
    assert ended.code == 3
    first, second, error, told = lines(ended.out)
    assert (first["entity_id"], first["players"], first["tags"]) == ("a", ["Ann"], {"season": "1"})
    assert [first[key] for key in ("revision", "archived_at", "location", "stored_bytes")] == [None] * 4
    assert (second["raw_bytes"], error["line"]) == (11, 2)
    assert {key: told[key] for key in ("archived", "queued", "failed", "raw_bytes")} == {
        "archived": 0, "queued": 2, "failed": 1, "raw_bytes": 42
    }  # fmt: skip
    assert gamearchive("query", "--ids").out == ""
    made = session(database, SystemClock())
    leased = made.lease(10)
    assert sorted(job.record.payload for job in leased) == [b'{"id": "a", "players": ["Ann"]}', b'{"id": "b"}']
    assert leased[0].record.tags == (("season", "1"),)


def test_people_are_told_what_is_spooled_and_a_dry_run_spools_nothing(gamearchive: Run) -> None:
    Path("games.ndjson").write_text('{"id": "a"}\n', encoding="utf-8")
    assert gamearchive("archive", "games.ndjson", "--queue", "--dry-run").err.startswith("Would queue 1 game, 11 B; ")
    assert gamearchive("archive", "games.ndjson", "--queue", "--priority", "low").err.startswith("Queued 1 game, 11 B; ")
    assert gamearchive("archive", "games.ndjson", "--queue").err.startswith("Queued 1 game")
    (job,) = lines(gamearchive("queue", "list", "--json").out)[:-1]
    assert job["priority"] == "normal"


@pytest.mark.parametrize("arguments", [("--queue", "--active"), ("--priority", "high"), ("--queue", "--on-conflict", "skip")])
def test_what_contradicts_itself_is_refused(gamearchive: Run, arguments: tuple[str, ...]) -> None:
    assert gamearchive("archive", "a", *arguments).code == 2


# games in play


def test_a_game_in_play_is_archived_as_it_is_and_goes_on(gamearchive: Run, url: str) -> None:
    with journal(url) as kept:
        kept.flush([snapshot("a", b'{"n": 1}'), snapshot("b", b"{}")])
        ended = gamearchive("archive", "--active", "a", "--json")
        item, told = lines(ended.out)
        assert (item["entity_id"], item["trigger"], told["archived"]) == ("a", "manual", 1)
        assert set(recovered(kept)) == {"a", "b"}
        assert gamearchive("archive", "--active", "a").err.startswith("Archived 0 games, 1 there already")
        kept.flush([snapshot("a", b'{"n": 2}')])
        assert gamearchive("archive", "--active", "a").code == 0
    assert gamearchive("restore", "a").out == '{"n": 2}'


def test_a_dead_servers_game_is_archived_for_good(gamearchive: Run, url: str) -> None:
    with journal(url) as kept:
        kept.flush([snapshot("a", b"{}", handover=HANDOVER), snapshot("b", b"{}")])
    assert gamearchive("archive", "--active", "a", "--dry-run").err.startswith("Would archive 1 game")
    assert gamearchive("archive", "--active", "a").code == 0
    with journal(url) as again:
        assert set(recovered(again)) == {"b"}


def test_a_game_that_is_not_in_play_is_an_error_and_nothing_is_done(gamearchive: Run, url: str) -> None:
    assert gamearchive("archive", "--active", "a").code == 10
    with journal(url) as kept:
        kept.flush([snapshot("a", b"{}")])
    ended = gamearchive("archive", "--active", "a", "nobody")
    assert ended.code == 12
    assert "Not in play, as far as the journal knows: 'nobody'." in ended.err
    assert gamearchive("query", "--count").out == "0\n"


def test_an_older_state_that_waits_does_not_follow_a_newer_one(gamearchive: Run, url: str, database: Database) -> None:
    queue = JobQueue(database, SystemClock())
    with journal(url) as kept:
        kept.flush([snapshot("a", b"2"), snapshot("b", b"1")])
        queue.enqueue(games("a", "b", payload=b"1"), live(ArchivalPriority.HIGH))
        assert gamearchive("archive", "--active", "a", "b").code == 0
        assert {job.key.entity_id: job.state for job in queue.find(JobFilter())} == {
            "a": JobState.CANCELLED, "b": JobState.WAITING
        }  # fmt: skip
        made = session(queue.database, SystemClock())
        leased = made.lease(10)
        ended = gamearchive("archive", "--active", "b")
        assert ended.code == 11
        assert "'b' is just being archived" in ended.err
        ack(made, leased)


# looking


@pytest.mark.usefixtures("worker")
def test_what_json_tells_is_a_promise(gamearchive: Run) -> None:
    *items, told = lines(gamearchive("queue", "list", "--json").out)
    assert [list(item) for item in items] == [["type", *JOB]] * 4
    assert [item["state"] for item in items] == ["waiting", "running", "retryable", "failed"]
    assert told == {"type": "summary", "count": 4, "next_cursor": None}
    shown = json.loads(gamearchive("queue", "show", "1", "--json").out)
    assert list(shown) == [*JOB, "history"]
    assert [list(each) for each in shown["history"]] == [
        ["attempt", "started_at", "ended_at", "seconds", "worker", "outcome", "error"]
    ]
    assert [shown["history"][0][key] for key in ("attempt", "worker", "outcome", "error")] == [1, "w", "error", "Too large"]


@pytest.mark.usefixtures("worker")
def test_every_condition_narrows_the_listing_down(gamearchive: Run) -> None:
    for arguments, found in (
        (("--state", "failed"), "1"), (("--state", "failed", "--state", "waiting"), "4 1"), (("--error", "timeout"), "2"),
        (("--state", "failed", "--error", "Timeout"), ""), (("--id", "c"), "3"), (("--priority", "high"), ""),
        (("--type", "game"), "4 3 2 1"), (("--type", "chess"), ""), (("--limit", "2"), "4 3"),
        (("--limit", "2", "--cursor", "3"), "2 1"),
    ):  # fmt: skip
        assert gamearchive("queue", "list", "--quiet", *arguments).out.split() == found.split(), arguments
    assert "2 jobs. More with --cursor 3" in gamearchive("queue", "list", "--limit", "2").err


@pytest.mark.usefixtures("worker")
def test_people_see_a_table_and_a_jobs_history(gamearchive: Run) -> None:
    ended = gamearchive("queue", "list", "--state", "failed")
    assert ended.out.splitlines()[0].split("\t")[:3] == ["1", "failed", "a"]
    shown = gamearchive("queue", "show", "2").out
    assert "state: retryable" in shown
    assert "released\tTimeout of the storage" in shown
    assert gamearchive("queue", "show", "99").code == 12


def test_without_an_archive_there_is_no_queue(gamearchive: Run) -> None:
    for words in (("list",), ("show", "1"), ("retry", "1"), ("discard", "1", "-y"), ("bump", "1")):
        assert gamearchive("queue", *words).code == 10, words


# deciding


@pytest.mark.usefixtures("worker")
def test_dead_letters_are_tried_again(gamearchive: Run) -> None:
    chosen = ("--state", "failed", "--error", "large")
    assert gamearchive("queue", "retry", *chosen, "--dry-run").err == "Would have retried 1 job.\n"
    assert states(gamearchive)[1] == "failed"
    *items, told = lines(gamearchive("queue", "retry", *chosen, "--json").out)
    assert [(item["job"], item["refused"]) for item in items] == [(1, None)]
    assert told == {"type": "summary", "retried": 1, "refused": 0}
    assert gamearchive("queue", "retry", "--error", "").err == "Retried 1 job.\n"
    assert states(gamearchive) == {4: "waiting", 3: "running", 2: "waiting", 1: "waiting"}


@pytest.mark.usefixtures("worker")
def test_what_is_in_no_state_for_it_is_named_and_left(gamearchive: Run) -> None:
    ended = gamearchive("queue", "retry", "1", "3")
    assert ended.code == 3
    assert "Job 3 is left as it is: it is running." in ended.err
    assert "Retried 1 job, 1 left as they are." in ended.err
    assert gamearchive("queue", "retry", "99").code == 12
    assert gamearchive("queue", "retry").code == 2


@pytest.mark.usefixtures("worker")
def test_what_is_discarded_needs_a_yes(gamearchive: Run) -> None:
    assert gamearchive("queue", "discard", "1").code == 18
    assert gamearchive("queue", "discard", "1", "--dry-run").code == 0
    assert states(gamearchive)[1] == "failed"
    assert gamearchive("queue", "discard", "1", "2", "--yes").err == "Discarded 2 jobs.\n"
    assert states(gamearchive) == {4: "waiting", 3: "running", 2: "cancelled", 1: "cancelled"}


@pytest.mark.usefixtures("worker")
def test_what_waits_can_be_made_urgent(gamearchive: Run) -> None:
    assert gamearchive("queue", "bump", "4", "--to", "high").code == 0
    assert gamearchive("queue", "bump", "--id", "b").err == "Bumped 1 job.\n"
    told = {line["job"]: line["priority"] for line in lines(gamearchive("queue", "list", "--json").out)[:-1]}
    assert told == {4: "high", 3: "normal", 2: "critical", 1: "normal"}
