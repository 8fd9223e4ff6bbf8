"""``bench``: how fast is this machine at this work?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from gamearchive.cli.context import Context
from gamearchive.cli.declaration import command, command_group
from gamearchive.cli.options import option
from gamearchive.cli.parts import JSON, Column, Fields, Row, Table
from gamearchive.units import format_size

if TYPE_CHECKING:
    from gamearchive.bench.live import Compared, Growth, Lag, LiveMeasured, Loaded
    from gamearchive.bench.measure import Latency, Measured, Pace


def _count(value: JSON) -> str:
    return f"{value:,.0f}" if isinstance(value, int | float) else ""


def _seconds(value: JSON) -> str:
    return f"{value:.2f}" if isinstance(value, int | float) else ""


def _milliseconds(value: JSON) -> str:
    return f"{value * 1000:.2f}" if isinstance(value, int | float) else ""


def _microseconds(value: JSON) -> str:
    return f"{value * 1_000_000:.2f}" if isinstance(value, int | float) else ""


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


app = command_group("bench", exits=(12, 14, 15), example="gamearchive bench --games 100000", alone=bench)


@command(app, exits=(11, 15), example="gamearchive bench live --played 1000000")
def live(
    context: Context,
    games: Annotated[int, option("--games", metavar="N", minimum=1, help="How many games to recover.")] = 100_000,
    played: Annotated[
        int, option("--played", metavar="N", minimum=2, help="How many games to play through one repository.")
    ] = 30_000,
    seconds: Annotated[int, option("--seconds", metavar="S", minimum=0, help="How long to sample the loop, each time.")] = 3,
    rounds: Annotated[int, option("--rounds", metavar="N", minimum=1, help="How often to compare; medians are shown.")] = 3,
    seed: Annotated[int, option("--seed", metavar="S", help="Another seed makes up other games.")] = 1,
) -> None:
    """Measure what a game server feels: HybridGameRepository's calls, the lag of its loop, recovery and memory.

    Each figure stands beside its baseline: a coroutine around a dict, a loop that is idle. All happens in a temporary folder;
    TMPDIR says where that is. Your archive is not touched.
    """
    context.run(_live(context, games, played, seconds, rounds, seed))


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


async def _live(context: Context, games: int, played: int, seconds: int, rounds: int, seed: int) -> None:
    from gamearchive.bench.live import measure_live

    watch = context.output.progress
    measured = await measure_live(
        context.settings, context.clock, watch, games=games, played=played, seconds=seconds, rounds=rounds, seed=seed
    )
    document = _live_document(measured)
    context.output.document(
        {"seed": seed, **document},
        Table(_COMPARED, [{"call": name, **_compared(each)} for name, each in _pairs(measured).items()]),
        Table(_LAGS, _lags(measured)),
        Fields(_rest(measured)),
    )


_COMPARED = (
    Column("call", "call"),
    Column("seconds", "µs", show=_microseconds, right=True),
    Column("baseline_seconds", "dict µs", show=_microseconds, right=True),
    Column("ratio", "ratio", right=True),
)
_LAGS = (
    Column("loop", "loop"),
    Column("p50_seconds", "lag p50 ms", show=_milliseconds, right=True),
    Column("p99_seconds", "p99 ms", show=_milliseconds, right=True),
    Column("p999_seconds", "p99.9 ms", show=_milliseconds, right=True),
    Column("longest_seconds", "longest ms", show=_milliseconds, right=True),
    Column("saves_per_second", "saves/s", show=_count, right=True),
    Column("archived_per_second", "archived/s", show=_count, right=True),
)


def _live_document(measured: LiveMeasured) -> dict[str, JSON]:
    return {
        **{name: _compared(each) for name, each in _pairs(measured).items()},
        "idle": _lag(measured.idle),
        **{archiver: _loaded(each) for archiver, each in measured.loaded.items()},
        "game_bytes": round(measured.game_bytes),
        "played": _growth(measured.played),
        "recovery": _pace(measured.recovery),
    }


def _pairs(measured: LiveMeasured) -> dict[str, Compared]:
    return {"get_by_id": measured.get, "save": measured.save}


def _compared(compared: Compared) -> dict[str, JSON]:
    return {
        "seconds": round(compared.seconds, 9),
        "baseline_seconds": round(compared.baseline_seconds, 9),
        "ratio": round(compared.ratio, 2),
    }


def _lag(lag: Lag) -> dict[str, JSON]:
    return {
        "p50_seconds": round(lag.p50, 6),
        "p99_seconds": round(lag.p99, 6),
        "p999_seconds": round(lag.p999, 6),
        "longest_seconds": round(lag.longest, 6),
    }


def _loaded(loaded: Loaded) -> dict[str, JSON]:
    return {
        **_lag(loaded.lag),
        "saves_per_second": round(loaded.saves_per_second),
        "archived_per_second": round(loaded.archived_per_second),
    }


def _growth(growth: Growth) -> dict[str, JSON]:
    return {"games": growth.games, "early_bytes": growth.early_bytes, "late_bytes": growth.late_bytes}


def _lags(measured: LiveMeasured) -> list[Row]:
    played: list[Row] = [{"loop": f"with {archiver}", **_loaded(each)} for archiver, each in measured.loaded.items()]
    return [{"loop": "idle", **_lag(measured.idle)}, *played]


def _rest(measured: LiveMeasured) -> Row:
    played, recovery = measured.played, measured.recovery
    early, late = ("unknown" if each is None else format_size(each) for each in (played.early_bytes, played.late_bytes))
    return {
        "beside a game": f"{measured.game_bytes:.0f} B",
        "memory": f"{early} after {played.games // 2:,} games played, {late} after {played.games:,}",
        "recovery": f"{recovery.games:,} games in {recovery.seconds:.2f} s",
    }
