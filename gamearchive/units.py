"""Durations (``7d``), sizes (``64MB``) and instants (RFC 3339), read and printed.

A duration is seconds (``float``), a size is bytes (``int``), an instant is microseconds since the epoch (``int``, UTC).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from math import inf, isfinite

from gamearchive.errors import UsageError

SECOND = 1_000_000
"""Microseconds in a second."""

_DURATIONS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "mo": 2_629_746, "y": 31_556_952}
_SIZES = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(mo|[smhdwy])", re.ASCII)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([bkmgt]?)(?:i?b)?", re.IGNORECASE | re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_FIRST, _LAST = -62_135_596_800 * SECOND, 253_402_300_799 * SECOND
_ALL_TIME = (_LAST - _FIRST) / SECOND


def parse_duration(text: str) -> float:
    """Read a duration such as ``90s 15m 6h 7d 2w 3mo 1y``, or several put together (``1d12h``), as seconds.

    A month is a twelfth, and a year the whole, of the mean Gregorian year of 365.2425 days.

    Raises:
        UsageError: if it is none.
    """
    total, at = 0.0, 0
    for match in _DURATION.finditer(text):
        if match.start() != at:
            break
        total += float(match[1]) * _DURATIONS[match[2]]
        at = match.end()
    if not text or at != len(text) or not isfinite(total):
        raise UsageError(f"{text!r} is not a duration.", hint="Write a number and a unit: 90s 15m 6h 7d 2w 3mo 1y.")
    return total


def parse_size(text: str) -> int:
    """Read a size such as ``64MB``, ``4096`` or ``1.5 GiB`` as bytes; K, M, G and T are powers of 1024.

    Raises:
        UsageError: if it is none.
    """
    match = _SIZE.fullmatch(text.strip())
    size = float(match[1]) * _SIZES[match[2].lower()] if match else inf
    if not isfinite(size):
        raise UsageError(f"{text!r} is not a size.", hint="Write a number and a unit: 4096, 500KB, 64MB, 2GB.")
    return int(size)


def parse_instant(text: str) -> int:
    """Read an RFC 3339 instant, or a date (its first moment in UTC), as microseconds since the epoch.

    An instant without an offset is taken as UTC.

    Raises:
        UsageError: if it is neither.
    """
    try:
        return to_instant(datetime.fromisoformat(text))
    except ValueError:
        raise UsageError(
            f"{text!r} is not a date or an instant.", hint="Write 2025-03-01, 2025-03-01T12:00:00Z, or a duration such as 7d."
        ) from None


def parse_moment(text: str, now: int) -> int:
    """Read what ``--since`` takes: a duration back from ``now``, a date, or an instant.

    Raises:
        UsageError: if it is none of these.
    """
    if _DURATION.match(text) and not text[-1:].isdigit() and "T" not in text and "-" not in text:
        return max(now - round(min(parse_duration(text), _ALL_TIME) * SECOND), _FIRST)
    return parse_instant(text)


def to_instant(moment: datetime) -> int:
    """A datetime as microseconds since the epoch; one without a zone is taken as UTC."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MICROSECOND


def from_instant(instant: int) -> datetime:
    """Microseconds since the epoch as a datetime in UTC; outside of the years 1 to 9999, the nearest that there is."""
    return _EPOCH + timedelta(microseconds=min(max(instant, _FIRST), _LAST))


def format_instant(instant: int) -> str:
    """An instant as RFC 3339 in UTC, with six digits of fraction or none: ``2025-03-01T12:00:00.250000Z``."""
    return from_instant(instant).isoformat().replace("+00:00", "Z")


def format_size(size: float) -> str:
    """A size for people, in binary units: ``4.1 KiB``."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(size) < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"


def format_count(count: int, noun: str) -> str:
    """A number of things for people: ``1 game``, ``2,000 games``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def format_duration(seconds: float) -> str:
    """A duration for people, in the largest unit that leaves at least two of it: ``90s``, ``36h``, ``12d``."""
    for unit in ("y", "mo", "w", "d", "h", "m"):
        if seconds >= 2 * _DURATIONS[unit]:
            return f"{seconds / _DURATIONS[unit]:.0f}{unit}"
    return f"{seconds:.0f}s" if seconds >= 1 or not seconds else f"{seconds * 1000:.0f}ms"
