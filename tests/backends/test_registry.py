from __future__ import annotations

from pathlib import Path

import pytest
from packs.pack_samples import entry_of

from gamearchive.backends.registry import open_holdings
from gamearchive.errors import ConfigurationError
from gamearchive.keyring import Keyring


def test_a_folder_holds_packs(tmp_path: Path) -> None:
    holdings = open_holdings((tmp_path / "packs").as_uri(), level=3, keyring=Keyring())
    deposit = holdings.put([entry_of(b"{}")], [b"{}"], None)
    assert (tmp_path / "packs" / deposit.packs[0].key).is_file()
    assert holdings.get(deposit.entries[0]) == b"{}"


def test_the_level_is_that_of_fresh_packs() -> None:
    payload = bytes(range(200)) * 300 + b"".join(b"%d" % (number * number) for number in range(20_000))
    holdings = [open_holdings("memory:", level=level, keyring=Keyring()) for level in (1, 19)]
    sizes = [each.put([entry_of(payload)], [payload], None).packs[0].stored_bytes for each in holdings]
    assert sizes[1] < sizes[0]


def test_an_unknown_scheme() -> None:
    with pytest.raises(ConfigurationError, match="carrier-pigeon"):
        open_holdings("carrier-pigeon://loft", level=3, keyring=Keyring())
