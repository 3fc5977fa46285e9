"""How many readings a stored frame is on the ledger with: one rule for all who count."""

from collector.archive.archive import CONFLICT, StoredFrame
from collector.archive.decoding import decode_stored
from protocol import wire
from protocol.wire import FrameError


def readings_of(frame: StoredFrame) -> int:
    """Readings of a frame.

    Only DATA holds any. A conflict holds none, for it is evidence and never sent. A frame that
    cannot be decoded counts as one, so that it never goes without a trace.
    """
    if frame.type != wire.T_DATA or frame.state == CONFLICT:
        return 0
    try:
        sections = decode_stored(frame).samples
    except FrameError:
        return 1
    return sum(len(column.values) for samples in sections for column in samples.columns)
