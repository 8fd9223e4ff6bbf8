"""SIGINT and SIGTERM: what they do while a command runs.

By default both end the command by an exception, so that what is open gets closed: SIGINT by KeyboardInterrupt, as Python does
itself, and SIGTERM by SystemExit. A verb that finishes the batch in hand asks for `finishing` instead. Python runs handlers in
the main thread alone, and only there can they be set: elsewhere (a program that calls `main` from a thread) nothing is changed.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

Handler = Callable[[int, FrameType | None], object]


@contextmanager
def ending() -> Iterator[None]:
    """SIGTERM ends the command with 143, closing what is open."""

    def terminate(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    with _handling({signal.SIGTERM: terminate}):
        yield


@contextmanager
def finishing(stop: Callable[[int], None], restore: Callable[[], None]) -> Iterator[None]:
    """The first signal calls ``stop`` with its number and no more; a SIGINT after that leaves at once.

    Leaving at once gives the terminal back by ``restore``, and skips all else that closing down means: nothing that was
    acknowledged depends on it.
    """
    asked = False

    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if not asked:
            asked = True
            stop(number)
        elif number == signal.SIGINT:
            restore()
            os._exit(128 + number)

    with _handling({signal.SIGINT: handle, signal.SIGTERM: handle}):
        yield


@contextmanager
def _handling(handlers: Mapping[signal.Signals, Handler]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: it was not set from Python
