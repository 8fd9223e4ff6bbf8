"""``storage``: the storages of packs: whether one is fit to be one, and several kept equal."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import typer

from gamearchive.cli.context import Context
from gamearchive.cli.declaration import command, command_group
from gamearchive.cli.options import option
from gamearchive.cli.parts import JSON, Column, Row
from gamearchive.errors import UsageError
from gamearchive.units import format_count, format_size

if TYPE_CHECKING:
    from gamearchive.backends.base import BadCopy
    from gamearchive.operations.check import Noted, Speed, Tried
    from gamearchive.operations.resync import Resynced
    from gamearchive.operations.tiering import Moved

app = command_group(
    "storage",
    help="Checks storages of packs, and keeps their parts equal.",
    exits=(3, 15),
    example="gamearchive storage check s3://bucket/prefix",
)

_CHECKED = (Column("check", "check"), Column("result", "result"), Column("told", "what that means"))


@command(app, exits=(3, 15), example="gamearchive storage check s3://bucket/prefix")
def check(
    context: Context,
    url: Annotated[str | None, typer.Argument(metavar="URL", help="Which; the one of the settings, if omitted.")] = None,
) -> int:
    """Check whether a storage can do what an archive needs of it, and how fast it is.

    Each promise of a storage is tried on it, in a corner of its own that is cleared away in the end; what else lies there is
    neither read nor written. About 50 MB go there, and back.
    """
    return context.run(_check(context, url), finishes_batch=True)


async def _check(context: Context, url: str | None) -> int:
    from gamearchive.administration import Administration
    from gamearchive.operations.check import Speed, Tried

    missing, sums = 0, dict[str, JSON]()
    async with Administration(context.settings, context.clock) as manager:
        where = _only_storage(context) if url is None else url
        with context.output.listing(_CHECKED, identity="check") as add:
            async for step in manager.storage.check(where, stopping=context.stopping.is_set):
                if isinstance(step, Speed):
                    sums = _speed(step)
                    continue
                row = _row(step)
                add(row)
                missing += isinstance(step, Tried) and step.problem is not None and step.step.needed
    context.output.summary({"missing": missing, **sums}, _sentence(missing, sums))
    return 3 if missing else 0


def _row(step: Tried | Noted) -> Row:
    from gamearchive.operations.check import Tried

    if not isinstance(step, Tried):
        return {"check": step.subject, "result": "noted", "told": step.fact}
    if step.problem is None:
        return {"check": step.step.name, "result": "yes", "told": step.step.promise}
    told = step.problem if step.step.needed else f"{step.problem}; nothing rests on it"
    return {"check": step.step.name, "result": "no", "told": told}


def _speed(speed: Speed) -> dict[str, JSON]:
    return {
        "put_seconds": round(speed.put_seconds, 6),
        "get_seconds": round(speed.get_seconds, 6),
        "put_bytes_per_second": round(speed.put_rate),
        "get_bytes_per_second": round(speed.get_rate),
    }


def _sentence(missing: int, sums: dict[str, JSON]) -> str:
    fit = f"{format_count(missing, 'promise')} not kept: no archive is safe there" if missing else "Fit to keep an archive"
    if not sums:
        return f"Stopped. {fit} so far." if missing else "Stopped: nothing wrong so far."
    put, get = (f"{float(str(sums[key])) * 1000:.1f} ms" for key in ("put_seconds", "get_seconds"))
    up, down = (format_size(int(str(sums[key]))) for key in ("put_bytes_per_second", "get_bytes_per_second"))
    return f"{fit}. A small object is put in {put} and read in {get}; large ones at {up}/s and {down}/s."


def _only_storage(context: Context) -> str:
    urls = context.settings.storage_urls
    if len(urls) > 1:
        raise UsageError("The storage has several parts.", hint="Say the URL of the one to check.")
    return urls[0]


@command(app, exits=(3, 10, 11, 15, 16, 17, 18), example="gamearchive storage resync mirror --full")
def resync(
    context: Context,
    part: Annotated[
        str | None, typer.Argument(metavar="PART", help="Only this part, which may be a new one; all, if omitted.")
    ] = None,
    full: Annotated[bool, option("--full", help="Compare every byte, and not only lengths.")] = False,
    prune: Annotated[bool, option("--prune", help="Remove also what is not known to be needless.")] = False,
    dry_run: Annotated[bool, option("-n", "--dry-run", help="Only say what would be done.")] = False,
    yes: Annotated[bool, option("-y", "--yes", help="Do not ask before anything is removed.")] = False,
) -> int:
    """Bring the parts of the storage up to date, and move what is due to the next tier.

    What a part of [composite] lacks is sent there, a damaged copy is put right from a good one, and what is needless goes.
    What is wrong and cannot be put right is named, and the command ends with 3. With PART, only that part is looked after,
    and nothing moves; a new part is marked as this archive's, and filled.
    """
    if prune and not (yes or dry_run):
        context.confirm("Remove what the archive does not know from its storage?", flag="--yes")
    return context.run(_resync(context, part, full=full, prune=prune, dry_run=dry_run), finishes_batch=True)


_COUNTED = ("objects", "missing", "damaged", "extra", "repaired", "moved", "sent_bytes", "failed")


@dataclass
class _Tally:
    """What was found and done so far."""

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_COUNTED, 0))

    def add(self, **more: int) -> None:
        """Count so many more."""
        for key, number in more.items():
            self.counts[key] += number

    def sentence(self, *, interrupted: bool, dry_run: bool) -> str:
        """All of it."""
        counts = self.counts
        said = [f"{format_count(counts[key], 'object')} {key}" for key in ("missing", "damaged", "extra") if counts[key]]
        if counts["repaired"]:
            said.append(f"{counts['repaired']:,} put right, {format_size(counts['sent_bytes'])} sent")
        if counts["moved"]:
            said.append(f"{format_count(counts['moved'], 'pack')} {'due to move' if dry_run else 'moved'}")
        begin = "Interrupted after" if interrupted else "Compared"
        return f"{begin} {format_count(counts['objects'], 'object')}: {', '.join(said) or 'all parts are equal'}."


async def _resync(context: Context, part: str | None, *, full: bool, prune: bool, dry_run: bool) -> int:
    from gamearchive.administration import Administration
    from gamearchive.operations.resync import Resynced

    tally, stopped = _Tally(), context.stopping.is_set
    async with Administration(context.settings, context.clock) as manager:
        with context.output.progress("Comparing", unit="objects") as report:
            async for step in manager.storage.resync(part, full=full, prune=prune, dry_run=dry_run, stopping=stopped):
                if isinstance(step, Resynced):
                    tally.add(objects=bool(step.key))
                    for bad, repaired in step.found:
                        _count_copy(context, tally, step, bad, repaired=repaired)
                else:
                    _count_move(context, tally, step)
                report(tally.counts["objects"], None)
    context.output.summary(tally.counts, tally.sentence(interrupted=stopped(), dry_run=dry_run))
    return 3 if tally.counts["failed"] else 0


def _count_copy(context: Context, tally: _Tally, step: Resynced, bad: BadCopy, *, repaired: bool) -> None:
    kind = bad.fault.value
    sent = step.stored_bytes if repaired and kind != "extra" else 0
    tally.add(**{kind: 1}, repaired=repaired, sent_bytes=sent, failed=not repaired)
    row: Row = {
        "finding": kind,
        "part": bad.part,
        "object": bad.key or None,
        "stored_bytes": step.stored_bytes if bad.key else None,
        "reason": bad.reason,
        "repaired": repaired,
    }
    done = "; put right" if repaired else ""
    _tell(context, row, f"{kind}: {bad.key or 'everything'} in part {bad.part}: {bad.reason}{done}")


def _count_move(context: Context, tally: _Tally, step: Moved) -> None:
    failed = step.error is not None
    tally.add(moved=not failed, failed=failed)
    row: Row = {
        "finding": "due",
        "part": None,
        "object": step.key,
        "stored_bytes": step.stored_bytes,
        "reason": step.error.message if step.error else f"to tier {step.tier}",
        "repaired": not failed,
    }
    if failed or context.options.json:
        _tell(context, row, f"due: {step.key} cannot move to tier {step.tier}: {row['reason']}")
    else:
        context.output.detail(f"Moved {step.key} to tier {step.tier}.")


def _tell(context: Context, row: Row, sentence: str) -> None:
    if context.options.json:
        context.output.item(row)
    else:
        context.output.problem(row, sentence)


@command(app, exits=(3, 10, 11, 15, 16, 17, 18), example="gamearchive storage move disk s3://bucket/prefix")
def move(
    context: Context,
    old: Annotated[str, typer.Argument(metavar="OLD", help="The storage's URL in the settings, or a part's name or URL.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The URL of where it is to be: an empty place.")],
) -> int:
    """Copy the archive's storage, or one part of it, to another address, while the archive goes on.

    Every object is read back there. In the end the archive is held for a moment, so that both are the same then. The settings
    are yours to change, and what is at the old address to delete: the last line says how to go on. Run again, it copies what
    has come since.
    """
    return context.run(_move(context, old, new), finishes_batch=True)


async def _move(context: Context, old: str, new: str) -> int:
    from gamearchive.administration import Administration
    from gamearchive.given import mask

    counts = dict.fromkeys(("objects", "sent", "sent_bytes", "removed", "damaged"), 0)
    async with Administration(context.settings, context.clock) as manager:
        setting = manager.storage.setting_of(old)
        with context.output.progress("Copying", unit="objects") as report:
            async for copied in manager.storage.move(old, new, stopping=context.stopping.is_set):
                counts["objects"] += not copied.removed
                counts["sent"] += copied.sent
                counts["sent_bytes"] += copied.stored_bytes if copied.sent else 0
                counts["removed"] += copied.removed
                if copied.problem:
                    counts["damaged"] += 1
                    row: Row = {"object": copied.key, "stored_bytes": copied.stored_bytes, "reason": copied.problem}
                    _tell(context, row, f"damaged: {copied.key}: {copied.problem}; it is so at both addresses now")
                report(counts["objects"], None)
    stopped = context.stopping.is_set()
    done = f"{format_count(counts['sent'], 'object')} sent ({format_size(counts['sent_bytes'])})"
    if stopped:
        sentence = f"Interrupted: {done}. Run it again to go on."
    else:
        again = "this once more with --storage OLD" if setting == "storage" else "`gamearchive storage resync`"
        sentence = (
            f"{format_count(counts['objects'], 'object')} at {mask(new)}, {done}. Now set `{setting}` to it, begin anew what "
            f"archives or reads, and run {again} for what has come until then."
        )
    context.output.summary({**counts, "setting": setting, "complete": not stopped}, sentence)
    return 3 if counts["damaged"] else 0
