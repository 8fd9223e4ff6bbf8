"""What an archiver is: it takes records and returns once they are safe.

`Archiver.archive` blocks, and is called from several threads at once. It may be called again with the same records, after an
error or a crash: what is archived is known by its checksum, and passed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from gamearchive.model import GameRecord, Sender


class Shipment(NamedTuple):
    """What became of some records: how many were written, and how many bytes that took. The others were there already."""

    written: int
    stored_bytes: int


class Archiver(Protocol):
    """Archives records for a game server."""

    def archive(self, sender: Sender, records: Sequence[GameRecord]) -> Shipment:
        """Archive records. When this returns, they are durable, read back, in the catalog, and out of the journal.

        Raises:
            GameArchiveError: if not all of them are.
        """
        ...

    def close(self, *, given_up: bool = False) -> None:
        """Let go of everything, after what is under way.

        Args:
            given_up: whether what is still under way is waited for by nobody any more; then it may be broken off.
        """
        ...
