"""A setting's value as it was given, and what reads it: each kind says what it takes, and from where it got something else."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias

from gamearchive.composition import Composition, MoveRule, PartPlan
from gamearchive.errors import ConfigurationError, UsageError
from gamearchive.schedule import Schedule, parse_schedule
from gamearchive.units import parse_duration, parse_size

PolicyValue: TypeAlias = str | int | float | Sequence[str]
"""What ``[policies.<type>]`` says of an option."""

_URL = re.compile(r"[a-z][a-z0-9+.-]+:")
_LEVEL = re.compile(r"[1-9]|1[0-9]|2[0-2]")
_SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,9})?)%", re.ASCII)
_POINTER = re.compile(r"/(?:[^~]|~[01])*")
_PASSWORD = re.compile(r"(://[^:/?#@]*:)(?:[^/?#]*|[^@]*)@")
_SECRET = re.compile(r"([?&][^=&]*(?:pass|secret|token|key|credential|signature)[^=&]*=)[^&#]*", re.IGNORECASE)


def mask(text: str) -> str:
    """A URL without its secrets: its password, and those of its parameters that look like one."""
    return _SECRET.sub(r"\1***", _PASSWORD.sub(r"\1***@", text))


@dataclass(frozen=True)
class Given:
    """A value as it was given, and where: ``default``, ``file PATH``, ``environment NAME`` or ``flag NAME``.

    ``base`` is the folder that a relative path is relative to.
    """

    value: object
    source: str
    base: Path = Path()

    def wrong(self, key: str, expected: str) -> ConfigurationError:
        """The error that says this value is not what the key takes."""
        shown = mask(self.value) if isinstance(self.value, str) else self.value
        return ConfigurationError(f"The setting `{key}` ({self.source}) is {shown!r}, which is not {expected}.")


def as_size(given: Given, key: str) -> int:
    """A size above zero, in bytes."""
    try:
        size = parse_size(str(given.value)) if isinstance(given.value, str | int) and not isinstance(given.value, bool) else 0
    except UsageError:
        size = 0
    if size < 1:
        raise given.wrong(key, "a size above zero, such as 64MB")
    return size


def as_storage(given: Given, key: str = "storage") -> str:
    """The URL of a storage."""
    # What is not printable is half a surrogate pair: it was not UTF-8.
    if not isinstance(given.value, str) or not _URL.match(given.value) or not given.value.isprintable():
        raise given.wrong(key, "a URL such as file:///path/to/packs")
    return given.value


def as_destination(given: Given, key: str) -> str:
    """The URL of a store, or an absolute path, from one that may be relative to the settings file."""
    expected = "a folder, or a URL such as s3://bucket/prefix"
    if isinstance(given.value, str) and given.value.isprintable() and _URL.match(given.value):
        return given.value
    return str(as_path(given, key, expected))


def as_level(given: Given) -> int:
    """A level of compression, 1 to 22."""
    level = _LEVEL.fullmatch(str(given.value))  # a boolean reads "True", and a fraction has its point: neither is a level
    if level is None:
        raise given.wrong("compression_level", "a whole number from 1 to 22")
    return int(level[0])


def as_path(given: Given, key: str, expected: str) -> Path:
    """An absolute path, from one that may be relative to the settings file or to somebody's home."""
    if not isinstance(given.value, str) or not given.value or "\0" in given.value:
        raise given.wrong(key, expected)
    try:
        return (given.base / Path(given.value).expanduser()).absolute()
    except RuntimeError:
        raise given.wrong(key, f"{expected}: nobody has that name, or no home") from None


def as_pointer(given: Given, key: str) -> str:
    """A JSON pointer."""
    if not isinstance(given.value, str) or not _POINTER.fullmatch(given.value):
        raise given.wrong(key, "a JSON pointer such as /meta/id or /players/*/name")
    return given.value


def _text(given: Given, key: str) -> str:
    if not isinstance(given.value, str):
        raise given.wrong(key, "a text")
    return given.value


def _duration(given: Given, key: str) -> str:
    try:
        timedelta(seconds=parse_duration(str(given.value)))  # an overlong one has no timedelta
    except (UsageError, OverflowError):
        raise given.wrong(key, "a duration such as 90s, 15m, 6h, 7d or 1d12h") from None
    return str(given.value)


def _seconds(given: Given, key: str) -> float:
    return parse_duration(_duration(given, key))


def as_schedule(given: Given, key: str) -> Schedule:
    """A schedule."""
    try:
        return parse_schedule(str(given.value))
    except UsageError as error:
        raise given.wrong(key, "a schedule such as `daily 03:00` or `every 6h budget 60s`") from error


def _within(least: int, most: int) -> Callable[[Given, str], int]:
    def read(given: Given, key: str) -> int:
        if not least <= (number := _whole(given, key)) <= most:
            raise given.wrong(key, f"a whole number from {least:,} to {most:,}")
        return number

    return read


def _whole(given: Given, key: str) -> int:
    if not isinstance(given.value, int) or isinstance(given.value, bool):
        raise given.wrong(key, "a whole number")
    return given.value


def _real(given: Given, key: str) -> float:
    return given.value if isinstance(given.value, float) else _whole(given, key)


def _triggers(given: Given, key: str) -> tuple[str, ...]:
    from gamearchive.model import ArchivalTrigger

    if not isinstance(given.value, list):
        raise given.wrong(key, 'a list of triggers, such as ["game_completed", "manual"]')
    names = [trigger.value for trigger in ArchivalTrigger]
    return tuple(_one_of(names, Given(name, given.source), key) for name in given.value)


def _priority(given: Given, key: str) -> str:
    from gamearchive.model import ArchivalPriority

    return _one_of([priority.name.lower() for priority in ArchivalPriority], given, key)


def _one_of(names: Sequence[str], given: Given, key: str) -> str:
    if given.value not in names:
        raise given.wrong(key, f"one of {', '.join(names)}")
    return str(given.value)


def as_share(given: Given, key: str) -> float:
    """A share such as ``20%``: above 0, and 1 at most."""
    share = _SHARE.fullmatch(given.value) if isinstance(given.value, str) else None
    if share is None or not 0 < float(share[1]) <= 100:
        raise given.wrong(key, "a share such as 20%")
    return float(share[1]) / 100


def as_seconds(given: Given, key: str) -> float:
    """A duration, in seconds."""
    return _seconds(given, key)


def _forever(given: Given, key: str) -> str:
    return _one_of(["forever"], given, key)


def _since(given: Given, key: str) -> str:
    if given.value == "read":
        raise ConfigurationError(
            f"The setting `{key}` ({given.source}) is 'read', and when games were read last is not kept: that would "
            "take a write for each read.",
            hint="Say `archived` or `completed`.",
        )
    return _one_of(["archived", "completed"], given, key)


def _per(given: Given, key: str) -> str:
    return _one_of(["all", "player", "room"], given, key)


POLICY: Mapping[str, Callable[[Given, str], PolicyValue]] = {
    "name": _text,
    "triggers": _triggers,
    "archive_after": _duration,
    "compress_after": _duration,
    "retention_period": _duration,
    "batch_size": _whole,
    "max_concurrent_archives": _whole,
    "check_interval": _duration,
    "memory_threshold_percent": _real,
    "max_entities_in_memory": _whole,
    "archive_timeout": _duration,
    "condition": _text,
    "priority": _priority,
}
"""The options that ``[policies.<type>]`` may say, and what reads each of them."""

WORKER: Mapping[str, Callable[[Given, str], int | float]] = {
    "concurrency": _within(1, 64),
    "batch_size": _within(1, 100_000),
    "max_retries": _within(0, 1000),
    "retry_delay": _seconds,
    "max_queue_size": _within(1, 1_000_000_000),
    "grace": _seconds,
    "keep_done": _seconds,
}
"""The options that ``[worker]`` may say, and what reads each of them."""


def _types(given: Given, key: str) -> tuple[str, ...]:
    from gamearchive.model import check_type

    if not isinstance(given.value, list) or not all(isinstance(name, str) for name in given.value):
        raise given.wrong(key, 'a list of types, such as ["chess", "football"]')
    return tuple(check_type(name) for name in given.value)


COMPOSITE: Mapping[str, Callable[[Given, str], int]] = {"write_quorum": _within(1, 100)}
"""The options that ``[composite]`` may say beside its parts, and what reads each of them."""

PART: Mapping[str, Callable[[Given, str], str | float | Sequence[str]]] = {
    "name": _text,
    "url": as_storage,
    "tier": _text,
    "move_after": _seconds,
    "move_types": _types,
    "move_min_size": as_size,
}
"""The options that ``[[composite.part]]`` may say, and what reads each of them."""

RETENTION: Mapping[str, Callable[[Given, str], str | int | float]] = {
    "name": _text,
    "entity_type": _text,
    "where": _text,
    "keep": _forever,
    "keep_for": _duration,
    "from": _since,
    "keep_last": _within(1, 1_000_000),
    "per": _per,
    "keep_sample": as_share,
}
"""What a rule of ``[[retention]]`` may say, and what reads each of it."""


def part_plan(said: Mapping[str, Any], which: str) -> PartPlan:
    """A part of ``[composite]``, of which the options that are said have been read.

    Raises:
        ConfigurationError: if one is missing that it cannot be without.
    """
    missing = [key for key in ("name", "url") if key not in said]
    if not missing and "move_after" not in said and any(key.startswith("move_") for key in said):
        missing = ["move_after"]
    if missing:
        raise ConfigurationError(
            f"`{which}` does not say its `{missing[0]}`.", hint="The README has an example of [composite]."
        )
    rule = None
    if "move_after" in said:
        rule = MoveRule(said["move_after"], said.get("move_types", ()), said.get("move_min_size", 0))
    return PartPlan(said["name"], said["url"], **{key: said[key] for key in ("tier",) if key in said}, rule=rule)


def shown_composition(composite: Composition) -> dict[str, PolicyValue | None]:
    """What ``[composite]`` says, by its keys, secrets masked."""
    values: dict[str, PolicyValue | None] = {"composite.write_quorum": composite.write_quorum}
    for part in composite.parts:
        values |= {f"composite.{part.name}.url": mask(part.url), f"composite.{part.name}.tier": part.tier}
        if part.rule is not None:
            values[f"composite.{part.name}.move_after"] = f"{part.rule.after:.15g}s"
            if part.rule.types:
                values[f"composite.{part.name}.move_types"] = part.rule.types
            if part.rule.min_bytes:
                values[f"composite.{part.name}.move_min_size"] = part.rule.min_bytes
    return values
