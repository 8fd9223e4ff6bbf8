from __future__ import annotations

import pytest
from archiving import game, games

from gamearchive.model import JSON, Facts, GameRecord, Player, Rejection, checksum
from gamearchive.readers.batches import BATCH_BYTES, BATCH_RECORDS, BATCH_SEATS, batches


def test_a_batch_has_what_was_found_in_its_order_with_checksums() -> None:
    found = [game(0), Rejection("a", 2, "cut"), game(1), Rejection("a", 4, "cut again", b"{")]
    (batch,) = batches(found)
    assert batch.records == [found[0], found[2]]
    assert batch.checksums == [checksum(record.payload) for record in games(2)]
    assert batch.rejections == [found[1], found[3]]


def test_nothing_is_no_batch() -> None:
    assert list(batches([])) == []


def test_batches_are_full_but_for_the_last() -> None:
    found = [Rejection("a", number, "cut") if number % 2 else game(0) for number in range(2 * BATCH_RECORDS + 1)]
    assert [len(batch.records) + len(batch.rejections) for batch in batches(found)] == [BATCH_RECORDS, BATCH_RECORDS, 1]


@pytest.mark.parametrize("rejected", [False, True])
def test_a_batch_is_full_of_bytes_be_they_of_games_or_of_rejections(rejected: bool) -> None:
    raw = bytes(1 << 16)
    each = Rejection("a", 1, "cut", raw) if rejected else GameRecord("game", "g", raw, JSON)
    first, second = batches([each] * (BATCH_BYTES // len(raw) + 1))
    assert len(first.records) + len(first.rejections) == BATCH_BYTES // len(raw)
    assert len(second.records) + len(second.rejections) == 1


def test_a_batch_is_full_of_players() -> None:
    crowd = tuple([Player(name=f"p{number}") for number in range(1000)])
    found = [GameRecord("game", f"g{number}", b"{}", JSON, Facts(crowd)) for number in range(100)]
    full = -(-BATCH_SEATS // 1000)
    assert [len(batch.records) for batch in batches(found[: full + 1])] == [full, 1]
