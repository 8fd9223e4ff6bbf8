import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from packs.pack_samples import make_games, small_dictionary

from gamearchive.errors import IntegrityError
from gamearchive.model import checksum
from gamearchive.packs.dictionary import Dictionary, dictionary_keys, new_compressor, parse_dictionary_key, seal, train
from gamearchive.packs.frames import compress, decompress


def other_games(count: int) -> list[bytes]:
    """Games of quite another kind."""
    random_ = random.Random(9)
    moves = ["e2e4", "e7e5", "g1f3", "b8c6", "f1b5", "a7a6"]
    return [
        ("[Event] " + " ".join(random_.choice(moves) + str(random_.randrange(99)) for _ in range(99))).encode()
        for _ in range(count)
    ]


def test_games_of_a_type_compress_better_with_its_dictionary() -> None:
    game = make_games(1, seed=77)[0]
    without, with_it = (len(compressor.compress(game)) for compressor in (new_compressor(3), small_dictionary().compressor(3)))
    assert with_it < 0.7 * without


def test_the_same_samples_make_the_same_dictionary() -> None:
    first, second = (train("game", make_games(200), size=8192) for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.data == second.data
    assert len(first.data) <= 8192
    assert 32768 <= first.id < 1 << 31
    assert first.checksum == checksum(first.data)


def test_too_few_or_too_small_samples_make_none() -> None:
    assert train("game", []) is None
    assert train("game", make_games(99)) is None
    assert train("game", [b"{}"] * 5000) is None
    assert train("game", [b""] * 5000) is None


def test_samples_with_nothing_in_common_make_none() -> None:
    assert train("game", [random.Random(number).randbytes(1000) for number in range(200)]) is None


def test_samples_that_are_all_the_same_do_no_harm() -> None:
    dictionary = train("game", make_games(1) * 500)
    assert dictionary is None or dictionary.id >= 32768


def test_a_dictionary_that_still_fits_is_not_replaced() -> None:
    games = make_games(600)
    current = train("game", games[:300], size=8192)
    assert current is not None
    assert train("game", games[300:], size=8192, current=current) is None
    replacement = train("game", other_games(300), size=8192, current=current)
    assert replacement is not None
    assert replacement.id != current.id


def test_a_dictionary_has_two_keys_and_is_known_by_either() -> None:
    for entity_type in ("game", "ranked-match-2", "dictionaries", "7"):
        keys = dictionary_keys(entity_type, 32768)
        assert len(set(keys)) == 2
        assert [parse_dictionary_key(key) for key in keys] == [(entity_type, 32768)] * 2


@pytest.mark.parametrize(
    "key",
    [
        "game/2025/06/01/00.zst",
        "go/game-40000.zdict",
        "game-40000.zdict",
        "game/game-040000.zdict",
        "game/game-.zdict",
        "a/game/game-40000.zdict",
        "game/game-40000.zdict\n",
        "game/game-\u0664\u0660\u0660\u0660\u0660.zdict",
        "_dictionaries/Game-40000.zdict",
    ],
)
def test_other_keys_are_no_dictionarys(key: str) -> None:
    assert parse_dictionary_key(key) is None


def test_a_dictionary_comes_back_from_its_bytes() -> None:
    original = small_dictionary()
    for key in dictionary_keys("game", original.id):
        copy = Dictionary.from_bytes(key, original.data, original.checksum)
        assert (copy.entity_type, copy.id, copy.checksum) == ("game", original.id, original.checksum)


def test_a_damaged_or_confused_dictionary_is_refused_by_name() -> None:
    original = small_dictionary()
    key = dictionary_keys("game", original.id)[0]
    for position in (0, 4, 7, 8, 100, len(original.data) // 2, len(original.data) - 1):
        data = bytearray(original.data)
        data[position] ^= 1
        with pytest.raises(IntegrityError, match=f"Dictionary {key} is damaged"):
            Dictionary.from_bytes(key, bytes(data))
    for data in (b"", original.data[:-1], original.data + b"\0"):
        with pytest.raises(IntegrityError, match=f"Dictionary {key} is damaged"):
            Dictionary.from_bytes(key, data)
    with pytest.raises(IntegrityError, match=f"is another one: its bytes are those of dictionary {original.id}"):
        Dictionary.from_bytes(dictionary_keys("game", 40000)[1], original.data)
    with pytest.raises(IntegrityError, match="its checksum differs"):
        Dictionary.from_bytes(key, original.data, bytes(16))
    with pytest.raises(IntegrityError, match="is not the name of a dictionary"):
        Dictionary.from_bytes("game/other.zdict", original.data)


def test_a_forged_dictionary_that_zstandard_does_not_take_is_an_integrity_error() -> None:
    forged = Dictionary("game", seal(b"\x37\xa4\x30\xec" + bytes(300)))
    frame = bytearray(compress(make_games(1), 3, small_dictionary(), 1)[0])
    frame = frame.replace(small_dictionary().id.to_bytes(4, "little"), forged.id.to_bytes(4, "little"), 1)
    with pytest.raises(IntegrityError, match="It is damaged"):
        decompress(bytes(frame), forged, limit=10_000, subject="It")


def test_many_threads_may_read_with_one_dictionary() -> None:
    games = make_games(60)
    frames = compress(games, 3, small_dictionary(), -1)
    with ThreadPoolExecutor(8) as pool:
        results = pool.map(lambda frame: decompress(frame, small_dictionary(), limit=10_000, subject="It"), frames * 20)
        assert list(results) == games * 20
