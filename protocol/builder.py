"""Write frames into one preallocated buffer. Runs on the board."""

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


# More was written than the frame holds: begin it anew with less. MicroPython has it ready.
Overflow = OverflowError


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
        self.pos = 0
        self.number(type << 8 | _MAGIC, _HEADER - 12)
        self.number(node, 4)
        self.number(boot, 4)
        self.number(seq, 4)

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
        at = self.pos
        self.pos = end = at + len(data)
        if end <= self.limit:
            self.buf[at:end] = data

    def finish(self) -> int:
        """Write body length and trailer; the frame is buf up to the length that this returns."""
        end = self.pos
        if end > self.limit:
            raise Overflow
        self.pos = 2
        self.number(end - _HEADER, 2)
        self.pos = end
        body = self.view[:end]
        length = _TAG_BYTES if self._mac else 4
        tag = self._mac.tag(body) if self._mac else crc32(body, _CRC_START).to_bytes(4, "little")
        self.buf[end : end + length] = tag[:length]
        return end + length
