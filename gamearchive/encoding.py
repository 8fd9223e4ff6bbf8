"""Plain Python values as JSON, exactly: what comes back is equal and of the same types, or the value was refused.

JSON knows ``None``, booleans, numbers, strings, lists, and dicts with strings for keys; such a value is written as everybody
would write it. For anything else stands an object with one key, its tag:

==================================  ========================================================================================
$tuple $set $frozenset              ``[1, 2]``
$deque                              ``[[1, 2], null]``: the elements, and how many it may hold
$dict $OrderedDict $Counter         ``[[1, "a"], [2, "b"]]``: pairs of key and value
$defaultdict                        ``[[["a", 1]], "int"]``: the pairs, and the factory, a built-in type or null
$date $time                         ``"2025-03-30T01:30:00+01:00[Europe/Berlin]"``, ``"01:30:00"`` (RFC 9557)
$day                                ``"2025-03-30"``
$timedelta                          ``[1, 7200, 250]``: days, seconds, microseconds
$decimal $uuid $complex             ``"1.50"``, ``"00000000-0000-..."``, ``[1.0, 2.0]``
$float                              ``"nan"``, ``"inf"``, ``"-inf"``
$int                                ``"0x..."``: one of more than 600 digits
$bytes $bytearray                   ``"AAE="``: Base64
$text                               ``"\\ud83d"``: a string with half a surrogate pair, escaped as in Python
==================================  ========================================================================================

A dict that looks like one of these itself is written as ``$dict``. The elements of a set are sorted by what they are written
as, so that a value has the same bytes in every process. Two things are not kept, and do not count as differences: that two
places hold one and the same object, and a ``tzinfo`` that is no `ZoneInfo` beyond its offset.

Nothing is refused silently or altered: an instance of a class, a member of an enum or a subclass of a built-in type has no
place in JSON, and is an `EncodingError`, unless the caller says how to unfold it.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from math import isfinite
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from gamearchive.errors import EncodingError, IntegrityError

Unfold = Callable[[object], object]
"""What to write instead of a value that has no place in JSON: its fields, for one. ``NotImplemented`` refuses it."""

TAGGED = b'"$'
"""Bytes without this have no tag in them."""
PAIRS = "$dict"
"""The tag of a dict that could not be written as an object."""

_MAX_BITS = 2000
"""Of an integer in digits. Python reads no more than 4,300 digits, and may be told to read no more than 640."""
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+/-]*")
_MOMENT = re.compile(rf"([^\[\]]+)(?:\[({_ZONE.pattern})\])?(\[_fold=1\])?")
_TINY_OFFSET = re.compile(r"([+-])00:00:00\.([0-9]{6})$")
_FACTORIES = {kind.__name__: kind for kind in (int, float, str, bool, list, dict, set, tuple, deque, Counter)}

K = TypeVar("K", datetime, time)


def encode(value: object, unfold: Unfold | None = None) -> bytes:
    """Write a value as JSON in UTF-8, from which `decode` makes it again. A plain game of 4 KB takes 25 microseconds.

    Args:
        value: the value. It is not changed, and nobody else may change it meanwhile.
        unfold: asked about every value that is of none of the types above.

    Raises:
        EncodingError: if something in it cannot be written, or it contains itself, or is nested deeper than the interpreter's
            recursion limit allows.
    """
    try:
        data = _quickly(value)
        return msgspec.json.encode(_tree(value, unfold)) if data is None else data
    except RecursionError:
        raise EncodingError("The game cannot be encoded: it is nested too deeply, or contains itself.") from None
    except _RefusedError as refused:
        path = "".join(f"/{_segment(each)}" for each in reversed(refused.path)) or "it"
        raise EncodingError(f"The game cannot be encoded: {path} is {_describe(refused.value)}.") from None


def decode(data: bytes) -> object:
    """Make the value that `encode` wrote.

    JSON from elsewhere is taken as well, as far as the standard library's parser takes it: NaN, half surrogate pairs. There
    an object with a tag unknown here, or whose value does not fit its tag (``{"$date": 123}``), is a dict as any other.

    Raises:
        IntegrityError: if the bytes are not JSON in UTF-8, or nested deeper than the interpreter's recursion limit allows.
    """
    value = _parse(data)
    return _replace(value, _REVIVE) if TAGGED in data else value


def simplify(value: Any) -> Any:
    """What JSON's own types can say of a parsed value that has tags: for those who look for facts in it, and not for types.

    Args:
        value: as a JSON parser gives it; it is changed in place.
    """
    return _replace(value, _SIMPLE)


def moment_text(value: datetime | time) -> str:
    """A time with all that belongs to it: offset, zone and fold (RFC 9557). Equal texts are equal in every respect."""
    from zoneinfo import ZoneInfo

    text = value.isoformat()
    zone = value.tzinfo.key if isinstance(value.tzinfo, ZoneInfo) else None
    if zone is not None and _ZONE.fullmatch(zone):
        text += f"[{zone}]"
    return f"{text}[_fold=1]" if value.fold else text


class _RefusedError(Exception):
    """A value that cannot be written. ``path`` leads to it from within, innermost first."""

    def __init__(self, value: object) -> None:
        self.value = value
        self.path: list[object] = []


_LEAVES = frozenset([bool, type(None)])


def _quickly(value: object) -> bytes | None:
    """The bytes of a value that has nothing but what JSON knows; None for any other.

    msgspec writes much more than JSON knows, sets and enums as well, and never says so. Hence the walk over all types. It goes
    after the writing, which finds a value that contains itself.
    """
    try:
        data = msgspec.json.encode(value)
    except (TypeError, ValueError, OverflowError):  # of a type, a surrogate or a number that it does not write
        return None
    if b'{"$' in data:
        return None
    waiting: list[Iterable[object]] = [(value,)]
    for container in waiting:
        inner = container
        if type(container) is dict:
            for key in container:
                if type(key) is not str:
                    return None
            inner = container.values()
        for each in inner:
            kind = type(each)
            if kind is str or kind is int:
                continue  # most are
            if kind is dict or kind is list:
                waiting.append(each)  # type: ignore[arg-type]
            elif kind not in _LEAVES and (kind is not float or not isfinite(each)):  # type: ignore[arg-type]
                return None
    return data


def _tree(value: object, unfold: Unfold | None) -> object:
    """A value put together of what JSON knows alone."""
    return _WRITERS.get(type(value), _write_foreign)(value, unfold)


def _write_foreign(value: object, unfold: Unfold | None) -> object:
    unfolded = NotImplemented if unfold is None else unfold(value)
    if unfolded is NotImplemented:
        raise _RefusedError(value)
    return _tree(unfolded, unfold)


def _write_same(value: object, _: Unfold | None) -> object:
    return value


def _write_text(value: str, _: Unfold | None) -> object:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            return {"$text": value.encode("unicode_escape").decode()}
    return value


def _write_int(value: int, _: Unfold | None) -> object:
    return value if value.bit_length() <= _MAX_BITS else {"$int": hex(value)}


def _write_float(value: float, _: Unfold | None) -> object:
    return value if isfinite(value) else {"$float": str(value)}


def _write_list(value: Iterable[object], unfold: Unfold | None) -> list[object]:
    written: list[object] = []
    try:
        for each in value:
            written.append(_WRITERS.get(type(each), _write_foreign)(each, unfold))  # noqa: PERF401 - its length is the index
    except _RefusedError as refused:
        refused.path.append(len(written))
        raise
    return written


def _write_pairs(value: dict[object, object], unfold: Unfold | None) -> list[object]:
    written: list[object] = []
    for key, each in value.items():
        try:
            written.append([_tree(key, unfold), _tree(each, unfold)])
        except _RefusedError as refused:
            refused.path.append(key)
            raise
    return written


def _write_dict(value: dict[object, object], unfold: Unfold | None) -> object:
    if not _is_object(value):
        return {PAIRS: _write_pairs(value, unfold)}
    written: dict[object, object] = {}
    key = None
    try:
        for key, each in value.items():
            written[key] = _WRITERS.get(type(each), _write_foreign)(each, unfold)
    except _RefusedError as refused:
        refused.path.append(key)
        raise
    return written


def _is_object(value: dict[object, object]) -> bool:
    """Whether a dict can be written as an object of its own: its keys are texts, and it is not taken for something tagged."""
    if not _TEXT.issuperset(map(type, value)) or (len(value) == 1 and not _REVIVE.keys().isdisjoint(value)):
        return False
    names = "".join(value)  # type: ignore[arg-type]
    return names.isascii() or _write_text(names, None) is names


def _write_set(value: Iterable[object], unfold: Unfold | None) -> list[object]:
    return sorted([_tree(each, unfold) for each in value], key=msgspec.json.encode)


def _write_defaultdict(value: defaultdict[object, object], unfold: Unfold | None) -> object:
    factory = value.default_factory
    name = getattr(factory, "__name__", None)
    if factory is not None and _FACTORIES.get(name) is not factory:  # type: ignore[arg-type]
        raise _RefusedError(value)
    return {"$defaultdict": [_write_pairs(value, unfold), name]}


def _tagged(tag: str, write: Callable[..., object]) -> Callable[..., object]:
    """A writer that puts what another writes behind a tag."""
    return lambda value, unfold: {tag: write(value, unfold)}


def _as(tag: str, write: Callable[..., object]) -> Callable[..., object]:
    """A writer that puts what a function makes of the value behind a tag."""
    return lambda value, _: {tag: write(value)}


_TEXT = frozenset([str])
_WRITERS: dict[type, Callable[..., object]] = {
    str: _write_text,
    int: _write_int,
    float: _write_float,
    bool: _write_same,
    type(None): _write_same,
    list: _write_list,
    dict: _write_dict,
    tuple: _tagged("$tuple", _write_list),
    set: _tagged("$set", _write_set),
    frozenset: _tagged("$frozenset", _write_set),
    deque: lambda value, unfold: {"$deque": [_write_list(value, unfold), value.maxlen]},
    OrderedDict: _tagged("$OrderedDict", _write_pairs),
    Counter: _tagged("$Counter", _write_pairs),
    defaultdict: _write_defaultdict,
    datetime: _as("$date", moment_text),
    date: _as("$day", date.isoformat),
    time: _as("$time", moment_text),
    timedelta: _as("$timedelta", lambda value: [value.days, value.seconds, value.microseconds]),
    Decimal: _as("$decimal", str),
    UUID: _as("$uuid", str),
    complex: lambda value, _: {"$complex": [_write_float(value.real, None), _write_float(value.imag, None)]},
    bytes: _as("$bytes", lambda value: b64encode(value).decode()),
    bytearray: _as("$bytearray", lambda value: b64encode(value).decode()),
}


def _segment(key: object) -> str:
    """A part of a JSON pointer."""
    return str(key).replace("~", "~0").replace("/", "~1")


def _describe(value: object) -> str:
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    if isinstance(value, defaultdict):
        return f"a {name} whose factory is no built-in type"
    return f"of type {name}, which JSON has no place for"


def _parse(data: bytes) -> object:
    try:
        try:
            return msgspec.json.decode(data)
        except msgspec.DecodeError:
            return json.loads(data.decode())
    except RecursionError:
        raise IntegrityError("The game cannot be decoded: it is nested too deeply.") from None
    except ValueError as error:
        raise IntegrityError(f"The game cannot be decoded: its bytes are no JSON ({error}).") from None


def _replace(root: object, table: dict[str, Callable[..., object]]) -> object:
    """Replace in a parsed value every object with a tag, the innermost first. What does not fit its tag stays."""
    top = [root]
    places: list[tuple[Any, Any]] = [(top, 0)]
    for parent, key in places:
        value = parent[key]
        if type(value) is dict:
            places += [(value, name) for name, each in value.items() if type(each) is dict or type(each) is list]
        elif type(value) is list:
            places += [(value, index) for index, each in enumerate(value) if type(each) is dict or type(each) is list]
    for parent, key in reversed(places):
        value = parent[key]
        if type(value) is dict and len(value) == 1:
            ((tag, content),) = value.items()
            if tag in table:
                with suppress(ValueError, TypeError, LookupError, ArithmeticError):
                    parent[key] = table[tag](content)
    return top[0]


def _items(content: object) -> list[Any]:
    if type(content) is not list:
        raise TypeError
    return content


def _text(content: object) -> str:
    if type(content) is not str:
        raise TypeError
    return content


def _pairs(content: object) -> list[tuple[object, object]]:
    return [(key, value) for key, value in map(_items, _items(content))]


def _revive_deque(content: object) -> deque[object]:
    items, most = _items(content)
    return deque(_items(items), most)


def _revive_defaultdict(content: object) -> defaultdict[object, object]:
    pairs, name = _items(content)
    return defaultdict(None if name is None else _FACTORIES[_text(name)], _pairs(pairs))


def _revive_moment(kind: type[K], content: object) -> K:
    match = _MOMENT.fullmatch(_text(content))
    if match is None:
        raise ValueError
    moment = kind.fromisoformat(match[1])
    tiny = _TINY_OFFSET.search(match[1])
    if tiny is not None:  # which fromisoformat takes for UTC
        moment = moment.replace(tzinfo=timezone(timedelta(microseconds=int(tiny[1] + tiny[2]))))
    if match[2] is not None:
        from zoneinfo import ZoneInfo

        with suppress(LookupError, ValueError, OSError):  # a zone that this machine does not know: the offset says when it was
            moment = moment.replace(tzinfo=ZoneInfo(match[2]))
    return moment.replace(fold=1) if match[3] else moment


def _revive_timedelta(content: object) -> timedelta:
    days, seconds, microseconds = _items(content)
    return timedelta(days, seconds, microseconds)


def _revive_complex(content: object) -> complex:
    real, imaginary = _items(content)
    return complex(real, imaginary)


def _revive_text(content: object) -> str:
    return _text(content).encode("ascii").decode("unicode_escape")


_REVIVE: dict[str, Callable[..., object]] = {
    "$tuple": lambda content: tuple(_items(content)),
    "$set": lambda content: set(_items(content)),
    "$frozenset": lambda content: frozenset(_items(content)),
    "$deque": _revive_deque,
    PAIRS: lambda content: dict(_pairs(content)),
    "$OrderedDict": lambda content: OrderedDict(_pairs(content)),
    "$Counter": lambda content: Counter(dict(_pairs(content))),
    "$defaultdict": _revive_defaultdict,
    "$date": lambda content: _revive_moment(datetime, content),
    "$day": lambda content: date.fromisoformat(_text(content)),
    "$time": lambda content: _revive_moment(time, content),
    "$timedelta": _revive_timedelta,
    "$decimal": lambda content: Decimal(_text(content)),
    "$uuid": lambda content: UUID(_text(content)),
    "$complex": _revive_complex,
    "$float": lambda content: float(_text(content)),
    "$int": lambda content: int(_text(content), 16),
    "$bytes": lambda content: b64decode(_text(content), validate=True),
    "$bytearray": lambda content: bytearray(b64decode(_text(content), validate=True)),
    "$text": _revive_text,
}


def _named(content: object) -> dict[str, object]:
    return {str(key): value for key, value in _pairs(content)}


_SIMPLE: dict[str, Callable[..., object]] = {
    **dict.fromkeys(("$tuple", "$set", "$frozenset"), _items),
    **dict.fromkeys(("$dict", "$OrderedDict", "$Counter"), _named),
    "$deque": lambda content: _items(_items(content)[0]),
    "$defaultdict": lambda content: _named(_items(content)[0]),
    **dict.fromkeys(("$day", "$decimal", "$uuid"), _text),
    "$date": lambda content: _text(content).partition("[")[0],
    "$int": _REVIVE["$int"],
    "$text": _revive_text,
}
