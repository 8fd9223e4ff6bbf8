"""The daemon as a process: it archives what waits, stops as it is told to, and what it had is others' when it is killed."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from archiving import game
from daemons import DaemonProcess, Place, until

from gamearchive.jobs import JobState
from gamearchive.model import ArchivalPriority, Sender


def test_a_burst_archives_what_waits_and_ends(any_place: Place) -> None:
    records = any_place.enqueue_games(250)
    with any_place.process("--burst", "--batch-size", "100", "--name", "lin") as daemon:
        assert daemon.wait() == 0
    assert any_place.archived() == {record.entity_id: record.payload for record in records}
    assert any_place.is_empty()
    assert any_place.queue.workers() == []
    assert sum(batch["games"] for batch in daemon.told("batch")) == 250
    assert [line["event"] for line in daemon.lines[:1]] == ["started"]
    summary = daemon.lines[-1]
    assert (summary["type"], summary["archived"], summary["failures"]) == ("summary", 250, 0)


def test_its_lines_have_the_keys_that_are_promised(place: Place) -> None:
    place.enqueue_games(3)
    with place.process("--burst", "--name", "lin") as daemon:
        assert daemon.wait() == 0
    keys = {line["event"]: list(line) for line in daemon.lines}
    assert keys == {
        "started": ["type", "time", "event", "worker", "slots", "database", "storage", "metrics_port"],
        "progress": [
            *("type", "time", "event", "oldest_seconds", "games", "games_per_second"),
            *("waiting", "running", "retryable", "failed"),
        ],
        "batch": [
            *("type", "time", "event", "slot", "games", "skipped", "raw_bytes", "stored_bytes", "seconds"),
            *("lease_seconds", "plan_seconds", "put_seconds", "commit_seconds"),
        ],
        "stopping": ["type", "time", "event", "in_hand", "grace_seconds"],
        "stopped": [
            *("type", "time", "event", "archived", "failures", "failed", "raw_bytes", "stored_bytes", "seconds"),
        ],
    }
    types = {line["event"]: line["type"] for line in daemon.lines}
    assert types == {"started": "item", "progress": "progress", "batch": "item", "stopping": "item", "stopped": "summary"}


def test_it_waits_for_jobs_and_leaves_when_it_is_told_to(any_place: Place) -> None:
    with any_place.process() as daemon:
        daemon.wait_for("started")
        any_place.enqueue_games(5)
        daemon.wait_for("batch")
        until(any_place.is_empty)
        assert daemon.stop() == 128 + signal.SIGTERM
    assert len(any_place.archived()) == 5
    assert any_place.queue.workers() == []
    assert daemon.lines[-1]["type"] == "summary"


def test_only_games_of_the_types_asked_for_are_archived(place: Place) -> None:
    place.enqueue(game(1, entity_type="chess"), game(2, entity_type="go"), game(3, entity_type="lol"))
    with place.process("--burst", "--types", "chess,go", "--types", "cards") as daemon:
        assert daemon.wait() == 0
    assert sorted(place.archived()) == ["g-1", "g-2"]
    assert [job.key.entity_type for job in place.jobs(JobState.WAITING)] == ["lol"]


def test_what_takes_longer_than_the_grace_is_put_back(place: Place) -> None:
    with place.process("--grace", "0s") as daemon:
        daemon.wait_for("started")
        with place.administration.database.hold(shared=False):
            place.enqueue_games(3)
            until(lambda: place.jobs(JobState.RUNNING))
            assert daemon.stop() == 128 + signal.SIGTERM
    assert daemon.wait_for("released")["games"] == 3
    jobs = place.jobs()
    assert [(job.state, job.attempts) for job in jobs] == [(JobState.WAITING, 0)] * 3
    assert place.run()
    assert len(place.archived()) == 3


def test_a_second_interrupt_leaves_at_once(place: Place) -> None:
    with place.process() as daemon:
        daemon.wait_for("started")
        with place.administration.database.hold(shared=False):
            place.enqueue_games(3)
            until(lambda: place.jobs(JobState.RUNNING))
            daemon.run.send_signal(signal.SIGINT)
            daemon.wait_for("stopping")
            assert daemon.stop(signal.SIGINT) == 128 + signal.SIGINT
    place.run()
    assert len(place.archived()) == 3


def test_a_paused_worker_takes_nothing_until_it_is_resumed(place: Place) -> None:
    with place.process("--name", "lin") as daemon:
        daemon.wait_for("started")
        assert place.queue.pause("lin") == 1
        daemon.wait_for("paused")
        place.enqueue_games(3)
        time.sleep(1.5)
        assert len(place.jobs(JobState.WAITING)) == 3
        place.queue.pause(paused=False)
        daemon.wait_for("resumed")
        until(place.is_empty)
        daemon.stop()


def test_jobs_of_killed_workers_are_done_by_another_once(any_place: Place) -> None:
    records = any_place.enqueue_games(600)
    for number in range(2):  # with the third, what each of them had would be given up
        with any_place.process("--batch-size", "20", "--name", f"lin-{number}") as daemon:
            daemon.wait_for("batch")
            daemon.kill()
    with any_place.process("--name", "last") as daemon:
        until(any_place.is_empty)
        daemon.kill()
    assert any_place.archived() == {record.entity_id: record.payload for record in records}
    states = {job.state for job in any_place.jobs()}
    assert states == {JobState.DONE}


def test_a_living_worker_rescues_what_a_killed_one_had(any_place: Place) -> None:
    with any_place.process("--name", "first") as first, any_place.process("--name", "second") as second:
        first.wait_for("started")
        second.wait_for("started")
        with any_place.administration.database.hold(shared=False):
            any_place.queue.pause("second")
            second.wait_for("paused")
            records = any_place.enqueue_games(50)
            until(lambda: any_place.jobs(JobState.RUNNING))
            any_place.queue.pause("second", paused=False)
            first.kill()
            assert second.wait_for("rescued")["jobs"] > 0
        until(any_place.is_empty)
        second.kill()
    assert any_place.archived() == {record.entity_id: record.payload for record in records}
    assert {job.attempts for job in any_place.jobs()} <= {0, 1}


def test_a_name_that_a_living_worker_has_is_refused_and_without_one_a_number_is_added(place: Place) -> None:
    with place.process() as first, place.process() as second:
        first.wait_for("started")
        second.wait_for("started")
        names = {worker.name for worker in place.queue.workers()}
        host = socket.gethostname()
        assert names == {host, f"{host}-2"}
        assert {first.told("started")[0]["worker"], second.told("started")[0]["worker"]} == names


def test_metrics_can_be_had_while_it_works(place: Place) -> None:
    place.enqueue_games(30)
    with place.process("--metrics-port", "0") as daemon:
        port = daemon.wait_for("started")["metrics_port"]
        daemon.wait_for("batch")

        def ask(path: str) -> str:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                text: str = answer.read().decode()
                return text

        assert ask("/healthz") == ask("/readyz") == "ok\n"
        until(lambda: "gamearchive_games_total 30.0" in ask("/metrics"))
        assert 'gamearchive_jobs{priority="normal",state="failed"} 0.0' in ask("/metrics")


def test_its_supervisor_hears_of_it(place: Place, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(20)
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "900000"}
        with DaemonProcess(["--config", str(place.file)], environment) as daemon:
            heard = [listening.recv(200).decode().splitlines()[0] for _ in range(3)]
            daemon.run.send_signal(signal.SIGTERM)
            while heard[-1] != "STOPPING=1":
                heard.append(listening.recv(200).decode().splitlines()[0])
            daemon.wait()
    assert heard[0] == "READY=1"
    assert set(heard[1:-1]) == {"WATCHDOG=1"}


def test_people_get_a_line_of_keys_and_values_for_each_event(place: Place) -> None:
    place.enqueue_games(3)
    command = [sys.executable, "-m", "gamearchive", "worker", "run", "--burst", "--name", "a b", "--config", str(place.file)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (0, "")
    lines = ended.stderr.splitlines()
    assert 'event=started worker="a b" slots=2' in lines[0]
    assert any("event=batch slot=" in line and " games=3 " in line for line in lines)
    assert all(line.startswith("time=2") for line in lines)
    assert "archived=3" in lines[-1]


def test_quietly_it_tells_of_what_is_wrong_alone(place: Place) -> None:
    place.enqueue_games(3)
    command = [sys.executable, "-m", "gamearchive", "worker", "run", "--burst", "--quiet", "--config", str(place.file)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_more_urgent_games_are_archived_first(place: Place) -> None:
    for number, priority in enumerate((ArchivalPriority.LOW, ArchivalPriority.NORMAL, ArchivalPriority.CRITICAL)):
        place.enqueue(game(number), sender=Sender(priority=priority))
    place.run(batch_size=1)
    order = [entry.entity_id for entry in sorted(place.entries(), key=lambda entry: entry.provenance.archived_at)]
    assert order == ["g-2", "g-1", "g-0"]
