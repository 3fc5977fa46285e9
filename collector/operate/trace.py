"""One reading's whole way: frame, receipt, acknowledgement, and each network's answer."""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from collector.archive.archive import STATES, StoredFrame
from collector.archive.decoding import decode_stored
from collector.clock import HOUR_MS
from collector.operate.times import show_time
from collector.readings.observation import PLACE_QUANTITIES, quality_name
from collector.storage.archive_view import ArchiveView
from collector.timeline.frozen_time import Line, read_lines
from collector.timeline.timeline import Stamp
from protocol.reading import Reading, readings
from protocol.registry import REGISTRY
from protocol.wire import FrameError

SEARCH_MS = HOUR_MS
FRAMES_MAX = 8


@dataclass(frozen=True, slots=True)
class TracedReading:
    """A reading in words: what, which value, how good; a missing one and a position have none."""

    quantity: str
    instance: int
    band: int | None
    value: float | None
    unit: str
    quality: str
    raw: int | None
    sample: int
    index: int


@dataclass(frozen=True, slots=True)
class NetworkAnswer:
    """What became of the frame at one network."""

    sink: str
    state: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Trace:
    """A frame near the wanted time, the readings of its nearest sample, and its fate."""

    frame: StoredFrame
    state: str
    uptime_ms: int
    stamp: Stamp | None
    readings: Sequence[TracedReading]
    acknowledged: bool
    answers: Sequence[NetworkAnswer]


def trace(view: ArchiveView, node: int, unix_ms: int, sinks: Sequence[str]) -> list[Trace]:
    """Frames whose samples lie nearest to a time, of each boot that has any within the hour."""
    found: dict[int, tuple[int, StoredFrame, list[Reading]]] = {}
    for frame in view.between(node, unix_ms - SEARCH_MS, unix_ms + SEARCH_MS):
        nearest = _nearest(view, frame, unix_ms)
        if nearest is None:
            continue
        distance_ms, sample = nearest
        if frame.boot not in found or distance_ms < found[frame.boot][0]:
            found[frame.boot] = distance_ms, frame, sample
    names = sorted({*sinks, *_sinks_of(view.connection)})
    return [
        _traced(view, frame, sample, names)
        for _, frame, sample in sorted(found.values(), key=lambda entry: entry[0])[:FRAMES_MAX]
    ]


def _nearest(
    view: ArchiveView, frame: StoredFrame, unix_ms: int
) -> tuple[int, list[Reading]] | None:
    """Distance in time and readings of a frame's sample that is nearest to a time."""
    try:
        decoded = list(readings(decode_stored(frame)))
    except FrameError:
        return None
    stamp = view.timeline.time_of(frame.node, frame.boot, frame.first_ms)
    if not decoded or stamp is None:
        return None
    offset_ms = stamp.unix_ms - frame.first_ms
    uptime_ms = min(
        {reading.uptime_ms for reading in decoded}, key=lambda at: abs(at + offset_ms - unix_ms)
    )
    chosen = [reading for reading in decoded if reading.uptime_ms == uptime_ms]
    return abs(uptime_ms + offset_ms - unix_ms), chosen


def _traced(
    view: ArchiveView, frame: StoredFrame, sample: Sequence[Reading], sinks: Sequence[str]
) -> Trace:
    uptime_ms = sample[0].uptime_ms
    boot = view.ledger.known_boot(frame.node, frame.boot)
    return Trace(
        frame=frame,
        state=STATES[frame.state],
        uptime_ms=uptime_ms,
        stamp=view.timeline.time_of(frame.node, frame.boot, uptime_ms),
        readings=[_in_words(reading) for reading in sample],
        acknowledged=boot is not None and _covered(boot.ack(), frame.seq),
        answers=[_answer(view.connection, sink, frame) for sink in sinks],
    )


def _in_words(reading: Reading) -> TracedReading:
    row = REGISTRY.get(reading.quantity)
    told = reading.quantity not in PLACE_QUANTITIES
    return TracedReading(
        quantity=row.name if row else f"quantity {reading.quantity}",
        instance=reading.instance,
        band=reading.band,
        value=reading.value if told else None,
        unit=row.unit if row else "",
        quality=quality_name(reading.quality),
        raw=reading.raw if told else None,
        sample=reading.sample,
        index=reading.column,
    )


def _covered(ack: tuple[int, int], seq: int) -> bool:
    upto, mask = ack
    return seq <= upto or (seq >= upto + 2 and bool(mask >> (seq - upto - 2) & 1))


def _answer(connection: sqlite3.Connection, sink: str, frame: StoredFrame) -> NetworkAnswer:
    if not _has_books(connection):
        return NetworkAnswer(sink, "not yet sent")
    rejected = connection.execute(
        "SELECT count(*), min(reason) FROM rejected WHERE sink = ? AND frame = ?", (sink, frame.id)
    ).fetchone()
    detail = f"{rejected[0]} readings rejected: {rejected[1]}" if rejected[0] else ""
    if _within(connection, "done", sink, frame.id):
        sent = _sent_as(connection, frame)
        return NetworkAnswer(sink, "done", "; ".join(part for part in (sent, detail) if part))
    if _within(connection, "inflight", sink, frame.id):
        return NetworkAnswer(sink, "on its way", detail)
    partial = connection.execute(
        "SELECT 1 FROM partial WHERE sink = ? AND frame = ?", (sink, frame.id)
    ).fetchone()
    return NetworkAnswer(sink, "partly done" if partial else "not yet sent", detail)


def _within(connection: sqlite3.Connection, table: str, sink: str, frame: int) -> bool:
    row = connection.execute(
        f"SELECT 1 FROM {table} WHERE sink = ? AND first_id <= ? AND last_id >= ? LIMIT 1",
        (sink, frame, frame),
    ).fetchone()
    return row is not None


def _sent_as(connection: sqlite3.Connection, frame: StoredFrame) -> str:
    """The time under which the frame's first sample went out, when it was frozen."""
    for row in read_lines(connection, [(frame.node, frame.boot)]):
        if row[3] <= frame.first_ms and frame.last_ms <= row[4]:
            return f"first sample as {show_time(Line(*row[5:]).at(frame.first_ms))}"
    return ""


def _sinks_of(connection: sqlite3.Connection) -> Iterator[str]:
    if _has_books(connection):
        for (name,) in connection.execute("SELECT DISTINCT sink FROM done"):
            yield name


def _has_books(connection: sqlite3.Connection) -> bool:
    """Whether a sink has ever run here."""
    row = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'done'").fetchone()
    return row is not None
