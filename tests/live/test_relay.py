"""Games that a repository hands over to the queue, and that others archive."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from playing import game, over, repository, run, until

from gamearchive import ConfigurationError, HybridGameRepository, NotFoundError, UnsupportedError
from gamearchive.archive import OnConflict
from gamearchive.clock import SystemClock
from gamearchive.jobs import JobFilter, JobState
from gamearchive.leases import WorkerSession
from gamearchive.manager import ArchiveManager
from gamearchive.model import Sender
from gamearchive.settings import load_settings


def relayed(folder: Path, **more: Any) -> HybridGameRepository[Any]:
    return repository(folder, archiver="queue", worker=None, **more)


class Other:
    """One who works on the queue, as a daemon does."""

    def __init__(self, folder: Path) -> None:
        settings = load_settings({"home": str(folder / "home")})
        self.manager = ArchiveManager(settings=settings, enable_worker=False)
        self.session = WorkerSession(self.manager.database, SystemClock(), "other", max_retries=0)

    def work(self, *, fail: str = "") -> int:
        """Archive all that waits, but for games that fail; how many jobs there were."""
        count = 0
        self.session.open(0.0)
        while jobs := self.session.lease(50):
            bad = [job for job in jobs if fail and job.record.entity_id == fail]
            good = [job for job in jobs if job not in bad]
            self.session.fail(bad, "too large")
            for job in good:
                self.manager.core.add(
                    [job.record], job.sender, OnConflict.REPLACE, lambda c, job=job: self.session.ack(c, [job])
                )
            count += len(jobs)
        self.session.close()
        self.manager.database.close()
        return count


def jobs(repo: HybridGameRepository[Any]) -> dict[str, JobState]:
    found = repo.archive_manager.queue.find(JobFilter())
    return {job.key.entity_id: job.state for job in reversed(found)}


def test_a_finished_game_is_a_job_with_its_snapshot_and_leaves_once_others_have_archived_it(tmp_path: Path):
    async def play() -> None:
        async with relayed(tmp_path) as repo:
            await repo.save(over("a"))
            await repo.save(game("b"))
            await repo.flush()
            assert jobs(repo) == {"a": JobState.WAITING}
            assert (await repo.get_by_id("a"))["id"] == "a"
            assert (await repo.get_stats())["worker"]["in_flight"] == 1
            assert await asyncio.to_thread(Other(tmp_path).work) == 1
            await until(lambda: repo._play.get_stats()["active_games"] == 1)
            assert (await repo.archive_manager.get("a")).provenance.trigger.value == "game_completed"
            assert await repo.get_by_id("a") == over("a")

    run(play())


def test_what_a_server_hands_over_is_archived_though_it_never_comes_back(tmp_path: Path):
    async def play() -> None:
        async with relayed(tmp_path) as repo:
            for number in range(5):
                await repo.save(over(f"g{number}"))
        other = Other(tmp_path)
        assert await asyncio.to_thread(other.work) == 5
        async with relayed(tmp_path) as again:
            assert (await again.get_stats())["active_games"] == 0
            assert await again.get_by_id("g3") == over("g3")

    run(play())


def test_a_game_that_goes_on_meanwhile_stays_and_is_archived_again(tmp_path: Path):
    async def play() -> None:
        async with relayed(tmp_path) as repo:
            other = Other(tmp_path)
            await repo.save(over("a", n=1))
            await repo.flush()
            await repo.save(over("a", n=2))
            await repo.flush()
            assert await asyncio.to_thread(other.work) == 1
            await until(lambda: not repo._games)
            assert await repo.get_by_id("a") == over("a", n=2)
            await repo.save(over("a", n=3))
            await repo.flush()
            assert await asyncio.to_thread(other.work) == 1
            await until(lambda: not repo._games)
            assert [entry.revision for entry in await repo.archive_manager.revisions(await repo.archive_manager.get("a"))] == [
                2, 1
            ]  # fmt: skip

    run(play())


def test_a_dead_letter_shows_and_goes_once_it_is_tried_again(tmp_path: Path):
    async def play() -> None:
        async with relayed(tmp_path) as repo:
            other = Other(tmp_path)
            await repo.save(over("bad"))
            await repo.save(over("good"))
            await repo.flush()
            await asyncio.to_thread(lambda: other.work(fail="bad"))
            await until(lambda: "bad" in repo.archive_manager.worker.get_status()["failed"])
            assert repo.archive_manager.worker.get_status()["failed"] == {"bad": "too large"}
            await until(lambda: list(repo._games) == ["bad"])
            (job,) = repo.archive_manager.queue.find(JobFilter(states=(JobState.FAILED,)))
            assert await repo.archive_manager.jobs.retry([job.id]) == {}
            await asyncio.to_thread(other.work)
            await until(lambda: not repo._games)
            assert repo.archive_manager.worker.get_status()["failed"] == {}

    run(play())


def test_what_the_journal_hands_over_before_there_was_room_is_enqueued_later(tmp_path: Path):
    async def play() -> None:
        async with relayed(tmp_path) as repo:
            repo.archive_manager.queue.max_queue_size = 1
            for name in ("a", "b", "c"):
                await repo.save(over(name))
            await repo.flush()
            assert jobs(repo) == {}
            repo.archive_manager.queue.max_queue_size = 10
            await until(lambda: len(jobs(repo)) == 3)
            await asyncio.to_thread(Other(tmp_path).work)
            await until(lambda: not repo._games)

    run(play())


def test_a_deleted_game_is_waited_for_no_more(tmp_path: Path):
    async def play() -> None:
        async with relayed(tmp_path) as repo:
            await repo.save(over("a"))
            await repo.flush()
            assert await repo.delete("a")
            await repo.flush()
            assert (await repo.get_stats())["worker"]["in_flight"] == 0
            with pytest.raises(NotFoundError):
                await repo.archive_manager.get("a")

    run(play())


def test_nothing_goes_past_the_journal(tmp_path: Path):
    async def play() -> None:
        async with relayed(tmp_path) as repo:
            worker, record = repo.archive_manager.worker, repo.strategy.record(over("a"))
            with pytest.raises(UnsupportedError, match="snapshots alone"):
                worker.submit(over("a"))
            with pytest.raises(UnsupportedError, match="snapshots alone"):
                await worker.archive(record, Sender())
            with pytest.raises(UnsupportedError, match="in the queue"):
                worker.retry_failed()

    run(play())


def test_without_a_journal_nothing_can_be_handed_over(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="through the journal"):
        relayed(tmp_path, durability="off")
