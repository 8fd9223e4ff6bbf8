"""How a command line that a test ran has ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Ended(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Ended]
"""Runs ``gamearchive ARGUMENTS...`` in this process: the fixture `gamearchive` of tests/cli."""
