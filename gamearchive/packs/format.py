"""The pack: many games in one immutable file. This is the specification of its format, version 1.

A pack is an ordinary Zstandard file. No program of ours is needed to get the games out of it: ``zstd -d -D DICT < PACK``
prints them, and any reader of the Zstandard seekable format finds its way in it. All numbers are little-endian.

::

    frame 0 ... n-1   Zstandard frames, each of one record or several, one after another in the order of the index
    index             skippable frame 0x184D2A51: one byte, the format version (1); then one Zstandard frame, the index
    seek table        skippable frame 0x184D2A5E: the seek table of the Zstandard seekable format, without checksums

**Frames.** The header of every frame says its content size, a checksum (XXH64) follows it, and the id of its dictionary is in
the header; all frames of a pack share one dictionary, or have none. A frame's content is its records, exactly as they were
given, one after another and nothing else. A pack is of text or of binary records: in a pack of text each record is followed by
one newline that is no part of it. A frame of several records holds at most 1 MiB, a frame of one as much as the record needs.

**Index.** A MessagePack map of columns, described field by field in `gamearchive.packs.index`. It holds all that the catalog
knows of each record, so that a lost catalog is rebuilt from packs alone, and the id and BLAKE2b-128 of the dictionary. Its own
frame uses no dictionary. Where records lie follows from their lengths, as they fill their frames without gaps.

**Seek table.** One entry a data frame, then one for the index, whose decompressed size is 0. It is where a reader begins: from
the end of the file it finds the seek table, there the length of the index, and in that everything else.

**Name.** ``<type>/<yyyy>/<mm>/<dd>/<BLAKE2b-128 of all bytes>.zst``, the date being the UTC day on which its newest record was
archived. A pack is never changed, and writing it twice is harmless. The name proves it to the last bit: a few bits of a
Zstandard frame mean nothing to a decompressor, and if one of them flips, all records come out right and only the name shows it.

**Limits.** 1 to 65,536 records, all of one entity type; a frame's content below 1 GiB; an index below 32 MiB, decompressed.

**Readers** check everything before they use it, and answer what is wrong with an IntegrityError that names the pack, and the
game where it is about one: a truncated tail, sizes that do not add up, a frame without content size or one that claims more
than the reader allows, another dictionary than the index names, a record that does not have its checksum. Keys of the index
that they do not know they pass over; a pack of an unknown version they refuse. Version 1 is read forever.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from itertools import islice
from typing import NamedTuple

from gamearchive.errors import IntegrityError
from gamearchive.model import CHECKSUM_BYTES, ArchiveEntry, EntityKey, Place, checksum, is_text
from gamearchive.packs.dictionary import Dictionary
from gamearchive.packs.frames import (
    MAX_CONTENT_BYTES,
    FrameSize,
    compress,
    decompress,
    parse_seek_table,
    seek_table,
    seek_table_bytes,
    skippable_frame,
    skippable_payload,
)
from gamearchive.packs.index import MAX_RECORDS, decode_index, encode_index, entries_of, lay_out

VERSION = 1
INDEX_MAGIC = 0x184D2A51
MAX_INDEX_BYTES = 32 << 20
DENSE_LEVEL = 19
"""Zstandard's level for dense packs, 2 ms of one core for a game of 4 KB."""
MAX_SHARED_FRAME_BYTES = 1 << 20
"""The content of a frame of several records; a reader allows a frame as much, whatever the largest record may have."""

_DENSE_FRAME_BYTES = 64 << 10
_DENSE_BLOCK_BYTES = 192 << 10  # decompressed in 0.1 ms
_MAX_SEEK_TABLE_BYTES = 8 * MAX_RECORDS + 25
_INDEX_LEVEL = 3  # most of an index is random, and higher levels find no more in it
_TAIL_BYTES = 64 << 10
_RUN_BYTES = 4 << 20
_KEY = re.compile(r"[^/]+/\d{4}/\d\d/\d\d/[0-9a-f]{32}\.zst", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

ReadAt = Callable[[int, int], bytes]
"""Reads a range of a pack: from an offset so many bytes, or fewer where the pack ends."""


class Pack(NamedTuple):
    """A pack that is ready to be stored under its key; its entries know their places in it."""

    key: str
    data: bytes
    entries: list[ArchiveEntry]

    @property
    def digest(self) -> str:
        """The BLAKE2b-128 of its bytes, as in its key."""
        return _digest_in(self.key)


def build_pack(
    entries: Sequence[ArchiveEntry],
    payloads: Sequence[bytes],
    *,
    dictionary: Dictionary | None = None,
    level: int = 3,
    block_bytes: int = 0,
    threads: int = -1,
) -> Pack:
    """Make a pack of some records.

    Args:
        entries: what is known of them, all of one entity type, and all text or all binary. Places and stored sizes are filled
            in; lengths and checksums are taken as they are.
        payloads: their bytes, in the same order.
        dictionary: to compress with, or None.
        level: of Zstandard, 1 to 22.
        block_bytes: 0 makes a fresh pack, each record of which has a frame of its own; else it is a dense one, in which records
            share frames of up to so many bytes, and at most 1 MiB.
        threads: how many to compress with, -1 for one a core.

    Raises:
        ValueError: if the records cannot be in one pack, or lengths and payloads differ.
    """
    text = _check_records(entries, payloads)
    separator = b"\n" if text else b""
    counts = list(_frame_counts(payloads, block_bytes)) if block_bytes else [1] * len(payloads)
    rest = (payload + separator for payload in payloads)
    contents = [b"".join(islice(rest, count)) for count in counts]
    frames = compress(contents, level, dictionary, threads)
    sizes = [FrameSize(len(frame), len(content)) for frame, content in zip(frames, contents, strict=True)]
    index = _index_frame(entries, counts, dictionary, text=text, dense=block_bytes > 0)
    data = b"".join([*frames, index, seek_table([*sizes, FrameSize(len(index), 0)])])
    newest = max(entry.provenance.archived_at for entry in entries)
    key = pack_key(entries[0].entity_type, newest, _digest(data))
    places = lay_out(key, sizes, counts, [len(payload) for payload in payloads], text=text)
    filled = [entry.stored_at(place, stored) for entry, (place, stored) in zip(entries, places, strict=True)]
    return Pack(key, data, filled)


def build_packs(
    entries: Sequence[ArchiveEntry],
    payloads: Sequence[bytes],
    *,
    dictionary: Dictionary | None,
    level: int,
    block_bytes: int = 0,
) -> Iterator[Pack]:
    """Make the packs that records go into: one, unless there are more of them, or of their facts, than one takes."""
    half = len(entries) // 2
    if len(entries) <= MAX_RECORDS:
        try:
            pack = build_pack(entries, payloads, dictionary=dictionary, level=level, block_bytes=block_bytes)
        except ValueError:
            if not half:
                raise
        else:
            yield pack
            return
    for part in (slice(half), slice(half, None)):
        yield from build_packs(entries[part], payloads[part], dictionary=dictionary, level=level, block_bytes=block_bytes)


def dense_block_bytes(entries: Sequence[ArchiveEntry]) -> int:
    """How much is to share a frame of a dense pack, so that 64 KiB need be read for a record at most, but for a large one.

    A block takes no more than its records take now, one by one.
    """
    raw_bytes, stored_bytes = sum(entry.raw_bytes for entry in entries), sum(entry.stored_bytes for entry in entries)
    return max(min(_DENSE_FRAME_BYTES * raw_bytes // max(stored_bytes, 1), _DENSE_BLOCK_BYTES), 1)


def pack_key(entity_type: str, archived_at: int, digest: str) -> str:
    """The name of a pack.

    Args:
        entity_type: of its records.
        archived_at: when the newest was archived, microseconds since the epoch.
        digest: the BLAKE2b-128 of its bytes, hexadecimal.
    """
    day = _EPOCH + timedelta(microseconds=archived_at)
    return f"{entity_type}/{day:%Y/%m/%d}/{digest}.zst"


def is_pack_key(key: str, entity_type: str) -> bool:
    """Whether a pack of this type of games may have this name, as far as its bytes need not be read to tell."""
    return key.startswith(f"{entity_type}/") and _KEY.fullmatch(key) is not None


def verify_pack(key: str, data: bytes) -> None:
    """Check a whole pack against its name.

    Raises:
        IntegrityError: if any byte is not what was written.
    """
    if _digest(data) != _digest_in(key):
        raise IntegrityError(f"Pack {key} is damaged: its bytes are not those it is named by.")


def read_record(
    frame: bytes,
    place: Place,
    raw_bytes: int,
    *,
    max_record_bytes: int,
    key: EntityKey | None = None,
    checksum: bytes | None = None,
    dictionary: Dictionary | None = None,
) -> bytes:
    """Take one record from the bytes of its frame.

    Args:
        frame: what was read at the place.
        place: where the record lies.
        raw_bytes: the record's length.
        max_record_bytes: how many bytes may be taken for it, and for those that share its frame if that is more than 1 MiB.
        key: the game's type and id, to be named in errors.
        checksum: the record's BLAKE2b-128; not checked when None.
        dictionary: the one its pack was made with, or None.

    Raises:
        IntegrityError: if this is not exactly the record.
    """
    subject = subject_of(place.pack, key)
    if len(frame) != place.frame_bytes:
        raise IntegrityError(f"{subject} is cut short: {len(frame)} of {place.frame_bytes} bytes are there.")
    return _record(_content(frame, dictionary, max_record_bytes, subject), place, raw_bytes, checksum, subject)


class PackReader:
    """A pack, opened: its index is read and checked, its records not yet.

    Args:
        key: the pack's name.
        size: its bytes.
        read_at: reads a range of it.
        max_record_bytes: how many bytes may be taken for one record.

    Raises:
        IntegrityError: if it is no pack, damaged, or of an unknown version.
    """

    def __init__(self, key: str, size: int, read_at: ReadAt, *, max_record_bytes: int) -> None:
        self.key = key
        self._read_at = read_at
        self._max_record_bytes = max_record_bytes
        self._tail_at = max(size - _TAIL_BYTES, 0)
        self._tail = read_at(self._tail_at, size - self._tail_at)
        *self._sizes, index_size = self._read_seek_table(size)
        data = self._read_index(sum(frame.stored for frame in self._sizes), index_size.stored)
        index = decode_index(data, f"pack {key}")
        self.dictionary = index.dictionary
        """Id and BLAKE2b-128 of the dictionary that its records were compressed with, or None."""
        self.dense = index.dense
        """Whether it was made to be small."""
        self._entries, self._counts = entries_of(index, key, self._sizes)

    def entries(self) -> list[ArchiveEntry]:
        """All its entries, as they were when it was built, in its order."""
        return list(self._entries)

    def read(self, entry: ArchiveEntry, dictionary: Dictionary | None = None) -> bytes:
        """The bytes of one of its records.

        Raises:
            IntegrityError: if it is damaged, or needs another dictionary.
        """
        frame = self._read_at(entry.place.frame_offset, entry.place.frame_bytes)
        return read_record(
            frame,
            entry.place,
            entry.raw_bytes,
            max_record_bytes=self._max_record_bytes,
            key=entry.key,
            checksum=entry.checksum,
            dictionary=dictionary,
        )

    def records(self, dictionary: Dictionary | None = None) -> Iterator[tuple[ArchiveEntry, bytes | IntegrityError]]:
        """All its records in its order, each with its bytes or with what is wrong with it, so that the others can be had.

        Raises:
            IntegrityError: if the dictionary is not the one that the pack was made with.
        """
        self._check_dictionary(dictionary)
        entries = iter(self._entries)
        for count, frame in zip(self._counts, self._frames(), strict=True):
            yield from self._records_of(frame, list(islice(entries, count)), dictionary)

    def _records_of(
        self, frame: bytes, entries: Sequence[ArchiveEntry], dictionary: Dictionary | None
    ) -> Iterator[tuple[ArchiveEntry, bytes | IntegrityError]]:
        content: bytes | None = None
        for entry in entries:
            subject = subject_of(self.key, entry.key)
            result: bytes | IntegrityError
            try:
                if content is None:
                    content = _content(frame, dictionary, self._max_record_bytes, subject)
                result = _record(content, entry.place, entry.raw_bytes, entry.checksum, subject)
            except IntegrityError as error:
                result = error
            yield entry, result

    def _frames(self) -> Iterator[bytes]:
        """All data frames, read in runs of some MiB: one request a frame would be slow on a remote store."""
        offset = position = 0
        while position < len(self._sizes):
            end, length = position + 1, self._sizes[position].stored
            while end < len(self._sizes) and length + self._sizes[end].stored <= _RUN_BYTES:
                length += self._sizes[end].stored
                end += 1
            run = self._read_at(offset, length)
            offset += length
            begin = 0
            for size in self._sizes[position:end]:
                yield run[begin : begin + size.stored]
                begin += size.stored
            position = end

    def _read_seek_table(self, size: int) -> list[FrameSize]:
        subject = f"pack {self.key}"
        length = seek_table_bytes(self._tail, f"Pack {self.key}")
        if length > min(size, _MAX_SEEK_TABLE_BYTES):
            raise IntegrityError(f"The seek table of {subject} is damaged: it claims {length} bytes.")
        sizes = parse_seek_table(self._read(size - length, length), subject)
        if not sizes or sizes[-1].content or sum(frame.stored for frame in sizes) + length != size:
            raise IntegrityError(f"The seek table of {subject} is damaged: its sizes do not add up to the pack's {size} bytes.")
        return sizes

    def _read_index(self, offset: int, length: int) -> bytes:
        subject = f"The index of pack {self.key}"
        if length > MAX_INDEX_BYTES:
            raise IntegrityError(f"{subject} is refused: it has {length} bytes, more than {MAX_INDEX_BYTES}.")
        payload = skippable_payload(INDEX_MAGIC, self._read(offset, length), subject)
        if payload[:1] != bytes([VERSION]):
            found = payload[0] if payload else "none"
            raise IntegrityError(
                f"Pack {self.key} is of format version {found}; this program reads version {VERSION}.",
                hint="Read it with a newer gamearchive. If there is none, the pack is damaged: run `gamearchive verify`.",
            )
        return decompress(payload[1:], None, limit=MAX_INDEX_BYTES, subject=subject)

    def _read(self, offset: int, length: int) -> bytes:
        """A range, from the tail that was read first if it is in there."""
        if offset >= self._tail_at:
            return self._tail[offset - self._tail_at : offset - self._tail_at + length]
        return self._read_at(offset, length)

    def _check_dictionary(self, dictionary: Dictionary | None) -> None:
        if self.dictionary is None:
            return
        needed, expected = self.dictionary
        if dictionary is None:
            raise IntegrityError(f"Pack {self.key} cannot be read: it needs dictionary {needed}, that is not at hand.")
        if (dictionary.id, dictionary.checksum) != (needed, expected):
            raise IntegrityError(
                f"Pack {self.key} cannot be read: it needs dictionary {needed}, another ({dictionary.id}) was given."
            )


def _check_records(entries: Sequence[ArchiveEntry], payloads: Sequence[bytes]) -> bool:
    """Whether the records are text, once it is sure that they can be in one pack."""
    if not 0 < len(entries) <= MAX_RECORDS:
        raise ValueError(f"a pack has 1 to {MAX_RECORDS} records, not {len(entries)}")
    if [entry.raw_bytes for entry in entries] != [len(payload) for payload in payloads]:
        raise ValueError("entries and payloads are not of the same records")
    if any(len(entry.checksum) != CHECKSUM_BYTES for entry in entries):
        raise ValueError(f"a checksum is not of {CHECKSUM_BYTES} bytes")
    if len({entry.entity_type for entry in entries}) > 1:
        raise ValueError("a pack has records of one entity type")
    kinds = {is_text(content_type) for content_type in {entry.content_type for entry in entries}}
    if len(kinds) > 1:
        raise ValueError("a pack has text or binary records, not both")
    if max(map(len, payloads)) >= MAX_CONTENT_BYTES:
        raise ValueError(f"a record has {MAX_CONTENT_BYTES} bytes or more")
    return kinds.pop()


def _frame_counts(payloads: Sequence[bytes], block_bytes: int) -> Iterator[int]:
    """How many records go into each frame."""
    count = content = 0
    for payload in payloads:
        size = len(payload) + 1
        if count and content + size > min(block_bytes, MAX_SHARED_FRAME_BYTES):
            yield count
            count = content = 0
        count += 1
        content += size
    yield count


def _index_frame(
    entries: Sequence[ArchiveEntry], counts: Sequence[int], dictionary: Dictionary | None, *, text: bool, dense: bool
) -> bytes:
    named = (dictionary.id, dictionary.checksum) if dictionary else None
    index = encode_index(entries, counts, named, text=text, dense=dense)
    frame = skippable_frame(INDEX_MAGIC, bytes([VERSION]) + compress([index], _INDEX_LEVEL, None, 1)[0])
    largest = max(len(index), len(frame))
    if largest > MAX_INDEX_BYTES:
        raise ValueError(f"the facts of these records take {largest} bytes, more than the {MAX_INDEX_BYTES} of a pack's index")
    return frame


def _content(frame: bytes, dictionary: Dictionary | None, max_record_bytes: int, subject: str) -> bytes:
    limit = max(max_record_bytes, MAX_SHARED_FRAME_BYTES) + 1  # a newline may follow
    return decompress(frame, dictionary, limit=limit, subject=subject)


def _record(content: bytes, place: Place, raw_bytes: int, expected: bytes | None, subject: str) -> bytes:
    record = content[place.record_offset : place.record_offset + raw_bytes]
    if len(record) != raw_bytes:
        raise IntegrityError(f"{subject} is damaged: its frame holds {len(record)} of its {raw_bytes} bytes.")
    if expected is not None and checksum(record) != expected:
        raise IntegrityError(f"{subject} is damaged: its bytes do not have its checksum.")
    return record


def subject_of(pack: str, key: EntityKey | None) -> str:
    """What an error calls a record: by its game where that is known, and always by its pack."""
    return f"A game in pack {pack}" if key is None else f"Game {key.entity_id!r} of type {key.entity_type!r} in pack {pack}"


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=CHECKSUM_BYTES).hexdigest()


def _digest_in(key: str) -> str:
    return key.rpartition("/")[2].removesuffix(".zst")
