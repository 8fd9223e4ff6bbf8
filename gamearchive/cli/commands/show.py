"""``show``: everything known about one game, without its payload."""

from __future__ import annotations

from typing import Annotated

from gamearchive.cli.context import Context
from gamearchive.cli.declaration import command, command_group
from gamearchive.cli.games import GameId, TypeName, game_row, instant, size
from gamearchive.cli.options import option
from gamearchive.cli.parts import Column, Fields, Row, Table

app = command_group()

_REVISIONS = (
    Column("revision", "revision", right=True),
    Column("archived_at", "archived"),
    Column("raw_bytes", "size", show=size, right=True),
    Column("checksum", "checksum"),
    Column("location", "location"),
)


@command(app, exits=(10, 12, 15, 17), example="gamearchive show game-123")
def show(
    context: Context,
    game: GameId,
    entity_type: TypeName = None,
    revision: Annotated[
        int | None, option("--revision", metavar="N", minimum=1, help="Not the latest revision, but this.")
    ] = None,
) -> None:
    """Show everything known about one game.

    Its facts, how it came into the archive, where its bytes lie, and its revisions.
    """
    context.run(_show(context, game, entity_type, revision))


async def _show(context: Context, game: str, entity_type: str | None, revision: int | None) -> None:
    from gamearchive.administration import Administration

    async with Administration(context.settings, context.clock) as manager:
        entry = await manager.get(game, entity_type, revision)
        revisions = await manager.revisions(entry)
        damage = await manager.damage(entry)
        tier = manager.storage.tier_of(entry)
        outlooks = await manager.retention.outlooks()
    rows: list[Row] = [
        {
            "revision": each.revision,
            "archived_at": instant(each.provenance.archived_at),
            "raw_bytes": each.raw_bytes,
            "checksum": each.checksum.hex(),
            "location": each.location,
        }
        for each in revisions
    ]
    row = game_row(entry, tier, outlooks.of(entry))
    shown = {**row, "damage": damage} if damage else row
    history = [Table(_REVISIONS, rows, title="Revisions")] if len(rows) > 1 else []
    context.output.document({**row, "damage": damage, "revisions": rows}, Fields(shown), *history)
