"""``restore``: archived games to standard output, a file or a folder, byte for byte."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gamearchive.cli.context import Context
from gamearchive.cli.declaration import command, command_group
from gamearchive.cli.games import Players, Since, Statuses, TagPairs, TimeField, TypeName, Until, game_row, make_query
from gamearchive.cli.options import option
from gamearchive.errors import NotFoundError, UsageError
from gamearchive.units import format_size

if TYPE_CHECKING:
    from gamearchive.manager import ArchiveManager
    from gamearchive.model import ArchiveEntry
    from gamearchive.operations.restore import Restored
    from gamearchive.query import ArchiveQuery

app = command_group()


@command(app, exits=(3, 10, 12, 13, 14, 15, 17), example="gamearchive restore --player Anna --output games/")
def restore(
    context: Context,
    games: Annotated[list[str] | None, typer.Argument(metavar="ID", help="The games' ids.", show_default=False)] = None,
    output: Annotated[
        str | None,
        option("-o", "--output", metavar="FILE|DIR/|-", help="A file, a folder (existing, or ending in /), or - for stdout."),
    ] = None,
    force: Annotated[bool, option("--force", help="Write over files that are there.")] = False,
    revision: Annotated[
        int | None, option("--revision", metavar="N", minimum=1, help="Not the latest revision, but this.")
    ] = None,
    since: Since = None,
    until: Until = None,
    time: TimeField = "archived",
    entity_type: TypeName = None,
    player: Players = None,
    status: Statuses = None,
    tag: TagPairs = None,
) -> int:
    """Restore games, byte for byte.

    By their ids, or all that the options choose: to standard output, to a folder with one file a game, or to one file,
    *.ndjson or *.pgn, compressed if .zst follows. Nothing is written over without --force, and a file appears whole or not at
    all.
    """
    narrowed = any((since, until, player, status, tag))
    if not games and not narrowed and entity_type is None:
        raise UsageError(
            "Nothing says which games to restore.", hint="Give ids, or options such as --player NAME or --since 7d."
        )
    if games and narrowed:
        raise UsageError("Ids and options that choose games exclude each other.", hint="Leave one of them out.")
    asked = make_query(
        context.clock, since=since, until=until, time=time, entity_type=entity_type, players=player, statuses=status,
        tags=tag, ids=None,
    )  # fmt: skip
    return context.run(_restore(context, games, asked, revision, output, force=force))


async def _restore(
    context: Context, games: Sequence[str] | None, asked: ArchiveQuery, revision: int | None, output: str | None, *, force: bool
) -> int:
    from gamearchive.manager import ArchiveManager

    target = None if output in (None, "-") else Path(str(output))
    folder = target is not None and (str(output).endswith("/") or target.is_dir())
    restored = failed = raw_bytes = 0
    code = 3
    async with ArchiveManager(context.settings, context.clock) as manager:
        chosen: list[ArchiveEntry] = []
        for game in games or ():
            try:
                chosen.append(await manager.get(game, asked.entity_type, revision))
            except NotFoundError as error:
                if len(games or ()) == 1:
                    raise
                failed += 1
                code = 12
                context.output.problem({"code": error.code, "message": error.message, "entity_id": game}, error.message)

        def entries() -> Iterator[ArchiveEntry]:
            return iter(chosen) if games else manager.core.catalog.every(asked)

        if target is None and context.options.json:
            return await _print_json(context, manager, entries(), failed)
        with context.output.progress("Restoring", unit="games") as report:
            async for done in manager.restore(entries, output=target, folder=folder, force=force, write=context.output.payload):
                if done.error is None:
                    restored += 1
                    raw_bytes += done.entry.raw_bytes
                    if target is not None and context.options.json:
                        context.output.item({**game_row(done.entry), "path": str(done.path)})
                else:
                    failed += 1
                    code = 3 if restored else done.error.exit_code
                    _tell_failure(context, done)
                report(restored + failed, None)
    where = "" if target is None else f" to {target}"
    sentence = f"Restored {restored:,} games ({format_size(raw_bytes)}){where}." + (f" {failed:,} failed." if failed else "")
    if target is not None or failed:
        context.output.summary({"restored": restored, "failed": failed, "raw_bytes": raw_bytes}, sentence)
    return code if failed else 0


def _tell_failure(context: Context, done: Restored) -> None:
    if done.error is not None:
        data = {"code": done.error.code, "message": done.error.message, "entity_id": done.entry.entity_id}
        context.output.problem(data, done.error.message)


async def _print_json(context: Context, manager: ArchiveManager, entries: Iterator[ArchiveEntry], failed: int) -> int:
    """Games as lines of JSON, their bytes as text where they are UTF-8, else in base64."""
    from base64 import b64encode

    restored = raw_bytes = 0
    for entry in entries:
        data = await manager.read(entry)
        try:
            payload = {"payload": data.decode()}
        except UnicodeDecodeError:
            payload = {"payload_base64": b64encode(data).decode()}
        context.output.item({**game_row(entry), **payload})
        restored += 1
        raw_bytes += entry.raw_bytes
    context.output.summary({"restored": restored, "failed": failed, "raw_bytes": raw_bytes}, "")
    return 12 if failed else 0
