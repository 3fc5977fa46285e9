"""The wire format declared with construct: all but the bit columns, for parsing and building.

Values of columns stay in `bits`. FRAME parses and builds whole frames; tag or CRC is a plain
field, see trailer().
"""

import hmac
from binascii import crc32
from typing import TYPE_CHECKING, Any

from construct import (
    Array,
    Bytes,
    Check,
    Const,
    Construct,
    ConstructError,
    Container,
    ExprAdapter,
    FixedSized,
    FocusedSeq,
    GreedyBytes,
    GreedyRange,
    If,
    IfThenElse,
    Int8sb,
    Int8ub,
    Int16ul,
    Int32ul,
    IntegerError,
    Prefixed,
    PrefixedArray,
    Rebuild,
    Struct,
    Switch,
    Terminated,
    stream_read,
    stream_write,
    this,
)

from protocol import wire
from protocol.layout import ALLOWED, ARGUMENTS, INFO_LENGTHS, REQUIRED
from protocol.registry import ESCAPE, EXPERIMENTAL
from protocol.varint import BYTES_MAX, read_uvarint, unzigzag, uvarint, zigzag
from protocol.wire import FrameError

__all__ = ["FRAME", "SAMPLES", "SECTION", "SECTIONS", "ConstructError", "Container", "trailer"]


if TYPE_CHECKING:
    _Number = Construct[int, int]
else:
    _Number = Construct


class _Uvarint(_Number):
    """An unsigned number below 2**32: seven bits a byte, low first, no longer than needed."""

    def _parse(self, stream: Any, context: Any, path: str) -> int:
        data = stream_read(stream, 1, path)
        while data[-1] > 127 and len(data) < BYTES_MAX:
            data += stream_read(stream, 1, path)
        try:
            return read_uvarint(data, 0)[0]
        except FrameError:
            raise IntegerError(
                "a uvarint above 32 bits, or longer than needed", path=path
            ) from None

    def _build(self, obj: int, stream: Any, context: Any, path: str) -> int:
        data = uvarint(obj)
        stream_write(stream, data, len(data), path)
        return obj


def _whole(declaration: Any) -> Any:
    """The declaration, and nothing after it."""
    return FocusedSeq("value", "value" / declaration, Terminated)


UVARINT = _Uvarint()
ZIGZAG: Any = ExprAdapter(
    UVARINT,
    lambda code, _: unzigzag(code),
    lambda value, _: zigzag(value),
)
UINT48: Any = ExprAdapter(
    Bytes(6),
    lambda data, _: int.from_bytes(data, "little"),
    lambda value, _: value.to_bytes(6, "little"),
)

RUN = Struct("rows" / Int8ub, Check(this.rows > 0), "code" / Int8ub)
SPARSE = Struct("steps" / Int8ub, "k" / Int8ub, Check(this.k <= 13))
BANDS = Struct(
    "first" / Int8ub,
    "count" / Int8ub,
    Check(lambda c: 1 <= c["count"] <= 256 - c.first),
)
COLUMN = Struct(
    "quantity" / Int8ub,
    Check(this.quantity != ESCAPE),
    "control" / Int8ub,
    "instance" / If(this.control & 0x10, Int8ub),
    "exponent" / If(this.control & 0x80, Int8sb),
    Check(lambda c: c.exponent is None or -9 <= c.exponent <= 9),
    Check(lambda c: c.quantity < EXPERIMENTAL or c.exponent is not None),
    "vector" / If(this.control & 0x20, BANDS),
    "quality" / If(this.control & 0x40, PrefixedArray(Int8ub, RUN)),
    "sparse" / If(lambda c: c.control & 15 == 14, SPARSE),
    "first_value" / ZIGZAG,
)


def _width(column: Any) -> int:
    return column.vector["count"] if column.vector else 1


def _columns_fit(samples: Any) -> bool:
    """Whether the columns' heads agree with n and with one another."""
    rows = samples.n
    seen = {(column.quantity, column.instance or 0) for column in samples.columns}
    return len(seen) == len(samples.columns) and all(
        sum(run.rows for run in column.quality or ()) <= rows
        and (column.sparse is None or (1 <= column.sparse.steps < rows and not column.vector))
        and (rows * _width(column) > 1 or column.control & 15 == 15)
        and (column.quantity or (not index and not column.control & 0xF0))
        for index, column in enumerate(samples.columns)
    )


SAMPLES = Struct(
    "t0" / UINT48,
    "period" / UVARINT,
    "n" / Int8ub,
    Check(this.n > 0),
    "ncol" / Rebuild(Int8ub, lambda c: len(c.columns)),
    Check(this.ncol <= wire.COLUMNS_MAX),
    "columns" / Array(this.ncol, COLUMN),
    Check(_columns_fit),
    "bits" / GreedyBytes,
)


def _info_fits(info: Any) -> bool:
    """Whether no key is there twice, and those of a fixed length have it."""
    keys = [entry.key for entry in info.entries]
    return len(set(keys)) == len(keys) and all(
        len(entry.value) == INFO_LENGTHS.get(entry.key, len(entry.value)) for entry in info.entries
    )


INFO = FocusedSeq(
    "entries",
    "entries" / GreedyRange(Struct("key" / Int8ub, "value" / Prefixed(Int8ub, GreedyBytes))),
    Check(_info_fits),
)
DESCRIPTORS = GreedyRange(
    Struct(
        "quantity" / Int8ub,
        "instance" / Int8ub,
        "exponent" / Int8sb,
        "model" / Int16ul,
        "name" / Prefixed(Int8ub, GreedyBytes),
    )
)
STATE = Struct(
    "uptime_ms" / UINT48,
    "downlink_seq" / Int32ul,
    "settings_revision" / Int32ul,
    "collector" / Int32ul,
    "flags" / Int8ub,
    "unlisted" / Int16ul,
    "boots"
    / PrefixedArray(Int8ub, Struct("boot" / Int32ul, "lowest" / Int32ul, "highest" / Int32ul)),
    Check(lambda c: len(c.boots) <= wire.BOOTS_MAX),
    Check(lambda c: all(a.boot < b.boot for a, b in zip(c.boots, c.boots[1:], strict=False))),
    Check(lambda c: all(1 <= kept.lowest <= kept.highest + 1 for kept in c.boots)),
    "dropped" / PrefixedArray(Int8ub, Struct("reason" / Int8ub, "frames" / UVARINT)),
)
CLOCK = Struct("uptime_ms" / UINT48, "unix_ms" / UINT48, "error_ms" / Int32ul, "source" / Int8ub)
OUTCOME = Struct(
    "type" / Int8ub, "id" / Int16ul, "code" / Int16ul, "status" / Int8ub, "data" / GreedyBytes
)
ACK = Struct(
    "collector" / Int32ul,
    "entries" / GreedyRange(Struct("boot" / Int32ul, "upto" / Int32ul, "mask" / Int32ul)),
)
TIME = Struct("uptime_ms" / UINT48, "counter" / Int32ul, "received_ms" / UINT48, "sent_ms" / UINT48)
CONFIG = Struct(
    "id" / Int16ul,
    "entries" / GreedyRange(Struct("key" / Int16ul, "value" / Prefixed(Int8ub, GreedyBytes))),
)
COMMAND = Struct(
    "id" / Int16ul,
    "code" / Int8ub,
    "arguments" / GreedyBytes,
    Check(lambda c: len(c.arguments) == ARGUMENTS.get(c.code, len(c.arguments))),
)
OFFER = Struct(
    "size" / Int32ul,
    "sha256" / Bytes(32),
    "version" / Prefixed(Int8ub, GreedyBytes),
    "signature" / Prefixed(Int8ub, GreedyBytes),
)
CHUNK = Struct("offset" / Int32ul, "data" / GreedyBytes)
UPDATE = Struct(
    "id" / Int16ul,
    "kind" / Int8ub,
    Check(lambda c: c.kind in (wire.U_OFFER, wire.U_CHUNK)),
    "content" / IfThenElse(this.kind == wire.U_OFFER, OFFER, CHUNK),
)
SECTIONS = {
    wire.S_SAMPLES: SAMPLES,
    wire.S_INFO: INFO,
    wire.S_DESCRIPTORS: DESCRIPTORS,
    wire.S_STATE: STATE,
    wire.S_TEXT: GreedyBytes,
    wire.S_CLOCK: CLOCK,
    wire.S_OUTCOME: OUTCOME,
    wire.S_ACK: ACK,
    wire.S_TIME: TIME,
    wire.S_CONFIG: CONFIG,
    wire.S_COMMAND: COMMAND,
    wire.S_UPDATE: UPDATE,
}
SECTION = Struct(
    "tag" / Int8ub,
    Check(lambda c: c.tag < 0x80 or c.tag in SECTIONS),
    "data"
    / Prefixed(
        Int16ul,
        Switch(
            this.tag,
            {tag: _whole(declaration) for tag, declaration in SECTIONS.items()},
            default=GreedyBytes,
        ),
    ),
)
BODY = FocusedSeq("sections", "sections" / GreedyRange(SECTION), Terminated)


def _trailer_bytes(frame: Any) -> int:
    return wire.TAG_BYTES if frame.type_flags & wire.AUTH else wire.CRC_BYTES


def _sections_fit(frame: Any) -> bool:
    """Whether the sections are those of the frame's type, and within the frame's limits."""
    type = frame.type_flags & wire.TYPE_MASK
    tags = [section.tag for section in frame.sections]
    samples = [section.data for section in frame.sections if section.tag == wire.S_SAMPLES]
    values = sum(each.n * _width(column) for each in samples for column in each.columns)
    channels = [
        (c.quantity, c.instance or 0) for each in samples for c in each.columns if c.quantity
    ]
    return (
        type in ALLOWED
        and len(tags) <= wire.SECTIONS_MAX
        and values <= wire.VALUES_MAX
        and len(set(channels)) == len(channels)
        and all(tag < 0x80 or tag in ALLOWED[type] for tag in tags)
        and (type not in REQUIRED or tags.count(REQUIRED[type]) == 1)
    )


FRAME = Struct(
    "magic_version" / Const(wire.MAGIC, Int8ub),
    "type_flags" / Int8ub,
    Check(this.type_flags & wire.RESERVED_FLAGS == 0),
    "body_len" / Rebuild(Int16ul, lambda c: len(BODY.build(c.sections))),
    Check(lambda c: wire.HEADER + c.body_len + _trailer_bytes(c) <= wire.FRAME_MAX_COLLECTOR),
    "node" / Int32ul,
    "boot" / Int32ul,
    "seq" / Int32ul,
    "sections" / FixedSized(this.body_len, BODY),
    "trailer" / Bytes(_trailer_bytes),
    Terminated,
    Check(_sections_fit),
)


def trailer(frame: bytes, key: bytes | None) -> bytes:
    """The trailer that a frame (with any trailer) should have: its tag under key, or its CRC."""
    if frame[1] & wire.AUTH:
        if key is None:
            raise ValueError("an authenticated frame needs a key")
        return hmac.digest(key, frame[: -wire.TAG_BYTES], "sha256")[: wire.TAG_BYTES]
    return crc32(frame[: -wire.CRC_BYTES], wire.CRC_START).to_bytes(4, "little")
