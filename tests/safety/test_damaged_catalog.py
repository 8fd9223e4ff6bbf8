"""A catalog that somebody edited, or that a disk spoiled: errors that say what to do, no traceback, and nothing is lost."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from contextlib import suppress
from pathlib import Path

import pytest
from archiving import games
from databases import Databases, execute
from running import Run
from sqlalchemy.exc import DBAPIError

COMMANDS = (
    ("query", "--limit", "0"),
    ("query", "--player", "Ada"),
    ("query", "--type", "game", "--status", "completed", "--tag", "run=1", "--sort", "completed"),
    ("query", "--until", "2030-01-01"),
    ("query", "--json"),
    ("show", "g-3"),
    ("show", "g-3", "--json"),
    ("stats",),
    ("restore", "g-3"),
    ("verify", "--full"),
    ("verify", "--repair"),
    ("archive", "games.ndjson"),
    ("rebuild", "--dry-run"),
)
ORDERLY = {0, 1, 3, 10, 12, 14, 15, 17, 18}


@pytest.fixture(autouse=True)
def _home(gamearchive: Run, either_engine: None) -> None:
    Path("games.ndjson").write_bytes(b"\n".join(record.payload for record in games(120)))
    assert gamearchive("archive", "games.ndjson", "--tag", "run=1").code == 0
    shutil.copytree("home", "whole")


def restored(gamearchive: Run) -> dict[str, bytes]:
    items = [json.loads(line) for line in gamearchive("restore", "--type", "game", "--json").out.splitlines()]
    return {item["entity_id"]: item["payload"].encode() for item in items if item["type"] == "item"}


def assert_orderly(gamearchive: Run) -> None:
    for command in COMMANDS:
        ended = gamearchive(*command)
        assert ended.code in ORDERLY, (command, ended.code, ended.err)
        if ended.code == 14:
            assert "gamearchive rebuild" in ended.err or "gamearchive verify" in ended.err, (command, ended.err)


def assert_nothing_is_lost(gamearchive: Run) -> None:
    ended = gamearchive("rebuild", "--yes", "--force")
    assert ended.code == 0, ended
    assert restored(gamearchive) == {record.entity_id: record.payload for record in games(120)}
    assert gamearchive("verify", "--full").code == 0


@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE entries SET checksum = 'text' WHERE id = 4",
        "UPDATE entries SET entity_key = x'ff'",
        "UPDATE entries SET entity_key = x'00aa'",
        "UPDATE entries SET completed_at = 'yesterday'",
        "UPDATE entries SET completed_at = 1e300",
        "UPDATE entries SET completed_at = 9223372036854775807",
        "UPDATE entries SET created_at = -9223372036854775808",
        "UPDATE entries SET players = x'ffffff'",
        "UPDATE entries SET players = x'7f7f'",
        "UPDATE entries SET players = 'Ada'",
        "UPDATE entries SET winner_id = 77777",
        "UPDATE entries SET raw_bytes = -1",
        "UPDATE entries SET raw_bytes = 9223372036854775807",
        "UPDATE entries SET frame_bytes = 'x'",
        "UPDATE entries SET frame_bytes = 9223372036854775807",
        "UPDATE entries SET frame_offset = -5",
        "UPDATE entries SET record_offset = -5",
        "UPDATE entries SET revision = 'first'",
        "UPDATE entries SET revision = -1",
        "UPDATE entries SET batch_id = 99",
        "UPDATE entries SET pack_id = 99",
        "UPDATE packs SET key = x'00'",
        "UPDATE packs SET key = '../../etc/passwd'",
        "UPDATE packs SET key = ''",
        "UPDATE packs SET stored_bytes = 'many'",
        "UPDATE packs SET dictionary_id = 'x'",
        "UPDATE packs SET first_id = 9223372036854775807",
        "UPDATE batches SET archived_at = 'x'",
        "UPDATE batches SET archived_at = 9223372036854775807",
        "UPDATE batches SET accepted_at = x'00'",
        "UPDATE batches SET accepted_at = 9223372036854775807",
        "UPDATE batches SET priority = 77",
        "UPDATE batches SET trigger_id = 77",
        "UPDATE batches SET type_id = 77",
        "UPDATE batches SET last_id = 9223372036854775807",
        "UPDATE batch_tags SET tag_id = 77",
        "UPDATE tags SET value = x'ff'",
        "UPDATE words SET word = x'ff' || word",
        "UPDATE words SET word = CAST(word AS BLOB)",
        "UPDATE words SET word = '../up' WHERE word = 'game'",
        "UPDATE words SET word = '' WHERE word = 'game'",
        "UPDATE players SET name = x'ff'",
        "UPDATE players SET ident = 'text'",
        "UPDATE dictionaries SET checksum = 5",
        "UPDATE dictionaries SET type_id = 77",
        "UPDATE dictionaries SET id = -1",
        "UPDATE entity_keys SET entry_id = 'x' || entry_id",
        "INSERT INTO damages VALUES (3, x'00')",
        "INSERT INTO damages VALUES (777, 'gone')",
        "DELETE FROM words",
        "DELETE FROM players",
        "DELETE FROM packs",
        "DELETE FROM batches",
        "DELETE FROM identity",
        "UPDATE identity SET id = 5",
        "UPDATE gamearchive_version SET version_num = '0000'",
        "UPDATE gamearchive_version SET version_num = x'00'",
        "DELETE FROM gamearchive_version",
        "DROP TABLE entries",
        "DROP TABLE entry_players",
        "DROP TABLE identity",
        "DROP TABLE gamearchive_version",
    ],
)
def test_a_catalog_that_was_edited(gamearchive: Run, databases: Databases, edit: str) -> None:
    if databases.are_files:
        with sqlite3.connect("home/gamearchive.db") as connection:
            connection.execute("PRAGMA ignore_check_constraints=1")
            connection.execute(edit)
        connection.close()
    else:
        with suppress(DBAPIError):  # PostgreSQL refuses what is of another type
            execute(databases.of("home"), edit)
    assert_orderly(gamearchive)
    if not edit.endswith(" gamearchive_version"):  # then it is another program's
        assert_nothing_is_lost(gamearchive)


@pytest.mark.only("sqlite", "its file is damaged")
@pytest.mark.parametrize("seed", range(12))
def test_a_catalog_with_random_bytes(gamearchive: Run, seed: int) -> None:
    chance = random.Random(seed)
    path = Path("home/gamearchive.db")
    data = bytearray(path.read_bytes())
    start = chance.choice((0, 100, 4096, chance.randrange(len(data))))
    for _ in range(chance.choice((1, 5, 200))):
        data[chance.randrange(start, min(start + chance.choice((100, 40_000)), len(data)))] = chance.randrange(256)
    path.write_bytes(data)
    assert_orderly(gamearchive)
    assert_nothing_is_lost(gamearchive)
