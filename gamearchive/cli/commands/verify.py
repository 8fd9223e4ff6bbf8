"""``verify``: is the archive what it says it is?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from gamearchive.cli.context import Context
from gamearchive.cli.declaration import command, command_group
from gamearchive.cli.options import option
from gamearchive.errors import UsageError

if TYPE_CHECKING:
    from gamearchive.operations.verify import Found

app = command_group()


@command(app, exits=(3, 10, 11, 15, 17), example="gamearchive verify --full --repair")
def verify(
    context: Context,
    full: Annotated[bool, option("--full", help="Read every byte, and not only lengths.")] = False,
    sample: Annotated[
        str | None, option("--sample", metavar="SHARE", help="Read every byte of this share of the packs, such as 5%.")
    ] = None,
    repair: Annotated[
        bool,
        option("--repair", help="Remove what no game needs, mend dictionaries, and mark games that are lost as lost."),
    ] = False,
) -> int:
    """Check that the archive is what it says it is.

    That all that the catalog names is there and fits; with --full, that every byte is what it was.

    What is damaged or missing is listed by game, and the command ends with 3. A pack that the catalog does not name is no
    damage: a process that was killed leaves one, and --repair takes it away, if all its games are in the catalog.
    """
    if full and sample:
        raise UsageError("--full and --sample exclude each other.", hint="Leave one of them out.")
    return context.run(
        _verify(context, full=full or sample is not None, sample=_share(sample), repair=repair), finishes_batch=True
    )


def _share(text: str | None) -> float:
    if text is None:
        return 1.0
    try:
        share = float(text.removesuffix("%")) / 100
    except ValueError:
        share = 0.0
    if not text.endswith("%") or not 0 < share <= 1:
        raise UsageError(f"{text!r} is not a share of the packs.", hint="Write --sample 5%.")
    return share


async def _verify(context: Context, *, full: bool, sample: float, repair: bool) -> int:
    from gamearchive.manager import ArchiveManager
    from gamearchive.operations.verify import Finding

    count = {"packs": 0, "records": 0, "damaged": 0, "missing": 0, "orphaned": 0, "repaired": 0}
    async with ArchiveManager(context.settings, context.clock) as manager:
        with context.output.progress("Verifying", unit="games") as report:
            async for checked in manager.verify(full=full, sample=sample, repair=repair, stopping=context.stopping.is_set):
                count["packs"] += checked.pack is not None
                count["records"] += checked.records
                for found in checked.found:
                    count[found.finding.value] += 1
                    count["repaired"] += found.repaired
                    _tell(context, found)
                report(count["records"], None)
    context.output.summary(count, _sentence(count))
    return 3 if count[Finding.DAMAGED.value] or count[Finding.MISSING.value] else 0


def _tell(context: Context, found: Found) -> None:
    entry = found.entry
    data = {
        "finding": found.finding.value,
        "object": found.object,
        "entity_type": entry.entity_type if entry else None,
        "entity_id": entry.entity_id if entry else None,
        "revision": entry.revision if entry else None,
        "reason": found.reason,
        "repaired": found.repaired,
    }
    if context.options.json:
        context.output.item(data)
    else:
        game = f"{entry.entity_type} {entry.entity_id!r}, revision {entry.revision}: " if entry else ""
        context.output.problem(data, f"{found.finding.value}: {game}{found.object}: {found.reason}")


def _sentence(count: dict[str, int]) -> str:
    found = [f"{count[name]:,} {name}" for name in ("damaged", "missing", "orphaned", "repaired") if count[name]]
    return f"Checked {count['records']:,} games in {count['packs']:,} packs: {', '.join(found) or 'all well'}."
