"""``restore``: archived games to standard output, a file or a folder, byte for byte."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gamearchive.cli.context import Context
from gamearchive.cli.declaration import command, command_group
from gamearchive.cli.games import Players, Since, Statuses, TagPairs, TimeField, TypeName, Until, game_row, make_query
from gamearchive.cli.options import option
from gamearchive.errors import GameArchiveError, IntegrityError, NotFoundError, UsageError
from gamearchive.units import format_size

if TYPE_CHECKING:
    from gamearchive.manager import ArchiveManager
    from gamearchive.model import ArchiveEntry
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


@dataclass(slots=True)
class _Tally:
    """What became of the games. A game that was asked for alone and fails is the command's own error."""

    context: Context
    alone: bool
    restored: int = 0
    failed: int = 0
    raw_bytes: int = 0
    codes: set[int] = field(default_factory=set)

    def succeeded(self, entry: ArchiveEntry) -> None:
        self.restored += 1
        self.raw_bytes += entry.raw_bytes

    def fail(self, entity_id: str, error: GameArchiveError) -> None:
        if self.alone:
            raise error
        self.failed += 1
        self.codes.add(error.exit_code)
        self.context.output.problem({"code": error.code, "message": error.message, "entity_id": entity_id}, error.message)

    def end(self, where: str) -> int:
        """Tell the sums; the exit code, which is that of all failures where they have one in common."""
        sentence = f"Restored {self.restored:,} games ({format_size(self.raw_bytes)}){where}."
        if self.failed:
            sentence += f" {self.failed:,} failed."
        data = {"restored": self.restored, "failed": self.failed, "raw_bytes": self.raw_bytes}
        if where or self.failed or self.context.options.json:
            self.context.output.summary(data, sentence)
        return max(self.codes, default=0) if len(self.codes) < 2 else 3


async def _restore(
    context: Context, games: Sequence[str] | None, asked: ArchiveQuery, revision: int | None, output: str | None, *, force: bool
) -> int:
    from gamearchive.manager import ArchiveManager

    target = None if output in (None, "-") else Path(str(output))
    folder = target is not None and (str(output).endswith("/") or os.path.isdir(target))  # noqa: PTH112 - Path.is_dir raises
    tally = _Tally(context, alone=games is not None and len(games) == 1)
    async with ArchiveManager(context.settings, context.clock) as manager:
        chosen: list[ArchiveEntry] = []
        for game in games or ():
            try:
                chosen.append(await manager.get(game, asked.entity_type, revision))
            except NotFoundError as error:
                tally.fail(game, error)

        def entries() -> Iterator[ArchiveEntry]:
            return iter(chosen) if games else manager.core.catalog.every(asked)

        if target is None and context.options.json:
            await _print_json(context, manager, entries(), tally)
            return tally.end("")
        with context.output.progress("Restoring", unit="games") as report:
            async for done in manager.restore(entries, output=target, folder=folder, force=force, write=context.output.payload):
                if done.error is not None:
                    tally.fail(done.entry.entity_id, done.error)
                else:
                    tally.succeeded(done.entry)
                    if context.options.json:
                        context.output.item({**game_row(done.entry), "path": str(done.path)})
                report(tally.restored + tally.failed, None)
    return tally.end("" if target is None else f" to {target}")


async def _print_json(context: Context, manager: ArchiveManager, entries: Iterator[ArchiveEntry], tally: _Tally) -> None:
    """Games as lines of JSON, their bytes as text where they are UTF-8, else in base64."""
    from base64 import b64encode

    for entry in entries:
        try:
            data = await manager.read(entry)
        except IntegrityError as error:
            tally.fail(entry.entity_id, error)
            continue
        try:
            payload = {"payload": data.decode()}
        except UnicodeDecodeError:
            payload = {"payload_base64": b64encode(data).decode()}
        context.output.item({**game_row(entry), **payload})
        tally.succeeded(entry)
