"""Taking frames of the archive into what memory knows: at start, and after a failed commit."""

import sqlite3
from collections.abc import Iterable, Iterator

from collector.archive import CONFLICT
from collector.hour_index import HourIndex
from collector.ledger import Ledger
from collector.outline import outline
from collector.timeline import Timeline
from collector.timeline_fit import LIVE, SOURCES, Knot
from protocol import wire
from protocol.decoder import decode
from protocol.wire import FrameError

Row = tuple[int, int, int, int, int, int, int, int, bytes]
"""(id, node, boot, seq, state, received, first_ms, last_ms, raw)."""


def frames_after(connection: sqlite3.Connection, frame_id: int) -> Iterator[Row]:
    """Frames stored after one, oldest first."""
    return connection.execute(
        "SELECT id, node, boot, seq, state, received, first_ms, last_ms, raw FROM frame"
        " WHERE id > ? ORDER BY id",
        (frame_id,),
    )


def take_back(ledger: Ledger, hours: HourIndex, timeline: Timeline, rows: Iterable[Row]) -> int:
    """Puts stored frames on the ledger, into the hour index and the timeline; returns how many."""
    frames = 0
    for frame_id, node, boot, seq, state, received, first_ms, last_ms, raw in rows:
        known = ledger.replay(frame_id, node, boot, seq, state == CONFLICT, last_ms, raw)
        if known.anchor_ms is None:
            known.anchor_ms = abs(received) - last_ms
            known.dirty = True
        hours.add(frame_id, node, boot, seq, known.anchor_ms, first_ms, last_ms)
        if outline(memoryview(raw)[wire.HEADER : -wire.TAG_BYTES]).has_clock:
            observe_clocks(timeline, node, boot, raw, received)
        frames += 1
    return frames


def observe_clocks(timeline: Timeline, node: int, boot: int, raw: bytes, received: int) -> None:
    """Gives the timeline what a stored frame says of its board's clock."""
    try:
        clocks = decode(raw).clocks
    except FrameError:
        return
    for clock in clocks:
        if clock.source in SOURCES and clock.source != LIVE:
            offset_ms = clock.unix_ms - clock.uptime_ms
            knot = Knot(clock.uptime_ms, offset_ms, clock.error_ms, clock.source)
            timeline.observe_clock(node, boot, knot, received if received >= 0 else None)
