"""The forms that a game has in play: a dict, or an instance of a dataclass, an attrs class, a msgspec Struct, a pydantic model.

Each is taken apart into bytes and put together again by its annotations. These say less than the values themselves (``Any``
does not tell a set from a list, and msgspec writes NaN as null), and a class's ``==`` may look at its id alone. So each game
is put together again as soon as it has been written, and compared field by field: what would come back different is written in
the exact way of `encoding` instead, and refused should even that not do.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime, time
from decimal import Decimal
from enum import Enum
from operator import attrgetter
from typing import Any, Generic, TypeVar, is_typeddict

import msgspec

from gamearchive import encoding
from gamearchive.errors import ConfigurationError, EncodingError

T = TypeVar("T")

_OWN_STRATEGY = "Give another class, or write an ArchivalStrategy of your own."


class Form(ABC, Generic[T]):
    """How games of one form are written and made again."""

    def __init__(self, game_type: type[T]) -> None:
        self.game_type = game_type

    @abstractmethod
    def encode(self, game: T) -> bytes:
        """Write a game.

        Raises:
            EncodingError: if it cannot be written so that it comes back the same.
        """

    @abstractmethod
    def decode(self, payload: bytes) -> T:
        """Make a game from what was written.

        Raises:
            ValueError: if it does not fit the class.
            IntegrityError: if it is no JSON.
        """

    @abstractmethod
    def build(self, document: object) -> T:
        """Make a game from a decoded document.

        Raises:
            ValueError: if it does not fit the class.
        """

    def is_unchanged(self, game: T, payload: bytes) -> bool:
        """Whether a game is at first sight the one that was written so, going by what JSON can say of it; at a fifth of the
        cost of writing it."""
        try:
            return msgspec.json.encode(game) == payload
        except (TypeError, ValueError, OverflowError, RecursionError):  # of what msgspec does not write
            return False

    def check(self, game: T, data: bytes) -> bytes:
        """Give back what was written, if the game comes back from it.

        Raises:
            EncodingError: if it does not.
        """
        try:
            path = difference(game, self.decode(data))
        except RecursionError:
            raise EncodingError("The game cannot be encoded: it is nested too deeply.") from None
        except ValueError as error:
            raise EncodingError(f"The game would not come back from what it is written as: {error}.") from None
        if path is not None:
            where = "".join(f"/{each}" for each in reversed(path)) or "it"
            raise EncodingError(f"The game would come back different: {where} is not what its annotation can bring back.")
        return data


def form_of(game_type: type[T]) -> Form[T]:
    """The form of the games of a class.

    Raises:
        ConfigurationError: if it is none that games can have.
    """
    if game_type is dict or is_typeddict(game_type):
        return PlainForm(game_type)
    if isinstance(game_type, type) and field_names(game_type) is not None:
        return ModelForm(game_type) if _is_model(game_type) else TypedForm(game_type)
    raise ConfigurationError(
        f"{game_type!r} is no dict, dataclass, attrs class, msgspec Struct or pydantic model.", hint=_OWN_STRATEGY
    )


class PlainForm(Form[T]):
    """A dict, of which nobody knows what is in it."""

    def encode(self, game: T) -> bytes:
        return encoding.encode(game)

    def decode(self, payload: bytes) -> T:
        return self.build(encoding.decode(payload))

    def build(self, document: object) -> T:
        if not isinstance(document, dict):
            raise ValueError(f"it is no object but of type {type(document).__name__}")  # noqa: TRY004 - a wrong value
        return document  # type: ignore[return-value]


class TypedForm(Form[T]):
    """An instance of a class whose fields are annotated; msgspec does the work."""

    def __init__(self, game_type: type[T]) -> None:
        super().__init__(game_type)
        if issubclass(game_type, msgspec.Struct) and game_type.__struct_config__.array_like:
            raise ConfigurationError(
                f"{game_type.__qualname__} cannot be archived: it is array_like, so that its facts have no names.",
                hint="Leave that out; the Structs within it may have it.",
            )
        try:
            self._decoder = msgspec.json.Decoder(game_type)
            told = _told_by_equality(game_type)
        except (TypeError, NameError) as error:
            raise ConfigurationError(f"{game_type.__qualname__} cannot be archived: {error}.", hint=_OWN_STRATEGY) from None
        self._told: Callable[[T], object] = attrgetter(*told) if told else type
        self._others = tuple([name for name in field_names(game_type) or () if name not in told])

    def encode(self, game: T) -> bytes:
        try:
            data = msgspec.json.encode(game)
            if encoding.TAGGED not in data and self._is_same(game, self._decoder.decode(data)):
                return data
        except (TypeError, ValueError, OverflowError, RecursionError):  # of what msgspec does not write, or not read back
            pass
        return self.check(game, encoding.encode(game, unfold))

    def _is_same(self, game: T, made: T) -> bool:
        """Whether there is no `difference`, which takes several times as long as ``==``."""
        if type(game) is not type(made) or self._told(game) != self._told(made):
            return False
        return _compare_fields(self._others, game, made) is None

    def decode(self, payload: bytes) -> T:
        if encoding.TAGGED not in payload:
            try:
                return self._decoder.decode(payload)
            except msgspec.ValidationError:
                raise
            except msgspec.DecodeError:
                pass  # not quite JSON, as of the standard library's making
        return self.build(encoding.decode(payload))

    def build(self, document: object) -> T:
        return msgspec.convert(document, self.game_type, str_keys=True)


def _told_by_equality(game_type: type) -> tuple[str, ...]:
    """The fields of a class of which ``==`` tells all that `difference` does.

    Their annotations are concrete all the way down, without a time (equal ones may be of different zones), and every class in
    them compares all its fields.
    """
    from msgspec import inspect

    vague = (inspect.AnyType, inspect.CustomType, inspect.RawType, inspect.ExtType, inspect.DateTimeType, inspect.TimeType)

    def tells(node: object, seen: set[type]) -> bool:
        if isinstance(node, tuple):
            return all(tells(each, seen) for each in node)
        if isinstance(node, inspect.Field):
            return tells(node.type, seen)
        if isinstance(node, vague):
            return False
        if not isinstance(node, inspect.Type) or isinstance(node, inspect.EnumType):
            return True
        kind = None if isinstance(node, inspect.TypedDictType) else getattr(node, "cls", None)
        if kind is not None:
            if kind in seen:
                return True
            if not _compares_all(kind):
                return False
            seen.add(kind)
        return all(tells(getattr(node, name), seen) for name in node.__struct_fields__)

    info: Any = inspect.type_info(game_type)
    return tuple([each.name for each in info.fields if tells(each.type, set())])


def _compares_all(kind: Any) -> bool:
    """Whether a class's ``==`` is the one that is made for it, and leaves no field out."""
    if issubclass(kind, msgspec.Struct):
        return bool(kind.__struct_config__.eq) and kind.__eq__ is msgspec.Struct.__eq__
    if issubclass(kind, tuple):
        return kind.__eq__ is tuple.__eq__
    made = getattr(getattr(kind.__eq__, "__code__", None), "co_filename", "")
    if is_dataclass(kind):
        return made == "<string>" and all(each.compare for each in fields(kind))
    return made.startswith("<attrs generated") and all(each.eq is True for each in getattr(kind, "__attrs_attrs__", ()))


class ModelForm(Form[T]):
    """An instance of a pydantic model, by its fields' names. What is excluded from its dump is not kept."""

    def encode(self, game: T) -> bytes:
        if type(game) is not self.game_type:
            raise EncodingError(f"The game is of type {type(game).__qualname__}, not {self.game_type.__qualname__}.")
        return self.check(game, encoding.encode(_dump(game), unfold))

    def decode(self, payload: bytes) -> T:
        return self.build(encoding.decode(payload))

    def build(self, document: object) -> T:
        model: Any = self.game_type
        made: T = model.model_validate(document, strict=False, by_alias=False, by_name=True)
        return made


def _is_model(kind: type) -> bool:
    """Whether this is a pydantic model, as can be told without importing pydantic."""
    return hasattr(kind, "__pydantic_validator__") and hasattr(kind, "model_dump")


def _dump(model: Any) -> object:
    return model.model_dump(mode="python", round_trip=True, warnings=False)


_BUILTIN: tuple[Any, ...] = (str, int, float, tuple, list, dict, set, frozenset, bytes)


def field_names(kind: type) -> tuple[str, ...] | None:
    """The names of the fields of a class of games, or of what is in them; None if it is no such class."""
    if kind not in _FIELDS:
        if len(_FIELDS) >= _MAX_CLASSES:  # somebody makes classes as games go by
            _FIELDS.clear()
        _FIELDS[kind] = _find_fields(kind)
    return _FIELDS[kind]


_FIELDS: dict[type, tuple[str, ...] | None] = {}
_MAX_CLASSES = 1000


def _find_fields(kind: Any) -> tuple[str, ...] | None:
    if _is_model(kind):
        kept = [name for name, field in kind.model_fields.items() if not field.exclude]
        return (*kept, "__pydantic_extra__", "__pydantic_private__")
    if issubclass(kind, msgspec.Struct):
        return tuple(kind.__struct_fields__)
    if is_dataclass(kind):
        return tuple([field.name for field in fields(kind)])
    if hasattr(kind, "__attrs_attrs__"):
        return tuple([attribute.name for attribute in kind.__attrs_attrs__])
    return None


def unfold(value: Any) -> object:
    """What `encoding` is to write for a value whose class an annotation names."""
    if isinstance(value, Enum):
        return value.value
    for builtin in _BUILTIN:
        if isinstance(value, builtin):
            return builtin(value)
    names = field_names(type(value))
    if names is None:
        return NotImplemented
    if isinstance(value, msgspec.Struct):
        return _unfold_struct(value)
    if _is_model(type(value)):
        return _dump(value)
    return {name: getattr(value, name) for name in names if hasattr(value, name)}


def _unfold_struct(value: msgspec.Struct) -> object:
    config = value.__struct_config__
    inside = [getattr(value, name) for name in value.__struct_fields__]
    if config.array_like:
        return inside if config.tag is None else [config.tag, *inside]
    named = dict(zip(value.__struct_encode_fields__, inside, strict=True))
    return named if config.tag is None else {str(config.tag_field): config.tag, **named}


def difference(before: Any, after: Any) -> list[object] | None:
    """Where what came back is not what went in, innermost name first; None if they are the same all through.

    The same is: of the same type, and equal. As annotations are what types come back by, an ``int`` may come back as an equal
    ``float``, and a subclass of a built-in type as that type; a member of an enum may not.
    """
    kind = type(after)
    if kind is not type(before) and (
        isinstance(before, Enum) or not (isinstance(before, kind) or (kind is float and type(before) is int))
    ):
        return []
    compare = _COMPARISONS.get(kind)
    if compare is not None:
        return compare(before, after)
    names = field_names(kind)
    if names is None:
        return None if before == after else []
    if kind is not type(before):
        return []
    return _compare_fields(names, before, after)


def _compare_fields(names: Sequence[str], before: object, after: object) -> list[object] | None:
    return _compare_each(
        names, [getattr(before, name, _UNSET) for name in names], [getattr(after, name, _UNSET) for name in names]
    )


_UNSET = object()
_SIMPLE = frozenset([str, int, bool, bytes])


def _compare_values(before: object, after: object) -> list[object] | None:
    return None if before == after else []


def _by(text: Callable[[Any], str]) -> Callable[[Any, Any], list[object] | None]:
    return lambda before, after: None if text(before) == text(after) else []


def _compare_floats(before: float, after: float) -> list[object] | None:
    return None if before == after or (before != before and after != after) else []  # noqa: PLR0124 - not a number


def _compare_items(before: Collection[object], after: Collection[object]) -> list[object] | None:
    if len(before) != len(after):
        return []
    return _compare_each(range(len(after)), before, after)


def _compare_each(names: Iterable[object], before: Iterable[object], after: Iterable[object]) -> list[object] | None:
    for name, earlier, later in zip(names, before, after, strict=True):
        if earlier is later or (type(earlier) is type(later) in _SIMPLE and earlier == later):
            continue  # most values; the call would be dear
        path = difference(earlier, later)
        if path is not None:
            path.append(name)
            return path
    return None


def _compare_deques(before: deque[object], after: deque[object]) -> list[object] | None:
    return _compare_items(before, after) if before.maxlen == after.maxlen else []


def _compare_sets(before: set[object], after: set[object]) -> list[object] | None:
    if before == after and Counter(map(type, before)) == Counter(map(type, after)):
        return None
    return None if _compare_items(sorted(before, key=repr), sorted(after, key=repr)) is None else []


def _compare_dicts(before: dict[object, object], after: dict[object, object]) -> list[object] | None:
    if len(before) != len(after):
        return []
    return _compare_each(before, before, after) or _compare_each(before, before.values(), after.values())


def _compare_defaultdicts(before: defaultdict[object, object], after: defaultdict[object, object]) -> list[object] | None:
    return _compare_dicts(before, after) if before.default_factory is after.default_factory else []


_COMPARISONS: dict[type, Callable[[Any, Any], list[object] | None]] = {
    **dict.fromkeys((str, int, bool, type(None), bytes, bytearray), _compare_values),
    float: _compare_floats,
    complex: _by(repr),
    Decimal: _by(str),
    **dict.fromkeys((datetime, time), _by(encoding.moment_text)),
    **dict.fromkeys((list, tuple), _compare_items),
    deque: _compare_deques,
    **dict.fromkeys((set, frozenset), _compare_sets),
    dict: _compare_dicts,
    defaultdict: _compare_defaultdicts,
}
