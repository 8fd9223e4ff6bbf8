"""``query``: lists archived games."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from gamearchive.cli.context import Context
from gamearchive.cli.declaration import command, command_group
from gamearchive.cli.games import (
    FIELDS,
    Cursor,
    Ids,
    Limit,
    Order,
    Players,
    Since,
    Statuses,
    TagPairs,
    TimeField,
    TypeName,
    Until,
    game_columns,
    game_row,
    make_query,
)
from gamearchive.cli.options import option
from gamearchive.cli.output import Layout
from gamearchive.errors import UsageError

if TYPE_CHECKING:
    from gamearchive.query import ArchiveQuery

app = command_group()


@command(app, exits=(10, 15, 17), example="gamearchive query --since 7d --player Anna --sort completed")
def query(
    context: Context,
    since: Since = None,
    until: Until = None,
    time: TimeField = "archived",
    entity_type: TypeName = None,
    player: Players = None,
    status: Statuses = None,
    tag: TagPairs = None,
    id: Ids = None,  # noqa: A002 - the option's name
    sort: Order = None,
    limit: Limit = 100,
    cursor: Cursor = None,
    count: Annotated[bool, option("--count", help="Only say how many there are.")] = False,
    csv: Annotated[bool, option("--csv", help="Print comma-separated values.")] = False,
    ids: Annotated[bool, option("--ids", help="Print one id a line.")] = False,
) -> None:
    """List archived games, the latest first.

    Every option narrows the listing down. A page that is not the last says where the next one begins.
    """
    if csv and ids:
        raise UsageError("--csv and --ids exclude each other.", hint="Choose one of them.")
    asked = make_query(
        context.clock, since=since, until=until, time=time, entity_type=entity_type, players=player, statuses=status,
        tags=tag, ids=id, sort=sort, limit=limit, cursor=cursor,
    )  # fmt: skip
    layout = Layout.CSV if csv else Layout.IDS if ids else Layout.AUTO
    context.run(_count(context, asked) if count else _query(context, asked, layout))


async def _query(context: Context, asked: ArchiveQuery, layout: Layout) -> None:
    from gamearchive.manager import ArchiveManager

    found, next_cursor = 0, None
    async with ArchiveManager(context.settings, context.clock) as manager:
        columns = FIELDS if layout is Layout.CSV else game_columns(context.clock)
        with context.output.listing(columns, identity="entity_id", layout=layout) as add:
            async for page in manager.pages(asked):
                for entry in page.entries:
                    add(game_row(entry))
                found += len(page.entries)
                next_cursor = page.next_cursor
    more = f" More with --cursor {next_cursor}" if next_cursor else ""
    context.output.summary({"count": found, "next_cursor": next_cursor}, f"{found:,} games.{more}")


async def _count(context: Context, asked: ArchiveQuery) -> None:
    from gamearchive.manager import ArchiveManager

    async with ArchiveManager(context.settings, context.clock) as manager:
        found = await manager.count(asked)
    if context.options.json:
        context.output.summary({"count": found, "next_cursor": None}, "")
    else:
        context.output.text(str(found))
