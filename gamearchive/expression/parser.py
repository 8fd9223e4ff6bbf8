"""Reads a condition's text into its tree, by recursive descent, and says at which column it makes no sense."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator
from typing import NamedTuple

from gamearchive.errors import UsageError
from gamearchive.expression.tree import (
    FIELDS,
    KEY,
    SIGNS,
    TAG,
    And,
    Comparison,
    Expression,
    Field,
    Kind,
    Moment,
    Name,
    Not,
    Or,
    Path,
    Tag,
    Value,
)
from gamearchive.units import parse_size

MAX_LENGTH = 10_000
"""Characters of a condition."""
MAX_DEPTH = 50
"""Parentheses and NOTs within one another."""

_QUOTED = r"""(?:"(?:[^"]|"")*"|'(?:[^']|'')*')"""
_STEP = re.compile(rf"\.(?:\*|{KEY.pattern})|\[(?:\*|-?[0-9]{{1,9}}|{_QUOTED})\]")
_TOKEN = re.compile(
    rf"""(?: (?P<path>\$(?:{_STEP.pattern})*)
           | (?P<text>{_QUOTED})
           | (?P<number>-?[0-9][\w.:+-]*)
           | (?P<word>[^\W\d][\w-]*(?:\.(?:{TAG.pattern}|{_QUOTED}))?)
           | (?P<sign>[=<>!]+|[(),])
           | (?P<end>\Z) ) \s*""",
    re.VERBOSE,
)
_NUMBER = re.compile(r"-?[0-9]{1,300}(?:\.[0-9]{1,300})?(?:[eE][+-]?[0-9]{1,3})?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_KEYWORDS = frozenset({"AND", "OR", "NOT", "IN", "BETWEEN", "LIKE", "IS", "NULL", "TRUE", "FALSE"})
_AROUND = 60
"""Characters that are shown before and after what is wrong."""
_HINT = "A condition reads like: status = 'completed' AND $.rounds[*].winner_id = 'p7'."


def parse(text: str) -> Expression:
    """Read a condition.

    Raises:
        UsageError: if it is none. The message names the column, counted from 1, and a note of the exception (PEP 678) shows the
            place with a caret under it.
    """
    return _Parser(text).read()


class _Token(NamedTuple):
    kind: str
    text: str
    at: int


class _Parser:
    """Reads one text; tokens from left to right, each once."""

    def __init__(self, text: str) -> None:
        if len(text) > MAX_LENGTH:
            raise UsageError(f"A condition of {len(text)} characters is too long: {MAX_LENGTH} are the most.", hint=_HINT)
        self._text = text
        self._tokens = list(self._tokenize())
        self._at = 0

    def read(self) -> Expression:
        found = self._either(0)
        if self._next.kind != "end":
            raise self._expected("AND, OR or the end")
        return found

    def _tokenize(self) -> Iterator[_Token]:
        at = len(self._text) - len(self._text.lstrip())
        while True:
            match = _TOKEN.match(self._text, at)
            if match is None:
                quote = self._text[at] in "'\""
                raise self._wrong("The text that begins here has no end" if quote else f"{self._text[at]} means nothing", at)
            kind = str(match.lastgroup)
            yield _Token(kind, match[kind], at)
            if kind == "end":
                return
            at = match.end()

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self, text: str) -> bool:
        """Go past the next token if it is this keyword or sign."""
        taken = self._next.kind in ("word", "sign") and self._next.text.upper() == text
        self._at += taken
        return taken

    def _expect(self, text: str) -> None:
        if not self._take(text):
            raise self._expected(text)

    def _either(self, depth: int) -> Expression:
        parts = [self._both(depth)]
        while self._take("OR"):
            parts.append(self._both(depth))
        return Or(tuple(parts)) if len(parts) > 1 else parts[0]

    def _both(self, depth: int) -> Expression:
        parts = [self._negated(depth)]
        while self._take("AND"):
            parts.append(self._negated(depth))
        return And(tuple(parts)) if len(parts) > 1 else parts[0]

    def _negated(self, depth: int) -> Expression:
        if depth > MAX_DEPTH:
            raise self._wrong(f"More than {MAX_DEPTH} parentheses and NOTs lie within one another", self._next.at)
        if self._take("NOT"):
            return Not(self._negated(depth + 1))
        if not self._take("("):
            return self._comparison()
        found = self._either(depth + 1)
        self._expect(")")
        return found

    def _comparison(self) -> Expression:
        name = self._name()
        if self._take("IS"):
            known = self._take("NOT")
            self._expect("NULL")
            return Comparison(name, "IS NOT NULL") if known else Not(Comparison(name, "IS NOT NULL"))
        if self._take("!="):
            return Not(Comparison(name, "=", (self._value(name),)))
        for sign in SIGNS:
            if self._take(sign):
                return Comparison(name, sign, (self._value(name),))
        negated = self._take("NOT")
        found = self._spelt_comparison(name)
        return Not(found) if negated else found

    def _spelt_comparison(self, name: Name) -> Comparison:
        if self._take("IN"):
            self._expect("(")
            values = [self._value(name)]
            while self._take(","):
                values.append(self._value(name))
            self._expect(")")
            return Comparison(name, "IN", tuple(values))
        if self._take("BETWEEN"):
            low = self._value(name)
            self._expect("AND")
            return Comparison(name, "BETWEEN", (low, self._value(name)))
        if name.kind in (Kind.TEXT, Kind.ANY) and self._take("LIKE"):
            return Comparison(name, "LIKE", (self._quoted("a pattern in quotes"),))
        raise self._expected("a comparison (= != < <= > >= IN BETWEEN IS NULL, and LIKE for texts)")

    def _name(self) -> Name:
        token = self._next
        if token.kind == "path":
            self._at += 1
            return Path(tuple(map(_step, _STEP.findall(token.text))))
        if token.kind != "word" or token.text.upper() in _KEYWORDS:
            raise self._expected("the name of a field, a tag or a path")
        self._at += 1
        if token.text.startswith("tags."):
            key = token.text.removeprefix("tags.")
            return Tag(_unquoted(key) if key[0] in "'\"" else key)
        if token.text not in FIELDS:
            known = [*FIELDS, "tags.KEY"]
            nearest = difflib.get_close_matches(token.text, known, n=1, cutoff=0)[0]
            raise self._wrong(
                f"`{token.text[:_AROUND]}` is not a field of a game; the nearest is `{nearest}`",
                token.at,
                f"Known are {', '.join(known)}, and places in the game's JSON, such as $.{token.text[:_AROUND]}.",
            )
        return Field(token.text)

    def _value(self, name: Name) -> Value:
        """A value of the name's kind."""
        kind, token = name.kind, self._next
        if kind is Kind.TEXT or (kind is Kind.ANY and token.kind == "text"):
            return self._quoted(f"a text in quotes to compare {name} with")
        if kind is Kind.ANY and token.text.upper() in ("TRUE", "FALSE"):
            self._at += 1
            return token.text.upper() == "TRUE"
        if token.kind not in ("text", "number"):
            raise self._expected(f"{kind.value} to compare {name} with")
        self._at += 1
        text = _unquoted(token.text) if token.kind == "text" else token.text
        try:
            if kind is Kind.SIZE:
                return parse_size(text)
            return _number(text) if kind is Kind.ANY and _NUMBER.fullmatch(text) else Moment.read(text)
        except UsageError as error:
            raise self._wrong(error.message.rstrip("."), token.at, error.hint) from None

    def _quoted(self, what: str) -> str:
        token = self._next
        if token.kind != "text":
            raise self._expected(what)
        self._at += 1
        return _unquoted(token.text)

    def _expected(self, what: str) -> UsageError:
        """The error that the next token is not what should stand there."""
        token = self._next
        if token.kind == "end":
            return self._wrong(f"It ends where {what} should stand", token.at)
        return self._wrong(f"{token.text[:_AROUND]} stands where {what} should", token.at)

    def _wrong(self, sentence: str, at: int, hint: str = _HINT) -> UsageError:
        error = UsageError(f"The condition makes no sense at column {at + 1}: {sentence}.", hint=hint)
        first = max(at - _AROUND, 0)
        line = _CONTROL.sub(" ", self._text[first : at + _AROUND])
        error.add_note(f"{line}\n{' ' * (at - first)}^")
        return error


def _number(text: str) -> int | float:
    if text.removeprefix("-").isdigit():
        return int(text)
    if math.isinf(found := float(text)):
        raise UsageError(f"{text} is larger than any number that a game can hold.", hint=_HINT)
    return found


def _step(text: str) -> str | int | None:
    """A step as a path writes it."""
    if text in (".*", "[*]"):
        return None
    if text[0] == ".":
        return text[1:]
    return _unquoted(text[1:-1]) if text[1] in "'\"" else int(text[1:-1])


def _unquoted(text: str) -> str:
    return text[1:-1].replace(text[0] * 2, text[0])
