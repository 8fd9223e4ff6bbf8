"""Command lines run on a pseudo-terminal, as a person at one sees them."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import sys
import termios

PROGRAM = "import sys; from gamearchive.cli.app import main; sys.exit(main(sys.argv[1:]))"


def on_terminal(*arguments: str, columns: int = 80, typed: bytes = b"", program: str = PROGRAM) -> tuple[int, str]:
    """Run a command line with a terminal as its standard streams.

    Args:
        arguments: the command line.
        columns: how wide the terminal is.
        typed: what is typed at it.
        program: what runs it, in Python.

    Returns:
        The exit code, and all that was shown.
    """
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    command = [sys.executable, "-c", program, *arguments]
    environment = dict(os.environ)  # and not what the readline library has put into the process's own: COLUMNS and LINES
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as run:
        os.close(theirs)
        os.write(ours, typed)
        shown = b""
        try:
            while piece := os.read(ours, 65536):
                shown += piece
        except OSError:  # EIO: all who had the other end open are gone
            pass
    os.close(ours)
    return run.returncode, shown.decode()
