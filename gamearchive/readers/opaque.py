"""Any file as one game: replays and records of whatever format, kept byte for byte.

Its id is its name, within the folder given. Nothing else is known of it. An empty file is rejected: it is the trace of a
failed copy, never a game.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from gamearchive.model import OPAQUE, GameRecord, Rejection
from gamearchive.readers.base import ReadContext, Reader
from gamearchive.readers.streams import ByteStream


class OpaqueReader(Reader):
    """Files of unknown format, one game each."""

    name: ClassVar[str] = "opaque"

    def read(self, stream: ByteStream, context: ReadContext) -> Iterator[GameRecord | Rejection]:
        """The one game that the source is."""
        payload = stream.read_whole(context.options.max_record_bytes)
        if not payload:
            yield context.reject(None, "the file is empty")
            return
        yield context.record(payload, content_type=OPAQUE, entity_id=context.name)
