"""``verify``: is the archive what it says it is?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

from gamearchive.cli.context import Context
from gamearchive.cli.declaration import command, command_group
from gamearchive.cli.options import option
from gamearchive.cli.parts import Row, counted_games
from gamearchive.errors import UsageError
from gamearchive.units import format_count

if TYPE_CHECKING:
    from gamearchive.operations.verify import Checked, Found

SHOWN = 20
"""So many packs and dictionaries are named to people, with `NAMED` games of each; programs are told all."""
NAMED = 5

app = command_group()


@command(app, exits=(3, 10, 11, 14, 15, 17, 18), example="gamearchive verify --full --repair")
def verify(
    context: Context,
    full: Annotated[bool, option("--full", help="Read every byte, and not only lengths.")] = False,
    sample: Annotated[
        str | None,
        option(
            "--sample", metavar="SHARE", help="Read every byte of this share of the packs, such as 5%, and of one at least."
        ),
    ] = None,
    repair: Annotated[
        bool,
        option("--repair", help="Take in or remove stray packs, mend dictionaries, and mark games that are lost as lost."),
    ] = False,
) -> int:
    """Check that the archive is what it says it is.

    That all that the catalog names is there and fits; with --full, that every byte is what it was.

    What is damaged or missing is listed by pack (with --json, by game), and the command ends with 3. A pack that the catalog
    does not name is no damage if the catalog has all its games: a process that was killed leaves one, and --repair takes it
    away. If it has games that are nowhere else, --repair takes them into the catalog.
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
    from gamearchive.administration import Administration

    tally = _Tally(sampled=sample < 1, repair=repair)
    async with Administration(context.settings, context.clock) as manager:
        with context.output.progress("Verifying", unit="games") as report:
            async for checked in manager.verify(full=full, sample=sample, repair=repair, stopping=context.stopping.is_set):
                tally.add(checked)
                if context.options.json:
                    for found in checked.found:
                        context.output.item(_row(found))
                elif checked.found:
                    _tell(context, checked.found, shown=tally.objects <= SHOWN)
                report(tally.games, None)
    if tally.objects > SHOWN and not context.options.json:
        context.output.problem({}, f"… and {tally.objects - SHOWN:,} more. All of them are in the output of --json.")
    context.output.summary(tally.counts, tally.sentence(interrupted=context.stopping.is_set()))
    return 3 if tally.at_stake else 0


def _row(found: Found) -> Row:
    entry = found.entry
    return {
        "finding": found.finding.value,
        "object": found.object,
        "part": found.part,
        "entity_type": entry.entity_type if entry else None,
        "entity_id": entry.entity_id if entry else None,
        "revision": entry.revision if entry else None,
        "reason": found.reason,
        "repaired": found.repaired,
    }


def _tell(context: Context, found: Sequence[Found], *, shown: bool) -> None:
    """Tell people what was found about one pack: each game of it only with ``--verbose``."""
    first = found[0]
    names = [f"{each.entry.entity_id!r}" for each in found if each.entry]
    reason = first.reason
    if names:
        more = f" … and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
        reason = f"{format_count(len(names), 'game')} lost, {', '.join(names[:NAMED])}{more}: {reason}"
    if shown:
        for each in found if first.part else [first]:
            where = f"{each.object} in part {each.part}: {each.reason}" if each.part else f"{each.object}: {reason}"
            context.output.problem(_row(each), f"{each.finding.value}: {where}{'; mended' if each.repaired else ''}")
    for each in found:
        if each.entry:
            entry = each.entry
            context.output.detail(f"{entry.entity_type} {entry.entity_id!r}, revision {entry.revision}: {each.reason}")


@dataclass
class _Tally:
    """What was checked and found so far."""

    sampled: bool
    repair: bool
    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("packs", "records", "damaged", "missing", "orphaned", "repaired"), 0)
    )
    games: int = 0
    read: int = 0
    objects: int = 0
    lost: int = 0
    harmed: int = 0
    strays: int = 0
    mendable: int = 0
    at_stake: bool = False

    def add(self, checked: Checked) -> None:
        """Count a step in."""
        self.counts["packs"] += checked.pack is not None
        self.counts["records"] += checked.records
        self.games += checked.games
        self.read += checked.read
        self.objects += bool(checked.found)
        for found in checked.found:
            stray = found.finding.value == "orphaned"
            self.counts[found.finding.value] += 1
            self.counts["repaired"] += found.repaired
            self.lost += found.entry is not None
            self.harmed += found.entry is None and not stray
            self.strays += stray and not found.part
            self.mendable += stray or found.object.endswith(".zdict") or found.part is not None
            self.at_stake |= not found.harmless and not (stray and found.repaired)

    def sentence(self, *, interrupted: bool) -> str:
        """All of it, and what to do about it."""
        found = [
            f"{format_count(number, what)} {how}"
            for number, what, how in (
                (self.lost, "game", "lost"),
                (self.harmed, "file", "damaged"),
                (self.strays, "file", "that the catalog does not name"),
                (self.counts["repaired"], "file", "mended"),
            )
            if number
        ]
        checked = f"{counted_games(self.games, self.counts['records'])} in {format_count(self.counts['packs'], 'pack')}"
        read = f", {self.read:,} of which read byte by byte" if self.sampled else ""
        begin = f"Interrupted after {checked}" if interrupted else f"Checked {checked}"
        end = ", ".join(found) or ("nothing found so far" if interrupted else "all well")
        return " ".join([f"{begin}{read}: {end}.", *self._advice()])

    def _advice(self) -> Iterator[str]:
        if self.lost and self.repair:
            yield "Lost games are marked: archive them again, or put their packs back and run `gamearchive verify --repair`."
        elif self.lost:
            yield "Put the packs back from backup, or mark what is lost with `gamearchive verify --repair` and archive it anew."
        if self.mendable and not self.repair:
            yield "`gamearchive verify --repair` mends what can be mended."
