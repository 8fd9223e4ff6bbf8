"""The steps from version to version of the tables, in Alembic; imported only where a database is older than the program.

A new database is made at once, from `database.schema`. A test holds that the steps, one after another, come to the same.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

STEPS = Path(__file__).parent
"""The folder of ``env.py`` and of ``versions``."""


def upgrade(connection: Connection) -> None:
    """Take the tables from the version that they are of to the newest, in a transaction of the caller's."""
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(STEPS).replace("%", "%%"))
    command.upgrade(config, "head")
