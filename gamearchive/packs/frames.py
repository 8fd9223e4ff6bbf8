"""The frames a pack is made of: Zstandard frames, skippable frames, and the seek table at the end.

Zstandard is RFC 8878; the seek table is the Zstandard seekable format 0.1.0 (contrib/seekable_format in the zstd sources),
without its optional checksums, as every frame carries its own. All numbers are little-endian.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from gamearchive.errors import IntegrityError
from gamearchive.packs.dictionary import Dictionary, new_compressor

if TYPE_CHECKING:
    from zstandard import ZstdDecompressor

SEEK_TABLE_MAGIC = 0x184D2A5E
SEEKABLE_MAGIC = 0x8F92EAB1
SKIPPABLE_HEADER_BYTES = 8
FOOTER_BYTES = 9
ENTRY_BYTES = 8
MAX_CONTENT_BYTES = 1 << 30
"""What one frame may decompress to: the seekable format's own limit."""

_SKIPPABLE_HEADER = struct.Struct("<II")  # magic, length of the payload
_FOOTER = struct.Struct("<IBI")  # number of entries, descriptor, magic
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_MUST_BE_ZERO = 0b0001_1000  # the frame header descriptor's reserved bit, and the one that other decoders pass over
_TOO_FEW_FOR_THREADS = 16

_local = threading.local()


class FrameSize(NamedTuple):
    """A row of the seek table: the bytes a frame takes in the pack, and those it decompresses to (0 if it is skippable)."""

    stored: int
    content: int


def compress(contents: Sequence[bytes], level: int, dictionary: Dictionary | None, threads: int) -> list[bytes]:
    """Compress each of some contents into a frame of its own, releasing the interpreter's lock.

    Args:
        contents: what the frames are to hold.
        level: of Zstandard, 1 to 22.
        dictionary: to compress with, or None.
        threads: how many to use, -1 for one a core.
    """
    compressor = dictionary.compressor(level) if dictionary else new_compressor(level)
    if len(contents) < _TOO_FEW_FOR_THREADS or not any(contents):  # zstandard refuses to compress nothing but empty contents
        return [compressor.compress(content) for content in contents]
    frames = compressor.multi_compress_to_buffer([*contents], threads=threads)
    return [frames[position].tobytes() for position in range(len(frames))]


def decompress(frame: bytes, dictionary: Dictionary | None, *, limit: int, subject: str) -> bytes:
    """Decompress a whole frame, checking all that it says of itself before any memory is taken for it.

    Args:
        frame: the frame, exactly.
        dictionary: the one it was compressed with, or None.
        limit: what it may decompress to, in bytes.
        subject: what the frame belongs to, the beginning of an error's message.

    Raises:
        IntegrityError: if it is damaged, larger than the limit, or needs another dictionary.
    """
    from zstandard import CONTENTSIZE_UNKNOWN, ZstdError, get_frame_parameters

    try:
        header = get_frame_parameters(frame)
    except ZstdError:
        header = None
    if header is None or not frame.startswith(_ZSTD_MAGIC) or frame[4] & _MUST_BE_ZERO or not header.has_checksum:
        raise IntegrityError(f"{subject} is damaged: its frame has no valid header.")
    if header.content_size == CONTENTSIZE_UNKNOWN:
        raise IntegrityError(f"{subject} is refused: its frame does not say how large its content is.")
    if header.content_size > limit:
        raise IntegrityError(
            f"{subject} is refused: its frame claims {header.content_size} bytes, more than the {limit} allowed."
        )
    if header.dict_id != (dictionary.id if dictionary else 0):
        needed = f"needs dictionary {header.dict_id}" if header.dict_id else "was made without a dictionary"
        given = f"dictionary {dictionary.id} was given" if dictionary else "that is not at hand"
        raise IntegrityError(f"{subject} cannot be read: its frame {needed}, and {given}.")
    try:
        return (dictionary.decompressor() if dictionary else _plain_decompressor()).decompress(frame, allow_extra_data=False)
    except ZstdError as error:
        raise IntegrityError(f"{subject} is damaged: {error}.") from error


def dictionary_id(frame: bytes) -> int | None:
    """The id of the dictionary that a frame was compressed with, from its first 18 bytes or more; None for none.

    Raises:
        IntegrityError: if these are not the beginning of a frame.
    """
    from zstandard import ZstdError, get_frame_parameters

    try:
        return get_frame_parameters(frame).dict_id or None
    except ZstdError:
        raise IntegrityError("A frame is damaged: it has no valid header.") from None


def skippable_frame(magic: int, payload: bytes) -> bytes:
    """A frame that every Zstandard decompressor passes over."""
    return _SKIPPABLE_HEADER.pack(magic, len(payload)) + payload


def skippable_payload(magic: int, frame: bytes, subject: str) -> bytes:
    """What a skippable frame holds.

    Raises:
        IntegrityError: if it is not one of that magic number and its own length.
    """
    if len(frame) < SKIPPABLE_HEADER_BYTES or _SKIPPABLE_HEADER.unpack_from(frame) != (
        magic,
        len(frame) - SKIPPABLE_HEADER_BYTES,
    ):
        raise IntegrityError(f"{subject} is damaged: it does not begin as it should.")
    return frame[SKIPPABLE_HEADER_BYTES:]


def seek_table(sizes: Sequence[FrameSize]) -> bytes:
    """The seek table of all frames before it, itself a skippable frame."""
    numbers = [number for size in sizes for number in size]
    entries = struct.pack(f"<{len(numbers)}I", *numbers)
    return skippable_frame(SEEK_TABLE_MAGIC, entries + _FOOTER.pack(len(sizes), 0, SEEKABLE_MAGIC))


def seek_table_bytes(tail: bytes, subject: str) -> int:
    """How long the seek table is that a file ends with, from the file's last 9 bytes or more.

    Raises:
        IntegrityError: if there is none.
    """
    if len(tail) < FOOTER_BYTES:
        raise IntegrityError(f"{subject} is damaged: it has {len(tail)} bytes, too few for a seek table.")
    count, descriptor, magic = _FOOTER.unpack(tail[-FOOTER_BYTES:])
    if magic != SEEKABLE_MAGIC or descriptor != 0:
        raise IntegrityError(f"{subject} is damaged: it does not end in a seek table. It may be cut short.")
    return SKIPPABLE_HEADER_BYTES + int(count) * ENTRY_BYTES + FOOTER_BYTES


def parse_seek_table(table: bytes, subject: str) -> list[FrameSize]:
    """Read a seek table of exactly the length that `seek_table_bytes` told.

    Raises:
        IntegrityError: if it is none.
    """
    payload = skippable_payload(SEEK_TABLE_MAGIC, table, f"The seek table of {subject}")
    count = (len(payload) - FOOTER_BYTES) // ENTRY_BYTES
    numbers = struct.unpack_from(f"<{2 * count}I", payload)
    return [FrameSize(*pair) for pair in zip(numbers[::2], numbers[1::2], strict=True)]


def _plain_decompressor() -> ZstdDecompressor:
    try:
        kept: ZstdDecompressor = _local.decompressor
    except AttributeError:
        from zstandard import ZstdDecompressor

        kept = _local.decompressor = ZstdDecompressor()
    return kept
