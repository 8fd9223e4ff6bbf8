"""What a reader is: it turns the bytes of one source into games.

A reader for another format is a class of a few lines, found by the entry-point group ``gamearchive.readers``::

    class SgfReader(Reader):
        \"\"\"Go games, one a file.\"\"\"

        name = "sgf"
        suffixes = (".sgf",)

        def sniff(self, head: bytes) -> bool:
            return head.lstrip().startswith(b"(;")

        def read(self, stream: ByteStream, context: ReadContext) -> Iterator[GameRecord | Rejection]:
            payload = stream.read_whole(context.options.max_record_bytes)
            yield context.record(payload, content_type="application/x-go-sgf", entity_id=context.name)

and in its package's pyproject.toml::

    [project.entry-points."gamearchive.readers"]
    sgf = "their_package:SgfReader"

A reader raises nothing for what its source holds: a record it cannot take is a `Rejection`, which `ReadContext` makes. A
`SourceError` or an OSError that the stream raises may pass through it: it becomes a rejection at the line reached, and ends
that source alone.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from hashlib import blake2b
from typing import ClassVar

import msgspec

from gamearchive.errors import UsageError
from gamearchive.facts import FactRules
from gamearchive.model import Facts, GameRecord, Notice, Rejection, Tags, check_tags, check_type, id_problem
from gamearchive.readers.streams import ByteStream

MAX_RECORD_BYTES = 64 << 20
REJECTED_BYTES = 1 << 16
"""How much of a rejected record is kept with the rejection."""

_AROUND = b" \t\r\n\x1e\xef\xbb\xbf"
_NO_FACTS = Facts()
_DERIVED = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


class ReadOptions(msgspec.Struct, frozen=True):
    """How sources are read.

    Attributes:
        entity_type: the type of every game read.
        format: the name of the reader to use; None to go by the source's name and content.
        max_record_bytes: the largest game taken, in bytes.
        rules: where the facts of JSON games are.
        tags: put on every game read.
        own: what is this program's own, and left out: how the resolved paths begin, with ``/`` throughout. The manager adds
            all that its archive consists of.

    Raises:
        UsageError: if the type or the tags are none that games can have.
    """

    entity_type: str = "game"
    format: str | None = None
    max_record_bytes: int = MAX_RECORD_BYTES
    rules: FactRules = FactRules()
    tags: Tags = ()
    own: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_type(self.entity_type)
        check_tags(self.tags)


class ReadContext(msgspec.Struct, frozen=True):
    """What a reader knows of its source, and how it makes records.

    Attributes:
        source: what the user knows the source by: its path, or ``-``.
        name: the source's name within the folder given, or its file name, without the end that a compression puts there;
            None where there is no name, as with standard input.
        options: how to read it.
    """

    source: str
    name: str | None
    options: ReadOptions

    def record(
        self,
        payload: bytes,
        *,
        content_type: str,
        entity_id: str | None,
        facts: Facts = _NO_FACTS,
        line: int | None = None,
    ) -> GameRecord | Rejection:
        """A game, or its rejection if its id or its size is out of bounds.

        Args:
            payload: the game, byte for byte.
            content_type: its media type; ``text/…`` where it is text.
            entity_id: its id; None to derive one from its bytes.
            facts: what is known of its content.
            line: where it begins, counted from 1, where that means something.
        """
        options = self.options
        if len(payload) > options.max_record_bytes:
            return self.reject(line, f"the record has more than {options.max_record_bytes} bytes", payload)
        if entity_id is None:
            entity_id = derived_id(payload)
        elif (problem := id_problem(entity_id)) is not None:
            return self.reject(line, problem, payload)
        try:
            return GameRecord(options.entity_type, entity_id, payload, content_type, facts, options.tags)
        except UsageError as error:
            return self.reject(line, error.message, payload)

    def reject(self, line: int | None, reason: str, raw: bytes = b"") -> Rejection:
        """The rejection of a record of this source."""
        return Rejection(self.source, line, reason, raw[:REJECTED_BYTES])


class Reader(ABC):
    """Reads the games of one format. One instance may read many sources, one after another."""

    name: ClassVar[str]
    """What ``--format`` calls it."""
    suffixes: ClassVar[tuple[str, ...]] = ()
    """The ends of file names, in lower case, that promise this format."""

    def sniff(self, head: bytes) -> bool:  # noqa: ARG002 - for those that look
        """Whether a source that begins with these bytes, up to 64 KiB, looks like this format."""
        return False

    @abstractmethod
    def read(self, stream: ByteStream, context: ReadContext) -> Iterator[GameRecord | Rejection | Notice]:
        """Every game of a source, and every record that is none, in the source's order and in bounded memory.

        What is neither, and is left out, may be told by a notice: one for all of a kind.
        """


def derived_id(payload: bytes) -> str:
    """The id of a game that has none: from its content, and so always the same.

    It is the BLAKE2b-128 of the payload without the white space, marks and separators around it, in the form of a version 8
    UUID (RFC 9562, section 5.8), which databases store in 16 bytes.
    """
    digest = bytearray(blake2b(payload.strip(_AROUND), digest_size=16).digest())
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    digits = digest.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def is_derived(entity_id: str) -> bool:
    """Whether an id is of the form of those made by `derived_id`."""
    return _DERIVED.fullmatch(entity_id) is not None


def utf16_problem(head: bytes) -> str | None:
    """Why a text cannot be read that is UTF-16 or UTF-32, as its byte-order mark or its NULs show; None if it is neither."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or (len(head) >= 2 and 0 in head[:2] and any(head[:2])):
        return "the text is UTF-16, not UTF-8: convert it with `iconv -f UTF-16 -t UTF-8`"
    return None
