"""Content types, and what they say."""

from __future__ import annotations

import pytest

from gamearchive.model import JSON, OPAQUE, PGN, is_text, media_type, schema_version, versioned


@pytest.mark.parametrize(
    ("content_type", "media", "version", "text"),
    [
        (JSON, JSON, 1, True),
        (PGN, PGN, 1, True),
        (OPAQUE, OPAQUE, 1, False),
        ("application/json; schema=3", JSON, 3, True),
        ("Application/JSON;charset=utf-8;Schema=12 ; x=1", JSON, 12, True),
        ("application/json; schema=next", JSON, 1, True),
        ("application/json; myschema=4", JSON, 1, True),
        ("text/x-sgf; schema=2", "text/x-sgf", 2, True),
        ("application/octet-stream; schema=2", OPAQUE, 2, False),
    ],
)
def test_what_a_content_type_says(content_type: str, media: str, version: int, text: bool) -> None:
    assert (media_type(content_type), schema_version(content_type), is_text(content_type)) == (media, version, text)


@pytest.mark.parametrize("version", [1, 2, 30])
def test_a_version_is_read_as_it_was_said(version: int) -> None:
    assert schema_version(versioned(JSON, version)) == version
    assert media_type(versioned(JSON, version)) == JSON
