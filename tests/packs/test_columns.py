import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gamearchive.packs.columns import (
    Identifiers,
    pack_identifiers,
    pack_instants,
    pack_numbers,
    unpack_identifiers,
    unpack_instants,
    unpack_numbers,
)

UUID = "00112233-4455-6677-8899-aabbccddeeff"


@settings(deadline=None)
@given(st.lists(st.integers(0, 2**63 - 1) | st.integers(0, 300)))
def test_numbers_come_back(values: list[int]) -> None:
    assert unpack_numbers(pack_numbers(values), len(values)) == tuple(values)


def test_numbers_are_written_lowest_bytes_first_in_the_least_width() -> None:
    assert pack_numbers([1, 255]) == b"\x01\xff"
    assert pack_numbers([1, 256]) == b"\x01\x00\x00\x01"
    assert [len(pack_numbers([1 << bits])) for bits in (7, 8, 16, 31, 32, 62)] == [1, 2, 4, 4, 8, 8]


@pytest.mark.parametrize(("column", "count"), [(b"", 1), (b"abc", 1), (b"abc", 2), (b"a", 0), (b"x" * 16, 1), (b"ab", 1 << 40)])
def test_a_column_of_another_length_is_refused(column: bytes, count: int) -> None:
    with pytest.raises(ValueError, match="does not hold"):
        unpack_numbers(column, count)


@settings(deadline=None)
@given(st.lists(st.none() | st.integers(-(2**60), 2**60)))
def test_instants_come_back(values: list[int | None]) -> None:
    assert unpack_instants(pack_instants(values), len(values)) == values


def test_instants_are_written_as_steps() -> None:
    assert pack_instants([5, None, 6, 3]) == bytes([11, 0, 3, 6])


def test_an_instant_out_of_all_range_is_neither_written_nor_read() -> None:
    with pytest.raises(ValueError, match="out of all range"):
        pack_instants([2**60 + 1])
    with pytest.raises(ValueError, match="out of all range"):
        unpack_instants(pack_numbers([2**63 - 1]), 1)


def test_a_number_that_no_database_takes_is_neither_written_nor_read() -> None:
    for number in (2**63, -1):
        with pytest.raises(ValueError, match="out of all range"):
            pack_numbers([number])
    with pytest.raises(ValueError, match="out of all range"):
        unpack_numbers(b"\xff" * 8, 1)


@settings(deadline=None)
@given(st.lists(st.none() | st.text(max_size=40) | st.uuids().map(str) | st.uuids().map(lambda uuid: str(uuid).upper())))
def test_identifiers_come_back(values: list[str | None]) -> None:
    assert unpack_identifiers(pack_identifiers(values), len(values)) == values


def test_only_a_canonical_uuid_is_written_as_sixteen_bytes() -> None:
    assert pack_identifiers([UUID]) == Identifiers(b"\x01", bytes.fromhex(UUID.replace("-", "")), [])
    for other in (UUID.upper(), UUID.replace("-", ""), UUID + "\n", "{" + UUID[1:-1] + "}", UUID.replace("0", "\u0660", 1)):
        assert pack_identifiers([other]).texts == [other]


@pytest.mark.parametrize(
    "column",
    [
        Identifiers(b"\x01", b"", []),
        Identifiers(b"\x01", bytes(32), []),
        Identifiers(b"\x02", b"", []),
        Identifiers(b"\x00", b"", ["a"]),
        Identifiers(b"\x03", b"", []),
        Identifiers(b"", b"", []),
    ],
)
def test_a_column_of_ids_that_does_not_add_up_is_refused(column: Identifiers) -> None:
    with pytest.raises(ValueError, match="column"):
        unpack_identifiers(column, 1)
