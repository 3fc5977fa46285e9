"""Build and open frames: header, sections, trailer. Runs on the board."""

import struct
from binascii import crc32

from protocol import wire
from protocol.mac import Mac, equal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD = "<BBHIII"


class Overflow(Exception):
    """The frame has no room for what was to be written; begin it anew with less."""


class FrameBuilder:
    """Writes frames into one preallocated buffer of size bytes.

    With mac frames carry its 8-byte tag, without they end in a CRC (tests only).
    """

    def __init__(self, size: int, mac: "Mac | None") -> None:
        self.buf = bytearray(size)
        self.view = memoryview(self.buf)
        self.pos = 0
        self._mac = mac
        self._limit = size - (wire.TAG_BYTES if mac else wire.CRC_BYTES)
        self._section = 0

    def begin(self, type: int, node: int, boot: int, seq: int) -> None:
        """Start a frame; whatever the buffer held is gone."""
        flags = wire.AUTH if self._mac else 0
        struct.pack_into(_HEAD, self.buf, 0, wire.MAGIC, type | flags, 0, node, boot, seq)
        self.pos = wire.HEADER
        self._section = 0

    def room(self) -> int:
        """Bytes that still fit before the trailer."""
        return self._limit - self.pos

    def _take(self, length: int) -> int:
        start = self.pos
        if start + length > self._limit:
            raise Overflow
        self.pos = start + length
        return start

    def open(self, tag: int) -> None:
        """Start a section; close() ends it."""
        start = self._take(3)
        self.buf[start] = tag
        self._section = start

    def close(self) -> None:
        """End the open section: its length is known now."""
        length = self.pos - self._section - 3
        self.buf[self._section + 1] = length & 255
        self.buf[self._section + 2] = length >> 8
        self._section = 0

    def abandon(self) -> None:
        """Take the open section back, as if it had never been opened."""
        self.pos = self._section
        self._section = 0

    def u8(self, value: int) -> None:
        """One byte, modulo 256 (a signed byte too)."""
        self.buf[self._take(1)] = value & 255

    def u16(self, value: int) -> None:
        """Two bytes, little-endian."""
        struct.pack_into("<H", self.buf, self._take(2), value)

    def u32(self, value: int) -> None:
        """Four bytes, little-endian."""
        struct.pack_into("<I", self.buf, self._take(4), value)

    def u48(self, value: int) -> None:
        """Six bytes, little-endian."""
        struct.pack_into("<IH", self.buf, self._take(6), value & 0xFFFFFFFF, value >> 32)

    def uvarint(self, value: int) -> None:
        """Seven bits a byte, low first, the high bit set on all but the last."""
        while value > 127:
            self.u8(value | 128)
            value >>= 7
        self.u8(value)

    def zigzag(self, value: int) -> None:
        """A signed number as uvarint: 0, -1, 1, -2 become 0, 1, 2, 3."""
        self.uvarint(value << 1 if value >= 0 else (-value << 1) - 1)

    def raw(self, data: "bytes | bytearray | memoryview") -> None:
        """Bytes as they are."""
        length = len(data)
        start = self._take(length)
        self.buf[start : start + length] = data

    def finish(self) -> int:
        """Write body length and trailer; the frame's length (it is buf[:length])."""
        end = self.pos
        struct.pack_into("<H", self.buf, 2, end - wire.HEADER)
        if self._mac:
            tag = self._mac.tag(self.view[:end])
            for index in range(wire.TAG_BYTES):
                self.buf[end + index] = tag[index]
            return end + wire.TAG_BYTES
        struct.pack_into("<I", self.buf, end, crc32(self.view[:end], wire.CRC_START))
        return end + wire.CRC_BYTES


def parse_header(view: "bytes | memoryview") -> "tuple[int, int, int, int, int, int]":
    """(type, flags, body length, node, boot, seq) of a frame.

    Raises FrameError short, magic, version, incompatible or length.
    """
    length = len(view)
    if length < wire.HEADER + wire.CRC_BYTES:
        raise wire.FrameError("short")
    magic, flags, body, node, boot, seq = struct.unpack_from(_HEAD, view, 0)
    if magic >> 4 != wire.MAGIC >> 4:
        raise wire.FrameError("magic")
    if magic != wire.MAGIC:
        raise wire.FrameError("version")
    if flags & wire.RESERVED_FLAGS:
        raise wire.FrameError("incompatible")
    trailer = wire.TAG_BYTES if flags & wire.AUTH else wire.CRC_BYTES
    if wire.HEADER + body + trailer != length:
        raise wire.FrameError("length")
    return flags & wire.TYPE_MASK, flags & wire.AUTH, body, node, boot, seq


def open_frame(view: memoryview, mac: "Mac | None") -> memoryview:
    """The body of a frame whose header and trailer are right.

    Raises FrameError as parse_header does, downgrade or tag; without mac key or crc.
    """
    _, authenticated, body, _, _, _ = parse_header(view)
    end = wire.HEADER + body
    if not authenticated:
        if mac:
            raise wire.FrameError("downgrade")
        if crc32(view[:end], wire.CRC_START) != struct.unpack_from("<I", view, end)[0]:
            raise wire.FrameError("crc")
    elif not mac:
        raise wire.FrameError("key")
    elif not equal(mac.tag(view[:end]), view[end:], wire.TAG_BYTES):
        raise wire.FrameError("tag")
    return view[wire.HEADER : end]


def sections(body: memoryview) -> "Iterator[tuple[int, memoryview]]":
    """(tag, data) of each section of a body; raises FrameError section on an overrun."""
    at = 0
    end = len(body)
    while at < end:
        if end - at < 3:
            raise wire.FrameError("section")
        tag = body[at]
        length = body[at + 1] | body[at + 2] << 8
        at += 3
        if length > end - at:
            raise wire.FrameError("section")
        yield tag, body[at : at + length]
        at += length
