"""Write frames into one preallocated buffer. Runs on the board."""

import struct
from binascii import crc32

from protocol import const

TYPE_CHECKING = False
if TYPE_CHECKING:
    from protocol.mac import Mac

_MAGIC = const(0xA1)
_AUTH = const(0x20)
_HEADER = const(16)
_TAG_BYTES = const(8)
_CRC_START = const(0x314E534F)


class Overflow(Exception):
    """More was written than the frame holds: begin it anew with less."""


class FrameBuilder:
    """Frames of up to size bytes, in buf; pos is where the next byte goes.

    With mac a frame carries its 8-byte tag, without it ends in a CRC (for tests only). Past
    limit bytes are counted, not written; finish() then raises Overflow.
    """

    def __init__(self, size: int, mac: "Mac | None") -> None:
        self.buf = bytearray(size)
        self.view = memoryview(self.buf)
        self.pos = 0
        self.limit = size - (_TAG_BYTES if mac else 4)
        self._mac = mac
        self._section = 0

    def begin(self, type: int, node: int, boot: int, seq: int) -> None:
        """Start a frame; what the buffer held is gone."""
        if self._mac:
            type |= _AUTH
        struct.pack_into("<BBHIII", self.buf, 0, _MAGIC, type, 0, node, boot, seq)
        self.pos = _HEADER

    def room(self) -> int:
        """Bytes that still fit before the trailer; negative when too much was written."""
        return self.limit - self.pos

    def open(self, tag: int) -> None:
        """Start a section; close() ends it."""
        self._section = self.pos
        self.number(tag, 3)

    def close(self) -> None:
        """End the open section: its length is known now."""
        end = self.pos
        self.pos = self._section + 1
        self.number(end - self.pos - 2, 2)
        self.pos = end

    def u8(self, value: int) -> None:
        """One byte; a signed one too."""
        at = self.pos
        if at < self.limit:
            self.buf[at] = value & 255
        self.pos = at + 1

    def number(self, value: int, length: int) -> None:
        """length bytes, little-endian."""
        while length:
            self.u8(value)
            value >>= 8
            length -= 1

    def u16(self, value: int) -> None:
        """Two bytes, little-endian."""
        self.number(value, 2)

    def u32(self, value: int) -> None:
        """Four bytes, little-endian."""
        self.number(value, 4)

    def u48(self, value: int) -> None:
        """Six bytes, little-endian."""
        self.number(value, 6)

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
        for byte in data:
            self.u8(byte)

    def finish(self) -> int:
        """Write body length and trailer; the frame is buf up to the length that this returns."""
        end = self.pos
        if end > self.limit:
            raise Overflow
        struct.pack_into("<H", self.buf, 2, end - _HEADER)
        if not self._mac:
            struct.pack_into("<I", self.buf, end, crc32(self.view[:end], _CRC_START))
            return end + 4
        tag = self._mac.tag(self.view[:end])
        for index in range(_TAG_BYTES):
            self.buf[end + index] = tag[index]
        return end + _TAG_BYTES
