"""Consistent overhead byte stuffing: frames without zeros, between zeros. Runs on the board."""

from protocol.wire import FrameError


def encoded_max(length: int) -> int:
    """Room that encode_into needs for length bytes."""
    return length + length // 254 + 3


def encode_into(src: "bytes | bytearray | memoryview", length: int, dst: bytearray) -> int:
    """Write 0x00, the stuffed src[:length] and 0x00 into dst; bytes written."""
    dst[0] = 0
    code = 1
    out = 2
    run = 1
    for index in range(length):
        byte = src[index]
        if byte:
            dst[out] = byte
            out += 1
            run += 1
            if run < 255:
                continue
        dst[code] = run
        code = out
        out += 1
        run = 1
    dst[code] = run
    dst[out] = 0
    return out + 1


def decode_into(src: "bytes | bytearray | memoryview", length: int, dst: bytearray) -> int:
    """Unstuff src[:length] (what lies between zeros) into dst; bytes written.

    dst may be src. Raises FrameError cobs when a group runs past the end or holds a zero.
    """
    out = 0
    at = 0
    while at < length:
        run = src[at]
        end = at + run
        if not run or end > length:
            raise FrameError("cobs")
        at += 1
        while at < end:
            byte = src[at]
            if not byte:
                raise FrameError("cobs")
            dst[out] = byte
            out += 1
            at += 1
        if run < 255 and at < length:
            dst[out] = 0
            out += 1
    return out
