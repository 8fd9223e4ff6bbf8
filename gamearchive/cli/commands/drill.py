"""``drill``: some games out of the latest backup, to prove that it can be restored from."""

from __future__ import annotations

from typing import Annotated

from gamearchive.cli.backups import At, Destination, place_of
from gamearchive.cli.context import Context
from gamearchive.cli.declaration import command, command_group
from gamearchive.cli.options import option
from gamearchive.cli.parts import Row
from gamearchive.units import format_count, format_size, parse_moment

app = command_group()


@command(app, exits=(3, 10, 12, 14, 15), example="gamearchive drill /mnt/backup --sample 1000")
def drill(
    context: Context,
    destination: Destination = None,
    sample: Annotated[int, option("--sample", metavar="N", minimum=1, help="Restore so many games.")] = 100,
    at: At = None,
) -> int:
    """Restore a sample from the backup into a scratch folder, and prove it.

    Each game is written to a file, read back, and held against the checksum that the catalog had of it; JSON and PGN are
    parsed. Nothing is needed of the archive itself. A game that fails is named, and the command ends with 3.
    """
    moment = None if at is None else parse_moment(at, context.clock.now())
    return context.run(_drill(context, destination, sample, moment), finishes_batch=True)


async def _drill(context: Context, destination: str | None, sample: int, at: int | None) -> int:
    from gamearchive.administration import Administration

    place = place_of(context, destination)
    backup_id, games, failed, raw_bytes = "", 0, 0, 0
    begun = context.clock.monotonic()
    async with Administration(context.settings, context.clock) as manager:
        with context.output.progress("Restoring", unit="games") as report:
            async for step in manager.backups.drill(place, sample, at, stopping=context.stopping.is_set):
                if isinstance(step, str):
                    backup_id = step
                    continue
                games += 1
                raw_bytes += step.entry.raw_bytes
                if step.problem is not None:
                    failed += 1
                    entry = step.entry
                    context.output.problem(
                        {
                            "code": "damaged",
                            "message": step.problem,
                            "entity_type": entry.entity_type,
                            "entity_id": entry.entity_id,
                            "revision": entry.revision,
                        },
                        f"{entry.entity_type} {entry.entity_id!r}: {step.problem}",
                    )
                report(games, games / sample)
    seconds = round(context.clock.monotonic() - begun, 3)
    data: Row = {"backup_id": backup_id, "games": games, "failed": failed, "raw_bytes": raw_bytes, "seconds": seconds}
    end = f"{failed:,} failed" if failed else "all well"
    drilled = f"Restored {format_count(games, 'game')} ({format_size(raw_bytes)}) from backup {backup_id}"
    context.output.summary(data, f"{drilled}: {end}; {seconds:.1f} s.")
    return 3 if failed else 0
