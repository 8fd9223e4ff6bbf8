"""``bench``: how fast is this machine at this work?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from gamearchive.cli.context import Context
from gamearchive.cli.declaration import command, command_group
from gamearchive.cli.options import option
from gamearchive.cli.parts import JSON, Column, Fields, Row, Table
from gamearchive.units import format_size

if TYPE_CHECKING:
    from gamearchive.bench.measure import Latency, Measured, Pace

app = command_group()


def _count(value: JSON) -> str:
    return f"{value:,.0f}" if isinstance(value, int | float) else ""


def _seconds(value: JSON) -> str:
    return f"{value:.2f}" if isinstance(value, int | float) else ""


def _milliseconds(value: JSON) -> str:
    return f"{value * 1000:.2f}" if isinstance(value, int | float) else ""


_WORK = (
    Column("work", "work"),
    Column("games", "games", show=_count, right=True),
    Column("elapsed_seconds", "seconds", show=_seconds, right=True),
    Column("games_per_second", "games/s", show=_count, right=True),
)
_CALLS = (
    Column("call", "call"),
    Column("count", "calls", show=_count, right=True),
    Column("p50_seconds", "p50 ms", show=_milliseconds, right=True),
    Column("p95_seconds", "p95 ms", show=_milliseconds, right=True),
    Column("p99_seconds", "p99 ms", show=_milliseconds, right=True),
)


@command(app, exits=(12, 14, 15), example="gamearchive bench --games 100000")
def bench(
    context: Context,
    games: Annotated[int, option("--games", metavar="N", minimum=1, help="How many games to make up.")] = 20_000,
    seed: Annotated[int, option("--seed", metavar="S", help="Another seed makes up other games.")] = 1,
    source: Annotated[
        str | None, option("--source", metavar="FILE", help="Take the games of this file, rather than make some up.")
    ] = None,
) -> None:
    """Measure how fast this machine archives, restores, lists and verifies games, and how small they become.

    It makes games up, each of about 4 KB, and archives them in a temporary folder, in SQLite and files, whatever the settings
    say of places; TMPDIR says where that folder is, so let it be on the disk in question. Your archive is not touched.
    """
    context.run(_bench(context, games, seed, source))


async def _bench(context: Context, games: int, seed: int, source: str | None) -> None:
    from gamearchive.bench.measure import measure

    watch = context.output.progress
    measured = await measure(context.settings, context.clock, watch, games=games, seed=seed, source=source)
    data = _document(measured)
    context.output.document(
        {"source": source, "seed": seed, **data},
        Table(_WORK, _work(measured)),
        Table(_CALLS, _calls(measured)),
        Fields(_sizes(data)),
    )


def _document(measured: Measured) -> dict[str, JSON]:
    sizes = measured.sizes
    stored = sizes.stored_bytes + sizes.dictionary_bytes
    return {
        "games": measured.archive.games,
        "rejected": measured.rejected,
        "archive": _pace(measured.archive),
        "restore": _latency(measured.restore),
        "first_page": {kind: _latency(each) if each else None for kind, each in measured.first_page.items()},
        "verify": _pace(measured.verify),
        "verify_full": _pace(measured.verify_full),
        "raw_bytes": sizes.raw_bytes,
        "stored_bytes": stored,
        "ratio": round(stored / sizes.raw_bytes, 4),
        "objects": sizes.packs + 2 * sizes.dictionaries,
        "catalog_bytes": sizes.catalog_bytes,
        "catalog_game_bytes": round(sizes.catalog_bytes / measured.archive.games, 1),
        "peak_memory_bytes": measured.peak_memory_bytes,
    }


def _pace(pace: Pace) -> dict[str, JSON]:
    return {
        "games": pace.games,
        "elapsed_seconds": round(pace.seconds, 3),
        "games_per_second": round(pace.per_second),
    }


def _latency(latency: Latency) -> dict[str, JSON]:
    return {
        "count": latency.count,
        "p50_seconds": round(latency.p50, 6),
        "p95_seconds": round(latency.p95, 6),
        "p99_seconds": round(latency.p99, 6),
    }


def _work(measured: Measured) -> list[Row]:
    done = {"archive": measured.archive, "verify": measured.verify, "verify --full": measured.verify_full}
    return [{"work": work, **_pace(pace)} for work, pace in done.items()]


def _calls(measured: Measured) -> list[Row]:
    pages = {f"first page: {kind}": each for kind, each in measured.first_page.items() if each is not None}
    return [{"call": call, **_latency(each)} for call, each in {"restore one game": measured.restore, **pages}.items()]


def _sizes(data: dict[str, JSON]) -> Row:
    def size(key: str) -> str:
        value = data[key]
        return format_size(value) if isinstance(value, int | float) else "unknown"

    return {
        "raw": size("raw_bytes"),
        "stored": f"{size('stored_bytes')} in {_count(data['objects'])} objects ({data['ratio']:.1%})",
        "catalog": f"{size('catalog_bytes')}, {_count(data['catalog_game_bytes'])} B a game",
        "peak memory": size("peak_memory_bytes"),
    }
