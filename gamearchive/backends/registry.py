"""Which holdings a storage URL, or a backend, means.

``file:``, ``s3:`` and the schemes of installed stores (`stores.registry`) mean packs in a store. A package may also bring a
backend, through the entry-point group ``gamearchive.backends``: its name is the scheme, its object a function, or a class, from
the whole URL to anything that has ``archive`` and ``retrieve``.
"""

from __future__ import annotations

from gamearchive.backends.base import Holdings
from gamearchive.backends.composite import open_composite
from gamearchive.backends.foreign import ForeignHoldings, TwoMethods
from gamearchive.backends.packed import PackArchiveBackend, PackHoldings
from gamearchive.composition import Composition
from gamearchive.errors import ConfigurationError, GameArchiveError
from gamearchive.keyring import Keyring
from gamearchive.stores.base import Store
from gamearchive.stores.encrypted import EncryptedStore
from gamearchive.stores.registry import installed, is_built_in, store_from_url

ENTRY_POINT_GROUP = "gamearchive.backends"


def open_holdings(url: str, *, level: int, keyring: Keyring, composite: Composition | None = None) -> Holdings:
    """The holdings at a URL: packs in the store that it names, or what a backend keeps that an installed package brings.

    Args:
        url: such as ``file:///var/lib/games/packs``.
        level: of Zstandard, for fresh packs.
        keyring: the keys that it is encrypted with.
        composite: the parts that the storage consists of, in place of one at the URL.

    Raises:
        ConfigurationError: if nobody knows its scheme, or it is not of its form.
    """
    if composite is not None:
        return open_composite(composite, lambda where: open_store(where, keyring), level=level)
    backend = installed_backend(url)
    if backend is None:
        return PackHoldings(open_store(url, keyring), level=level)
    if keyring.present is not None:
        raise ConfigurationError(
            f"What a package of somebody else's keeps at {url.partition(':')[0]}: cannot be encrypted here.",
            hint="Take the setting encryption_key_file away, or choose another storage.",
        )
    return holdings_of(backend, owned=True)


def open_store(url: str, keyring: Keyring) -> Store:
    """The store of packs at a URL.

    Raises:
        ConfigurationError: if no store is known for its scheme, or it is not of its form.
    """
    return EncryptedStore(store_from_url(url), keyring)


def installed_backend(url: str) -> TwoMethods | None:
    """The backend that an installed package makes of a URL; None where the URL's scheme is none of a backend.

    Raises:
        ConfigurationError: if it cannot be made.
    """
    scheme = url.partition(":")[0]
    builder = None if is_built_in(url) else installed(ENTRY_POINT_GROUP, scheme)
    if builder is None:
        return None
    try:
        backend: TwoMethods = builder(url)
    except GameArchiveError:
        raise
    except Exception as error:  # a stranger's may raise anything; its message may hold what it was given, URL and all
        raise ConfigurationError(
            f"What keeps games at {scheme}: cannot be made: {type(error).__name__}.", hint="See what its URLs look like."
        ) from error
    return backend


def holdings_of(backend: TwoMethods, *, owned: bool = False) -> Holdings:
    """A backend as the archive works with it: one of ours knows of packs; of a stranger's, nothing is known.

    Args:
        backend: which.
        owned: whether nobody else closes it.

    Raises:
        ConfigurationError: if it lacks ``archive`` or ``retrieve``.
    """
    return backend.holdings if isinstance(backend, PackArchiveBackend) else ForeignHoldings(backend, owned=owned)
