"""What a log of frames has to know of each without decoding its values: when, and whether at all.

Decoding a frame takes most of the time that a frame costs; who only keeps it does without.
"""

from typing import NamedTuple

from protocol import frame_bounds, wire
from protocol.decoder import decode
from protocol.envelope import sections
from protocol.varint import read_uvarint
from protocol.wire import FrameError

KEPT_TYPES = frozenset({wire.T_DATA, wire.T_HELLO, wire.T_LOG, wire.T_RESULT})
RAISED = "failed"
"""The reason of a frame whose processing raised: a fault of this program."""

_KNOWN_CRITICAL = frozenset({wire.S_SAMPLES, wire.S_STATE, wire.S_OUTCOME})
_CRITICAL = 0x80
_TIME_RESIDUAL = 0
_T0_BYTES = 6


class Outline(NamedTuple):
    """Uptimes of a frame's first and last sample (0, 0 without any), and what sections it has.

    reason: why the frame must stay undecoded, "" when it need not. clocks: the content of each
    CLOCK section, none of a frame that stays undecoded.
    """

    first_ms: int
    last_ms: int
    reason: str
    irregular: bool
    clocks: tuple[bytes, ...]

    @property
    def extra_cost(self) -> int:
        """What it costs to index the frame beyond an ordinary one."""
        return frame_bounds.extra_cost(self.first_ms, self.last_ms, len(self.clocks))


def undecoded(reason: str) -> Outline:
    """Of a frame that may enter nothing: no times, no clocks."""
    return Outline(0, 0, reason, False, ())


def why_not_indexed(seen: Outline) -> str:
    """The one place that says "this frame may not be indexed, because ..."; "" when it may.

    Asked for each authentic sequenced frame, when it comes and when it is replayed. A frame with a
    reason is archived, acknowledged, counted under it and left undecoded: it enters neither hour
    index nor timeline, and no reader decodes it. Nothing here may depend on anything but the
    outline, for a frame has to be recognised again after a restart. To bound something else, add
    a test and a word here (and to docs/archive.md), and what it needs to `Outline`; keep it cheap.
    """
    reason = frame_bounds.beyond(seen.first_ms, seen.last_ms)
    if not reason and len(seen.clocks) > frame_bounds.CLOCKS_MAX:
        return "clocks"
    return reason


def outline_of(raw: bytes, type: int, times: tuple[int, int] | None = None) -> Outline:
    """The outline of an authentic sequenced frame, with its reason; raises nothing.

    times: first and last uptime as the archive has them, of a frame that is stored already.
    """
    try:
        seen = outline(raw[wire.HEADER : -wire.TAG_BYTES])
        if not seen.reason and times is not None:
            seen = seen._replace(first_ms=times[0], last_ms=times[1])
        elif not seen.reason and seen.irregular:
            seen = exact(raw, seen)
        if not seen.reason and type not in KEPT_TYPES:
            seen = seen._replace(reason="type", clocks=())
        beyond = why_not_indexed(seen)
    except Exception:
        return undecoded(RAISED)
    return undecoded(seen.reason or beyond) if beyond else seen


def outline(body: bytes) -> Outline:
    """Walks the sections of an authentic frame's body."""
    first_ms = last_ms = 0
    reason = ""
    irregular = seen = False
    clocks: list[bytes] = []
    try:
        found = sections(body)
    except FrameError as error:
        return undecoded(error.reason)
    for tag, start, end in found:
        if tag == wire.S_SAMPLES:
            times = _samples(body, start, end)
            if times is None:
                reason = "samples"
            else:
                first_ms = min(first_ms, times[0]) if seen else times[0]
                last_ms = max(last_ms, times[1])
                irregular = irregular or times[2]
                seen = True
        elif tag == wire.S_CLOCK:
            clocks.append(bytes(body[start:end]))
        elif tag & _CRITICAL and tag not in _KNOWN_CRITICAL:
            reason = "critical"
    return Outline(first_ms, last_ms, reason, irregular, () if reason else tuple(clocks))


def _samples(body: bytes, start: int, end: int) -> tuple[int, int, bool] | None:
    """First and last uptime of a SAMPLES section by its period, and whether residuals follow."""
    position = start + _T0_BYTES
    if position > end:
        return None
    t0_ms = int.from_bytes(body[start:position], "little")
    try:
        period_ms, position = read_uvarint(body, position)
    except FrameError:
        return None
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
    except FrameError as error:
        return seen._replace(reason=error.reason, clocks=())
    return seen._replace(
        first_ms=min(part[0] for part in times), last_ms=max(part[-1] for part in times)
    )
