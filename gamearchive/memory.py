"""How full the memory is that this process may use: the machine's, or the container's, whichever is the tighter.

A container is killed at its own limit, whatever the machine has left. On Linux the limits are those of the control groups that
the process is in: of its own and of all above it, as far up as can be seen from here, since each bounds what is below it. In
version 2 they are ``memory.max`` and ``memory.high`` (above which the kernel slows the process down), in version 1
``memory.limit_in_bytes``; a machine may run both at once, with the memory in either. Of what a group uses, file pages that
nobody has touched of late (``inactive_file``) do not count, for the kernel takes them back before it kills. The machine's own
measure is ``MemAvailable`` of ``/proc/meminfo``.

Groups are looked for where systemd, Docker and Kubernetes mount them, below ``/sys/fs/cgroup``. Within a container the path of
the group may be the host's, and not be there: then what is mounted is the container's own.

Other systems tell this only through subprocesses or their own libraries: there it is unknown, which is ``None`` and never
pressure, and a limit on the bytes of games in play has to do.

See "Control Group v2" and "Memory Resource Controller" in the kernel's admin guide, and proc_meminfo(5).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gamearchive.errors import ConfigurationError

_UNIFIED = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
_LEGACY = "/sys/fs/cgroup/memory"
_UNLIMITED = 1 << 62  # version 1 says "no limit" with the largest number of whole pages


class Reading(NamedTuple):
    """How much is used of how much, in bytes, and whose limit that is: the file that holds it."""

    used_bytes: int
    limit_bytes: int
    source: str

    @property
    def percent(self) -> float:
        """How full it is: above 100 where a limit was lowered, or may be passed for a moment."""
        return 100 * self.used_bytes / self.limit_bytes

    def bytes_above(self, percent: float) -> int:
        """How many bytes must go for it to be this full."""
        return max(0, self.used_bytes - int(self.limit_bytes * percent / 100))


def read_memory(root: Path = Path("/")) -> Reading | None:
    """How full the fullest of all that bounds this process is; None if nothing is known.

    This reads some small files of the kernel's, in about 0.1 ms.

    Args:
        root: where the file system of the machine is.
    """
    return max(_readings(root), key=lambda reading: reading.percent, default=None)


class Pressure:
    """Whether memory is so full that games should go: from the threshold on, until it is less full than the release.

    Args:
        threshold_percent: from when on memory is under pressure.
        release_percent: below what it is no more; 5 below the threshold if None.

    Raises:
        ConfigurationError: if these are no percentages, or the wrong way round.
    """

    def __init__(self, threshold_percent: float, release_percent: float | None = None) -> None:
        release = max(threshold_percent - 5, 0.0) if release_percent is None else release_percent
        if not 0 < threshold_percent <= 100:
            raise ConfigurationError(
                f"Memory cannot be under pressure from {threshold_percent} % on.", hint="Give more than 0 and at most 100."
            )
        if not 0 <= release <= threshold_percent:
            raise ConfigurationError(
                f"Memory that is under pressure from {threshold_percent} % on cannot be released at {release} %.",
                hint="Give a release that is at most the threshold.",
            )
        self.threshold_percent = threshold_percent
        self.release_percent = release
        self.active = False

    def update(self, reading: Reading | None) -> int:
        """Take a reading: how many bytes must go to end the pressure, 0 if there is none.

        Where nothing is known there is no pressure.
        """
        self.active = reading is not None and (
            reading.percent >= self.threshold_percent or (self.active and reading.percent >= self.release_percent)
        )
        return reading.bytes_above(self.release_percent) + 1 if reading is not None and self.active else 0


def _readings(root: Path) -> Iterator[Reading]:
    """All that bounds this process."""
    machine = _content(f"{root}/proc/meminfo")
    total, available = _field(machine, b"MemTotal:"), _field(machine, b"MemAvailable:")
    if total and available is not None:
        yield Reading((total - available) * 1024, total * 1024, "/proc/meminfo")
    for line in os.fsdecode(_content(f"{root}/proc/self/cgroup")).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if not controllers:
            for mount in _UNIFIED:
                for folder in _upwards(mount, group):
                    yield from _bounded(root, folder, ("memory.max", "memory.high"), "memory.current", b"inactive_file")
        elif "memory" in controllers.split(","):
            for folder in _upwards(_LEGACY, group):
                yield from _bounded(root, folder, ("memory.limit_in_bytes",), "memory.usage_in_bytes", b"total_inactive_file")


def _upwards(mount: str, group: str) -> Iterator[str]:
    """The folders of a group and of all above it, up to where they are mounted."""
    parts = [part for part in group.split("/") if part]
    if ".." in parts:  # the group is outside of what can be seen from here
        parts = []
    for length in range(len(parts), -1, -1):
        yield "/".join([mount, *parts[:length]])


def _bounded(root: Path, folder: str, limits: tuple[str, ...], usage: str, inactive: bytes) -> Iterator[Reading]:
    """How full a group is, if it has a limit. A limit of 0 is how pages are called back for once, and bounds nothing."""
    found = [(limit, name) for name in limits if (limit := _number(f"{root}{folder}/{name}")) and limit < _UNLIMITED]
    used = _number(f"{root}{folder}/{usage}") if found else None
    if used is not None:
        limit, name = min(found)
        used -= _field(_content(f"{root}{folder}/memory.stat"), inactive) or 0
        yield Reading(max(used, 0), limit, f"{folder}/{name}")


def _field(content: bytes, name: bytes) -> int | None:
    """The number after a name at the beginning of a line; None if there is none."""
    found = re.search(rb"^" + name + rb"\s+(\d{1,18})\b", content, re.MULTILINE)
    return int(found[1]) if found else None


def _number(path: str) -> int | None:
    """The number that a file holds; None if it holds another thing (``max``), or is not there."""
    found = re.fullmatch(rb"(\d{1,19})\s*", _content(path))
    return int(found[1]) if found else None


def _content(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""
