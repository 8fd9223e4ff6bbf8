"""``config``: every setting with where it comes from, and whether all is well with them."""

from __future__ import annotations

from gamearchive.cli.context import Context
from gamearchive.cli.declaration import command, command_group
from gamearchive.cli.parts import Column, Fields, Row, Table

app = command_group("config", help="Shows and checks the settings.", example="gamearchive config show")

_COLUMNS = (Column("key", "setting"), Column("value", "value"), Column("source", "from"))


@command(app, example="gamearchive config show --home /var/lib/games")
def show(context: Context) -> None:
    """Show every setting, and where it comes from: a flag, the environment, the file, or the default.

    Passwords and other secrets are masked.
    """
    settings = context.settings
    rows: list[Row] = [{"key": key, "value": value, "source": settings.sources[key]} for key, value in settings.shown().items()]
    by_key: Row = {str(row["key"]): {"value": row["value"], "source": row["source"]} for row in rows}
    file = None if settings.file is None else str(settings.file)
    context.output.document({"file": file, "settings": by_key}, Table(_COLUMNS, rows))


@command(app, example="gamearchive config check --config new.toml")
def check(context: Context) -> None:
    """Check that the settings can be used: read them all, make sense of the URLs of database and storage, of the policies,
    and of the rules of retention.

    Nothing is opened or connected to, but for the key file.
    """
    from gamearchive.backends.registry import open_holdings
    from gamearchive.database.engine import Database
    from gamearchive.keyring import load_keyring
    from gamearchive.policy import policies_from
    from gamearchive.retention import rules_from

    settings = context.settings
    Database(settings.database)
    keyring = load_keyring(settings.encryption_key_file)
    composite = settings.composite
    open_holdings(settings.storage, level=settings.compression_level, keyring=keyring, composite=composite).close()
    rules_from(settings.retention, policies_from(settings.policies))
    file = None if settings.file is None else str(settings.file)
    context.output.document({"ok": True, "file": file}, Fields({"ok": file or "no settings file; the defaults apply"}))
