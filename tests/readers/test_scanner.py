"""The scanner finds the ends of values where the standard library's parser finds them, however the text arrives."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gamearchive.readers.scanner import LEVELS, BrokenError, Scanner, TooLargeError
from gamearchive.readers.streams import ByteStream

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=20,
)


def scanner_of(*chunks: bytes, limit: int = 1 << 20) -> Scanner:
    return Scanner(ByteStream(iter([chunk for chunk in chunks if chunk])), limit)


def values_of(scanner: Scanner) -> list[bytes]:
    values = []
    while scanner.peek():
        values.append(scanner.value())
    return values


@settings(deadline=None, max_examples=300)
@given(
    st.lists(VALUES, max_size=5),
    st.sampled_from([None, 1, "\t"]),
    st.booleans(),
    st.sampled_from(["\n", " ", "\r\n\r\n", "\n\x1e"]),
)
def test_values_end_where_the_parser_says(
    documents: list[object], indent: int | str | None, ascii_: bool, between: str
) -> None:
    texts = [json.dumps(document, indent=indent, ensure_ascii=ascii_) for document in documents]
    encoded = between.join(texts).encode("utf-8", "replace")
    assert values_of(scanner_of(encoded)) == [text.encode("utf-8", "replace") for text in texts]


@settings(deadline=None, max_examples=200)
@given(st.lists(st.dictionaries(st.text(), VALUES, max_size=3), min_size=1, max_size=4), st.data())
def test_concatenated_objects_split_as_raw_decode_does_at_any_chunk_boundary(
    documents: list[object], data: st.DataObject
) -> None:
    text = "".join(json.dumps(document) for document in documents)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    chunks = [text[start:end].encode() for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    expected, at = [], 0
    while at < len(text):
        _, end = json.JSONDecoder().raw_decode(text, at)
        expected.append(text[at:end].encode())
        at = end
    assert values_of(scanner_of(*chunks)) == expected


@pytest.mark.parametrize("depth", [1, LEVELS - 1, LEVELS, LEVELS + 1, 3 * LEVELS, 50_000])
def test_any_depth(depth: int) -> None:
    text = b'{"a":[' * depth + b'"]}"' + b"]}" * depth
    assert values_of(scanner_of(text + text)) == [text, text]


def test_lines_are_counted() -> None:
    scanner = scanner_of(b'\n\n{"a":\n1}\n\n  [2]')
    lines = []
    while scanner.peek():
        lines.append(scanner.line)
        scanner.value()
    assert lines == [3, 6]


def test_marks_and_separators_stand_between_values() -> None:
    assert values_of(scanner_of(b"\xef", b"\xbb", b"\xbf{}\x1e{}\n\xef\xbb\xbf{}")) == [b"{}"] * 3


@pytest.mark.parametrize("text", [b'{"a":1', b'{"a":"x', b'{"a":"x\\', b"[", b'"abc', b"tru", b"-", b"}", b"hello"])
def test_what_breaks_off_stays_where_it_is(text: bytes) -> None:
    scanner = scanner_of(text)
    scanner.peek()
    for _ in range(2):
        with pytest.raises(BrokenError):
            scanner.value()
    assert scanner.peek() == text[:1]


def test_a_string_left_open_does_not_swallow_the_next_lines() -> None:
    scanner = scanner_of(b'{"a":"x\n{"b":2}\n')
    scanner.peek()
    with pytest.raises(BrokenError, match="string is not closed on its line"):
        scanner.value()
    assert scanner.resynchronise(lambda text: True) == (b'{"a":"x\n', True)
    assert scanner.value() == b'{"b":2}'


def test_too_large_a_value_can_be_skipped_without_being_held() -> None:
    def chunks() -> object:
        yield b'{"a":['
        for _ in range(300):
            yield b"[1,2,3]," * 1000
        yield b"0]}{}"

    scanner = Scanner(ByteStream(iter(chunks())), 1 << 20)  # type: ignore[call-overload]
    scanner.peek()
    with pytest.raises(TooLargeError):
        scanner.value()
    scanner.skip()
    assert scanner.peek() == b"{"
    assert scanner.value() == b"{}"


def test_one_string_above_the_limit_is_skipped_without_being_held() -> None:
    def chunks() -> object:
        yield b'{"a":"'
        for _ in range(100):
            yield b'x\\"\\\\' * (1 << 14)
        yield b'"}{}'

    scanner = Scanner(ByteStream(iter(chunks())), 1 << 20)  # type: ignore[call-overload]
    scanner.peek()
    with pytest.raises(TooLargeError):
        scanner.value()
    scanner.skip()
    assert scanner.value() == b"{}"


def test_the_whole_text_is_there_until_it_is_let_go() -> None:
    scanner = scanner_of(b" \n{} \n ")
    scanner.peek()
    scanner.value()
    assert scanner.peek() == b""
    assert scanner.text_so_far() == b" \n{} \n "
    assert scanner.begins_like(re.compile(b".")) is None
    scanner.let_go()
    assert scanner.text_so_far() is None
