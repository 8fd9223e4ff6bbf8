"""Batches: so many games of some sources as are archived at once.

A batch is as large as it may be without memory growing with what its games hold: large packs have small indexes, and one sync
serves for all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from gamearchive.model import GameRecord, Notice, Rejection, checksum

BATCH_RECORDS = 4_096
BATCH_BYTES = 10 << 20
BATCH_SEATS = 1 << 15
"""So many players of games, each counted in every game, are a batch too: what is known of them takes more than a small game."""


class Batch(msgspec.Struct):
    """Games as they were read, the checksum of each, what could not be taken from among them, and what was passed over."""

    records: list[GameRecord] = []
    checksums: list[bytes] = []
    rejections: list[Rejection] = []
    notices: list[Notice] = []
    raw_bytes: int = 0
    seats: int = 0

    def add(self, found: GameRecord | Rejection | Notice) -> None:
        """Take what a reader has found."""
        if isinstance(found, Rejection):
            self.rejections.append(found)
            self.raw_bytes += len(found.raw)
        elif isinstance(found, Notice):
            self.notices.append(found)
        else:
            self.records.append(found)
            self.checksums.append(checksum(found.payload))
            self.raw_bytes += len(found.payload)
            self.seats += len(found.facts.players)

    @property
    def is_full(self) -> bool:
        """Whether it is time for the next."""
        return (
            len(self.records) + len(self.rejections) + len(self.notices) >= BATCH_RECORDS
            or self.raw_bytes >= BATCH_BYTES
            or self.seats >= BATCH_SEATS
        )

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing in it."""
        return not (self.records or self.rejections or self.notices)


def batches(found: Iterable[GameRecord | Rejection | Notice]) -> Iterator[Batch]:
    """What was found, batch by batch, each full but the last."""
    batch = Batch()
    for each in found:
        batch.add(each)
        if batch.is_full:
            yield batch
            batch = Batch()
    if not batch.is_empty:
        yield batch
