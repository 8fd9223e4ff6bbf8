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

from gamearchive.backends import contract
from gamearchive.backends.base import IArchivalBackend
from gamearchive.backends.foreign import TwoMethods
from gamearchive.errors import IntegrityError, NotFoundError, UnsupportedError

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

    @pytest.mark.parametrize("name", contract.PAYLOADS)
    @_in_a_loop
    async def test_retrieve_returns_the_exact_bytes(self, backend: TwoMethods, name: str) -> None:
        """Whatever the bytes are."""
        await contract.exact(backend, name)

    @_in_a_loop
    async def test_ids_of_any_characters(self, backend: TwoMethods) -> None:
        """An id is a name and never a path, and those that look alike are not mixed up."""
        await contract.ids(backend)

    @_in_a_loop
    async def test_one_id_of_two_types(self, backend: TwoMethods) -> None:
        """They are two games."""
        await contract.types(backend)

    @_in_a_loop
    async def test_archiving_again_keeps_both(self, backend: TwoMethods) -> None:
        """Each location keeps its own bytes, also when the same bytes come again."""
        await contract.again(backend)

    @_in_a_loop
    async def test_many_at_once(self, backend: TwoMethods) -> None:
        """Of one id and of several, each call answers for its own bytes."""
        await contract.at_once(backend)

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

    @pytest.mark.parametrize("location", contract.NO_LOCATIONS, ids=lambda location: repr(location[:30]))
    @_in_a_loop
    async def test_what_is_no_location(self, backend: TwoMethods, location: str) -> None:
        """No string is answered with bytes, or with an error of somebody else's."""
        await backend.archive("game-1", "game", b"there")
        await contract.absent(backend, location)

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
        with _optional(backend, "delete"):
            await contract.delete(backend)

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
        with _optional(backend, "archive_many"):
            await contract.batches(backend)


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
