"""Jobs: games that are to be archived, each with its state, and with all that was tried.

The states::

                        enqueue
                           |
                           v      lease              ack
         .------------> WAITING ----------> RUNNING -------> DONE
         |                 ^ |                |
         | due, or retry   | |                |-- rescue, release: WAITING
     RETRYABLE <-----------|-|----------------|-- retry, release for a while: RETRYABLE
         |                 | |                |-- fail, or no attempts left: FAILED, the dead letters
         |      retry      | |                |
         |  FAILED --------' |                '-- any of these, where something newer of the game waits: CANCELLED
         |    |              |
         '----+---discard----+--> CANCELLED

A job is *pending* while it waits, for a worker (WAITING) or for its next try (RETRYABLE). It owns its game's record, which goes
when the job is done or cancelled; a failed job keeps it until someone decides. DONE and CANCELLED are kept for a while, for
people to look at.

An attempt *counts* if the game, or the archive, was at fault: an error, or a worker that died over it. A worker that stops, and
one that cannot reach the archive, *release* their jobs: that is in the history, but does not count.

The table's constraints hold which columns each state has (`database.schema`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    Row,
    and_,
    bindparam,
    func,
    or_,
    true,
)  # fmt: skip

from gamearchive.database.engine import Database
from gamearchive.database.schema import jobs
from gamearchive.model import ArchivalPriority, ArchivalTrigger, EntityKey, GameRecord, Sender, decode_id, encode_id

AGEING = 60_000_000
"""Microseconds of waiting that are worth one level of priority.

So a LOW job goes as if it had come three minutes after a CRITICAL one, two after a HIGH one: however much urgent work keeps
coming, only what came within that time goes before it.
"""


class JobState(IntEnum):
    """Where a job stands."""

    WAITING = 0
    RUNNING = 1
    RETRYABLE = 2
    FAILED = 3
    CANCELLED = 4
    DONE = 5


CURRENT = (JobState.WAITING, JobState.RUNNING, JobState.RETRYABLE, JobState.FAILED)
"""The states of jobs that are not over."""


class Outcome(IntEnum):
    """How an attempt ended: well, with an error, given back without one, or with the worker's death."""

    ARCHIVED = 0
    ERROR = 1
    RELEASED = 2
    DIED = 3


class Job(msgspec.Struct, frozen=True, gc=False):
    """A job as a worker has it: leased, with its game.

    ``attempts`` counts the earlier ones that count; ``checksum`` is the payload's.
    """

    id: int
    record: GameRecord
    checksum: bytes
    sender: Sender
    enqueued_at: int
    attempts: int

    @property
    def key(self) -> EntityKey:
        """What its game is known by."""
        return EntityKey(self.record.entity_type, self.record.entity_id)


class JobStatus(msgspec.Struct, frozen=True, gc=False):
    """What is to be seen of a job. Instants are microseconds since the epoch.

    ``due_at`` is when a RETRYABLE one will be tried again, ``worker`` and ``leased_at`` who works on a RUNNING one, and since
    when; ``error`` is why the last attempt failed, or why it was cancelled.
    """

    id: int
    key: EntityKey
    state: JobState
    sender: Sender
    checksum: bytes
    raw_bytes: int
    enqueued_at: int
    attempts: int
    due_at: int | None
    worker: str | None
    leased_at: int | None
    finished_at: int | None
    error: str | None


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """One time that a worker had a job: the history counts them from 1."""

    number: int
    started_at: int
    ended_at: int
    worker: str
    outcome: Outcome
    error: str | None


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs: all that meet every condition given.

    Args:
        states: in one of these states; empty: in any.
        entity_type: of games of this type.
        entity_id: of the game with this id.
        priority: of this priority.
        error: whose error holds this text, in whatever case.
        ids: of these numbers; None: of any.
    """

    states: Collection[JobState] = ()
    entity_type: str | None = None
    entity_id: str | None = None
    priority: ArchivalPriority | None = None
    error: str | None = None
    ids: Collection[int] | None = None


def matching(database: Database, found: JobFilter) -> ColumnElement[bool]:
    """The condition that a filter is."""
    # States are written into the statement, for else SQLite takes no index that is for one of them.
    states = [jobs.c.state == bindparam(None, int(state), literal_execute=True) for state in sorted(found.states)]
    conditions: list[ColumnElement[bool]] = [or_(*states)] if states else []
    if found.entity_type is not None:
        conditions.append(jobs.c.entity_type == found.entity_type)
    if found.entity_id is not None:
        conditions.append(jobs.c.entity_key == encode_id(found.entity_id))
    if found.priority is not None:
        conditions.append(jobs.c.priority == int(found.priority))
    if found.error is not None:
        conditions.append(func.lower(jobs.c.error).contains(found.error.lower(), autoescape=True))
    if found.ids is not None:
        conditions.append(database.among(jobs.c.id, found.ids))
    return and_(true(), *conditions)


def status_of(row: Row[Any]) -> JobStatus:
    """What is to be seen of a job, out of its row."""
    return JobStatus(
        row.id, EntityKey(row.entity_type, decode_id(row.entity_key)), JobState(row.state), sender_of(row), row.checksum,
        row.raw_bytes, row.enqueued_at, row.attempts, row.due_at, row.worker, row.leased_at, row.finished_at, row.error,
    )  # fmt: skip


def sender_of(row: Row[Any]) -> Sender:
    """On whose behalf a job is."""
    return _sender(row.trigger, row.priority, row.policy, not row.variant)


@lru_cache(maxsize=256)
def _sender(trigger: str, priority: int, policy: str | None, live: bool) -> Sender:
    return Sender(ArchivalTrigger(trigger), ArchivalPriority(priority), policy, live)
