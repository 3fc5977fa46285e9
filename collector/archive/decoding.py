"""Stored frames decoded, and why those are not that were left undecoded."""

from collector.archive import archive
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
    return decode(frame.raw)


def why_undecoded(frame: archive.StoredFrame) -> str:
    """Why a stored frame was left undecoded, "" when it was not; the values are not looked at."""
    if frame.state == archive.FAILED:
        return RAISED
    return outline_of(frame.raw, frame.type).reason if frame.state == archive.UNDECODED else ""
