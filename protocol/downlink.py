"""Read the sections of frames that come down to a board, without copying. Runs on the board."""

import struct

from protocol import wire
from protocol.wire import FrameError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def section(body: memoryview, tag: int) -> memoryview:
    """The one critical section of a downlink body.

    Others that are not critical are skipped. Raises FrameError section, critical or absent.
    """
    at = 0
    end = len(body)
    start = stop = -1
    while at < end:
        if end - at < 3:
            raise FrameError("section")
        found = body[at]
        begin = at + 3
        at = begin + (body[at + 1] | body[at + 2] << 8)
        if at > end:
            raise FrameError("section")
        if found == tag and start < 0:
            start, stop = begin, at
        elif found == tag:
            raise FrameError("absent")
        elif found & 0x80:
            raise FrameError("critical")
    if start < 0:
        raise FrameError("absent")
    return body[start:stop]


def ack_collector(data: memoryview) -> int:
    """The id of the collector that sent an ACK; raises FrameError ack for a malformed one."""
    if len(data) < 4 or (len(data) - 4) % 12:
        raise FrameError("ack")
    return int(struct.unpack_from("<I", data, 0)[0])


def ack_entries(data: memoryview) -> "Iterator[tuple[int, int, int]]":
    """(boot, upto, mask) of each entry of an ACK."""
    for at in range(4, len(data) - 11, 12):
        boot, upto, mask = struct.unpack_from("<III", data, at)
        yield boot, upto, mask


def settles(seq: int, upto: int, mask: int) -> bool:
    """Whether an ACK entry covers seq."""
    if seq <= upto:
        return True
    bit = seq - upto - 2
    return 0 <= bit < 32 and mask >> bit & 1 == 1


def time_answer(data: memoryview) -> "tuple[int, int, int, int]":
    """(uptime_ms, counter, Unix ms at receipt, Unix ms at sending) of TIME."""
    if len(data) != 22:
        raise FrameError("time")
    low, high, counter, in_low, in_high, out_low, out_high = struct.unpack_from("<IHIIHIH", data, 0)
    return low | high << 32, counter, in_low | in_high << 32, out_low | out_high << 32


def request_id(data: memoryview) -> int:
    """The id of CONFIG, COMMAND or UPDATE, for the RESULT; raises FrameError section without."""
    if len(data) < 2:
        raise FrameError("section")
    return data[0] | data[1] << 8


def settings(data: memoryview) -> "Iterator[tuple[int, memoryview]]":
    """(key, value) of each setting of CONFIG; raises FrameError config on an overrun."""
    at = 2
    end = len(data)
    if end < at:
        raise FrameError("config")
    while at < end:
        if end - at < 3:
            raise FrameError("config")
        key = data[at] | data[at + 1] << 8
        start = at + 3
        at = start + data[at + 2]
        if at > end:
            raise FrameError("config")
        yield key, data[start:at]


def integer(value: memoryview) -> int:
    """A setting's zigzag uvarint as int32; raises FrameError varint."""
    code = shift = 0
    last = len(value) - 1
    for index in range(len(value)):
        byte = value[index]
        code |= (byte & 127) << shift
        shift += 7
        if (byte < 128) != (index == last) or index > 4:
            raise FrameError("varint")
    if last < 0 or code > 0xFFFFFFFF or (last and not value[last]):
        raise FrameError("varint")
    return (code >> 1) ^ -(code & 1)


def command(data: memoryview) -> "tuple[int, memoryview]":
    """(code, arguments) of COMMAND; raises FrameError command for arguments of a wrong length."""
    if len(data) < 3:
        raise FrameError("command")
    code = data[2]
    length = len(data) - 3
    if code in (wire.C_OTHER_SLOT, wire.C_DROP_SPOOL) and length != 4:
        raise FrameError("command")
    if code == wire.C_RESEND and length != 12:
        raise FrameError("command")
    return code, data[3:]


def number(arguments: memoryview, index: int) -> int:
    """The u32 number index of a COMMAND's arguments."""
    return int(struct.unpack_from("<I", arguments, 4 * index)[0])


def update_kind(data: memoryview) -> int:
    """U_OFFER or U_CHUNK; raises FrameError update for anything else or a malformed one."""
    if len(data) >= 7 and data[2] == wire.U_CHUNK:
        return wire.U_CHUNK
    if len(data) < 41 or data[2] != wire.U_OFFER:
        raise FrameError("update")
    signature = 40 + data[39]
    if signature >= len(data) or signature + 1 + data[signature] != len(data):
        raise FrameError("update")
    return wire.U_OFFER


def offer(data: memoryview) -> "tuple[int, memoryview, str, memoryview]":
    """(size, SHA-256, version, signature) of an UPDATE that update_kind found an offer."""
    size = struct.unpack_from("<I", data, 3)[0]
    end = 40 + data[39]
    return int(size), data[7:39], str(bytes(data[40:end]), "utf-8"), data[end + 1 :]


def chunk(data: memoryview) -> "tuple[int, memoryview]":
    """(offset, bytes) of an UPDATE that update_kind found a chunk."""
    return int(struct.unpack_from("<I", data, 3)[0]), data[7:]
