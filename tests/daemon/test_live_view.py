"""The live view, on a pseudo-terminal: what is seen, what keys do, and that the terminal is given back."""

from __future__ import annotations

import codecs
import fcntl
import os
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from typing import Any, Self

import pytest
from daemons import PATIENCE_SECONDS, Place, until

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Screen:
    """A terminal with ``gamearchive worker run`` on it. Use it in a ``with`` statement."""

    def __init__(self, place: Place, *arguments: str, columns: int = 100, rows: int = 40, **environment: str) -> None:
        self._ours, self._theirs = os.openpty()
        self.resize(columns, rows)
        self.before = self.settings()
        command = [sys.executable, "-m", "gamearchive", "worker", "run", "--config", str(place.file), *arguments]
        inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        usual = {"TERM": "xterm-256color", "LANG": "C.UTF-8", "PYTHONUTF8": "1"}
        self.run = subprocess.Popen(
            command, stdin=self._theirs, stdout=self._theirs, stderr=self._theirs, env=inherited | usual | environment,
            start_new_session=True,
        )  # fmt: skip
        self.text = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.run.poll() is None:
            self.run.kill()
            self.run.wait()
        os.close(self._theirs)
        self._reader.join()
        os.close(self._ours)

    def _read(self) -> None:
        try:
            decode = codecs.getincrementaldecoder("utf-8")().decode
            while piece := os.read(self._ours, 65536):
                self.text += decode(piece)
        except OSError:  # EIO: all who had the other end open are gone
            pass

    def settings(self) -> list[Any]:
        return termios.tcgetattr(self._theirs)

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def frame(self) -> list[str]:
        """The last whole frame, line by line, without its colours."""
        frames = self.text.split("\x1b[H")
        return ESCAPES.sub("", frames[-2]).splitlines() if len(frames) > 2 else []

    def wait_for(self, words: str) -> list[str]:
        until(lambda: any(words in line for line in self.frame()) or self.run.poll() is not None)
        frame = self.frame()
        assert any(words in line for line in frame), self.text[-3000:]
        return frame

    def wait(self) -> int:
        return self.run.wait(PATIENCE_SECONDS)


@pytest.fixture
def screen(place: Place) -> Iterator[Screen]:
    with Screen(place, "--name", "lin") as made:
        yield made


def test_it_shows_how_it_goes_and_leaves_the_terminal_as_it_was(place: Place, screen: Screen) -> None:
    frame = screen.wait_for("● idle")
    assert frame[0].startswith("gamearchive lin")
    assert (len(frame), {len(line) for line in frame}) == (40, {100})
    place.enqueue_games(50)
    screen.wait_for("archived 50")
    assert "● lin" in "\n".join(screen.wait_for("2 slots"))
    screen.press("q")
    assert screen.wait() == 0
    assert screen.settings() == screen.before
    assert screen.text.count("\x1b[?1049h") == screen.text.count("\x1b[?1049l") == 1
    until(lambda: "Archived 50 games" in screen.text.rpartition("\x1b[?1049l")[2])
    assert screen.text.rpartition("\x1b[?25l")[2].count("\x1b[?25h") == 1


def test_keys_pause_it_and_let_it_go_on(place: Place, screen: Screen) -> None:
    screen.wait_for("● idle")
    screen.press("p")
    screen.wait_for("● paused")
    assert [worker.paused for worker in place.queue.workers()] == [True]
    place.enqueue_games(5)
    screen.wait_for("5 waiting")
    screen.press("r")
    screen.wait_for("archived 5")


def test_it_survives_a_resize(screen: Screen) -> None:
    screen.wait_for("● idle")
    for columns, rows in ((40, 20), (200, 50), (20, 5)):
        screen.resize(columns, rows)
        until(lambda size=(columns, rows): (len(screen.frame()[-1]), len(screen.frame())) == size)  # type: ignore[misc]


def test_ctrl_c_ends_it_and_gives_the_terminal_back(screen: Screen) -> None:
    screen.wait_for("● idle")
    screen.run.send_signal(signal.SIGINT)
    assert screen.wait() == 128 + signal.SIGINT
    assert screen.settings() == screen.before
    assert screen.text.count("\x1b[?1049l") == 1


def test_leaving_at_once_gives_the_terminal_back_as_well(place: Place, screen: Screen) -> None:
    screen.wait_for("● idle")
    with place.administration.database.hold(shared=False):
        place.enqueue_games(3)
        screen.wait_for("wait ")
        screen.run.send_signal(signal.SIGINT)
        screen.wait_for("Ctrl-C leaves at once")
        screen.run.send_signal(signal.SIGINT)
        assert screen.wait() == 128 + signal.SIGINT
    assert screen.settings() == screen.before
    until(lambda: "\x1b[?1049l" in screen.text)  # what was written last is read a moment later
    assert "\x1b[?25h" in screen.text.rpartition("\x1b[?25l")[2]


def test_without_colour_there_is_none(place: Place) -> None:
    with Screen(place, NO_COLOR="1") as screen:
        screen.wait_for("● idle")
        assert not re.search(r"\x1b\[[0-9;]*m", screen.text)


def test_it_says_what_failed_and_when_it_is_tried_again(place: Place) -> None:
    place.packs.rename(place.folder / "away")
    place.packs.write_text("another thing")
    with Screen(place) as screen:
        screen.wait_for("LAST ERRORS")
        assert "Cannot" in "\n".join(screen.wait_for("not reachable"))


def test_an_error_at_the_start_gives_the_terminal_back(place: Place) -> None:
    with place.process("--name", "lin") as daemon:
        daemon.wait_for("started")
        with Screen(place, "--name", "lin") as screen:
            until(lambda: screen.run.poll() is not None, 60)
            assert screen.wait() == 11
            until(lambda: "error: locked" in ESCAPES.sub("", screen.text))
            assert screen.settings() == screen.before
