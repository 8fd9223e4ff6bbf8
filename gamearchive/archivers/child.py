"""The archiver process: it archives what its input says, and reports on its output (see `archivers.wire`).

It runs at a low priority, so that the games come first, and leaves signals from the terminal to its server, which tells it to
end, or takes it along.
"""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from gamearchive.archive import Archive
from gamearchive.archivers.threads import ThreadArchiver
from gamearchive.archivers.wire import ArchivePlace, Order, Receipt, put_together, receive, send
from gamearchive.backends.registry import open_holdings
from gamearchive.catalog import Catalog
from gamearchive.clock import SystemClock
from gamearchive.database.engine import Database
from gamearchive.errors import tell
from gamearchive.keyring import load_keyring

NICENESS = 10

MAX_ORDERS = 64
"""So many orders are carried out at once; the server gives fewer, as its policies say."""


def main() -> None:
    """Serve the process's standard streams."""
    # What anything prints by mistake must not get among the messages.
    receipts = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    with os.fdopen(0, "rb") as orders, receipts, suppress(BrokenPipeError):
        serve(orders, receipts)


def serve(orders: BinaryIO, receipts: BinaryIO) -> None:
    """Carry out orders until there are no more, several at once."""
    place = next(receive(orders, ArchivePlace))
    database = Database(place.database)
    keyring = load_keyring(Path(place.encryption_key_file) if place.encryption_key_file else None)
    holdings = open_holdings(place.storage, level=place.compression_level, keyring=keyring, composite=place.composite)
    archiver = ThreadArchiver(Archive(Catalog(database), holdings, SystemClock()))
    free = threading.Lock()

    def carry_out(order: Order) -> None:
        try:
            done = archiver.archive(order.sender, order.records)
        except Exception as error:  # noqa: BLE001 - whatever it is, the server is told, and tries again
            receipt = Receipt(order.number, error=tell(error))
        else:
            receipt = Receipt(order.number, done.written, done.stored_bytes)
        with free, suppress(BrokenPipeError):
            send(receipts, receipt)

    with ThreadPoolExecutor(MAX_ORDERS) as pool:
        for order in put_together(receive(orders, Order)):
            if not order.records:
                break
            pool.submit(carry_out, order)
        else:
            os._exit(1)  # whatever is under way must not be archived after what comes of it elsewhere
    holdings.close()
    database.close()


if __name__ == "__main__":
    main()
