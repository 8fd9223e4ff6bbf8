"""The database: transactions, locks, and what goes wrong with it, on either engine."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
from catalog_samples import add, entry
from conftest import start_postgresql
from sqlalchemy import event, text

from gamearchive.catalog import Catalog
from gamearchive.database.engine import Database
from gamearchive.database.schema import words
from gamearchive.errors import (
    ConfigurationError,
    DatabaseUnavailableError,
    GameArchiveError,
    IntegrityError,
    LockedError,
    NoArchiveError,
    SchemaError,
)
from gamearchive.model import Facts, Player
from gamearchive.query import ArchiveQuery


@contextmanager
def opened(url: str, **options: float) -> Iterator[Database]:
    """A database that is closed at the end."""
    database = Database(url, **options)
    try:
        yield database
    finally:
        database.close()


def write_word(database: Database, number: int) -> None:
    with database.write() as connection:
        connection.execute(words.insert().values(id=number, word=f"word {number}"))


def count_words(database: Database) -> int:
    with database.read() as connection:
        return len(connection.execute(words.select()).all())


# addresses


@pytest.mark.parametrize(
    "url",
    [
        "no url",
        "",
        "sqlite://",
        "sqlite+aiosqlite:////x.db",
        "mysql://user:hunter2@host/name",
        "postgresql+asyncpg://user:hunter2@host/name",
        "postgresql:/user:hunter2@host/name",
        "postgresql://user:hunter2@host:port/name",
        "postgresql+nothing://user:hunter2@host/name",
    ],
)
def test_an_address_that_is_of_no_use_is_refused_without_its_password(url: str):
    with pytest.raises(ConfigurationError) as caught:
        Database(url)
    assert "sqlite:////path" in caught.value.hint
    assert "hunter2" not in caught.value.message + caught.value.hint


def test_a_database_is_named_without_its_passwords():
    url = "postgresql://user:hunter2@host:5432/name?password=hunter2&sslpassword=hunter2&application_name=x"
    assert Database(url).name == "postgresql+psycopg://user:***@host:5432/name?application_name=x"


def test_a_server_that_is_not_there_is_unavailable_and_the_password_stays_secret():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with opened(f"postgresql://user:hunter2@127.0.0.1:{port}/name") as database:
        for ask in (database.check, database.exists, database.create):
            with pytest.raises(DatabaseUnavailableError, match="refused") as caught:
                ask()
            assert "hunter2" not in str(caught.value) + caught.value.hint
            assert caught.value.exit_code == 15


# making


def test_where_there_is_nothing_reading_and_writing_say_so_and_make_nothing(database_url: str, tmp_path: Path):
    with opened(database_url) as database:
        assert not database.exists()
        for transaction in (database.read, database.write):
            with pytest.raises(NoArchiveError, match="There is no archive in"), transaction():
                pass
        assert list(tmp_path.iterdir()) == []
        database.create()
        assert database.exists()


def test_a_database_is_made_with_its_folder_and_only_once(tmp_path: Path):
    url = f"sqlite:///{tmp_path}/a/b/gamearchive.db"
    for _ in range(2):
        with opened(url) as database:
            database.create()
            write_word(database, count_words(database) + 1)
    with opened(url) as database:
        assert count_words(database) == 2


def test_several_processes_may_make_it_at_once(database_url: str):
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Event()
    makers = [spawn.Process(target=_make, args=(database_url, start, number)) for number in (1, 2, 3)]
    for maker in makers:
        maker.start()
    start.set()
    for maker in makers:
        maker.join()
        assert maker.exitcode == 0
    with opened(database_url) as database:
        assert count_words(database) == 3


def _make(url: str, start: Event, number: int) -> None:
    with opened(url) as database:
        start.wait()
        database.create()
        write_word(database, number)


def test_tables_of_another_program_are_left_alone(database_url: str):
    with opened(database_url) as database:
        with database.engine.begin() as connection:
            connection.execute(text("CREATE TABLE players (id INTEGER)"))
            connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
        for ask in (database.exists, database.check, database.create):
            with pytest.raises(SchemaError, match="tables of another program: players"):
                ask()


def test_tables_of_other_names_do_no_harm(database_url: str):
    with opened(database_url) as database:
        with database.engine.begin() as connection:
            connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
        with pytest.raises(NoArchiveError):
            database.check()
        database.create()
        write_word(database, 1)


# transactions


def test_an_exception_undoes_a_transaction(database: Database):
    def fail() -> None:
        with database.write() as connection:
            connection.execute(words.insert().values(id=2, word="two"))
            raise ZeroDivisionError

    write_word(database, 1)
    with pytest.raises(ZeroDivisionError):
        fail()
    assert count_words(database) == 1


def test_a_reader_sees_one_state_while_others_write(database: Database):
    write_word(database, 1)
    with database.read() as connection:
        assert len(connection.execute(words.select()).all()) == 1
        write_word(database, 2)
        assert len(connection.execute(words.select()).all()) == 1
    assert count_words(database) == 2


def test_writers_come_one_after_another(database: Database):
    def count_up() -> None:
        for _ in range(25):
            with database.write() as connection:
                last = len(connection.execute(words.select()).all())
                connection.execute(words.insert().values(id=last + 1, word=str(last)))

    writers = [threading.Thread(target=count_up) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert count_words(database) == 100


def test_a_stranger_that_writes_for_long_locks_writers_out_but_not_readers(database: Database, database_url: str):
    with opened(database_url, busy_seconds=0.1) as other:
        with database.write() as connection:
            connection.execute(words.insert().values(id=1, word="one"))
            with pytest.raises(LockedError, match=r"stayed locked by another process for 0\.1 s"):
                write_word(other, 2)
            assert count_words(other) == 0
        write_word(other, 2)
        assert count_words(database) == 2


# damage, full disks, no permission


@pytest.mark.parametrize("content", [b"this is no database" * 500, bytes(range(256)) * 64], ids=["text", "bytes"])
def test_a_file_that_is_no_database_is_said_to_be_damaged(tmp_path: Path, content: bytes):
    path = tmp_path / "gamearchive.db"
    path.write_bytes(content)
    with opened(f"sqlite:///{path}") as database:
        for ask in (database.exists, database.check, database.create):
            with pytest.raises(IntegrityError, match="is damaged") as caught:
                ask()
            assert "gamearchive rebuild" in caught.value.hint
    assert path.read_bytes() == content


def test_a_file_with_holes_is_said_to_be_damaged(tmp_path: Path):
    path = tmp_path / "gamearchive.db"
    with opened(f"sqlite:///{path}") as database:
        database.create()
        for number in range(300):
            add(Catalog(database), entry(f"game {number}"))
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    with opened(f"sqlite:///{path}") as database, pytest.raises(IntegrityError, match="is damaged"):
        Catalog(database).find(ArchiveQuery())


def test_a_full_disk_undoes_the_transaction_and_once_there_is_room_it_goes_on(tmp_path: Path):
    url = f"sqlite:///{tmp_path}/gamearchive.db"
    with opened(url) as database:
        database.create()
        add(Catalog(database), entry("a"))
    with opened(url) as full:
        event.listen(full.engine, "connect", lambda connection, _: connection.execute("PRAGMA max_page_count = 1").close())
        with pytest.raises(DatabaseUnavailableError, match="full"):
            add(Catalog(full), *[entry(f"game {number}") for number in range(500)])
        assert Catalog(full).count(ArchiveQuery()) == 1
    with opened(url) as database:
        add(Catalog(database), *[entry(f"game {number}") for number in range(500)])
        assert Catalog(database).count(ArchiveQuery()) == 501


@pytest.fixture
def as_nobody() -> Iterator[Path]:
    """A folder of another user's, whom this process is not while it runs."""
    folder = Path(tempfile.mkdtemp(prefix="gamearchive-test-"))
    folder.chmod(0o755)
    yield folder
    if os.getuid() == 0:
        os.seteuid(0)
    folder.chmod(0o755)
    shutil.rmtree(folder)


def _forbid_writing(folder: Path) -> None:
    for path in folder.iterdir():
        path.chmod(0o444)
    folder.chmod(0o555)
    if os.getuid() == 0:
        os.seteuid(65534)


def test_what_may_not_be_written_can_be_read(as_nobody: Path):
    url = f"sqlite:///{as_nobody}/gamearchive.db"
    with opened(url) as database:
        database.create()
        add(Catalog(database), entry("a"))
    _forbid_writing(as_nobody)
    with opened(url) as database:
        assert Catalog(database).get("a") is not None
        with pytest.raises(DatabaseUnavailableError, match="read-only"):
            add(Catalog(database), entry("b"))
        assert Catalog(database).count(ArchiveQuery()) == 1


def test_what_may_not_be_written_can_be_read_while_its_owner_writes(as_nobody: Path):
    url = f"sqlite:///{as_nobody}/gamearchive.db"
    with opened(url) as owner:
        owner.create()
        add(Catalog(owner), entry("a"))
        _forbid_writing(as_nobody)
        with opened(url) as database:
            assert Catalog(database).get("a") is not None
            if os.getuid() == 0:
                os.seteuid(0)
                add(Catalog(owner), entry("b"))
                os.seteuid(65534)
                assert Catalog(database).get("b") is not None
        if os.getuid() == 0:
            os.seteuid(0)


def test_where_nothing_may_be_made_this_is_said(as_nobody: Path):
    _forbid_writing(as_nobody)
    with opened(f"sqlite:///{as_nobody}/gamearchive.db") as database, pytest.raises(DatabaseUnavailableError, match="open"):
        database.create()
    with (
        opened(f"sqlite:///{as_nobody}/sub/gamearchive.db") as database,
        pytest.raises(DatabaseUnavailableError, match="sub cannot be made: Permission denied"),
    ):
        database.create()


def test_a_folder_is_no_database(tmp_path: Path):
    with opened(f"sqlite:///{tmp_path}") as database, pytest.raises(DatabaseUnavailableError):
        database.check()


# holds


def _hold(url: str, shared: bool, held: Event, let_go: Event) -> None:
    with opened(url) as database, database.hold(shared=shared):
        held.set()
        let_go.wait()


@pytest.mark.parametrize(
    ("theirs", "ours", "allowed"), [(True, True, True), (True, False, False), (False, True, False), (False, False, False)]
)
def test_a_hold_is_shared_or_is_not(database: Database, database_url: str, theirs: bool, ours: bool, allowed: bool):
    spawn = multiprocessing.get_context("spawn")
    held, let_go = spawn.Event(), spawn.Event()
    holder = spawn.Process(target=_hold, args=(database_url, theirs, held, let_go))
    holder.start()
    held.wait()
    if allowed:
        with database.hold(shared=ours):
            pass
    else:
        with pytest.raises(LockedError), database.hold(shared=ours, wait=0.2):
            pass
    write_word(database, 1)  # a hold is no transaction
    let_go.set()
    with database.hold(shared=ours, wait=60):
        pass
    holder.join()
    assert holder.exitcode == 0


def test_the_hold_of_one_that_was_killed_falls(database: Database, database_url: str):
    spawn = multiprocessing.get_context("spawn")
    held, never = spawn.Event(), spawn.Event()
    holder = spawn.Process(target=_hold, args=(database_url, False, held, never))
    holder.start()
    held.wait()
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGKILL)
    with database.hold(shared=False, wait=60):
        pass
    holder.join()
    assert holder.exitcode == -signal.SIGKILL


def test_a_hold_is_let_go_when_its_block_fails(database: Database):
    with pytest.raises(ZeroDivisionError), database.hold(shared=False):
        1 / 0  # noqa: B018
    with database.hold(shared=False):
        pass


# anew


def files_in(folder: Path) -> list[str]:
    """What is in a folder but for locks, which stay."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_a_database_made_anew_takes_the_place_of_the_old(database: Database, tmp_path: Path):
    add(Catalog(database), entry("old"))
    before = files_in(tmp_path)
    with database.anew() as fresh:
        add(Catalog(fresh), entry("new"))
    catalog = Catalog(database)
    assert [e.entity_id for e in catalog.find(ArchiveQuery()).entries] == ["new"]
    add(catalog, entry("next"))
    assert catalog.count(ArchiveQuery()) == 2
    assert files_in(tmp_path) == before


def test_who_has_a_database_open_sees_the_one_that_took_its_place(database: Database, database_url: str):
    """What it remembers of the old one's words and players, by their numbers, it does not mistake for the new one's."""
    add(Catalog(database), entry("old", entity_type="chess", facts=Facts((Player("1", "Ada"),))))
    with opened(database_url) as reading:
        catalog = Catalog(reading)
        assert catalog.get("old") is not None
        for number in range(3):
            made = entry(
                f"new-{number}", entity_type=f"go-{number}", facts=Facts((Player(f"{number}", "Bea"), Player("1", "Ada")))
            )
            with database.anew() as fresh:
                add(Catalog(fresh), made)
            assert catalog.find(ArchiveQuery()).entries == [made]
        late = entry("late", entity_type="chess", facts=Facts((Player("1", "Ada"), Player("2", "Bea"))))
        add(catalog, late)
        assert catalog.get("late") == Catalog(database).get("late") == late


def test_a_damaged_database_is_made_anew(tmp_path: Path):
    path = tmp_path / "gamearchive.db"
    path.write_bytes(b"this is no database" * 500)
    with opened(f"sqlite:///{path}") as database:
        with database.anew() as fresh:
            add(Catalog(fresh), entry("a"))
        assert Catalog(database).get("a") is not None


def test_what_is_not_made_anew_to_its_end_leaves_the_old_as_it_was(tmp_path: Path):
    def fail() -> None:
        with database.anew() as fresh:
            add(Catalog(fresh), entry("new"))
            raise ZeroDivisionError

    with opened(f"sqlite:///{tmp_path}/gamearchive.db") as database:
        database.create()
        add(Catalog(database), entry("old"))
        with pytest.raises(ZeroDivisionError):
            fail()
        assert [e.entity_id for e in Catalog(database).find(ArchiveQuery()).entries] == ["old"]
        with database.anew() as fresh:
            assert Catalog(fresh).count(ArchiveQuery()) == 0
    assert files_in(tmp_path) == ["gamearchive.db"]


# a server that goes


def test_a_server_that_goes_in_the_middle_is_unavailable_until_it_is_back():
    server = start_postgresql()

    def write_while_it_goes() -> None:
        with database.write() as connection:
            connection.execute(words.insert().values(id=99, word="lost"))
            server.halt()
            connection.execute(words.select())

    with opened(server.new_database()) as database:
        database.create()
        catalog = Catalog(database)
        add(catalog, entry("a"))
        with pytest.raises(DatabaseUnavailableError):
            write_while_it_goes()
        with pytest.raises(DatabaseUnavailableError):
            catalog.get("a")
        with pytest.raises(GameArchiveError), database.hold(shared=True):
            pass
        server.resume()
        assert catalog.get("a") is not None
        add(catalog, entry("b"))
        assert catalog.count(ArchiveQuery()) == 2
        with database.hold(shared=False):
            pass
    server.stop()
