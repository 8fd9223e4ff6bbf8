"""How a game in play becomes what the archive keeps, and becomes a game again.

An `ArchivalStrategy` knows games of one entity type: it writes one as bytes, makes it again from them, and says what it is
known by. `GameArchivalStrategy` does so for dicts, dataclasses, attrs classes, msgspec Structs and pydantic models; for other
games, inherit from `ArchivalStrategy`::

    class ChessStrategy(ArchivalStrategy[ChessGame]):
        entity_type = "chess"
        content_type = "application/vnd.chess-pgn"

        def id_of(self, entity: ChessGame) -> object:
            return entity.number

        def encode(self, entity: ChessGame) -> bytes:
            return entity.to_pgn().encode()

        def decode(self, payload: bytes, schema_version: int) -> ChessGame:
            return ChessGame.from_pgn(payload.decode())

        def describe(self, entity: ChessGame) -> Facts:
            return Facts(players=(Player(name=entity.white), Player(name=entity.black)), status=entity.result)

A game's schema version travels in its content type: ``application/json`` is version 1, ``application/json; schema=3`` is 3.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from operator import attrgetter, itemgetter
from typing import Any, Generic, TypeVar, final
from uuid import UUID

from gamearchive import encoding
from gamearchive.errors import ConfigurationError, EncodingError, SchemaError, SourceError, UsageError
from gamearchive.facts import USUAL, FactRules, extract, facts_of
from gamearchive.forms import PlainForm, field_names, form_of
from gamearchive.model import (
    JSON,
    Facts,
    GameRecord,
    Tags,
    check_type,
    id_problem,
    media_type,
    schema_version,
    versioned,
)

T = TypeVar("T")
Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
"""Takes a game's document of one schema version, and gives that of the next; it may change the one it was given."""

FINISHED = frozenset(
    "completed complete finished ended over game_over done closed final concluded game_complete "  # noqa: SIM905 - legible
    "checkmate mate stalemate resigned resign resignation draw drawn tie tied won win lost timeout timed_out out_of_time "
    "outoftime forfeit forfeited aborted abort abandoned cancelled canceled terminated variant_end variantend".split()
)
"""The words by which a game's status says that it is over: in lower case, a blank or a hyphen as an underscore."""

_ROOMS = ("room_id", "roomId", "room")


class ArchivalStrategy(ABC, Generic[T]):
    """What the archive must know of the games of one entity type. All of it runs on the event loop: quick, and without I/O.

    Attributes:
        entity_type: what type of games they are.
        schema_version: which version of their form `encode` writes; 1 and up.
        content_type: the media type of what `encode` writes.
        rules: where the facts of a game in JSON are, if not under the usual names.
    """

    entity_type: str = "game"
    schema_version: int = 1
    content_type: str = JSON
    rules: FactRules = USUAL

    @abstractmethod
    def id_of(self, entity: T) -> object:
        """What a game is known by: a string, an integer or a UUID. Asked at every save, so it should be quick.

        Where it raises a LookupError, an AttributeError or a TypeError, or gives none of these, `entity_id` looks further.
        """

    @abstractmethod
    def encode(self, entity: T) -> bytes:
        """Write a game, such that `decode` makes an equal one, and that the same game has the same bytes.

        Raises:
            EncodingError: if it cannot be written; trying again is in vain.
        """

    @abstractmethod
    def decode(self, payload: bytes, schema_version: int) -> T:
        """Make a game from its bytes, whichever version they were written in, up to the strategy's own.

        Raises:
            SchemaError: if they are not the bytes of such a game.
        """

    def is_unchanged(self, entity: T, payload: bytes) -> bool:  # noqa: ARG002 - for those who override it
        """Whether a game that nobody saved since is, at first sight, the one that was written so.

        Asked before it leaves memory. False, as here, where it takes writing it once more to know.
        """
        return False

    def describe(self, entity: T) -> Facts | None:  # noqa: ARG002 - for those who override it
        """What the catalog is to know of a game; None, as here, to take it from its JSON by ``rules``."""
        return None

    def is_finished(self, facts: Facts) -> bool:
        """Whether a game is over: its end is known, it has a winner, or its status is one of `FINISHED`."""
        if facts.completed_at is not None or facts.winner is not None:
            return True
        return facts.status is not None and facts.status.strip().lower().replace(" ", "_").replace("-", "_") in FINISHED

    def room_of(self, entity: T) -> str | None:
        """The room that a game is played in: its ``room_id``, ``roomId`` or ``room``; None if it is in none."""
        for name in _ROOMS:
            room = entity.get(name) if isinstance(entity, dict) else getattr(entity, name, None)
            if (text := _id_text(room)) is not None:
                return text
        return None

    @final
    def entity_id(self, entity: T) -> str:
        """A game's id as the archive has it: as it is, or the digits of an integer or a UUID.

        Raises:
            UsageError: if it has none, or one that nothing can be archived under.
        """
        # An instance's own may be quick, and not look far; the class's does.
        text = _find_id(self.id_of, entity) or _find_id(partial(type(self).id_of, self), entity)
        if text is None:
            raise UsageError(
                f"A game of type {type(entity).__qualname__} has no id.",
                hint="Give it an `id`, or say where it is: GameArchivalStrategy(rules=FactRules(id='/meta/key')).",
            )
        problem = id_problem(text)
        if problem is not None:
            raise UsageError(f"The game {text[:80]!r} cannot be archived: {problem}.", hint="Give it another id.")
        return text

    @final
    def record(self, entity: T, payload: bytes | None = None, tags: Tags = ()) -> GameRecord:
        """All that the archive wants of a game.

        Args:
            entity: the game.
            payload: what `encode` has made of it, if that has been done.
            tags: the tags it is to have.

        Raises:
            EncodingError: if it cannot be written.
            UsageError: if its id, its facts or its size are out of bounds.
        """
        entity_id = self.entity_id(entity)
        if payload is None:
            payload = self.encode(entity)
        facts = self.describe(entity)
        if facts is None:
            facts = self._find_facts(entity, payload)
        content_type = versioned(self.content_type, self.schema_version)
        return GameRecord(self.entity_type, entity_id, payload, content_type, facts, tags)

    @final
    def is_still(self, entity: T, record: GameRecord, *, at_first_sight: bool = False) -> bool:
        """Whether a game is what a record has of it; also in the bytes of another process, which had sets in another order.

        Args:
            entity: the game.
            record: what was made of it.
            at_first_sight: whether `is_unchanged` will do, nobody having saved it since.
        """
        try:
            if at_first_sight and self.is_unchanged(entity, record.payload):
                return True
            payload = self.encode(entity)
            return payload == record.payload or payload == self.encode(self.revive(record.payload, record.content_type))
        except Exception:  # noqa: BLE001 - then it is not what the record has
            return False

    def _find_facts(self, entity: T, payload: bytes) -> Facts:  # noqa: ARG002 - for those who need not parse it
        if self.content_type != JSON:
            return Facts()
        try:
            return extract(payload, self.rules)[1]
        except SourceError as error:
            raise EncodingError(f"The facts of the game cannot be read: {error.message}.") from None

    @final
    def revive(self, payload: bytes, content_type: str) -> T:
        """Make a game from what the archive has of it.

        Args:
            payload: its bytes.
            content_type: what the archive has as their content type.

        Raises:
            SchemaError: if they are of another content type, of a newer schema version, or do not fit the class of games.
            IntegrityError: if they are not what their content type says.
        """
        if media_type(content_type) != self.content_type:
            raise SchemaError(
                f"The game is archived as {content_type}, and {type(self).__name__} makes games from {self.content_type}.",
                hint="Read its bytes with ArchiveManager.read, or give an ArchivalStrategy for this content type.",
            )
        version = schema_version(content_type)
        if version > self.schema_version:
            raise SchemaError(
                f"The game is archived in schema version {version}, newer than the {self.schema_version} known here.",
                hint="Run the release of the game server that archived it, or give the upcasters that it has.",
            )
        return self.decode(payload, version)


class GameArchivalStrategy(ArchivalStrategy[T]):
    """The strategy for games that are dicts, or instances of a dataclass, an attrs class, a msgspec Struct, a pydantic model.

    What comes back is equal to what went in, down to every field; what could not come back so is an `EncodingError`.

    Args:
        game_type: the class of games. Its fields are annotated, and those of the classes in it.
        entity_type: what type of games they are.
        upcasters: functions by schema version, each of which makes the document of the next version: ``{1: f, 2: g}`` makes
            the version of today 3. They see what was archived when it is read, and never change it.
        rules: where the facts are, the id among them, if not under the usual names.

    Raises:
        ConfigurationError: if games of that class cannot be archived, a class has no field for the id, or a step is missing
            among the upcasters.
        UsageError: if the entity type is no plain name.
    """

    def __init__(
        self,
        game_type: type[T] = dict,  # type: ignore[assignment]
        *,
        entity_type: str = "game",
        upcasters: Mapping[int, Upcaster] | None = None,
        rules: FactRules = USUAL,
    ) -> None:
        self.entity_type = check_type(entity_type)
        self.rules = rules
        self._form = form_of(game_type)
        self._upcasters = dict(upcasters or {})
        self.schema_version = len(self._upcasters) + 1
        if sorted(self._upcasters) != list(range(1, self.schema_version)):
            raise ConfigurationError(
                f"The upcasters are for versions {sorted(self._upcasters)}, and a step is missing.",
                hint="Give one for each version from 1 to the last but one: {1: from_1_to_2, 2: from_2_to_3}.",
            )
        self._look_up = _look_up(game_type, rules)
        if isinstance(self._form, PlainForm) and rules.id is None:
            self.id_of = itemgetter("id")  # type: ignore[assignment] # of most dicts; entity_id looks further
        else:
            self.id_of = self._look_up  # type: ignore[assignment]

    def id_of(self, entity: T) -> object:
        return self._look_up(entity)

    def encode(self, entity: T) -> bytes:
        return self._form.encode(entity)

    def is_unchanged(self, entity: T, payload: bytes) -> bool:
        return self._form.is_unchanged(entity, payload)

    def _find_facts(self, entity: T, payload: bytes) -> Facts:
        if isinstance(entity, dict) and encoding.TAGGED not in payload:
            return facts_of(entity, self.rules)[1]  # what its JSON would be parsed to
        return super()._find_facts(entity, payload)

    def decode(self, payload: bytes, schema_version: int) -> T:
        if schema_version == self.schema_version:
            return self._fit(self._form.decode, payload)
        document = encoding.decode(payload)
        if isinstance(document, dict):
            for version in range(schema_version, self.schema_version):
                document = self._upcasters[version](document)
        return self._fit(self._form.build, document)

    def _fit(self, make: Callable[[Any], T], of: object) -> T:
        try:
            return make(of)
        except ValueError as error:
            raise SchemaError(
                f"The archived game is no {self._form.game_type.__qualname__}: {error}.",
                hint="If the class has changed, give upcasters={1: f}, where f changes a document of version 1 likewise.",
            ) from error


def _look_up(game_type: type, rules: FactRules) -> Callable[[Any], object]:
    """How to find the id of a game, in C where possible."""
    names = field_names(game_type)
    if names is None:
        return lambda game: facts_of(game, rules)[0]
    if rules.id is not None:
        path = rules.id[1:].replace("/", ".")
    else:
        properties = [name for name in dir(game_type) if isinstance(getattr(game_type, name, None), property)]
        # Each name as its own value: the id is the name of the field that the usual rules take it from.
        path = facts_of({name: name for name in (*names, *properties)})[0] or ""
    if not all(map(str.isidentifier, path.split("."))):
        raise ConfigurationError(
            f"{game_type.__qualname__} has no field for the id of a game, such as `id` or `game_id`.",
            hint="Say which it is: GameArchivalStrategy(..., rules=FactRules(id='/meta/key')), a path of attributes.",
        )
    return attrgetter(path)


def _find_id(find: Callable[[T], object], entity: T) -> str | None:
    try:
        return _id_text(find(entity))
    except (LookupError, AttributeError, TypeError):
        return None


def _id_text(value: object) -> str | None:
    """An id as a text; None if this is none."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, UUID) or (isinstance(value, int) and not isinstance(value, bool)):
        return str(value)
    return None
