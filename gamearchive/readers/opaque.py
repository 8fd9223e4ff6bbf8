"""Any file as one game: replays and records of whatever format, kept byte for byte.

Its id is its name, within the folder given. Nothing else is known of it. An empty file is rejected: it is the trace of a
failed copy, never a game. A bundle of files is one game too, and a notice says so: most likely it holds many.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from gamearchive.model import OPAQUE, GameRecord, Notice, Rejection
from gamearchive.readers.base import ReadContext, Reader
from gamearchive.readers.streams import ByteStream

_BUNDLES = (".tar", ".tgz", ".zip", ".7z", ".rar")


class OpaqueReader(Reader):
    """Files of unknown format, one game each."""

    name: ClassVar[str] = "opaque"

    def read(self, stream: ByteStream, context: ReadContext) -> Iterator[GameRecord | Rejection | Notice]:
        """The one game that the source is."""
        payload = stream.read_whole(context.options.max_record_bytes)
        if not payload:
            yield context.reject(None, "the file is empty")
            return
        yield context.record(payload, content_type=OPAQUE, entity_id=context.name)
        if (context.name or "").lower().endswith(_BUNDLES):
            yield Notice(context.source, None, "it is archived as one game; unpack it to archive the games in it")
