"""Numbers in seven bits a byte: there and back at every edge, and no second spelling taken."""

import pytest

from protocol import varint
from protocol.wire import FrameError

EDGES = sorted({2**bits + step for bits in range(1, 32) for step in (-1, 0, 1)} | {0, 2**32 - 1})


@pytest.mark.parametrize("number", EDGES)
def test_a_number_comes_back_and_says_where_it_ends(number: int) -> None:
    data = varint.uvarint(number)
    assert len(data) <= varint.BYTES_MAX
    assert varint.read_uvarint(b"\xff" + data + b"\x01", 1) == (number, 1 + len(data))
    assert varint.read_uvarint(memoryview(data), 0) == (number, len(data))


@pytest.mark.parametrize(
    "data", [b"", b"\x80", b"\x80\x00", b"\xff\x80\x00", b"\x80\x80\x80\x80\x10", b"\xff" * 6]
)
def test_what_is_cut_too_wide_or_longer_than_needed_is_refused(data: bytes) -> None:
    with pytest.raises(FrameError, match="varint"):
        varint.read_uvarint(data, 0)


@pytest.mark.parametrize("number", [-1, 2**32])
def test_only_numbers_of_the_wire_are_written(number: int) -> None:
    with pytest.raises(ValueError, match="outside"):
        varint.uvarint(number)


def test_a_row_of_wider_numbers_comes_back() -> None:
    numbers = [*EDGES, 2**63, 2**64 - 1]
    out = bytearray()
    for number in numbers:
        varint.append_uvarint(out, number)
    assert list(varint.read_uvarints(bytes(out))) == numbers
    with pytest.raises(ValueError, match="cut"):
        list(varint.read_uvarints(bytes(out[:-1])))
    with pytest.raises(ValueError, match="64 bits"):
        list(varint.read_uvarints(b"\xff" * 10 + b"\x01"))


def test_signs_go_and_come_back() -> None:
    assert [varint.zigzag(n) for n in (0, -1, 1, -2)] == [0, 1, 2, 3]
    for number in (0, 1, -1, 2**31 - 1, -(2**31)):
        assert varint.unzigzag(varint.zigzag(number)) == number
