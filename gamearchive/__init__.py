"""gamearchive keeps games: those in play in memory, finished ones in compact packs, with a catalog to find them by.

It is a library with a command line on top. A game server holds its games in a `HybridGameRepository`; any program may embed
`ArchiveManager`; an administrator runs ``gamearchive``, each of whose commands calls a method of it. All names of this module
are imported when they are first used, so that ``import gamearchive`` costs nothing::

    async with ArchiveManager(settings=load_settings()) as manager:
        async for step in manager.archive(["games/"], ReadOptions(entity_type="chess")):
            print(len(step.added.entries), "are safe")
        page = await manager.query(ArchiveQuery(players=["Anna"], limit=20))
        payload = await manager.read(page.entries[0])

The house
---------

It stands on floors. A module imports only from floors below its own, nothing runs back up, and there is no circle:
tests/test_house.py holds the table.

=================  =========================================================================================================
errors             what can go wrong: each class has a code, an exit code and a hint
model              the values that travel: game records, facts, catalog entries, places
clock, units       the time; durations, sizes and instants, read and printed
schedule           when a periodic duty is due
composition        the parts and tiers of a storage that has several
events             what a daemon tells of itself
names              what games are restored under: safe whatever their ids hold
encoding           plain Python values as JSON, exactly
pace               work on the event loop in slices
facts              a game's own facts (players, winner, times), taken from its JSON
expression         conditions on games: read from their text, and tried on a game
-- leaves          each knows one thing, and none knows another leaf
forms, strategy    games in play, of whatever class, as bytes and back; what they are known by, and when they are over
files              the durable writes to disk, and locks between processes
given              a setting's value as it was given, and what reads it
sections           the tables of a settings file
settings           every setting with where it comes from; the only module that reads the environment
policy             when a game goes to the archive, is compressed and expires: a policy for each type, and its decisions
retention, holds   which archived games expire by which rule, and which are kept whatever a rule says
candidates, plans  archived games as these see them; what would go, as a file
readers            files of games, in JSON, PGN or any format, as a stream of game records
packs              the format of packs, and the dictionaries that their frames are compressed with
keyring            the keys that a storage is encrypted with
stores             whole objects by key: in a folder, a bucket, in memory, or wherever what is installed beside them has them;
                   and what encrypts them
database           tables and engine: connections, transactions and locks, on SQLite and on PostgreSQL
memory             how full the memory is that the process may use
breaker            what cannot be reached is left alone for a while
metrics            what a daemon has done, counted for Prometheus, and the server that it is asked by
supervisor         what a service tells systemd
rounds, tally      what a daemon does again and again, and what it remembers of its events
active, refaults   the order in which games in play go, and how well that has been guessed
busy, answers      the games that somebody works on, and those that somebody wants archived
-- services
query              what to look for, and the statement it becomes
accession          how entries come into the catalog, all of a batch in one transaction
repacking          how games move from pack to pack in the catalog
catalog            what is archived, where it lies, and how sure that is
trash, census      what has expired and can be brought back; all games shown to the rules of retention
journal            snapshots of games in play, each of the server that plays it
jobs               games that are to be archived: the states of a job, and what was tried
steps              a job's steps from state to state
leases             a worker's session: it leases jobs, and says what became of them
enqueuing          how games come into the queue
queue              what waits to be archived: put there, listed, tried again, discarded
backends           the bytes of games: packs in a store, or in several as one, as rows in PostgreSQL, or a stranger's class
                   with two methods
backups            what a backup is, where backups lie, which of them are kept, and who is at work there
prospects          what is to become of an archived game
ledger             what packs do not say of their games, kept beside them: expired, held
ownership          whose storage it is: the archive's id in its catalog, and the mark in its storage
archive            catalog and bytes in step: the one way in, and the way out
adoption           packs as they lie in the storage, taken into the catalog
-- operations      one verb each, and none imports another: ingest, spool, active, restore, verify, rebuild, retention, check,
                   thaw, resync, tiering, relocation, backup, backup_check, backup_restore, forget, drill
-- the archive     as one object, asynchronous
tenure             the archive held for more than a batch
lanes              a thread for reading, and one for whatever writes
desk, packdesk     the queue and the packs as an administrator has them
storage, expiry    storages and retention likewise
custody            backups likewise
administration     the parts put together from settings, with one method for each verb
archivers          where archiving is done beside a game server: in threads, or in a process of its own
parcels, worker    what waits to be archived, and who sees to it: batches, priorities, retries
manager            administration with a worker: the archive as a game server has it
slot, daemon       archiving what waits in the queue, by itself: ``gamearchive worker run``
scheduled          duties that one of all daemons does, when it is time
upkeep             what a daemon does for a storage in several parts
maintenance        what it does from time to time beside that
-- games in play   in memory, and never lost
thinning           which of them must go
play               what happens behind their being saved: snapshots, handing over, letting go
turns              when that happens
keeper, recovery   their journal in a thread of its own, and what comes back from it
relay              games that are handed over to the queue, where others archive them
recall, entrance   reading archived games for a server, and how games come into play
lookup             finding those in play by player or room
repository         the games of a server, in play and archived, as if there were no difference
-- outside
bench              how fast all this is, measured on games that it makes up
testing            suites that hold a stranger's store or backend to the contract; for tests alone
cli                the command line: it parses, calls one method, and shows the result
=================  =========================================================================================================

Some things are one module's alone: SQLAlchemy is known to the database and what is built on it alone (``query``, ``accession``,
``repacking``, ``catalog``, ``trash``, ``census``, ``journal``, ``jobs``, ``steps``, ``leases``, ``enqueuing``, ``queue``, and
in ``backends`` the packs in PostgreSQL), boto3 to ``stores.s3``, cryptography to ``keyring``, Typer and Rich to ``cli``, the
standard streams to ``cli.output``, the environment to ``settings``, writing files to ``files``, the time to ``clock``. Every
parameter of an SQL statement is bound, and nothing is ever unpickled.

How a game travels
------------------

In: a reader cuts it out of its source, byte for byte, and takes its facts. `Archive.add` looks its id up in the catalog and
passes it over if these bytes are archived already, else it numbers its revision. A batch of games is compressed on all cores
into one pack, which is written, synced, and read back; only then is it named in the catalog, in one transaction, and the batch
is told to be safe. Meanwhile the next batch is put into a pack, and the one after it is read: in a thread, or, where there is
much to read, by a process. Killed at any moment, this leaves at worst two packs that the catalog does not name, which ``verify
--repair`` takes in, or away if their games came again; run again, it goes on where it ended.

Out: the catalog knows the pack, the frame and the range; one ranged read fetches the frame, which is decompressed and checked
against the game's checksum. What comes back is what went in, or an error, never anything else.

Live: to save a game sets two entries of dicts. Behind that, a turn encodes what was saved, in slices on the loop's own thread,
and a thread writes it into the journal in one transaction; with a finished game's last snapshot goes that it is handed over.
The worker has it archived like any other game, and the transaction that names it in the catalog takes its snapshot out of the
journal. Only then is it let go of, and only if encoding it once more gives the bytes that are archived. At no moment is a saved
game nowhere.

Through the queue: whoever has games to archive may also enqueue them, and be gone. A worker leases a batch of jobs, archives it
like any other, and the transaction that names the games in the catalog makes their jobs done, if they are still that worker's;
else it is undone. What cannot be archived is tried again, and then kept until somebody decides.

Elsewhere: a backup is a manifest, written last, that names packs, dictionaries and groups of the database's rows, all of which
lie beside it under names that their content gives them. So what two backups have in common is there once, and one that was
killed leaves nothing but objects that nobody names. A backup is put back row for row, on either engine and in any storage.

A pack repeats in its index all that the catalog knows of its games, so that a lost catalog is rebuilt from the packs alone. It
is an ordinary Zstandard file: the stock ``zstd`` prints the games.

Where to read on: a job's states in ``jobs``, a backend's contract in ``backends.base`` and a store's in ``stores.base``, how to
write a reader in ``readers.base``, the pack's format in ``packs.format``, the tables in ``database.schema``, errors and exit
codes in ``errors``.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gamearchive.archive import OnConflict
    from gamearchive.backends.base import GameBytes, IArchivalBackend
    from gamearchive.backends.composite import CompositeArchiveBackend
    from gamearchive.backends.packed import FileSystemArchiveBackend, PostgreSQLArchiveBackend, S3ArchiveBackend
    from gamearchive.catalog import Page
    from gamearchive.clock import Clock, ManualClock, SystemClock
    from gamearchive.errors import (
        CapacityError,
        ConfigurationError,
        DatabaseUnavailableError,
        EncodingError,
        ExistsError,
        GameArchiveError,
        IntegrityError,
        LeaseLostError,
        LockedError,
        NoArchiveError,
        NotFoundError,
        RefusedError,
        RetainedError,
        SchemaError,
        SourceError,
        StorageUnavailableError,
        ThawingError,
        UnavailableError,
        UnsupportedError,
        UsageError,
    )
    from gamearchive.facts import FactRules
    from gamearchive.manager import ArchiveManager, ArchiveStats
    from gamearchive.model import (
        ArchivalPriority,
        ArchivalTrigger,
        ArchiveEntry,
        EntityKey,
        Facts,
        GameRecord,
        Place,
        Player,
        Provenance,
        Rejection,
    )
    from gamearchive.policy import DEFAULT_GAME_POLICY, DEFAULT_ROOM_POLICY, ArchivalPolicy, Policies
    from gamearchive.query import ArchiveQuery, SortField
    from gamearchive.readers import ByteStream, ReadContext, Reader, ReadOptions
    from gamearchive.repository import HybridGameRepository
    from gamearchive.settings import Settings, load_settings
    from gamearchive.stores.base import Store, StoredObject
    from gamearchive.strategy import ArchivalStrategy, GameArchivalStrategy
    from gamearchive.worker import ArchivalWorker

__all__ = [
    "DEFAULT_GAME_POLICY",
    "DEFAULT_ROOM_POLICY",
    "ArchivalPolicy",
    "ArchivalPriority",
    "ArchivalStrategy",
    "ArchivalTrigger",
    "ArchivalWorker",
    "ArchiveEntry",
    "ArchiveManager",
    "ArchiveQuery",
    "ArchiveStats",
    "ByteStream",
    "CapacityError",
    "Clock",
    "CompositeArchiveBackend",
    "ConfigurationError",
    "DatabaseUnavailableError",
    "EncodingError",
    "EntityKey",
    "ExistsError",
    "FactRules",
    "Facts",
    "FileSystemArchiveBackend",
    "GameArchivalStrategy",
    "GameArchiveError",
    "GameBytes",
    "GameRecord",
    "HybridGameRepository",
    "IArchivalBackend",
    "IntegrityError",
    "LeaseLostError",
    "LockedError",
    "ManualClock",
    "NoArchiveError",
    "NotFoundError",
    "OnConflict",
    "Page",
    "Place",
    "Player",
    "Policies",
    "PostgreSQLArchiveBackend",
    "Provenance",
    "ReadContext",
    "ReadOptions",
    "Reader",
    "RefusedError",
    "Rejection",
    "RetainedError",
    "S3ArchiveBackend",
    "SchemaError",
    "Settings",
    "SortField",
    "SourceError",
    "StorageUnavailableError",
    "Store",
    "StoredObject",
    "SystemClock",
    "ThawingError",
    "UnavailableError",
    "UnsupportedError",
    "UsageError",
    "load_settings",
]

_MODULES = {
    "archive": "OnConflict",
    "backends.base": "GameBytes IArchivalBackend",
    "backends.composite": "CompositeArchiveBackend",
    "backends.packed": "FileSystemArchiveBackend PostgreSQLArchiveBackend S3ArchiveBackend",
    "catalog": "Page",
    "clock": "Clock ManualClock SystemClock",
    "errors": "CapacityError ConfigurationError DatabaseUnavailableError EncodingError ExistsError GameArchiveError "
    "IntegrityError LeaseLostError LockedError NoArchiveError NotFoundError RefusedError RetainedError SchemaError SourceError "
    "StorageUnavailableError ThawingError UnavailableError UnsupportedError UsageError",
    "facts": "FactRules",
    "manager": "ArchiveManager ArchiveStats",
    "model": "ArchivalPriority ArchivalTrigger ArchiveEntry EntityKey Facts GameRecord Place Player Provenance Rejection",
    "policy": "ArchivalPolicy DEFAULT_GAME_POLICY DEFAULT_ROOM_POLICY Policies",
    "query": "ArchiveQuery SortField",
    "readers": "ByteStream ReadContext ReadOptions Reader",
    "repository": "HybridGameRepository",
    "settings": "Settings load_settings",
    "stores.base": "Store StoredObject",
    "strategy": "ArchivalStrategy GameArchivalStrategy",
    "worker": "ArchivalWorker",
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names.split()}

if not TYPE_CHECKING:  # to a type checker, the imports above say it all

    def __getattr__(name: str) -> object:
        """A public name, imported now that it is asked for."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        found = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = found
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
