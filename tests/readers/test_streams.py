"""Streams: every compression, in one piece or many, cut, damaged, or a bomb."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from gamearchive.errors import SourceError
from gamearchive.readers.streams import (
    BOMB_RATIO,
    CODECS,
    ByteStream,
    codec_of_content,
    codec_of_name,
    decompressed_stream,
)

COMPRESS = {
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}
TEXT = b"".join(b'{"id":"%d","moves":"%d"}\n' % (n, n * 7919) for n in range(3000))
SKIPPABLE = struct.pack("<II", 0x184D2A53, 5) + b"skip!"


def opened(data: bytes) -> ByteStream:
    codec = codec_of_content(data)
    assert codec is not None
    return decompressed_stream(ByteStream(iter([data])), codec)


def drained(stream: ByteStream, size: int = 5000) -> bytes:
    return b"".join(iter(lambda: stream.read(size), b""))


@pytest.mark.parametrize("name", COMPRESS)
def test_one_member_and_many(name: str) -> None:
    compress = COMPRESS[name]
    assert drained(opened(compress(TEXT))) == TEXT
    assert drained(opened(compress(TEXT) + compress(b"") + compress(TEXT))) == TEXT + TEXT


def test_frames_to_skip_and_padding() -> None:
    assert drained(opened(SKIPPABLE + COMPRESS["zstd"](TEXT) + SKIPPABLE)) == TEXT
    assert drained(opened(gzip.compress(TEXT) + bytes(2000))) == TEXT
    assert drained(opened(lzma.compress(TEXT) + bytes(8) + lzma.compress(TEXT))) == TEXT + TEXT


@pytest.mark.parametrize("name", COMPRESS)
@pytest.mark.parametrize("left", [0.1, 0.7, 0.99])
def test_a_cut_stream_gives_what_comes_before_and_then_an_error(name: str, left: float) -> None:
    data = COMPRESS[name](TEXT) + COMPRESS[name](TEXT)
    stream = opened(data[: int(len(data) * left)])
    pieces: list[bytes] = []
    with pytest.raises(SourceError, match=f"{name} data is cut"):
        pieces.extend(iter(stream.read, b""))
    got = b"".join(pieces)
    assert (TEXT + TEXT).startswith(got)
    assert len(got) >= (len(TEXT) if left > 0.5 else 0)
    assert stream.line == got.count(b"\n") + 1


@pytest.mark.parametrize("name", ["gzip", "zstd", "bzip2", "xz"])
def test_damage_is_found(name: str) -> None:
    data = bytearray(COMPRESS[name](TEXT))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(SourceError, match=f"{name} data"):
        drained(opened(bytes(data)))


def test_what_follows_the_last_member_must_be_one() -> None:
    stream = opened(gzip.compress(TEXT) + b"some other bytes")
    assert stream.read(len(TEXT)) == TEXT
    with pytest.raises(SourceError, match="gzip data cannot be read"):
        stream.read()


def test_a_window_above_the_limit_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=28)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    with pytest.raises(SourceError, match="window is above 128 MiB"):
        drained(opened(compressor.compress(TEXT) + compressor.flush()))


def test_a_missing_dictionary_is_said() -> None:
    dictionary = zstandard.train_dictionary(1024, [TEXT[n : n + 100] for n in range(0, len(TEXT), 100)])
    data = zstandard.ZstdCompressor(dict_data=dictionary).compress(TEXT)
    with pytest.raises(SourceError, match=r"zstd data cannot be read: .*[Dd]ictionary"):
        drained(opened(data))


def zeros(name: str, size: int) -> bytes:
    if name == "zstd":
        compressor = zstandard.ZstdCompressor().compressobj()
        return b"".join(compressor.compress(bytes(1 << 20)) for _ in range(size >> 20)) + compressor.flush()
    return COMPRESS[name](bytes(size))


@pytest.mark.parametrize("name", COMPRESS)
def test_a_bomb_is_given_up_once_a_record_is_over_the_limit(name: str) -> None:
    stream = opened(zeros(name, 64 << 20))
    with pytest.raises(SourceError, match=f"more than {BOMB_RATIO} times its size"):
        list(stream.lines(1 << 20))
    assert stream.delivered() < 48 << 20


def test_a_record_over_the_limit_in_a_plain_source_is_no_bomb() -> None:
    lines = list(ByteStream(iter([b"a\n" + b"x" * 5_000_000 + b"\nb"])).lines(1000))
    assert [len(line) for line in lines] == [2, 1001, 1]


@given(st.binary(max_size=300).map(lambda data: data.replace(b"\x00", b"\n")), st.lists(st.integers(1, 50), min_size=1))
def test_lines_are_the_same_at_any_chunk_boundary(data: bytes, sizes: list[int]) -> None:
    def chunks() -> object:
        at = 0
        while at < len(data):
            for size in sizes:
                if data[at : at + size]:
                    yield data[at : at + size]
                at += size

    lines = list(ByteStream(iter(chunks())).lines(1000))  # type: ignore[call-overload]
    assert b"".join(lines) == data
    assert lines == io.BytesIO(data).readlines()


@pytest.mark.parametrize("size", [9, 10, 11, 12])
def test_a_line_at_the_limit(size: int) -> None:
    (line,) = ByteStream(iter([b"x" * size + b"\n"])).lines(10)
    assert line == (b"x" * size + b"\n" if size <= 10 else b"x" * 11)


def test_peeking_takes_nothing() -> None:
    stream = ByteStream(iter([b"ab", b"cd", b"ef"]))
    assert stream.peek(3).startswith(b"abc")
    assert stream.read(2) == b"ab"
    assert stream.peek(100) == b"cdef"
    assert drained(stream, 3) == b"cdef"
    assert stream.read() == b""


def test_a_record_is_read_whole_up_to_the_limit() -> None:
    assert ByteStream(iter([b"ab", b"cd"])).read_whole(4) == b"abcd"
    with pytest.raises(SourceError, match="more than 3 bytes"):
        ByteStream(iter([b"ab", b"cd"])).read_whole(3)


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.GZ", "gzip"), ("a.json.zst", "zstd"), ("a.bz2", "bzip2"), ("a.xz", "xz"), ("gz", None), ("a.zip", None)],
)
def test_names_promise_a_compression(name: str, codec: str | None) -> None:
    found = codec_of_name(name)
    assert (found and found.name) == codec


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(CODECS), st.binary(max_size=200))
def test_no_bytes_raise_anything_else(codec: object, data: bytes) -> None:
    try:
        drained(decompressed_stream(ByteStream(iter([codec.magics[0] + data])), codec))  # type: ignore[attr-defined, arg-type]
    except SourceError:
        return
