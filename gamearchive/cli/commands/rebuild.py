"""``rebuild``: the catalog anew, from the packs alone."""

from __future__ import annotations

from typing import Annotated

from gamearchive.cli.context import Context
from gamearchive.cli.declaration import command, command_group
from gamearchive.cli.options import option
from gamearchive.cli.parts import counted_games
from gamearchive.units import format_count

app = command_group()


@command(app, exits=(3, 10, 11, 14, 15, 17, 18), example="gamearchive rebuild --yes")
def rebuild(
    context: Context,
    yes: Annotated[bool, option("-y", "--yes", help="Write over a catalog that is there, without asking.")] = False,
    dry_run: Annotated[
        bool, option("-n", "--dry-run", help="Only read the packs, and say what would be in the catalog.")
    ] = False,
    force: Annotated[
        bool, option("--force", help="Go on though there are fewer games in the packs than in the catalog.")
    ] = False,
) -> int:
    """Make the catalog anew from the packs.

    For when it is lost or damaged, or belongs to another storage. The packs stay as they are. With SQLite the old catalog stays
    in use until the new one is complete, and a damaged one is kept beside it. A game that lies in two packs is taken from the
    one that it can be read from; one that can be read from none is marked as lost.
    """
    return context.run(_rebuild(context, yes=yes, dry_run=dry_run, force=force), finishes_batch=True)


async def _rebuild(context: Context, *, yes: bool, dry_run: bool, force: bool) -> int:
    from gamearchive.administration import Administration
    from gamearchive.operations.rebuild import SetAside

    packs = games = records = failed = lost = idle = 0
    kept = ""
    async with Administration(context.settings, context.clock) as manager:
        if not dry_run and not yes and await manager.has_catalog():
            context.confirm(f"Write over the catalog in {manager.database.name}?", flag="--yes")
        with context.output.progress("Rebuilding", unit="games") as report:
            async for done in manager.rebuild(dry_run=dry_run, force=force, stopping=context.stopping.is_set):
                if isinstance(done, SetAside):
                    kept = f" The damaged catalog is kept as {done.path}."
                    continue
                if done.error is not None:
                    failed += 1
                    error = done.error
                    context.output.problem({"code": error.code, "message": error.message, "pack": done.pack}, error.message)
                else:
                    packs += 1
                    games += done.games
                    records += done.records
                    lost += done.lost
                    idle += not done.records
                    if context.options.json:
                        context.output.item({"pack": done.pack, "records": done.records})
                report(games, None)
    parts = [
        f"{'Would take' if dry_run else 'Took'} {counted_games(games, records)} from {format_count(packs - idle, 'pack')}."
    ]
    if idle:
        parts.append(f"{format_count(idle, 'more pack')} {'hold' if idle > 1 else 'holds'} nothing that these do not.")
    if failed:
        parts.append(f"{format_count(failed, 'pack')} cannot be read.")
    if lost:
        parts.append(f"{counted_games(lost, lost)} cannot be read: see `gamearchive verify`.")
    context.output.summary({"packs": packs, "records": records, "failed": failed}, " ".join(parts) + kept)
    return 3 if failed or lost else 0
