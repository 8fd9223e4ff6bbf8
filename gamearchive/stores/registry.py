"""From a URL to the store it means.

``file:///absolute/path`` is a folder, ``s3://bucket/prefix`` a bucket, ``memory:`` a store of this process alone. Other
schemes come through the entry-point group ``gamearchive.stores``, from packages installed beside this one, and one from this:
``postgresql``, whose store knows what a pack is, and so stands above. The name is the scheme, the object a function from the
whole URL to a `Store`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from gamearchive.errors import ConfigurationError
from gamearchive.stores.base import Store
from gamearchive.stores.filesystem import FileSystemStore
from gamearchive.stores.memory import MemoryStore

ENTRY_POINT_GROUP = "gamearchive.stores"


def store_from_url(url: str) -> Store:
    """The store that a URL means. Nothing is made or connected to yet.

    Raises:
        ConfigurationError: if no store knows the scheme, or the URL is not of its form.
    """
    scheme, colon, _ = url.partition(":")
    if not colon:
        raise ConfigurationError("The storage is not a URL.", hint="A folder is written file:///absolute/path.")
    builder: Callable[[str], Store] | None = _BUILDERS.get(scheme) or installed(ENTRY_POINT_GROUP, scheme)
    if builder is None:
        from importlib.metadata import entry_points

        others = (point.name for group in (ENTRY_POINT_GROUP, "gamearchive.backends") for point in entry_points(group=group))
        known = ", ".join(sorted({*_BUILDERS, *others}))
        raise ConfigurationError(
            f"No store knows the scheme {scheme!r} of the storage's URL.",
            hint=f"Known schemes: {known}. Others come with the package that brings them.",
        )
    return builder(url)


def folder_of(url: str) -> Path | None:
    """The folder of this machine that a store's URL means, if it means one.

    Raises:
        ConfigurationError: if the URL is not of its form.
    """
    return _file_folder(url) if url.startswith("file:") else None


def _file_store(url: str) -> Store:
    return FileSystemStore(_file_folder(url))


def _file_folder(url: str) -> Path:
    try:
        parts = urlsplit(url)
        path = unquote(parts.path, errors="strict")
    except ValueError:  # a bracket that is not closed, or bytes that are not UTF-8
        parts, path = urlsplit(""), ""
    if parts.netloc not in ("", "localhost") or not path.startswith("/") or "\0" in path or parts.query or parts.fragment:
        raise ConfigurationError(
            f"{url!r} does not name an absolute folder of this machine.",
            hint="Write file:// and the absolute path: file:///var/lib/games; ? and # in it as %3F and %23.",
        )
    return Path(path.lstrip("/") if sys.platform == "win32" else path)


def _memory_store(url: str) -> Store:
    if url != "memory:":
        raise ConfigurationError(f"{url!r} says more than `memory:`, which has nothing to choose.")
    return MemoryStore()


def _s3_store(url: str) -> Store:
    from gamearchive.stores.s3 import s3_store

    return s3_store(url)


def is_built_in(url: str) -> bool:
    """Whether the store that a URL means is one of this package's own."""
    return url.partition(":")[0] in _BUILDERS


def installed(group: str, scheme: str) -> Callable[[str], Any] | None:
    """What an installed package makes of a scheme's URLs; None if none does.

    Args:
        group: of entry points.
        scheme: the entry point's name.

    Raises:
        ConfigurationError: if it cannot be loaded.
    """
    from importlib.metadata import entry_points  # takes longer to import than all the rest of this package

    for point in entry_points(group=group, name=scheme):
        try:
            return cast("Callable[[str], Any]", point.load())
        except (ImportError, AttributeError) as error:
            raise ConfigurationError(
                f"What keeps games at {scheme}: cannot be loaded: {error}.",
                hint="Install what the package that brings it needs.",
            ) from error
    return None


_BUILDERS: dict[str, Callable[[str], Store]] = {"file": _file_store, "memory": _memory_store, "s3": _s3_store}
