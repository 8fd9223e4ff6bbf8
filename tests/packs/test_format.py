import shutil
import struct
import subprocess
import sys

import msgspec
import pytest
import pyzstd
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st
from packs.pack_samples import (
    ARCHIVED_AT,
    MAX_RECORD_BYTES,
    binary_entries,
    entries_of_games,
    entry_of,
    make_games,
    open_bytes,
    small_dictionary,
    small_pack,
)

from gamearchive.errors import IntegrityError
from gamearchive.model import OPAQUE, PGN, ArchiveEntry, EntityKey, Facts, Place, Player, Provenance, checksum
from gamearchive.packs.dictionary import Dictionary, train
from gamearchive.packs.format import (
    INDEX_MAGIC,
    MAX_INDEX_BYTES,
    MAX_SHARED_FRAME_BYTES,
    Pack,
    PackReader,
    build_pack,
    pack_key,
    read_record,
    verify_pack,
)
from gamearchive.packs.frames import FrameSize, seek_table, skippable_frame
from gamearchive.packs.index import MAX_RECORDS


def read_all(key: str, data: bytes, dictionary: Dictionary | None) -> tuple[list[ArchiveEntry], list[bytes]]:
    """Everything in a pack; the first thing that is wrong is raised."""
    reader = open_bytes(key, data)
    payloads = []
    for _, payload in reader.records(dictionary):
        if isinstance(payload, IntegrityError):
            raise payload
        payloads.append(payload)
    return reader.entries(), payloads


def frame_of(pack: Pack, entry: ArchiveEntry) -> bytes:
    return pack.data[entry.place.frame_offset : entry.place.frame_offset + entry.place.frame_bytes]


def other_dictionary() -> Dictionary:
    dictionary = train("game", make_games(300, seed=3), size=8192)
    assert dictionary is not None
    return dictionary


def repack(frames: list[tuple[bytes, int]], index: bytes) -> bytes:
    """A pack of given frames, with their content sizes, and a given payload of the index frame."""
    last = skippable_frame(INDEX_MAGIC, index)
    sizes = [FrameSize(len(frame), content) for frame, content in frames]
    return b"".join([*(frame for frame, _ in frames), last, seek_table([*sizes, FrameSize(len(last), 0)])])


# -- round trips


@pytest.mark.parametrize("dense", [False, True])
def test_a_pack_gives_back_entries_and_payloads_exactly(dense: bool) -> None:
    pack, games = small_pack(dense=dense)
    entries, payloads = read_all(pack.key, pack.data, small_dictionary())
    assert payloads == games
    assert entries == pack.entries
    given_back = [msgspec.structs.replace(entry, place=Place(""), stored_bytes=0) for entry in entries]
    assert given_back == entries_of_games(games)


payloads_of_text = st.lists(st.one_of(st.binary(max_size=50), st.text(max_size=20).map(str.encode)), min_size=1, max_size=40)
instants = st.none() | st.integers(min_value=-62_135_596_800_000_000, max_value=253_402_300_799_000_000)
texts = st.text(max_size=8)
players = st.builds(Player, id=st.uuids().map(str) | texts, name=st.none() | texts) | st.builds(Player, name=texts)


@settings(deadline=None)
@given(
    payloads_of_text,
    st.sampled_from([PGN, "text/x-sgf", OPAQUE]),
    st.sampled_from([0, 30, 1 << 20]),
    st.booleans(),
)
@example([b""], OPAQUE, 0, True)
@example([b"", b"", b""], OPAQUE, 2, False)
@example([b"\n", b"\0", b'"\\ud800"', b"\xff\xfe", b"a\r\n\r\nb"], PGN, 1 << 20, True)
@example([b""] * 20, OPAQUE, 0, False)
def test_any_payloads_come_back(payloads: list[bytes], content_type: str, block_bytes: int, with_dictionary: bool) -> None:
    entries = [entry_of(payload, f"id {number}", content_type=content_type) for number, payload in enumerate(payloads)]
    dictionary = small_dictionary() if with_dictionary else None
    pack = build_pack(entries, payloads, dictionary=dictionary, block_bytes=block_bytes)
    assert read_all(pack.key, pack.data, dictionary) == (pack.entries, payloads)
    reader = open_bytes(pack.key, pack.data)
    assert reader.dense == (block_bytes > 0)
    assert [reader.read(entry, dictionary) for entry in pack.entries] == payloads
    frames = {entry.place.frame_offset: entry.place.frame_bytes for entry in pack.entries}
    assert sum(entry.stored_bytes for entry in pack.entries) == sum(frames.values())


@settings(deadline=None)
@given(
    st.lists(
        st.builds(
            Facts,
            players=st.lists(players, max_size=5).map(tuple),
            winner=st.none() | players,
            status=st.none() | texts,
            created_at=instants,
            completed_at=instants,
        ),
        min_size=1,
        max_size=8,
    ),
    st.integers(min_value=1, max_value=2**31 - 1),
    st.lists(st.tuples(texts, texts), max_size=3).map(tuple),
)
def test_any_facts_come_back(facts: list[Facts], revision: int, tags: tuple[tuple[str, str], ...]) -> None:
    entries = [
        entry_of(b"{}", str(number), facts=fact, revision=revision, provenance=Provenance(ARCHIVED_AT, tags=tags))
        for number, fact in enumerate(facts)
    ]
    pack = build_pack(entries, [b"{}"] * len(entries))
    assert [entry.facts for entry in open_bytes(pack.key, pack.data).entries()] == facts
    assert open_bytes(pack.key, pack.data).entries() == pack.entries


def test_the_winner_who_took_part_is_found_again_among_the_players() -> None:
    ann, bob = Player("1", "Ann"), Player("2", "Bob")
    facts = [Facts((ann, bob), winner) for winner in (ann, bob, Player(name="Bob"), None)]
    entries = [entry_of(b"{}", str(number), facts=fact) for number, fact in enumerate(facts)]
    pack = build_pack(entries, [b"{}"] * 4)
    assert [entry.facts.winner for entry in open_bytes(pack.key, pack.data).entries()] == [ann, bob, Player(name="Bob"), None]


# -- what is written


def test_the_same_records_make_the_same_pack_whose_name_proves_it() -> None:
    pack, games = small_pack()
    again = build_pack(entries_of_games(games), games, dictionary=small_dictionary(), threads=1)
    assert again == pack
    assert pack.key == f"game/2025/06/01/{checksum(pack.data).hex()}.zst"
    assert pack.digest == checksum(pack.data).hex()
    verify_pack(pack.key, pack.data)


def test_a_pack_is_named_by_the_utc_day_of_its_newest_record() -> None:
    last_moment = ARCHIVED_AT + 86_400_000_000 - 1
    entries = [entry_of(b"{}", str(number), provenance=Provenance(last_moment + number)) for number in (1, -5)]
    assert build_pack(entries, [b"{}", b"{}"]).key.startswith("game/2025/06/02/")
    assert pack_key("go", last_moment, "ab") == "go/2025/06/01/ab.zst"


def test_a_fresh_pack_has_one_record_a_frame_and_a_dense_one_blocks() -> None:
    fresh, games = small_pack()
    dense, _ = small_pack(dense=True)
    assert len({entry.place.frame_offset for entry in fresh.entries}) == len(games)
    assert [entry.place.record_offset == 0 for entry in dense.entries] == [True, False, False, False, True, False]
    assert len(dense.data) < len(fresh.data)


def test_a_shared_frame_stays_small_enough_for_every_reader() -> None:
    payloads = [bytes([number]) * (MAX_SHARED_FRAME_BYTES // 2 - 1) for number in range(3)] + [
        b"x" * (MAX_SHARED_FRAME_BYTES + 2)
    ]
    pack = build_pack(binary_entries(payloads), payloads, block_bytes=1 << 30)
    assert [entry.place.record_offset == 0 for entry in pack.entries] == [True, False, True, True]
    reader = open_bytes(pack.key, pack.data, max_record_bytes=1)
    assert reader.read(pack.entries[1]) == payloads[1]
    with pytest.raises(IntegrityError, match="claims 1048578 bytes, more than"):
        open_bytes(pack.key, pack.data, max_record_bytes=MAX_SHARED_FRAME_BYTES - 1).read(pack.entries[3])


def test_index_and_seek_table_add_little_to_a_record() -> None:
    """Random ids, checksums and times make up 40 bytes of it, and players add some."""
    games = make_games(1000)
    entries = [msgspec.structs.replace(entry, provenance=Provenance(ARCHIVED_AT)) for entry in entries_of_games(games)]
    pack = build_pack(entries, games, dictionary=small_dictionary())
    assert len(pack.data) - sum(entry.stored_bytes for entry in pack.entries) < 70 * len(games)


def test_what_cannot_be_in_one_pack_is_refused() -> None:
    text, binary = entry_of(b"{}"), entry_of(b"{}", content_type=OPAQUE)
    for entries, reason in (
        ([], "1 to 65536 records"),
        ([text, entry_of(b"{}", entity_type="go")], "one entity type"),
        ([text, binary], "text or binary"),
        ([entry_of(b"{ }")], "not of the same records"),
        ([entry_of(b"{}", checksum=b"short")], "checksum"),
        ([entry_of(b"{}", facts=Facts(completed_at=2**62))], "out of all range"),
        ([text] * (MAX_RECORDS + 1), "1 to 65536 records"),
    ):
        with pytest.raises(ValueError, match=reason):
            build_pack(entries, [b"{}"] * len(entries))


# -- read by others


def test_the_stock_program_prints_the_games_one_a_line(tmp_path) -> None:
    pack, games = small_pack()
    for name, data in (("pack.zst", pack.data), ("game.zdict", small_dictionary().data)):
        (tmp_path / name).write_bytes(data)
    if shutil.which("zstd"):
        with open(tmp_path / "pack.zst", "rb") as source:
            command = ["zstd", "-d", "-D", tmp_path / "game.zdict"]
            printed = subprocess.run(command, stdin=source, stdout=subprocess.PIPE, check=True).stdout
    else:
        names = [str(tmp_path / name) for name in ("pack.zst", "games.ndjson", "game.zdict")]
        subprocess.run([sys.executable, "-m", "pyzstd", "-d", names[0], "-o", names[1], "-D", names[2]], check=True)
        printed = (tmp_path / "games.ndjson").read_bytes()
    assert printed == b"".join(game + b"\n" for game in games)


@pytest.mark.parametrize("dense", [False, True])
def test_an_independent_reader_of_the_seekable_format_opens_it(tmp_path, dense: bool) -> None:
    pack, games = small_pack(dense=dense)
    (tmp_path / "pack.zst").write_bytes(pack.data)
    dictionary = pyzstd.ZstdDict(small_dictionary().data)
    with pyzstd.SeekableZstdFile(tmp_path / "pack.zst", zstd_dict=dictionary) as file:
        assert file.read() == b"".join(game + b"\n" for game in games)
        file.seek(sum(len(game) + 1 for game in games[:3]))
        assert file.read(len(games[3])) == games[3]


# -- damage


@pytest.mark.parametrize("dense", [False, True])
@settings(deadline=None)
@given(data=st.data())
def test_a_flipped_byte_is_caught(dense: bool, data: st.DataObject) -> None:
    pack, games = small_pack(dense=dense)
    position = data.draw(st.integers(0, len(pack.data) - 1))
    flipped = bytearray(pack.data)
    flipped[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(IntegrityError, match=pack.key):
        verify_pack(pack.key, bytes(flipped))
    try:
        everything = read_all(pack.key, bytes(flipped), small_dictionary())
    except IntegrityError as error:
        assert pack.key in error.message  # noqa: PT017 - the flip may also be in bits that mean nothing to a decompressor
    else:
        assert everything == (pack.entries, games)


def test_nearly_every_flip_is_caught_without_the_name() -> None:
    pack, _ = small_pack()
    caught = 0
    for position in range(len(pack.data)):
        flipped = bytearray(pack.data)
        flipped[position] ^= 0xFF
        try:
            read_all(pack.key, bytes(flipped), small_dictionary())
        except IntegrityError:
            caught += 1
    assert caught > 0.99 * len(pack.data)


def test_every_truncation_is_caught() -> None:
    pack, _ = small_pack()
    for length in range(len(pack.data)):
        with pytest.raises(IntegrityError, match=pack.key):
            open_bytes(pack.key, pack.data[:length])


def test_a_pack_with_something_before_or_behind_it_is_none() -> None:
    pack, _ = small_pack()
    for data in (pack.data + b"\0", b"\0" + pack.data, pack.data + pack.data):
        with pytest.raises(IntegrityError, match=pack.key):
            open_bytes(pack.key, data)


def test_a_damaged_record_is_named_and_the_others_can_be_had() -> None:
    pack, games = small_pack()
    broken = pack.entries[2]
    data = bytearray(pack.data)
    data[broken.place.frame_offset + broken.place.frame_bytes - 1] ^= 1
    results = [payload for _, payload in open_bytes(pack.key, bytes(data)).records(small_dictionary())]
    assert results[:2] + results[3:] == games[:2] + games[3:]
    error = results[2]
    assert isinstance(error, IntegrityError)
    assert pack.key in error.message
    assert broken.entity_id in error.message
    assert "'game'" in error.message


def test_a_reader_that_gets_fewer_bytes_than_it_asked_for_says_so() -> None:
    pack, _ = small_pack()
    reader = PackReader(
        pack.key,
        len(pack.data),
        lambda offset, length: pack.data[offset : offset + (length if offset + length == len(pack.data) else length - 1)],
        max_record_bytes=MAX_RECORD_BYTES,
    )
    with pytest.raises(IntegrityError, match="cut short"):
        reader.read(pack.entries[0], small_dictionary())
    assert [isinstance(payload, IntegrityError) for _, payload in reader.records(small_dictionary())] == [False] * 5 + [True]


def test_a_record_is_checked_against_what_the_catalog_says() -> None:
    pack, games = small_pack()
    entry = pack.entries[1]
    options = {"max_record_bytes": 1 << 20, "dictionary": small_dictionary(), "key": EntityKey("game", "it")}
    frame = frame_of(pack, entry)
    assert read_record(frame, entry.place, entry.raw_bytes, checksum=entry.checksum, **options) == games[1]
    with pytest.raises(IntegrityError, match=f"'it' of type 'game' in pack {pack.key} is damaged: .* its checksum"):
        read_record(frame, entry.place, entry.raw_bytes, checksum=bytes(16), **options)
    with pytest.raises(IntegrityError, match="its frame holds"):
        read_record(frame, entry.place, entry.raw_bytes + 2, checksum=None, **options)
    with pytest.raises(IntegrityError, match="A game in pack"):
        read_record(frame[:-1], entry.place, entry.raw_bytes, max_record_bytes=1 << 20)


# -- dictionaries


def test_a_missing_or_wrong_dictionary_is_named() -> None:
    pack, _ = small_pack()
    reader = open_bytes(pack.key, pack.data)
    assert reader.dictionary == (small_dictionary().id, small_dictionary().checksum)
    for dictionary in (None, other_dictionary()):
        with pytest.raises(IntegrityError, match=rf"{pack.key}.* needs dictionary {small_dictionary().id}"):
            list(reader.records(dictionary))
        with pytest.raises(IntegrityError, match=rf"{pack.key}.* needs dictionary {small_dictionary().id}"):
            reader.read(pack.entries[0], dictionary)


def test_a_pack_without_dictionary_says_so() -> None:
    pack = build_pack([entry_of(b"{}")], [b"{}"])
    assert open_bytes(pack.key, pack.data).dictionary is None
    assert read_all(pack.key, pack.data, None)[1] == [b"{}"]


# -- hostile packs


def test_an_unknown_version_is_refused_by_both_numbers() -> None:
    pack, _ = small_pack()
    at = pack.data.index(struct.pack("<I", INDEX_MAGIC)) + 8
    data = pack.data[:at] + b"\x02" + pack.data[at + 1 :]
    with pytest.raises(IntegrityError, match=f"Pack {pack.key} is of format version 2; this program reads version 1"):
        open_bytes(pack.key, data)
    with pytest.raises(IntegrityError, match="version none"):
        open_bytes(pack.key, repack([], b""))


def test_a_frame_that_claims_too_much_is_refused_before_it_is_decompressed() -> None:
    huge = 1 << 40
    bomb = b"\x28\xb5\x2f\xfd" + bytes([0b11100100]) + struct.pack("<Q", huge) + b"\x03\x00\x00" + bytes(4)
    with pytest.raises(IntegrityError, match=f"'g' .*pack p is refused: its frame claims {huge} bytes"):
        read_record(bomb, Place("p", 0, len(bomb)), 10, max_record_bytes=MAX_RECORD_BYTES, key=EntityKey("game", "g"))


def test_a_frame_that_does_not_say_its_size_is_refused() -> None:
    frame = zstandard.ZstdCompressor(write_content_size=False, write_checksum=True).compress(b"x" * 1000)
    with pytest.raises(IntegrityError, match="does not say how large"):
        read_record(frame, Place("p", 0, len(frame)), 1000, max_record_bytes=MAX_RECORD_BYTES)


def test_an_index_that_claims_too_much_is_refused() -> None:
    bomb = zstandard.ZstdCompressor(write_checksum=True).compress(bytes(MAX_INDEX_BYTES + 1))
    with pytest.raises(IntegrityError, match=f"index of pack p .*claims {MAX_INDEX_BYTES + 1} bytes"):
        open_bytes("p", repack([], b"\x01" + bomb))


def test_a_seek_table_that_claims_too_many_frames_is_refused_unread() -> None:
    pack, _ = small_pack()
    footer = struct.pack("<IBI", 1 << 30, 0, 0x8F92EAB1)
    asked: list[int] = []

    def read_at(offset: int, length: int) -> bytes:
        asked.append(length)
        return (pack.data[:-9] + footer)[-length:]

    with pytest.raises(IntegrityError, match=r"seek table of pack .* claims"):
        PackReader(pack.key, 1 << 40, read_at, max_record_bytes=MAX_RECORD_BYTES)
    assert sum(asked) <= 64 << 10


def test_opening_a_pack_reads_its_end_and_its_index_only() -> None:
    games = make_games(400)
    pack = build_pack(entries_of_games(games), games, dictionary=small_dictionary())
    asked: list[tuple[int, int]] = []

    def read_at(offset: int, length: int) -> bytes:
        asked.append((offset, length))
        return pack.data[offset : offset + length]

    reader = PackReader(pack.key, len(pack.data), read_at, max_record_bytes=MAX_RECORD_BYTES)
    assert len(asked) == 1
    assert asked[0][1] == 64 << 10
    assert [payload for _, payload in reader.records(small_dictionary())] == games
    assert len(asked) == 2
