"""Frames that have to be refused, at least one for each reason, built byte by byte."""

import hmac
import struct
from collections.abc import Iterator
from zlib import crc32

KEY = bytes(range(32))
Case = tuple[str, str, bytes, bytes | None]

HEADER = "<BBHIII"


def sealed(body: bytes, type: int = 1, key: bytes | None = KEY, magic: int = 0xA1) -> bytes:
    """A frame around any body, its length and trailer right."""
    flags = type | (0x20 if key is not None else 0)
    frame = struct.pack(HEADER, magic, flags, len(body), 0xA1B2C3D4, 1764000000, 7) + body
    if key is None:
        return frame + struct.pack("<I", crc32(frame, 0x314E534F))
    return frame + hmac.digest(key, frame, "sha256")[:8]


def section(tag: int, data: bytes) -> bytes:
    return bytes([tag]) + struct.pack("<H", len(data)) + data


def samples(
    heads: list[bytes], bits: bytes = b"", rows: int = 2, columns: int | None = None
) -> bytes:
    count = len(heads) if columns is None else columns
    data = struct.pack("<IH", 1000, 0) + b"\x0a" + bytes([rows, count]) + b"".join(heads) + bits
    return section(0x81, data)


STATE = struct.pack("<IHIIIBH", 5000, 0, 3, 1, 0xC0FFEE, 0, 0)
BOOT = struct.pack("<III", 1764000000, 1, 7)
GOOD = bytes([2, 0, 20])


def envelopes() -> Iterator[Case]:
    good = sealed(samples([GOOD], b"\x00"))
    bare = sealed(samples([GOOD], b"\x00"), key=None)
    yield "nothing", "short", b"", KEY
    yield "19 bytes", "short", good[:19], KEY
    yield "4,097 bytes", "long", sealed(section(0x3A, bytes(4070))), KEY
    yield "magic 0x5", "magic", b"\x51" + good[1:], KEY
    yield "text", "magic", b"ets Jun  8 2016 00:22:57\r\n", KEY
    yield "version 2", "version", sealed(samples([GOOD], b"\0"), magic=0xA2), KEY
    yield "version 0", "version", sealed(samples([GOOD], b"\0"), magic=0xA0), KEY
    yield "bit 6 of type_flags", "incompatible", sealed(b"", type=0x41), KEY
    yield "bit 7 of type_flags", "incompatible", sealed(b"", type=0x81), KEY
    yield "a byte too few", "length", good[:-1], KEY
    yield "a byte too many", "length", good + b"\0", KEY
    yield "no key", "key", good, None
    yield "another key", "tag", good, bytes(32)
    yield "a flipped bit in the body", "tag", good[:20] + bytes([good[20] ^ 1]) + good[21:], KEY
    yield "a flipped bit in the tag", "tag", good[:-1] + bytes([good[-1] ^ 128]), KEY
    yield "a flipped bit in seq", "tag", good[:12] + bytes([good[12] ^ 1]) + good[13:], KEY
    yield "unauthenticated from a node with a key", "downgrade", bare, KEY
    yield "CRC of another start", "crc", bare[:-4] + struct.pack("<I", crc32(bare[:-4])), None
    yield "a flipped bit under a CRC", "crc", bare[:20] + bytes([bare[20] ^ 1]) + bare[21:], None


def bodies() -> Iterator[Case]:
    for type in (0, 6, 15, 21, 31):
        yield f"type {type}", "type", sealed(b"", type=type), KEY
    yield "two bytes of a section", "section", sealed(b"\x05\x00"), KEY
    yield "a section past the end", "section", sealed(b"\x05\x04\x00abc"), KEY
    yield "65 sections", "sections", sealed(section(0x3A, b"") * 65), KEY
    yield "an unknown critical section", "critical", sealed(section(0xBA, b"abc")), KEY
    yield "ACK in DATA", "misplaced", sealed(section(0x90, bytes(4))), KEY
    yield "SAMPLES in HELLO", "misplaced", sealed(samples([GOOD], b"\0"), type=2), KEY
    yield "LIVE without STATE", "absent", sealed(b"", type=3), KEY
    live = section(0x84, STATE + b"\0\0")
    yield "two STATE", "absent", sealed(live + live, type=3), KEY
    for type in (5, 16, 17, 18, 19, 20):
        yield f"empty frame of type {type}", "absent", sealed(b"", type=type), KEY


def columns() -> Iterator[Case]:
    def data(heads: list[bytes], bits: bytes = b"", **options: int) -> bytes:
        return sealed(samples(heads, bits, **options))

    yield "SAMPLES of 8 bytes", "samples", sealed(section(0x81, bytes(8))), KEY
    yield (
        "SAMPLES ends after the period",
        "samples",
        sealed(section(0x81, bytes(6) + b"\x80\x80\x01\x01")),
        KEY,
    )
    yield (
        "a period of six bytes",
        "varint",
        sealed(section(0x81, bytes(6) + b"\xff\xff\xff\xff\xff\x01\x01\x00")),
        KEY,
    )
    yield (
        "a period of 33 bits",
        "varint",
        sealed(section(0x81, bytes(6) + b"\xff\xff\xff\xff\x1f\x01\x00")),
        KEY,
    )
    yield (
        "a period longer than needed",
        "varint",
        sealed(section(0x81, bytes(6) + b"\x8a\x00\x01\x00")),
        KEY,
    )
    yield "a first value above int32", "varint", data([b"\x02\x0f\x80\x80\x80\x80\x10"]), KEY
    yield "a first value cut off", "varint", data([b"\x02\x0f\x80"]), KEY
    yield "no rows", "rows", data([], rows=0), KEY
    yield "65 columns", "columns", data([bytes([q, 15, 0]) for q in range(1, 66)]), KEY
    bomb = [bytes([q, 0x2F, 0, 255, 0]) for q in range(0x40, 0x60)]
    yield "32 x 255 x 255 values", "values", data(bomb, rows=255), KEY
    part = samples([bytes([0x40, 0x2F, 0, 255, 0])], rows=40)
    more = samples([bytes([0x41, 0x2F, 0, 255, 0])], rows=40)
    yield "too many values in two sections", "values", sealed(part + more), KEY
    yield "a head of one byte", "column", data([b"\x02"], rows=2), KEY
    yield "a head without its exponent", "column", data([b"\x02\x8f"]), KEY
    yield "more columns than heads", "column", data([GOOD], columns=2), KEY
    yield "quality runs cut off", "column", data([b"\x02\x4f\x03\x01\x01"]), KEY
    yield "quantity 0xFF", "quantity", data([b"\xff\x8f\x00\x00"]), KEY
    yield "exponent 10", "exponent", data([b"\x02\x8f\x0a\x00"]), KEY
    yield "exponent -10", "exponent", data([b"\x02\x8f\xf6\x00"]), KEY
    yield "0xC0 without an exponent", "exponent", data([b"\xc0\x0f\x00"]), KEY
    yield "no bands", "bands", data([b"\x40\x2f\x00\x00\x00"]), KEY
    yield "band 256", "bands", data([b"\x40\x2f\xfe\x03\x00"]), KEY
    yield "a quantity twice", "duplicate", data([b"\x02\x0f\x00", b"\x02\x0f\x01"]), KEY
    yield "an instance twice", "duplicate", data([b"\x02\x1f\x05\x00", b"\x02\x1f\x05\x00"]), KEY
    yield (
        "a quantity in two sections",
        "duplicate",
        sealed(samples([b"\x02\x0f\x00"]) + samples([b"\x02\x0f\x00"], rows=3)),
        KEY,
    )
    yield "a run of no rows", "quality", data([b"\x02\x4f\x01\x00\x01\x00"]), KEY
    yield "runs of 3 of 2 rows", "quality", data([b"\x02\x4f\x02\x01\x01\x02\x06\x00"]), KEY
    yield "one value in Rice", "coding", data([b"\x02\x00\x00"], rows=1), KEY
    yield "one band in Rice", "coding", data([b"\x40\x20\x05\x01\x00"], rows=1), KEY
    yield "sparse without a step", "sparse", data([b"\x02\x0e\x00\x00\x00"]), KEY
    yield "as many steps as rows", "sparse", data([b"\x02\x0e\x02\x00\x00"], b"\0"), KEY
    yield "sparse with k = 14", "sparse", data([b"\x02\x0e\x01\x0e\x00"], b"\0"), KEY
    yield "a sparse vector", "sparse", data([b"\x40\x2e\x00\x02\x01\x00\x00"], b"\0"), KEY
    yield "a sparse step after the end", "sparse", data([b"\x02\x0e\x01\x00\x00"], b"\x40"), KEY
    too_large = b"\x1f\xff\xff\xff\xff\xff\xff"
    yield "a sparse step of 33 bits", "sparse", data([b"\x02\x0e\x01\x00\x00"], too_large), KEY
    yield "no bits", "bits", data([GOOD]), KEY
    yield "a code cut off in its ones", "bits", data([GOOD], b"\xff"), KEY
    yield "a code cut off in its k bits", "bits", data([b"\x02\x0d\x00"], b"\x00"), KEY
    yield "an escape cut off", "bits", data([GOOD], b"\xff\xff\xff\xff\xff"), KEY
    yield "a byte after the last code", "padding", data([GOOD], b"\x00\x00"), KEY
    yield "a one in the padding", "padding", data([GOOD], b"\x01"), KEY
    yield "bits without columns", "padding", data([], b"\x00"), KEY
    residual = b"\x00\x0f\x00"
    yield "residuals second", "times", data([b"\x02\x0f\x00", residual]), KEY
    yield "residuals with quality", "times", data([b"\x00\x4f\x01\x01\x01\x00"]), KEY
    yield "residuals with an exponent", "times", data([b"\x00\x8f\x00\x00"]), KEY
    yield "times that go back", "times", data([b"\x00\x04\x00"], b"\x94"), KEY
    yield "a time before boot", "times", data([b"\x00\x0f\xd1\x0f"]), KEY


def others() -> Iterator[Case]:
    def frame(type: int, tag: int, data: bytes) -> bytes:
        return sealed(section(tag, data), type=type)

    yield "INFO of one byte", "info", frame(2, 0x02, b"\x02"), KEY
    yield "INFO entry past the end", "info", frame(2, 0x02, b"\x02\x05abc"), KEY
    yield "INFO key twice", "info", frame(2, 0x02, b"\x02\x01a\x02\x01b"), KEY
    yield "INFO identity of 15 bytes", "info", frame(2, 0x02, b"\x06\x0f" + bytes(15)), KEY
    yield "DESCRIPTORS of 5 bytes", "descriptors", frame(2, 0x03, bytes(5)), KEY
    yield (
        "DESCRIPTORS name past the end",
        "descriptors",
        frame(2, 0x03, b"\x01\x00\xff\x02\x00\x09pm10"),
        KEY,
    )
    yield "STATE of 20 bytes", "state", frame(3, 0x84, STATE[:20]), KEY
    yield "STATE without drop counters", "state", frame(3, 0x84, STATE + b"\x01" + BOOT), KEY
    yield (
        "STATE with 33 boots",
        "state",
        frame(
            3,
            0x84,
            STATE + b"\x21" + b"".join(struct.pack("<III", b, 1, 1) for b in range(33)) + b"\0",
        ),
        KEY,
    )
    yield (
        "STATE with a boot twice",
        "state",
        frame(3, 0x84, STATE + b"\x02" + BOOT + BOOT + b"\0"),
        KEY,
    )
    for name, lowest, highest in (
        ("STATE whose lowest kept is 0", 0, 0),
        ("STATE whose lowest kept is 0 of some", 0, 7),
        ("STATE that keeps what was never issued", 9, 7),
        ("STATE whose lowest kept is the largest number", 0xFFFFFFFF, 0),
    ):
        kept = struct.pack("<III", 1764000000, lowest, highest)
        yield name, "state", frame(3, 0x84, STATE + b"\x01" + kept + b"\0"), KEY
    yield "STATE with a reason cut off", "state", frame(3, 0x84, STATE + b"\0\x01\x01"), KEY
    yield "STATE with bytes after it", "state", frame(3, 0x84, STATE + b"\0\0\0"), KEY
    yield "CLOCK of 16 bytes", "clock", frame(1, 0x06, bytes(16)), KEY
    yield "CLOCK of 18 bytes", "clock", frame(1, 0x06, bytes(18)), KEY
    yield "OUTCOME of 5 bytes", "outcome", frame(5, 0x87, bytes(5)), KEY
    yield "ACK of 3 bytes", "ack", frame(16, 0x90, bytes(3)), KEY
    yield "ACK with half an entry", "ack", frame(16, 0x90, bytes(10)), KEY
    yield "TIME of 21 bytes", "time", frame(17, 0x91, bytes(21)), KEY
    yield "CONFIG of one byte", "config", frame(18, 0x92, bytes(1)), KEY
    yield "CONFIG value past the end", "config", frame(18, 0x92, b"\x01\x00\x02\x00\x05ab"), KEY
    yield "COMMAND of 2 bytes", "command", frame(19, 0x93, bytes(2)), KEY
    yield "drop spool without a counter", "command", frame(19, 0x93, b"\x01\x00\x06"), KEY
    yield "resend without its range", "command", frame(19, 0x93, b"\x01\x00\x07" + bytes(8)), KEY
    yield "UPDATE of 2 bytes", "update", frame(20, 0x94, bytes(2)), KEY
    yield "UPDATE of kind 3", "update", frame(20, 0x94, b"\x01\x00\x03" + bytes(40)), KEY
    yield "an offer cut off", "update", frame(20, 0x94, b"\x01\x00\x01" + bytes(20)), KEY
    yield (
        "an offer with bytes after it",
        "update",
        frame(20, 0x94, b"\x01\x00\x01" + bytes(36) + b"\x01a\x01bc"),
        KEY,
    )
    yield "a chunk without an offset", "update", frame(20, 0x94, b"\x01\x00\x02\x00"), KEY


def all_refusals() -> Iterator[Case]:
    """(name, reason, frame, key)."""
    yield from envelopes()
    yield from bodies()
    yield from columns()
    yield from others()
