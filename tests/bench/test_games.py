"""The games that the benchmark makes up: the same for the same seed, sound in themselves, and much like real ones."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from gamearchive.bench.games import GameMaker
from gamearchive.facts import FactRules, extract
from gamearchive.packs.dictionary import train
from gamearchive.packs.frames import compress

COUNT = 3_000


@pytest.fixture(scope="module")
def made() -> list[bytes]:
    return list(GameMaker(COUNT, 1))


@pytest.fixture(scope="module")
def documents(made: list[bytes]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in made]


def test_the_same_seed_makes_the_same_games(made: list[bytes]) -> None:
    assert list(GameMaker(COUNT, 1)) == made
    assert not set(GameMaker(COUNT, 2)) & set(made)


def test_each_game_is_a_line_with_an_id_of_its_own(made: list[bytes], documents: list[dict[str, Any]]) -> None:
    assert all(line.endswith(b"}\n") and line.count(b"\n") == 1 for line in made)
    assert len({game["id"] for game in documents}) == COUNT


def test_the_values_hang_together(documents: list[dict[str, Any]]) -> None:
    for game in documents:
        players = game["players"]
        assert len({player["id"] for player in players}) == 4
        sums = [sum(column) for column in zip(*[played["scores"] for played in game["rounds"]], strict=True)]
        assert sums == [player["score"] for player in players]
        times = [turn["timestamp"] for played in game["rounds"] for turn in played["turns"]]
        assert times == sorted(set(times))
        if game["status"] == "completed":
            assert game["winner"] == players[sums.index(max(sums))]["id"]
        else:
            assert (game["status"], game["winner"]) == ("abandoned", None)
    begun = [game["created_at"] for game in documents]
    assert all(game["created_at"] < game["completed_at"] for game in documents)
    assert begun[0] < begun[COUNT // 2] < begun[-1]
    abandoned = sum(game["status"] == "abandoned" for game in documents)
    assert 0.05 < abandoned / COUNT < 0.12


def test_a_few_people_play_much_and_most_play_little(documents: list[dict[str, Any]]) -> None:
    played = Counter(player["id"] for game in documents for player in game["players"])
    often = [count for _, count in played.most_common()]
    assert sum(often[: len(often) // 10]) > sum(often[len(often) // 2 :])


def test_the_archive_reads_their_facts(made: list[bytes], documents: list[dict[str, Any]]) -> None:
    for line, game in zip(made[:50], documents[:50], strict=True):
        entity_id, facts = extract(line, FactRules())
        assert entity_id == game["id"]
        assert [(player.id, player.name) for player in facts.players] == [
            (each["id"], each["name"]) for each in game["players"]
        ]
        assert (facts.status, facts.winner and facts.winner.id) == (game["status"], game["winner"])
        assert facts.created_at
        assert facts.completed_at


def test_they_are_as_large_and_as_dense_as_real_ones(made: list[bytes]) -> None:
    raw = sum(map(len, made))
    assert 3_800 < raw / COUNT < 4_300
    assert len(set(map(len, made))) > COUNT / 10
    dictionary = train("game", made[::2])
    frames = compress(made[1::2], 3, dictionary, threads=1)
    assert 0.16 < sum(map(len, frames)) / sum(map(len, made[1::2])) < 0.185


def test_even_one_game_can_be_made() -> None:
    assert len(list(GameMaker(1, 1))) == 1
