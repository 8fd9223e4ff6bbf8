"""What many tests stand on: databases on either engine, and a catalog in one.

Whatever takes the fixture `engine`, itself or by another, runs on each engine in turn. What is about one of them alone is
marked so, with the reason: ``@pytest.mark.only("sqlite", "its file is damaged")``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import pytest
from databases import Databases, execute
from postgresql_server import Server
from s3_servers import Moto, Rclone, boto3_environment

import gamearchive.testing
from gamearchive.catalog import Catalog
from gamearchive.database.engine import Database

ENGINES = ("sqlite", "postgresql")


def pytest_addoption(parser: pytest.Parser) -> None:
    """``pytest tests/safety/test_kill.py -k workers --kills 500`` takes ten minutes."""
    parser.addoption("--kills", type=int, default=12, help="kill so many workers of a queue on each engine")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test on each engine, but where it is marked to be about one."""
    if "engine" not in metafunc.fixturenames:
        return
    marked = metafunc.definition.get_closest_marker("only")
    engines = ENGINES
    if marked is not None:
        engine, reason = marked.args
        assert engine in ENGINES
        assert reason
        engines = (engine,)
    metafunc.parametrize("engine", engines, scope="module")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """In CI every server is there: a test that was skipped fails the run, unless it is of what a backend need not promise."""
    suites = str(Path(gamearchive.testing.__file__).parent)
    skipped = terminalreporter.stats.get("skipped", ())
    skipped = [each for each in skipped if suites not in str(Path(each.longrepr[0]).resolve())]
    if os.environ.get("CI") and skipped:
        terminalreporter.write_line(f"skipped in CI: {', '.join(each.nodeid for each in skipped)}", red=True)
        terminalreporter._session.exitstatus = pytest.ExitCode.TESTS_FAILED


S = TypeVar("S")


def start(what: str, server: Callable[[], S]) -> S:
    """A server; where there can be none the test is skipped, but not in CI."""
    try:
        return server()
    except ModuleNotFoundError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"{what}: {error}")


def start_postgresql() -> Server:
    """A server of PostgreSQL."""
    return start("PostgreSQL", Server)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """The server that the tests of a session share, each with a database of its own."""
    server = start_postgresql()
    yield server
    server.stop()


@pytest.fixture
def postgresql_url(postgresql: Server) -> Iterator[str]:
    """The URL of an empty database on PostgreSQL."""
    url = postgresql.new_database()
    yield url
    postgresql.drop(url)


@pytest.fixture(scope="module")
def _database_of_schemas(postgresql: Server) -> Iterator[str]:
    url = postgresql.new_database()
    yield url
    postgresql.drop(url)


@pytest.fixture
def schema_url(_database_of_schemas: str) -> str:
    """The URL of an empty schema in a database that a module's tests share, which takes less time to make than a database."""
    name = f"test_{uuid4().hex}"
    execute(_database_of_schemas, f"CREATE SCHEMA {name}")
    return f"{_database_of_schemas}&options=-csearch_path%3D{name}"


@pytest.fixture(scope="session")
def rclone_server() -> Iterator[Rclone]:
    """The S3 server of rclone that the tests of a session share, each with a bucket of its own."""
    server = start("S3", Rclone)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def moto_server() -> Iterator[Moto]:
    """The S3 server of moto, likewise."""
    server = start("S3", Moto)
    yield server
    server.stop()


@pytest.fixture
def s3_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have boto3 find the tests' credentials, and nobody else's."""
    for name, value in boto3_environment().items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def rclone(rclone_server: Rclone, s3_environment: None) -> Rclone:
    """The server of rclone, with credentials in the environment."""
    return rclone_server


@pytest.fixture
def moto(moto_server: Moto, s3_environment: None) -> Moto:
    """The server of moto, likewise."""
    return moto_server


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of a database on SQLite that is not there yet."""
    return f"sqlite:///{tmp_path / 'gamearchive.db'}"


@pytest.fixture
def database_url(engine: str, request: pytest.FixtureRequest) -> str:
    """The URL of an empty database, on each engine in turn."""
    url: str = request.getfixturevalue(f"{engine}_url")
    return url


def _databases(engine: str, request: pytest.FixtureRequest) -> Iterator[Databases]:
    made = Databases(request.getfixturevalue("postgresql") if engine == "postgresql" else None)
    yield made
    made.close()


@pytest.fixture
def databases(engine: str, request: pytest.FixtureRequest) -> Iterator[Databases]:
    """The databases of a test's homes, on each engine in turn."""
    yield from _databases(engine, request)


@pytest.fixture(scope="module")
def shared_databases(engine: str, request: pytest.FixtureRequest) -> Iterator[Databases]:
    """The databases of homes that a module's tests share, on each engine in turn."""
    yield from _databases(engine, request)


@pytest.fixture
def either_engine(databases: Databases, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Settings that say nothing else are of the folder ``home`` and its database, on each engine in turn."""
    monkeypatch.setenv("GAMEARCHIVE_HOME", str(tmp_path / "home"))
    if not databases.are_files:
        monkeypatch.setenv("GAMEARCHIVE_DATABASE", databases.of(tmp_path / "home"))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A database with its tables, on each engine in turn."""
    made = Database(database_url)
    made.create()
    yield made
    made.close()


@pytest.fixture
def catalog(database: Database) -> Catalog:
    """An empty catalog, on each engine in turn."""
    return Catalog(database)
