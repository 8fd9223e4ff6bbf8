"""Settings: where the archive lives and how it is kept, each value with where it came from.

Lowest first: the default, ``gamearchive.toml``, the environment (``GAMEARCHIVE_<NAME>``), a flag. The file is the first that
exists of: ``--config``, ``GAMEARCHIVE_CONFIG``, ``./gamearchive.toml``, ``$XDG_CONFIG_HOME/gamearchive/gamearchive.toml``; one
that was named must exist. ``None`` is unset, and nothing else is: an empty flag is an error, not a wish for the default (a
script's empty variable must not send games elsewhere). Only an empty environment variable counts as unset, as everywhere.

| key                  | is                                                              | default                         |
|----------------------|-----------------------------------------------------------------|---------------------------------|
| home                 | the folder for all that is not placed elsewhere                 | ``$XDG_DATA_HOME/gamearchive``  |
| database             | the catalog's URL                                               | ``sqlite:///<home>/gamearchive.db`` |
| storage              | the packs' URL                                                  | ``file://<home>/packs``         |
| max_record           | a game above this size is rejected                              | 64MB                            |
| compression_level    | Zstandard's, 1 to 22                                            | 3                               |
| encryption_key_file  | the file of the keys that packs are encrypted with              | none: they are not encrypted    |
| undelete_period      | so long expired games can be brought back                       | 7d                              |
| max_share            | an apply that would let more of all games expire is refused     | 20%                             |
| types.<type>.facts.* | JSON pointers to id, players, winner, status, created_at, completed_at | the usual names          |
| policies.<type>.*    | options of an `ArchivalPolicy`: durations such as ``1h``, names, numbers | the type's default    |
| retention[]          | rules that games are kept by, in order (`gamearchive.retention`) | none: all are kept             |
| worker.*             | how the daemon works: the fields of `WorkerSettings`            | those of its fields             |
| backup.destination   | where backups go: a folder, or the URL of a store               | nowhere                         |
| schedule.<duty>      | when the daemon does a periodic duty: ``every 6h budget 60s``   | never                           |
| composite.*          | in place of storage: parts that it consists of (`Composition`)  | none                            |

The last five have neither flag nor variable here: they are tables in the file. Each option of a policy is checked here for what
it is, and by the policy that is made of them for what it says (`policy.policies_from`). A key that nothing reads is an error
that names the nearest one. This module is the only one that reads the environment.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from gamearchive.composition import Composition, PartPlan
from gamearchive.errors import ConfigurationError
from gamearchive.given import (
    COMPOSITE,
    PART,
    Given,
    PolicyValue,
    as_destination,
    as_level,
    as_path,
    as_pointer,
    as_schedule,
    as_seconds,
    as_share,
    as_size,
    as_storage,
    mask,
    part_plan,
    shown_composition,
)
from gamearchive.schedule import Schedule
from gamearchive.sections import as_table, by_type, read_policies, read_retention, read_worker, refuse_unknown

PREFIX = "GAMEARCHIVE_"
FILE_NAME = "gamearchive.toml"
MAX_FILE_CHARACTERS = 1 << 20
"""A settings file is never larger: one that is is another file, or a device without end."""
KEYS = (
    "home", "database", "storage", "max_record", "compression_level", "encryption_key_file", "undelete_period", "max_share",
)  # fmt: skip
"""The settings that flags and environment variables may give, by their names in the file."""
FACTS = ("id", "players", "winner", "status", "created_at", "completed_at")
"""The facts whose places ``[types.<type>.facts]`` may say."""

DUTIES = ("compact", "tier", "resync", "verify", "backup", "retention")
"""The periodic duties whose times ``[schedule]`` may say."""

_DATABASES = re.compile(r"(sqlite|postgresql)(\+\w+)?://")


def variable(name: str) -> str | None:
    """The environment variable ``GAMEARCHIVE_<NAME>``; None where it is unset or empty."""
    return os.environ.get(PREFIX + name.upper()) or None


def colour_wanted() -> bool | None:
    """What NO_COLOR and FORCE_COLOR ask for; None where neither is set."""
    if os.environ.get("NO_COLOR"):
        return False
    return True if os.environ.get("FORCE_COLOR") else None


def supervisor() -> tuple[str | None, float | None]:
    """The socket at which systemd listens to this process, and the seconds within which its watchdog wants to hear of it."""
    usec, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    watched = usec.isdigit() and pid in ("", str(os.getpid()))
    return os.environ.get("NOTIFY_SOCKET") or None, int(usec) / 1e6 if watched else None


def completing(program: str) -> bool:
    """Whether a shell asks this program to complete a command line, rather than to run one."""
    return bool(os.environ.get(f"_{program.upper()}_COMPLETE"))


@dataclass(frozen=True)
class WorkerSettings:
    """How ``gamearchive worker run`` works, and how much may wait for it.

    Args:
        concurrency: so many batches are archived at a time.
        batch_size: so many games are archived together at most.
        max_retries: so many times a job is tried again.
        retry_delay: seconds before the first retry; it doubles with each, and a part of it is left to chance.
        max_queue_size: so many jobs may wait.
        grace: seconds for what is being archived when the worker is to stop.
        keep_done: for so many seconds it is known of a job that it is done.
    """

    concurrency: int = 2
    batch_size: int = 1000
    max_retries: int = 3
    retry_delay: float = 30.0
    max_queue_size: int = 1_000_000
    grace: float = 30.0
    keep_done: float = 86_400.0


@dataclass(frozen=True)
class Settings:
    """All settings, resolved.

    ``facts`` are the JSON pointers by type and fact, ``policies`` what is said of policies by type and option; only those that
    are set. Where there is a ``composite``, ``storage`` only names it. ``file`` is the settings file that was read, if any;
    ``sources`` has a source for every key.
    """

    home: Path
    database: str
    storage: str
    max_record: int
    compression_level: int
    encryption_key_file: Path | None
    undelete_period: float
    max_share: float
    facts: Mapping[str, Mapping[str, str]]
    policies: Mapping[str, Mapping[str, PolicyValue]]
    retention: Sequence[Mapping[str, str | int | float]]
    worker: WorkerSettings
    schedules: Mapping[str, Schedule]
    composite: Composition | None
    backup_destination: str | None
    file: Path | None
    sources: Mapping[str, str]

    def facts_of(self, entity_type: str) -> Mapping[str, str]:
        """The JSON pointers set for a type, by fact: `FACTS` are the names, and one not set is absent."""
        return self.facts.get(entity_type, {})

    def moved_to(self, home: Path) -> Settings:
        """The same settings for an archive that has nothing in common with this one: all of it lies in another folder."""
        database, storage = _sqlite_url(home / "gamearchive.db"), (home / "packs").as_uri()
        return replace(self, home=home, database=database, storage=storage, composite=None)

    @property
    def storage_urls(self) -> list[str]:
        """Where packs are: one URL, or those of all parts."""
        return [self.storage] if self.composite is None else [part.url for part in self.composite.parts]

    def shown(self) -> dict[str, PolicyValue | None]:
        """Every setting by its key in the file, fit to be shown: secrets masked."""
        values: dict[str, PolicyValue | None] = {
            "home": str(self.home),
            "database": mask(self.database),
            "storage": mask(self.storage),
            "max_record": self.max_record,
            "compression_level": self.compression_level,
            "encryption_key_file": None if self.encryption_key_file is None else str(self.encryption_key_file),
            "undelete_period": f"{self.undelete_period:g}s",
            "max_share": f"{self.max_share * 100:g}%",
        }
        for entity_type, pointers in self.facts.items():
            values |= {f"types.{entity_type}.facts.{fact}": pointer for fact, pointer in pointers.items()}
        for entity_type, policy in self.policies.items():
            values |= {f"policies.{entity_type}.{option}": value for option, value in policy.items()}
        for rule in self.retention:
            values |= {f"retention.{rule['name']}.{key}": value for key, value in rule.items() if key != "name"}
        for field in fields(self.worker):
            value = getattr(self.worker, field.name)
            values[f"worker.{field.name}"] = f"{value:g}s" if isinstance(value, float) else value
        if self.backup_destination is not None:
            values["backup.destination"] = mask(self.backup_destination)
        values |= {f"schedule.{duty}": str(schedule) for duty, schedule in self.schedules.items()}
        return values if self.composite is None else values | shown_composition(self.composite)


def load_settings(flags: Mapping[str, str | None] | None = None, config: str | None = None) -> Settings:
    """Resolve all settings.

    Args:
        flags: what flags say, by `KEYS`; None where a flag was not given.
        config: the settings file that ``--config`` names.

    Raises:
        ConfigurationError: if the file cannot be read or is no TOML, a key is unknown, or a value is not what its key takes.
    """
    given = _defaults()
    file, table = _read_file(config)
    if file is not None:
        refuse_unknown(table, (*KEYS, "types", "policies", "retention", "worker", "backup", "schedule", "composite"), "", file)
        given |= {key: Given(table[key], f"file {file}", file.parent) for key in KEYS if key in table}
    for key in KEYS:
        from_environment, flag = variable(key), (flags or {}).get(key)
        if from_environment is not None:
            given[key] = Given(from_environment, f"environment {PREFIX}{key.upper()}")
        if flag is not None:
            given[key] = Given(flag, f"flag --{key.replace('_', '-')}")
    facts = {} if file is None else _facts(table.get("types", {}), file)
    sources = {key: given[key].source if key in given else "default" for key in KEYS}
    sources |= {f"types.{entity_type}.facts.{fact}": f"file {file}" for entity_type in facts for fact in facts[entity_type]}
    policies = {} if file is None else read_policies(table.get("policies", {}), file)
    sources |= {f"policies.{entity_type}.{key}": f"file {file}" for entity_type in policies for key in policies[entity_type]}
    retention = [] if file is None else read_retention(table.get("retention", []), file)
    sources |= {f"retention.{rule['name']}.{key}": f"file {file}" for rule in retention for key in rule}
    worker = {} if file is None else read_worker(table.get("worker", {}), file)
    destination = None if file is None else _destination(table.get("backup", {}), file)
    if destination is not None:
        sources["backup.destination"] = f"file {file}"
    schedules = {} if file is None else _schedules(table.get("schedule", {}), file)
    if "backup" in schedules and destination is None:
        raise ConfigurationError(
            f"In {file}, `schedule.backup` says when backups are made, and nothing says where they go.",
            hint='Add a table [backup] with destination = "/path/to/folder", or the URL of a store.',
        )
    sources |= {
        f"worker.{field.name}": f"file {file}" if field.name in worker else "default" for field in fields(WorkerSettings)
    }
    sources |= {f"schedule.{duty}": f"file {file}" for duty in schedules}
    composite = None if file is None else _composite(table, file)
    if composite is not None:
        if "storage" in table:
            raise ConfigurationError(
                f"{file} has both `storage` and `[composite]`.",
                hint="Leave one of them out: a composite takes storage's place.",
            )
        if "storage" in given:
            composite = None  # the environment or a flag says something else
        else:
            sources |= dict.fromkeys(("storage", *shown_composition(composite)), f"file {file}")
            given["storage"] = Given(composite.url, f"file {file}")
    home = _representable(_home(given.get("home")))
    return Settings(
        home=home,
        database=_database(given["database"]) if "database" in given else _sqlite_url(home / "gamearchive.db"),
        storage=as_storage(given["storage"]) if "storage" in given else (home / "packs").as_uri(),
        max_record=as_size(given["max_record"], "max_record"),
        compression_level=as_level(given["compression_level"]),
        encryption_key_file=_key_file(given.get("encryption_key_file")),
        undelete_period=as_seconds(given["undelete_period"], "undelete_period"),
        max_share=as_share(given["max_share"], "max_share"),
        facts=facts,
        policies=policies,
        retention=retention,
        worker=WorkerSettings(**worker),
        schedules=schedules,
        composite=composite,
        backup_destination=destination,
        file=file,
        sources=sources,
    )


def _defaults() -> dict[str, Given]:
    """The defaults that stand by themselves; those of the places follow from the home."""
    said = {"max_record": "64MB", "compression_level": 3, "undelete_period": "7d", "max_share": "20%"}
    return {key: Given(value, "default") for key, value in said.items()}


def _read_file(config: str | None) -> tuple[Path | None, dict[str, object]]:
    """The settings file that applies, and what it holds; nothing where there is none."""
    named = config if config is not None else variable("config")
    folder = _xdg("XDG_CONFIG_HOME", ".config")
    candidates = [Path(FILE_NAME), *([folder / "gamearchive" / FILE_NAME] if folder else [])]
    for path in [Path(named)] if named is not None else candidates:
        try:
            with path.open(encoding="utf-8-sig") as file:
                text = file.read(MAX_FILE_CHARACTERS + 1)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise ConfigurationError(f"The settings file {path} cannot be read: {error.strerror}.") from None
        except UnicodeDecodeError:
            raise ConfigurationError(f"The settings file {path} is not UTF-8.") from None
        if len(text) > MAX_FILE_CHARACTERS:
            raise ConfigurationError(f"The settings file {path} has more than {MAX_FILE_CHARACTERS:,} characters.")
        try:
            return path.absolute(), tomllib.loads(text)
        except RecursionError:
            raise ConfigurationError(f"The settings file {path} is nested too deeply to be read.") from None
        except ValueError as error:  # no TOML, or a number of thousands of digits
            raise ConfigurationError(f"The settings file {path} is not TOML: {error}.") from None
    if named is not None:
        raise ConfigurationError(f"There is no settings file {named!r}.", hint="Name another with --config, or leave it out.")
    return None, {}


def _xdg(name: str, fallback: str) -> Path | None:
    """A base folder of the XDG specification, which ignores relative ones; None for a user without a home."""
    if (set_to := os.environ.get(name, "")) and Path(set_to).is_absolute():
        return Path(set_to)
    try:
        return Path.home() / fallback
    except RuntimeError:
        return None


def _facts(types: object, file: Path) -> dict[str, dict[str, str]]:
    """The pointers of ``[types.<type>.facts]``, checked."""
    facts: dict[str, dict[str, str]] = {}
    for entity_type, settings in by_type(types, "types", file):
        prefix = f"types.{entity_type}."
        refuse_unknown(settings, ("facts",), prefix, file)
        pointers = as_table(settings.get("facts", {}), f"{prefix}facts", file)
        refuse_unknown(pointers, FACTS, f"{prefix}facts.", file)
        facts[entity_type] = {
            fact: as_pointer(Given(pointer, f"file {file}"), f"{prefix}facts.{fact}") for fact, pointer in pointers.items()
        }
    return facts


def _destination(value: object, file: Path) -> str | None:
    """Where ``[backup]`` says that backups go: a URL, or a folder, relative to the file's own."""
    table = as_table(value, "backup", file)
    refuse_unknown(table, ("destination",), "backup.", file)
    if "destination" not in table:
        return None
    return as_destination(Given(table["destination"], f"file {file}", file.parent), "backup.destination")


def _schedules(value: object, file: Path) -> dict[str, Schedule]:
    """The schedules of ``[schedule]``."""
    table = as_table(value, "schedule", file)
    refuse_unknown(table, DUTIES, "schedule.", file)
    return {duty: as_schedule(Given(said, f"file {file}"), f"schedule.{duty}") for duty, said in table.items()}


def _composite(table: Mapping[str, object], file: Path) -> Composition | None:
    """What ``[composite]`` says, made sense of."""
    if "composite" not in table:
        return None
    said = as_table(table["composite"], "composite", file)
    refuse_unknown(said, (*COMPOSITE, "part"), "composite.", file)
    parts = said.get("part", [])
    if not isinstance(parts, list):
        raise Given(parts, f"file {file}").wrong("composite.part", "a list of tables: write [[composite.part]]")
    plans: list[PartPlan] = []
    for number, value in enumerate(parts, 1):
        prefix = f"composite.part {number}"
        part = as_table(value, prefix, file)
        refuse_unknown(part, tuple(PART), f"{prefix}: ", file)
        plans.append(
            part_plan({key: PART[key](Given(each, f"file {file}"), f"{prefix}: {key}") for key, each in part.items()}, prefix)
        )
    options = {key: COMPOSITE[key](Given(said[key], f"file {file}"), f"composite.{key}") for key in COMPOSITE if key in said}
    return Composition(tuple(plans), **options)


def _home(given: Given | None) -> Path:
    if given is None:
        folder = _xdg("XDG_DATA_HOME", ".local/share")
        if folder is None:
            raise ConfigurationError("This user has no home folder to keep an archive in.", hint="Say where with --home DIR.")
        return folder / "gamearchive"
    return as_path(given, "home", "a folder's path")


def _key_file(given: Given | None) -> Path | None:
    return None if given is None else as_path(given, "encryption_key_file", "a file's path")


def _representable(home: Path) -> Path:
    """The home as it is.

    Raises:
        ConfigurationError: if it is not UTF-8, for then neither a URL nor a listing could name what is in it.
    """
    try:
        str(home).encode()
    except UnicodeEncodeError:
        raise ConfigurationError(
            f"The archive's home {str(home)!r} is not UTF-8.", hint="Name another with --home DIR, or rename the folder."
        ) from None
    return home


def _sqlite_url(path: Path) -> str:
    """The URL of a SQLite file. SQLAlchemy takes a path as it is, but for what begins a query and what quotes."""
    return f"sqlite:///{path}".replace("%", "%25").replace("?", "%3F")


def _is_url(text: str, pattern: re.Pattern[str]) -> bool:
    return pattern.match(text) is not None and text.isprintable()  # half a surrogate pair: what was not UTF-8


def _database(given: Given) -> str:
    if not isinstance(given.value, str) or not _is_url(given.value, _DATABASES):
        raise given.wrong("database", "a URL such as sqlite:////path/to/gamearchive.db or postgresql+psycopg://user@host/name")
    return given.value
