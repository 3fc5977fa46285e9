"""The wire format declared with construct: all but the bit columns, for parsing and building.

Values of columns stay in `bits`. FRAME parses and builds whole frames; tag or CRC is a plain
field, see trailer(). The words behind a Check say what is wrong when it fails (schema_walk).
"""

import hmac
from binascii import crc32
from collections.abc import Callable, Iterable
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

RUN = Struct("rows" / Int8ub, Check(this.rows > 0) * "a run of no rows", "code" / Int8ub)
SPARSE = Struct("steps" / Int8ub, "k" / Int8ub, Check(this.k <= 13) * "k is 13 at most")
BANDS = Struct(
    "first" / Int8ub,
    "count" / Int8ub,
    Check(lambda c: 1 <= c["count"] <= 256 - c.first) * "no bands, or bands beyond number 255",
)
COLUMN = Struct(
    "quantity" / Int8ub,
    Check(this.quantity != ESCAPE) * "this quantity is reserved",
    "ctl" / Int8ub,
    "instance" / If(this.ctl & 0x10, Int8ub),
    "exponent" / If(this.ctl & 0x80, Int8sb),
    Check(lambda c: c.exponent is None or -9 <= c.exponent <= 9) * "outside -9 to 9",
    Check(lambda c: c.quantity < EXPERIMENTAL or c.exponent is not None)
    * "an experimental quantity needs an exponent",
    "vector" / If(this.ctl & 0x20, BANDS),
    "quality" / If(this.ctl & 0x40, PrefixedArray(Int8ub, RUN)),
    "sparse" / If(lambda c: c.ctl & 15 == 14, SPARSE),
    "first_value" / ZIGZAG,
)


def _width(column: Any) -> int:
    return column.vector["count"] if column.vector else 1


def _each_column(rule: Callable[[Any, Any], bool]) -> Any:
    """Whether a rule of (samples, column) holds for each column."""
    return Check(lambda samples: all(rule(samples, column) for column in samples.columns))


def _channels(columns: Iterable[Any]) -> list[tuple[int, int]]:
    return [(column.quantity, column.instance or 0) for column in columns]


def _all_different(columns: Iterable[Any]) -> bool:
    channels = _channels(columns)
    return len(set(channels)) == len(channels)


SAMPLES = Struct(
    "t0" / UINT48,
    "period" / UVARINT,
    "n" / Int8ub,
    Check(this.n > 0) * "no rows",
    "ncol" / Rebuild(Int8ub, lambda c: len(c.columns)),
    Check(this.ncol <= wire.COLUMNS_MAX) * "more than 64 columns",
    "columns" / Array(this.ncol, COLUMN),
    Check(lambda c: _all_different(c.columns)) * "two columns of one quantity and instance",
    _each_column(lambda s, c: sum(run.rows for run in c.quality or ()) <= s.n)
    * "quality runs of more rows than there are",
    _each_column(lambda s, c: c.sparse is None or (1 <= c.sparse.steps < s.n and not c.vector))
    * "sparse steps that cannot be, or sparse in a vector",
    _each_column(lambda s, c: s.n * _width(c) > 1 or c.ctl & 15 == 15)
    * "a single value that is not coded as constant",
    Check(lambda c: all(column.quantity for column in c.columns[1:]))
    * "time residuals that are not the first column",
    _each_column(lambda s, c: c.quantity or not c.ctl & 0xF0) * "time residuals that have options",
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
    Check(_info_fits) * "a key that is there twice, or one of the wrong length",
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
    Check(lambda c: len(c.boots) <= wire.BOOTS_MAX) * "more than 32 boots",
    Check(lambda c: all(a.boot < b.boot for a, b in zip(c.boots, c.boots[1:], strict=False)))
    * "boots that are not in rising order",
    Check(lambda c: all(1 <= kept.lowest <= kept.highest + 1 for kept in c.boots))
    * "a lowest that is 0 or above highest + 1",
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
    Check(lambda c: len(c.arguments) == ARGUMENTS.get(c.code, len(c.arguments)))
    * "arguments of another length than this command's",
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
    Check(lambda c: c.kind in (wire.U_OFFER, wire.U_CHUNK)) * "neither an offer nor a chunk",
    "content" / Switch(this.kind, {wire.U_OFFER: OFFER, wire.U_CHUNK: CHUNK}, default=GreedyBytes),
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
    Check(lambda c: c.tag < 0x80 or c.tag in SECTIONS)
    * "unknown, and so marked that it must not be skipped",
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


def _type(frame: Any) -> int:
    return int(frame.type_flags) & wire.TYPE_MASK


def _samples(frame: Any) -> list[Any]:
    return [section.data for section in frame.sections if section.tag == wire.S_SAMPLES]


def _values(frame: Any) -> int:
    return sum(each.n * _width(column) for each in _samples(frame) for column in each.columns)


def _measured(frame: Any) -> list[Any]:
    """The columns of all SAMPLES but for time residuals."""
    return [c for each in _samples(frame) for c in each.columns if c.quantity]


def _none_misplaced(frame: Any) -> bool:
    tags = {section.tag for section in frame.sections}
    return {tag for tag in tags if tag >= 0x80} <= ALLOWED.get(_type(frame), tags)


def _required_once(frame: Any) -> bool:
    tags = [section.tag for section in frame.sections]
    return _type(frame) not in REQUIRED or tags.count(REQUIRED[_type(frame)]) == 1


FRAME = Struct(
    "magic_version" / Const(wire.MAGIC, Int8ub),
    "type_flags" / Int8ub,
    Check(this.type_flags & wire.RESERVED_FLAGS == 0) * "reserved bits are set",
    Check(lambda c: _type(c) in ALLOWED) * "an unknown type",
    "body_len" / Rebuild(Int16ul, lambda c: len(BODY.build(c.sections))),
    Check(lambda c: wire.HEADER + c.body_len + _trailer_bytes(c) <= wire.FRAME_MAX_COLLECTOR)
    * "a frame of more than 4,096 bytes",
    "node" / Int32ul,
    "boot" / Int32ul,
    "seq" / Int32ul,
    "sections" / FixedSized(this.body_len, BODY),
    "trailer" / Bytes(_trailer_bytes),
    Terminated,
    Check(lambda c: len(c.sections) <= wire.SECTIONS_MAX) * "more than 64 sections",
    Check(lambda c: _values(c) <= wire.VALUES_MAX) * "more than 16,384 values",
    Check(lambda c: _all_different(_measured(c))) * "two columns of one quantity and instance",
    Check(_none_misplaced) * "a critical section that this type of frame has not",
    Check(_required_once) * "the section that makes this type is missing, or there twice",
)


def trailer(frame: bytes, key: bytes | None) -> bytes:
    """The trailer that a frame (with any trailer) should have: its tag under key, or its CRC."""
    if frame[1] & wire.AUTH:
        if key is None:
            raise ValueError("an authenticated frame needs a key")
        return hmac.digest(key, frame[: -wire.TAG_BYTES], "sha256")[: wire.TAG_BYTES]
    return crc32(frame[: -wire.CRC_BYTES], wire.CRC_START).to_bytes(4, "little")
