"""The tables of a settings file, each checked: what nothing reads is an error that names the nearest that something does."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from gamearchive.errors import ConfigurationError, UsageError
from gamearchive.given import POLICY, RETENTION, WORKER, Given, PolicyValue


def refuse_unknown(table: Iterable[str], known: tuple[str, ...], prefix: str, file: Path) -> None:
    """Make sure that a table has known keys alone."""
    for key in table:
        if key not in known:
            nearest = difflib.get_close_matches(key, known, n=1, cutoff=0)[0]
            raise ConfigurationError(
                f"`{prefix}{key}` in {file} is not a setting; the nearest is `{prefix}{nearest}`.",
                hint=f"Known here: {', '.join(prefix + name for name in known)}.",
            )


def read_policies(tables: object, file: Path) -> dict[str, dict[str, PolicyValue]]:
    """The options of ``[policies.<type>]``, each of its kind."""
    policies: dict[str, dict[str, PolicyValue]] = {}
    for entity_type, options in by_type(tables, "policies", file):
        prefix = f"policies.{entity_type}."
        refuse_unknown(options, tuple(POLICY), prefix, file)
        policies[entity_type] = {
            option: POLICY[option](Given(value, f"file {file}"), prefix + option) for option, value in options.items()
        }
    return policies


def read_retention(tables: object, file: Path) -> list[dict[str, str | int | float]]:
    """The rules of ``[[retention]]``, what is said in each of its kind."""
    if not isinstance(tables, list):
        raise Given(tables, f"file {file}").wrong("retention", "a list of rules, each under [[retention]]")
    rules = []
    for number, said in enumerate(tables, 1):
        table = as_table(said, "retention", file)
        refuse_unknown(table, tuple(RETENTION), "retention.", file)
        if "name" not in table:
            raise ConfigurationError(f"Rule {number} of [[retention]] in {file} has no name.", hint="Call it something.")
        rules.append({key: RETENTION[key](Given(value, f"file {file}"), f"retention.{key}") for key, value in table.items()})
    return rules


def read_worker(value: object, file: Path) -> dict[str, Any]:
    """What ``[worker]`` says, each of its kind."""
    table = as_table(value, "worker", file)
    refuse_unknown(table, tuple(WORKER), "worker.", file)
    return {key: WORKER[key](Given(said, f"file {file}"), f"worker.{key}") for key, said in table.items()}


def by_type(value: object, key: str, file: Path) -> Iterator[tuple[str, dict[str, object]]]:
    """The tables of a table that has one for each type of game."""
    from gamearchive.model import check_type

    for entity_type, settings in as_table(value, key, file).items():
        try:
            check_type(entity_type)
        except UsageError as error:
            raise ConfigurationError(f"In {file}: {error.message}", hint=error.hint) from None
        yield entity_type, as_table(settings, f"{key}.{entity_type}", file)


def as_table(value: object, key: str, file: Path) -> dict[str, object]:
    """A value that is a table."""
    if not isinstance(value, dict):
        raise Given(value, f"file {file}").wrong(key, "a table")
    return value
