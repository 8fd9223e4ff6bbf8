"""What systemd is told, at a socket of its kind."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from gamearchive.settings import supervisor
from gamearchive.supervisor import Supervisor

ABSTRACT = pytest.param("@gamearchive-test", marks=pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets"))


@pytest.mark.parametrize("address", ["notify", ABSTRACT])
def test_it_is_told_of_readiness_of_life_and_of_the_end(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(address.replace("@", "\0"))
        told = Supervisor(address)
        told.ready("2 slots")
        told.alive("5 games")
        told.stopping("leaving")
        heard = [listening.recv(200) for _ in range(3)]
    assert heard == [b"READY=1\nSTATUS=2 slots", b"WATCHDOG=1\nSTATUS=5 games", b"STOPPING=1\nSTATUS=leaving"]


def test_where_nobody_listens_nothing_happens(tmp_path: Path) -> None:
    Supervisor(None).ready("up")
    Supervisor(str(tmp_path / "gone")).ready("up")


def test_a_supervisor_that_does_not_read_holds_nothing_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("notify")
        for _ in range(1000):
            Supervisor("notify").alive("up")


def test_the_environment_says_where_it_is_and_how_often_it_wants_to_hear(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)
    assert supervisor() == (None, None)
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/notify")
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    assert supervisor() == ("/run/notify", 30.0)
    monkeypatch.setenv("WATCHDOG_PID", "1")  # it is another process that is watched
    assert supervisor() == ("/run/notify", None)
