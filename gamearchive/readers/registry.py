"""Which reader reads a source: the one asked for, or the one its name promises, or the one its content looks like.

Readers of other packages join through the entry-point group ``gamearchive.readers``. They are looked up only when no reader
of this package settles the matter, since looking through what is installed costs more than reading a small file. A name or an
end of a name that this package knows stays its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from gamearchive.errors import ConfigurationError, UsageError
from gamearchive.readers.base import Reader
from gamearchive.readers.json import JsonReader
from gamearchive.readers.opaque import OpaqueReader
from gamearchive.readers.pgn import PgnReader

GROUP = "gamearchive.readers"

OPAQUE = OpaqueReader()
OWN: tuple[Reader, ...] = (PgnReader(), JsonReader(), OPAQUE)
"""The readers of this package, in the order in which they are asked."""


def reader_named(name: str) -> Reader:
    """The reader that ``--format`` asks for.

    Raises:
        UsageError: if there is none of that name.
        ConfigurationError: if an installed reader cannot be loaded.
    """
    for reader in _all_readers():
        if reader.name == name:
            return reader
    known = ", ".join(sorted(reader.name for reader in _all_readers()))
    raise UsageError(f"There is no reader for the format {name!r}.", hint=f"Use one of: {known}.")


def reader_of_name(name: str) -> Reader | None:
    """The reader that the end of a file's name promises.

    Raises:
        ConfigurationError: if an installed reader cannot be loaded.
    """
    return next((reader for reader in _all_readers() if name.lower().endswith(reader.suffixes)), None)


def reader_of_content(head: bytes) -> Reader:
    """The reader whose format the first bytes of a source look like; the opaque one if they look like none.

    Raises:
        ConfigurationError: if an installed reader cannot be loaded.
    """
    return next((reader for reader in _all_readers() if reader.sniff(head)), OPAQUE)


def _all_readers() -> Iterator[Reader]:
    yield from OWN
    yield from _installed()


@cache
def _installed() -> tuple[Reader, ...]:
    """The readers of other packages, by name."""
    from importlib.metadata import entry_points

    readers = []
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        if any(entry.name == reader.name for reader in OWN):
            continue
        try:
            reader = entry.load()()
        except (ImportError, AttributeError, TypeError) as error:
            raise ConfigurationError(
                f"The reader {entry.name!r} of {entry.value!r} cannot be loaded: {error}",
                hint="Mend or uninstall the package that brings it.",
            ) from error
        if not isinstance(reader, Reader):
            raise ConfigurationError(
                f"The reader {entry.name!r} of {entry.value!r} is not a gamearchive.readers.Reader.",
                hint="Mend or uninstall the package that brings it.",
            )
        readers.append(reader)
    return tuple(readers)
