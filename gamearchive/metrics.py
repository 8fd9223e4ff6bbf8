"""The daemon's metrics, for Prometheus, and the HTTP server that it is asked for them by.

``/metrics`` has them, ``/healthz`` says whether the daemon lives, and ``/readyz`` whether it can archive just now (200 or 503).
The server listens on this machine alone: whoever wants the metrics elsewhere puts a server with a lock on its door before it.

=====================================  =========  ===========================================================================
gamearchive_jobs                       gauge      jobs in the database, by ``state`` and ``priority``
gamearchive_oldest_waiting_seconds     gauge      how long the oldest job has waited; 0 where none waits
gamearchive_games_total                counter    games archived, and those that were there already
gamearchive_attempts                   histogram  which attempt it was that archived a game
gamearchive_failures_total             counter    attempts that failed, by ``cause``
gamearchive_dead_letters_total         counter    jobs given up
gamearchive_released_total             counter    games put back through no fault of theirs
gamearchive_lease_losses_total         counter    games that were taken from this worker
gamearchive_rescued_total              counter    jobs taken back from dead workers
gamearchive_batch_seconds              histogram  how long a batch took
gamearchive_stage_seconds              histogram  how long a ``stage`` of it took: lease, plan, put, commit
gamearchive_batch_games                histogram  games in a batch
gamearchive_raw_bytes_total            counter    what came in
gamearchive_stored_bytes_total         counter    what was written of it
gamearchive_ratio                      gauge      the latter as a share of the former
gamearchive_reachable                  gauge      1 or 0, by ``what``: storage, database
gamearchive_damage_total               counter    what verifications found
gamearchive_loop_lag_seconds           histogram  by how much the main loop came too late
=====================================  =========  ===========================================================================
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from gamearchive.errors import ConfigurationError
from gamearchive.events import Batch, Damage, Event, Failed, Lag, LeaseLost, Progress, Reachable, Released, Rescued, Unreachable

HOST = "127.0.0.1"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """What has been counted since the daemon's start: a listener of its events."""

    def __init__(self) -> None:
        self.registry = made = CollectorRegistry()
        self._jobs = Gauge("gamearchive_jobs", "Jobs in the database", ["state", "priority"], registry=made)
        self._oldest = Gauge("gamearchive_oldest_waiting_seconds", "How long the oldest job has waited", registry=made)
        self._games = Counter("gamearchive_games", "Games archived", registry=made)
        self._attempts = Histogram(
            "gamearchive_attempts", "Which attempt archived a game", registry=made, buckets=(1, 2, 3, 5, 10, 100)
        )
        self._failures = Counter("gamearchive_failures", "Attempts that failed", ["cause"], registry=made)
        self._dead = Counter("gamearchive_dead_letters", "Jobs given up", registry=made)
        self._released = Counter("gamearchive_released", "Games put back through no fault of theirs", registry=made)
        self._lost = Counter("gamearchive_lease_losses", "Games that were taken from this worker", registry=made)
        self._rescued = Counter("gamearchive_rescued", "Jobs taken back from dead workers", registry=made)
        self._seconds = Histogram("gamearchive_batch_seconds", "How long a batch took", registry=made, buckets=_SECONDS)
        self._stages = Histogram(
            "gamearchive_stage_seconds", "How long a stage of a batch took", ["stage"], registry=made, buckets=_SECONDS
        )
        self._sizes = Histogram(
            "gamearchive_batch_games", "Games in a batch", registry=made, buckets=(1, 10, 50, 100, 250, 500, 1000, 10_000)
        )
        self._raw = Counter("gamearchive_raw_bytes", "Bytes that came in", registry=made)
        self._stored = Counter("gamearchive_stored_bytes", "Bytes written", registry=made)
        self._ratio = Gauge("gamearchive_ratio", "Bytes written as a share of bytes that came in", registry=made)
        self._reachable = Gauge("gamearchive_reachable", "Whether it can be reached", ["what"], registry=made)
        self._damage = Counter("gamearchive_damage", "What verifications found", registry=made)
        self._lag = Histogram(
            "gamearchive_loop_lag_seconds", "By how much the main loop came too late", registry=made, buckets=_SECONDS
        )
        self._sums = [0, 0]
        for what in ("storage", "database"):
            self._reachable.labels(what).set(1)

    def listen(self, event: Event) -> None:
        """Count an event."""
        match event:
            case Batch():
                self._count_batch(event)
            case Failed():
                self._failures.labels(event.code).inc()
                self._dead.inc(event.final)
            case Released():
                self._released.inc(event.games)
            case LeaseLost():
                self._lost.inc(event.games)
            case Rescued():
                self._rescued.inc(event.jobs)
            case Unreachable() | Reachable():
                self._reachable.labels(event.what).set(isinstance(event, Reachable))
            case Damage():
                self._damage.inc()
            case Lag():
                self._lag.observe(event.seconds)
            case Progress():
                for state, by_priority in event.jobs.items():
                    for priority, jobs in by_priority.items():
                        self._jobs.labels(state, priority).set(jobs)
                self._oldest.set(event.oldest_seconds or 0)

    def _count_batch(self, batch: Batch) -> None:
        self._games.inc(batch.games)
        for attempt, jobs in batch.attempts.items():
            for _ in range(jobs):
                self._attempts.observe(attempt)
        self._seconds.observe(batch.seconds)
        for stage, seconds in batch.stages.items():
            self._stages.labels(stage).observe(seconds)
        self._sizes.observe(batch.games)
        self._raw.inc(batch.raw_bytes)
        self._stored.inc(batch.stored_bytes)
        self._sums[0] += batch.raw_bytes
        self._sums[1] += batch.stored_bytes
        self._ratio.set(self._sums[1] / (self._sums[0] or 1))


class MetricsServer:
    """Answers for a daemon. Use it in a ``with`` statement.

    Args:
        metrics: what ``/metrics`` has.
        port: where to listen; 0 for any free one.
        alive: what ``/healthz`` asks.
        ready: what ``/readyz`` asks.

    Raises:
        ConfigurationError: if it cannot listen there.
    """

    def __init__(self, metrics: Metrics, port: int, *, alive: Callable[[], bool], ready: Callable[[], bool]) -> None:
        class Handler(BaseHTTPRequestHandler):
            timeout = 10.0

            def do_GET(self) -> None:
                match self.path.partition("?")[0]:
                    case "/metrics":
                        self._answer(200, generate_latest(metrics.registry), CONTENT_TYPE_LATEST)
                    case "/healthz":
                        self._say(alive())
                    case "/readyz":
                        self._say(ready())
                    case _:
                        self._answer(404, b"/metrics, /healthz and /readyz are here.\n")

            def _say(self, well: bool) -> None:
                self._answer(200 if well else 503, b"ok\n" if well else b"no\n")

            def _answer(self, status: int, body: bytes, kind: str = "text/plain; charset=utf-8") -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - http.server's name
                """Nothing: who asks every few seconds would fill the log."""

        try:
            self._server = ThreadingHTTPServer((HOST, port), Handler)
        except (OSError, OverflowError) as error:
            raise ConfigurationError(
                f"The metrics cannot be had at port {port}: {getattr(error, 'strerror', error)}.",
                hint="Choose another with --metrics-port, or 0.",
            ) from error
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, name="gamearchive-metrics", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
