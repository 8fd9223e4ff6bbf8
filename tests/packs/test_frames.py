import struct

import pytest
import zstandard
from packs.pack_samples import make_games, small_dictionary

from gamearchive.errors import IntegrityError
from gamearchive.packs.frames import (
    FrameSize,
    compress,
    decompress,
    dictionary_id,
    parse_seek_table,
    seek_table,
    seek_table_bytes,
    skippable_frame,
    skippable_payload,
)


@pytest.mark.parametrize("count", [1, 100])
@pytest.mark.parametrize("with_dictionary", [False, True])
def test_every_frame_says_its_size_checksum_and_dictionary(count: int, with_dictionary: bool) -> None:
    dictionary = small_dictionary() if with_dictionary else None
    games = make_games(count)
    frames = compress(games, 3, dictionary, -1)
    for game, frame in zip(games, frames, strict=True):
        header = zstandard.get_frame_parameters(frame)
        assert header.content_size == len(game)
        assert header.has_checksum
        assert header.dict_id == (small_dictionary().id if with_dictionary else 0)
        assert dictionary_id(frame[:18]) == (small_dictionary().id if with_dictionary else None)
        assert decompress(frame, dictionary, limit=len(game), subject="It") == game


def test_the_number_of_threads_changes_nothing() -> None:
    games = make_games(50)
    assert compress(games, 3, small_dictionary(), 1) == compress(games, 3, small_dictionary(), -1)


def test_nothing_but_empty_contents_can_be_compressed() -> None:
    assert [decompress(frame, None, limit=0, subject="It") for frame in compress([b""] * 50, 3, None, -1)] == [b""] * 50


def test_a_frame_is_refused_for_what_it_says_of_itself() -> None:
    frame = compress([b"x" * 1000], 3, None, 1)[0]
    without_checksum = zstandard.ZstdCompressor(write_checksum=False).compress(b"x" * 1000)
    reserved, unused = (frame[:4] + bytes([frame[4] | bit]) + frame[5:] for bit in (8, 16))
    for bad in (b"", frame[:5], b"PK" + frame, without_checksum, reserved, unused, skippable_frame(0x184D2A50, b"x")):
        with pytest.raises(IntegrityError, match="It is damaged: its frame has no valid header"):
            decompress(bad, None, limit=1000, subject="It")
    for bad in (frame[:-1], frame + b"\0", frame + frame, frame[:-1] + bytes([frame[-1] ^ 1])):
        with pytest.raises(IntegrityError, match="It is damaged"):
            decompress(bad, None, limit=1000, subject="It")
    with pytest.raises(IntegrityError, match="It is refused: its frame claims 1000 bytes, more than the 999 allowed"):
        decompress(frame, None, limit=999, subject="It")


def test_a_frame_and_a_dictionary_must_belong_together() -> None:
    plain, dependent = (compress(make_games(1), 3, dictionary, 1)[0] for dictionary in (None, small_dictionary()))
    with pytest.raises(IntegrityError, match=f"needs dictionary {small_dictionary().id}, and that is not at hand"):
        decompress(dependent, None, limit=10_000, subject="It")
    with pytest.raises(IntegrityError, match="was made without a dictionary"):
        decompress(plain, small_dictionary(), limit=10_000, subject="It")
    with pytest.raises(IntegrityError, match="no valid header"):
        dictionary_id(b"PK")


def test_a_skippable_frame_is_known_by_magic_and_length() -> None:
    frame = skippable_frame(0x184D2A51, b"abc")
    assert skippable_payload(0x184D2A51, frame, "It") == b"abc"
    for bad in (b"", frame[:-1], frame + b"\0", skippable_frame(0x184D2A50, b"abc")):
        with pytest.raises(IntegrityError, match="It is damaged"):
            skippable_payload(0x184D2A51, bad, "It")


def test_the_seek_table_is_written_as_its_specification_says() -> None:
    sizes = [FrameSize(10, 100), FrameSize(20, 200), FrameSize(30, 0)]
    table = seek_table(sizes)
    expected = struct.pack("<II6IIBI", 0x184D2A5E, 3 * 8 + 9, 10, 100, 20, 200, 30, 0, 3, 0, 0x8F92EAB1)
    assert table == expected
    assert seek_table_bytes(b"anything before it" + table, "It") == len(table)
    assert parse_seek_table(table, "it") == sizes


def test_a_seek_table_of_another_kind_is_refused() -> None:
    table = seek_table([FrameSize(10, 100)])
    for bad in (b"", table[-8:], table[:-1] + b"\0", table[:-5] + b"\x80" + table[-4:]):
        with pytest.raises(IntegrityError, match="It is damaged"):
            seek_table_bytes(bad, "It")
