"""Numbers in seven bits a byte, low first, the high bit set on all but the last; zigzag for signs.

For the collector. A board has its own in builder, downlink and setting_rules, which work in the
frame's buffer and allocate nothing; columns and rice have unzigzag() inlined in their loops.
"""

from collections.abc import Iterator

from protocol.wire import FrameError

U32 = 0xFFFFFFFF
BYTES_MAX = 5
"""Of a number of the wire, which is below 2**32."""
_WIDEST_SHIFT = 63


def read_uvarint(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """An unsigned number below 2**32 and the position after it; raises FrameError varint."""
    value = shift = 0
    for byte in data[at : at + BYTES_MAX]:
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            if value > U32 or (not byte and shift):
                break
            return value, at
        shift += 7
    raise FrameError("varint", "cut off, above 32 bits, or longer than needed")


def read_uvarints(data: bytes) -> Iterator[int]:
    """All numbers of data, here of up to 64 bits; raises ValueError for a cut or wider one."""
    value = shift = 0
    for byte in data:
        value |= (byte & 127) << shift
        if byte < 128:
            yield value
            value = shift = 0
        else:
            shift += 7
            if shift > _WIDEST_SHIFT:
                raise ValueError("a number of more than 64 bits")
    if shift:
        raise ValueError("cut within a number")


def append_uvarint(out: bytearray, value: int) -> None:
    """Write a number that is not negative behind out."""
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)


def uvarint(value: int) -> bytes:
    """A number of the wire; raises ValueError outside 0 to 2**32 - 1."""
    if not 0 <= value <= U32:
        raise ValueError(f"{value} is outside 0 to 2**32 - 1")
    out = bytearray()
    append_uvarint(out, value)
    return bytes(out)


def zigzag(value: int) -> int:
    """0, -1, 1, -2 become 0, 1, 2, 3."""
    return value << 1 if value >= 0 else (-value << 1) - 1


def unzigzag(code: int) -> int:
    """0, 1, 2, 3 become 0, -1, 1, -2."""
    return (code >> 1) ^ -(code & 1)
