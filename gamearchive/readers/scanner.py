"""Where the values of a JSON text begin and end, found without decoding them.

A `Scanner` walks over a stream and hands out the exact bytes of one value after another: documents that stand one after
another, the elements of an array, the members of an object. It holds no more than the value in hand, and only looks at quotes
and brackets: whether a value is good JSON is for its reader to say.

A balanced value is passed over by one regular expression, which knows brackets some levels deep; a loop counts the levels
beyond. Its quantifiers are possessive, so that nothing is ever tried twice. A string cannot hold a line end: a quote left open
is noticed on its own line and does not swallow the rest of the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from gamearchive.errors import SourceError
from gamearchive.readers.streams import CHUNK_BYTES, ByteStream

LEVELS = 6
_REFILL_BYTES = 8 << 20

_INSIDE = rb'(?:[^"\\\n]++|\\[^\n])*+'
_STRING = rb'"' + _INSIDE + rb'"'


def _balanced(levels: int) -> re.Pattern[bytes]:
    """What matches any run of text whose brackets close within so many levels."""
    flat = rb'[^"{}\[\]]++|' + _STRING
    inner = flat
    for _ in range(levels):
        inner = flat + rb"|[\[{](?:" + inner + rb")*+[\]}]"
    return re.compile(rb"(?:" + inner + rb")*+")


_BALANCED = _balanced(LEVELS)
_WHOLE_STRING = re.compile(_STRING)
_STRING_INSIDE = re.compile(_INSIDE)
_BLANK = re.compile(rb"(?:[ \t\r\n\x1e]++|\xef\xbb\xbf)*+")  # RFC 7464's separators and byte-order marks stand between values
_SCALAR = re.compile(rb"-?[0-9][0-9.eE+-]*+|true|false|null|NaN|-?Infinity")
_OPEN_STRING = "a string is not closed on its line"
_RECORD_LINE = re.compile(rb"\n(\{[^\n]*\})[ \t]*[,\]]?[ \t]*\r?(?=\n|\Z)")


class BrokenError(SourceError):
    """The text breaks off within the value in hand, or cannot be a value at all."""


class TooLargeError(SourceError):
    """The value in hand is above the limit."""


class Scanner:
    """Walks over the values of a JSON text.

    Args:
        stream: the text.
        limit: the largest value to hand out, in bytes.

    Attributes:
        line: the line, counted from 1, that the walk has come to.
    """

    def __init__(self, stream: ByteStream, limit: int) -> None:
        self._stream = stream
        self._limit = limit
        self._too_large = f"the record has more than {limit} bytes"
        self._buffer = b""
        self._at = 0
        self._keeps_all = True
        self.line = 1

    def peek(self) -> bytes:
        """Pass over white space, and look at the byte after it; none at the end."""
        while True:
            end = _BLANK.match(self._buffer, self._at).end()  # type: ignore[union-attr]  # it matches nothing, too
            self._pass(end - self._at)
            rest = len(self._buffer) - end
            half_mark = rest < 3 and self._buffer.startswith(b"\xef", end)
            if rest and not half_mark:
                return self._buffer[end : end + 1]
            if not self._refill():
                return self._buffer[self._at : self._at + 1]

    def step(self) -> None:
        """Pass over the byte that `peek` has shown."""
        self._pass(1)

    def value(self) -> bytes:
        """Take the value that begins here. If it cannot be taken, the walk stays before it.

        Raises:
            BrokenError: if the text breaks off within it, or it is no value.
            TooLargeError: if it is above the limit.
        """
        size = self._measure(keep=True)
        if size > self._limit:
            raise TooLargeError(self._too_large)
        return self._pass(size)

    def skip(self) -> None:
        """Pass over the value that begins here, whatever its size, without holding it.

        Raises:
            BrokenError: if the text breaks off within it, or it is no value.
                SourceError: if the source is a decompression bomb.
        """
        self._keeps_all = False
        if self._buffer.startswith(b'"', self._at):
            self._skip_string()
        else:
            self._pass(self._measure(keep=False))

    def begins_like(self, pattern: re.Pattern[bytes]) -> re.Match[bytes] | None:
        """Whether what is in memory of the text from here on begins like this."""
        return pattern.match(self._buffer, self._at)

    def text_so_far(self) -> bytes | None:
        """Everything passed over and the rest in memory, exactly; None once some of it has been let go."""
        return self._buffer if self._keeps_all else None

    def let_go(self) -> None:
        """Hold what has been passed over no longer."""
        self._keeps_all = False

    def resynchronise(self, is_record: Callable[[bytes], bool]) -> tuple[bytes, bool]:
        """From a broken value, go on to the next line that is a record in itself, or to the end of what is in memory.

        Returns:
            What was passed over, and whether there is such a line.
        """
        self._keeps_all = False
        for match in _RECORD_LINE.finditer(self._buffer, self._at):
            if is_record(match[1]):
                return self._pass(match.start(1) - self._at), True
        return self._pass(len(self._buffer) - self._at), False

    def _pass(self, size: int) -> bytes:
        passed = self._buffer[self._at : self._at + size]
        self._at += size
        self.line += passed.count(b"\n")
        return passed

    def _refill(self) -> bool:
        """Read on; False at the end. What has been passed over is let go, unless all is still to be kept."""
        if len(self._buffer) > self._limit:
            self._keeps_all = False
        kept = 0 if self._keeps_all else self._at
        more = self._stream.read(min(max(CHUNK_BYTES, len(self._buffer) - kept), _REFILL_BYTES))
        self._buffer = self._buffer[kept:] + more
        self._at -= kept
        return bool(more)

    def _measure(self, *, keep: bool) -> int:
        """The bytes left of the value that begins here. With ``keep`` the walk stays at its beginning, else it follows."""
        if self._buffer[self._at : self._at + 1] not in (b"{", b"["):
            return self._measure_scalar()
        size = depth = 1
        while depth:
            size = _BALANCED.match(self._buffer, self._at + size).end() - self._at  # type: ignore[union-attr]
            byte = self._buffer[self._at + size : self._at + size + 1]
            if byte in (b"}", b"]"):
                depth -= 1
                size += 1
            elif byte in (b"{", b"["):
                depth += 1
                size += 1
            elif keep:
                self._need_more(self._at + size)
            else:
                self._pass(size)
                size = 0
                if byte:
                    self._skip_string()
                else:
                    self._read_past_limit()
        return size

    def _measure_scalar(self) -> int:
        while True:
            string = self._buffer.startswith(b'"', self._at)
            match = (_WHOLE_STRING if string else _SCALAR).match(self._buffer, self._at)
            if match and (string or match.end() < len(self._buffer)):
                return match.end() - self._at
            if string:
                self._need_more(self._at)
            elif match:  # a number that may go on
                if match.end() - self._at > self._limit:
                    raise TooLargeError(self._too_large)
                if not self._refill():
                    return match.end() - self._at
            elif len(self._buffer) - self._at >= len("-Infinity") or not self._refill():
                raise BrokenError("no JSON value begins like this")

    def _skip_string(self) -> None:
        self._pass(1)
        while True:
            end = _STRING_INSIDE.match(self._buffer, self._at).end()  # type: ignore[union-attr]
            self._pass(end - self._at)
            if self._buffer.startswith(b'"', self._at):
                self._pass(1)
                return
            if self._buffer[self._at :] not in (b"", b"\\"):
                raise BrokenError(_OPEN_STRING)
            self._read_past_limit()

    def _read_past_limit(self) -> None:
        """Read on within a value that is passed over because it is above the limit."""
        self._stream.refuse_bomb()
        self._read_on()

    def _need_more(self, end: int) -> None:
        """Read on from a value that is unfinished at ``end``, which is the end of the buffer or an open string."""
        if len(self._buffer) - self._at > self._limit:
            raise TooLargeError(self._too_large)
        if end < len(self._buffer):
            inside = _STRING_INSIDE.match(self._buffer, end + 1).end()  # type: ignore[union-attr]
            if self._buffer[inside:] not in (b"", b"\\"):
                raise BrokenError(_OPEN_STRING)
        self._read_on()

    def _read_on(self) -> None:
        if not self._refill():
            raise BrokenError("the record is cut: its brackets or quotes are not closed")
