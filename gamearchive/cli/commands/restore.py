"""``restore``: archived games to standard output, a file or a folder, byte for byte."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gamearchive.cli.context import Context
from gamearchive.cli.declaration import command, command_group
from gamearchive.cli.games import Chosen, game_row
from gamearchive.cli.options import option
from gamearchive.cli.parts import Row
from gamearchive.errors import GameArchiveError, IntegrityError, NotFoundError, ThawingError, UsageError
from gamearchive.units import format_count, format_size

if TYPE_CHECKING:
    from gamearchive.administration import Administration
    from gamearchive.model import ArchiveEntry
    from gamearchive.operations.restore import Restored
    from gamearchive.prospects import Outlooks
    from gamearchive.query import ArchiveQuery

THAW_DAYS = 7
FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS = 1.0, 300.0
"""How long to wait before what is being brought back is looked at again: ever longer, for it takes hours."""

app = command_group()


@command(app, exits=(3, 10, 12, 13, 14, 15, 17), example="gamearchive restore --player Anna --output games/")
def restore(
    context: Context,
    chosen: Chosen,
    games: Annotated[list[str] | None, typer.Argument(metavar="ID", help="The games' ids.", show_default=False)] = None,
    output: Annotated[
        str | None,
        option("-o", "--output", metavar="FILE|DIR/|-", help="A file, a folder (existing, or ending in /), or - for stdout."),
    ] = None,
    force: Annotated[bool, option("--force", help="Write over files that are there.")] = False,
    revision: Annotated[
        int | None, option("--revision", metavar="N", minimum=1, help="Not the latest revision, but this.")
    ] = None,
    thaw: Annotated[
        bool, option("--thaw", help="Have packs brought back that lie where they cannot be read at once, such as in GLACIER.")
    ] = False,
    thaw_days: Annotated[
        int | None,
        option("--thaw-days", metavar="N", minimum=1, help="How long they are to stay where they can be read; 7 if unset."),
    ] = None,
    wait: Annotated[bool, option("--wait", help="When thawing, wait until they can be read, be it for hours.")] = False,
) -> int:
    """Restore games, byte for byte.

    By their ids, or all that the options choose: to standard output, to a folder with one file a game, or to one file,
    *.ndjson or *.pgn; compressed where the name ends in .zst or .gz. Nothing is written over without --force, and a file
    appears whole or not at all.
    """
    narrowed = any((chosen.since, chosen.until, chosen.player, chosen.status, chosen.tag))
    if not games and not narrowed and chosen.entity_type is None:
        raise UsageError(
            "Nothing says which games to restore.", hint="Give ids, or options such as --player NAME or --since 7d."
        )
    if games and narrowed:
        raise UsageError("Ids and options that choose games exclude each other.", hint="Leave one of them out.")
    if revision is not None and not games:
        raise UsageError("A revision is one game's.", hint="Give the game's id with --revision.")
    if not thaw and (wait or thaw_days is not None):
        raise UsageError("--wait and --thaw-days go with --thaw.", hint="Add --thaw.")
    days = (thaw_days or THAW_DAYS) if thaw else None
    asked = chosen.query(context.clock)
    work = _restore(context, games, asked, revision, output, force=force, thaw_days=days, wait=wait)
    return context.run(work, finishes_batch=True)


@dataclass(slots=True)
class _Tally:
    """What became of the games. A game that was asked for alone and fails is the command's own error."""

    context: Context
    alone: bool
    restored: int = 0
    failed: int = 0
    raw_bytes: int = 0
    folded: int = 0
    codes: set[int] = field(default_factory=set)
    outlooks: Outlooks | None = None

    def add(self, done: Restored, target: Path | None) -> None:
        """Take in what became of a game that was to go to a file, a folder or, as None, standard output."""
        if done.error is not None:
            self.fail(done.entry.entity_id, done.error)
            return
        self.succeed(done.entry)
        self.folded += done.folded
        path = target if done.path is None else done.path
        if self.context.options.json:
            self.context.output.item({**self.row(done.entry), "path": str(path)})
        self.context.output.detail(f"Wrote {done.entry.entity_id} to {path or 'standard output'}.")

    def row(self, entry: ArchiveEntry) -> Row:
        """A game as every listing has it."""
        return game_row(entry, outlook=None if self.outlooks is None else self.outlooks.of(entry))

    def succeed(self, entry: ArchiveEntry) -> None:
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
        if self.folded:
            games = format_count(self.folded, "game")
            message = f"{games} of several lines went onto one line each; in a folder they stay as they are, byte for byte."
            self.context.output.problem({"code": "folded", "message": message, "games": self.folded}, message)
        data = {"restored": self.restored, "failed": self.failed, "raw_bytes": self.raw_bytes}
        if where or self.failed or self.context.stopping.is_set() or self.context.options.json:
            self.context.output.summary(data, self._sentence(where))
        return max(self.codes, default=0) if len(self.codes) < 2 else 3

    def _sentence(self, where: str) -> str:
        stopped = self.context.stopping.is_set()
        if not self.restored and not self.failed:
            return f"Stopped: nothing was written{where}." if stopped else "Restored nothing: no game was found."
        games = f"{format_count(self.restored, 'game')} ({format_size(self.raw_bytes)})"
        sentence = f"{'Stopped: restored' if stopped else 'Restored'} {games}{where}."
        if self.failed:
            sentence += f" {self.failed:,} failed."
        return sentence


async def _restore(
    context: Context,
    games: Sequence[str] | None,
    asked: ArchiveQuery,
    revision: int | None,
    output: str | None,
    *,
    force: bool,
    thaw_days: int | None,
    wait: bool,
) -> int:
    from gamearchive import files
    from gamearchive.administration import Administration

    target = None if output in (None, "-") else Path(str(output))
    folder = target is not None and (str(output).endswith("/") or os.path.isdir(target))  # noqa: PTH112 - Path.is_dir raises
    tally = _Tally(context, alone=games is not None and len(games) == 1)
    async with Administration(context.settings, context.clock) as manager:
        tally.outlooks = await manager.retention.outlooks()
        entries = await _chosen(manager, games, asked, revision, tally)
        if thaw_days is not None:
            await _thaw(context, manager, entries, thaw_days, wait=wait)
        if target is None and context.options.json:
            await _print_json(context, manager, _until_stopped(context, entries, whole=False), tally)
            return tally.end("")
        with ExitStack() as stack:
            report = stack.enter_context(context.output.progress("Restoring", unit="games"))
            path = target
            write: Callable[[bytes], object] = context.output.payload
            if target is not None and files.is_special(target):
                path, write = None, stack.enter_context(files.special_writer(target)).write
            whole = path is not None and not folder
            wanted = partial(_until_stopped, context, entries, whole=whole)
            try:
                async for done in manager.restore(wanted, output=path, folder=folder, force=force, write=write):
                    tally.add(done, target)
                    report(tally.restored + tally.failed, None)
            except _StoppedError:
                tally.restored = tally.raw_bytes = tally.folded = 0
    return tally.end("" if target is None else f" to {target}")


async def _chosen(
    manager: Administration, games: Sequence[str] | None, asked: ArchiveQuery, revision: int | None, tally: _Tally
) -> Callable[[], Iterator[ArchiveEntry]]:
    """What gives the games: those of the ids that are there, or all that the query matches."""
    if not games:
        return lambda: manager.core.catalog.every(asked)
    found: list[ArchiveEntry] = []
    for game in games:
        try:
            found.append(await manager.get(game, asked.entity_type, revision))
        except NotFoundError as error:
            tally.fail(game, error)
    return lambda: iter(found)


async def _thaw(
    context: Context, manager: Administration, entries: Callable[[], Iterator[ArchiveEntry]], days: int, *, wait: bool
) -> None:
    """Have the games brought to where they can be read.

    Raises:
        ThawingError: if they cannot be yet, and nobody wants to wait.
    """
    import asyncio

    pause, told = FIRST_PAUSE_SECONDS, False
    with context.output.progress("Bringing back", unit="objects") as report:
        async for thawing in manager.storage.thaw(entries, days):
            cold = len(thawing.cold)
            takes = " or ".join(sorted(set(thawing.cold.values())))
            message = f"{cold:,} of {format_count(thawing.needed, 'object')} that these games need can be read in {takes}."
            if not wait:
                raise ThawingError(message, hint="They were asked for. Run the same command again then, or add --wait.")
            if not told:
                context.output.problem({"code": ThawingError.code, "message": message, "objects": cold}, message)
            told = True
            report(thawing.needed - cold, (thawing.needed - cold) / thawing.needed)
            if await asyncio.to_thread(context.stopping.wait, pause):
                return
            pause = min(pause * 2, LAST_PAUSE_SECONDS)


class _StoppedError(Exception):
    """A file of many games must not appear with some of them."""


def _until_stopped(context: Context, entries: Callable[[], Iterator[ArchiveEntry]], *, whole: bool) -> Iterator[ArchiveEntry]:
    for entry in entries():
        if context.stopping.is_set():
            if whole:
                raise _StoppedError
            return
        yield entry


async def _print_json(context: Context, manager: Administration, entries: Iterator[ArchiveEntry], tally: _Tally) -> None:
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
        context.output.item({**tally.row(entry), **payload})
        tally.succeed(entry)
