"""``stats``: how much is archived, how small it became, and how it grows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from gamearchive.cli.context import Context
from gamearchive.cli.declaration import command, command_group
from gamearchive.cli.games import size
from gamearchive.cli.parts import JSON, Bars, Column, Fields, Part, Table
from gamearchive.units import SECOND, format_count, format_instant, format_size

if TYPE_CHECKING:
    from gamearchive.catalog import Sizes, Total
    from gamearchive.queue import JobCount

app = command_group()

_SHOWN_DAYS = 30


def _share(value: JSON) -> str:
    return f"{value:.1%}" if isinstance(value, float) else ""


_TYPES = (
    Column("entity_type", "type"),
    Column("games", "games", right=True),
    Column("raw_bytes", "raw", show=size, right=True),
    Column("stored_bytes", "stored", show=size, right=True),
    Column("ratio", "ratio", show=_share, right=True),
)


_JOBS = (
    Column("state", "state"),
    Column("priority", "priority"),
    Column("jobs", "jobs", right=True),
    Column("raw_bytes", "raw", show=size, right=True),
    Column("oldest_enqueued_at", "oldest"),
)


@command(app, exits=(10, 15, 17), example="gamearchive stats")
def stats(context: Context) -> None:
    """Show totals, sizes, growth, and the queue.

    In all, by type, and how many games were archived a day. The ratio is what the packs take, of what the games in them take as
    they are; that of a type leaves out the packs' indexes.
    """
    context.run(_stats(context))


async def _stats(context: Context) -> None:
    from gamearchive.administration import Administration

    async with Administration(context.settings, context.clock) as manager:
        totals, sizes, jobs = await manager.totals(), await manager.sizes(), await manager.jobs.counts()
    types = [{"entity_type": name, **sums} for name, sums in _grouped(totals, lambda total: total.entity_type)]
    days = [{"day": day, **sums} for day, sums in _grouped(sorted(totals, key=lambda total: total.day), _day)]
    data = _document(totals, sizes)
    alone = _ratio(sum(total.raw_bytes for total in totals), sum(total.stored_bytes for total in totals))
    shown = {
        "games": f"{data['games']:,}",
        "raw": format_size(sizes.raw_bytes),
        "stored": f"{format_size(sizes.stored_bytes)} in {format_count(sizes.packs, 'pack')}",
        "ratio": f"{_share(data['ratio'])} ({_share(alone)} without the packs' indexes)" if alone else "",
        "catalog": format_size(sizes.catalog_bytes),
    }
    bars = [
        (str(day["day"]), float(str(day["games"])), f"{format_count(int(str(day['games'])), 'game')}, {size(day['raw_bytes'])}")
        for day in days
    ]
    parts: list[Part] = [Fields(shown), Table(_TYPES, types), Bars(bars[-_SHOWN_DAYS:], title="Archived a day")]
    if jobs:
        parts.insert(1, Table(_JOBS, [_job_row(each) for each in jobs], title="Queue"))
    context.output.document({**data, "types": types, "days": days, "queue": [_job_row(each) for each in jobs]}, *parts)


def _job_row(count: JobCount) -> dict[str, JSON]:
    return {
        "state": count.state.name.lower(),
        "priority": count.priority.name.lower(),
        "jobs": count.jobs,
        "raw_bytes": count.raw_bytes,
        "oldest_enqueued_at": format_instant(count.oldest),
    }


def _document(totals: Sequence[Total], sizes: Sizes) -> dict[str, JSON]:
    return {
        "games": sum(total.games for total in totals),
        "revisions": sizes.revisions,
        "raw_bytes": sizes.raw_bytes,
        "stored_bytes": sizes.stored_bytes,
        "ratio": _ratio(sizes.raw_bytes, sizes.stored_bytes),
        "packs": sizes.packs,
        "dictionaries": sizes.dictionaries,
        "dictionary_bytes": sizes.dictionary_bytes,
        "catalog_bytes": sizes.catalog_bytes,
    }


def _grouped(totals: Iterable[Total], key: Callable[[Total], str]) -> list[tuple[str, dict[str, JSON]]]:
    groups: dict[str, list[Total]] = {}
    for total in totals:
        groups.setdefault(key(total), []).append(total)
    found: list[tuple[str, dict[str, JSON]]] = []
    for name, group in groups.items():
        raw, stored = sum(total.raw_bytes for total in group), sum(total.stored_bytes for total in group)
        games = sum(total.games for total in group)
        found.append((name, {"games": games, "raw_bytes": raw, "stored_bytes": stored, "ratio": _ratio(raw, stored)}))
    return found


def _ratio(raw: int, stored: int) -> float | None:
    return round(stored / raw, 4) if raw else None


def _day(total: Total) -> str:
    return format_instant(total.day * 86_400 * SECOND)[:10]
