"""Reading in a process of its own, beside the one that archives: where there is much to read, on two cores instead of one.

The process is this Python, running `serve`. It gets its order on standard input, and answers on standard output with messages:
each its length, eight bytes, little-endian, then a MessagePack map. The last one says that it is the last, so that a process
that died is told from one that was done. It ends by itself once nobody takes what it sends.
"""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from typing import IO

import msgspec

from gamearchive.errors import GameArchiveError, Told, UnavailableError, tell, told
from gamearchive.model import Facts, GameRecord, Player, Tags
from gamearchive.readers.base import ReadOptions
from gamearchive.readers.batches import Batch, batches
from gamearchive.readers.sources import read_sources

_LENGTH_BYTES = 8
_PIPE_BYTES = 1 << 20  # as much as Linux allows: the fewer times the two wait for each other the better
_SERVE = "import sys; sys.path[:] = sys.argv[1:]; from gamearchive.readers.apart import serve; serve()"


class _Order(msgspec.Struct):
    sources: Sequence[str]
    options: ReadOptions


class _Sent(msgspec.Struct, array_like=True, gc=False):
    """A record, its players by their ranks in the message: each is met, and made, once a batch."""

    entity_type: str
    entity_id: str
    payload: bytes
    content_type: str
    tags: Tags
    players: list[int]
    winner: int | None
    status: str | None
    created_at: int | None
    completed_at: int | None


class _Message(msgspec.Struct, array_like=True):
    """A batch, or the end: well, or by an error."""

    games: list[_Sent] = []
    players: list[Player] = []
    rest: Batch | None = None
    """What there is in the batch beside its records."""
    error: Told | None = None


class _CheckedRecord(GameRecord, frozen=True, gc=False):
    """A record that was checked where it was read: to check it here again takes longer than to take it over."""

    def __post_init__(self) -> None:
        pass


def _packed(batch: Batch) -> _Message:
    ranks: dict[Player, int] = {}
    games = []
    for record in batch.records:
        facts = record.facts
        seats = [ranks.setdefault(player, len(ranks)) for player in facts.players]
        winner = None if facts.winner is None else ranks.setdefault(facts.winner, len(ranks))
        games.append(_Sent(
            record.entity_type, record.entity_id, record.payload, record.content_type, record.tags,
            seats, winner, facts.status, facts.created_at, facts.completed_at,
        ))  # fmt: skip
    batch.records = []
    return _Message(games, [*ranks], batch)


def _unpacked(message: _Message) -> Batch | None:
    batch, players = message.rest, message.players
    if batch is None:
        return None
    for game in message.games:
        winner = None if game.winner is None else players[game.winner]
        seats = tuple([players[rank] for rank in game.players])
        facts = Facts(seats, winner, game.status, game.created_at, game.completed_at)
        batch.records.append(
            _CheckedRecord(game.entity_type, game.entity_id, game.payload, game.content_type, facts, game.tags)
        )
    return batch


def read_apart(sources: Sequence[str], options: ReadOptions) -> Generator[Batch]:
    """All that some sources hold, read by a process of its own, which is ended when this is left early.

    Raises:
        UnavailableError: if that process dies.
        UsageError, ConfigurationError: as `read_source` does.
    """
    decode = msgspec.msgpack.Decoder(_Message).decode
    command = [sys.executable, "-c", _SERVE, *sys.path]
    # In a session of its own: an interruption at the terminal is for this process to hear, and to finish the batch in hand.
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pipesize=_PIPE_BYTES, start_new_session=True
    ) as process:
        try:
            order, answers = process.stdin, process.stdout
            assert order is not None  # noqa: S101 - what was asked for
            assert answers is not None  # noqa: S101
            with suppress(BrokenPipeError), order:
                order.write(msgspec.msgpack.encode(_Order(sources, options)))
            while (batch := _receive(answers, decode)) is not None:
                yield batch
                del batch  # or it would be kept until the next has come
        finally:
            process.kill()


def _receive(answers: IO[bytes], decode: Callable[[bytes], _Message]) -> Batch | None:
    length = int.from_bytes(answers.read(_LENGTH_BYTES), "little")
    data = answers.read(length)
    if not length or len(data) < length:
        raise UnavailableError(
            "The process that reads the sources died in the middle of them.",
            hint="Run the same command again: what is archived already is passed over.",
        )
    message = decode(data)
    if message.error is not None:
        raise told(*message.error)
    return _unpacked(message)


def serve() -> None:
    """Be the process that reads."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # whoever sends it to all processes at once means the one that archives
    gc.set_threshold(200_000, 50)
    order = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=_Order)
    answers = os.dup(1)
    os.dup2(2, 1)  # what a reader may print is no answer
    try:
        for batch in batches(read_sources(order.sources, order.options)):
            _send(answers, _packed(batch))
        _send(answers, _Message())
    except GameArchiveError as error:
        _send(answers, _Message(error=tell(error)))


def _send(answers: int, message: _Message) -> None:
    data = msgspec.msgpack.encode(message)
    try:
        os.write(answers, len(data).to_bytes(_LENGTH_BYTES, "little"))
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(answers, rest) :]
    except BrokenPipeError:
        raise SystemExit from None  # nobody wants to know any more
