"""What a game server and its archiver process say to each other: MessagePack, each message behind its length.

The first message to the process is an `ArchivePlace`; then come `Order`s, each in pieces that follow each other, which it
answers with `Receipt`s in any order. An order without records is the last: the process ends once the others are done. Where its
input ends without that, its server has died, and it dies at once: what it has not committed is the next server's to archive,
from the journal, in the state that it has by then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO, TypeVar

import msgspec

from gamearchive.composition import Composition
from gamearchive.errors import Told
from gamearchive.model import GameRecord, Sender

T = TypeVar("T")

_LENGTH_BYTES = 4
_PIECE = 32  # records: some 0.1 ms of encoding


class ArchivePlace(msgspec.Struct, frozen=True):
    """Where the archive is."""

    database: str
    storage: str
    compression_level: int
    encryption_key_file: str | None = None
    composite: Composition | None = None


class Order(msgspec.Struct, frozen=True):
    """Records to archive, or a piece of them."""

    number: int
    sender: Sender
    records: Sequence[GameRecord]
    is_last: bool = True


LAST = Order(0, Sender(), [])


def in_pieces(order: Order) -> Iterator[Order]:
    """An order in pieces: encoding one holds up the loop, which does not get the interpreter until it is done."""
    records = order.records
    for start in range(0, len(records) or 1, _PIECE):
        end = start + _PIECE
        yield Order(order.number, order.sender, records[start:end], end >= len(records))


def put_together(pieces: Iterable[Order]) -> Iterator[Order]:
    """The orders that came in pieces."""
    records: list[GameRecord] = []
    for piece in pieces:
        records += piece.records
        if piece.is_last:
            yield Order(piece.number, piece.sender, records)
            records = []


class Receipt(msgspec.Struct, frozen=True):
    """An order carried out, or why it could not be."""

    number: int
    written: int = 0
    stored_bytes: int = 0
    error: Told | None = None


def send(stream: BinaryIO, message: msgspec.Struct) -> None:
    """Write a message."""
    data = msgspec.msgpack.encode(message)
    stream.write(len(data).to_bytes(_LENGTH_BYTES, "big") + data)
    stream.flush()


def receive(stream: BinaryIO, kind: type[T]) -> Iterator[T]:
    """The messages of one kind until the stream ends; one that is cut off at the end is none."""
    decoder = msgspec.msgpack.Decoder(kind)
    while len(length := stream.read(_LENGTH_BYTES)) == _LENGTH_BYTES:
        size = int.from_bytes(length, "big")
        data = stream.read(size)
        if len(data) < size:
            return
        yield decoder.decode(data)
