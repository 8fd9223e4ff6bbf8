"""Whose storage is it? An archive's id stands in its catalog, and in a mark in its storage.

Without it, a second home that is pointed at the same storage would take the first one's packs for strays, and repair them away.
The mark is made when an archive is first written to, also beside packs that are older than it. What has no mark where the
catalog names packs is not mended but refused: a disk that is not mounted looks just like that.
"""

from __future__ import annotations

from uuid import uuid4

from gamearchive.backends.base import Holdings
from gamearchive.catalog import Catalog
from gamearchive.database.engine import Database
from gamearchive.errors import RefusedError, StorageUnavailableError, UnsupportedError


def check_owner(catalog: Catalog, holdings: Holdings, *, claim: bool) -> None:
    """Make sure that a storage is that of a catalog.

    Args:
        catalog: which may have no id yet.
        holdings: the storage, which may have no mark yet.
        claim: whether to mark it then.

    Raises:
        RefusedError: if it is another archive's.
        StorageUnavailableError: if there is nothing at all in it of what the catalog names.
    """
    try:
        owner = holdings.owner()
    except UnsupportedError:
        return
    if owner is None:
        named = next(catalog.packs(), None)
        if named is not None and next(holdings.packs(), None) is None:
            raise StorageUnavailableError(
                f"{holdings.name} has none of the packs that the catalog names.",
                hint="Mount it, or name the right one with --storage. If all is lost for good, begin anew with what there is: "
                "`gamearchive rebuild --force`.",
            )
        if claim:
            owner = holdings.claim(catalog.identify(uuid4().hex))
    if owner is not None and owner != catalog.identity():
        raise RefusedError(
            f"The packs in {holdings.name} are those of another archive than the catalog in {catalog.database.name}.",
            hint="Name the right one with --storage or --database. If that catalog is lost, make one from the packs with "
            "`gamearchive rebuild`.",
        )


def adopt_owner(catalog: Catalog, holdings: Holdings) -> None:
    """Give a new catalog the id of a storage, which is marked with one now if it was not before."""
    try:
        catalog.identify(holdings.claim(uuid4().hex))
    except UnsupportedError:
        return


def is_kept_to(holdings: Holdings) -> bool:
    """Whether there is an archive's mark in a storage, or a pack."""
    try:
        return holdings.owner() is not None or next(holdings.packs(), None) is not None
    except UnsupportedError:
        return False


def refuse_second_catalog(database: Database, holdings: Holdings) -> None:
    """Packs without a catalog: it was lost, or is elsewhere, and an empty one would know nothing of their games.

    Raises:
        RefusedError: if it is so.
    """
    # In this order: whoever puts the first pack has made the catalog before.
    if is_kept_to(holdings) and not database.exists():
        raise RefusedError(
            f"There are packs in {holdings.name}, but no catalog in {database.name}.",
            hint="Make the catalog from the packs with `gamearchive rebuild`, or name the right one with --database.",
        )
