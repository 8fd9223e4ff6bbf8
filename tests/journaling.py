"""Journals of games in play, and processes that keep one."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection

from archiving import plain

from gamearchive.database.engine import BUSY_SECONDS, Database
from gamearchive.journal import Journal, Snapshot
from gamearchive.model import ArchivalPriority, ArchivalTrigger, Handover, checksum

HANDOVER = Handover(ArchivalTrigger.GAME_COMPLETED, ArchivalPriority.HIGH, "default@1", 1_750_000_000_000_000)
SPAWNING = get_context("forkserver")
LONG = 3_600.0


def snapshot(entity_id: str, payload: bytes = b"{}", *, at: int = 0, handover: Handover | None = None) -> Snapshot:
    """A game of which nothing but the bytes is known."""
    return Snapshot(plain(entity_id, payload), checksum(payload), at, handover)


@contextmanager
def journal(
    url: str, server: str = "server", *, lease_seconds: float = LONG, wait: float = 0.0, busy_seconds: float = BUSY_SECONDS
) -> Iterator[Journal]:
    """An open journal with a database of its own, as another process would have; closed at the end."""
    database = Database(url, busy_seconds=busy_seconds)
    made = Journal(database, server, lease_seconds=lease_seconds)
    try:
        made.open(wait)
        yield made
        made.close()
    finally:
        database.close()


def recovered(kept: Journal) -> dict[str, Snapshot]:
    """All that a journal has, by id."""
    found = list(kept.recover())
    by_id = {each.record.entity_id: each for each in found}
    assert len(by_id) == len(found)
    return by_id


@contextmanager
def kept_by_another(work: Callable[..., None], *arguments: object) -> Iterator[Connection]:
    """Run some work, given a pipe's end as its last argument, in another process, that is killed at the end; the other end."""
    ours, theirs = SPAWNING.Pipe()
    child = SPAWNING.Process(target=work, args=(*arguments, theirs))
    child.start()
    theirs.close()
    try:
        yield ours
    finally:
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        assert child.exitcode == -signal.SIGKILL


def hold_name(url: str, server: str, ids: Sequence[str], said: Connection) -> None:
    """Open a journal for long, write some games, and wait for the end."""
    kept = Journal(Database(url), server, lease_seconds=LONG)
    kept.open()
    kept.flush([snapshot(entity_id) for entity_id in ids])
    said.send("open")
    said.recv()


def flush_forever(url: str, server: str, first: int, games: int, said: Connection) -> None:
    """Write all of some games again and again, in states that count up, and tell of each once it is written."""
    kept = Journal(Database(url), server, lease_seconds=LONG)
    kept.open(0.0)
    state = first
    while True:
        kept.flush([snapshot(f"g-{number}", payload_of(state, number), at=state) for number in range(games)])
        said.send(state)
        state += 1


def payload_of(state: int, number: int) -> bytes:
    """A game's bytes in a state, some of which are longer than a page of a database."""
    return (b"%d of %d;" % (state, number)) * (number * 97 % 900 + 1)


def claim_at_once(url: str, server: str, dead: str, said: Connection) -> None:
    """Claim a dead server's games once told to, and say what became of it."""
    from gamearchive.errors import NotFoundError

    with journal(url, server) as kept:
        said.send("open")
        said.recv()
        try:
            said.send(len(kept.claim(dead)))
        except NotFoundError:
            said.send(None)
        said.recv()
