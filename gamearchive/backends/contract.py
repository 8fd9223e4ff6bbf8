"""The contract of a backend, step by step: each promise of `base` that can be tried on any, whatever it keeps already.

`gamearchive.testing.BackendTests` tries each step, and more on a backend that is empty, `gamearchive storage check` each on a
user's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import cast

from gamearchive.backends.base import GameBytes, IArchivalBackend
from gamearchive.backends.foreign import TwoMethods
from gamearchive.errors import IntegrityError, NotFoundError, UnsupportedError
from gamearchive.stores.contract import BrokenPromiseError, Step, hold

PAYLOADS = {
    "empty": b"",
    "nul": b"\0",
    "newlines": b"\r\n\n",
    "invalid-utf-8": b"\xff\xfe\xc3(\xed\xa0\x80",
    "all-bytes": bytes(range(256)) * 16,
    "1-MB": bytes(range(251)) * 4000,
}

IDS = (
    "game-1", "game-10", "Game-1", "a/b", "a_b", "a%2Fb", "..", "../../etc/passwd", "/etc/passwd", ".", "con", "a b", "a\tb\n",
    "*", "?", "%", "C:\\games", "é", "e\u0301", "🎲" * 100, "x" * 512, "550e8400-e29b-41d4-a716-446655440000",
)  # fmt: skip

NO_LOCATIONS = ("", " ", "nowhere", "../../../../etc/passwd", "/etc/passwd", "file:///etc/passwd", "#", "a\0b", "x" * 5000)


async def exact(backend: TwoMethods, name: str) -> None:
    """The bytes of a payload come back, whatever they are."""
    location = await backend.archive("game-1", "game", PAYLOADS[name])
    hold(isinstance(location, str), f"a location is {type(location).__name__}, and no str")
    hold(await backend.retrieve(location) == PAYLOADS[name], f"{len(PAYLOADS[name])} bytes ({name}) come back as others")


async def _payloads(backend: TwoMethods) -> None:
    for name in PAYLOADS:
        await exact(backend, name)


async def ids(backend: TwoMethods) -> None:
    """An id is a name and never a path, and those that look alike are not mixed up."""
    locations = [await backend.archive(entity_id, "game", entity_id.encode()) for entity_id in IDS]
    for entity_id, location in zip(IDS, locations, strict=True):
        hold(await backend.retrieve(location) == entity_id.encode(), f"the id {entity_id!r} is mixed up with another")


async def types(backend: TwoMethods) -> None:
    """One id of two types is two games."""
    first = await backend.archive("1", "chess", b"chess")
    second = await backend.archive("1", "go", b"go")
    hold((await backend.retrieve(first), await backend.retrieve(second)) == (b"chess", b"go"), "types are mixed up")


async def again(backend: TwoMethods) -> None:
    """Each location keeps its own bytes, also when the same bytes come again."""
    payloads = [b"first", b"second", b"first", b""]
    locations = [await backend.archive("game-1", "game", data) for data in payloads]
    hold([await backend.retrieve(location) for location in locations] == payloads, "what comes again harms what was there")


async def at_once(backend: TwoMethods) -> None:
    """Of one id and of several, each call answers for its own bytes."""
    payloads = [b"%d" % number * 1000 for number in range(24)]
    calls = [backend.archive(f"game-{number % 6}", "game", data) for number, data in enumerate(payloads)]
    locations = await asyncio.gather(*calls)
    found = await asyncio.gather(*[backend.retrieve(location) for location in locations])
    hold(found == payloads, "games that are archived at one moment are mixed up")


async def absent(backend: TwoMethods, location: str, *, deleted: bool = False) -> None:
    """No string is answered with bytes, or with an error of somebody else's; ``deleted`` is what once was a location."""
    try:
        await backend.retrieve(location)
    except NotFoundError:
        return
    except Exception as error:
        if isinstance(error, IntegrityError) and not deleted:
            return
        raise BrokenPromiseError(f"for {location[:30]!r}, that is no location, it raises {type(error).__name__}") from error
    raise BrokenPromiseError(f"for {location[:30]!r}, that is no location, bytes are given out")


async def _no_locations(backend: TwoMethods) -> None:
    for location in NO_LOCATIONS:
        await absent(backend, location)


async def delete(backend: TwoMethods) -> None:
    """What is deleted is gone, and nothing else is."""
    deleting = able(backend, "delete")
    goes = await backend.archive("game-1", "game", b"goes")
    stays = await backend.archive("game-10", "game", b"stays")
    hold(await deleting.delete(goes) is True, "what is there is not deleted")
    await absent(backend, goes, deleted=True)
    hold(await deleting.delete(goes) is False, "what was deleted is deleted once more")
    hold(await backend.retrieve(stays) == b"stays", "more is deleted than was asked for")
    again = await backend.archive("game-1", "game", b"goes")
    hold(await backend.retrieve(again) == b"goes", "what was deleted cannot be archived again")


async def listing(backend: TwoMethods) -> None:
    """What is archived is listed, once, and by its type."""
    lister = able(backend, "list_archives")
    location = await backend.archive("game-1", "chess", b"chess")
    for kind, count in ((None, 1), ("chess", 1), ("checkers-that-nobody-plays", 0)):
        hold((await lister.list_archives(kind)).count(location) == count, "what is archived is not listed once, by its type")


async def batches(backend: TwoMethods) -> None:
    """A location for each, in their order, whatever their types and however often an id comes."""
    batching = able(backend, "archive_many")
    games = [GameBytes(f"game-{number % 5}", ("chess", "go")[number % 2], b"%d" % number) for number in range(12)]
    locations = await batching.archive_many(games)
    found = [await backend.retrieve(location) for location in locations]
    hold(found == [game.data for game in games], "locations are not in the order of the games")
    hold(await batching.archive_many([]) == [], "no games have locations")


def able(backend: TwoMethods, name: str) -> IArchivalBackend:
    """The backend, for the use of a method it need not have.

    Raises:
        UnsupportedError: if it has none.
    """
    if not hasattr(backend, name):
        raise UnsupportedError(f"it has no {name}")
    return cast("IArchivalBackend", backend)


STEPS: tuple[Step[Callable[[TwoMethods], Coroutine[None, None, None]]], ...] = (
    Step("retrieve", "what is archived comes back, byte for byte", _payloads),
    Step("ids", "ids may have any characters", ids),
    Step("types", "one id of two types is two games", types),
    Step("again", "what comes again harms nothing that is there", again),
    Step("concurrent", "many may come at once", at_once),
    Step("absent", "what is not there is told from everything else", _no_locations),
    Step("delete", "what is deleted is gone, and nothing else", delete, needed=False),
    Step("list", "what is archived is listed", listing, needed=False),
    Step("batches", "many are archived together", batches, needed=False),
)
