"""``archive``: games from files, folders and standard input into the archive."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, BinaryIO, Literal

import typer

from gamearchive.cli.context import Context
from gamearchive.cli.declaration import command, command_group
from gamearchive.cli.games import game_row, parse_tags
from gamearchive.cli.options import option
from gamearchive.errors import UsageError
from gamearchive.settings import FACTS
from gamearchive.units import format_size

if TYPE_CHECKING:
    from gamearchive.model import Rejection
    from gamearchive.operations.ingest import Ingested
    from gamearchive.readers import ReadOptions

app = command_group()


@command(app, exits=(3, 10, 11, 14, 15, 17), example="gamearchive archive games/ --type chess --tag season=2025")
def archive(
    context: Context,
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE", help="Files, folders, or - for standard input.")],
    entity_type: Annotated[str, option("--type", metavar="TYPE", help="What type of game they are.")] = "game",
    format: Annotated[  # noqa: A002 - the option's name
        str | None, option("--format", metavar="NAME", help="The format: json, pgn, opaque, or a reader installed beside.")
    ] = None,
    id: Annotated[str | None, option("--id", metavar="POINTER", help="Where a game's id is: /meta/matchId.")] = None,  # noqa: A002
    players: Annotated[str | None, option("--players", metavar="POINTER", help="Where the players are: /seats/*/name.")] = None,
    winner: Annotated[str | None, option("--winner", metavar="POINTER", help="Where the winner is.")] = None,
    status: Annotated[str | None, option("--status", metavar="POINTER", help="Where the status is.")] = None,
    created_at: Annotated[str | None, option("--created-at", metavar="POINTER", help="Where the time of its start is.")] = None,
    completed_at: Annotated[
        str | None, option("--completed-at", metavar="POINTER", help="Where the time of its end is.")
    ] = None,
    tag: Annotated[list[str] | None, option("--tag", metavar="K=V", help="A tag for every game; repeat for more.")] = None,
    on_conflict: Annotated[
        Literal["skip", "replace", "keep-both"],
        option(
            "--on-conflict",
            metavar="skip|replace|keep-both",
            help="An id that is archived with other bytes: leave it, make the new one its next revision, or keep both.",
        ),
    ] = "replace",
    max_record: Annotated[
        str | None, option("--max-record", metavar="SIZE", help="Reject larger games than this.", read_variable=False)
    ] = None,
    rejects: Annotated[
        str | None, option("--rejects", metavar="FILE", help="Write what was rejected, and why, as JSON lines.")
    ] = None,
    dry_run: Annotated[bool, option("-n", "--dry-run", help="Only say what would be done.")] = False,
) -> int:
    """Archive games from files, folders or stdin.

    Folders with all below them. JSON, JSON lines, PGN and anything else, also as .gz, .zst, .bz2 and .xz. What is archived
    already is passed over, so that a run that was interrupted is simply run again. A record that cannot be archived is named,
    and the rest goes on.
    """
    from gamearchive.facts import FactRules
    from gamearchive.model import check_type
    from gamearchive.readers import ReadOptions

    context.set_flags(max_record=max_record)
    pointers = dict(context.settings.facts_of(check_type(entity_type)))
    given = zip(FACTS, (id, players, winner, status, created_at, completed_at), strict=True)
    pointers |= {fact: pointer for fact, pointer in given if pointer is not None}
    options = ReadOptions(
        entity_type=entity_type,
        format=format,
        max_record_bytes=context.settings.max_record,
        rules=FactRules(**pointers),
        tags=parse_tags(tag),
    )
    return context.run(_archive(context, sources, options, on_conflict, rejects, dry_run=dry_run), finishes_batch=True)


async def _archive(
    context: Context, sources: list[str], options: ReadOptions, on_conflict: str, rejects: str | None, *, dry_run: bool
) -> int:
    import gc
    from pathlib import Path

    from gamearchive import files
    from gamearchive.archive import OnConflict
    from gamearchive.manager import ArchiveManager

    # Batches are many objects that live for a moment and hold no cycles: looking for cycles takes a tenth of the time.
    gc.set_threshold(200_000, 50)
    if rejects and _must_not_be_replaced(rejects, sources):
        raise UsageError(f"The rejects cannot be written to {rejects}.", hint="Name a file of their own: --rejects bad.ndjson.")
    count = {"archived": 0, "skipped": 0, "failed": 0, "raw_bytes": 0, "stored_bytes": 0}
    revisions = 0
    started = context.clock.monotonic()
    with ExitStack() as stack:
        kept = stack.enter_context(files.atomic_writer(Path(rejects), overwrite=True)) if rejects else None
        report = stack.enter_context(context.output.progress("Archiving", unit="games"))
        async with ArchiveManager(context.settings, context.clock) as manager:
            steps = manager.archive(
                sources, options, on_conflict=OnConflict(on_conflict), dry_run=dry_run, stopping=context.stopping.is_set
            )
            async for step in steps:
                _tell(context, step, kept)
                count["archived"] += len(step.added.entries)
                revisions += sum(entry.revision > 1 for entry in step.added.entries)
                count["skipped"] += len(step.added.skipped)
                count["failed"] += len(step.rejections)
                count["raw_bytes"] += sum(entry.raw_bytes for entry in step.added.entries)
                count["stored_bytes"] += step.added.stored_bytes
                report(count["archived"] + count["skipped"], None)
    seconds = context.clock.monotonic() - started
    context.output.summary({**count, "seconds": round(seconds, 3)}, _sentence(count, revisions, seconds, dry_run=dry_run))
    return 3 if count["failed"] else 0


def _must_not_be_replaced(rejects: str, sources: list[str]) -> bool:
    """Whether this is one of the sources, which would be lost, or a device or a pipe, which would become a file."""
    from pathlib import Path

    path = Path(rejects)
    if not path.exists() or path.is_dir():
        return False
    return not path.is_file() or any(Path(source).exists() and path.samefile(source) for source in sources)


def _tell(context: Context, step: Ingested, kept: BinaryIO | None) -> None:
    if context.options.json:
        for entry in step.added.entries:
            context.output.item(game_row(entry))
    for rejection in step.rejections:
        where = rejection.source if rejection.line is None else f"{rejection.source}:{rejection.line}"
        data = {
            "code": "rejected", "message": f"{where}: {rejection.reason}", "source": rejection.source,
            "line": rejection.line, "reason": rejection.reason,
        }  # fmt: skip
        context.output.problem(data, f"{where}: {rejection.reason}")
        if kept is not None:
            kept.write(_kept(rejection))


def _kept(rejection: Rejection) -> bytes:
    """A rejection as a line of JSON: its bytes as text where they are UTF-8, else in base64."""
    from base64 import b64encode

    from msgspec.json import encode

    line: dict[str, object] = {"source": rejection.source, "line": rejection.line, "reason": rejection.reason}
    try:
        line["raw"] = rejection.raw.decode()
    except UnicodeDecodeError:
        line["raw_base64"] = b64encode(rejection.raw).decode()
    return encode(line) + b"\n"


def _sentence(count: dict[str, int], revisions: int, seconds: float, *, dry_run: bool) -> str:
    verb = "Would archive" if dry_run else "Archived"
    parts = [f"{verb} {count['archived']:,} games"]
    if revisions:
        parts.append(f"{revisions:,} of them new revisions")
    if count["archived"] and not dry_run:
        share = count["stored_bytes"] / (count["raw_bytes"] or 1)
        parts.append(f"{format_size(count['raw_bytes'])} in {format_size(count['stored_bytes'])} ({share:.0%})")
    if count["skipped"]:
        parts.append(f"{count['skipped']:,} there already")
    if count["failed"]:
        parts.append(f"{count['failed']:,} rejected")
    return f"{', '.join(parts)}; {seconds:.1f} s."
