"""Games in JSON: a document, many one after another, lines, an array of games, or an object whose values are games.

A game is one JSON object, and its bytes are exactly those from its first brace to its last. Only a file that holds nothing but
one document (and is not named as lines) is that game as it is, with the white space around it.

**Lines** (NDJSON, JSON lines, RFC 7464 sequences): each line stands for itself, so that a broken one never hides the next.
**Documents**: one after another with anything or nothing between, or in one array. After a broken one, reading goes on at the
next line that is a game in itself; where there is none, the rest is rejected once.

**An object whose values are games** has no name at its top that games give their facts, and at least half of its members are
objects, all under names that look like ids. The name is the id. It may also be a line among lines. What else stands beside the
games belongs to the wrapper, and is passed over with a notice; but only where the games are known for what they are: by facts
of theirs, and by names that are no mere numbers of rounds. Any other object is a game as a whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import ClassVar, NamedTuple

from gamearchive.errors import SourceError
from gamearchive.facts import USUAL_NAMES, extract
from gamearchive.model import JSON, Facts, GameRecord, Notice, Rejection
from gamearchive.readers.base import ReadContext, Reader, derived_id, utf16_problem
from gamearchive.readers.scanner import BrokenError, Scanner, TooLargeError
from gamearchive.readers.streams import HEAD_BYTES, ByteStream

MAX_BREAKS = 100
"""How often reading goes on after a broken document: each time costs a walk to the end of what is in memory."""

_LINE_SUFFIXES = (".ndjson", ".jsonl", ".jsonlines")
_PROBE_LINES = 16
_PROBE_BYTES = 8 << 20
_BLANK = b" \t\r\n\x1e"
_MARK = b"\xef\xbb\xbf"
_LOOKS_LIKE_GAMES = re.compile(rb'(?:\xef\xbb\xbf|[\s\x1e])*(?:\{\s*["}]|\[\s*[{\]])')
_BEGINS_ARRAY = re.compile(rb"(?:\xef\xbb\xbf|[\s\x1e])*\[")
_FIRST_MEMBER = re.compile(rb'\{\s*("(?:[^"\\\n]|\\[^\n])*")\s*:\s*\{')
_ID = re.compile(r"(?=.*\d)(?!(?!game|match|id)[a-z]+[ _-]?\d{1,3}$).+", re.IGNORECASE | re.DOTALL)  # not: round1, player_2
_ORDINAL = re.compile(r"\d{1,3}")  # of a round or a turn, rather than of a game
_NO_FACTS = Facts()


class _Beside(NamedTuple):
    """Members of an object of games that are no games: the line of the first, and how many."""

    line: int
    members: int


Outcome = Iterator[GameRecord | Rejection | _Beside]


class JsonReader(Reader):
    """Games in JSON, in any of its arrangements."""

    name: ClassVar[str] = "json"
    suffixes: ClassVar[tuple[str, ...]] = (".json", *_LINE_SUFFIXES)

    def sniff(self, head: bytes) -> bool:
        """Whether it begins as an object, or as an array of objects."""
        return _LOOKS_LIKE_GAMES.match(head) is not None

    def read(self, stream: ByteStream, context: ReadContext) -> Iterator[GameRecord | Rejection | Notice]:
        """Every game, a rejection for each record that is none, and a notice of what stands beside games."""
        problem = utf16_problem(stream.peek(HEAD_BYTES))
        if problem is not None:
            raise SourceError(problem)
        lines = (context.name or "").lower().endswith(_LINE_SUFFIXES) or _are_lines(stream, context)
        beside: _Beside | None = None
        for found in _read_lines(stream, context) if lines else _read_documents(stream, context):
            if isinstance(found, _Beside):
                beside = beside._replace(members=beside.members + found.members) if beside else found
            else:
                yield found
        if beside is not None:
            reason = f"what stands beside games in their object is left out: {beside.members:,} in all"
            yield Notice(context.source, beside.line, reason)


def _are_lines(stream: ByteStream, context: ReadContext) -> bool:
    """Whether at least half of the first lines are games in themselves, and there are two lines or more."""
    size = HEAD_BYTES
    if _BEGINS_ARRAY.match(stream.peek(size)):
        return False
    while True:
        head = stream.peek(size)
        lines = [line.strip(b"\r\x1e").removeprefix(_MARK).lstrip(b"\x1e") for line in head.split(b"\n")]
        if len(head) >= size:
            lines.pop()  # cut by the peeking
        lines = [line for line in lines if line.strip(_BLANK)]
        if len(lines) >= 2 or len(head) < size or size > _PROBE_BYTES:
            break
        size *= 2
    probe = lines[:_PROBE_LINES]
    return len(probe) >= 2 and 2 * sum(_is_game(line, context) for line in probe) >= len(probe)


def _is_game(document: bytes, context: ReadContext) -> bool:
    if not document.startswith(b"{") or not document.rstrip().endswith(b"}"):
        return False
    try:
        extract(document, context.options.rules)
    except SourceError:
        return False
    return True


def _read_lines(stream: ByteStream, context: ReadContext) -> Outcome:
    limit = context.options.max_record_bytes
    for number, line in enumerate(stream.lines(limit), start=1):
        document = line.strip(_BLANK)
        if document.startswith(_MARK):
            document = document.removeprefix(_MARK).strip(_BLANK)
        if len(document) > limit:
            yield context.reject(number, f"the record has more than {limit} bytes", document)
        elif document:
            yield from _games(document, number, context)


def _read_documents(stream: ByteStream, context: ReadContext) -> Outcome:
    scanner = Scanner(stream, context.options.max_record_bytes)
    in_array, breaks = False, 0
    while byte := scanner.peek():
        line = scanner.line
        if byte == (b"]" if in_array else b"["):
            in_array = not in_array
            scanner.let_go()
            scanner.step()
        elif in_array and byte == b",":
            scanner.step()
        else:
            try:
                yield from _read_value(scanner, context)
            except BrokenError as error:
                breaks += 1
                raw, found = scanner.resynchronise(lambda text: _is_game(text, context))
                found = found and breaks <= MAX_BREAKS
                yield context.reject(line, error.message if found else f"{error.message}; the rest is passed over", raw)
                if not found:
                    return
    if in_array:
        yield context.reject(scanner.line, "the array is not closed: the file is cut")


def _read_value(scanner: Scanner, context: ReadContext) -> Outcome:
    line = scanner.line
    try:
        document = scanner.value()
    except TooLargeError as error:
        first = scanner.begins_like(_FIRST_MEMBER)
        if first is not None and _ID.fullmatch(_decode_name(first[1])):
            yield from _read_members(scanner, context, 0)
            return
        yield context.reject(line, error.message)
        scanner.skip()
        return
    whole = None
    if context.name is not None and not scanner.peek():
        whole = scanner.text_so_far()
    scanner.let_go()
    yield from _games(document, line, context, whole)


def _games(document: bytes, line: int, context: ReadContext, whole: bytes | None = None) -> Outcome:
    """The game that a document is, or the games that it holds; with ``whole``, the file that holds nothing else."""
    try:
        entity_id, facts = extract(document, context.options.rules)
    except SourceError as error:
        yield context.reject(line, error.message, document)
        return
    if entity_id is None and facts == _NO_FACTS and _holds_games(document, context):
        yield from _read_members(_scanner_of(document), context, line - 1)
        return
    if entity_id is None and whole is not None:
        entity_id = derived_id(document)
    payload = document if whole is None else whole
    yield context.record(payload, content_type=JSON, entity_id=entity_id, facts=facts, line=line)


def _holds_games(document: bytes, context: ReadContext) -> bool:
    members = [(name, value or b"") for _, name, value in _members(_scanner_of(document))]
    games = [(name, value) for name, value in members if value.startswith(b"{")]
    if any(name in USUAL_NAMES for name, _ in members) or not all(_ID.fullmatch(name) for name, _ in games):
        return False
    if len(games) == len(members):
        return bool(games)
    if 2 * len(games) < len(members) or any(_ORDINAL.fullmatch(name) for name, _ in games):
        return False
    return any(extract(value, context.options.rules) != (None, _NO_FACTS) for _, value in games)


def _read_members(scanner: Scanner, context: ReadContext, lines_before: int) -> Outcome:
    """The games of an object whose values are games."""
    for line, name, value in _members(scanner):
        number = lines_before + line
        if value is None:
            yield context.reject(number, f"the record has more than {context.options.max_record_bytes} bytes")
        elif value.startswith(b"{"):
            try:
                _, facts = extract(value, context.options.rules)
            except SourceError as error:
                yield context.reject(number, error.message, value)
            else:
                yield context.record(value, content_type=JSON, entity_id=name, facts=facts, line=number)
        else:
            yield _Beside(number, 1)


def _members(scanner: Scanner) -> Iterator[tuple[int, str, bytes | None]]:
    """The members of the object that begins here: line, name and value, None in place of a value above the limit.

    Raises:
        BrokenError: if the text breaks off, or is no object.
    """
    scanner.peek()
    scanner.step()
    while (byte := scanner.peek()) != b"}":
        if byte == b",":
            scanner.step()
            continue
        name = _decode_name(scanner.value())
        if scanner.peek() != b":":
            raise BrokenError(f"no value follows the name {name[:80]!r}")
        scanner.step()
        scanner.peek()
        line = scanner.line
        try:
            yield line, name, scanner.value()
        except TooLargeError:
            yield line, name, None
            scanner.skip()
    scanner.step()


def _decode_name(raw: bytes) -> str:
    try:
        name = json.loads(raw.decode())
    except ValueError:
        raise BrokenError("a name is no JSON string") from None
    if not isinstance(name, str):
        raise BrokenError("a name is no JSON string")
    return name


def _scanner_of(document: bytes) -> Scanner:
    return Scanner(ByteStream(iter([document])), len(document))
