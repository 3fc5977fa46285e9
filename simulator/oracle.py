"""The oracle: after a run, where is every frame and every reading, and is each one right?

Every finding is a sentence. A run without findings lost nothing, doubled nothing, changed nothing.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from collector.archive.storage import Storage
from collector.ledger.ledger import Alarm
from collector.readings.observation import QUALITY_NAMES
from protocol import wire
from protocol.decoder import decode
from protocol.reading import Reading, readings
from protocol.wire import FrameError
from simulator.fleet_node import FEED_CHANNELS, feed_quality, feed_values
from simulator.truth import Position, Truth
from simulator.upstream_model import QUALITIES, Origin, Upstream

FINDINGS_MAX = 50
TIME_SLACK_MS = 20
COLUMN = {quantity: index for index, (quantity, _) in enumerate(FEED_CHANNELS)}
DELIVERABLE = frozenset(QUALITY_NAMES.index(word) for word in QUALITIES)
RESTORED_ALARMS = frozenset(("lost_here",))
"""Alarms that only a restored archive may raise."""


@dataclass
class Allowed:
    """What this run may have done beyond perfection."""

    restored: bool = False
    duplicates: bool = False
    clock_wrong: bool = False
    alarms: frozenset[str] = frozenset()
    """Kinds of alarms that the faults of this run may raise."""
    elsewhere: frozenset[Position] = frozenset()
    """Frames that another collector has taken and acknowledged."""
    dropped: Counter[int] = field(default_factory=Counter)
    """Frames that each board itself has counted as dropped."""


@dataclass
class Verdict:
    """Counts of everything, and the findings."""

    frames_built: int = 0
    frames_durable: int = 0
    frames_stored: int = 0
    frames_dropped: int = 0
    frames_lost: int = 0
    frames_cut: int = 0
    frames_elsewhere: int = 0
    readings_stored: int = 0
    readings_delivered: int = 0
    readings_refused: int = 0
    readings_withheld: int = 0
    power_cuts: int = 0
    unaccounted: int = 0
    findings: list[str] = field(default_factory=list)

    def find(self, text: str, amount: int = 1) -> None:
        """Note something that must not be."""
        self.unaccounted += amount
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(text)


def judge(
    truth: Truth,
    storage: Storage,
    connection: sqlite3.Connection,
    upstream: Upstream,
    allowed: Allowed,
) -> Verdict:
    """Compare archive, network and ledger with the truth."""
    verdict = Verdict(frames_built=len(truth.frames), power_cuts=truth.power_cuts)
    _judge_sampling(truth, verdict)
    for position in truth.rewritten:
        verdict.find(f"{name_of(position)} was built twice with different bytes")
    stored = _judge_archive(truth, connection, verdict)
    _judge_frames(truth, stored, allowed, verdict)
    held: set[Origin] = set()
    for position, raw in stored.items():
        _judge_readings(truth, storage, upstream, position, raw, allowed, verdict, held)
    _judge_network(upstream, held, allowed, verdict)
    _judge_ledger(truth, storage, stored, allowed, verdict)
    return verdict


def name_of(position: Position) -> str:
    """A frame for people."""
    return f"frame {position[0]:08x}/{position[1]}/{position[2]}"


def _judge_sampling(truth: Truth, verdict: Verdict) -> None:
    """Every instant was sampled, and every sample is in a frame, but for one batch a power cut."""
    framed: Counter[tuple[int, int]] = Counter()
    for position, raw in truth.frames.items():
        if raw[1] & 31 == wire.T_DATA:
            framed[position[:2]] += sum(len(s.times_ms) for s in decode(raw).samples)
    for key, boot in truth.boots.items():
        wanted = 0 if boot.safe_mode else boot.sampling_ms // boot.interval_ms
        if abs(boot.rows - wanted) > 1:
            verdict.find(f"node {key[0]:08x}: {boot.rows} samples where {wanted} were due")
        open_rows = boot.rows - framed[key]
        if open_rows < 0 or open_rows > (boot.batch_rows if boot.cut else 0):
            verdict.find(f"node {key[0]:08x}: {open_rows} samples of boot {key[1]} are in no frame")


def _judge_archive(
    truth: Truth, connection: sqlite3.Connection, verdict: Verdict
) -> dict[Position, bytes]:
    stored: dict[Position, bytes] = {}
    for node, boot, seq, raw in connection.execute("SELECT node, boot, seq, raw FROM frame"):
        position = (node, boot, seq)
        if position in stored:
            verdict.find(f"{name_of(position)} is stored twice")
        elif position not in truth.frames:
            verdict.find(f"{name_of(position)} is stored, but no board made it")
        elif truth.frames[position] != raw:
            verdict.find(f"{name_of(position)} is stored with other bytes than the board's")
        stored[position] = raw
    verdict.frames_stored = len(stored)
    return stored


def _judge_frames(
    truth: Truth, stored: dict[Position, bytes], allowed: Allowed, verdict: Verdict
) -> None:
    missing: Counter[int] = Counter()
    for position in truth.frames:
        node, number, seq = position
        boot = truth.boots[node, number]
        if seq > boot.issued:
            verdict.frames_cut += position not in stored
            continue
        verdict.frames_durable += 1
        if position in stored:
            continue
        if position in allowed.elsewhere:
            verdict.frames_elsewhere += 1
        else:
            missing[node] += 1
    for node, count in missing.items():
        dropped = min(count, allowed.dropped[node])
        verdict.frames_dropped += dropped
        lost = count - dropped
        if lost and allowed.restored:
            verdict.frames_lost += lost
        elif lost:
            verdict.find(f"node {node:08x}: {lost} durable frames are nowhere", lost)
    if verdict.frames_cut > 8 * max(1, truth.power_cuts) and truth.power_cuts:
        verdict.find(f"{verdict.frames_cut} frames were not durable at {truth.power_cuts} cuts")
    if verdict.frames_cut and not truth.power_cuts:
        verdict.find(f"{verdict.frames_cut} frames never became durable", verdict.frames_cut)


def _judge_readings(
    truth: Truth,
    storage: Storage,
    upstream: Upstream,
    position: Position,
    raw: bytes,
    allowed: Allowed,
    verdict: Verdict,
    held: set[Origin],
) -> None:
    if raw[1] & 31 != wire.T_DATA or position not in truth.frames:
        return
    try:
        frame = decode(raw)
    except FrameError as error:
        verdict.find(f"{name_of(position)} cannot be decoded: {error}")
        return
    boot = truth.boots[position[:2]]
    for place, reading in enumerate(readings(frame)):
        verdict.readings_stored += 1
        instant = reading.uptime_ms // boot.interval_ms
        column = COLUMN[reading.quantity]
        quality = feed_quality(boot.seed, instant, column)
        if reading.quality != quality:
            verdict.find(f"{name_of(position)}: a quality is {reading.quality}, it was {quality}")
        said = feed_values(boot.seed, instant)[column]
        if reading.raw != said and quality != wire.Q_MISSING:
            verdict.find(f"{name_of(position)}: a value is not what the sensor said")
        origin = Origin(*position, place)
        held.add(origin)
        _judge_delivery(truth, storage, upstream, origin, reading, allowed, verdict)


def _judge_delivery(
    truth: Truth,
    storage: Storage,
    upstream: Upstream,
    origin: Origin,
    reading: Reading,
    allowed: Allowed,
    verdict: Verdict,
) -> None:
    times = upstream.times_accepted[origin]
    if reading.quality not in DELIVERABLE:
        verdict.readings_withheld += 1
        if times or origin in upstream.refused:
            verdict.find(f"{name_of(origin[:3])}: a reading of quality {reading.quality} was sent")
        return
    if origin in upstream.refused:
        verdict.readings_refused += 1
        if times and not allowed.duplicates:
            verdict.find(f"{name_of(origin[:3])}: a refused reading was accepted")
        return
    if times == 0:
        verdict.find(f"{name_of(origin[:3])}: reading {origin.place} was not delivered")
        return
    verdict.readings_delivered += 1
    if times > 1 and not allowed.duplicates:
        verdict.find(f"{name_of(origin[:3])}: reading {origin.place} was delivered {times} times")
    told = upstream.held[origin]
    if abs(told.value - reading.value) > 1e-9 or told.quality != reading.quality:
        verdict.find(f"{name_of(origin[:3])}: reading {origin.place} was delivered as {told.value}")
    if allowed.clock_wrong:
        return
    true_ms = truth.boots[origin[:2]].began_unix_ms + reading.uptime_ms
    bound_ms = told.error_ms + TIME_SLACK_MS
    if abs(told.time_ms - true_ms) > bound_ms:
        off_ms = told.time_ms - true_ms
        verdict.find(f"{name_of(origin[:3])}: off by {off_ms} ms, the bound is {bound_ms} ms")


def judge_alarms(alarms: Iterable[Alarm], allowed: Allowed, verdict: Verdict) -> None:
    """No alarm without its cause: a loss that heals by a resend broke a promise all the same."""
    for alarm in alarms:
        if alarm.kind in allowed.alarms or (allowed.restored and alarm.kind in RESTORED_ALARMS):
            continue
        verdict.find(f"node {alarm.node:08x}: alarm {alarm.kind}: {alarm.text}")


def _judge_network(
    upstream: Upstream, held: set[Origin], allowed: Allowed, verdict: Verdict
) -> None:
    strays = len(set(upstream.held) - held)
    if strays and not allowed.restored:
        verdict.find(f"the network holds {strays} readings that the archive lacks", strays)


def _judge_ledger(
    truth: Truth,
    storage: Storage,
    stored: dict[Position, bytes],
    allowed: Allowed,
    verdict: Verdict,
) -> None:
    for node, number in truth.boots:  # after a restart old boots are read when they are asked for
        storage.ledger.known_boot(node, number)
    elsewhere = Counter(node for node, *_ in allowed.elsewhere - stored.keys())
    for node in {node for node, _ in truth.boots}:
        account = storage.ledger.account(node)
        total = sum(1 for position in stored if position[0] == node)
        if account.stored != total:
            verdict.find(f"node {node:08x}: ledger says {account.stored} stored, it is {total}")
        if account.lost != elsewhere[node] and not allowed.restored:
            text = f"ledger says {account.lost} lost, another collector has {elsewhere[node]}"
            verdict.find(f"node {node:08x}: {text}", abs(account.lost - elsewhere[node]))
        if account.outstanding and not allowed.restored:
            verdict.find(f"node {node:08x}: ledger waits for {account.outstanding} frames")
