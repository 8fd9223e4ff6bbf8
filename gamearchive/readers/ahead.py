"""Reading ahead: while one batch is archived the next is read, in a thread, or where there is much to read in a process.

A batch is handed on when it is full, and also when a second has passed with anything in it at all: who sends game by game into
a pipe need not wait for the thousandth to know the first one safe.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing, suppress
from pathlib import Path

from gamearchive.readers.apart import read_apart
from gamearchive.readers.base import ReadOptions
from gamearchive.readers.batches import Batch
from gamearchive.readers.sources import STDIN, read_sources

APART_BYTES = 32 << 20
"""Sources of so many bytes are read in a process: to start it takes as long as to read 4 MiB."""

_FILE_BYTES = 4096  # what a file counts as at least: to open it takes as long as to read so much
_LOOKS, _LOOK_SECONDS = 10, 0.1  # how often, and how long, it is waited for a batch to get full


def read_ahead(sources: Iterable[str], options: ReadOptions, stopping: Callable[[], bool]) -> Generator[Batch]:
    """All that some sources hold, batch by batch. One without anything in it says that nothing has come for a while.

    Args:
        sources: files, folders, or ``-`` for standard input.
        options: how to read them.
        stopping: whether to leave; what was read until then is handed on.

    Raises:
        What `read_source` raises, once what was read before is handed on.
    """
    if stopping():
        return
    listed = [*sources]
    if _are_large(listed) and _are_text([*listed, *options.own]):
        with closing(read_apart(listed, options)) as batches:
            for batch in batches:
                yield batch
                if stopping():
                    return
        return
    tray = _Tray()
    threading.Thread(target=tray.fill, args=(listed, options), name="gamearchive-source", daemon=True).start()
    try:
        ended = False
        while not ended:
            batch, ended = tray.take(stopping)
            yield batch
        tray.give_error()
    finally:
        tray.leave()


class _Tray:
    """Where the thread that reads puts down what it has read, for the one that archives to take."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._batch = Batch()
        self._ended = False
        self._error: Exception | None = None

    def fill(self, sources: Sequence[str], options: ReadOptions) -> None:
        """Read; when a batch is full, wait until it is taken."""
        try:
            for found in read_sources(sources, options):
                with self._changed:
                    self._batch.add(found)
                    if self._batch.is_full:
                        self._changed.notify()
                        self._changed.wait_for(lambda: self._ended or not self._batch.is_full)
                    if self._ended:
                        return
        except Exception as error:  # noqa: BLE001 - raised again where it is heard
            self._error = error
        finally:
            self.leave()

    def take(self, stopping: Callable[[], bool]) -> tuple[Batch, bool]:
        """What was read, full or not, after a while; and whether no more will come."""
        with self._changed:
            for _ in range(_LOOKS):
                if self._changed.wait_for(self._is_ready, _LOOK_SECONDS) or self._batch.is_empty or stopping():
                    break
            taken, self._batch = self._batch, Batch()
            self._changed.notify()
            return taken, self._ended or stopping()

    def _is_ready(self) -> bool:
        return self._ended or self._batch.is_full

    def give_error(self) -> None:
        """Raise what ended the reading, if it was an error."""
        if self._error is not None:
            raise self._error

    def leave(self) -> None:
        """Let there be no more to take, or nobody any more who takes it."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()


def _are_large(sources: Sequence[str]) -> bool:
    """Whether these are of `APART_BYTES` or more, and all of them files and folders, none of which keeps its reader waiting."""
    left = APART_BYTES
    for source in sources:
        if source == STDIN:
            return False
        with suppress(OSError):  # told by the reader
            status = Path(source).stat()
            if stat.S_ISDIR(status.st_mode):
                left -= _bytes_below(source, left)
            elif stat.S_ISREG(status.st_mode):
                left -= status.st_size
            else:
                return False
    return left <= 0


def _are_text(paths: Iterable[str]) -> bool:
    """Whether these can be told to another process: a path that is not UTF-8 is no text."""
    try:
        "".join(paths).encode()
    except UnicodeEncodeError:
        return False
    return True


def _bytes_below(folder: str, enough: int) -> int:
    """What the files in a folder and below hold; counted no further than it takes to see that it is enough."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            if total >= enough:
                return total
            with suppress(OSError):
                total += max(Path(path, name).stat().st_size, _FILE_BYTES)
    return total
