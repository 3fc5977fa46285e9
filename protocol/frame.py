"""Open frames: header and trailer. Runs on the board."""

import struct
from binascii import crc32

from protocol import wire
from protocol.builder import FrameBuilder, Overflow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from protocol.mac import Mac

__all__ = ("FrameBuilder", "Overflow", "open_frame", "parse_header")


def parse_header(view: "bytes | memoryview") -> "tuple[int, int, int, int, int, int]":
    """(type, flags, body length, node, boot, seq) of a frame.

    Raises FrameError short, magic, version, incompatible or length.
    """
    length = len(view)
    if length < wire.HEADER + wire.CRC_BYTES:
        raise wire.FrameError("short")
    magic, flags, body, node, boot, seq = struct.unpack_from("<BBHIII", view, 0)
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


def equal(first: "bytes | memoryview", second: "bytes | memoryview", length: int) -> bool:
    """Compare length bytes in a time that does not depend on where they differ."""
    difference = 0
    for index in range(length):
        difference |= first[index] ^ second[index]
    return difference == 0
