"""Columns: how a pack's index writes the same field of all its records down together, small.

Integers are the bytes of a fixed width (1, 2, 4 or 8, the least that fits all), little-endian, by significance: first every
number's lowest byte, then every number's next. The high bytes, mostly alike, thus lie together, and Zstandard makes little of
them. The width is not written: it is the column's length divided by the number of values.

Readers never trust a column: a length that does not fit, or a number out of range, is a ValueError.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Sequence
from typing import Annotated

import msgspec

MAX_TEXTS = 1 << 20

Texts = Annotated[list[str], msgspec.Meta(max_length=MAX_TEXTS)]
"""A list of texts, of a length that no reader need fear."""

_CODES = {1: "B", 2: "H", 4: "I", 8: "q"}
_LARGEST_NUMBER = (1 << 63) - 1  # what a database takes, too
_LARGEST_INSTANT = 1 << 60
_UUID_BYTES = 16
_UUID_TEXT = 36
_DASHES = (8, 13, 18, 23)
_HEXADECIMAL = re.compile("[0-9a-f]*")
_ABSENT, _AS_UUID, _AS_TEXT = range(3)


def pack_numbers(values: Sequence[int]) -> bytes:
    """Write integers from 0 to 2^63 - 1 as a column.

    Raises:
        ValueError: if one is out of this range.
    """
    largest = max(values, default=0)
    if largest > _LARGEST_NUMBER or min(values, default=0) < 0:
        raise ValueError("a number is out of all range")
    width = next(width for width in _CODES if largest >> 8 * width == 0)
    rows = struct.pack(f"<{len(values)}{_CODES[width]}", *values)
    return b"".join(rows[place::width] for place in range(width))


def unpack_numbers(column: bytes, count: int) -> tuple[int, ...]:
    """Read a column of so many integers.

    Raises:
        ValueError: if it does not hold so many, or one is out of range.
    """
    width, rest = divmod(len(column), count) if count else (1, len(column))
    if rest or width not in _CODES:
        raise ValueError(f"a column of {len(column)} bytes does not hold {count} numbers")
    rows = bytearray(len(column))
    for place in range(width):
        rows[place::width] = column[place * count : (place + 1) * count]
    values = struct.unpack(f"<{count}{_CODES[width]}", rows)
    if min(values, default=0) < 0:
        raise ValueError("a number is out of all range")
    return values


def pack_instants(values: Iterable[int | None]) -> bytes:
    """Write instants, or any integers from -2^60 to 2^60, as a column.

    Each is written as its difference ``d`` to the last known one before it, as ``2 d + 1``, or ``-2 d`` if negative; 0 is None.
    """
    numbers, last = [], 0
    for value in values:
        if value is None:
            numbers.append(0)
        elif abs(value) > _LARGEST_INSTANT:
            raise ValueError(f"an instant of {value} microseconds is out of all range")
        else:
            step, last = value - last, value
            numbers.append(2 * step + 1 if step >= 0 else -2 * step)
    return pack_numbers(numbers)


def unpack_instants(column: bytes, count: int) -> list[int | None]:
    """Read a column of so many instants.

    Raises:
        ValueError: if it does not hold so many, or one is out of range.
    """
    values: list[int | None] = []
    last = 0
    for number in unpack_numbers(column, count):
        if not number:
            values.append(None)
            continue
        last += number >> 1 if number & 1 else -(number >> 1)
        values.append(last)
    if any(value is not None and abs(value) > _LARGEST_INSTANT for value in values):
        raise ValueError("an instant is out of all range")
    return values


class Identifiers(msgspec.Struct, frozen=True):
    """A column of ids, each of which may be absent. Canonical lower-case UUIDs take 16 bytes each, others are kept as text.

    ``kinds`` is a column of integers that says of each whether it is absent (0), a UUID (1) or a text (2).
    """

    kinds: bytes
    uuids: bytes
    texts: Texts


def pack_identifiers(values: Iterable[str | None]) -> Identifiers:
    """Write ids as a column."""
    values = [*values]
    uuids = [value for value in values if value is not None and len(value) == _UUID_TEXT]
    if not _are_uuids("".join(uuids)):
        uuids = [value for value in uuids if _are_uuids(value)]
    such = {*uuids}
    texts = [value for value in values if value is not None and value not in such]
    kinds = [_ABSENT if value is None else _AS_UUID if value in such else _AS_TEXT for value in values]
    return Identifiers(pack_numbers(kinds), bytes.fromhex("".join(uuids).replace("-", "")), texts)


def unpack_identifiers(column: Identifiers, count: int) -> list[str | None]:
    """Read a column of so many ids.

    Raises:
        ValueError: if it does not hold so many.
    """
    kinds = unpack_numbers(column.kinds, count)
    if len(column.uuids) != kinds.count(_AS_UUID) * _UUID_BYTES or len(column.texts) != kinds.count(_AS_TEXT):
        raise ValueError("a column of ids has too many or too few of a kind")
    if kinds.count(_ABSENT) + kinds.count(_AS_UUID) + kinds.count(_AS_TEXT) != count:
        raise ValueError("a column of ids has one of an unknown kind")
    digits = column.uuids.hex()
    uuids = (_uuid(digits[start : start + 32]) for start in range(0, len(digits), 32))
    texts = iter(column.texts)
    return [None if kind == _ABSENT else next(uuids) if kind == _AS_UUID else next(texts) for kind in kinds]


def _are_uuids(texts: str) -> bool:
    """Whether texts of the length of a UUID each are UUIDs as `Identifiers` takes them, told of all together."""
    count = len(texts) // _UUID_TEXT
    return (
        all(texts[place::_UUID_TEXT] == "-" * count for place in _DASHES)
        and _HEXADECIMAL.fullmatch(texts.replace("-", "")) is not None
        and texts.count("-") == count * len(_DASHES)
    )


def _uuid(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
