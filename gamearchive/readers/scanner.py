"""Where the values of a JSON text begin and end, found without decoding them.

A `Scanner` walks over a stream and hands out the exact bytes of one value after another: documents that stand one after
another, the elements of an array, the members of an object. It holds no more than the value in hand, and only looks at quotes
and brackets: whether a value is good JSON is for its reader to say.

A balanced value is passed over by one regular expression, which knows brackets four levels deep; a loop counts the levels
beyond. Its quantifiers are possessive, so that nothing is ever tried twice. A string cannot hold a line end: a quote left open
is noticed on its own line and does not swallow the rest of the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from gamearchive.errors import SourceError
from gamearchive.readers.streams import CHUNK_BYTES, ByteStream

_STRING = rb'"(?:[^"\\\n]++|\\[^\n])*+"'
_FLAT = rb'[^"{}\[\]]++|' + _STRING
_LEVEL_1 = rb"[\[{](?:" + _FLAT + rb")*+[\]}]"
_LEVEL_2 = rb"[\[{](?:" + _FLAT + rb"|" + _LEVEL_1 + rb")*+[\]}]"
_LEVEL_3 = rb"[\[{](?:" + _FLAT + rb"|" + _LEVEL_2 + rb")*+[\]}]"
_LEVEL_4 = rb"[\[{](?:" + _FLAT + rb"|" + _LEVEL_3 + rb")*+[\]}]"
_BALANCED = re.compile(rb"(?:" + _FLAT + rb"|" + _LEVEL_4 + rb")*+")
_WHOLE_STRING = re.compile(_STRING)
_BLANK = re.compile(rb"(?:[ \t\r\n\x1e]++|\xef\xbb\xbf)*+")  # RFC 7464's separators and byte-order marks stand between
_SCALAR = re.compile(rb'[^\s,:"{}\[\]\x1e]*+')


class BrokenError(SourceError):
    """The text breaks off, or cannot be a value, at the value in hand."""


class TooLargeError(SourceError):
    """The value in hand is above the limit."""


class Scanner:
    """Walks over the values of a JSON text.

    Args:
        stream: the text.
        limit: the largest value to hand out, in bytes.

    Attributes:
        line: the line, counted from 1, of the value looked at last.
    """

    def __init__(self, stream: ByteStream, limit: int) -> None:
        self._stream = stream
        self._limit = limit
        self._buffer = b""
        self._at = 0
        self._ended = False
        self._counted = 0  # up to where the buffer's lines are in ``line``
        self.line = 1
        self.keeps_all = True
        """Whether what is passed over stays in the buffer, for `everything`."""
