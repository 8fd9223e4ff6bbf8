"""``archive``: games from files, folders and standard input into the archive."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Literal

import typer

from gamearchive.cli.context import Context
from gamearchive.cli.declaration import command, command_group
from gamearchive.cli.games import game_row, parse_tags, queued_row
from gamearchive.cli.options import option
from gamearchive.errors import UsageError
from gamearchive.settings import FACTS
from gamearchive.units import format_count, format_size

if TYPE_CHECKING:
    from gamearchive.administration import Administration
    from gamearchive.model import ArchiveEntry, Notice, Rejection
    from gamearchive.operations.ingest import Ingested
    from gamearchive.operations.spool import Spooled
    from gamearchive.prospects import Outlooks
    from gamearchive.readers import ReadOptions

app = command_group()


@command(app, exits=(3, 10, 11, 12, 14, 15, 17), example="gamearchive archive games/ --type chess --tag season=2025")
def archive(
    context: Context,
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE", help="Files, folders, or - for standard input; ids.")],
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
    queue: Annotated[bool, option("--queue", help="Only put them into the queue, for workers to archive.")] = False,
    priority: Annotated[
        Literal["low", "normal", "high", "critical"] | None,
        option("--priority", metavar="PRIORITY", help="How urgent that is: low, normal, high or critical."),
    ] = None,
    active: Annotated[
        bool, option("--active", help="The sources are ids of games in play: archive them as they are now.")
    ] = False,
    dry_run: Annotated[bool, option("-n", "--dry-run", help="Only say what would be done.")] = False,
) -> int:
    """Archive games from files, folders or stdin.

    Folders with all below them. JSON, JSON lines, PGN and anything else, also as .gz, .zst, .bz2 and .xz. What is archived
    already is passed over, so that a run that was interrupted is simply run again. A record that cannot be archived is named,
    and the rest goes on.

    With --queue the games are only put into the queue. With --active, games in play are archived as their server saved them
    last, and go on.
    """
    from gamearchive.facts import FactRules
    from gamearchive.model import check_type
    from gamearchive.readers import ReadOptions

    if active and queue:
        raise UsageError("--active and --queue exclude each other.", hint="Leave one of them out.")
    if priority is not None and not queue:
        raise UsageError("--priority is for the queue alone.", hint="Add --queue, or leave it out.")
    if queue and on_conflict != "replace":
        raise UsageError(
            "Games from the queue become their game's next revision.",
            hint=f"Leave out --queue, or --on-conflict {on_conflict}.",
        )
    if active:
        return context.run(_archive_active(context, sources, check_type(entity_type), dry_run=dry_run))
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
        own=() if rejects is None else (f"{Path(rejects).resolve().as_posix()}/",),
    )
    tally = _Tally(pointers, dry_run=dry_run, tagged=bool(tag))
    sent = (priority or "normal") if queue else None
    return context.run(_archive(context, sources, options, on_conflict, rejects, tally, sent), finishes_batch=True)


@dataclass(slots=True)
class _Tally:
    """What became of the games so far. Of the facts that were said to be somewhere, ``missing`` are those no game had there."""

    missing: dict[str, str]
    dry_run: bool
    tagged: bool
    count: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(
            ("archived", "queued", "skipped", "conflicts", "failed", "raw_bytes", "stored_bytes"), 0
        )
    )
    revisions: int = 0

    def add(self, step: Ingested) -> None:
        entries = step.added.entries
        self.count["archived"] += len(entries)
        self.count["skipped"] += len(step.added.skipped)
        self.count["conflicts"] += len(step.added.conflicts)
        self.count["failed"] += len(step.rejections)
        self.count["raw_bytes"] += sum(entry.raw_bytes for entry in entries)
        self.count["stored_bytes"] += step.added.stored_bytes
        self.revisions += sum(entry.revision > 1 for entry in entries)
        self.missing = {
            fact: pointer for fact, pointer in self.missing.items() if not any(_is_known(entry, fact) for entry in entries)
        }

    def add_spooled(self, step: Spooled) -> None:
        self.count["queued"] += len(step.records)
        self.count["failed"] += len(step.rejections)
        self.count["raw_bytes"] += sum(len(record.payload) for record in step.records)

    def sentence_spooled(self, seconds: float) -> str:
        count = self.count
        said = f"{'Would queue' if self.dry_run else 'Queued'} {format_count(count['queued'], 'game')}"
        rejected = f", {count['failed']:,} rejected" if count["failed"] else ""
        return f"{said}, {format_size(count['raw_bytes'])}{rejected}; {seconds:.1f} s."

    def sentence(self, seconds: float) -> str:
        count = self.count
        parts = [f"{'Would archive' if self.dry_run else 'Archived'} {format_count(count['archived'], 'game')}"]
        if self.revisions:
            parts.append(f"{self.revisions:,} of them new revisions")
        if count["archived"] and not self.dry_run:
            share = count["stored_bytes"] / (count["raw_bytes"] or 1)
            beside = f" ({share:.0%})" if share < 1 else ""  # of a few bytes, a pack's index is many times as much
            parts.append(f"{format_size(count['raw_bytes'])} in {format_size(count['stored_bytes'])}{beside}")
        if count["skipped"] > count["conflicts"]:
            there = count["skipped"] - count["conflicts"]
            parts.append(f"{there:,} there already{', with the tags they had' if self.tagged else ''}")
        if count["conflicts"]:
            parts.append(f"{count['conflicts']:,} left out, there with other bytes")
        if count["failed"]:
            parts.append(f"{count['failed']:,} rejected")
        return f"{', '.join(parts)}; {seconds:.1f} s."


async def _archive(
    context: Context,
    sources: list[str],
    options: ReadOptions,
    on_conflict: str,
    rejects: str | None,
    tally: _Tally,
    queued: str | None,
) -> int:
    import gc

    from gamearchive import files
    from gamearchive.administration import Administration
    from gamearchive.archive import OnConflict
    from gamearchive.model import ArchivalPriority, Sender

    # Batches are many objects that live for a moment and hold no cycles: looking for cycles takes a tenth of the time.
    gc.set_threshold(200_000, 50)
    started = context.clock.monotonic()
    async with Administration(context.settings, context.clock) as manager:
        with ExitStack() as stack:
            kept = None
            if rejects is not None:
                _refuse_to_replace(rejects, sources, manager)
                kept = stack.enter_context(files.atomic_writer(Path(rejects), overwrite=True))
            report = stack.enter_context(context.output.progress("Archiving", unit="games"))
            stopping = context.stopping.is_set
            if queued is not None:
                sender = Sender(priority=ArchivalPriority[queued.upper()])
                async for spooled in manager.spool(sources, options, sender, dry_run=tally.dry_run, stopping=stopping):
                    _tell_spooled(context, spooled, kept)
                    tally.add_spooled(spooled)
                    report(tally.count["queued"], None)
            else:
                conflict, outlooks = OnConflict(on_conflict), None
                async for step in manager.archive(
                    sources, options, on_conflict=conflict, dry_run=tally.dry_run, stopping=stopping
                ):
                    outlooks = outlooks or await manager.retention.outlooks()
                    _tell(context, step, kept, outlooks)
                    tally.add(step)
                    report(tally.count["archived"] + tally.count["skipped"], None)
            for part, reason in manager.core.holdings.failing():
                message = f"Part {part!r} of the storage did not get everything, and will when it can: {reason}"
                context.output.problem({"code": "notice", "message": message}, message)
    seconds = context.clock.monotonic() - started
    _tell_missing(context, tally)
    sentence = tally.sentence(seconds) if queued is None else tally.sentence_spooled(seconds)
    context.output.summary({**tally.count, "seconds": round(seconds, 3)}, sentence)
    return 3 if tally.count["failed"] else 0


async def _archive_active(context: Context, ids: Sequence[str], entity_type: str, *, dry_run: bool) -> int:
    from gamearchive.administration import Administration
    from gamearchive.model import EntityKey
    from gamearchive.operations.ingest import Ingested

    started = context.clock.monotonic()
    async with Administration(context.settings, context.clock) as manager:
        keys = [EntityKey(entity_type, entity_id) for entity_id in dict.fromkeys(ids)]
        step = Ingested(await manager.archive_active(keys, dry_run=dry_run))
        outlooks = await manager.retention.outlooks()
    tally = _Tally({}, dry_run=dry_run, tagged=False)
    tally.add(step)
    _tell(context, step, None, outlooks)
    seconds = context.clock.monotonic() - started
    context.output.summary({**tally.count, "seconds": round(seconds, 3)}, tally.sentence(seconds))
    return 0


def _refuse_to_replace(rejects: str, sources: Iterable[str], manager: Administration) -> None:
    """Refuse to write over a source or the archive itself, which would be lost, or a device or a pipe, which would be a file.

    Raises:
        UsageError: if that is where the rejects are to go.
    """
    target = Path(rejects).resolve()
    is_other = os.path.exists(target) and not os.path.isfile(target)  # noqa: PTH110, PTH113 - those of Path raise
    if is_other or manager.is_own(target) or any(Path(source).resolve() == target for source in sources):
        raise UsageError(f"The rejects cannot be written to {rejects}.", hint="Name a file of their own: --rejects bad.ndjson.")


def _tell_spooled(context: Context, step: Spooled, kept: BinaryIO | None) -> None:
    if context.options.json:
        for record, digest in zip(step.records, step.checksums, strict=True):
            context.output.item(queued_row(record, digest))
    _tell_left_out(context, step, kept)


def _tell(context: Context, step: Ingested, kept: BinaryIO | None, outlooks: Outlooks) -> None:
    if context.options.json:
        for entry in step.added.entries:
            context.output.item(game_row(entry, outlook=outlooks.of(entry)))
    _tell_left_out(context, step, kept)
    for pack in dict.fromkeys(entry.place.pack for entry in step.added.entries if entry.place.pack):
        context.output.detail(f"Wrote {pack}.")


def _tell_left_out(context: Context, step: Ingested | Spooled, kept: BinaryIO | None) -> None:
    for rejection in step.rejections:
        _tell_of(context, rejection, "rejected")
        if kept is not None:
            kept.write(_kept(rejection))
    for notice in step.notices:
        _tell_of(context, notice, "notice")


def _tell_of(context: Context, found: Rejection | Notice, code: str) -> None:
    where = found.source if found.line is None else f"{found.source}:{found.line}"
    message = f"{where}: {found.reason}"
    data = {"code": code, "message": message, "source": found.source, "line": found.line, "reason": found.reason}
    context.output.problem(data, message)


def _tell_missing(context: Context, tally: _Tally) -> None:
    """Say which facts were in no game where they were said to be: most likely they are elsewhere."""
    games = format_count(tally.count["archived"], "game")
    for fact, pointer in tally.missing.items() if tally.count["archived"] else ():
        message = f"{fact} at {pointer}: found in 0 of {games}."
        context.output.problem({"code": "not-there", "message": message, "fact": fact, "pointer": pointer}, message)


def _is_known(entry: ArchiveEntry, fact: str) -> bool:
    from gamearchive.readers import is_derived

    return not is_derived(entry.entity_id) if fact == "id" else getattr(entry.facts, fact) not in (None, ())


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
