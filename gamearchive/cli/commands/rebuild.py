"""``rebuild``: the catalog anew, from the packs alone."""

from __future__ import annotations

from typing import Annotated

from gamearchive.cli.context import Context
from gamearchive.cli.declaration import command, command_group
from gamearchive.cli.options import option

app = command_group()


@command(app, exits=(3, 10, 11, 15, 18), example="gamearchive rebuild --yes")
def rebuild(
    context: Context,
    yes: Annotated[bool, option("-y", "--yes", help="Write over a catalog that is there, without asking.")] = False,
    dry_run: Annotated[
        bool, option("-n", "--dry-run", help="Only read the packs, and say what would be in the catalog.")
    ] = False,
) -> int:
    """Make the catalog anew from the packs.

    For when it is lost or damaged. The packs stay as they are. With SQLite the old catalog stays in use until the new one is
    complete.
    """
    return context.run(_rebuild(context, yes=yes, dry_run=dry_run))


async def _rebuild(context: Context, *, yes: bool, dry_run: bool) -> int:
    from gamearchive.manager import ArchiveManager

    packs = records = failed = 0
    async with ArchiveManager(context.settings, context.clock) as manager:
        if not dry_run and not yes and await manager.has_catalog():
            context.confirm(f"Write over the catalog in {manager.database.name}?", flag="--yes")
        with context.output.progress("Rebuilding", unit="games") as report:
            async for done in manager.rebuild(dry_run=dry_run):
                if done.error is None:
                    packs += 1
                    records += done.records
                    if context.options.json:
                        context.output.item({"pack": done.pack, "records": done.records})
                else:
                    failed += 1
                    error = done.error
                    context.output.problem({"code": error.code, "message": error.message, "pack": done.pack}, error.message)
                report(records, None)
    verb = "Would take" if dry_run else "Took"
    sentence = f"{verb} {records:,} games from {packs:,} packs." + (f" {failed:,} packs cannot be read." if failed else "")
    context.output.summary({"packs": packs, "records": records, "failed": failed}, sentence)
    return 3 if failed else 0
