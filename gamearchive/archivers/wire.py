"""What a game server and its archiver process say to each other: MessagePack, each message behind its length.

The first message to the process is an `ArchivePlace`; then come `Order`s, which it answers with `Receipt`s in any order. An
order without records is the last: the process ends once the others are done. Where its input ends without that, its server has
died, and it dies at once: what it has not committed is the next server's to archive, from the journal, in the state that it
has by then.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, TypeVar

import msgspec

from gamearchive.archive import Sender
from gamearchive.model import GameRecord

T = TypeVar("T")

_LENGTH_BYTES = 4


class ArchivePlace(msgspec.Struct, frozen=True):
    """Where the archive is."""

    database: str
    storage: str
    compression_level: int


class Order(msgspec.Struct, frozen=True):
    """Records to archive."""

    number: int
    sender: Sender
    records: list[GameRecord]


LAST = Order(0, Sender(), [])


class Receipt(msgspec.Struct, frozen=True):
    """An order carried out, or why it could not be: an error's class, message and hint."""

    number: int
    written: int = 0
    stored_bytes: int = 0
    error: tuple[str, str, str | None] | None = None


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
