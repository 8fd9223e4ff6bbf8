"""Keys as they are pressed, without a line's end and without an echo.

The terminal is as it was when the block ends, however it ends. Ctrl-C stays what it is: a signal.
"""

from __future__ import annotations

import os
import select
import sys
from types import TracebackType
from typing import Any, Self


class Keys:
    """The keys of standard input, where that is a terminal. Use it in a ``with`` statement."""

    def __init__(self) -> None:
        self._file: int | None = None
        self._before: list[Any] = []

    def __enter__(self) -> Self:
        if sys.stdin is not None and sys.stdin.isatty():
            try:
                import termios
                import tty
            except ImportError:  # Windows, where the daemon is stopped by Ctrl-C
                return self
            self._file = sys.stdin.fileno()
            self._before = termios.tcgetattr(self._file)
            tty.setcbreak(self._file, termios.TCSADRAIN)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.restore()

    def restore(self) -> None:
        """Make the terminal what it was."""
        if self._file is not None:
            import termios

            termios.tcsetattr(self._file, termios.TCSADRAIN, self._before)
            self._file = None

    def pressed(self) -> str:
        """The keys that have been pressed since the last look; nothing is waited for."""
        if self._file is None or not select.select([self._file], [], [], 0)[0]:
            return ""
        return os.read(self._file, 64).decode(errors="replace")
