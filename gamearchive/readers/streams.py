"""The bytes of a source, decompressed on the way, in bounded memory.

gzip, Zstandard, bzip2 and xz are taken as their own tools take them: any number of members or frames one after another, frames
to skip included. What is damaged or cut gives all that comes before the damage, and only then a `SourceError`.

No input can make the memory grow. Decoders that give all they have at once get the input in small slices: 1 KiB of gzip is at
most 1 MiB of output, 1 KiB of Zstandard at most 32 MiB. The others are asked for so much output and no more. A Zstandard window
above 128 MiB, and an xz dictionary that needs more than 256 MiB, are refused.
"""

from __future__ import annotations

import bz2
import io
import lzma
import select
import sys
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from io import BufferedReader
from typing import NamedTuple, Protocol

from gamearchive.errors import SourceError

CHUNK_BYTES = 1 << 20
HEAD_BYTES = 1 << 16
BOMB_RATIO = 200
"""How often its own size a source may decompress to, while it is inside one record above the limit."""

_WAITS, _WAIT_SECONDS = 5, 0.2  # how often, and how long, more is waited for to tell a format by
_SLICE_BYTES = 1 << 10
_ZSTD_WINDOW_BYTES = 128 << 20
_XZ_MEMORY_BYTES = 256 << 20


class ByteStream:
    """A source read from its first byte to its last, once.

    Args:
        pieces: the bytes, in pieces of any size; it may end in a `SourceError` or an OSError.
        consumed: how many bytes the source itself has given so far, where that is not what the pieces hold.
        comes_within: whether the next piece, or the end, comes within so many seconds; where that is not asked, at once.
    """

    def __init__(
        self,
        pieces: Iterator[bytes],
        consumed: Callable[[], int] | None = None,
        comes_within: Callable[[float], bool] = lambda _: True,
    ) -> None:
        self._pieces = pieces
        self.comes_within = comes_within
        self._ahead = b""
        self._at = 0  # up to where what is ahead has been taken
        self._failure: SourceError | OSError | None = None
        self._consumed = consumed
        self._delivered = 0
        self.line = 1
        """The line, counted from 1, of the next byte to come."""

    def read(self, size: int = CHUNK_BYTES) -> bytes:
        """At least one byte and at most ``size`` of them; none at the end.

        Raises:
            SourceError: once the bytes before the damage are given, if the source is damaged.
            OSError: if the source cannot be read.
        """
        taken = self._take(size)
        self.line += taken.count(b"\n")
        return taken

    def _take(self, size: int) -> bytes:
        if self._at == len(self._ahead):
            self._gather(size, waits=0)
        taken = self._ahead[self._at : self._at + size]
        if not taken and self._failure is not None:
            raise self._failure
        self._at += len(taken)
        self._delivered += len(taken)
        return taken

    def peek(self, size: int) -> bytes:
        """The next bytes without taking them: ``size`` or more, unless the end, damage or a pause comes before."""
        return self._gather(size, _WAITS)

    def _gather(self, size: int, waits: int) -> bytes:
        ahead = self._ahead[self._at :]
        if len(ahead) < size and self._failure is None:
            pieces = [ahead] if ahead else []  # one piece alone is not copied
            missing = size - len(ahead)
            try:
                while missing > 0:
                    if pieces and not self.comes_within(0):
                        waits -= 1
                        if waits < 0 or not self.comes_within(_WAIT_SECONDS):
                            break
                    piece = next(self._pieces, None)
                    if piece is None:
                        break
                    pieces.append(piece)
                    missing -= len(piece)
            except (SourceError, OSError) as failure:
                self._failure = failure
            ahead = b"".join(pieces)
        self._ahead, self._at = ahead, 0
        return ahead

    def read_whole(self, limit: int) -> bytes:
        """All that is left, as one record.

        Raises:
            SourceError: if it is more than ``limit`` bytes, or the source is damaged.
            OSError: if the source cannot be read.
        """
        pieces: list[bytes] = []
        size = 0
        while piece := self.read():
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                raise SourceError(f"the record has more than {limit} bytes")
        return b"".join(pieces)

    def lines(self, limit: int) -> Iterator[bytes]:
        """The lines, each with its end. One longer than ``limit`` comes cut to ``limit + 1`` bytes, the rest passed over.

        Raises:
            SourceError: if the source is damaged, or a bomb.
            OSError: if the source cannot be read.
        """
        begun: list[bytes] = []  # a line that has not ended yet
        size = 0
        while chunk := self._take(CHUNK_BYTES):
            lines = io.BytesIO(chunk).readlines()
            self.line += len(lines) - (not chunk.endswith(b"\n"))
            for line in lines:
                if line.endswith(b"\n"):
                    whole = b"".join([*begun, line]) if begun else line
                    yield whole if len(whole) <= limit + 1 else whole[: limit + 1]
                    if begun:
                        begun, size = [], 0
                elif size <= limit:
                    begun.append(line)
                    size += len(line)
            if size > limit:
                self.refuse_bomb()
        if begun:
            yield b"".join(begun)[: limit + 1]

    def delivered(self) -> int:
        """How many bytes have been read from it so far."""
        return self._delivered

    def refuse_bomb(self) -> None:
        """Give up on a source that is inside a record above the limit and has grown out of all proportion.

        Raises:
            SourceError: if it has given more than `BOMB_RATIO` times its own bytes.
        """
        if self._consumed is not None and self._delivered > BOMB_RATIO * self._consumed():
            raise SourceError(
                f"the source decompresses to more than {BOMB_RATIO} times its size, within one record over the limit"
            )


class _Decoder(Protocol):
    """What `bz2` and `lzma` offer: one member, decompressed within bounds."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _PlainDecoder(Protocol):
    """What `zlib` and `zstandard` offer: the same, unbounded."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


class _SlicedDecoder:
    """An unbounded decoder, safe as long as it gets its input in small slices; what it raises becomes a ValueError."""

    needs_input = True

    def __init__(self, decoder: _PlainDecoder, error: type[Exception]) -> None:
        self._decoder = decoder
        self._error = error

    @property
    def eof(self) -> bool:
        return self._decoder.eof

    @property
    def unused_data(self) -> bytes:
        return self._decoder.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:  # noqa: ARG002 - bounded by the slice
        try:
            return self._decoder.decompress(data)
        except self._error as error:
            raise ValueError(str(error)) from None


class Codec(NamedTuple):
    """A compression: its name, the ends of names and the first bytes it is known by, and how to start on a member."""

    name: str
    suffixes: tuple[str, ...]
    magics: tuple[bytes, ...]
    start: Callable[[], _Decoder]
    padding: bytes = b""  # what may stand between members without meaning


def _start_gzip() -> _Decoder:
    return _SlicedDecoder(zlib.decompressobj(31), zlib.error)  # 31: a gzip header, and the largest window


def _start_zstd() -> _Decoder:
    import zstandard

    decoder = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES).decompressobj()
    return _SlicedDecoder(decoder, zstandard.ZstdError)


def _start_xz() -> _Decoder:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_BYTES)


CODECS = (
    Codec("gzip", (".gz",), (b"\x1f\x8b",), _start_gzip, b"\0"),
    Codec("zstd", (".zst",), (b"\x28\xb5\x2f\xfd", *(bytes([0x50 + n]) + b"\x2a\x4d\x18" for n in range(16))), _start_zstd),
    Codec("bzip2", (".bz2",), (b"BZh",), bz2.BZ2Decompressor),
    Codec("xz", (".xz",), (b"\xfd7zXZ\0",), _start_xz, b"\0"),
)


def codec_of_name(name: str) -> Codec | None:
    """The compression that the end of a name promises."""
    return next((codec for codec in CODECS if name.lower().endswith(codec.suffixes)), None)


def codec_of_content(head: bytes) -> Codec | None:
    """The compression that the first bytes of a source show."""
    return next((codec for codec in CODECS if head.startswith(codec.magics)), None)


def plain_stream(file: BufferedReader) -> ByteStream:
    """A source as it is. Where it is a pipe, what has come is there to be read, however little, before more comes."""
    return ByteStream(iter(lambda: file.read1(CHUNK_BYTES), b""), comes_within=partial(_comes_within, file))


def _comes_within(file: BufferedReader, seconds: float) -> bool:
    """Whether a file can be read without waiting longer than that; on Windows, whose pipes cannot be asked, it is said to."""
    if sys.platform == "win32":
        return True
    poll = select.poll()
    poll.register(file, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def decompressed_stream(source: ByteStream, codec: Codec) -> ByteStream:
    """What a compressed source holds."""
    return ByteStream(_decompress(source, codec), source.delivered, source.comes_within)


def _decompress(source: ByteStream, codec: Codec) -> Iterator[bytes]:
    slices = _slices(source)
    pending = next(slices, b"")
    while pending:
        decoder = codec.start()
        while not decoder.eof:
            if not pending and decoder.needs_input and not (pending := next(slices, b"")):
                raise SourceError(f"the {codec.name} data is cut")
            try:
                piece = decoder.decompress(pending, CHUNK_BYTES)
            except (OSError, EOFError, ValueError, lzma.LZMAError) as error:
                raise SourceError(f"the {codec.name} data cannot be read: {_explain(error)}") from None
            pending = b""
            if piece:
                yield piece
        pending = decoder.unused_data.lstrip(codec.padding)
        while not pending and (piece := next(slices, b"")):
            pending = piece.lstrip(codec.padding)


def _slices(source: ByteStream) -> Iterator[bytes]:
    while chunk := source.read(HEAD_BYTES):
        for start in range(0, len(chunk), _SLICE_BYTES):
            yield chunk[start : start + _SLICE_BYTES]


def _explain(error: Exception) -> str:
    """A decoder's own words, and for zstandard's refusal of a window the limit it stands for."""
    words = str(error).removeprefix("zstd decompressor error: ") or type(error).__name__
    if "too much memory" in words:
        return f"its window is above {_ZSTD_WINDOW_BYTES >> 20} MiB, which is more memory than one file may take"
    return words
