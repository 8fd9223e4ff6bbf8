"""Archiving in a process of its own, started when it is first needed: the games keep their interpreter to themselves.

A process that dies takes nothing along: its orders fail, are tried again by whoever gave them, and the next order starts
another process.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, cast

from gamearchive import errors
from gamearchive.archivers.base import Shipment
from gamearchive.archivers.switching import quicken
from gamearchive.archivers.wire import LAST, ArchivePlace, Order, Receipt, in_pieces, receive, send
from gamearchive.errors import UnavailableError, told
from gamearchive.model import GameRecord, Sender

_PROGRAM = "import sys; sys.path.insert(0, sys.argv.pop()); from gamearchive.archivers.child import main; main()"
_PIPE_BYTES = 1 << 20  # where the system has it: who gives orders need not wait for who reads them, piece by piece


class ProcessArchiver:
    """Archives in a child process.

    Args:
        place: where the archive is.
    """

    def __init__(self, place: ArchivePlace) -> None:
        quicken.begin()
        self._place = place
        self._lock = threading.Lock()
        self._child: _Child | None = None

    def archive(self, sender: Sender, records: Sequence[GameRecord]) -> Shipment:
        with self._lock:
            if self._child is None or self._child.is_gone:
                self._child = _Child(self._place)
            answer = self._child.order(sender, records)
        receipt = answer.result()
        if receipt.error is not None:
            raise told(*receipt.error)
        return Shipment(receipt.written, receipt.stored_bytes)

    def close(self, *, given_up: bool = False) -> None:
        quicken.end()
        with self._lock:
            if self._child is not None:
                self._child.end(given_up=given_up)


class _Child:
    """One process, and what it owes."""

    def __init__(self, place: ArchivePlace) -> None:
        home = str(Path(errors.__file__).parent.parent)
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, home],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pipesize=_PIPE_BYTES,
            start_new_session=True,
        )
        self._orders = cast("BinaryIO", self._process.stdin)
        self._receipts = cast("BinaryIO", self._process.stdout)
        self._owed: dict[int, Future[Receipt]] = {}
        self._given = 0
        self._lock = threading.Lock()
        self.is_gone = False
        self._listener = threading.Thread(target=self._listen, name="gamearchive-receipts", daemon=True)
        self._listener.start()
        self._say(place)

    def order(self, sender: Sender, records: Sequence[GameRecord]) -> Future[Receipt]:
        """Give an order; its receipt comes later, or an error if the process dies before."""
        answer: Future[Receipt] = Future()
        self._given += 1
        with self._lock:
            if self.is_gone:
                answer.set_exception(self._loss())
                return answer
            self._owed[self._given] = answer
        for piece in in_pieces(Order(self._given, sender, records)):
            self._say(piece)
        return answer

    def end(self, *, given_up: bool) -> None:
        """Let it finish what it was told, and end; or end it at once, if nobody waits for that any more."""
        if given_up and self._owed:
            self._process.kill()
        else:
            self._say(LAST)
        self._close()
        self._listener.join()

    def _say(self, message: ArchivePlace | Order) -> None:
        try:
            send(self._orders, message)
        except (BrokenPipeError, ValueError):
            self._close()  # it died; who listens for receipts tells those who wait

    def _close(self) -> None:
        with suppress(BrokenPipeError):
            self._orders.close()

    def _listen(self) -> None:
        for receipt in receive(self._receipts, Receipt):
            self._owed.pop(receipt.number).set_result(receipt)
        self._process.wait()
        self._close()
        self._receipts.close()
        with self._lock:
            self.is_gone = True
            left, self._owed = self._owed, {}
        for answer in left.values():
            answer.set_exception(self._loss())

    def _loss(self) -> UnavailableError:
        return UnavailableError(
            f"The archiver's process ended unexpectedly (code {self._process.returncode}).",
            hint="Its games are kept and archived by the next one; see what it said on standard error.",
        )
