"""The suite for strangers' backends: good ones pass, each broken one fails where it is broken."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from databases import execute

from gamearchive.backends.composite import CompositeArchiveBackend
from gamearchive.backends.packed import (
    FileSystemArchiveBackend,
    PackArchiveBackend,
    PackHoldings,
    PostgreSQLArchiveBackend,
    S3ArchiveBackend,
)
from gamearchive.errors import NotFoundError
from gamearchive.model import parse_location
from gamearchive.stores.memory import MemoryStore
from gamearchive.testing import BackendTests


class TestFileSystemArchiveBackend(BackendTests):
    def open(self, folder):
        return FileSystemArchiveBackend(folder / "packs")

    def damage(self, backend, location):
        place, _ = parse_location(location)
        path = self.path(backend, location)
        data = bytearray(path.read_bytes())
        data[place.frame_offset + place.frame_bytes - 1] ^= 1
        path.write_bytes(data)

    def lose(self, backend, location):
        self.path(backend, location).unlink()

    def path(self, backend, location):
        return Path(backend.holdings.name.removeprefix("file://")) / parse_location(location)[0].pack


class TestUncompressed(TestFileSystemArchiveBackend):
    def open(self, folder):
        return FileSystemArchiveBackend(folder, use_compression=False)


class TestS3ArchiveBackend(BackendTests):
    @pytest.fixture(autouse=True)
    def _bucket(self, rclone):
        self.server, self.bucket = rclone, rclone.new_bucket()

    def open(self, folder):
        return S3ArchiveBackend(self.bucket, folder.name, self.server.endpoint_url)

    def damage(self, backend, location):
        place, name = self.find(backend, location)
        data = bytearray(self.server.peek(self.bucket, name))
        data[place.frame_offset + place.frame_bytes - 1] ^= 1
        self.server.client.put_object(Bucket=self.bucket, Key=name, Body=bytes(data))

    def lose(self, backend, location):
        self.server.client.delete_object(Bucket=self.bucket, Key=self.find(backend, location)[1])

    def find(self, backend, location):
        place, _ = parse_location(location)
        return place, f"{backend.holdings.store._prefix}{place.pack}"


class TestPostgreSQLArchiveBackend(BackendTests):
    queryable = False

    @pytest.fixture(autouse=True)
    def _database(self, schema_url):
        self.url = schema_url

    def open(self, folder):
        name = f"{self.url.rpartition('%3D')[2]}_{folder.name}"[:60]  # a folder is a schema beside the test's own
        execute(self.url, f'CREATE SCHEMA IF NOT EXISTS "{name}"')
        self.opened = f"{self.url.rpartition('%3D')[0]}%3D{name}"
        return PostgreSQLArchiveBackend(self.opened, queryable=self.queryable)

    def damage(self, backend, location):
        self.change(
            location,
            "UPDATE gamearchive_packs_games SET frame = set_byte(frame, :last, get_byte(frame, :last) # 1) "
            "WHERE frame_offset = :offset AND pack = CAST(:digest AS uuid)",
        )

    def lose(self, backend, location):
        self.change(location, "DELETE FROM gamearchive_packs_objects WHERE key = :key")
        self.change(location, "DELETE FROM gamearchive_packs_games WHERE pack = CAST(:digest AS uuid)")

    def change(self, location, statement):
        place, _ = parse_location(location)
        digest, last = place.pack.rpartition("/")[2].removesuffix(".zst"), place.frame_bytes - 1
        execute(self.opened, statement, key=place.pack, digest=digest, offset=place.frame_offset, last=last)


class TestQueryable(TestPostgreSQLArchiveBackend):
    queryable = True


class TestCompositeArchiveBackend(BackendTests):
    def open(self, folder):
        return CompositeArchiveBackend([FileSystemArchiveBackend(folder / "a"), (folder / "b").as_uri()], write_quorum=2)

    def damage(self, backend, location):
        place, _ = parse_location(location)
        for path in self.paths(backend, location):
            data = bytearray(path.read_bytes())
            data[place.frame_offset + place.frame_bytes - 1] ^= 1
            path.write_bytes(data)

    def lose(self, backend, location):
        for path in self.paths(backend, location):
            path.unlink()

    def paths(self, backend, location):
        return [
            Path(part.store.url.removeprefix("file://")) / parse_location(location)[0].pack
            for part in backend.holdings.store.parts
        ]


class TestMemory(BackendTests):
    persistent = False

    def open(self, folder):
        return PackArchiveBackend(PackHoldings(MemoryStore()))

    def damage(self, backend, location):
        pack, store = parse_location(location)[0].pack, backend.holdings.store
        store.put(pack, store.get(pack).replace(b"will not", b"shall not"[1:]))

    def lose(self, backend, location):
        backend.holdings.store.delete(parse_location(location)[0].pack)


class DictBackend:
    """The least that a backend is."""

    def __init__(self):
        self.games = {}

    async def archive(self, entity_id, entity_type, data):
        location = f"{entity_type}/{len(self.games)}/{entity_id}"
        self.games[location] = data
        return location

    async def retrieve(self, location):
        if location not in self.games:
            raise NotFoundError(f"Nothing lies at {location!r}.")
        return self.games[location]


class TestTwoMethods(BackendTests):
    persistent = False

    def open(self, folder):
        return DictBackend()

    def lose(self, backend, location):
        del backend.games[location]


BROKEN = """
from gamearchive.errors import NotFoundError, UnsupportedError
from gamearchive.testing import BackendTests
from test_conformance import DictBackend

class Suite(BackendTests):
    persistent = False
    def open(self, folder): return self.backend_class()

class TestGood(Suite):
    backend_class = DictBackend

class TestLoses(Suite):
    class backend_class(DictBackend):
        async def archive(self, entity_id, entity_type, data):
            return f"{entity_type}/{entity_id}"

class TestAlters(Suite):
    class backend_class(DictBackend):
        async def retrieve(self, location):
            return (await super().retrieve(location)).decode(errors="replace").encode()

class TestOverwrites(Suite):
    class backend_class(DictBackend):
        async def archive(self, entity_id, entity_type, data):
            self.games[f"{entity_type}/{entity_id}"] = data
            return f"{entity_type}/{entity_id}"

class TestMixesUpTypes(Suite):
    class backend_class(DictBackend):
        async def archive(self, entity_id, entity_type, data):
            self.games[entity_id] = data
            return entity_id

class TestMixesUpIds(Suite):
    class backend_class(DictBackend):
        async def archive(self, entity_id, entity_type, data):
            key = f"{len(data)}/{entity_type}/{entity_id.lower().replace('/', '_')}"
            self.games[key] = data
            return key

class TestAnswersAnything(Suite):
    class backend_class(DictBackend):
        async def retrieve(self, location):
            return self.games.get(location, b"")

class TestRaisesItsOwnErrors(Suite):
    class backend_class(DictBackend):
        async def retrieve(self, location):
            return self.games[location]

class TestNeverForgets(Suite):
    class backend_class(DictBackend):
        async def delete(self, location):
            return location in self.games

class TestForgetsAll(Suite):
    class backend_class(DictBackend):
        async def delete(self, location):
            there = location in self.games
            self.games.clear()
            return there

class TestListsEverything(Suite):
    class backend_class(DictBackend):
        async def list_archives(self, entity_type=None, start_date=None, end_date=None):
            return list(self.games)

class TestBatchesOutOfOrder(Suite):
    class backend_class(DictBackend):
        async def archive_many(self, games):
            return [await self.archive(*game) for game in sorted(games, reverse=True)]

class TestDoesNotKeep(Suite):
    persistent = True
    backend_class = DictBackend

class TestDoesNotCheck(Suite):
    backend_class = DictBackend
    def damage(self, backend, location): backend.games[location] = b"something else"
    def lose(self, backend, location): backend.games[location] = b""
"""

CAUGHT = {
    "TestLoses": "test_retrieve_returns_the_exact_bytes",
    "TestAlters": "test_retrieve_returns_the_exact_bytes[invalid-utf-8]",
    "TestOverwrites": "test_archiving_again_keeps_both",
    "TestMixesUpTypes": "test_one_id_of_two_types",
    "TestMixesUpIds": "test_ids_of_any_characters",
    "TestAnswersAnything": "test_a_location_of_nothing",
    "TestRaisesItsOwnErrors": "test_what_is_no_location",
    "TestNeverForgets": "test_delete",
    "TestForgetsAll": "test_delete",
    "TestListsEverything": "test_list_archives",
    "TestBatchesOutOfOrder": "test_archive_many",
    "TestDoesNotKeep": "test_another_backend_reads_it",
    "TestDoesNotCheck": "test_damage_is_noticed",
}


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What pytest says of the suite over broken backends."""
    folder = tmp_path_factory.mktemp("strangers")
    (folder / "test_broken.py").write_text(BROKEN)
    command = [sys.executable, "-m", "pytest", "-q", "--tb=no", "-rfs", "-p", "no:cacheprovider", "-c", "none.ini"]
    command += ["-o", f"pythonpath={Path(__file__).parent} {Path(__file__).parent.parent}", "test_broken.py"]
    (folder / "none.ini").write_text("[pytest]\n")
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize("name", CAUGHT)
def test_a_broken_backend_fails(outcome: str, name: str) -> None:
    assert f"FAILED test_broken.py::{name}::{CAUGHT[name]}" in outcome


def test_a_backend_fails_for_nothing_but_its_fault(outcome: str) -> None:
    failed = re.findall(r"FAILED test_broken.py::(\w+)::(\w+)", outcome)
    assert "TestGood" not in {name for name, _ in failed}
    assert {test for name, test in failed if name == "TestListsEverything"} == {"test_list_archives"}


def test_what_a_backend_cannot_do_is_skipped_with_the_reason(outcome: str) -> None:
    for method in ("delete", "list_archives", "archive_many"):
        assert re.search(rf"SKIPPED.*: DictBackend has no {method}", outcome)
