"""What is done again and again: whatever goes wrong, until it is stopped."""

from __future__ import annotations

import threading

from daemons import until

from gamearchive.errors import DatabaseUnavailableError
from gamearchive.events import Event, Trouble
from gamearchive.rounds import Rounds


def test_rounds_go_on_after_an_error_and_tell_of_an_outage_once() -> None:
    errors = [ValueError("odd"), DatabaseUnavailableError("It is away."), DatabaseUnavailableError("It is away.")]
    told: list[Event] = []
    done = threading.Event()

    def call() -> None:
        if errors:
            raise errors.pop(0)
        done.set()

    rounds = Rounds("trying", 0.01, call, told.append)
    rounds.start()
    assert done.wait(30)
    rounds.stop()
    assert told == [Trouble(doing="trying", message="ValueError: odd"), Trouble(doing="trying", message="It is away.")]


def test_once_stopped_there_is_no_other_round_and_no_complaint() -> None:
    told: list[Event] = []
    begun, go_on = threading.Event(), threading.Event()
    count = 0

    def call() -> None:
        nonlocal count
        count += 1
        begun.set()
        go_on.wait(30)
        raise ValueError("what it needed is gone")

    rounds = Rounds("trying", 0.0, call, told.append)
    rounds.start()
    assert begun.wait(30)
    rounds.stop()
    go_on.set()
    until(lambda: not any(thread.name == "gamearchive-trying" for thread in threading.enumerate()))
    assert (count, told) == (1, [])
