"""The daemon's metrics, asked for over HTTP."""

from __future__ import annotations

import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gamearchive.errors import ConfigurationError
from gamearchive.events import (
    Batch,
    Damage,
    Event,
    Failed,
    Lag,
    LeaseLost,
    Paused,
    Progress,
    Reachable,
    Released,
    Rescued,
    Unreachable,
)
from gamearchive.metrics import Metrics, MetricsServer

EVENTS: list[Event] = [
    Batch(
        slot=1, games=90, skipped=10, raw_bytes=4000, stored_bytes=1000, seconds=0.02, stages={"plan": 0.004, "put": 0.01},
        attempts={1: 89, 2: 1},
    ),
    Failed(job=1, entity_type="game", entity_id="g", attempt=1, final=False, code="failed", message="no"),
    Failed(job=1, entity_type="game", entity_id="g", attempt=2, final=True, code="usage", message="no"),
    Released(games=7, reason="gone"),
    LeaseLost(games=3, message="taken"),
    Rescued(jobs=5),
    Unreachable(what="storage", message="gone", pause_seconds=1.0),
    Unreachable(what="database", message="gone", pause_seconds=1.0),
    Reachable(what="database"),
    Damage(finding="missing", object="pack", message="gone"),
    Lag(seconds=0.2),
    Progress(jobs={"waiting": {"high": 12}, "failed": {"low": 1}}, oldest_seconds=41.5, games=90, games_per_second=9.0),
    Paused(),
]  # fmt: skip


def ask(server: MetricsServer, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_every_event_is_counted() -> None:
    metrics = Metrics()
    for event in EVENTS:
        metrics.listen(event)
    with MetricsServer(metrics, 0, alive=lambda: True, ready=lambda: True) as server:
        status, text = ask(server, "/metrics")
    assert status == 200
    found = {
        (sample.name, *[value for _, value in sorted(sample.labels.items())]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    wanted = {
        ("gamearchive_jobs", "high", "waiting"): 12,
        ("gamearchive_jobs", "low", "failed"): 1,
        ("gamearchive_oldest_waiting_seconds",): 41.5,
        ("gamearchive_games_total",): 90,
        ("gamearchive_attempts_count",): 90,
        ("gamearchive_attempts_bucket", "1.0"): 89,
        ("gamearchive_failures_total", "failed"): 1,
        ("gamearchive_failures_total", "usage"): 1,
        ("gamearchive_dead_letters_total",): 1,
        ("gamearchive_released_total",): 7,
        ("gamearchive_lease_losses_total",): 3,
        ("gamearchive_rescued_total",): 5,
        ("gamearchive_batch_seconds_bucket", "0.025"): 1,
        ("gamearchive_stage_seconds_count", "put"): 1,
        ("gamearchive_batch_games_sum",): 90,
        ("gamearchive_raw_bytes_total",): 4000,
        ("gamearchive_stored_bytes_total",): 1000,
        ("gamearchive_ratio",): 0.25,
        ("gamearchive_reachable", "storage"): 0,
        ("gamearchive_reachable", "database"): 1,
        ("gamearchive_damage_total",): 1,
        ("gamearchive_loop_lag_seconds_count",): 1,
    }
    assert {name: found.get(name) for name in wanted} == wanted


def test_health_and_readiness_are_asked_for_each_time() -> None:
    state = {"alive": True, "ready": False}
    with MetricsServer(Metrics(), 0, alive=lambda: state["alive"], ready=lambda: state["ready"]) as server:
        assert ask(server, "/healthz") == (200, "ok\n")
        assert ask(server, "/readyz?verbose") == (503, "no\n")
        state |= {"alive": False, "ready": True}
        assert ask(server, "/healthz") == (503, "no\n")
        assert ask(server, "/readyz") == (200, "ok\n")
        assert ask(server, "/")[0] == 404


def test_a_port_that_is_taken_or_none_is_an_error_that_says_so() -> None:
    with MetricsServer(Metrics(), 0, alive=lambda: True, ready=lambda: True) as server:
        for port in (server.port, 65536):
            with pytest.raises(ConfigurationError, match=f"cannot be had at port {port}"):
                MetricsServer(Metrics(), port, alive=lambda: True, ready=lambda: True)
