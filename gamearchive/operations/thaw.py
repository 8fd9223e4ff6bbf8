"""Games that lie where they cannot be read at once, such as in S3's GLACIER: brought back, just what they need of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from gamearchive.archive import Archive
from gamearchive.errors import NotFoundError
from gamearchive.model import ArchiveEntry

Object = tuple[str, int | None]
"""A pack by its key, or a dictionary by its type and number."""


@dataclass(frozen=True, slots=True)
class Thawing:
    """How many packs and dictionaries are needed; and which cannot be read yet, with how long that takes, for people."""

    needed: int
    cold: Mapping[Object, str]


def thaw(archive: Archive, entries: Iterable[ArchiveEntry], days: int) -> Iterator[Thawing]:
    """Have all that some games need brought back.

    Args:
        archive: where they are.
        entries: the games.
        days: how long it is to stay where it can be read, at least.

    Yields:
        What cannot be read yet, having been asked for; next time again what of it still cannot, until all can be. The caller
        waits in between, or leaves.
    """
    packs: dict[str, None] = dict.fromkeys(entry.place.pack for entry in entries)
    rows = [row for row in map(archive.catalog.pack, packs) if row is not None]
    dictionaries = {(row.key.partition("/")[0], row.dictionary_id): None for row in rows if row.dictionary_id is not None}
    needed: list[Object] = [*((key, None) for key in packs), *dictionaries]
    cold = _ask(archive, needed, days)
    while cold:
        yield Thawing(len(needed), cold)
        cold = _ask(archive, cold, days)


def _ask(archive: Archive, needed: Iterable[Object], days: int) -> dict[Object, str]:
    found, holdings = dict[Object, str](), archive.holdings
    for key, number in needed:
        with suppress(NotFoundError):  # what is lost is told by whoever reads it
            takes = holdings.thaw(key, days) if number is None else holdings.thaw_dictionary(key, number, days)
            if takes is not None:
                found[key, number] = takes
    return found
