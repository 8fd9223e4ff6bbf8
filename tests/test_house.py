"""The house, held by its source: who may import whom, what only one module may do, and what is promised to the outside."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import gamearchive
from gamearchive import errors
from gamearchive.cli.declaration import EXIT_CODES
from gamearchive.cli.games import FIELDS, game_row
from gamearchive.errors import GameArchiveError
from gamearchive.model import JSON, ArchiveEntry, Facts, Place, Provenance

FLOORS = """
    errors:
    model:       errors
    clock:
    units:       errors
    composition: errors
    schedule:    errors units
    events:
    names:
    pace:
    encoding:    errors
    facts:       errors model units encoding
    expression:  errors model units facts

    forms:       errors encoding
    strategy:    errors model encoding facts forms
    files:       errors
    given:       errors model units schedule composition
    sections:    errors model given
    settings:    errors model units schedule composition given sections
    policy:      errors model units expression
    candidates:  model expression
    retention:   errors model units expression policy candidates
    holds:       errors expression
    plans:       errors model units candidates retention holds
    readers:     errors model facts
    packs:       errors model
    keyring:     errors files
    stores:      errors files keyring
    database:    errors model files
    memory:      errors
    breaker:     clock
    metrics:     errors events
    supervisor:
    rounds:      errors events
    tally:       clock events
    refaults:
    active:      refaults
    busy:
    answers:

    query:       errors model units database
    accession:   errors model database query
    repacking:   model database accession
    catalog:     errors model database query accession repacking
    journal:     errors model database
    jobs:        model database
    steps:       database jobs
    leases:      errors model clock database journal jobs steps
    enqueuing:   model database jobs
    queue:       errors model clock database journal jobs steps enqueuing
    trash:       model database catalog candidates holds
    census:      model database catalog candidates retention
    backends:    errors model units clock composition keyring packs stores database breaker
    backups:     errors model units clock packs stores database backends
    ledger:      errors model holds trash backends
    prospects:   errors model clock units candidates retention holds catalog trash census

    ownership:   errors database catalog backends
    archive:     errors model clock packs query accession catalog backends
    adoption:    errors model accession catalog trash backends ledger archive

    tenure:              clock database
    operations.ingest:   errors model readers backends archive
    operations.restore:  errors model names files archive
    operations.verify:   errors model accession catalog backends archive adoption
    operations.rebuild:  errors model backends trash archive adoption
    operations.retention: errors model units retention holds plans database catalog trash census ledger archive
    operations.spool:    model readers queue
    operations.active:   errors model journal queue archive
    operations.check:    errors clock units stores backends
    operations.thaw:     errors model archive
    operations.resync:   errors packs adoption archive backends
    operations.relocation:  errors stores backends
    operations.tiering:  errors units composition archive backends
    operations.backup:          errors packs database ownership archive backups
    operations.backup_check:    errors backups
    operations.backup_restore:  errors database archive backups
    operations.forget:          errors backups
    operations.drill:           errors model files backups
    operations.compaction: errors model packs accession repacking archive
    operations:

    lanes:
    desk:            errors model database jobs queue
    packdesk:        policy database catalog archive ownership operations.compaction tenure
    storage:         errors model clock settings keyring stores backends ownership archive operations.check operations.thaw
    storage:         operations.resync operations.tiering operations.relocation
    custody:         errors model clock settings keyring stores catalog archive backups operations.verify operations.backup
    custody:         operations.backup_check operations.backup_restore operations.forget operations.drill
    expiry:          model policy settings retention holds plans catalog prospects ownership archive operations.retention
    administration:  errors model clock settings keyring readers stores database query catalog backends ownership archive
    administration:  adoption lanes queue desk storage custody operations.ingest operations.restore operations.verify
    administration:  operations.rebuild
    administration:  operations.spool operations.active custody packdesk expiry
    archivers:       errors model clock composition keyring database catalog journal backends archive
    parcels:         errors model archive
    worker:          errors model pace policy strategy archive archivers parcels
    manager:         errors model clock units settings policy retention strategy query backends ownership archive
    manager:         administration archivers parcels worker operations.backup

    scheduled:       schedule events database administration rounds
    upkeep:          events backends administration operations.resync operations.tiering rounds scheduled
    maintenance:     errors units events database catalog archive administration operations.backup operations.verify rounds
    maintenance:     scheduled upkeep policy packdesk
    slot:            errors model clock events breaker tally jobs leases archive tenure
    daemon:          errors model units events breaker rounds tally jobs leases administration maintenance tenure slot

    thinning:    errors model policy memory active
    keeper:      errors model strategy journal queue
    relay:       errors model strategy journal queue parcels worker keeper
    play:        errors model clock pace policy strategy active busy answers journal archive parcels worker thinning keeper
    turns:       errors play
    recovery:    errors model clock pace journal keeper play
    recall:      errors model administration
    entrance:    errors strategy play recall
    lookup:      pace strategy play
    repository:  errors model clock settings policy strategy backends journal manager worker
    repository:  thinning play turns keeper relay recovery recall entrance lookup

    bench:       errors model clock units facts files settings readers query catalog administration repository policy parcels
    testing:     errors model stores backends

    cli:         errors model clock units facts files given settings keyring policy readers stores database query catalog
    cli:         backends archive
    cli:         retention holds plans prospects operations.retention
    cli:         events metrics supervisor rounds tally jobs queue daemon administration bench
    cli:         operations.ingest operations.spool operations.restore operations.verify operations.rebuild operations.check
    cli:         operations.resync operations.tiering operations.relocation
    cli:         operations.backup operations.backup_restore operations.forget backups
    cli:         operations.compaction packdesk
    __main__:    cli
"""
"""Each module or package with those of ours that it may import; what stands higher up is the floor below."""

ONLY_IN = {
    "sqlalchemy": "database query accession repacking catalog trash census journal jobs steps leases enqueuing queue "
    "backends.postgresql backends.tables",
    "alembic": "database",
    "sqlite3": "database",
    "psycopg": "",
    "boto3": "stores.s3",
    "botocore": "stores.s3",
    "cryptography": "keyring",
    "typer": "cli",
    "click": "",
    "prometheus_client": "metrics",
    "rich": "cli.output cli.drawing cli.panel cli.live",
    "pytest": "testing",
    "pickle": "",
    "marshal": "",
    "shelve": "",
    "shutil": "",
    "tempfile": "administration custody bench",  # scratch folders that are gone afterwards
}
"""Where a module of others may be imported. Pickles run what they hold, and shutil writes what is not synced."""

BUILT_SQL = [
    ("repacking", "_MOVES[self._connection.dialect.name]"),  # constants of the module
    ("trash", "state"),  # constants of the module
    ("enqueuing", "str(self._jobs)"),  # what SQLAlchemy compiles of a table
    ("enqueuing", "postgresql.binary(str(self._jobs))"),
    ("database.postgresql", "f'SELECT pg_try_advisory_lock{suffix}(:lock)'"),  # "_shared" or nothing
    ("database.postgresql", "f'SELECT pg_advisory_unlock{suffix}(:lock)'"),
    ("database.engine", "f'PRAGMA {name}'"),  # two names that stand before it
    ("database.sqlite", "f'PRAGMA {setting}'"),  # constants of the module
    ("database.sqlite", "f'PRAGMA user_version = {1 + secrets.randbits(30)}'"),
    ("database.sqlite", "f\"BEGIN {connection.get_execution_options().get(BEGIN, 'DEFERRED')}\""),  # or IMMEDIATE
    ("database.bulk", "f'INSERT INTO {into} VALUES {places}'"),  # a table, and question marks
    ("database.bulk", "statement"),  # what SQLAlchemy compiles of a table
    ("database.bulk", "f'CREATE TEMPORARY TABLE IF NOT EXISTS {made} ON COMMIT DELETE ROWS'"),  # two tables' names
    ("database.schema", "_SECOND.format('created_at')"),  # columns
    ("database.schema", "_SECOND.format('completed_at')"),
    ("database.schema", "_SECOND.format(f'entries.{column.name}')"),
    ("database.schema", "str(UNKNOWN_TIME)"),  # a constant number
    ("database.schema", "f'archived_at < accepted_at - {ACCEPTANCE_LAG}'"),  # another
    ("database.schema", "f'batches.archived_at < batches.accepted_at - {ACCEPTANCE_LAG}'"),
    ("backends.tables", "f'CREATE TABLE {name} (LIKE gamearchive_packs_games INCLUDING STORAGE)'"),  # digits of a month
    ("backends.tables", "f'ALTER TABLE gamearchive_packs_games ATTACH PARTITION {name} {bounds}'"),  # and two dates
    ("backends.tables", "f'DROP TABLE {_partition(month)}'"),
    ("database.migrations.versions.revision_0001", "_SECOND.format('created_at')"),
    ("database.migrations.versions.revision_0001", "_SECOND.format('completed_at')"),
]
"""The statements that are put together, and that no value of a user's can get into."""

MAX_LINES = 450
PACKAGE = Path(gamearchive.__file__).parent


def module_name(path: Path) -> str:
    """A module's name within the package; the package's own is empty."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(path): path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(source) for name, source in SOURCES.items()}
ROOT = ""


def floors() -> dict[str, set[str]]:
    """The table: in its order, each unit with those it may import."""
    table: dict[str, set[str]] = {}
    for line in FLOORS.strip().splitlines():
        unit, _, allowed = line.strip().partition(":")
        if unit:
            table.setdefault(unit, set()).update(allowed.split())
    return table


def unit_of(module: str) -> str | None:
    """The row of the table that a module belongs to."""
    parts = module.split(".")
    candidates = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((unit for unit in candidates if unit in floors()), None)


def imported(module: str) -> Iterator[str]:
    """All that a module imports, at its top or anywhere in it, as dotted names: of ours, the modules."""
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{module} imports relatively"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name.removeprefix("gamearchive.") in TREES else node.module


def ours(module: str) -> set[str]:
    """The modules of the package that a module imports."""
    names = {name for name in imported(module) if name == "gamearchive" or name.startswith("gamearchive.")}
    return {name.removeprefix("gamearchive").removeprefix(".") for name in names}


def places(found: Callable[[ast.AST], bool]) -> set[str]:
    """The modules in which some node is found."""
    return {module for module, tree in TREES.items() if any(found(node) for node in ast.walk(tree))}


def is_within(module: str, allowed: str) -> bool:
    return any(module == unit or module.startswith(f"{unit}.") for unit in allowed.split())


def test_the_table_has_every_module_and_leads_only_down() -> None:
    table = floors()
    assert {module for module in TREES if module != ROOT and unit_of(module) is None} == set()
    assert {unit for unit in table if unit not in TREES} == set()
    known: set[str] = set()
    for unit, allowed in table.items():
        assert allowed <= known, f"{unit} may import what is not below it: {allowed - known}"
        known.add(unit)


@pytest.mark.parametrize("module", [module for module in TREES if module != ROOT])
def test_a_module_imports_only_from_floors_below(module: str) -> None:
    unit = unit_of(module)
    assert unit is not None
    below = {unit_of(name) for name in ours(module)} - {unit}
    assert below <= floors()[unit], f"{module} imports {below - floors()[unit]}"


def test_the_front_door_imports_for_type_checkers_alone() -> None:
    for node in TREES[ROOT].body:
        assert not isinstance(node, ast.Import)
        assert not isinstance(node, ast.ImportFrom) or node.module == "typing"


def test_no_import_leads_back_to_where_it_came_from() -> None:
    """Within a package too, where the table says nothing. A package's own ``__init__`` gives names out and takes none."""
    graph = {module: ours(module) - {ROOT} for module in TREES if module != ROOT}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path, module])
        if module not in done:
            for name in graph[module]:
                visit(name, (*path, module))
            done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize(
    ("package", "shared"),
    [
        ("stores", {"base", "wrapper"}),
        ("operations", set()),
        ("cli.commands", set()),
    ],
)
def test_no_store_verb_or_command_imports_another(package: str, shared: set[str]) -> None:
    registries = {f"{package}.registry", package}
    for module in TREES:
        if module.startswith(f"{package}.") and module not in registries:
            own = ".".join(module.split(".")[: package.count(".") + 2])  # a store may be a package
            others = {name for name in ours(module) if name.startswith(f"{package}.") and not is_within(name, own)}
            assert others <= {f"{package}.{name}" for name in shared}, module


@pytest.mark.parametrize("foreign", ONLY_IN)
def test_what_others_made_is_known_where_it_belongs_and_nowhere_else(foreign: str) -> None:
    users = {module for module in TREES if any(name.split(".")[0] == foreign for name in imported(module))}
    assert {module for module in users if not is_within(module, ONLY_IN[foreign])} == set()


def test_only_settings_reads_the_environment() -> None:
    names = {"environ", "environb", "getenv", "putenv", "unsetenv", "expandvars"}
    assert places(lambda node: isinstance(node, ast.Attribute) and node.attr in names) == {"settings"}


def test_only_the_output_prints() -> None:
    def prints(node: ast.AST) -> bool:
        if isinstance(node, ast.Attribute):
            return ast.unparse(node) in {"sys.stdout", "sys.stderr", "sys.__stdout__", "sys.__stderr__"}
        return isinstance(node, ast.Name) and node.id == "print"

    assert places(prints) == {"cli.output"}


def test_only_the_clock_tells_the_time() -> None:
    def tells(node: ast.AST) -> bool:
        names = {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns"}
        if isinstance(node, ast.ImportFrom):
            return node.module == "time"
        if not isinstance(node, ast.Attribute):
            return False
        return (ast.unparse(node.value) == "time" and node.attr in names) or (
            ast.unparse(node.value) in {"datetime", "date", "datetime.datetime"} and node.attr in {"now", "utcnow", "today"}
        )

    # That of locks is the deadline of a wait, which no clock of a test may turn; suites for strangers have no clock to turn.
    assert places(tells) == {"clock", "database.postgresql", "testing.backends"}


def test_only_files_writes_to_disk() -> None:
    methods = {
        "write_bytes", "write_text", "mkdir", "makedirs", "rename", "renames", "unlink", "rmdir", "removedirs", "hardlink_to",
        "symlink_to", "touch", "chmod", "truncate", "fsync", "FileIO",
    }  # fmt: skip
    functions = {"os.open", "os.replace", "os.remove", "os.link", "os.symlink", "io.open"}

    def writes(node: ast.AST) -> bool:
        if not isinstance(node, ast.Call):
            return False
        called = ast.unparse(node.func)
        name = called.rpartition(".")[2]
        if name == "open":
            modes = [
                value.value
                for value in [*node.args, *(word.value for word in node.keywords)]
                if isinstance(value, ast.Constant)
            ]
            return called in functions or any(isinstance(mode, str) and set(mode) & set("wax+") for mode in modes)
        return (name in methods and called not in {"self.active.touch", "line.truncate"}) or called in functions

    # A database makes its own folder; the output sends what nobody can read to the null device.
    assert places(writes) == {"files", "database.engine", "cli.output"}


def test_every_parameter_of_a_statement_is_bound() -> None:
    """SQL is written out. Where it is put together, what is put in is listed, and comes from the source itself."""
    takers = {"text", "literal_column", "exec_driver_sql", "DDL", "execute", "executescript"}
    found = set()
    for module, tree in TREES.items():
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args]
        for call in calls if is_within(module, ONLY_IN["sqlalchemy"]) else ():
            name, sql = ast.unparse(call.func).rpartition(".")[2], call.args[0]
            built = isinstance(sql, ast.JoinedStr | ast.BinOp) if name == "execute" else not isinstance(sql, ast.Constant)
            if name in takers and built:
                found.add((module, ast.unparse(sql)))
    assert found == set(BUILT_SQL)


def test_every_module_says_what_it_is_and_has_one_subject() -> None:
    assert [module for module, tree in TREES.items() if not ast.get_docstring(tree)] == []
    assert {module: source.count("\n") for module, source in SOURCES.items() if source.count("\n") > MAX_LINES} == {}


def test_the_architecture_names_every_module_at_the_top() -> None:
    text = gamearchive.__doc__ or ""
    for module in TREES:
        if module not in (ROOT, "__main__"):
            assert re.search(rf"\b{module.split('.')[0]}\b", text), module
    for unit in re.findall(r"^([a-z]+(?:, [a-z]+)*)  ", text, re.MULTILINE):
        assert set(unit.split(", ")) <= set(TREES), unit


def error_classes() -> list[type[GameArchiveError]]:
    for module, source in SOURCES.items():
        if "Error(" in source:  # not the script that Alembic alone can run
            importlib.import_module(f"gamearchive.{module}".rstrip("."))
    classes: list[type[GameArchiveError]] = []
    waiting = [GameArchiveError]
    while waiting:
        classes.append(waiting.pop())
        waiting += classes[-1].__subclasses__()
    return [each for each in classes if each.__module__.startswith("gamearchive.")]


def test_every_error_has_a_code_of_its_own_and_a_documented_exit_code() -> None:
    classes = error_classes()
    codes = [each.code for each in classes if "code" in vars(each)]
    assert sorted(codes) == sorted(set(codes))
    # Elsewhere a refinement may go by its parent's code: what a scanner tells its reader is `rejected` to everybody else.
    assert {each for each in classes if "code" not in vars(each) and each.__module__ == errors.__name__} == set()
    documented = {
        int(code): meaning for code, meaning in re.findall(r"^\| (\d+) +\| (.*?) +\|$", str(errors.__doc__), re.MULTILINE)
    }
    for each in classes:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", each.code), each
        assert each.exit_code in documented, each
        assert each.default_hint.endswith("."), each
        assert each.__doc__, each
    assert {code for code in EXIT_CODES if 0 < code < 100} == set(documented)
    for code, meaning in documented.items():
        assert EXIT_CODES[code].startswith(meaning), code


def test_what_is_exported_is_there_and_is_listed_once() -> None:
    listed = gamearchive.__all__
    assert len(listed) == len(set(listed))
    assert set(listed) == set(gamearchive._HOMES)
    for_checkers = {
        alias.asname or alias.name: node.module
        for node in ast.walk(TREES[ROOT])
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("gamearchive.")
        for alias in node.names
    }
    assert for_checkers == {name: f"gamearchive.{home}" for name, home in gamearchive._HOMES.items()}
    for name in listed:
        assert getattr(gamearchive, name) is getattr(importlib.import_module(for_checkers[name]), name)
    assert set(listed) <= set(dir(gamearchive))
    with pytest.raises(AttributeError, match="nonesuch"):
        _ = gamearchive.nonesuch


def test_importing_the_package_imports_nothing_of_it() -> None:
    code = "import sys, gamearchive; print(*(name for name in sys.modules if name.startswith(('gamearchive', 'msgspec'))))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout.split() == ["gamearchive"]


def test_the_keys_of_a_game_in_listings_are_a_promise() -> None:
    promised = (  # noqa: SIM905 - legible
        "entity_type entity_id revision status players winner created_at completed_at archived_at trigger priority policy tags "
        "content_type raw_bytes stored_bytes checksum location tier held expires_at"
    ).split()
    entry = ArchiveEntry("game", "g-1", 1, JSON, Facts(), Provenance(0), 2, 1, bytes(16), Place(""))
    assert list(game_row(entry)) == promised
    assert [column.key for column in FIELDS] == promised
