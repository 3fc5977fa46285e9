"""The encoders that the benchmark compares with: known bytes of each."""

import struct

import pytest

from benchmarks import protocol_formats as formats
from benchmarks.protocol_data import Series, street

SERIES = Series("test", (1, 16), (None, None), 1000, [(26, -276), (46, -275)], "")


@pytest.mark.parametrize(
    ("item", "encoded"),
    [
        (0, "00"),
        (23, "17"),
        (24, "1818"),
        (1000, "1903e8"),
        (-1, "20"),
        (-1000, "3903e7"),
        ("IETF", "6449455446"),
        ([1, [2, 3]], "8201820203"),
        ({1: 2, 3: 4}, "a201020304"),
        (formats.Tagged(4, [-2, 27315]), "c48221196ab3"),
    ],
)
def test_cbor_by_the_examples_of_rfc_8949(item: object, encoded: str) -> None:
    assert formats.cbor(item).hex() == encoded


@pytest.mark.parametrize(
    ("item", "encoded"),
    [
        (127, "7f"),
        (-32, "e0"),
        (-33, "d0df"),
        (128, "cc80"),
        (65535, "cdffff"),
        (-32768, "d18000"),
        (2**31, "ce80000000"),
        (1.5, "ca3fc00000"),
        ([1, "a"], "9201a161"),
        ({"a": 1}, "81a16101"),
    ],
)
def test_messagepack(item: object, encoded: str) -> None:
    assert formats.pack(item).hex() == encoded


def test_sparkplug_is_protobuf_of_its_public_schema() -> None:
    (message,) = formats.sparkplug(SERIES, 0, SERIES.rows[:1])
    assert message[0] == 1 << 3
    metric = message[9 : 9 + message[8]]
    assert metric[:2] == bytes([2 << 3, 0])
    assert metric[-5] == 12 << 3 | 5
    assert struct.unpack("<f", metric[-4:])[0] == pytest.approx(2.6)


def test_gorilla_writes_one_bit_for_a_value_that_stays() -> None:
    assert formats.xor_bits(0, (0, 0)) == ("0", (0, 0))
    text, window = formats.xor_bits(0b1011 << 10, (0, 0))
    assert text == "11" + "10010" + "00011" + "1011"
    assert window == (18, 4)
    assert formats.xor_bits(0b1001 << 10, window) == ("10" + "1001", window)


def test_json_names_every_value() -> None:
    first, second = formats.airrohr(SERIES, 0, SERIES.rows)
    assert b'{"value_type":"SDS_P1","value":"2.60"}' in first
    assert b'"-2.75"' in second
    (message,) = formats.compact_json(SERIES, 0, SERIES.rows)
    assert b'"temperature":-2.76' in message


def test_every_format_takes_every_row() -> None:
    series = street(hours=1)
    for name, encoder in formats.FORMATS.items():
        assert formats.deflated(encoder(series, 0, series.rows[:12])) > 50, name
