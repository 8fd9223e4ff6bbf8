"""Games in play with their journal and their catalog on each engine in turn."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _either_engine(either_engine: None) -> None:
    pass
