"""The migrations make, step by step, what a new database is made as at once; and nothing imports them needlessly."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from catalog_samples import add, entry
from journaling import journal, recovered, snapshot
from sqlalchemy import text

from gamearchive.catalog import Catalog
from gamearchive.database import engine, migrations
from gamearchive.database.engine import Database
from gamearchive.database.schema import REVISION, versions
from gamearchive.errors import SchemaError
from gamearchive.query import ArchiveQuery


def structure(database: Database) -> dict[str, str]:
    """All that a database is made of, by name, in its own words."""
    if database.path is not None:
        said = "SELECT type || ' ' || name, coalesce(sql, '') FROM sqlite_master"
    else:
        said = """
            SELECT 'column ' || table_name || '.' || column_name,
                   concat_ws(' ', ordinal_position, data_type, udt_name, is_nullable, column_default, collation_name,
                             character_maximum_length)
            FROM information_schema.columns WHERE table_schema = 'public'
            UNION ALL SELECT 'storage ' || attrelid::regclass || '.' || attname, attstorage::text
            FROM pg_attribute WHERE attrelid::regclass::text IN (SELECT tablename FROM pg_tables WHERE schemaname = 'public')
            UNION ALL SELECT 'index ' || indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
            UNION ALL SELECT 'constraint ' || conrelid::regclass || ' ' || conname, pg_get_constraintdef(oid)
            FROM pg_constraint WHERE connamespace = 'public'::regnamespace"""
    with database.engine.connect() as connection:
        rows = connection.execute(text(said)).all()
    return {row[0]: re.sub(r"\s+", " ", row[1]).strip() for row in rows}


@pytest.fixture
def empty(database_url: str) -> Iterator[Database]:
    made = Database(database_url)
    yield made
    made.close()


def test_the_steps_come_to_what_is_made_at_once(empty: Database, request: pytest.FixtureRequest, tmp_path: Path):
    with empty.engine.begin() as connection:
        migrations.upgrade(connection)
    with empty.read() as connection:
        assert connection.execute(versions.select()).all() == [(REVISION,)]
    step_by_step = structure(empty)
    with empty.anew() as fresh:
        at_once = structure(fresh)
    assert step_by_step == at_once
    assert len(at_once) > 20
    assert any("entry_players" in name or "ix_entries_players" in name for name in at_once)


def test_an_archive_of_the_first_release_is_upgraded_with_its_games(
    empty: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
):
    config = Config()
    config.set_main_option("script_location", str(migrations.STEPS))
    with empty.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    with monkeypatch.context() as earlier:
        earlier.setattr(engine, "REVISION", "0001")
        older = Database(database_url)
        add(Catalog(older), entry("a"), entry("b"))
        older.close()
    with pytest.raises(SchemaError, match="is of version 0001, and this program reads version"):
        empty.check()
    assert "table snapshots" not in structure(empty)
    with journal(database_url) as kept:
        kept.flush([snapshot("c")])
        assert list(recovered(kept)) == ["c"]
    assert [found.entity_id for found in Catalog(empty).find(ArchiveQuery(ascending=True)).entries] == ["a", "b"]
    upgraded = structure(empty)
    with empty.anew() as fresh:
        assert structure(fresh) == upgraded


@pytest.fixture
def newer_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A program that has one step more than this one."""
    steps = tmp_path / "steps"
    shutil.copytree(migrations.STEPS, steps)
    (steps / "versions" / "revision_9999.py").write_text(
        f'from alembic import op\nrevision = "9999"\ndown_revision = "{REVISION}"\n\n'
        'def upgrade() -> None:\n    op.execute("CREATE TABLE of_the_future (id INTEGER)")\n'
    )
    monkeypatch.setattr(migrations, "STEPS", steps)
    monkeypatch.setattr(engine, "REVISION", "9999")


@pytest.mark.usefixtures("newer_program")
def test_an_older_database_is_upgraded_by_who_writes_and_refused_to_who_reads(
    database_url: str, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as earlier:
        earlier.setattr(engine, "REVISION", REVISION)
        database = Database(database_url)
        database.create()
        add(Catalog(database), entry("a"))
        database.close()
    reader, writer = Database(database_url), Database(database_url)
    with pytest.raises(SchemaError, match=f"is of version {REVISION}, and this program reads version 9999") as caught:
        reader.check()
    assert "Any command that writes upgrades it" in caught.value.hint
    writer.create()
    assert any("of_the_future" in name for name in structure(writer))
    assert Catalog(reader).get("a") is not None
    writer.close()
    reader.close()


def test_a_newer_database_is_refused_to_all(database: Database, database_url: str):
    with database.write() as connection:
        connection.execute(versions.update().values(version_num="9999"))
    late = Database(database_url)
    for ask in (late.check, late.create):
        with pytest.raises(SchemaError, match=f"is of version 9999, and this program reads version {REVISION}") as caught:
            ask()
        assert caught.value.hint == SchemaError.default_hint
    late.close()


def test_alembic_is_not_imported_where_nothing_is_upgraded(database_url: str):
    code = f"""
import sys
from gamearchive.catalog import Catalog
from gamearchive.database.engine import Database
database = Database({database_url!r})
database.create()
assert Catalog(database).get("a") is None
database.close()
sys.exit("alembic" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_step_is_part_of_the_package():
    steps = resources.files("gamearchive.database.migrations") / "versions"
    names = sorted(step.name for step in steps.iterdir() if step.name.startswith("revision_"))
    assert names[-1] == f"revision_{REVISION}.py"
