"""Chess games in PGN, many a file: the Portable Game Notation as the world writes it, not only as its standard does.

A game is a tag section and a movetext, either of which may be missing. It ends before the next tag section; a comment, which
may hold blank lines and even tags, never ends it. Its bytes are those from the first tag to the last byte of the movetext, in
whatever 8-bit encoding they are. Only a file that holds nothing but one game is that game as it is.

The facts come from the tags: the players by name and FIDE id, the winner and the status from the result, the times from
UTCDate and UTCTime, or Date and Time, and EndDate and EndTime. A date that is not known to the day is unknown. The id is
GameId, or the end of a lichess address in Site, or of the address in Link, or the number that FICS gives, or else derived
from the game's bytes.

A game is rejected where a comment or a variation stays open, and at the end of the file where no result ends it, since it then
cannot be told from a game that was cut. Within a file a missing result is forgiven. A comment left open is noticed when a tag
section and another comment follow within it, and costs its own game only.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from typing import ClassVar

from gamearchive.errors import SourceError
from gamearchive.facts import clean_text, parse_time
from gamearchive.model import PGN, Facts, GameRecord, Player, Rejection
from gamearchive.readers.base import ReadContext, Reader, derived_id, utf16_problem
from gamearchive.readers.streams import HEAD_BYTES, ByteStream

_BLANK = b" \t\r\n\x1a\xef\xbb\xbf"  # with the end-of-file mark of DOS, and the byte-order mark
_LOOKS_LIKE_GAME = re.compile(rb'(?:\xef\xbb\xbf|\s|%[^\n]*\n)*\[\s*[A-Za-z0-9_]+\s+"[^\n]*"\s*\]')
_TAG = re.compile(rb'\[\s*(\w+)\s*"((?:[^"\\]|\\.)*)"\s*\]')
_LOOSE_TAG = re.compile(rb'\[\s*(\w+)\s*"(.*)"\s*\]')  # a value with a quote or a backslash that nobody escaped
_SECTION = re.compile(rb"\[\s*Event\s")
_MARKS = re.compile(rb"[{}();]")
_MOVE = re.compile(rb"\d\s*\.|[a-h][1-8]|O-O|0-0")
_RESULTS = frozenset([b"1-0", b"0-1", b"1/2-1/2", b"*"])
_DATE = re.compile(r"(\d{4})[./-](\d{1,2})[./-](\d{1,2})")
_CLOCK = re.compile(r"(\d{1,2})(:\d{2}(?::\d{2}(?:\.\d+)?)?)(?: (?:GMT|UTC)(?:\+0000)?)?")
_LICHESS = re.compile(r"https?://(?:www\.)?lichess\.org/(\w{8,12})(?:[/#?].*)?")
_UNKNOWN = frozenset(["?", "??", "-"])


class PgnReader(Reader):
    """Chess games in Portable Game Notation."""

    name: ClassVar[str] = "pgn"
    suffixes: ClassVar[tuple[str, ...]] = (".pgn",)

    def sniff(self, head: bytes) -> bool:
        """Whether it begins with a tag."""
        return _LOOKS_LIKE_GAME.match(head) is not None

    def read(self, stream: ByteStream, context: ReadContext) -> Iterator[GameRecord | Rejection]:
        """Every game, and a rejection for each that is broken."""
        problem = utf16_problem(stream.peek(HEAD_BYTES))
        if problem is not None:
            raise SourceError(problem)
        for game in _games(stream, context.options.max_record_bytes):
            if game.problem is not None:
                yield context.reject(game.line, game.problem, game.payload)
            elif game.begun:
                yield _record(game, context)


class _Game:
    """A game while its lines come in: what stands open in it, and whether it has tags, moves and a result."""

    def __init__(self, first_line: int, limit: int) -> None:
        self.first_line = first_line
        self.line_count = 0
        self.tags: dict[bytes, bytes] = {}
        self.begun = False  # by a tag or a move
        self.last_token = b""
        self.problem: str | None = None
        self.is_whole_file = False
        self.left_open = False
        """Whether it turned out that its open comment was never closed, and runs into another game."""
        self._limit = limit
        self._lines: list[bytes] = []
        self._size = 0
        self._start: int | None = None  # the number of the line that its payload begins with
        self._has_moves = False
        self._after_blank = True
        self._depth = 0  # of variations
        self._in_comment = False
        self._section: int | None = None  # the line where a tag section seems to begin within the open comment

    @property
    def line(self) -> int:
        """Where it begins, counted from 1."""
        return self.first_line + (self._start or 0)

    @property
    def payload(self) -> bytes:
        """Its bytes from the first tag, or where there is none the first text, to the end of the movetext."""
        return b"".join(self._lines[self._start or 0 :]).strip(_BLANK)

    @property
    def text(self) -> bytes:
        """All its lines, with what stands around it."""
        return b"".join(self._lines)

    def ends_before(self, line: bytes) -> bool:
        """Whether another game begins with this line."""
        text = line.strip(_BLANK)
        if self._in_comment or not text:
            return False
        if text.startswith(b"["):
            name = _LOOSE_TAG.match(text)
            return self._has_moves or (self._after_blank and name is not None and name[1] in self.tags)
        if text.startswith((b"{", b";", b"%")):
            return False
        return self._has_result and (self._after_blank or not self.tags)

    def add(self, line: bytes) -> None:
        """Take in its next line."""
        text = line.strip(_BLANK)
        if self._in_comment:
            if self._section is None and self._after_blank and self.problem is None and _SECTION.match(text):
                self._section = self.line_count
            self._add_movetext(text)
        elif text.startswith(b"[") and not self._has_moves:
            if not self.begun:
                self._start = self.line_count
            self.begun = True
            self._add_movetext(self._add_tags(text))
        elif text and not line.startswith(b"%"):
            self._start = self.line_count if self._start is None else self._start
            self._add_movetext(text)
        self._after_blank = not text
        self.line_count += 1
        self._size += len(line)
        if self._size <= self._limit or self._section is not None:
            self._lines.append(line)
            self.left_open = self.left_open or self._size > self._limit
        else:
            self.problem = f"the record has more than {self._limit} bytes"

    def split_at_section(self) -> list[bytes]:
        """Take back the lines from the tag section within the open comment on, if there is one."""
        if self._section is None:
            return []
        taken = self._lines[self._section :]
        del self._lines[self._section :]
        self.line_count = self._section
        return taken

    def finish(self, *, at_end: bool) -> None:
        """Judge it, now that it has ended, with the file or before."""
        self.is_whole_file = at_end and self.first_line == 1
        if self.problem is not None:
            return
        if self._in_comment:
            self.problem = "a comment is not closed"
        elif self._depth:
            self.problem = "a variation is not closed"
        elif self.begun and at_end and not self._has_result:
            self.problem = "the file ends within the game: no result ends it"
        elif self.begun and not self.tags and not _MOVE.search(self.payload):
            self.problem = "the record has neither tags nor moves"

    @property
    def _has_result(self) -> bool:
        return self.last_token in _RESULTS and not self._depth

    def _add_tags(self, text: bytes) -> bytes:
        """Take in the tags of a line; what follows them is returned."""
        found = list(_TAG.finditer(text))
        if (
            not found and (loose := _LOOSE_TAG.match(text)) is not None
        ):  # at the beginning alone: it looks through the whole line
            found.append(loose)
        for tag in found:
            self.tags.setdefault(tag[1], tag[2])
        return text[found[-1].end() :] if found else b""

    def _add_movetext(self, text: bytes) -> None:
        at = 0
        while True:
            if self._in_comment:
                end = text.find(b"}", at)
                self.left_open = self._section is not None and b"{" in text[at : end if end >= 0 else None]
                if end < 0 or self.left_open:
                    return
                self._in_comment, self._section = False, None
                at = end + 1
            mark = _MARKS.search(text, at)
            self._add_moves(text[at : mark.start() if mark else None])
            if mark is None or mark[0] == b";":
                return
            at = mark.end()
            if mark[0] == b"{":
                self._in_comment = True
            elif mark[0] == b"(":
                self._depth += 1
            elif mark[0] == b")":
                self._depth = max(self._depth - 1, 0)

    def _add_moves(self, text: bytes) -> None:
        tokens = text.split()
        if tokens:
            self.begun = self._has_moves = True
            if not self._depth:
                self.last_token = tokens[-1]


def _games(stream: ByteStream, limit: int) -> Iterator[_Game]:
    """Every game, with the lines before it that belong to none: together they are the whole text."""
    lines = stream.lines(limit)
    again: deque[bytes] = deque()  # lines to be read once more, from within a comment that was left open
    game = _Game(1, limit)
    while True:
        line = again.popleft() if again else next(lines, None)
        if line is not None and not game.ends_before(line):
            game.add(line)
            if not game.left_open:
                continue
        elif line is not None:
            again.appendleft(line)
        again.extendleft(reversed(game.split_at_section()))
        game.finish(at_end=not again)
        yield game
        if not again:
            return
        game = _Game(game.first_line + game.line_count, limit)


def _record(game: _Game, context: ReadContext) -> GameRecord | Rejection:
    tags = _decode(game.tags)
    result = tags.get("Result", "")
    if result.encode() not in _RESULTS:
        result = game.last_token.decode("latin-1")
    payload = game.payload
    entity_id = _game_id(tags) or derived_id(payload)
    if game.is_whole_file and context.name is not None:
        payload = game.text
    return context.record(payload, content_type=PGN, entity_id=entity_id, facts=_facts(tags, result), line=game.line)


def _decode(tags: dict[bytes, bytes]) -> dict[str, str]:
    """The tags as text: UTF-8 where that is what they are, else Latin-1."""
    try:
        decoded = {name.decode(): value.decode() for name, value in tags.items()}
    except UnicodeDecodeError:
        decoded = {name.decode("latin-1"): value.decode("latin-1") for name, value in tags.items()}
    return {name: re.sub(r'\\(["\\])', r"\1", value) if "\\" in value else value for name, value in decoded.items()}


def _facts(tags: dict[str, str], result: str) -> Facts:
    white, black = _player(tags, "White"), _player(tags, "Black")
    return Facts(
        players=tuple(player for player in (white, black) if player is not None),
        winner=white if result == "1-0" else black if result == "0-1" else None,
        status="unfinished" if result == "*" else "completed" if result.encode() in _RESULTS else None,
        created_at=_time(tags, "UTCDate", "UTCTime") or _time(tags, "Date", "Time"),
        completed_at=_time(tags, "EndDate", "EndTime"),
    )


def _player(tags: dict[str, str], colour: str) -> Player | None:
    name = clean_text(tags.get(colour, "").strip())
    name = None if name in _UNKNOWN else name
    fide_id = tags.get(f"{colour}FideId", "").strip()
    if not fide_id.isdecimal() or not fide_id.strip("0"):
        return None if name is None else Player(name=name)
    return Player(clean_text(fide_id), name)


def _time(tags: dict[str, str], date: str, clock: str) -> int | None:
    """An instant from two tags, or the day's first where the clock is unknown; the time zone is taken to be UTC."""
    day = _DATE.fullmatch(tags.get(date, "").strip())
    if day is None:
        return None
    text = f"{day[1]}-{day[2]:0>2}-{day[3]:0>2}"
    time = _CLOCK.fullmatch(tags.get(clock, "").strip())
    return (parse_time(f"{text}T{time[1]:0>2}{time[2]}") if time else None) or parse_time(text)


def _game_id(tags: dict[str, str]) -> str | None:
    lichess = _LICHESS.fullmatch(tags.get("Site", ""))
    link = tags.get("Link", "").partition("?")[0].rstrip("/").rpartition("/")
    return tags.get("GameId") or (lichess and lichess[1]) or (link[1] and link[2]) or tags.get("FICSGamesDBGameNo") or None
