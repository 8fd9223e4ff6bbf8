"""Which holdings a storage URL means."""

from __future__ import annotations

from gamearchive.backends.base import Holdings
from gamearchive.backends.packed import PackHoldings
from gamearchive.keyring import Keyring
from gamearchive.stores.encrypted import EncryptedStore
from gamearchive.stores.registry import store_from_url


def open_holdings(url: str, *, level: int, keyring: Keyring) -> Holdings:
    """The holdings at a URL: packs in the store that the URL names.

    Args:
        url: such as ``file:///var/lib/games/packs``.
        level: of Zstandard, for fresh packs.
        keyring: the keys that it is encrypted with.

    Raises:
        ConfigurationError: if no store is known for its scheme.
    """
    return PackHoldings(EncryptedStore(store_from_url(url), keyring), level=level)
