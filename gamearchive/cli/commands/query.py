"""``query``: lists archived games."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from gamearchive.cli.context import Context
from gamearchive.cli.declaration import command, command_group
from gamearchive.cli.games import FIELDS, Chosen, game_columns, game_row
from gamearchive.cli.options import option
from gamearchive.cli.output import Layout
from gamearchive.errors import UsageError
from gamearchive.units import format_count

if TYPE_CHECKING:
    from gamearchive.query import ArchiveQuery

app = command_group()


@command(app, exits=(10, 15, 17), example="gamearchive query --since 7d --player Anna --sort completed")
def query(
    context: Context,
    chosen: Chosen,
    id: Annotated[  # noqa: A002 - the option's name
        list[str] | None, option("--id", metavar="ID", help="The game of this id; repeat: or that.")
    ] = None,
    sort: Annotated[
        str | None,
        option("--sort", metavar="FIELD[:asc]", help="archived, completed or created; newest first, or :asc for oldest."),
    ] = None,
    limit: Annotated[int, option("--limit", metavar="N", minimum=0, help="At most so many games; 0 for all.")] = 100,
    cursor: Annotated[
        str | None, option("--cursor", metavar="CURSOR", help="Go on where a page ended: its next_cursor.")
    ] = None,
    count: Annotated[bool, option("--count", help="Only say how many there are.")] = False,
    csv: Annotated[bool, option("--csv", help="Print comma-separated values.")] = False,
    ids: Annotated[bool, option("--ids", help="Print one id a line.")] = False,
) -> None:
    """List archived games, the latest first.

    Every option narrows the listing down. A page that is not the last says where the next one begins.
    """
    forms = {"--count": count, "--csv": csv, "--ids": ids, "--json": context.options.json and not count}
    given = [name for name, wanted in forms.items() if wanted]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} exclude each other.", hint="Choose one of them.")
    asked = chosen.query(context.clock, ids=id, sort=sort, limit=limit, cursor=cursor)
    layout = Layout.CSV if csv else Layout.IDS if ids else Layout.AUTO
    context.run(_count(context, asked) if count else _query(context, asked, layout))


async def _query(context: Context, asked: ArchiveQuery, layout: Layout) -> None:
    from gamearchive.administration import Administration

    found, next_cursor = 0, None
    async with Administration(context.settings, context.clock) as manager:
        outlooks = await manager.retention.outlooks()
        columns = FIELDS if layout is Layout.CSV else game_columns(context.clock)
        with context.output.listing(columns, identity="entity_id", layout=layout) as add:
            async for page in manager.pages(asked):
                for entry in page.entries:
                    add(game_row(entry, manager.storage.tier_of(entry), outlooks.of(entry)))
                found += len(page.entries)
                next_cursor = page.next_cursor
    more = f" More with --cursor {next_cursor}" if next_cursor else ""
    context.output.summary({"count": found, "next_cursor": next_cursor}, f"{format_count(found, 'game')}.{more}")


async def _count(context: Context, asked: ArchiveQuery) -> None:
    from gamearchive.administration import Administration

    async with Administration(context.settings, context.clock) as manager:
        found = await manager.count(asked)
    if context.options.json:
        context.output.summary({"count": found, "next_cursor": None}, "")
    else:
        context.output.text(str(found))
