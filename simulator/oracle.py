"""The oracle: after a run, where is every frame and every reading, and is each one right?

Every finding is a sentence. A run without findings lost nothing, doubled nothing, changed nothing.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from collector.archive import archive
from collector.forward import book_tables
from collector.ledger.ledger import Alarm
from collector.readings.observation import QUALITY_NAMES
from collector.storage.storage import Storage
from collector.timeline.timeline import Timeline
from protocol import quantity, wire
from protocol.decoder import Frame, decode
from protocol.reading import Reading, readings
from protocol.wire import FrameError
from simulator.books import SINK, Books, Fate
from simulator.fleet_node import FEED_CHANNELS, feed_quality, feed_values
from simulator.truth import Boot, Position, Truth
from simulator.upstream_model import QUALITIES, HeldFrame, Upstream

FINDINGS_MAX = 50
HELD_MAX = 200_000
"""Readings delivered and not judged yet, from which on frames are judged during the run."""
NEITHER = ""
TIME_SLACK_MS = 20
UNHEARD_MAX = 12
"""Frames that a board may have dropped while their ACK was on its way: a window, and RAM's."""
COARSER = {quantity.LATITUDE: 0.0046, quantity.LONGITUDE: 0.0076, quantity.ALTITUDE: 100.0}
"""A position goes out as the middle of its cell of 1 km: half a cell at 53 degrees, half a step."""
COLUMN = {number: index for index, (number, _) in enumerate(FEED_CHANNELS)}
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
    readings_lost_by_network: int = 0
    """Delivered, and no longer held by a network that has lost its memory."""
    readings_undated: int = 0
    """Archived, and of a boot that power ended before it had heard the time."""
    power_cuts: int = 0
    unaccounted: int = 0
    findings: list[str] = field(default_factory=list)

    def find(self, text: str, amount: int = 1) -> None:
        """Note something that must not be."""
        self.unaccounted += amount
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(text)


class Oracle:
    """Judges frames as soon as all is said of them, so that a city's week fits in memory."""

    def __init__(self, truth: Truth, upstream: Upstream, allowed: Allowed, books: Books) -> None:
        self.fates: Counter[Fate] = Counter()
        """Of stored readings that the collector has settled."""
        self._contested: dict[Position, tuple[Counter[Fate], frozenset[int]]] = {}
        """Fates of frames of which the network refused a reading: it may not be believed yet."""
        self.books = books
        self.truth = truth
        self.upstream = upstream
        self.allowed = allowed
        self.verdict = Verdict()
        self._enough = HELD_MAX
        self._timeline: Timeline | None = None

    def tidy(self) -> None:
        """Judge the frames that the network holds whole, when it holds many readings by now."""
        if self.upstream.held < self._enough:
            return
        for position, raw in list(self.truth.frames.items()):
            if raw[1] & 31 != wire.T_DATA:
                self.truth.condense(position, 0)
            elif position in self.upstream.frames:
                self._tidy_frame(position)
        self._enough = max(HELD_MAX, 2 * self.upstream.held)

    def _tidy_frame(self, position: Position) -> None:
        frame = decode(self.truth.frames[position])
        if not self._is_told(position, frame):
            return
        self._judge_readings(position, frame)
        self.truth.condense(position, rows_in(frame))
        self.upstream.condense(position)

    def _is_told(self, position: Position, frame: Frame) -> bool:
        """Whether the network has answered for all readings of a frame that go out."""
        held = self.upstream.frames.get(position, HeldFrame())
        return all(
            place in held.readings or place in held.vanished or place in held.refused
            for place, reading in enumerate(readings(frame))
            if reading.quality in DELIVERABLE
        )

    def all_told(self, storage: Storage, connection: sqlite3.Connection) -> bool:
        """Whether of each frame that is open the network has heard, or nobody can date it."""
        self._timeline = storage.timeline
        done = book_tables.load(connection, SINK).done
        for first, last in done.missing(1, storage.ledger.newest_id):
            for stored in archive.frames(connection, first, last, last - first + 1):
                position = (stored.node, stored.boot, stored.seq)
                if position not in self.truth.frames:
                    continue
                frame = decode(stored.raw)
                undated = any(
                    self._is_undated(self.truth.boots[position[:2]], reading)
                    for reading in readings(frame)
                )
                if stored.type == wire.T_DATA and not (undated or self._is_told(position, frame)):
                    return False
        return True

    def judge(self, storage: Storage, connection: sqlite3.Connection) -> Verdict:
        """Compare archive, network and ledger with the truth."""
        truth, verdict = self.truth, self.verdict
        self._timeline = storage.timeline
        verdict.frames_built = sum(1 for _ in truth.positions())
        verdict.power_cuts = truth.power_cuts
        _judge_sampling(truth, verdict)
        for position in truth.rewritten:
            verdict.find(f"{name_of(position)} was built twice with different bytes")
        stored = self._judge_archive(connection)
        _judge_frames(truth, stored, self.allowed, verdict)
        self._judge_network(stored)
        _judge_ledger(truth, storage, stored, self.allowed, verdict)
        self._settle_contested(connection)
        for said in self.books.judge(connection, self.fates, restored=self.allowed.restored):
            verdict.find(said)
        return verdict

    def _judge_archive(self, connection: sqlite3.Connection) -> set[Position]:
        verdict = self.verdict
        stored: set[Position] = set()
        done = book_tables.load(connection, SINK).done
        for frame_id, node, boot, seq, raw in connection.execute(
            "SELECT id, node, boot, seq, raw FROM frame"
        ):
            position = (node, boot, seq)
            built = self.truth.is_built(position, raw)
            if position in stored:
                verdict.find(f"{name_of(position)} is stored twice")
            elif built is None:
                verdict.find(f"{name_of(position)} is stored, but no board made it")
            elif not built:
                verdict.find(f"{name_of(position)} is stored with other bytes than the board's")
            if position not in stored and position in self.truth.frames:
                self._judge_stored(position, raw, frame_id in done)
            stored.add(position)
        verdict.frames_stored = len(stored)
        return stored

    def _judge_stored(self, position: Position, raw: bytes, done: bool) -> None:
        if raw[1] & 31 != wire.T_DATA:
            return
        try:
            frame = decode(raw)
        except FrameError as error:
            self.verdict.find(f"{name_of(position)} cannot be decoded: {error}")
            return
        self._judge_readings(position, frame, done)

    def _judge_readings(self, position: Position, frame: Frame, done: bool = True) -> None:
        boot = self.truth.boots[position[:2]]
        held = self.upstream.frames.get(position, HeldFrame())
        outcomes: Counter[str] = Counter()
        for place, reading in enumerate(readings(frame)):
            self.verdict.readings_stored += 1
            self._judge_value(position, boot, reading)
            outcomes[self._judge_delivery(position, boot, place, reading, held)] += 1
        del outcomes[NEITHER]
        fates = Counter({Fate(position[0], word): count for word, count in outcomes.items()})
        if held.refused or not done:
            self._contested[position] = fates, frozenset(held.refused)
        else:
            self.fates.update(fates)

    def _settle_contested(self, connection: sqlite3.Connection) -> None:
        """Of a frame that is open only what the books call settled is."""
        state = book_tables.load(connection, SINK)
        for (node, boot, seq), (fates, refused) in self._contested.items():
            row = connection.execute(
                "SELECT id FROM frame WHERE node = ? AND boot = ? AND seq = ?", (node, boot, seq)
            ).fetchone()
            if row is None or row[0] in state.done:
                self.fates.update(fates)
                continue
            mask = state.partial.get(row[0], 0)
            rejected = sum(mask >> place & 1 for place in refused)
            self.fates[Fate(node, book_tables.REJECTED)] += rejected
            self.fates[Fate(node, book_tables.DELIVERED)] += mask.bit_count() - rejected

    def _judge_value(self, position: Position, boot: Boot, reading: Reading) -> None:
        if boot.heard is not None:
            said = boot.heard.judge(reading)
            if said:
                self.verdict.find(f"{name_of(position)}: {said}")
            return
        instant = reading.uptime_ms // boot.interval_ms
        column = COLUMN[reading.quantity]
        quality = feed_quality(boot.seed, instant, column)
        if reading.quality != quality:
            said = f"a quality is {reading.quality}, it was {quality}"
            self.verdict.find(f"{name_of(position)}: {said}")
        if quality != wire.Q_MISSING and reading.raw != feed_values(boot.seed, instant)[column]:
            self.verdict.find(f"{name_of(position)}: a value is not what the sensor said")

    def _judge_delivery(
        self, position: Position, boot: Boot, place: int, reading: Reading, held: HeldFrame
    ) -> str:
        """What the books have to say of the reading."""
        verdict, allowed = self.verdict, self.allowed
        told = held.readings.get(place) or held.vanished.get(place)
        if reading.quality not in DELIVERABLE:
            verdict.readings_withheld += 1
            if told or place in held.refused:
                verdict.find(
                    f"{name_of(position)}: a reading of quality {reading.quality} was sent"
                )
            return book_tables.LEFT_OUT
        if place in held.refused:
            verdict.readings_refused += 1
            if told and not allowed.duplicates:
                verdict.find(f"{name_of(position)}: a refused reading was accepted")
            return book_tables.REJECTED
        if told is None and self._is_undated(boot, reading):
            verdict.readings_undated += 1
            return NEITHER
        if told is None:
            verdict.find(f"{name_of(position)}: reading {place} was not delivered")
            return NEITHER
        verdict.readings_delivered += 1
        verdict.readings_lost_by_network += place not in held.readings
        if told.times > 1 and not allowed.duplicates:
            verdict.find(f"{name_of(position)}: reading {place} was delivered {told.times} times")
        apart = COARSER.get(reading.quantity, 1e-9)
        same = reading.value is not None and abs(told.value - reading.value) <= apart
        if not same or told.quality != reading.quality:
            verdict.find(f"{name_of(position)}: reading {place} was delivered as {told.value}")
        if allowed.clock_wrong:
            return book_tables.DELIVERED
        true_ms = boot.began_unix_ms + reading.uptime_ms
        bound_ms = told.error_ms + TIME_SLACK_MS
        if abs(told.time_ms - true_ms) > bound_ms:
            off_ms = told.time_ms - true_ms
            verdict.find(f"{name_of(position)}: off by {off_ms} ms, the bound is {bound_ms} ms")
        return book_tables.DELIVERED

    def _is_undated(self, boot: Boot, reading: Reading) -> bool:
        """Whether nobody can know when it was: power failed before the board had heard a time."""
        if not boot.cut or boot.synchronised or self._timeline is None:
            return False
        return self._timeline.time_of(reading.node, reading.boot, reading.uptime_ms) is None

    def _judge_network(self, stored: set[Position]) -> None:
        upstream, verdict = self.upstream, self.verdict
        if not self.allowed.duplicates:
            for position, count in upstream.again.items():
                verdict.find(f"{name_of(position)}: {count} readings were delivered again", count)
        if self.allowed.restored:
            return
        strays = 0
        for position, places in upstream.judged.items():
            if position not in stored:
                strays += places.bit_count()
        for position, held in upstream.frames.items():
            if position not in stored or position not in self.truth.frames:
                strays += len(held.readings)
        if strays:
            verdict.find(f"the network holds {strays} readings that the archive lacks", strays)


def rows_in(frame: Frame) -> int:
    """How many samples a frame holds."""
    return sum(len(samples.times_ms) for samples in frame.samples)


def name_of(position: Position) -> str:
    """A frame for people."""
    return f"frame {position[0]:08x}/{position[1]}/{position[2]}"


def _judge_sampling(truth: Truth, verdict: Verdict) -> None:
    """Every instant was sampled, and every sample is in a frame, but for one batch a power cut."""
    framed: Counter[tuple[int, int]] = Counter()
    for position, raw in truth.frames.items():
        if raw[1] & 31 == wire.T_DATA:
            framed[position[:2]] += rows_in(decode(raw))
    for key, boot in truth.boots.items():
        wanted = 0 if boot.safe_mode else boot.sampling_ms // boot.interval_ms
        if abs(boot.rows - wanted) > 1:
            verdict.find(f"node {key[0]:08x}: {boot.rows} samples where {wanted} were due")
        open_rows = boot.rows - boot.framed_rows - framed[key]
        most_rows = boot.batch_rows if boot.cut else boot.kept_rows
        if open_rows > most_rows or open_rows < (0 if boot.cut else boot.kept_rows):
            verdict.find(f"node {key[0]:08x}: {open_rows} samples of boot {key[1]} are in no frame")


def _judge_frames(truth: Truth, stored: set[Position], allowed: Allowed, verdict: Verdict) -> None:
    missing: Counter[int] = Counter()
    for position in truth.positions():
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
    starts = Counter(node for node, _ in truth.boots)
    for node in missing.keys() | allowed.dropped.keys():
        count = missing[node]
        dropped = min(count, allowed.dropped[node])
        twice = allowed.dropped[node] - count
        if (
            twice > UNHEARD_MAX
            and starts[node] == 1
            and not (allowed.restored or allowed.elsewhere)
        ):
            # After a restart a board does not know what was acknowledged, and counts that too.
            verdict.find(f"node {node:08x}: counted {twice} drops of frames that are stored", twice)
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


def judge_alarms(alarms: Iterable[Alarm], allowed: Allowed, verdict: Verdict) -> None:
    """No alarm without its cause: a loss that heals by a resend broke a promise all the same."""
    for alarm in alarms:
        if alarm.kind in allowed.alarms or (allowed.restored and alarm.kind in RESTORED_ALARMS):
            continue
        verdict.find(f"node {alarm.node:08x}: alarm {alarm.kind}: {alarm.text}")


def _judge_ledger(
    truth: Truth,
    storage: Storage,
    stored: set[Position],
    allowed: Allowed,
    verdict: Verdict,
) -> None:
    for node, number in truth.boots:  # after a restart old boots are read when they are asked for
        storage.ledger.known_boot(node, number)
    elsewhere = Counter(node for node, *_ in allowed.elsewhere - stored)
    totals = Counter(node for node, *_ in stored)
    for node in {node for node, _ in truth.boots}:
        account = storage.ledger.account(node)
        total = totals[node]
        if account.stored != total:
            verdict.find(f"node {node:08x}: ledger says {account.stored} stored, it is {total}")
        if account.lost != elsewhere[node] and not allowed.restored:
            text = f"ledger says {account.lost} lost, another collector has {elsewhere[node]}"
            verdict.find(f"node {node:08x}: {text}", abs(account.lost - elsewhere[node]))
        if account.outstanding and not allowed.restored:
            verdict.find(f"node {node:08x}: ledger waits for {account.outstanding} frames")
