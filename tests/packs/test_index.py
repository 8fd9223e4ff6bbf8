import msgspec
import pytest
from packs.pack_samples import entries_of_games, entry_of, make_games

from gamearchive.errors import IntegrityError
from gamearchive.model import Facts, Player
from gamearchive.packs.columns import MAX_TEXTS, Identifiers, pack_numbers
from gamearchive.packs.frames import FrameSize
from gamearchive.packs.index import Index, decode_index, encode_index, entries_of, lay_out

GAMES = make_games(10)
SIZES = [FrameSize(50, len(game) + 1) for game in GAMES]


def encoded() -> bytes:
    return encode_index(entries_of_games(GAMES), [1] * len(GAMES), None, text=True)


def read(data: bytes) -> list[object]:
    return list(entries_of(decode_index(data, "pack p"), "p", SIZES)[0])


def changed(**fields: object) -> bytes:
    return msgspec.msgpack.encode(msgspec.msgpack.decode(encoded()) | fields)


def test_keys_that_a_later_writer_adds_are_passed_over() -> None:
    assert read(changed(colours=b"abc", deep={"a": [1, 2]})) == read(encoded())


@pytest.mark.parametrize(
    "fields",
    [
        {"entity_type": "../etc"},
        {"counts": b"\x02" + b"\x01" * 9},
        {"counts": b"\x00" + b"\x01" * 9},
        {"counts": b""},
        {"lengths": pack_numbers([2**62] * 10)},
        {"lengths": pack_numbers([len(game) + 1 for game in GAMES])},
        {"checksums": b""},
        {"text": False},
        {"revisions": b"\x01"},
        {"content_types": b"\x00" * 10},
        {"content_types": b"\x09" * 10},
        {"origins": b"\x00" * 10},
        {"origins": b"\xff" * 10},
        {"statuses": b"\xff" * 10},
        {"seats": b"\xff" * 10},
        {"seats": pack_numbers([2**63 - 1] * 10)},
        {"seated": b"\x00" * 40},
        {"seated": b"\xff" * 40},
        {"winners": b"\xff" * 10},
        {"created": pack_numbers([2**63 - 1] * 10)},
        {"player_names": []},
        {"ids": msgspec.to_builtins(Identifiers(b"\x00" * 10, b"", []), builtin_types=(bytes,))},
        {"ids": msgspec.to_builtins(Identifiers(b"\x02" * 10, b"", ["a\0b"] * 10), builtin_types=(bytes,))},
        {"texts": [""] * (MAX_TEXTS + 1)},
        {"texts": 5},
        {"provenances": [{"archived_at": 1, "trigger": "never heard of"}]},
        *[{"provenances": [{"archived_at": at}] * 10} for at in (2**63 - 1, -(2**63), -(10**17), 253_370_764_800_000_000)],
        {"revisions": b"\x00" * 10},
        {"revisions": pack_numbers([1] * 9 + [2**31])},
        {"dictionary": [1]},
    ],
)
def test_an_index_that_contradicts_itself_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(IntegrityError, match="The index of pack p is damaged"):
        read(changed(**fields))


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x80", b"\x93\x01\x02\x03", b"\x81\xa1x" + b"\x91" * 100_000, encoded()[:-1]])
def test_what_is_no_index_is_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError, match="The index of pack p is damaged"):
        decode_index(data, "pack p")


def test_every_field_of_the_index_is_needed() -> None:
    for field in {*Index.__struct_fields__} - {"dense"}:  # which fresh packs do without
        fields = msgspec.msgpack.decode(encoded())
        del fields[field]
        with pytest.raises(IntegrityError, match=field):
            decode_index(msgspec.msgpack.encode(fields), "pack p")


def test_half_a_surrogate_pair_in_a_fact_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        encode_index([entry_of(b"{}", facts=Facts((Player(name="\ud800"),)))], [1], None, text=True)


def test_the_shares_of_a_frame_add_up_to_it() -> None:
    placed = list(lay_out("p", [FrameSize(100, 36), FrameSize(7, 1)], [3, 1], [10, 0, 23, 0], text=True))
    assert [(place.frame_offset, place.frame_bytes, place.record_offset) for place, _ in placed] == [
        (0, 100, 0),
        (0, 100, 11),
        (0, 100, 12),
        (100, 7, 0),
    ]
    assert [stored for _, stored in placed] == [30, 3, 67, 7]
    assert [stored for _, stored in lay_out("p", [FrameSize(13, 0)], [3], [0, 0, 0], text=False)] == [13, 0, 0]
