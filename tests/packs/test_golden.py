"""Packs that were written by the first program that knew version 1, and that every later one must read.

New ones are made by ``python tests/packs/test_golden.py``. It writes what is missing, and never over what is there.
"""

import hashlib
import json
import sys
from pathlib import Path

import msgspec
import pytest

from gamearchive.errors import IntegrityError
from gamearchive.packs.dictionary import Dictionary, parse_dictionary_key
from gamearchive.packs.format import build_pack, verify_pack

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from packs.pack_samples import binary_entries, entries_of_games, make_games, open_bytes, small_dictionary

GOLDEN = Path(__file__).parents[1] / "data" / "packs" / "v1"


def golden_dictionary() -> Dictionary:
    path = next(GOLDEN.glob("*.zdict"))
    return Dictionary.from_bytes(f"game/{path.name}", path.read_bytes())


@pytest.mark.parametrize("name", ["text", "text-dictionary", "dense-dictionary", "binary"])
def test_a_golden_pack_is_read_as_it_was_written(name: str) -> None:
    expected = json.loads((GOLDEN / f"{name}.json").read_bytes())
    data = (GOLDEN / f"{name}.zst").read_bytes()
    verify_pack(expected["key"], data)
    reader = open_bytes(expected["key"], data)
    assert json.loads(msgspec.json.encode(reader.entries())) == expected["entries"]
    dictionary = golden_dictionary() if reader.dictionary else None
    payloads = []
    for _, payload in reader.records(dictionary):
        assert not isinstance(payload, IntegrityError)
        payloads.append(hashlib.sha256(payload).hexdigest())
    assert payloads == expected["payloads_sha256"]


def test_the_golden_packs_are_of_all_kinds() -> None:
    readers = {path.stem: open_bytes(path.name, path.read_bytes()) for path in GOLDEN.glob("*.zst")}
    assert {name for name, reader in readers.items() if reader.dictionary} == {"text-dictionary", "dense-dictionary"}
    assert any(entry.place.record_offset for entry in readers["dense-dictionary"].entries())
    assert parse_dictionary_key(f"game/{next(GOLDEN.glob('*.zdict')).name}") is not None


def write_golden() -> None:
    """Make the golden packs that are not there."""
    GOLDEN.mkdir(parents=True, exist_ok=True)
    if not list(GOLDEN.glob("*.zdict")):
        dictionary = small_dictionary()
        (GOLDEN / f"game-{dictionary.id}.zdict").write_bytes(dictionary.data)
    games = make_games(7, seed=100)
    entries = entries_of_games(games)
    three = sum(len(game) + 1 for game in games[:3])
    replays = [b"", b"\0\xff\n\r" * 5, bytes(range(256))]
    for name, pack, payloads in (
        ("text", build_pack(entries, games), games),
        ("text-dictionary", build_pack(entries, games, dictionary=golden_dictionary()), games),
        ("dense-dictionary", build_pack(entries, games, dictionary=golden_dictionary(), level=19, block_bytes=three), games),
        ("binary", build_pack(binary_entries(replays), replays), replays),
    ):
        if (GOLDEN / f"{name}.zst").exists():
            continue
        expected = {
            "key": pack.key,
            "payloads_sha256": [hashlib.sha256(payload).hexdigest() for payload in payloads],
            "entries": json.loads(msgspec.json.encode(pack.entries)),
        }
        (GOLDEN / f"{name}.zst").write_bytes(pack.data)
        (GOLDEN / f"{name}.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    write_golden()
