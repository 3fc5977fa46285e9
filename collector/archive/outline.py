"""What intake has to know of a frame without decoding its values: when, and whether it could be.

Decoding a frame takes most of the time that a frame costs; a log of frames does not need it.
"""

from typing import NamedTuple

from protocol import wire
from protocol.decoder import decode
from protocol.wire import FrameError

_KNOWN_CRITICAL = frozenset({wire.S_SAMPLES, wire.S_STATE, wire.S_OUTCOME})
_CRITICAL = 0x80
_HEAD_BYTES = 3
_TIME_RESIDUAL = 0


class Outline(NamedTuple):
    """Uptimes of a frame's first and last sample (0, 0 without any), and what sections it has.

    clocks holds the content of each CLOCK section, none of a frame that must stay undecoded.
    """

    first_ms: int
    last_ms: int
    decodable: bool
    irregular: bool
    clocks: tuple[bytes, ...]


_UNDECODABLE = Outline(0, 0, False, False, ())


def outline(body: bytes | memoryview) -> Outline:
    """Walks the sections of an authentic frame's body; a damaged one is not decodable."""
    position = 0
    end = len(body)
    first_ms = last_ms = 0
    decodable = True
    irregular = seen = False
    clocks: list[bytes] = []
    while position < end:
        if end - position < _HEAD_BYTES:
            return _UNDECODABLE
        tag = body[position]
        length = body[position + 1] | body[position + 2] << 8
        position += _HEAD_BYTES
        if length > end - position:
            return _UNDECODABLE
        if tag == wire.S_SAMPLES:
            times = _samples(body, position, position + length)
            if times is None:
                decodable = False
            else:
                first_ms = min(first_ms, times[0]) if seen else times[0]
                last_ms = max(last_ms, times[1])
                irregular = irregular or times[2]
                seen = True
        elif tag == wire.S_CLOCK:
            clocks.append(bytes(body[position : position + length]))
        elif tag & _CRITICAL and tag not in _KNOWN_CRITICAL:
            decodable = False
        position += length
    return Outline(first_ms, last_ms, decodable, irregular, tuple(clocks) if decodable else ())


def _samples(body: bytes | memoryview, start: int, end: int) -> tuple[int, int, bool] | None:
    """First and last uptime of a SAMPLES section by its period, and whether residuals follow."""
    if end - start < 9:
        return None
    t0_ms = int.from_bytes(body[start : start + 6], "little")
    position = start + 6
    period_ms = shift = 0
    while True:
        if position >= end or shift > 42:
            return None
        byte = body[position]
        position += 1
        period_ms |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    if end - position < 2:
        return None
    rows = body[position]
    columns = body[position + 1]
    if not rows:
        return None
    irregular = columns > 0 and position + 2 < end and body[position + 2] == _TIME_RESIDUAL
    return t0_ms, t0_ms + (rows - 1) * period_ms, irregular


def exact(raw: bytes, seen: Outline) -> Outline:
    """The same with the times that the residuals of irregular samples give; decodes the frame."""
    try:
        times = [samples.times_ms for samples in decode(raw).samples]
    except FrameError:
        return seen._replace(decodable=False, clocks=())
    return seen._replace(
        first_ms=min(part[0] for part in times), last_ms=max(part[-1] for part in times)
    )
