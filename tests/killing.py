"""Command lines run in forked children, so that one can be killed at a chosen moment and costs a tenth of a second.

A worker process (`workers`) imports the program and runs each command once; from then on it forks a child for each command
line that a test wants to see the end of. Batches are small there, so that a short run has many of them. What runs in a worker
stands here, where the worker finds it, and not in a test's module.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from archiving import EVERYTHING, found_by, game
from running import run

from gamearchive.archive import Archive
from gamearchive.backends.packed import PackHoldings
from gamearchive.catalog import Catalog
from gamearchive.cli.app import main
from gamearchive.clock import SystemClock
from gamearchive.database.engine import Database
from gamearchive.operations.verify import Finding, verify
from gamearchive.query import ArchiveQuery
from gamearchive.readers import batches
from gamearchive.stores.filesystem import FileSystemStore

if TYPE_CHECKING:
    from tracing import Traced

BATCH_RECORDS = 40
KILLED = -signal.SIGKILL
EXISTS = 13


class Place(NamedTuple):
    """An archive's home, and the URL of its database."""

    home: Path
    url: str

    @property
    def where(self) -> tuple[str, ...]:
        """What a command line says to work on it."""
        return ("--home", str(self.home), "--database", self.url)


def in_file(home: Path) -> Place:
    """A home with its database on SQLite."""
    return Place(home, f"sqlite:///{home / 'gamearchive.db'}")


def workers(count: int = 2) -> ProcessPoolExecutor:
    """Processes that run what they are given, one thing at a time each, and fork from a state without threads."""
    return ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("forkserver"), initializer=_warm_up)


def _warm_up() -> None:
    batches.BATCH_RECORDS = BATCH_RECORDS
    with tempfile.TemporaryDirectory() as folder:
        source = write_games(Path(folder, "games.ndjson"), 3 * BATCH_RECORDS)
        for command in (
            ["archive", str(source)],
            ["query"],
            ["rebuild", "--yes"],
            ["compact", "--after", "0s"],
            ["restore", "--type", "game", "--output", f"{folder}/restored/"],
            ["verify"],
            ["backup", "create", f"{folder}/backups"],
            ["backup", "verify", f"{folder}/backups", "--full"],
            ["backup", "forget", f"{folder}/backups", "--keep-last", "1", "--yes"],
            ["backup", "restore", f"{folder}/backups", "--to", f"{folder}/new"],
        ):
            assert run(*command, "--home", f"{folder}/home").code == 0
        examine(in_file(Path(folder, "home")), 3 * BATCH_RECORDS)
    Database("postgresql+psycopg://nowhere").close()  # its driver is imported now


def write_games(path: Path, count: int) -> Path:
    """Write games, always the same, as JSON lines; the path again."""
    path.write_bytes(b"".join(payload + b"\n" for payload in payloads(count).values()))
    return path


@cache
def payloads(count: int) -> dict[str, bytes]:
    """The games of `write_games` by their ids."""
    return {f"g-{number}": game(number).payload for number in range(count)}


def summary(*arguments: str) -> dict[str, int]:
    """Run a command line in this process, that must end well; the last line of its ``--json``."""
    ended = run(*arguments, "--json")
    assert ended.code == 0, ended
    found: dict[str, int] = json.loads(ended.out.splitlines()[-1])
    return found


def start(arguments: Sequence[str], *preparations: Callable[[], object]) -> int:
    """Fork a child that runs a command line; its process number.

    Args:
        arguments: the command line.
        preparations: what to do in the child before.
    """
    pid = os.fork()
    if pid:
        return pid
    code = 70  # it broke off before the command had an exit code
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        for prepare in preparations:
            prepare()
        code = main(arguments)
    finally:
        os._exit(code)


def run_and_kill(arguments: Sequence[str], seconds: float) -> int:
    """Run a command line in a child and kill it after so many seconds; its exit code, or `KILLED`."""
    pid = start(arguments)
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def examine(place: Place, count: int) -> None:
    """Make sure that a home holds so many of `write_games`, each once and exact, and nothing else once it has been repaired."""
    home, database = place.home, Database(place.url)
    archive = Archive(Catalog(database), PackHoldings(FileSystemStore(home / "packs")), SystemClock())
    repaired = found_by(verify(archive, repair=True))
    assert {found.finding for found in repaired} <= {Finding.ORPHANED}, repaired
    assert found_by(verify(archive, full=True)) == []
    entries = list(archive.catalog.every(EVERYTHING))
    assert len(entries) == count
    assert {entry.entity_id: archive.read(entry) for entry in entries} == payloads(count)
    copies = 2 * len(archive.catalog.dictionaries())
    database.close()
    stored = [path for path in home.rglob("*") if path.is_file()]
    own = {"gamearchive-id"} if database.path is None else {"gamearchive-id", "gamearchive.db"}
    assert {path.name for path in stored if path.suffix not in (".zst", ".zdict", ".lock")} == own
    assert sum(path.suffix == ".zdict" for path in stored) == copies, stored


def finish(source: Path, place: Place, count: int) -> None:
    """Run the same command again, as after a crash, and `examine` what is there then."""
    done = summary("archive", str(source), *place.where)
    assert (done["archived"] + done["skipped"], done["failed"]) == (count, 0)
    assert list(place.home.rglob(".tmp-*")) == []
    examine(place, count)
    shutil.rmtree(place.home)


def kill_archive_at(call: int, place: Place, source: Path, count: int) -> int:
    """Kill ``archive`` at a call, finish what it has begun, and examine it; the exit code of the run that was to be killed."""
    import tracing

    code = tracing.run_and_kill_at(["archive", str(source), *place.where], call).code
    finish(source, place, count)
    return code


def kill_archive_repeatedly(seed: int, place: Place, kills: int, source: Path, count: int) -> int:
    """Kill ``archive`` again and again, at random moments, on one home; how often it was killed before it was done."""
    chance = random.Random(seed)
    codes = [
        run_and_kill(["archive", str(source), *place.where], chance.uniform(0, 0.12))  # a run takes 0.3 s or so
        for _ in range(kills)
    ]
    assert set(codes) <= {0, KILLED}
    finish(source, place, count)
    return codes.count(KILLED)


def kill_rebuild_at(call: int, home: Path, folder: Path, count: int) -> int:
    """Kill ``rebuild`` of a copy of a home at a call: all games are there at once, and it can be run again."""
    import tracing

    copied = in_file(folder / f"killed-at-{call}")
    shutil.copytree(home, copied.home)
    code = tracing.run_and_kill_at(["rebuild", "--yes", *copied.where], call).code
    assert summary("query", "--count", *copied.where)["count"] == count
    assert summary("rebuild", "--yes", *copied.where)["records"] == count
    examine(copied, count)
    shutil.rmtree(copied.home)
    return code


def kill_rebuild(seed: int, place: Place, kills: int, count: int) -> int:
    """Kill ``rebuild`` at random moments: each time all games are there at once; how often it was killed."""
    chance = random.Random(seed)
    killed = 0
    for _ in range(kills):
        killed += run_and_kill(["rebuild", "--yes", *place.where], chance.uniform(0, 0.12)) == KILLED
        assert summary("query", "--count", *place.where)["count"] == count
    assert summary("rebuild", "--yes", *place.where)["records"] == count
    examine(place, count)
    return killed


def examine_backups(vault: Path) -> int:
    """Make sure that all backups of a folder are whole; how many there are."""
    checked = summary("backup", "verify", str(vault), "--full")
    assert (checked["damaged"], checked["missing"]) == (0, 0)
    return checked["backups"]


def examine_latest(vault: Path, place: Place, count: int) -> None:
    """Make sure that the latest backup of a folder becomes an archive of so many games."""
    assert summary("backup", "restore", str(vault), *place.where)["games"] == count
    examine(place, count)
    shutil.rmtree(place.home)


def leave_nothing_else(vault: Path) -> None:
    """Forget all backups but the latest, and make sure that nothing is left but what it needs."""
    summary("backup", "forget", str(vault), "--keep-last", "1", "--yes")
    checked = summary("backup", "verify", str(vault), "--full")
    stored = [path for path in vault.rglob("*") if path.is_file()]
    assert len(stored) == checked["objects"] + 2  # its manifest, and the mark


def kill_backup_at(call: int, home: Path, vault: Path, folder: Path, count: int) -> int:
    """Kill ``backup create`` into a copy of a folder of backups at a call: all that there are can be restored."""
    import tracing

    copied, new = folder / f"backups-{call}", in_file(folder / f"restored-{call}")
    shutil.copytree(vault, copied)
    before = examine_backups(copied)
    code = tracing.run_and_kill_at(["backup", "create", str(copied), *in_file(home).where], call).code
    assert examine_backups(copied) in (before, before + 1)
    summary("backup", "create", str(copied), *in_file(home).where)
    examine_latest(copied, new, count)
    leave_nothing_else(copied)
    shutil.rmtree(copied)
    return code


def kill_forget_at(call: int, vault: Path, folder: Path, count: int) -> int:
    """Kill ``backup forget`` in a copy of a folder of backups at a call: all that are left can be restored."""
    import tracing

    copied, new = folder / f"backups-{call}", in_file(folder / f"restored-{call}")
    shutil.copytree(vault, copied)
    code = tracing.run_and_kill_at(["backup", "forget", str(copied), "--keep-last", "1", "--yes"], call).code
    assert examine_backups(copied) > 0
    leave_nothing_else(copied)
    examine_latest(copied, new, count)
    shutil.rmtree(copied)
    return code


def kill_putting_back_at(call: int, vault: Path, folder: Path, count: int) -> int:
    """Kill ``backup restore`` at a call: run again, it goes on, if it was not done."""
    import tracing

    new = in_file(folder / f"restored-{call}")
    arguments = ["backup", "restore", str(vault), *new.where]
    code = tracing.run_and_kill_at(arguments, call).code
    assert run(*arguments).code in (0, EXISTS)
    examine(new, count)
    shutil.rmtree(new.home)
    return code


def kill_compaction_at(call: int, home: Path, folder: Path, count: int) -> int:
    """Kill ``compact`` of a copy of a home at a call: all games are there at once, in any reading, and it can be run again."""
    import tracing

    copied = in_file(folder / f"compacted-{call}")
    shutil.copytree(home, copied.home)
    code = tracing.run_and_kill_at(["compact", "--after", "0s", *copied.where], call).code
    assert summary("restore", "--type", "game", "--output", f"{copied.home}.out/", *copied.where)["restored"] == count
    assert {path.stem: path.read_bytes() for path in Path(f"{copied.home}.out").iterdir()} == payloads(count)
    if call % 2:  # either the catalog is made anew from whatever packs there are, or the same command is run again
        known = _known(copied)
        assert summary("rebuild", "--yes", *copied.where)["records"] == count
        assert _known(copied) == known
    else:
        assert summary("compact", "--after", "0s", *copied.where)["left"] == 0
        assert summary("compact", "--after", "0s", *copied.where)["replaced"] == 0
    examine(copied, count)
    shutil.rmtree(copied.home)
    shutil.rmtree(f"{copied.home}.out")
    return code


def _known(place: Place) -> list[tuple[object, ...]]:
    """All that is known of the games of a home, in the order of archiving, but for where they lie."""
    database = Database(place.url)
    found = [
        (entry.key, entry.revision, entry.checksum, entry.facts, entry.provenance)
        for entry in Catalog(database).every(EVERYTHING)
    ]
    database.close()
    return found


def kill_compaction(seed: int, place: Place, source: Path, count: int) -> int:
    """Archive games, kill ``compact`` at a random moment, again and again: each time all games are there; how often."""
    chance = random.Random(seed)
    assert summary("archive", str(source), *place.where)["failed"] == 0
    killed = 0
    for _ in range(4):
        killed += run_and_kill(["compact", "--after", "0s", *place.where], chance.uniform(0, 0.25)) == KILLED
        assert summary("query", "--count", *place.where)["count"] == count
    assert summary("compact", "--after", "0s", *place.where)["left"] == 0
    finish(source, place, count)
    return killed


def kill_retention_at(call: int, home: Path, folder: Path, count: int) -> Traced:
    """Kill ``retention apply`` of a copy of a home at a call: what is kept is there, the next run ends it, and nothing that has
    expired comes back, not even in a new catalog.
    """
    import tracing

    copied = in_file(folder / f"killed-at-{call}")
    shutil.copytree(home, copied.home)
    apply = ["retention", "apply", "--yes", "--config", str(copied.home / "gamearchive.toml"), *copied.where]
    ended = tracing.run_and_kill_at(apply, call)
    kept = {f"g-{number}": payload for number, payload in enumerate(payloads(count).values()) if number >= BATCH_RECORDS + 5}
    examine_kept(copied, kept)
    if call % 2:
        summary("rebuild", "--yes", *copied.where)
        examine_kept(copied, kept)
    summary(*apply)
    summary("verify", "--repair", *copied.where)
    assert summary("verify", "--full", *copied.where)["records"] == len(kept)
    assert summary("rebuild", "--yes", *copied.where)["records"] == len(kept)
    examine_kept(copied, kept)
    shutil.rmtree(copied.home)
    return ended


def examine_kept(place: Place, kept: dict[str, bytes]) -> None:
    """Make sure that a home holds these games, each exact, whatever else it holds."""
    database = Database(place.url)
    archive = Archive(Catalog(database), PackHoldings(FileSystemStore(place.home / "packs")), SystemClock())
    entries = {entry.entity_id: entry for entry in archive.catalog.every(ArchiveQuery(limit=0))}
    assert {entity_id: archive.read(entries[entity_id]) for entity_id in kept} == kept
    database.close()


def kill_restore(seed: int, place: Place, folder: Path, count: int) -> int:
    """Kill ``restore`` into a folder and into a file at random moments: what is there is whole, and the rest can be added."""
    chance = random.Random(seed)
    games = {f"{entity_id}.json": payload for entity_id, payload in payloads(count).items()}
    target, file = folder / f"games-{seed}", folder / f"games-{seed}.ndjson"
    arguments = ["restore", "--type", "game", *place.where, "--force", "--output"]
    codes = [run_and_kill([*arguments, where], chance.uniform(0, 0.1)) for where in (f"{target}/", str(file))]
    assert set(codes) <= {0, KILLED}
    for path in target.glob("[!.]*"):
        assert path.read_bytes() == games[path.name]
    for where in (f"{target}/", str(file)):
        assert summary(*arguments, where)["restored"] == count
    assert {path.name: path.read_bytes() for path in target.glob("[!.]*")} == games
    assert sorted(file.read_bytes().splitlines()) == sorted(games.values())
    return codes.count(KILLED)


def compose(folder: Path) -> tuple[str, ...]:
    """Settings of an archive with two replicas and a cold tier that all is to move to; what a command line says of it."""
    parts = [f"[[composite.part]]\nname = '{name}'\nurl = '{(folder / name).as_uri()}'" for name in "abc"]
    lines = [f"home = '{folder / 'home'}'", "[composite]", "write_quorum = 2", *parts, "tier = 'cold'", "move_after = '0s'", ""]
    folder.joinpath("gamearchive.toml").write_text("\n".join(lines))
    return ("--config", str(folder / "gamearchive.toml"))


def kill_resync_at(call: int, template: Path, folder: Path, count: int) -> int:
    """Kill ``storage resync`` of a copy of an archive in parts at a call, and run it again: each pack is in one tier, whole."""
    import tracing

    copied = folder / f"killed-at-{call}"
    shutil.copytree(template, copied)
    where = compose(copied)
    code = tracing.run_and_kill_at(["storage", "resync", "--full", *where], call).code
    file = copied / "all.ndjson"
    assert summary("restore", "--type", "game", "--output", str(file), *where)["restored"] == count
    assert sorted(file.read_bytes().splitlines()) == sorted(payloads(count).values())
    summary("storage", "resync", "--full", *where)
    assert summary("verify", "--full", *where)["records"] == count
    stored = {name: {path.name for path in (copied / name).rglob("*") if path.is_file()} for name in "abc"}
    assert stored["a"] == stored["b"] == {name for name in stored["c"] if not name.endswith(".zst")}
    shutil.rmtree(copied)
    return code
