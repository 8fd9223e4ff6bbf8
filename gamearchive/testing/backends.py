"""A conformance suite for backends.

A backend of your own is tested in a file like this one, run by pytest::

    from gamearchive.testing import BackendTests

    class TestCupboardBackend(BackendTests):
        def open(self, folder):
            return CupboardBackend(folder)

        def damage(self, backend, location):
            drawer = backend.shelf / location
            drawer.write_bytes(drawer.read_bytes()[:-1] + b"?")

        def lose(self, backend, location):
            (backend.shelf / location).unlink()

``damage`` and ``lose`` go around the backend; the tests that need one are skipped where it is missing. So are those of methods
that a backend need not have: ``delete``, ``list_archives`` and ``archive_many``.
"""
# ruff: noqa: S101 - assertions are what this module is for

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import wraps
from inspect import isawaitable
from pathlib import Path
from typing import ClassVar, Concatenate, ParamSpec, TypeVar, cast

import pytest

from gamearchive.backends.base import GameBytes, IArchivalBackend
from gamearchive.backends.foreign import TwoMethods
from gamearchive.errors import IntegrityError, NotFoundError, UnsupportedError

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

P = ParamSpec("P")
S = TypeVar("S", bound="BackendTests")


def _in_a_loop(
    test: Callable[Concatenate[S, TwoMethods, P], Coroutine[None, None, None]],
) -> Callable[Concatenate[S, TwoMethods, P], None]:
    """Run a test, and the closing of its backend, in one event loop."""

    @wraps(test)
    def run(self: S, backend: TwoMethods, *args: P.args, **kwargs: P.kwargs) -> None:
        async def steps() -> None:
            try:
                await test(self, backend, *args, **kwargs)
            finally:
                await self.close(backend)

        asyncio.run(steps())

    return cast("Callable[Concatenate[S, TwoMethods, P], None]", run)


class BackendTests(ABC):
    """What every backend must do: the contract of `gamearchive.backends.base`, one promise a test."""

    persistent: ClassVar[bool] = True
    """Whether what is archived outlives the backend object. False skips the tests of that."""

    @abstractmethod
    def open(self, folder: Path) -> TwoMethods:
        """A backend; empty when opened first for this folder, and again with the same games when opened again.

        Args:
            folder: an empty folder, for use if the backend needs one.
        """

    async def close(self, backend: TwoMethods) -> None:
        """Give back what a backend holds open; by default with its own ``close``, if it has one."""
        closing = getattr(backend, "close", None)
        closed = closing() if closing is not None else None
        if isawaitable(closed):
            await closed

    def damage(self, backend: TwoMethods, location: str) -> None:
        """Change a byte of what lies at a location, around the backend."""
        pytest.skip(f"{type(self).__name__} does not say how to damage what {type(backend).__name__} has at {location}")

    def lose(self, backend: TwoMethods, location: str) -> None:
        """Take away what lies at a location, around the backend."""
        pytest.skip(f"{type(self).__name__} does not say how to lose what {type(backend).__name__} has at {location}")

    @pytest.fixture
    def backend(self, tmp_path: Path) -> TwoMethods:
        """The backend under test."""
        return self.open(tmp_path)

    @pytest.mark.parametrize("name", PAYLOADS)
    @_in_a_loop
    async def test_retrieve_returns_the_exact_bytes(self, backend: TwoMethods, name: str) -> None:
        """Whatever the bytes are."""
        location = await backend.archive("game-1", "game", PAYLOADS[name])
        assert isinstance(location, str)
        assert await backend.retrieve(location) == PAYLOADS[name]

    @_in_a_loop
    async def test_ids_of_any_characters(self, backend: TwoMethods) -> None:
        """An id is a name and never a path, and those that look alike are not mixed up."""
        locations = [await backend.archive(entity_id, "game", entity_id.encode()) for entity_id in IDS]
        assert [await backend.retrieve(location) for location in locations] == [entity_id.encode() for entity_id in IDS]

    @_in_a_loop
    async def test_one_id_of_two_types(self, backend: TwoMethods) -> None:
        """They are two games."""
        first = await backend.archive("1", "chess", b"chess")
        second = await backend.archive("1", "go", b"go")
        assert (await backend.retrieve(first), await backend.retrieve(second)) == (b"chess", b"go")

    @_in_a_loop
    async def test_archiving_again_keeps_both(self, backend: TwoMethods) -> None:
        """Each location keeps its own bytes, also when the same bytes come again."""
        payloads = [b"first", b"second", b"first", b""]
        locations = [await backend.archive("game-1", "game", data) for data in payloads]
        assert [await backend.retrieve(location) for location in locations] == payloads

    @_in_a_loop
    async def test_many_at_once(self, backend: TwoMethods) -> None:
        """Of one id and of several, each call answers for its own bytes."""
        payloads = [b"%d" % number * 1000 for number in range(24)]
        calls = [backend.archive(f"game-{number % 6}", "game", data) for number, data in enumerate(payloads)]
        locations = await asyncio.gather(*calls)
        assert await asyncio.gather(*[backend.retrieve(location) for location in locations]) == payloads

    @_in_a_loop
    async def test_another_backend_reads_it(self, backend: TwoMethods, tmp_path: Path) -> None:
        """A location is good in every process, those opened before and those opened after."""
        if not self.persistent:
            pytest.skip("each of these backends is its own")
        before = self.open(tmp_path)
        location = await backend.archive("game-1", "game", b"for all to read")
        after = self.open(tmp_path)
        for other in (before, after):
            assert await other.retrieve(location) == b"for all to read"
            await self.close(other)

    @_in_a_loop
    async def test_a_location_of_nothing(self, backend: TwoMethods, tmp_path_factory: pytest.TempPathFactory) -> None:
        """What looks like a location and is none of this backend's is not found."""
        await backend.archive("game-1", "game", b"there")
        other = self.open(tmp_path_factory.mktemp("other"))
        elsewhere = [await other.archive(f"other-{number}", "game", b"other %d" % number) for number in range(4)][-1]
        await self.close(other)
        with pytest.raises(NotFoundError):
            await backend.retrieve(elsewhere)

    @pytest.mark.parametrize("location", NO_LOCATIONS, ids=lambda location: repr(location[:30]))
    @_in_a_loop
    async def test_what_is_no_location(self, backend: TwoMethods, location: str) -> None:
        """No string is answered with bytes, or with an error of somebody else's."""
        await backend.archive("game-1", "game", b"there")
        with pytest.raises((NotFoundError, IntegrityError)):
            await backend.retrieve(location)

    @_in_a_loop
    async def test_damage_is_noticed(self, backend: TwoMethods) -> None:
        """Never wrong bytes; and what is not damaged is still good."""
        damaged = await backend.archive("game-1", "game", b"these bytes will not stay what they are")
        good = await backend.archive("game-2", "game", b"these will")
        self.damage(backend, damaged)
        with pytest.raises(IntegrityError):
            await backend.retrieve(damaged)
        assert await backend.retrieve(good) == b"these will"

    @_in_a_loop
    async def test_loss_is_noticed(self, backend: TwoMethods) -> None:
        """What is gone is not found, and told from what is damaged."""
        lost = await backend.archive("game-1", "game", b"these bytes will go")
        good = await backend.archive("game-2", "game", b"these will stay")
        self.lose(backend, lost)
        with pytest.raises(NotFoundError):
            await backend.retrieve(lost)
        assert await backend.retrieve(good) == b"these will stay"

    @_in_a_loop
    async def test_delete(self, backend: TwoMethods) -> None:
        """What is deleted is gone, and nothing else is."""
        goes = await backend.archive("game-1", "game", b"goes")
        stays = await backend.archive("game-10", "game", b"stays")
        with _optional(backend, "delete") as deleting:
            assert await deleting.delete(goes) is True
        with pytest.raises(NotFoundError):
            await backend.retrieve(goes)
        assert await deleting.delete(goes) is False
        assert await backend.retrieve(stays) == b"stays"
        again = await backend.archive("game-1", "game", b"goes")
        assert await backend.retrieve(again) == b"goes"

    @_in_a_loop
    async def test_list_archives(self, backend: TwoMethods) -> None:
        """All, those of a type, and those of a time; each location once."""
        with _optional(backend, "list_archives") as listing:
            assert await listing.list_archives() == []
        chess = [await backend.archive(f"game-{number}", "chess", b"%d" % number) for number in range(3)]
        go = [await backend.archive("game-1", "go", b"go")]
        assert sorted(await listing.list_archives()) == sorted(chess + go)
        assert sorted(await listing.list_archives("chess")) == sorted(chess)
        assert await listing.list_archives("go") == go
        assert await listing.list_archives("checkers") == []
        now, day = datetime.now(UTC), timedelta(days=1)
        assert await listing.list_archives("go", now - day, now + day) == go
        assert await listing.list_archives("go", start_date=now - day) == go
        assert await listing.list_archives("go", end_date=now + day) == go
        assert await listing.list_archives("go", start_date=now + day) == []
        assert await listing.list_archives("go", end_date=now - day) == []
        naive = (now - day).replace(tzinfo=None), (now + day).replace(tzinfo=None)
        assert await listing.list_archives("go", *naive) == go

    @_in_a_loop
    async def test_archive_many(self, backend: TwoMethods) -> None:
        """A location for each, in their order, whatever their types and however often an id comes."""
        games = [GameBytes(f"game-{number % 5}", ("chess", "go")[number % 2], b"%d" % number) for number in range(12)]
        with _optional(backend, "archive_many") as batching:
            locations = await batching.archive_many(games)
        assert [await backend.retrieve(location) for location in locations] == [game.data for game in games]
        assert await batching.archive_many([]) == []


@contextmanager
def _optional(backend: TwoMethods, name: str) -> Iterator[IArchivalBackend]:
    """The backend, for the use of a method it need not have; the test is skipped if it has none."""
    missing = f"{type(backend).__name__} has no {name}"
    if not hasattr(backend, name):
        pytest.skip(missing)
    try:
        yield cast("IArchivalBackend", backend)
    except UnsupportedError:
        pytest.skip(missing)
