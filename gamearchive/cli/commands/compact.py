"""``compact``: many packs into few, that take less space."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated

from gamearchive.cli.context import Context
from gamearchive.cli.declaration import command, command_group
from gamearchive.cli.options import option
from gamearchive.units import SECOND, format_count, format_size, parse_duration, parse_size

if TYPE_CHECKING:
    from gamearchive.operations.compaction import Compacted, Due

app = command_group()


@command(app, exits=(3, 10, 11, 14, 15, 16, 17, 18), example="gamearchive compact --after 1d --budget 10m")
def compact(
    context: Context,
    entity_type: Annotated[str | None, option("--type", metavar="TYPE", help="Only games of this type.")] = None,
    after: Annotated[
        str | None,
        option("--after", metavar="DURATION", help="Pack densely what was archived so long ago, whatever its policy says."),
    ] = None,
    budget: Annotated[str | None, option("--budget", metavar="DURATION", help="Leave after so long; go on next time.")] = None,
    max_bytes: Annotated[
        str | None, option("--max-bytes", metavar="SIZE", help="Leave once packs of so many bytes have been replaced.")
    ] = None,
    lock_wait: Annotated[
        str | None, option("--lock-wait", metavar="DURATION", help="Wait so long for another process that does the same.")
    ] = None,
    dry_run: Annotated[bool, option("-n", "--dry-run", help="Only say what would be done.")] = False,
) -> int:
    """Make packs denser: many into few, that take less space.

    Those whose games were archived so long ago as their policy's compress_after says, those of which half is no longer needed,
    and small ones, as soon as there are some. Games stay what they are, byte for byte, and can be read all the while.

    It may be left at any moment, and goes on where it ended. Two at once never do the same: the second ends with 11.
    """
    from gamearchive.packdesk import due_by
    from gamearchive.policy import policies_from

    now = context.clock.now()
    due: Due = due_by(policies_from(context.settings.policies), now)
    if after is not None:
        upto = now - round(parse_duration(after) * SECOND)
        due = lambda _, archived_at: archived_at <= upto  # noqa: E731
    return context.run(
        _compact(
            context,
            due,
            entity_type,
            None if budget is None else parse_duration(budget),
            None if max_bytes is None else parse_size(max_bytes),
            0.0 if lock_wait is None else parse_duration(lock_wait),
            dry_run=dry_run,
        ),
        finishes_batch=True,
    )


async def _compact(
    context: Context,
    due: Due,
    entity_type: str | None,
    budget_seconds: float | None,
    max_bytes: int | None,
    wait_seconds: float,
    *,
    dry_run: bool,
) -> int:
    from gamearchive.administration import Administration

    counts = Counter(dict.fromkeys(("replaced", "packs", "games", "read_bytes", "written_bytes", "left"), 0))
    fraction, begun = 1.0, context.clock.monotonic()
    async with Administration(context.settings, context.clock) as manager:
        with context.output.progress("Compacting", unit="games") as report:
            async for step in manager.packs.compact(
                due,
                entity_type=entity_type,
                budget_seconds=budget_seconds,
                max_bytes=max_bytes,
                wait_seconds=wait_seconds,
                dry_run=dry_run,
                stopping=context.stopping.is_set,
            ):
                fraction = step.fraction
                counts.update(
                    replaced=len(step.replaced), packs=len(step.packs), games=step.games,
                    read_bytes=step.read_bytes, written_bytes=step.written_bytes, left=len(step.left),
                )  # fmt: skip
                _tell(context, step)
                report(counts["games"], fraction)
    seconds = round(context.clock.monotonic() - begun, 3)
    context.output.summary({**counts, "seconds": seconds}, _sentence(counts, fraction, dry_run=dry_run))
    return 3 if counts["left"] else 0


def _tell(context: Context, step: Compacted) -> None:
    """Tell of a group of packs."""
    for key, reason in step.left.items():
        context.output.problem({"code": "left", "message": reason, "pack": key}, f"Left as it is: {key}: {reason}")
    for key, reason in step.stays.items():
        context.output.problem({"code": "retained", "message": reason, "pack": key}, f"No longer needed, and stays: {reason}")
    if step.replaced and context.options.json:
        context.output.item({
            "replaced": list(step.replaced), "packs": list(step.packs), "games": step.games,
            "read_bytes": step.read_bytes, "written_bytes": step.written_bytes,
        })  # fmt: skip
    elif step.packs:
        context.output.detail(f"{format_count(len(step.replaced), 'pack')} became {', '.join(step.packs)}.")


def _sentence(counts: Counter[str], fraction: float, *, dry_run: bool) -> str:
    before = f"{format_count(counts['replaced'], 'pack')} ({format_size(counts['read_bytes'])})"
    games = format_count(counts["games"], "game")
    left = f" {format_count(counts['left'], 'pack')} left as they are: run `gamearchive verify`." if counts["left"] else ""
    if not counts["replaced"]:
        return f"Nothing to pack more densely.{left}"
    more = "" if fraction >= 1 else f" {1 - fraction:.0%} of what there is to do is left: run it again."
    if dry_run:
        return f"Would pack {games} of {before} more densely.{more}"
    after = f"{counts['packs']:,} ({format_size(counts['written_bytes'])})"
    return f"Packed {games} more densely: {before} became {after}.{left}{more}"
