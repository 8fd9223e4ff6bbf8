"""How fast are games in play? Each figure beside its baseline, taken in the same run, for machines are never alone.

`HybridGameRepository` promises that games in memory are as quick as a dict, and that the loop of a game server does not feel
what is done behind. So its calls are timed in turns with those of coroutines that use a dict; and how late a task wakes up that
sleeps for a millisecond is measured in turns with how late it does on a loop that has nothing else to do. What is told of
several rounds is their median.

The games that are played are copies whose insides are shared, and these are kept from Python's garbage collector meanwhile: how
long it takes to look through a server's own games does not depend on where these are kept.

All of it happens in a temporary folder that is gone afterwards.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import subprocess
import sys
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import msgspec

from gamearchive.bench.games import GameMaker
from gamearchive.bench.measure import Pace, Watch
from gamearchive.clock import Clock
from gamearchive.errors import GameArchiveError
from gamearchive.model import ArchivalTrigger
from gamearchive.parcels import Parcel
from gamearchive.policy import DEFAULT_GAME_POLICY
from gamearchive.repository import HybridGameRepository
from gamearchive.settings import Settings

ACTIVE_GAMES = 1_000
"""So many games are in play at once."""

SAVES_PER_SECOND = 10_000
"""So often one of them is saved, all of them together."""

CALLS = 20_000
"""So many calls of each kind are timed in a round."""

_WAITING_GAMES = 8_000  # so many that are over wait for the archiver, which then never waits for them
_KINDS = 2_000  # so many different games are made up; what is played is copies of them
_TICK_SECONDS = 0.001
_MOST_ENDED = 12  # games that end in one tick at most: a batch that comes back is made up for little by little
_MOST_SAVED = 100  # saves in one tick: what a lag has kept from being saved does not come all at once
_WEIGHED = 20_000  # more games weigh the same each
_WARM_UP_GAMES = 2_000  # so many are archived before anything is measured: the first ones train a dictionary
_SERVER = "bench"
_POLICY = replace(DEFAULT_GAME_POLICY, triggers=DEFAULT_GAME_POLICY.triggers - {ArchivalTrigger.SHUTDOWN})
# Without the garbage collector, which takes most of the time, and that is not what is measured.
_FILL = (
    "import gc, sys; gc.disable(); sys.path.insert(0, sys.argv.pop()); "
    "from gamearchive.bench.live import fill; fill(*sys.argv[1:])"
)

Game = dict[str, Any]
Repository = HybridGameRepository[Game]


class Compared(NamedTuple):
    """Seconds that a call takes, and those that its baseline does."""

    seconds: float
    baseline_seconds: float
    ratio: float


class Lag(NamedTuple):
    """How late a task of a loop woke up, in seconds."""

    p50: float
    p99: float
    p999: float
    longest: float


class Loaded(NamedTuple):
    """The lag of a loop that games are played on: so many saves and so many archived games a second."""

    lag: Lag
    saves_per_second: float
    archived_per_second: float


@dataclass(frozen=True, slots=True)
class Growth:
    """Memory of this process after some games had been played through one repository, and after all had.

    None where the system does not tell.
    """

    games: int
    early_bytes: int | None
    late_bytes: int | None


@dataclass(frozen=True, slots=True)
class LiveMeasured:
    """What a run found. ``game_bytes`` is what a game in play takes beside the game itself."""

    get: Compared
    save: Compared
    idle: Lag
    loaded: dict[str, Loaded]
    game_bytes: float
    played: Growth
    recovery: Pace


async def measure_live(
    settings: Settings, clock: Clock, watch: Watch, *, games: int, played: int, seconds: float, rounds: int, seed: int
) -> LiveMeasured:
    """Measure, in a temporary folder that is gone afterwards, however this ends.

    Args:
        settings: level and limits; where the archive is does not matter.
        clock: what time is taken by.
        watch: told of the progress.
        games: how many are recovered, and how many memory is measured with.
        played: how many are played through one repository.
        seconds: how long the lag is sampled in each round.
        rounds: how often each comparison is made.
        seed: of the games that are made up.

    Raises:
        GameArchiveError: if the repository did not do what it was measured at.
    """
    with TemporaryDirectory(prefix="gamearchive-bench-") as name:
        run = _Run(settings, Path(name), clock, watch, seed)
        get, save = await run.compare_calls(rounds)
        idle, loaded = await run.measure_lag(seconds, rounds)
        return LiveMeasured(
            get, save, idle, loaded, await run.weigh(min(games, _WEIGHED)), await run.play(played), await run.recover(games)
        )  # fmt: skip


class _Run:
    """The parts of a run, each with archives of its own."""

    def __init__(self, settings: Settings, folder: Path, clock: Clock, watch: Watch, seed: int) -> None:
        self._settings = settings
        self._folder = folder
        self._clock = clock
        self._watch = watch
        self._seed = seed
        self._archives = 0

    async def compare_calls(self, rounds: int) -> tuple[Compared, Compared]:
        """Get and save games in play, in turns with coroutines around a dict."""
        games: dict[str, Game] = {}

        async def get(game_id: str) -> Game | None:
            return games.get(game_id)

        async def save(game: Game) -> None:
            games[game["id"]] = game

        async with self._repository() as repo:
            players = _Players(repo, self._seed)
            await players.sit_down()
            chance = random.Random(self._seed)  # noqa: S311 - nothing here is secret
            saved = chance.choices(players.games, k=CALLS)
            asked = [game["id"] for game in saved]
            for game in saved:
                await save(game)
            times: list[list[float]] = [[], [], [], []]
            with self._watch("Getting and saving", unit="rounds") as report:
                for done in range(rounds):
                    calls: list[tuple[Callable[[Any], Awaitable[object]], Sequence[object]]] = [
                        (get, asked), (repo.get_by_id, asked), (save, saved), (repo.save, saved)
                    ]  # fmt: skip
                    for taken, (call, arguments) in zip(times, calls, strict=True):
                        await asyncio.sleep(0)
                        taken.append(await self._time(call, arguments))
                    report(done + 1, (done + 1) / rounds)
        return _compared(times[1], times[0]), _compared(times[3], times[2])

    async def _time(self, call: Callable[[Any], Awaitable[object]], arguments: Sequence[object]) -> float:
        started = self._clock.monotonic()
        for argument in arguments:
            await call(argument)
        return (self._clock.monotonic() - started) / len(arguments)

    async def measure_lag(self, seconds: float, rounds: int) -> tuple[Lag, dict[str, Loaded]]:
        """Sample how late a loop is: idle, and with games played on it, for each kind of archiver."""
        idle: list[Lag] = []
        loaded: dict[str, list[Loaded]] = {"thread": [], "process": []}
        with self._watch("Playing", unit="rounds") as report:
            for done in range(rounds):
                for archiver, found in loaded.items():
                    idle.append(await _sample(seconds / len(loaded)))
                    found.append(await self._play_round(archiver, seconds))
                report(done + 1, (done + 1) / rounds)
        return _median(idle), {
            archiver: Loaded(
                _median([each.lag for each in found]),
                median(each.saves_per_second for each in found),
                median(each.archived_per_second for each in found),
            )
            for archiver, found in loaded.items()
        }

    async def _play_round(self, archiver: str, seconds: float) -> Loaded:
        async with self._playing(archiver) as players:
            await players.until_archived(_WARM_UP_GAMES)
            saved, archived, started = players.saved, players.archived, self._clock.monotonic()
            lag = await _sample(seconds)
            passed = self._clock.monotonic() - started
            return Loaded(lag, (players.saved - saved) / passed, (players.archived - archived) / passed)

    async def weigh(self, count: int) -> float:
        """Bytes a game in play takes beside the game itself."""
        games: list[Game] = [{"id": f"game-{number}", "status": "playing"} for number in range(count)]
        async with self._repository(limit=count) as repo:
            with self._watch("Weighing", unit="games") as report:
                tracemalloc.start()
                try:
                    for done, game in enumerate(games, 1):
                        await repo.save(game)
                        report(done, done / count)
                    await repo.flush()
                    gc.collect()
                    taken, _ = tracemalloc.get_traced_memory()
                finally:
                    tracemalloc.stop()
        return taken / count

    async def play(self, count: int) -> Growth:
        """Play games through one repository, and see what becomes of this process's memory."""
        with self._watch("Playing on", unit="games") as report:
            async with self._playing("process") as players:
                await players.until_archived(count // 2)
                report(count // 2, 0.5)
                early = _memory()
                await players.until_archived(count)
                report(count, 1.0)
                return Growth(count, early, _memory())

    async def recover(self, count: int) -> Pace:
        """Bring back the games of a server that was killed."""
        home = self._folder / "killed"
        package = str(Path(__file__).parents[2])
        with self._watch("Recovering", unit="games") as report:
            command = [sys.executable, "-c", _FILL, str(home), str(count), str(self._seed), package]
            filled = await asyncio.to_thread(subprocess.run, command, stdout=subprocess.DEVNULL, check=False)
            started = self._clock.monotonic()
            async with _repository(self._settings.moved_to(home), limit=count) as repo:
                seconds = self._clock.monotonic() - started
                there = len(await repo.list_active_games())
            if there != count:
                raise GameArchiveError(f"Of {count} games in play {there} came back ({filled.returncode}).")
            report(count, 1.0)
        return Pace(count, seconds)

    @asynccontextmanager
    async def _playing(self, archiver: str) -> AsyncIterator[_Players]:
        """Games played on a new repository. What waits for its archiver at the end is left."""
        repo = self._repository(archiver, ACTIVE_GAMES + 2 * _WAITING_GAMES)
        await repo.initialize()
        players = _Players(repo, self._seed)
        await players.sit_down()
        playing = asyncio.create_task(players.play())
        playing.add_done_callback(players.stop)
        gc.collect()
        gc.freeze()
        try:
            yield players
        finally:
            gc.unfreeze()
            playing.cancel()
            await asyncio.gather(playing, return_exceptions=True)
            await repo.shutdown(grace=0)

    def _repository(self, archiver: str = "process", limit: int = ACTIVE_GAMES) -> Repository:
        """A new repository, of an archive of its own."""
        self._archives += 1
        return _repository(self._settings.moved_to(self._folder / str(self._archives)), archiver, limit)


class _Players:
    """Play games on a repository, as fast as these come to an end.

    Args:
        repository: where the games are.
        seed: of the games.
    """

    def __init__(self, repository: Repository, seed: int) -> None:
        self._repository = repository
        self._kinds = list(_games(_KINDS, seed))
        self._begun = 0
        self._ended = 0
        self.games: list[Game] = []
        self.saved = 0
        self.archived = 0
        self._news = asyncio.Event()
        self._over: asyncio.Task[None] | None = None
        repository.archive_manager.worker.listeners.append(self._count)

    async def sit_down(self) -> None:
        """Begin as many games as are in play at once."""
        for _ in range(ACTIVE_GAMES):
            self.games.append(await self._begin())

    async def play(self) -> None:
        """Save games, and end some and begin others, until cancelled."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            due = int((loop.time() - started) * SAVES_PER_SECOND) - self.saved
            for _ in range(min(due, _MOST_SAVED)):
                game = self.games[self.saved % ACTIVE_GAMES]
                game["moves"] += 1
                await self._repository.save(game)
                self.saved += 1
            for _ in range(min(_MOST_ENDED, _WAITING_GAMES - (self._ended - self.archived))):
                await self._end_one()

    async def until_archived(self, count: int) -> None:
        """Wait until so many games are archived. What ends the playing is raised here."""
        while self.archived < count:
            self._news.clear()
            await self._news.wait()
            if self._over is not None:
                self._over.result()

    def stop(self, playing: asyncio.Task[None]) -> None:
        """Nothing is played any more."""
        self._over = playing
        self._news.set()

    async def _begin(self) -> Game:
        kind = self._kinds[self._begun % _KINDS]
        game = {**kind, "id": f"game-{self._begun}", "moves": 0, "status": "playing", "winner": None, "completed_at": None}
        self._begun += 1
        await self._repository.save(game)
        return game

    async def _end_one(self) -> None:
        place = self._ended * 7 % ACTIVE_GAMES
        game = self.games[place]
        number = int(game["id"].removeprefix("game-"))
        kind = self._kinds[number % _KINDS]
        game.update({name: kind[name] for name in ("status", "winner", "completed_at")})
        await self._repository.save(game)
        self.games[place] = await self._begin()
        self._ended += 1

    def _count(self, parcels: Sequence[Parcel]) -> None:
        self.archived += len(parcels)
        self._news.set()


def fill(home: str, count: str, seed: str) -> None:
    """Save games in play, have them all in the journal, and die: what the process does that is recovered from."""
    from gamearchive.settings import load_settings

    asyncio.run(_fill(load_settings().moved_to(Path(home)), int(count), int(seed)))


async def _fill(settings: Settings, count: int, seed: int) -> None:
    repo = _repository(settings, limit=count)
    await repo.initialize()
    for number, game in enumerate(_games(count, seed), 1):
        await repo.save(game | {"status": "playing", "winner": None, "completed_at": None})
        if number % ACTIVE_GAMES == 0:
            await repo.flush()  # as a server does, that does not begin all its games at once
    await repo.flush()
    os._exit(0)  # nothing is closed or given up, as if it had been killed


def _repository(settings: Settings, archiver: str = "process", limit: int = ACTIVE_GAMES) -> Repository:
    return HybridGameRepository(
        max_active_games=limit, policies={"game": _POLICY}, settings=settings, server=_SERVER, archiver=archiver
    )


def _games(count: int, seed: int) -> Iterator[Game]:
    """Games as a server has them, when they are over."""
    return map(msgspec.json.Decoder(Game).decode, islice(GameMaker(count, seed), count))


async def _sample(seconds: float) -> Lag:
    """How late a task wakes up that sleeps for a millisecond, over some time."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    late: list[float] = []
    while (begun := loop.time()) < end or not late:
        await asyncio.sleep(_TICK_SECONDS)
        late.append(loop.time() - begun - _TICK_SECONDS)
    late.sort()
    p50, p99, p999 = (late[-(-len(late) * share // 1000) - 1] for share in (500, 990, 999))
    return Lag(p50, p99, p999, late[-1])


def _median(lags: Sequence[Lag]) -> Lag:
    return Lag(*map(median, zip(*lags, strict=True)))


def _compared(seconds: Sequence[float], baseline: Sequence[float]) -> Compared:
    ratios = [each / other for each, other in zip(seconds, baseline, strict=True)]
    return Compared(median(seconds), median(baseline), median(ratios))


def _memory() -> int | None:
    """The memory that this process has now, in bytes; None where the system does not tell."""
    gc.collect()
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    except OSError:
        return None
    return int(pages) * os.sysconf("SC_PAGESIZE")
