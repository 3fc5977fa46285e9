"""The same rows in other formats, to compare sizes. Only encoders, and only as far as needed.

Each takes rows of scaled integers and gives the bytes of one message, or of all messages that the
format needs for them. Names, units and times are sent as the format's users send them.
"""

import json
import struct
from collections.abc import Callable, Sequence
from zlib import compressobj

from benchmarks.protocol_data import Series
from protocol.registry import REGISTRY

Rows = Sequence[tuple[int, ...]]
Encoder = Callable[[Series, int, Rows], list[bytes]]

START_MS = 1_549_000_000_000
AIRROHR = {
    1: "SDS_P1", 2: "SDS_P2", 3: "SPS30_P0", 16: "BME280_temperature", 17: "BME280_humidity",
    18: "BME280_pressure", 24: "SCD30_co2_ppm", 32: "DNMS_noise_LAeq", 25: "SGP41_voc_index",
    26: "SGP41_nox_index",
}  # fmt: skip
# Cayenne LPP's type and size of the nearest type; particles have none and go as analog input.
CAYENNE = {16: (103, 2), 17: (104, 1), 18: (115, 2), 32: (2, 2)}


def deflated(messages: Sequence[bytes]) -> int:
    """Bytes of all messages, each deflated by itself at level 9 without a header."""
    total = 0
    for message in messages:
        packer = compressobj(9, wbits=-15)
        total += len(packer.compress(message) + packer.flush())
    return total


def value(series: Series, column: int, raw: int) -> float:
    """A value in its unit."""
    return REGISTRY[series.quantities[column]].value(raw, series.exponents[column])


def digits(series: Series, column: int) -> int:
    """Digits after the point that the value has."""
    exponent = series.exponents[column]
    if exponent is None:
        exponent = REGISTRY[series.quantities[column]].exponent
    return max(0, -exponent)


def written(series: Series, column: int, raw: int) -> str:
    """A value in decimals."""
    return f"{value(series, column, raw):.{digits(series, column)}f}"


def time_ms(series: Series, first: int, row: int) -> int:
    """Unix time of a row."""
    return START_MS + (first + row) * series.period_ms


def airrohr(series: Series, first: int, rows: Rows) -> list[bytes]:
    """The airRohr firmware's JSON: a message for each sample."""
    messages = []
    for row in rows:
        values = [
            {"value_type": AIRROHR[quantity], "value": f"{value(series, column, raw):.2f}"}
            for column, (quantity, raw) in enumerate(zip(series.quantities, row, strict=True))
        ]
        head = {"esp8266id": "12345678", "software_version": "NRZ-2024-135"}
        body = {**head, "sensordatavalues": values}
        messages.append(json.dumps(body, separators=(",", ":")).encode())
    return messages


def compact_json(series: Series, first: int, rows: Rows) -> list[bytes]:
    """A message for all samples, an object for each, with short names and Unix seconds."""
    samples = []
    for at, row in enumerate(rows):
        sample: dict[str, float | int] = {"t": time_ms(series, first, at) // 1000}
        for column, raw in enumerate(row):
            name = REGISTRY[series.quantities[column]].name
            number = value(series, column, raw)
            sample[name] = int(number) if digits(series, column) == 0 else number
        samples.append(sample)
    body = {"node": "a1b2c3d4", "seq": first, "samples": samples}
    return [json.dumps(body, separators=(",", ":")).encode()]


def senml_cbor(series: Series, first: int, rows: Rows) -> list[bytes]:
    """RFC 8428 in CBOR: base name and time once, values as decimal fractions."""
    records = []
    for at, row in enumerate(rows):
        for column, raw in enumerate(row):
            record: dict[int, object] = {}
            if not at and not column:
                record[-2] = "urn:dev:ow:a1b2c3d4:"
                record[-3] = time_ms(series, first, 0) // 1000
            quantity = REGISTRY[series.quantities[column]]
            record[0] = quantity.name
            record[1] = quantity.unit
            if at:
                record[6] = at * series.period_ms // 1000
            scale = digits(series, column)
            record[2] = Tagged(4, [-scale, raw]) if scale else raw
            records.append(record)
    return [cbor(records)]


class Tagged:
    """A CBOR tag and its content."""

    def __init__(self, tag: int, content: object) -> None:
        self.tag = tag
        self.content = content


def cbor(item: object) -> bytes:
    """CBOR of integers, text, lists, maps and tags."""
    if isinstance(item, bool) or item is None:
        raise TypeError("not needed here")
    if isinstance(item, int):
        return head(0, item) if item >= 0 else head(1, -1 - item)
    if isinstance(item, str):
        return head(3, len(item.encode())) + item.encode()
    if isinstance(item, list):
        return head(4, len(item)) + b"".join(map(cbor, item))
    if isinstance(item, dict):
        return head(5, len(item)) + b"".join(cbor(k) + cbor(v) for k, v in item.items())
    if isinstance(item, Tagged):
        return head(6, item.tag) + cbor(item.content)
    raise TypeError(f"no CBOR here for {type(item)}")


def head(major: int, number: int) -> bytes:
    """The first bytes of a CBOR item."""
    if number < 24:
        return bytes([major << 5 | number])
    for code, length in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if number < 1 << 8 * length:
            return bytes([major << 5 | code]) + number.to_bytes(length, "big")
    raise ValueError("above 64 bits")


def messagepack(series: Series, first: int, rows: Rows) -> list[bytes]:
    """MessagePack: node, time and period once, then rows of scaled integers."""
    body = [0xA1B2C3D4, first, time_ms(series, first, 0) // 1000, series.period_ms // 1000]
    return [pack([*body, list(series.quantities), [list(row) for row in rows]])]


def messagepack_floats(series: Series, first: int, rows: Rows) -> list[bytes]:
    """MessagePack: a map of names to float32 for each sample."""
    found = []
    for at, row in enumerate(rows):
        sample: dict[str, object] = {"t": time_ms(series, first, at) // 1000}
        for column, raw in enumerate(row):
            name = REGISTRY[series.quantities[column]].name
            sample[name] = float(value(series, column, raw))
        found.append(sample)
    return [pack(["a1b2c3d4", found])]


def pack(item: object) -> bytes:
    """MessagePack of integers, float32, text, lists and maps."""
    if isinstance(item, float):
        return b"\xca" + struct.pack(">f", item)
    if isinstance(item, int):
        return pack_integer(item)
    if isinstance(item, str):
        return bytes([0xA0 | len(item)]) + item.encode()
    if isinstance(item, list):
        start = bytes([0x90 | len(item)]) if len(item) < 16 else struct.pack(">BH", 0xDC, len(item))
        return start + b"".join(map(pack, item))
    if isinstance(item, dict):
        return bytes([0x80 | len(item)]) + b"".join(pack(k) + pack(v) for k, v in item.items())
    raise TypeError(f"no MessagePack here for {type(item)}")


def pack_integer(number: int) -> bytes:
    """The shortest MessagePack integer."""
    if -32 <= number < 128:
        return struct.pack("b" if number < 0 else "B", number)
    for code, form, low, high in (
        (0xCC, ">BB", 0, 2**8), (0xD0, ">Bb", -(2**7), 0), (0xCD, ">BH", 0, 2**16),
        (0xD1, ">Bh", -(2**15), 0), (0xCE, ">BI", 0, 2**32), (0xD2, ">Bi", -(2**31), 0),
    ):  # fmt: skip
        if low <= number < high:
            return struct.pack(form, code, number)
    raise ValueError("above 32 bits")


def cayenne(series: Series, first: int, rows: Rows) -> list[bytes]:
    """Cayenne LPP, a message for each sample: lossy (0.1 degC, 0.5 %, 0.1 hPa), no time."""
    messages = []
    for row in rows:
        body = b""
        for column, raw in enumerate(row):
            type, size = CAYENNE.get(series.quantities[column], (2, 2))
            number = round(value(series, column, raw) * 100)
            if type == 103:
                number = round(value(series, column, raw) * 10)
            elif type == 104:
                number = round(value(series, column, raw) * 2)
            elif type == 115:
                number = round(value(series, column, raw) / 10)
            number = max(-(1 << 8 * size - 1), min((1 << 8 * size - 1) - 1, number))
            body += bytes([column, type]) + (number % (1 << 8 * size)).to_bytes(size, "big")
        messages.append(body)
    return messages


def sparkplug(series: Series, first: int, rows: Rows) -> list[bytes]:
    """Sparkplug B NDATA: metrics by alias, each with time, datatype and float value.

    Field numbers are those of sparkplug_b.proto: Payload 1 timestamp, 2 metrics, 3 seq; Metric
    2 alias, 3 timestamp, 4 datatype, 12 float_value.
    """
    metrics = b""
    for at, row in enumerate(rows):
        stamp = field(3, time_ms(series, first, at))
        for column, raw in enumerate(row):
            metric = field(2, column) + stamp + field(4, 9)
            metric += bytes([12 << 3 | 5]) + struct.pack("<f", value(series, column, raw))
            metrics += bytes([2 << 3 | 2, len(metric)]) + metric
    last = time_ms(series, first, len(rows) - 1)
    return [field(1, last) + metrics + field(3, first % 256)]


def field(number: int, content: int) -> bytes:
    """A protobuf field of wire type varint."""
    return varint(number << 3) + varint(content)


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def tlv(series: Series, first: int, rows: Rows) -> list[bytes]:
    """Like BTHome: an id of one byte and two or three bytes of value, all samples in a message."""
    body = struct.pack("<IIHB", 0xA1B2C3D4, time_ms(series, first, 0) // 1000, 148, first % 256)
    for row in rows:
        for column, raw in enumerate(row):
            quantity = series.quantities[column]
            size = 3 if quantity == 18 else 2
            body += bytes([quantity]) + (raw % (1 << 8 * size)).to_bytes(size, "little")
    return [body]


def fixed(series: Series, first: int, rows: Rows) -> list[bytes]:
    """A header and int16 for every value; pressure in units of 10 Pa, so lossy."""
    body = struct.pack("<IIHB", 0xA1B2C3D4, time_ms(series, first, 0) // 1000, 148, len(rows))
    for row in rows:
        for quantity, raw in zip(series.quantities, row, strict=True):
            body += struct.pack("<h", round(raw / 10) if quantity == 18 else raw)
    return [body + bytes(4)]


def gorilla(series: Series, first: int, rows: Rows) -> list[bytes]:
    """Facebook's Gorilla on float32: delta of delta for times, XOR for a column's values."""
    bits = f"{0xA1B2C3D4:032b}{time_ms(series, first, 0) // 1000:032b}{len(rows):08b}"
    bits += f"{series.period_ms // 1000:014b}" + "0" * max(0, len(rows) - 2)
    for column in range(len(series.quantities)):
        before = float_bits(value(series, column, rows[0][column]))
        bits += f"{before:032b}"
        window = (0, 0)
        for row in rows[1:]:
            now = float_bits(value(series, column, row[column]))
            text, window = xor_bits(before ^ now, window)
            bits += text
            before = now
    return [int(bits, 2).to_bytes((len(bits) + 7) // 8, "big")]


def float_bits(number: float) -> int:
    return int.from_bytes(struct.pack(">f", number), "big")


def xor_bits(difference: int, window: tuple[int, int]) -> tuple[str, tuple[int, int]]:
    """Gorilla's code of one XOR, and the window of meaningful bits for the next."""
    if not difference:
        return "0", window
    leading = min(31, 32 - difference.bit_length())
    trailing = (difference & -difference).bit_length() - 1
    last_leading, last_length = window
    if last_length and leading >= last_leading and trailing >= 32 - last_leading - last_length:
        shift = 32 - last_leading - last_length
        return f"10{difference >> shift:0{last_length}b}", window
    length = 32 - leading - trailing
    text = f"11{leading:05b}{length - 1:05b}{difference >> trailing:0{length}b}"
    return text, (leading, length)


FORMATS: dict[str, Encoder] = {
    "airRohr JSON, a message a sample": airrohr,
    "compact JSON": compact_json,
    "SenML-CBOR, decimal fractions": senml_cbor,
    "MessagePack, maps of float32": messagepack_floats,
    "MessagePack, rows of integers": messagepack,
    "Cayenne LPP (lossy)": cayenne,
    "Sparkplug B": sparkplug,
    "BTHome-like TLV": tlv,
    "fixed int16 (lossy)": fixed,
    "Gorilla, float32": gorilla,
}
