"""Which holdings a storage URL means."""

from __future__ import annotations

from gamearchive.backends.base import Holdings
from gamearchive.backends.packed import PackHoldings
from gamearchive.stores.registry import store_from_url


def open_holdings(url: str, *, level: int) -> Holdings:
    """The holdings at a URL: packs in the store that the URL names.

    Args:
        url: such as ``file:///var/lib/games/packs``.
        level: of Zstandard, for fresh packs.

    Raises:
        ConfigurationError: if no store is known for its scheme.
    """
    return PackHoldings(store_from_url(url), level=level)
