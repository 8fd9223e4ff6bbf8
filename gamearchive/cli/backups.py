"""What the commands about backups have in common: where these are, and which of them is meant."""

from __future__ import annotations

from typing import Annotated

import typer

from gamearchive.cli.context import Context
from gamearchive.cli.options import option
from gamearchive.errors import UsageError

Destination = Annotated[
    str | None,
    typer.Argument(
        metavar="DEST", help="A folder, or a URL such as s3://bucket/prefix; the settings' if unset.", show_default=False
    ),
]
At = Annotated[str | None, option("--at", metavar="TIME", help="The latest backup that was made not after then.")]


def place_of(context: Context, destination: str | None) -> str:
    """Where the backups are.

    Raises:
        UsageError: if neither the command line nor the settings say it.
    """
    place = destination or context.settings.backup_destination
    if place is None:
        raise UsageError(
            "Nothing says where the backups are.",
            hint="Name a folder, or a URL such as s3://bucket/prefix; or set `backup.destination` in gamearchive.toml.",
        )
    return place
