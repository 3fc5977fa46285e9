"""A decoder written from docs/protocol.md alone, as plainly as can be, bit by bit.

It shares no code with the protocol room, and is what the others are held against.
"""

import hashlib
import hmac
import zlib
from typing import Any

Fields = dict[str, Any]

TYPES = {
    1: "DATA",
    2: "HELLO",
    3: "LIVE",
    4: "LOG",
    5: "RESULT",
    16: "ACK",
    17: "TIME",
    18: "CONFIG",
    19: "COMMAND",
    20: "UPDATE",
}
SECTIONS = {
    0x81: "SAMPLES",
    0x02: "INFO",
    0x03: "DESCRIPTORS",
    0x84: "STATE",
    0x05: "TEXT",
    0x06: "CLOCK",
    0x87: "OUTCOME",
    0x90: "ACK",
    0x91: "TIME",
    0x92: "CONFIG",
    0x93: "COMMAND",
    0x94: "UPDATE",
}
ONCE = {
    "LIVE": "STATE",
    "RESULT": "OUTCOME",
    "ACK": "ACK",
    "TIME": "TIME",
    "CONFIG": "CONFIG",
    "COMMAND": "COMMAND",
    "UPDATE": "UPDATE",
}


class Refused(Exception):
    """The frame is refused; args[0] is the reason."""


class Reader:
    """Takes numbers off the front of some bytes; too few of them is a refusal of that reason."""

    def __init__(self, data: bytes, reason: str) -> None:
        self.data = data
        self.at = 0
        self.reason = reason

    def __bool__(self) -> bool:
        return self.at < len(self.data)

    def take(self, count: int) -> bytes:
        if self.at + count > len(self.data):
            raise Refused(self.reason)
        self.at += count
        return self.data[self.at - count : self.at]

    def unsigned(self, count: int) -> int:
        return sum(byte << (8 * place) for place, byte in enumerate(self.take(count)))

    def signed8(self) -> int:
        value = self.unsigned(1)
        return value - 256 if value >= 128 else value

    def uvarint(self) -> int:
        value = 0
        for place in range(5):
            if not self:
                raise Refused("varint")
            byte = self.unsigned(1)
            value += (byte & 127) << (7 * place)
            if byte < 128:
                if value >= 2**32 or (byte == 0 and place):
                    raise Refused("varint")
                return value
        raise Refused("varint")

    def zigzag(self) -> int:
        return unzigzag(self.uvarint())

    def rest(self) -> bytes:
        return self.take(len(self.data) - self.at)

    def end(self) -> None:
        if self:
            raise Refused(self.reason)


def unzigzag(number: int) -> int:
    return number // 2 if number % 2 == 0 else -(number + 1) // 2


def int32(value: int) -> int:
    value %= 2**32
    return value - 2**32 if value >= 2**31 else value


class Bits:
    """Bits of some bytes, most significant first."""

    def __init__(self, data: bytes) -> None:
        self.bits = [byte >> (7 - place) & 1 for byte in data for place in range(8)]
        self.at = 0

    def one(self) -> int:
        if self.at == len(self.bits):
            raise Refused("bits")
        self.at += 1
        return self.bits[self.at - 1]

    def number(self, count: int) -> int:
        value = 0
        for _ in range(count):
            value = 2 * value + self.one()
        return value

    def rice(self, k: int) -> int:
        quotient = 0
        while quotient < 15 and self.one():
            quotient += 1
        return self.number(32) if quotient == 15 else quotient * 2**k + self.number(k)

    def end(self) -> None:
        rest = self.bits[self.at :]
        if len(rest) > 7 or any(rest):
            raise Refused("padding")


def decode(frame: bytes, key: bytes | None) -> Fields:
    """The meaning of a frame as JSON-able fields; key is the direction's. Raises Refused."""
    if len(frame) < 20:
        raise Refused("short")
    if len(frame) > 4096:
        raise Refused("long")
    reader = Reader(frame, "length")
    magic = reader.unsigned(1)
    if magic // 16 != 0xA:
        raise Refused("magic")
    if magic % 16 != 1:
        raise Refused("version")
    flags = reader.unsigned(1)
    if flags & 0xC0:
        raise Refused("incompatible")
    length = reader.unsigned(2)
    node, boot, seq = reader.unsigned(4), reader.unsigned(4), reader.unsigned(4)
    authenticated = bool(flags & 0x20)
    if 16 + length + (8 if authenticated else 4) != len(frame):
        raise Refused("length")
    check_trailer(frame, authenticated, key)
    type = TYPES.get(flags & 31)
    if type is None:
        raise Refused("type")
    sections = body(Reader(frame[16 : 16 + length], "section"), type)
    return {
        "type": type,
        "authenticated": authenticated,
        "node": node,
        "boot": boot,
        "seq": seq,
        "sections": sections,
    }


def check_trailer(frame: bytes, authenticated: bool, key: bytes | None) -> None:
    if authenticated:
        if key is None:
            raise Refused("key")
        tag = hmac.new(key, frame[:-8], hashlib.sha256).digest()[:8]
        if tag != frame[-8:]:
            raise Refused("tag")
    elif key is not None:
        raise Refused("downgrade")
    elif zlib.crc32(frame[:-4], 0x314E534F) != sum(b << (8 * i) for i, b in enumerate(frame[-4:])):
        raise Refused("crc")


def body(reader: Reader, type: str) -> list[Fields]:
    sections: list[Fields] = []
    values = 0
    while reader:
        tag = reader.unsigned(1)
        data = reader.take(reader.unsigned(2))
        name = SECTIONS.get(tag)
        if tag & 0x80:
            if name is None:
                raise Refused("critical")
            places = {"SAMPLES": ("DATA", "LIVE"), "STATE": ("LIVE",), "OUTCOME": ("RESULT",)}
            if type not in places.get(name, (name,)):
                raise Refused("misplaced")
        if name is None:
            sections.append({"section": tag, "data": data.hex()})
            continue
        if name == "SAMPLES":
            fields = samples(data, 16384 - values)
            values += sum(len(column["values"]) for column in fields["columns"])
            values += fields.pop("residuals")
        else:
            fields = PARSERS[name](Reader(data, name.lower()))
        sections.append({"section": name, **fields})
    columns = [
        (column["quantity"], column["instance"])
        for section in sections
        for column in section.get("columns", ())
    ]
    if len(set(columns)) < len(columns):
        raise Refused("duplicate")
    if len(sections) > 64:
        raise Refused("sections")
    names = [section["section"] for section in sections]
    if type in ONCE and names.count(ONCE[type]) != 1:
        raise Refused("absent")
    return sections


def samples(data: bytes, values_left: int) -> Fields:
    reader = Reader(data, "samples")
    if len(data) < 9:
        raise Refused("samples")
    t0 = reader.unsigned(6)
    period = reader.uvarint()
    rows, count = reader.unsigned(1), reader.unsigned(1)
    if rows == 0:
        raise Refused("rows")
    if count > 64:
        raise Refused("columns")
    reader.reason = "column"
    heads: list[Fields] = []
    for index in range(count):
        head = column_head(reader, rows, index)
        values_left -= rows * max(1, head["bands"])
        if values_left < 0:
            raise Refused("values")
        head["first"] = reader.zigzag()
        check_head(head, rows, index)
        heads.append(head)
    if len({(head["quantity"], head["instance"]) for head in heads}) < len(heads):
        raise Refused("duplicate")
    bits = Bits(reader.rest())
    columns = [column(head, rows, bits) for head in heads]
    bits.end()
    times = [t0 + row * period for row in range(rows)]
    residuals = 0
    if columns and columns[0]["quantity"] == 0:
        residuals = rows
        times = [
            time + residual for time, residual in zip(times, columns.pop(0)["values"], strict=True)
        ]
        if times[0] < 0 or sorted(times) != times:
            raise Refused("times")
    return {
        "t0_ms": t0,
        "period_ms": period,
        "times_ms": times,
        "columns": columns,
        "residuals": residuals,
    }


def column_head(reader: Reader, rows: int, index: int) -> Fields:
    quantity, control = reader.unsigned(1), reader.unsigned(1)
    head: Fields = {
        "quantity": quantity,
        "control": control,
        "instance": 0,
        "exponent": None,
        "first_band": 0,
        "bands": 0,
        "qualities": None,
        "steps": 0,
        "k": control & 15,
    }
    if control & 0x10:
        head["instance"] = reader.unsigned(1)
    if control & 0x80:
        head["exponent"] = reader.signed8()
    if control & 0x20:
        head["first_band"], head["bands"] = reader.unsigned(1), reader.unsigned(1)
    if control & 0x40:
        runs = [(reader.unsigned(1), reader.unsigned(1)) for _ in range(reader.unsigned(1))]
        if any(run == 0 for run, _ in runs) or sum(run for run, _ in runs) > rows:
            raise Refused("quality")
        codes = [code for run, code in runs for _ in range(run)]
        head["qualities"] = codes + [0] * (rows - len(codes)) if runs else None
    if control & 15 == 14:
        head["steps"], head["k"] = reader.unsigned(1), reader.unsigned(1)
        if not 1 <= head["steps"] < rows or head["k"] > 13 or control & 0x20:
            raise Refused("sparse")
    return head


def check_head(head: Fields, rows: int, index: int) -> None:
    control, exponent = head["control"], head["exponent"]
    if exponent is not None and not -9 <= exponent <= 9:
        raise Refused("exponent")
    if head["quantity"] == 0xFF:
        raise Refused("quantity")
    if head["quantity"] >= 0xC0 and exponent is None:
        raise Refused("exponent")
    if control & 0x20 and not (head["bands"] and head["first_band"] + head["bands"] <= 256):
        raise Refused("bands")
    if rows * max(1, head["bands"]) == 1 and control & 15 != 15:
        raise Refused("coding")
    if head["quantity"] == 0 and (index or control & 0xF0):
        raise Refused("times")


def column(head: Fields, rows: int, bits: Bits) -> Fields:
    coding = head["control"] & 15
    width = max(1, head["bands"])
    if coding == 15:
        values = [head["first"]] * (rows * width)
    elif coding == 14:
        values = sparse(head, rows, bits)
    else:
        values = []
        for row in range(rows):
            for band in range(width):
                values.append(neighbour(head, values, row, band, width, bits))
    return {
        name: head[name] for name in ("quantity", "instance", "exponent", "first_band", "bands")
    } | {"values": values, "qualities": head["qualities"]}


def neighbour(head: Fields, values: list[int], row: int, band: int, width: int, bits: Bits) -> int:
    at = row * width + band
    if at == 0:
        return int(head["first"])
    if row == 0:
        expected = values[at - 1]
    elif band == 0:
        expected = values[at - width]
    else:
        expected = values[at - 1] + values[at - width] - values[at - width - 1]
    return int32(expected + unzigzag(bits.rice(head["k"])))


def sparse(head: Fields, rows: int, bits: Bits) -> list[int]:
    values = [head["first"]]
    for _ in range(head["steps"]):
        gap, number = bits.rice(2), bits.rice(head["k"]) + 1
        if len(values) + gap >= rows or number > 2**32 - 1:
            raise Refused("sparse")
        values += [values[-1]] * gap
        values.append(int32(values[-1] + unzigzag(number)))
    return values + [values[-1]] * (rows - len(values))


def text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def info(reader: Reader) -> Fields:
    entries: dict[str, str] = {}
    lengths = {4: 1, 5: 2, 6: 16, 7: 8}
    found = []
    while reader:
        key, length = reader.unsigned(1), reader.unsigned(1)
        found.append((key, reader.take(length)))
    for key, value in found:
        if str(key) in entries or len(value) != lengths.get(key, len(value)):
            raise Refused("info")
        entries[str(key)] = value.hex()
    return {"entries": entries}


def descriptors(reader: Reader) -> Fields:
    channels = []
    while reader:
        quantity, instance, exponent = reader.unsigned(1), reader.unsigned(1), reader.signed8()
        model, length = reader.unsigned(2), reader.unsigned(1)
        name = text(reader.take(length))
        channels.append([quantity, instance, exponent, model, name])
    return {"channels": channels}


def state(reader: Reader) -> Fields:
    fields: Fields = {
        "uptime_ms": reader.unsigned(6),
        "downlink_seq": reader.unsigned(4),
        "settings_revision": reader.unsigned(4),
        "collector": reader.unsigned(4),
        "flags": reader.unsigned(1),
        "unlisted": reader.unsigned(2),
    }
    count = reader.unsigned(1)
    if count > 32:
        raise Refused("state")
    boots = [[reader.unsigned(4) for _ in range(3)] for _ in range(count)]
    if any(boots[i][0] >= boots[i + 1][0] for i in range(count - 1)):
        raise Refused("state")
    for _, lowest, highest in boots:
        if lowest < 1 or lowest - 1 > highest:
            raise Refused("state")
    reasons = reader.unsigned(1)
    dropped = []
    for _ in range(reasons):
        if len(reader.data) - reader.at < 2:
            raise Refused("state")
        dropped.append([reader.unsigned(1), reader.uvarint()])
    reader.end()
    return {**fields, "boots": boots, "dropped": dropped}


def clock(reader: Reader) -> Fields:
    fields = {
        "uptime_ms": reader.unsigned(6),
        "unix_ms": reader.unsigned(6),
        "error_ms": reader.unsigned(4),
        "source": reader.unsigned(1),
    }
    reader.end()
    return fields


def outcome(reader: Reader) -> Fields:
    return {
        "type": reader.unsigned(1),
        "id": reader.unsigned(2),
        "code": reader.unsigned(2),
        "status": reader.unsigned(1),
        "data": reader.rest().hex(),
    }


def ack(reader: Reader) -> Fields:
    collector = reader.unsigned(4)
    entries = []
    while reader:
        entries.append([reader.unsigned(4) for _ in range(3)])
    return {"collector": collector, "entries": entries}


def time(reader: Reader) -> Fields:
    fields = {
        "uptime_ms": reader.unsigned(6),
        "counter": reader.unsigned(4),
        "received_ms": reader.unsigned(6),
        "sent_ms": reader.unsigned(6),
    }
    reader.end()
    return fields


def config(reader: Reader) -> Fields:
    number = reader.unsigned(2)
    entries = []
    while reader:
        key, length = reader.unsigned(2), reader.unsigned(1)
        entries.append([key, reader.take(length).hex()])
    return {"id": number, "entries": entries}


def command(reader: Reader) -> Fields:
    fields = {"id": reader.unsigned(2), "code": reader.unsigned(1)}
    arguments = reader.rest()
    if len(arguments) != {4: 4, 6: 4, 7: 12}.get(fields["code"], len(arguments)):
        raise Refused("command")
    return {**fields, "arguments": arguments.hex()}


def update(reader: Reader) -> Fields:
    number, kind = reader.unsigned(2), reader.unsigned(1)
    if kind == 2:
        return {"id": number, "offset": reader.unsigned(4), "data": reader.rest().hex()}
    if kind != 1:
        raise Refused("update")
    size, digest = reader.unsigned(4), reader.take(32).hex()
    version = text(reader.take(reader.unsigned(1)))
    signature = reader.take(reader.unsigned(1)).hex()
    reader.end()
    return {
        "id": number,
        "size": size,
        "sha256": digest,
        "version": version,
        "signature": signature,
    }


PARSERS = {
    "INFO": info,
    "DESCRIPTORS": descriptors,
    "STATE": state,
    "TEXT": lambda reader: {"text": text(reader.rest())},
    "CLOCK": clock,
    "OUTCOME": outcome,
    "ACK": ack,
    "TIME": time,
    "CONFIG": config,
    "COMMAND": command,
    "UPDATE": update,
}
