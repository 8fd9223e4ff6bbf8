"""What a service tells its supervisor: the protocol of systemd's ``sd_notify``, a datagram to a socket.

Without a supervisor that listens it does nothing, and no failure of it is a failure of the service.
"""

from __future__ import annotations

import socket
from contextlib import suppress


class Supervisor:
    """The supervisor of this process.

    Args:
        address: its socket, as ``NOTIFY_SOCKET`` says: a path, or a name after ``@`` in Linux's abstract namespace; None where
            there is none.
    """

    def __init__(self, address: str | None) -> None:
        self._address = "\0" + address[1:] if address and address[0] == "@" else address

    def ready(self, status: str) -> None:
        """The service is up."""
        self._tell(f"READY=1\nSTATUS={status}")

    def alive(self, status: str) -> None:
        """It still is: to be said twice within the watchdog's time at least."""
        self._tell(f"WATCHDOG=1\nSTATUS={status}")

    def stopping(self, status: str) -> None:
        """It is about to end."""
        self._tell(f"STOPPING=1\nSTATUS={status}")

    def _tell(self, message: str) -> None:
        if self._address and hasattr(socket, "AF_UNIX"):
            with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
                channel.setblocking(False)
                channel.sendto(message.encode(), self._address)
