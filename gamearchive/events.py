"""What a daemon tells of itself, event by event, to whoever listens: a log, metrics, a live view.

Each event knows its name and its kind, as lines of JSON have them: ``item`` for what was done, ``error`` for what failed,
``progress`` now and then. Its fields are what there is to say: counts, sizes in bytes, durations in seconds, instants in
microseconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, TypeAlias

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened."""

    name: ClassVar[str]
    kind: ClassVar[str] = "item"


Listener: TypeAlias = Callable[[Event], None]


class Started(Event, frozen=True, kw_only=True):
    """The daemon works."""

    name = "started"
    worker: str
    slots: int
    database: str
    storage: str
    metrics_port: int | None = None


class Batch(Event, frozen=True, kw_only=True):
    """Games were archived together; ``stages`` has the seconds of each step."""

    name = "batch"
    slot: int
    games: int
    skipped: int
    raw_bytes: int
    stored_bytes: int
    seconds: float
    stages: Mapping[str, float]
    attempts: Mapping[int, int]


class Failed(Event, frozen=True, kw_only=True):
    """An attempt to archive a game failed; ``final`` if it is the last one, and the job now one of the dead letters."""

    name = "failed"
    kind = "error"
    job: int
    entity_type: str
    entity_id: str
    attempt: int
    final: bool
    code: str
    message: str


class Released(Event, frozen=True, kw_only=True):
    """Games wait again that could not be archived through no fault of theirs."""

    name = "released"
    games: int
    reason: str


class LeaseLost(Event, frozen=True, kw_only=True):
    """Others have taken this worker for dead, and the games it had in hand."""

    name = "lease-lost"
    kind = "error"
    games: int
    message: str


class Unreachable(Event, frozen=True, kw_only=True):
    """The storage or the database cannot be reached, and is left alone for some seconds."""

    name = "unreachable"
    kind = "error"
    what: str
    message: str
    pause_seconds: float


class Reachable(Event, frozen=True, kw_only=True):
    """It can again."""

    name = "reachable"
    what: str


class Rescued(Event, frozen=True, kw_only=True):
    """Jobs of dead workers wait again."""

    name = "rescued"
    jobs: int


class Duty(Event, frozen=True, kw_only=True):
    """A periodic duty was done."""

    name = "duty"
    duty: str
    seconds: float
    result: Mapping[str, int]


class Damage(Event, frozen=True, kw_only=True):
    """A verification has found something."""

    name = "damage"
    kind = "error"
    finding: str
    object: str
    message: str


class Trouble(Event, frozen=True, kw_only=True):
    """Something went wrong that is no job's, and will be tried again."""

    name = "trouble"
    kind = "error"
    doing: str
    message: str


class Paused(Event, frozen=True, kw_only=True):
    """Nothing is archived until it is resumed."""

    name = "paused"


class Resumed(Event, frozen=True, kw_only=True):
    """It goes on."""

    name = "resumed"


class Stopping(Event, frozen=True, kw_only=True):
    """What is in hand is finished, within so many seconds."""

    name = "stopping"
    in_hand: int
    grace_seconds: float


class Progress(Event, frozen=True, kw_only=True):
    """How it is going: jobs by state and priority, how long the oldest that waits has, and what was archived so far."""

    name = "progress"
    kind = "progress"
    jobs: Mapping[str, Mapping[str, int]]
    oldest_seconds: float | None
    games: int
    games_per_second: float


class Lag(Event, frozen=True, kw_only=True):
    """The daemon's main loop came so much too late."""

    name = "lag"
    seconds: float
