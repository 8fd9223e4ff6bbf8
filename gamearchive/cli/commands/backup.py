"""``backup``: backups made, listed, checked, put back, and forgotten."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from gamearchive.cli.backups import At, Destination, place_of
from gamearchive.cli.context import Context
from gamearchive.cli.declaration import command, command_group
from gamearchive.cli.games import game_row, instant, size
from gamearchive.cli.options import option
from gamearchive.cli.parts import JSON, Column, Row
from gamearchive.errors import UsageError
from gamearchive.units import format_count, format_size, parse_duration, parse_moment

if TYPE_CHECKING:
    from gamearchive.backups.keeping import Keep
    from gamearchive.backups.vault import Backup
    from gamearchive.settings import Settings

app = command_group(
    "backup",
    help="Makes backups of the whole archive, and restores from them.",
    exits=(3, 10, 11, 12, 13, 14, 15, 17, 18),
    example="gamearchive backup create /mnt/backup",
)

LockWait = Annotated[
    str, option("--lock-wait", metavar="DURATION", help="Wait so long for somebody who is at work on the backups.")
]


@dataclass(frozen=True)
class Kept:
    """The options that say which backups stay. The fields' order is that of the help."""

    keep_last: Annotated[int, option("--keep-last", metavar="N", minimum=0, help="Keep the last N backups.")] = 0
    keep_hourly: Annotated[int, option("--keep-hourly", metavar="N", minimum=0, help="Keep the last of N hours.")] = 0
    keep_daily: Annotated[int, option("--keep-daily", metavar="N", minimum=0, help="Keep the last of N days.")] = 0
    keep_weekly: Annotated[int, option("--keep-weekly", metavar="N", minimum=0, help="Keep the last of N weeks.")] = 0
    keep_monthly: Annotated[int, option("--keep-monthly", metavar="N", minimum=0, help="Keep the last of N months.")] = 0
    keep_yearly: Annotated[int, option("--keep-yearly", metavar="N", minimum=0, help="Keep the last of N years.")] = 0
    keep_within: Annotated[
        str | None, option("--keep-within", metavar="DURATION", help="Keep all that are younger than this, such as 30d.")
    ] = None

    def policy(self) -> Keep:
        """What these options mean.

        Raises:
            UsageError: if none was given.
        """
        from gamearchive.backups.keeping import Keep

        numbers = {field.name.removeprefix("keep_"): getattr(self, field.name) for field in fields(self)}
        within = 0.0 if self.keep_within is None else parse_duration(self.keep_within)
        keep = Keep(**numbers | {"within": within})
        if keep.is_nothing:
            raise UsageError("Nothing says which backups stay.", hint="Add, for instance, --keep-daily 7 --keep-monthly 12.")
        return keep


@command(app, exits=(3, 10, 11, 14, 15, 17, 18), example="gamearchive backup create s3://games/backup --tag nightly")
def create(
    context: Context,
    destination: Destination = None,
    tag: Annotated[str | None, option("--tag", metavar="TEXT", help="What to call it.")] = None,
    lock_wait: LockWait = "1m",
) -> int:
    """Make a backup of the whole archive, while it is worked on.

    Only what is not there yet is written. A pack that is damaged or missing is named, and the command ends with 3; the backup
    is made all the same.
    """
    return context.run(_create(context, destination, tag, parse_duration(lock_wait)), finishes_batch=True)


@command(app, "list", exits=(3, 10, 14, 15), example="gamearchive backup list /mnt/backup")
def list_(context: Context, destination: Destination = None) -> int:
    """List the backups, the oldest first."""
    return context.run(_list(context, destination))


@command(app, exits=(3, 10, 14, 15), example="gamearchive backup verify /mnt/backup --full")
def verify(
    context: Context,
    destination: Destination = None,
    full: Annotated[bool, option("--full", help="Read every byte, and not only lengths.")] = False,
) -> int:
    """Check that all that the backups need is there; with --full, that every byte is what it was.

    What is damaged or missing is named with the backups that need it, and the command ends with 3.
    """
    return context.run(_verify(context, destination, full=full), finishes_batch=True)


@command(app, exits=(3, 10, 12, 13, 14, 15, 17, 18), example="gamearchive backup restore /mnt/backup --to /var/lib/new")
def restore(
    context: Context,
    destination: Destination = None,
    at: At = None,
    to: Annotated[str | None, option("--to", metavar="HOME", help="The home of the archive that it becomes.")] = None,
    only: Annotated[str | None, option("--only", metavar="ID", help="Not the archive, but this game's bytes.")] = None,
    entity_type: Annotated[str | None, option("--type", metavar="TYPE", help="The type of that one game.")] = None,
    output: Annotated[
        str | None, option("-o", "--output", metavar="FILE|-", help="Where its bytes go; stdout if unset.")
    ] = None,
    force: Annotated[bool, option("--force", help="Write over a file that is there.")] = False,
) -> int:
    """Restore the whole archive to an empty place, or one game.

    The archive goes where --to says, or else the settings; with --database and --storage, to any database and storage. All of
    it comes back row for row, games in play and the queue as well, and is checked then. An archive that is there already is
    never touched.
    """
    moment = None if at is None else parse_moment(at, context.clock.now())
    if only is None:
        if entity_type is not None or output is not None or force:
            raise UsageError("--type, --output and --force are about one game.", hint="Say which with --only ID.")
        if to is not None:
            context.set_flags(home=to)
        settings = _moved(context.settings) if to is not None else context.settings
        return context.run(_restore(context, settings, destination, moment), finishes_batch=True)
    if to is not None:
        raise UsageError("--only and --to exclude each other.", hint="Say with --output where one game goes.")
    return context.run(_restore_one(context, destination, only, entity_type, moment, output, force=force))


@command(app, exits=(3, 10, 11, 14, 15, 18), example="gamearchive backup forget /mnt/backup --keep-daily 7 --keep-monthly 12")
def forget(
    context: Context,
    kept: Kept,
    destination: Destination = None,
    dry_run: Annotated[bool, option("-n", "--dry-run", help="Only say what would go.")] = False,
    yes: Annotated[bool, option("-y", "--yes", help="Forget them without asking.")] = False,
    lock_wait: LockWait = "1m",
) -> int:
    """Forget the backups that no option keeps, and drop what no backup needs any more.

    An hour, a day, a week … counts if there is a backup in it, and its last one is kept. What a backup that was interrupted
    has left goes as well.
    """
    keep = kept.policy()
    work = _forget(context, destination, keep, parse_duration(lock_wait), dry_run=dry_run, yes=yes)
    return context.run(work, finishes_batch=True)


def _moved(settings: Settings) -> Settings:
    """Settings for another home: what the file says of where things are is about the archive that it is the file of."""
    moved = settings.moved_to(settings.home)
    given = {key: getattr(settings, key) for key in ("database", "storage") if _is_given(settings.sources[key])}
    return replace(moved, **given)


def _is_given(source: str) -> bool:
    """Whether a setting comes with this very command."""
    return source.startswith(("flag", "environment"))


async def _create(context: Context, destination: str | None, tag: str | None, lock_wait: float) -> int:
    from gamearchive.administration import Administration
    from gamearchive.operations.backup import Made

    made: Made | None = None
    problems = done = 0
    async with Administration(context.settings, context.clock) as manager:
        place = place_of(context, destination)
        with context.output.progress("Backing up", unit="packs") as report:
            steps = manager.backups.create(place, tag=tag, lock_wait=lock_wait, stopping=context.stopping.is_set)
            async for step in steps:
                if isinstance(step, Made):
                    made = step
                    continue
                done += 1
                if step.problem is not None:
                    problems += 1
                    context.output.problem({"code": "damaged", "message": step.problem, "object": step.key}, step.problem)
                elif context.options.json and step.new:
                    context.output.item({"object": step.key, "new_bytes": step.written_bytes})
                report(done, None)
    if made is None:
        keys = ("backup_id", "new_packs", "reused_packs", "new_bytes", "total_bytes")
        context.output.summary(
            dict.fromkeys(keys), "Stopped: there is no backup. What was copied is not copied again by the next."
        )
        return 0
    manifest = made.manifest
    data: Row = {
        "backup_id": made.backup_id,
        "new_packs": made.new_packs,
        "reused_packs": made.reused_packs,
        "new_bytes": made.new_bytes,
        "total_bytes": manifest.total_bytes,
    }
    games, packs = format_count(manifest.games, "game"), format_count(made.new_packs, "new pack")
    sentence = f"Backup {made.backup_id}: {games}, {packs}, {format_size(made.new_bytes)} written."
    if problems:
        sentence += f" {format_count(problems, 'file')} of the archive damaged or missing: see `gamearchive verify --full`."
    context.output.summary(data, sentence)
    return 3 if problems else 0


_COLUMNS = (
    Column("backup_id", "backup"),
    Column("created_at", "created", show=lambda value: value[:19] + "Z" if isinstance(value, str) else ""),
    Column("tag", "tag"),
    Column("games", "games", show=lambda value: f"{value:,}" if isinstance(value, int) else "", right=True),
    Column("total_bytes", "size", show=size, right=True),
)


def _row(backup: Backup) -> Row:
    from gamearchive.backups.manifest import Manifest

    manifest = backup.manifest
    if not isinstance(manifest, Manifest):
        return {"backup_id": backup.id, **dict.fromkeys(_KEYS, None), "error": manifest.message}
    values: list[JSON] = [
        instant(manifest.created_at), manifest.tag, manifest.program, manifest.games, manifest.revisions, manifest.raw_bytes,
        len(manifest.packs), manifest.total_bytes,
    ]  # fmt: skip
    return {"backup_id": backup.id, **dict(zip(_KEYS, values, strict=True)), "error": None}


_KEYS = ("created_at", "tag", "program", "games", "revisions", "raw_bytes", "packs", "total_bytes")


async def _list(context: Context, destination: str | None) -> int:
    from gamearchive.administration import Administration

    damaged = count = 0
    async with Administration(context.settings, context.clock) as manager:
        with context.output.listing(_COLUMNS, identity="backup_id") as add:
            async for backup in manager.backups.every(place_of(context, destination)):
                row = _row(backup)
                count += 1
                damaged += row["error"] is not None
                add(row)
                if row["error"] is not None:
                    context.output.detail(str(row["error"]))
    sentence = f"{format_count(count, 'backup')}{f', {damaged} of them damaged' if damaged else ''}."
    context.output.summary({"count": count, "damaged": damaged}, sentence)
    return 3 if damaged else 0


async def _verify(context: Context, destination: str | None, *, full: bool) -> int:
    from gamearchive.administration import Administration

    counts: Counter[str] = Counter()
    async with Administration(context.settings, context.clock) as manager:
        with context.output.progress("Verifying", unit="files") as report:
            looked = manager.backups.verify(place_of(context, destination), full=full, stopping=context.stopping.is_set)
            async for step in looked:
                counts["backups" if step.backup_id else "objects"] += 1
                counts["read_bytes"] += step.read_bytes
                found = step.found
                if found is not None:
                    counts[found.finding] += 1
                    row: Row = {
                        "finding": found.finding,
                        "object": found.object,
                        "reason": found.reason,
                        "backups": list(found.backups),
                    }
                    if context.options.json:
                        context.output.item(row)
                    else:
                        named = ", ".join(found.backups[:3]) + (" …" if len(found.backups) > 3 else "")
                        context.output.problem(row, f"{found.finding}: {found.object}: {found.reason} (needed by {named})")
                report(counts["objects"], None)
    bad = counts["damaged"] + counts["missing"]
    keys = ("backups", "objects", "damaged", "missing", "read_bytes")
    begin = "Interrupted after" if context.stopping.is_set() else "Checked"
    read = f", {format_size(counts['read_bytes'])} read" if full else ""
    checked = f"{begin} {format_count(counts['objects'], 'file')} of {format_count(counts['backups'], 'backup')}{read}"
    if bad:
        found_bad = f"{counts['damaged']:,} damaged, {counts['missing']:,} missing"
        end = f"{found_bad}. Remove what is damaged, and run `gamearchive backup create`: what the archive has is copied anew."
    else:
        end = "nothing found so far." if context.stopping.is_set() else "all well."
    context.output.summary({key: counts[key] for key in keys}, f"{checked}: {end}")
    return 3 if bad else 0


async def _restore(context: Context, settings: Settings, destination: str | None, at: int | None) -> int:
    from gamearchive.administration import Administration
    from gamearchive.operations.backup_restore import PutBack
    from gamearchive.operations.verify import Checked

    counts: Counter[str] = Counter()
    backup_id = ""
    async with Administration(settings, context.clock) as manager:
        with context.output.progress("Restoring", unit="packs") as report:
            place = place_of(context, destination)
            async for step in manager.backups.restore(place, at, stopping=context.stopping.is_set):
                problems: list[tuple[str, str]] = []
                if isinstance(step, str):
                    backup_id = step
                elif isinstance(step, PutBack):
                    counts["packs"] += step.pack is not None and step.written_bytes > 0
                    counts["rows"] += step.rows
                    counts["written_bytes"] += step.written_bytes
                    problems = [(step.pack or "", step.problem)] if step.problem else []
                elif isinstance(step, Checked):
                    counts["games"] += step.games
                    counts["revisions"] += step.records
                    problems = [(found.object, f"{found.object}: {found.reason}") for found in step.found if not found.harmless]
                for name, message in problems[:1]:
                    counts["problems"] += 1
                    context.output.problem({"code": "damaged", "message": message, "object": name}, message)
                report(counts["packs"], None)
        where = f"{manager.database.name} and {manager.core.holdings.name}"
    keys = ("games", "revisions", "packs", "rows", "written_bytes", "problems")
    games, packs = format_count(counts["games"], "game"), format_count(counts["packs"], "pack")
    sentence = f"Restored backup {backup_id} to {where}: {games}, {packs}, {format_size(counts['written_bytes'])}"
    sentence += f". {format_count(counts['problems'], 'problem')}." if counts["problems"] else "; verified: all well."
    context.output.summary({"backup_id": backup_id, **{key: counts[key] for key in keys}}, sentence)
    return 3 if counts["problems"] else 0


async def _restore_one(
    context: Context, destination: str | None, entity_id: str, entity_type: str | None, at: int | None, output: str | None,
    *, force: bool,
) -> int:  # fmt: skip
    from gamearchive import files
    from gamearchive.administration import Administration

    async with Administration(context.settings, context.clock) as manager:
        async for entry, data in manager.backups.find(place_of(context, destination), entity_id, entity_type, at):
            path = None if output in (None, "-") else Path(str(output))
            if path is None and context.options.json:
                context.output.item({**game_row(entry), **_payload(data)})
            elif path is None:
                context.output.payload(data)
            else:
                files.put(path, data, overwrite=force)
            if path is not None or context.options.json:
                counts = {"restored": 1, "failed": 0, "raw_bytes": len(data)}
                context.output.summary(counts, f"Restored 1 game ({format_size(len(data))}) to {output}.")
    return 0


def _payload(data: bytes) -> Row:
    from base64 import b64encode

    try:
        return {"payload": data.decode()}
    except UnicodeDecodeError:
        return {"payload_base64": b64encode(data).decode()}


async def _forget(context: Context, destination: str | None, keep: Keep, lock_wait: float, *, dry_run: bool, yes: bool) -> int:
    from gamearchive.administration import Administration
    from gamearchive.operations.forget import Decided

    place = place_of(context, destination)
    if not dry_run and not yes:
        context.confirm(f"Forget backups in {place}?", flag="--yes")
    counts: Counter[str] = Counter()
    async with Administration(context.settings, context.clock) as manager:
        steps = manager.backups.forget(place, keep, dry_run=dry_run, lock_wait=lock_wait, stopping=context.stopping.is_set)
        with context.output.listing(_DECISIONS, identity="backup_id") as add:
            async for step in steps:
                if isinstance(step, Decided):
                    counts["kept" if step.reasons else "forgotten"] += 1
                    add({
                        "backup_id": step.backup_id,
                        "created_at": instant(step.manifest.created_at),
                        "tag": step.manifest.tag,
                        "kept": bool(step.reasons),
                        "reasons": step.reasons,
                    })  # fmt: skip
                elif step.retained is not None:
                    counts["retained"] += 1
                    context.output.problem(
                        {"code": "retained", "message": step.retained, "object": step.key}, f"{step.key}: {step.retained}"
                    )
                else:
                    counts["dropped_objects"] += 1
                    counts["dropped_bytes"] += step.stored_bytes
    gone = f"{format_count(counts['dropped_objects'], 'file')}, {format_size(counts['dropped_bytes'])}"
    forgot = f"{'Would forget' if dry_run else 'Forgot'} {format_count(counts['forgotten'], 'backup')} ({gone})"
    keys = ("kept", "forgotten", "dropped_objects", "dropped_bytes", "retained")
    context.output.summary({key: counts[key] for key in keys}, f"{forgot}, kept {counts['kept']:,}.")
    return 3 if counts["retained"] else 0


_DECISIONS = (
    Column("backup_id", "backup"),
    Column("tag", "tag"),
    Column("kept", "kept"),
    Column("reasons", "why"),
)
