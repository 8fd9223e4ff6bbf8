"""Which names are keys."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gamearchive.errors import UsageError
from gamearchive.stores.base import check_key, is_key

names = (
    st.text(alphabet="aZ0._-/\\ \0\né:", max_size=30) | st.text(max_size=20) | st.lists(st.text("a.", max_size=3)).map("/".join)
)


@given(names)
def test_a_key_is_a_path_of_plain_visible_segments(name: str):
    segments = name.split("/")
    plain = all(
        segment and not segment.startswith(".") and len(segment) <= 255 and not re.search(r"[^A-Za-z0-9._-]", segment)
        for segment in segments
    )
    assert is_key(name) == (plain and len(name) <= 1024)


@given(names)
def test_check_key_returns_keys_and_refuses_the_rest(name: str):
    if is_key(name):
        assert check_key(name) == name
    else:
        with pytest.raises(UsageError, match="is not a key of an object"):
            check_key(name)


@pytest.mark.parametrize(("length", "good"), [(255, True), (256, False)])
def test_a_segment_fits_a_file_name(length: int, good: bool):
    assert is_key(f"a/{'k' * length}") is good


def test_the_error_does_not_repeat_an_endless_key():
    with pytest.raises(UsageError) as caught:
        check_key("k" * 100_000)
    assert len(caught.value.message) < 200
