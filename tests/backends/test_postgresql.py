"""The store in PostgreSQL: its contract, packs as rows, partitions, documents, and what a server may refuse or suffer."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import conftest
import psycopg
import pytest
from backends.test_rows import DOCUMENTS, NO_DOCUMENTS
from databases import execute
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packs.pack_samples import ARCHIVED_AT, entry_of, small_dictionary, small_pack
from postgresql_server import Server

from gamearchive.backends import postgresql
from gamearchive.backends.packed import PackHoldings
from gamearchive.backends.postgresql import PostgreSQLStore
from gamearchive.backends.rows import is_document
from gamearchive.errors import (
    ConfigurationError,
    IntegrityError,
    NotFoundError,
    SchemaError,
    StorageUnavailableError,
    UnsupportedError,
)
from gamearchive.model import Provenance
from gamearchive.packs.dictionary import dictionary_keys
from gamearchive.packs.format import Pack, build_pack
from gamearchive.stores.base import Store, StoredObject
from gamearchive.stores.registry import store_from_url
from gamearchive.testing import StoreTests

MONTH = 31 * 86_400 * 1_000_000


class TestPostgreSQLStore(StoreTests):
    @pytest.fixture(autouse=True)
    def _schema(self, schema_url: str) -> None:
        self.database = schema_url

    def open(self, folder: Path) -> Store:
        return PostgreSQLStore(self.database)

    def plant(self, store: Store, key: str, data: bytes) -> None:
        store.put("own/planted", b"")  # makes the tables
        store.delete("own/planted")
        execute(
            self.database,
            "INSERT INTO gamearchive_packs_objects (key, data_at, data) VALUES (:key, 0, :data)",
            key=key,
            data=data,
        )

    def peek(self, store: Store, key: str) -> bytes | None:
        found = execute(self.database, "SELECT data FROM gamearchive_packs_objects WHERE key = :key AND data_at = 0", key=key)
        return bytes(found[0].data) if found else None


@pytest.fixture
def store(schema_url: str) -> Iterator[PostgreSQLStore]:
    made = PostgreSQLStore(schema_url)
    yield made
    made.close()


def pack_of(number: int, months: int = 0) -> Pack:
    """A small pack, archived so many months later than others."""
    payload = b'{"number": %d}' % number
    return build_pack([entry_of(payload, f"g-{number}", provenance=Provenance(ARCHIVED_AT + months * MONTH))], [payload])


def partitions(url: str) -> list[str]:
    rows = execute(
        url, "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = to_regclass('gamearchive_packs_games')"
    )
    return sorted(name for (name,) in rows if "idx" not in name)


@pytest.mark.parametrize("dense", [False, True])
def test_a_pack_is_a_row_for_each_game_and_its_very_bytes(store: PostgreSQLStore, schema_url: str, dense: bool) -> None:
    pack, _ = small_pack(dense=dense)
    store.put(pack.key, pack.data)
    rows = execute(
        schema_url,
        "SELECT entity_type, entity_id, revision, frame IS NULL, extract(epoch FROM archived_at)::bigint, "
        "concat_ws('/', entity_type, to_char(packed_on, 'YYYY/MM/DD'), replace(pack::text, '-', '') || '.zst') "
        "FROM gamearchive_packs_games ORDER BY position",
    )
    assert [row[:3] for row in rows] == [(entry.entity_type, entry.entity_id, entry.revision) for entry in pack.entries]
    assert {row[4:] for row in rows} == {(ARCHIVED_AT // 1_000_000, pack.key)}
    assert [row[3] for row in rows] == [dense and position % 4 > 0 for position in range(len(rows))]
    assert (store.get(pack.key), store.size(pack.key)) == (pack.data, len(pack.data))
    for entry in pack.entries:
        place = entry.place
        frame = pack.data[place.frame_offset :][: place.frame_bytes]
        assert store.get(pack.key, place.frame_offset, place.frame_bytes) == frame
    chance, size = random.Random(1), len(pack.data)
    for _ in range(60):
        begin, end = sorted([chance.randrange(size + 1), chance.randrange(size + 1)])
        assert store.get(pack.key, begin, end - begin) == pack.data[begin:end]
    for offset, length in ((0, size + 1), (size, 1), (size + 1, None), (-1, 2)):
        with pytest.raises(IntegrityError, match="were asked for"):
            store.get(pack.key, offset, length)
    assert list(store.list()) == [StoredObject(pack.key, size)]


def test_what_lies_under_the_key_of_a_pack_is_replaced_and_deleted_whole(store: PostgreSQLStore, schema_url: str) -> None:
    pack, other = pack_of(1), pack_of(2)
    store.put(other.key, other.data)
    for data in (b"no pack", pack.data, pack.data, pack.data[:-1], b"", pack.data):
        store.put(pack.key, data)
        assert (store.get(pack.key), store.size(pack.key)) == (data, len(data))
    assert store.put_new(pack.key, b"another") is False
    assert store.get(pack.key, 0, 10) == pack.data[:10]
    assert store.delete(pack.key) is True
    assert execute(schema_url, "SELECT count(*) FROM gamearchive_packs_games") == [(1,)]
    with pytest.raises(NotFoundError):
        store.get(pack.key, 0, 10)
    with pytest.raises(NotFoundError):
        store.get(pack.key.replace("game/", "chess/"), pack.entries[0].place.frame_offset, pack.entries[0].place.frame_bytes)
    assert store.put_new(pack.key, pack.data) is True
    assert store.get(pack.key) == pack.data


def test_many_objects_are_deleted_together(store: PostgreSQLStore, schema_url: str) -> None:
    assert store.delete_many(["nothing/yet"]) == {}
    packs = [pack_of(number) for number in range(4)]
    for pack in packs:
        store.put(pack.key, pack.data)
    store.put("a", b"1")
    assert store.delete_many([packs[2].key, "a", "nonesuch", packs[0].key, packs[2].key]) == {}
    assert [held.key for held in store.list()] == sorted([packs[1].key, packs[3].key])
    rows = execute(schema_url, "SELECT entity_id FROM gamearchive_packs_games ORDER BY 1")
    assert [tuple(row) for row in rows] == [("g-1",), ("g-3",)]


def test_a_row_that_is_gone_or_altered_is_damage_and_the_others_are_read(store: PostgreSQLStore, schema_url: str) -> None:
    pack, games = small_pack()
    holdings = PackHoldings(store)
    holdings.put_dictionary(small_dictionary())
    store.put(pack.key, pack.data)
    execute(schema_url, "DELETE FROM gamearchive_packs_games WHERE position = 1")
    execute(schema_url, "UPDATE gamearchive_packs_games SET frame = substr(frame, 1, 20) WHERE position = 3")
    execute(
        schema_url, "UPDATE gamearchive_packs_games SET frame = set_byte(frame, 30, get_byte(frame, 30) # 1) WHERE position = 4"
    )
    for position, entry in enumerate(pack.entries):
        if position in (1, 3, 4):
            with pytest.raises(IntegrityError, match=pack.key):
                holdings.get(entry)
        else:
            assert holdings.get(entry) == games[position]
    with pytest.raises(IntegrityError, match=f"{pack.key}.*is damaged"):
        store.get(pack.key)
    assert holdings.is_whole(pack.key) is False
    execute(schema_url, "UPDATE gamearchive_packs_objects SET data = substr(data, 2) WHERE key = :key", key=pack.key)
    assert store.size(pack.key) == len(pack.data) - 1
    with pytest.raises(IntegrityError):
        store.get(pack.key, len(pack.data) - 100, 100)


def test_many_make_tables_and_partitions_at_once(schema_url: str) -> None:
    stores = [PostgreSQLStore(schema_url, queryable=bool(number % 2)) for number in range(6)]
    packs = [pack_of(number, number % 4) for number in range(24)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda number: stores[number % 6].put(packs[number].key, packs[number].data), range(24)))
    assert partitions(schema_url) == [f"gamearchive_packs_games_2025_{month:02}" for month in (6, 7, 8, 9)]
    for pack in packs:
        assert stores[0].get(pack.key) == pack.data
    assert len(list(stores[0].list())) == 24
    for each in stores:
        each.close()


def test_a_month_whose_packs_are_gone_is_dropped(store: PostgreSQLStore, schema_url: str) -> None:
    packs = [pack_of(number, months) for number, months in enumerate((0, 0, 1, 2))]
    for pack in packs:
        store.put(pack.key, pack.data)
    for pack in packs[1:3]:
        store.delete(pack.key)
    assert store.sweep() == 0
    assert partitions(schema_url) == ["gamearchive_packs_games_2025_06", "gamearchive_packs_games_2025_08"]
    assert [store.get(pack.key) for pack in (packs[0], packs[3])] == [packs[0].data, packs[3].data]
    store.put(packs[2].key, packs[2].data)
    assert store.get(packs[2].key) == packs[2].data


def test_a_partition_that_somebody_is_at_stays_and_nobody_waits(store: PostgreSQLStore, schema_url: str) -> None:
    pack, other = pack_of(1), pack_of(2, 1)
    store.put(pack.key, pack.data)
    store.delete(pack.key)
    with psycopg.connect(schema_url) as reader:
        reader.execute("SELECT count(*) FROM gamearchive_packs_games")
        store.sweep()
        store.put(other.key, other.data)
    assert len(partitions(schema_url)) == 2
    store.sweep()
    assert partitions(schema_url) == ["gamearchive_packs_games_2025_07"]


def test_partitions_are_dropped_while_others_put(schema_url: str) -> None:
    stores = [PostgreSQLStore(schema_url) for _ in range(3)]
    ended = threading.Event()

    def sweep() -> None:
        while not ended.is_set():
            stores[0].sweep()

    def put(number: int) -> None:
        for turn in range(12):
            pack = pack_of(100 * number + turn, 1 + number)
            stores[number].put(pack.key, pack.data)
            assert stores[number].get(pack.key) == pack.data
            assert stores[number].delete(pack.key)

    with ThreadPoolExecutor(3) as pool:
        sweeping = pool.submit(sweep)
        for done in [pool.submit(put, number) for number in (1, 2)]:
            done.result()
        ended.set()
        sweeping.result()
    assert list(stores[0].list()) == []
    for each in stores:
        each.close()


def test_documents_are_found_by_their_index(schema_url: str) -> None:
    store = store_from_url(f"{schema_url}&queryable=true")
    pack, games = small_pack()
    holdings = PackHoldings(store)
    holdings.put_dictionary(small_dictionary())
    store.put(pack.key, pack.data)
    wanted = json.loads(games[2])
    rows = execute(
        schema_url,
        "SELECT entity_id, document FROM gamearchive_packs_games WHERE document @> CAST(:part AS jsonb)",
        part=json.dumps({"players": [{"id": wanted["players"][0]["id"]}], "winner": wanted["winner"]}),
    )
    assert (wanted["id"], wanted) in [tuple(row) for row in rows]
    with psycopg.connect(schema_url) as connection:
        connection.execute("SET enable_seqscan = off")
        plan = connection.execute("EXPLAIN SELECT FROM gamearchive_packs_games WHERE document @> '{\"id\": 1}'").fetchall()
    assert "document_idx" in str(plan)
    store.close()


def test_documents_may_be_asked_for_later_and_are_of_what_is_put_then(store: PostgreSQLStore, schema_url: str) -> None:
    first, second = pack_of(1), pack_of(2)
    store.put(first.key, first.data)
    later = PostgreSQLStore(schema_url, queryable=True)
    later.put(second.key, second.data)
    rows = execute(schema_url, "SELECT entity_id, document FROM gamearchive_packs_games ORDER BY entity_id")
    assert [tuple(row) for row in rows] == [("g-1", None), ("g-2", {"number": 2})]
    later.close()
    assert execute(schema_url, "SELECT to_regclass('gamearchive_packs_games_document') IS NOT NULL") == [(True,)]


def test_a_dictionary_that_is_not_there_or_damaged_leaves_games_without_documents(schema_url: str) -> None:
    store = PostgreSQLStore(schema_url, queryable=True)
    pack, _ = small_pack()
    first, second = dictionary_keys("game", small_dictionary().id)
    store.put(pack.key, pack.data)
    count = "SELECT count(*), count(document) FROM gamearchive_packs_games"
    assert execute(schema_url, count) == [(6, 0)]
    store.put(first, b"damaged")
    store.put(second, small_dictionary().data)
    store.put(pack.key, pack.data)
    assert execute(schema_url, count) == [(6, 6)]
    assert store.get(pack.key) == pack.data
    store.close()


def test_what_the_server_takes_for_no_document_is_archived_without(schema_url: str) -> None:
    deep = b"[" * 900 + b"]" * 900
    assert is_document(deep)
    store = PostgreSQLStore(f"{schema_url}%20-cmax_stack_depth%3D100kB", queryable=True)
    payloads = [b"{}", deep]
    pack = build_pack([entry_of(payload, f"g-{number}") for number, payload in enumerate(payloads)], payloads)
    store.put(pack.key, pack.data)
    assert store.get(pack.key) == pack.data
    assert execute(schema_url, "SELECT count(*), count(document) FROM gamearchive_packs_games") == [(2, 0)]
    store.close()


JSON_TEXTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(categories=["L", "N", "P", "C"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
).flatmap(lambda value: st.booleans().map(lambda ascii_: json.dumps(value, ensure_ascii=ascii_).encode(errors="surrogatepass")))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(payload=st.sampled_from(DOCUMENTS + NO_DOCUMENTS) | JSON_TEXTS | st.binary(max_size=20))
def test_the_server_takes_every_document(casting: psycopg.Connection[Any], payload: bytes) -> None:
    if is_document(payload):
        casting.execute("SELECT CAST(%s AS jsonb)", [payload.decode()])


@pytest.fixture(scope="module")
def casting(postgresql: Server) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgresql.new_database(), autocommit=True) as connection:
        yield connection


PUT = """
import sys
from gamearchive.backends.postgresql import PostgreSQLStore
from backends.test_postgresql import pack_of
store = PostgreSQLStore(sys.argv[1])
pack = pack_of(7)
print(flush=True)
store.put(pack.key, pack.data)
print("done", flush=True)
"""


def putting(url: str) -> subprocess.Popen[str]:
    """A process that puts a pack."""
    tests = Path(__file__).parent.parent
    command = [sys.executable, "-c", PUT, url]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(tests)})


def waiting(url: str) -> int:
    """How many transactions wait for a lock of another's."""
    return int(execute(url, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")[0][0])


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSTOP])
def test_who_is_killed_or_frozen_in_the_middle_of_a_put_leaves_nothing(
    store: PostgreSQLStore, schema_url: str, sent: signal.Signals
) -> None:
    pack, other = pack_of(7), pack_of(1)
    store.put(other.key, other.data)
    with psycopg.connect(schema_url) as holding:
        holding.execute("LOCK TABLE gamearchive_packs_games_2025_06 IN SHARE MODE")  # rows cannot be copied into it
        process = putting(schema_url)
        while not waiting(schema_url):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(sent)
    assert (store.size(pack.key), list(store.list())) == (None, [StoredObject(other.key, len(other.data))])
    assert execute(schema_url, "SELECT count(*) FROM gamearchive_packs_games") == [(1,)]
    later = pack_of(2, 1)
    store.put(later.key, later.data)  # a frozen writer holds nobody else up, not even by a month's beginning
    store.sweep()
    if sent is signal.SIGSTOP:
        process.send_signal(signal.SIGCONT)
        assert process.communicate(timeout=60)[0].split() == ["done"]
    process.kill()
    process.communicate()
    store.put(pack.key, pack.data)
    assert store.get(pack.key) == pack.data


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails is tried again once, soon."""
    monkeypatch.setattr(postgresql, "PAUSES", (0.01,))


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    server = conftest.start_postgresql()
    yield server
    server.stop()


def test_a_server_that_goes_down_and_comes_up_again_is_waited_for(own_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    url = own_server.new_database()
    store = PostgreSQLStore(url)
    pack = pack_of(1)
    store.put(pack.key, pack.data)
    for go_down in (own_server.halt, own_server.crash):
        go_down()
        resuming = threading.Timer(0.5, own_server.resume)
        resuming.start()
        assert store.get(pack.key) == pack.data
        resuming.join()
    own_server.halt()
    monkeypatch.setattr(postgresql, "PAUSES", (0.01,))
    for call in (lambda: store.put("a", b""), lambda: store.get("a"), lambda: store.size("a"), lambda: list(store.list())):
        with pytest.raises(StorageUnavailableError):
            call()
    own_server.resume()
    assert store.get(pack.key) == pack.data
    own_server.freeze()
    going_on = threading.Timer(1, own_server.go_on)
    going_on.start()
    store.put("a", b"meanwhile")
    assert store.get("a") == b"meanwhile"
    going_on.join()
    store.close()


def test_passwords_are_never_shown(own_server: Server) -> None:
    url = own_server.new_database()
    own_server.execute("CREATE USER keeper PASSWORD 'the-right-one'")
    own_server.ask_for_passwords()
    told = url.replace("postgres@", "keeper:planted@") + "&sslpassword=planted"
    for each in (told, url.replace("postgres@", "keeper@") + "&password=planted"):
        store = PostgreSQLStore(each)
        with pytest.raises(StorageUnavailableError, match="password authentication failed") as caught:
            store.put("a", b"")
        assert ".pgpass" in caught.value.hint
        shown = "".join(traceback.format_exception(caught.value)) + repr(store) + store.url
        assert "planted" not in shown
        assert "keeper" in store.url
        store.close()


@pytest.mark.usefixtures("impatient")
def test_what_a_server_refuses_fails_at_once_and_says_what_to_do(postgresql: Server, schema_url: str) -> None:
    base = schema_url.partition("&")[0]
    names = {
        "nobody": (base.replace("postgres@", "nobody@"), ".pgpass"),
        "no database": (base.replace("/test_", "/nonesuch_"), "CREATE DATABASE"),
        "no schema": (f"{base}&options=-csearch_path%3Dnonesuch", "Make a schema"),
        "reads only": (f"{schema_url}%20-cdefault_transaction_read_only%3Don", "primary"),
    }
    for url, hint in names.values():
        store = PostgreSQLStore(url)
        with pytest.raises(StorageUnavailableError) as caught:
            store.put("a", b"")
        assert hint in caught.value.hint
        store.close()
    postgresql.execute("CREATE DATABASE narrow ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    store = PostgreSQLStore(re.sub(r"/test_\d+", "/narrow", base))
    with pytest.raises(ConfigurationError, match="UTF-8"):
        store.put("a", b"")
    store.close()


@pytest.mark.usefixtures("impatient")
def test_tables_that_go_or_are_of_another_version_are_told(store: PostgreSQLStore, schema_url: str) -> None:
    store.put("a", b"1")
    execute(schema_url, "DROP TABLE gamearchive_packs_objects, gamearchive_packs_games, gamearchive_packs_version")
    with pytest.raises(StorageUnavailableError) as caught:
        store.get("a")
    assert "backup" in caught.value.hint
    assert store.size("a") is None  # as where nothing was put yet
    store.put("a", b"2")
    assert store.get("a") == b"2"
    execute(schema_url, "UPDATE gamearchive_packs_version SET version = 2")
    other = PostgreSQLStore(schema_url)
    for call in (lambda: other.get("a"), lambda: other.put("a", b""), lambda: list(other.list()), other.sweep):
        with pytest.raises(SchemaError, match="version 2"):
            call()
    other.close()


def test_another_user_may_read_and_cannot_put(postgresql: Server, store: PostgreSQLStore, schema_url: str) -> None:
    pack = pack_of(1)
    store.put(pack.key, pack.data)
    schema = schema_url.rpartition("%3D")[2]
    execute(schema_url, "DROP ROLE IF EXISTS reader")
    for grant in (
        "CREATE USER reader",
        f"GRANT USAGE ON SCHEMA {schema} TO reader",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO reader",
    ):
        execute(schema_url, grant)
    reader = PostgreSQLStore(schema_url.replace("postgres@", "reader@"))
    assert reader.get(pack.key) == pack.data
    with pytest.raises(StorageUnavailableError, match="permission denied") as caught:
        reader.put("a", b"")
    assert "GRANT" in caught.value.hint
    reader.close()
    execute(schema_url, "DROP OWNED BY reader")
    execute(schema_url, "DROP ROLE reader")


def test_a_game_that_is_too_large_is_refused(store: PostgreSQLStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql, "MAX_ROW_BYTES", 100)
    with pytest.raises(UnsupportedError, match="game at most"):
        store.put("a", bytes(101))
    store.put("a", bytes(100))


def test_what_a_server_tells_of_itself(store: PostgreSQLStore) -> None:
    told = store.describe("any")
    assert told["server"].startswith("PostgreSQL ")
    assert "not encrypted" in told["connection"]


def test_what_was_put_is_on_the_disk_whatever_the_server_is_told(schema_url: str) -> None:
    store = PostgreSQLStore(f"{schema_url}%20-csynchronous_commit%3Doff")
    seen: list[str] = []
    store._write(
        "look", "settings", lambda connection: seen.append(connection.exec_driver_sql("SHOW synchronous_commit").scalar())
    )
    assert seen == ["on"]
    store.close()


@pytest.mark.parametrize(
    "url",
    ["postgresql://host:port/name", "postgresql://user:planted@host/name?queryable=perhaps", "postgresql+asyncpg://host/name"],
)
def test_a_url_of_another_form_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        store_from_url(url)
    assert "planted" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg"])
def test_a_url_says_which_database_and_nothing_is_connected_to(scheme: str) -> None:
    store = store_from_url(f"{scheme}://user:planted@nowhere/name?queryable=true&sslmode=require")
    assert isinstance(store, PostgreSQLStore)
    assert store.url == "postgresql://user:***@nowhere/name?sslmode=require"


def test_a_parameter_that_libpq_does_not_know() -> None:
    with pytest.raises(ConfigurationError, match="queriable"):
        store_from_url("postgresql://host/name?queriable=true")
