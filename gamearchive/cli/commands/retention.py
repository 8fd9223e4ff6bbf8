"""``retention``: which games expire, why, and when; what is held whatever a rule says; and what is brought back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from gamearchive.cli.context import Context
from gamearchive.cli.declaration import command, command_group
from gamearchive.cli.games import GameId, TypeName, game_columns, game_row, instant, size
from gamearchive.cli.options import option
from gamearchive.cli.parts import Column, Fields, Row, Table
from gamearchive.errors import UsageError
from gamearchive.units import SECOND, format_count, format_size, parse_duration, parse_instant

if TYPE_CHECKING:
    from gamearchive.holds import Hold
    from gamearchive.plans import Item, Plan, SavedPlan
    from gamearchive.prospects import Explanation

app = command_group(
    "retention",
    help="Lets games expire by the rules of the settings.",
    exits=(3, 10, 11, 12, 13, 14, 15, 17, 18),
    example="gamearchive retention plan",
)
hold_app = command_group(
    "hold",
    help="Keeps games whatever a rule says.",
    exits=(10, 11, 12, 15, 17),
    example='gamearchive retention hold add game-42 --reason "a complaint"',
)
app.add_typer(hold_app)

LockWait = Annotated[str, option("--lock-wait", metavar="DURATION", help="Wait so long for another process that is at it: 5m.")]
DryRun = Annotated[bool, option("-n", "--dry-run", help="Only say what would be done.")]

_BY_RULE = (
    Column("rule", "rule"),
    Column("entity_type", "type"),
    Column("games", "games", right=True),
    Column("stored_bytes", "size", show=size, right=True),
    Column("keeps", "its games are"),
)
_CHAIN = (Column("rule", "rule"), Column("matches", "matches"), Column("decides", "decides"), Column("keeps", "its games are"))
_HOLDS = (
    Column("hold", "hold", right=True),
    Column("on", "on"),
    Column("reason", "reason"),
    Column("made_at", "since"),
    Column("until", "until"),
)


class _Asked(NamedTuple):
    """What ``apply`` was asked for."""

    saved: SavedPlan | None
    wait: float
    trust_clock: bool
    dry_run: bool
    yes: bool


@command(app, exits=(10, 13, 15, 17), example="gamearchive retention plan --out plan.json")
def plan(
    context: Context,
    out: Annotated[str | None, option("--out", metavar="FILE", help="Write the plan to a file, for `apply`.")] = None,
    force: Annotated[bool, option("--force", help="Write over a file that is there.")] = False,
) -> None:
    """Show which games would expire now, how much that is, and why. Nothing is changed."""
    context.run(_plan(context, out, force=force))


@command(app, exits=(3, 10, 11, 14, 15, 17, 18), example="gamearchive retention apply --yes --lock-wait 5m")
def apply(
    context: Context,
    plan_file: Annotated[
        str | None, typer.Argument(metavar="[PLAN]", help="A file of `plan --out`: exactly these games; else what is due now.")
    ] = None,
    max_share: Annotated[
        str | None,
        option("--max-share", metavar="SHARE", help="Refuse if more of all games would expire.", read_variable=False),
    ] = None,
    trust_clock: Annotated[
        bool, option("--trust-clock", help="The clock is right, though nothing was archived for a month.")
    ] = False,
    lock_wait: LockWait = "0s",
    dry_run: DryRun = False,
    yes: Annotated[bool, option("-y", "--yes", help="Let games expire without asking.")] = False,
) -> int:
    """Let games expire, and remove for good what expired undelete_period ago.

    What expires can be brought back that long, with `retention undelete`.
    """
    context.set_flags(max_share=max_share)
    saved = None if plan_file is None else _read_plan(plan_file)
    asked = _Asked(saved, parse_duration(lock_wait), trust_clock, dry_run, yes)
    return context.run(_apply(context, asked), finishes_batch=True)


@command(app, exits=(10, 12, 15, 17), example="gamearchive retention explain game-42")
def explain(context: Context, game: GameId, entity_type: TypeName = None) -> None:
    """Show what becomes of a game: the rules in their order, which one decides, and the date."""
    context.run(_explain(context, game, entity_type))


@command(app, exits=(10, 11, 12, 15, 17), example="gamearchive retention undelete game-42")
def undelete(
    context: Context,
    games: Annotated[list[str], typer.Argument(metavar="ID...", help="The games' ids.")],
    entity_type: TypeName = None,
    lock_wait: LockWait = "0s",
) -> None:
    """Bring expired games back, as they were. If one of them cannot be, none is."""
    context.run(_undelete(context, games, entity_type, parse_duration(lock_wait)))


@command(
    hold_app, exits=(10, 11, 12, 15, 17), example='gamearchive retention hold add --player Anna --reason "asked" --until 90d'
)
def add(
    context: Context,
    reason: Annotated[str, option("--reason", metavar="TEXT", help="Why.")],
    games: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="The games' ids.")] = None,
    player: Annotated[
        list[str] | None, option("--player", metavar="NAME", help="All games of this player, by name or id; repeat for more.")
    ] = None,
    where: Annotated[str | None, option("--where", metavar="CONDITION", help="All games that fulfil a condition.")] = None,
    entity_type: TypeName = None,
    until: Annotated[
        str | None, option("--until", metavar="WHEN", help="The end: a date, an instant, or a duration from now.")
    ] = None,
    lock_wait: LockWait = "0s",
) -> None:
    """Keep games whatever a rule says, those that come later too, until the hold ends or is removed."""
    from gamearchive.holds import Hold
    from gamearchive.model import check_type

    now = context.clock.now()
    end = None if until is None else _future(until, now)
    kind = None if entity_type is None else check_type(entity_type)
    holds = [Hold(0, reason, now, end, kind, entity_id=each) for each in games or ()]
    holds += [Hold(0, reason, now, end, kind, player=each) for each in player or ()]
    holds += [] if where is None else [Hold(0, reason, now, end, kind, where=where)]
    if not holds:
        raise UsageError("Hold which games?", hint="Name their ids, or choose them with --player or --where.")
    context.run(_hold(context, holds, parse_duration(lock_wait)))


@command(hold_app, exits=(10, 11, 12, 15, 17), example="gamearchive retention hold remove 3")
def remove(
    context: Context,
    holds: Annotated[list[int], typer.Argument(metavar="HOLD...", help="The holds' numbers.")],
    lock_wait: LockWait = "0s",
) -> None:
    """End holds. If there is none of one of these numbers, none is ended."""
    context.run(_release(context, holds, parse_duration(lock_wait)))


@command(hold_app, "list", exits=(10, 15, 17), example="gamearchive retention hold list")
def list_(context: Context) -> None:
    """List the holds, also those that have ended."""
    context.run(_list(context))


async def _plan(context: Context, out: str | None, *, force: bool) -> None:
    from gamearchive.administration import Administration
    from gamearchive.files import put
    from gamearchive.plans import encode_plan

    async with Administration(context.settings, context.clock) as manager:
        found = await manager.retention.plan()
        items = await manager.retention.items(found)
    if out is not None:
        put(Path(out), encode_plan(found, iter(items)), overwrite=force)
    listed = [_item(each) for each in items] if context.options.json else []
    data: Row = {**_counts(found), "made_at": instant(found.made_at), "items": listed}
    rules = {rule.name: str(rule) for rule in found.rules}
    games: Counter[tuple[str, str]] = Counter((each.rule, each.entity_type) for each in items)
    sizes: Counter[tuple[str, str]] = Counter()
    for each in items:
        sizes[each.rule, each.entity_type] += each.stored_bytes
    rows: list[Row] = [
        {"rule": key[0], "entity_type": key[1], "games": count, "stored_bytes": sizes[key], "keeps": rules[key[0]]}
        for key, count in games.items()
    ]
    context.output.document(data, *([Table(_BY_RULE, rows)] if rows else []), Fields(_counts(found)))


async def _apply(context: Context, asked: _Asked) -> int:
    from gamearchive.administration import Administration
    from gamearchive.operations.retention import Step
    from gamearchive.plans import Plan

    count: Counter[str] = Counter(expired=0, kept=0, held=0, bytes=0, purged=0, packs=0)
    changed = 0
    async with Administration(context.settings, context.clock) as manager:
        with context.output.progress("Expiring", unit="games") as report:
            steps = manager.retention.apply(
                asked.saved,
                wait=asked.wait,
                trust_clock=asked.trust_clock,
                dry_run=asked.dry_run,
                detailed=context.options.json,
                stopping=context.stopping.is_set,
            )
            total = 0
            async for step in steps:
                count.update(step.counts)
                if isinstance(step, Plan):
                    total = len(step.going)
                    if total and not asked.dry_run and not asked.yes:
                        context.confirm(f"Let {format_count(total, 'game')} expire?", flag="--yes")
                elif isinstance(step, Step):
                    done = step.done
                    changed += len(done.changed) + len(done.busy) + len(done.held)
                    for item in step.items:
                        context.output.item(_item(item))
                    report(count["expired"], count["expired"] / total)
                else:
                    for pack, why in step.retained.items():
                        context.output.problem({"code": "retained", "message": why, "pack": pack}, why)
    if changed:
        message = f"{format_count(changed, 'game')} changed meanwhile, and stayed."
        context.output.problem({"code": "changed", "message": message}, message)
    context.output.summary(dict(count), _sentence(count, dry_run=asked.dry_run))
    return 3 if changed and asked.saved is not None else 0


def _sentence(count: Counter[str], *, dry_run: bool) -> str:
    expired, purged = format_count(count["expired"], "game"), count["purged"]
    said = f"{f'Would let {expired} expire' if dry_run else f'{expired} expired'} ({format_size(count['bytes'])})"
    held = f", {count['held']:,} held" if count["held"] else ""
    kept = f", {count['kept']:,} kept{held}"
    gone = "would be gone" if dry_run else "gone"
    last = f"; {purged:,} of earlier {gone} for good, with {format_count(count['packs'], 'pack')}" if purged else ""
    return f"{said}{kept}{last}."


async def _explain(context: Context, game: str, entity_type: str | None) -> None:
    from gamearchive.administration import Administration

    async with Administration(context.settings, context.clock) as manager:
        found = await manager.retention.explain(game, entity_type)
    context.output.document(*_explained(found))


def _explained(found: Explanation) -> tuple[Row, Fields, Table]:
    chain: list[Row] = [
        {"rule": link.rule.name, "matches": link.matches, "decides": link.decides, "keeps": str(link.rule)}
        for link in found.chain
    ]
    data: Row = {
        "entity_type": found.entry.entity_type,
        "entity_id": found.entry.entity_id,
        "revision": found.entry.revision,
        "verdict": found.verdict,
        "reason": found.reason,
        "hold": None if found.hold is None else found.hold.number,
        "expires_at": instant(found.expires_at),
        "purged_at": instant(found.purged_at),
    }
    shown = {key: value for key, value in data.items() if value is not None}
    return {**data, "rules": chain}, Fields(shown), Table(_CHAIN, chain, title="Rules")


async def _undelete(context: Context, games: Sequence[str], entity_type: str | None, wait: float) -> None:
    from gamearchive.administration import Administration

    async with Administration(context.settings, context.clock) as manager:
        found = await manager.retention.undelete(games, entity_type, wait=wait)
        outlooks = await manager.retention.outlooks()
        with context.output.listing(game_columns(context.clock), identity="entity_id") as add_row:
            for entry in found:
                add_row(game_row(entry, outlook=outlooks.of(entry)))
    context.output.summary({"undeleted": len(found)}, f"Brought back {format_count(len(found), 'game')}.")


async def _hold(context: Context, holds: Sequence[Hold], wait: float) -> None:
    from gamearchive.administration import Administration

    async with Administration(context.settings, context.clock) as manager:
        made = await manager.retention.hold(holds, wait=wait)
    with context.output.listing(_HOLDS, identity="hold") as add_row:
        for each in made:
            add_row(_held(each))
    context.output.summary({"held": len(made)}, f"{format_count(len(made), 'hold')} added.")


async def _release(context: Context, numbers: Sequence[int], wait: float) -> None:
    from gamearchive.administration import Administration

    async with Administration(context.settings, context.clock) as manager:
        count = await manager.retention.release(numbers, wait=wait)
    context.output.summary({"released": count}, f"{format_count(count, 'hold')} ended.")


async def _list(context: Context) -> None:
    from gamearchive.administration import Administration

    async with Administration(context.settings, context.clock) as manager:
        holds = await manager.retention.holds()
    with context.output.listing(_HOLDS, identity="hold") as add_row:
        for each in holds:
            add_row(_held(each))
    context.output.summary({"count": len(holds)}, f"{format_count(len(holds), 'hold')}.")


def _read_plan(name: str) -> SavedPlan:
    from gamearchive.files import read_range
    from gamearchive.plans import decode_plan

    return decode_plan(read_range(Path(name)))


def _future(text: str, now: int) -> int:
    """What ``--until`` of a hold means: a duration counts from now."""
    try:
        return now + round(parse_duration(text) * SECOND)
    except UsageError:
        return parse_instant(text)


def _counts(found: Plan) -> Row:
    return {"expired": len(found.going), "kept": found.kept, "held": len(found.held), "bytes": found.stored_bytes}


def _item(item: Item) -> Row:
    return {name: getattr(item, name) for name in item.__struct_fields__ if name != "number"}


def _held(hold: Hold) -> Row:
    on = hold.entity_id or (f"games of {hold.player}" if hold.player is not None else hold.where)
    return {
        "hold": hold.number,
        "on": f"{hold.entity_type}: {on}" if hold.entity_type else on,
        "entity_type": hold.entity_type,
        "entity_id": hold.entity_id,
        "player": hold.player,
        "where": hold.where,
        "reason": hold.reason,
        "made_at": instant(hold.made_at),
        "until": instant(hold.until),
    }
