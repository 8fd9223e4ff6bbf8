"""One run of the benchmark: archive, restore, list and verify games, in a scratch archive that nothing is left of.

All goes through `Administration`, as a program that embeds it would: a latency is what a caller in the same process waits for,
the way into the manager's thread and back included. Games are archived from a file of JSON lines that is on the disk already,
and count once they are durable, read back and in the catalog.

What single games and first pages are asked for follows from games drawn at random, the same ones for the same seed.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, Protocol

from gamearchive import files
from gamearchive.administration import Administration
from gamearchive.bench.games import GameMaker
from gamearchive.catalog import Sizes
from gamearchive.clock import Clock
from gamearchive.errors import IntegrityError, UsageError
from gamearchive.facts import FactRules
from gamearchive.model import ArchiveEntry, Tags
from gamearchive.query import ArchiveQuery, SortField
from gamearchive.readers import ReadOptions
from gamearchive.settings import Settings
from gamearchive.units import SECOND

RESTORED = 1_000
"""So many single games are restored."""
LISTED = 200
"""So many first pages of each kind are listed."""

_WARM_UP = 20
_CHUNK = 1_000
_DAY = 86_400 * SECOND
_CUP: Tags = (("event", "cup"),)
_LEAGUE: Tags = (("event", "league"),)


class Watch(Protocol):
    """Shows how far a part of the work is."""

    def __call__(self, title: str, *, unit: str) -> AbstractContextManager[Callable[[int, float | None], None]]:
        """Open the progress of a part, to be told how many of its units are done, and what fraction (0 to 1) that is."""
        ...


class Source(NamedTuple):
    """A file of games, and the tags they are archived with."""

    path: str
    tags: Tags


@dataclass(frozen=True, slots=True)
class Pace:
    """So many games in so many seconds."""

    games: int
    seconds: float

    @property
    def per_second(self) -> float:
        """Games a second."""
        return self.games / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True)
class Latency:
    """How long single calls took, in seconds: ``p95`` is what 95 of 100 of them stayed within."""

    count: int
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class Measured:
    """What a run found. ``first_page`` is None for a kind of listing that the games have no facts for."""

    archive: Pace
    rejected: int
    restore: Latency
    first_page: Mapping[str, Latency | None]
    verify: Pace
    verify_full: Pace
    sizes: Sizes
    peak_memory_bytes: int | None


def _days_before(entry: ArchiveEntry) -> ArchiveQuery | None:
    end = entry.facts.completed_at
    return None if end is None else ArchiveQuery(time=SortField.COMPLETED, start_date=end - _DAY, end_date=end)


def _of_player(entry: ArchiveEntry) -> ArchiveQuery | None:
    players = entry.facts.players
    return ArchiveQuery(players=[players[0].label]) if players else None


def _of_status(entry: ArchiveEntry) -> ArchiveQuery | None:
    return ArchiveQuery(statuses=[entry.facts.status]) if entry.facts.status else None


LISTINGS: Mapping[str, Callable[[ArchiveEntry], ArchiveQuery | None]] = {
    "plain": lambda _: ArchiveQuery(),
    "time": _days_before,
    "player": _of_player,
    "status": _of_status,
    "tag": lambda entry: ArchiveQuery(tags=dict(entry.provenance.tags)),
}
"""The kinds of first pages: each with the query that one game of the sample leads to."""


async def measure(
    settings: Settings, clock: Clock, watch: Watch, *, games: int, seed: int, source: str | None = None
) -> Measured:
    """Measure, in a temporary folder that is gone afterwards, however this ends.

    Args:
        settings: level and limits; where the archive is does not matter.
        clock: what time is taken by.
        watch: told of the progress.
        games: how many to make up.
        seed: of these, and of what is drawn at random.
        source: a file to take the games from instead.

    Raises:
        UsageError: if no game can be archived from the source.
        IntegrityError: if the archive is not what was put into it.
    """
    with TemporaryDirectory(prefix="gamearchive-bench-") as name:
        folder = Path(name)
        sources = [Source(source, _LEAGUE)] if source is not None else await _make(folder, games, seed, watch)
        async with Administration(settings.moved_to(folder / "home"), clock) as manager:
            chance = random.Random(seed)  # noqa: S311 - nothing here is secret
            run = _Run(manager, clock, watch, chance)
            archive = await run.archive(sources)
            if not run.sample:
                raise UsageError(
                    f"No game can be archived from {source}.", hint="See why with `gamearchive archive --dry-run`."
                )
            return Measured(
                archive,
                run.rejected,
                await run.restore(),
                {kind: await run.list_first_pages(kind, ask) for kind, ask in LISTINGS.items()},
                await run.verify(full=False),
                await run.verify(full=True),
                await manager.sizes(),
                _peak_memory(),
            )


async def _make(folder: Path, count: int, seed: int, watch: Watch) -> list[Source]:
    """Make up games, in two files: the first twentieth is a cup's, so that listing it has to pass over all later ones."""
    sources = [Source(str(folder / "cup.ndjson"), _CUP), Source(str(folder / "league.ndjson"), _LEAGUE)]
    games, written = iter(GameMaker(count, seed)), 0
    with watch("Making games", unit="games") as report:
        for source, end in zip(sources, (max(count // 20, 1), count), strict=True):
            with files.atomic_writer(Path(source.path), overwrite=False) as stream:
                while written < end:
                    stream.writelines(islice(games, min(_CHUNK, end - written)))
                    written += min(_CHUNK, end - written)
                    report(written, written / count)
                    await asyncio.sleep(0)  # an interruption is heard here
    return sources


class _Run:
    """The parts of a run, in the order of its methods."""

    def __init__(self, manager: Administration, clock: Clock, watch: Watch, chance: random.Random) -> None:
        self._manager = manager
        self._clock = clock
        self._watch = watch
        self._chance = chance
        self._games = 0
        self.sample: list[ArchiveEntry] = []
        self.rejected = 0

    async def archive(self, sources: Sequence[Source]) -> Pace:
        """Archive all games, and keep a random sample of them (Vitter's algorithm R)."""
        settings = self._manager.settings
        rules = FactRules(**settings.facts_of("game"))
        with self._watch("Archiving", unit="games") as report:
            started = self._clock.monotonic()
            for path, tags in sources:
                options = ReadOptions(max_record_bytes=settings.max_record, rules=rules, tags=tags)
                async for step in self._manager.archive([path], options):
                    self.rejected += len(step.rejections)
                    for entry in step.added.entries:
                        self._games += 1
                        if len(self.sample) < RESTORED:
                            self.sample.append(entry)
                        elif (place := int(self._chance.random() * self._games)) < RESTORED:
                            self.sample[place] = entry
                    report(self._games, None)
            return Pace(self._games, self._clock.monotonic() - started)

    async def restore(self) -> Latency:
        """Restore each game of the sample by its id alone."""
        self._chance.shuffle(self.sample)

        async def restore(entry: ArchiveEntry) -> None:
            await self._manager.read(await self._manager.get(entry.entity_id))

        return await self._time("Restoring", "games", [partial(restore, entry) for entry in self.sample])

    async def list_first_pages(self, kind: str, ask: Callable[[ArchiveEntry], ArchiveQuery | None]) -> Latency | None:
        """List the first page of queries of one kind; None where the games have nothing to ask for."""
        queries = [query for entry in self.sample if (query := ask(entry)) is not None]
        if not queries:
            return None
        calls = [partial(self._manager.query, query) for query in islice(cycle(queries), LISTED)]
        return await self._time(f"Listing ({kind})", "pages", calls)

    async def verify(self, *, full: bool) -> Pace:
        """Verify all, and raise if anything is found: a machine that damages games is not measured."""
        checked = 0
        with self._watch("Verifying in full" if full else "Verifying", unit="games") as report:
            started = self._clock.monotonic()
            async for step in self._manager.verify(full=full):
                for found in step.found:
                    raise IntegrityError(f"{found.object}, just written, does not verify: {found.reason}.")
                checked += step.records
                report(checked, checked / self._games)
            return Pace(checked, self._clock.monotonic() - started)

    async def _time(self, title: str, unit: str, calls: Sequence[Callable[[], Awaitable[object]]]) -> Latency:
        """Make all calls one after another, some of them once before, for caches to fill."""
        for call in calls[:_WARM_UP]:
            await call()
        seconds = []
        with self._watch(title, unit=unit) as report:
            for call in calls:
                started = self._clock.monotonic()
                await call()
                seconds.append(self._clock.monotonic() - started)
                report(len(seconds), len(seconds) / len(calls))
        return latency(seconds)


def latency(seconds: Sequence[float]) -> Latency:
    """Percentiles by nearest rank.

    Args:
        seconds: how long each call took; at least one.
    """
    ordered = sorted(seconds)
    p50, p95, p99 = (ordered[-(-len(ordered) * percent // 100) - 1] for percent in (50, 95, 99))
    return Latency(len(ordered), p50, p95, p99)


def _peak_memory() -> int | None:
    """The most memory this process has had at once, in bytes; None where the system does not tell."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # every other system counts KiB
