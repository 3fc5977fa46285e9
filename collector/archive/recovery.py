"""Taking frames of the archive into what memory knows: at start, and after a failed commit."""

import sqlite3
from collections.abc import Iterable, Iterator

from collector.archive.archive import CONFLICT
from collector.archive.hour_index import HourIndex
from collector.archive.outline import outline
from collector.archive.timeline import Timeline
from collector.archive.timeline_fit import LIVE, SOURCES, Knot
from collector.ledger.ledger import Ledger
from collector.ledger.ledger_boot import BootLedger
from protocol import wire
from protocol.parsers import parse_clock
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
        seen = outline(memoryview(raw)[wire.HEADER : -wire.TAG_BYTES])
        observe_clocks(timeline, node, boot, seen.clocks, received)
        anchor_ms = known.anchor_ms
        if anchor_ms is None:
            anchor_ms = choose_anchor(known, timeline, received, last_ms)
        hours.add(frame_id, node, boot, seq, anchor_ms, first_ms, last_ms)
        frames += 1
    return frames


def choose_anchor(boot: BootLedger, timeline: Timeline, received: int, last_ms: int) -> int:
    """Fixes the hour shift of a boot by its time, or by its first frame; returns it.

    For a boot that nothing dates any serves, and one near the truth serves best: its number starts
    at the Unix second of its board's provisioning.
    """
    anchor_ms = timeline.anchor_ms(boot.node, boot.boot)
    if anchor_ms is None:
        anchor_ms = received - last_ms if received >= 0 else boot.boot * 1_000
    boot.anchor(anchor_ms)
    return anchor_ms


def observe_clocks(
    timeline: Timeline, node: int, boot: int, sections: Iterable[bytes], received: int
) -> None:
    """Gives the timeline what a stored frame's CLOCK sections say; nothing if one is damaged."""
    try:
        clocks = [parse_clock(data) for data in sections]
    except FrameError:
        return
    for clock in clocks:
        if clock.source in SOURCES and clock.source != LIVE:
            offset_ms = clock.unix_ms - clock.uptime_ms
            knot = Knot(clock.uptime_ms, offset_ms, clock.error_ms, clock.source)
            timeline.observe_clock(node, boot, knot, received if received >= 0 else None)
