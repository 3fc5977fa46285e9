"""Stored frames decoded, and why those are not that were left undecoded."""

from collector.archive import archive
from protocol import frame_bounds
from protocol.decoder import Frame, decode
from protocol.outline import RAISED, outline_of
from protocol.wire import FrameError


def decode_stored(frame: archive.StoredFrame) -> Frame:
    """A stored frame, decoded; FrameError for each that is to be treated as undecoded.

    All who read readings ask here, so that a frame is undecoded for all of them or for none. What
    was left undecoded because nobody knew how is decoded once this program does.
    """
    reason = why_undecoded(frame)
    if reason:
        raise FrameError(reason, "left undecoded")
    decoded = decode(frame.raw)
    for samples in decoded.samples:
        if samples.times_ms:
            reason = frame_bounds.beyond(samples.times_ms[0], samples.times_ms[-1])
            if reason:
                raise FrameError(reason, "beyond what a board can send")
    return decoded


def why_undecoded(frame: archive.StoredFrame) -> str:
    """Why a stored frame was left undecoded, "" when it was not; the values are not looked at.

    An archive of before there were bounds holds frames beyond them as ordinary ones.
    """
    if frame.state == archive.FAILED:
        return RAISED
    if frame.state == archive.UNDECODED:
        return outline_of(frame.raw, frame.type).reason
    return frame_bounds.beyond(frame.first_ms, frame.last_ms)
