"""Duty cycle: sample, sleep, and report every few rows; RTC memory carries what must not be lost.

Record in RTC memory: a CRC-32 over all that follows; boot, seq, LIVE counter, downlink seq,
collector as u32; uptime and sleep as u48; the clock's state; awake and linked ms of the last cycle;
uptime in s of the last ACK and of the next HELLO; columns u8, rows u8; each row's uptime as u48,
then an i32 and a quality for each column.
"""

from binascii import crc32
from struct import calcsize, pack, unpack_from

from firmware import health
from protocol import quantity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firmware.node import Node
    from firmware.types import Row

DEEPSLEEP_RESET = 4
RTC_BYTES = 2048
REPORT_MS = 30_000  # longest time on line for one report
START_MS = 1_500  # from waking to the first step, with the file system mounted
LEAST_SLEEP_MS = 2_000
VERSION = 1
_HEAD = "<BIIIIIIHIHIHIHIIBIIIIBB"
_HEAD_BYTES = calcsize(_HEAD)
# mA at 5 V when board.json's "power" does not say: awake, with the radio; and uA asleep.
AWAKE_MA, LINK_MA, SLEEP_UA = 45, 110, 150


def _split(value: int) -> "tuple[int, int]":
    return value & 0xFFFFFFFF, value >> 32


class Memory:
    """What one wake hands to the next."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.boot = self.seq = self.live = self.down = self.collector = 0
        self.uptime_ms = self.sleep_ms = 0
        self.clock = (0, 0, 0, 0, 0)
        self.awake_ms = self.link_ms = 0
        self.ack_s = self.hello_s = 0
        self.rows = bytearray()

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return 6 + 5 * self.columns

    @property
    def room(self) -> int:
        """How many rows RTC memory holds."""
        return (RTC_BYTES - 4 - _HEAD_BYTES) // self.row_bytes

    @property
    def count(self) -> int:
        """How many rows are kept."""
        return len(self.rows) // self.row_bytes

    def pack(self) -> bytes:
        """The record."""
        unix, set_at, error, slept, source = self.clock
        data = pack(
            _HEAD,
            VERSION,
            self.boot,
            self.seq,
            self.live,
            self.down,
            self.collector,
            *_split(self.uptime_ms),
            *_split(self.sleep_ms),
            *_split(unix),
            *_split(set_at),
            error,
            slept,
            source,
            self.awake_ms,
            self.link_ms,
            self.ack_s,
            self.hello_s,
            self.columns,
            self.count,
        )
        data += self.rows
        return pack("<I", crc32(data)) + data

    def unpack(self, record: bytes) -> bool:
        """Take up a record; False when it is not whole, or of another board file."""
        if len(record) < 4 + _HEAD_BYTES or unpack_from("<I", record, 0)[0] != crc32(record[4:]):
            return False
        fields = unpack_from(_HEAD, record, 4)
        if fields[0] != VERSION or fields[21] != self.columns:
            return False
        self.boot, self.seq, self.live, self.down, self.collector = fields[1:6]
        self.uptime_ms = fields[6] | fields[7] << 32
        self.sleep_ms = fields[8] | fields[9] << 32
        unix, set_at = fields[10] | fields[11] << 32, fields[12] | fields[13] << 32
        self.clock = (unix, set_at, fields[14], fields[15], fields[16])
        self.awake_ms, self.link_ms, self.ack_s, self.hello_s = fields[17:21]
        self.rows = bytearray(record[4 + _HEAD_BYTES :])
        expected: int = fields[22] * self.row_bytes
        return len(self.rows) == expected


class Vitals:
    """A sensor of the board itself: awake time and estimated charge of the cycle before."""

    CHANNELS = ((quantity.AWAKE_TIME, None), (quantity.CHARGE, None))
    LEAD_MS = 0
    bus_errors = checksum_errors = 0

    def __init__(self, board: "dict[str, Any]") -> None:
        power = board.get("power", {})
        self._awake_ma = power.get("awake_ma", AWAKE_MA)
        self._link_ma = power.get("link_ma", LINK_MA)
        self._sleep_ua = power.get("sleep_ua", SLEEP_UA)
        self.ready = False
        self.awake_ms = self.link_ms = self.sleep_ms = 0

    def begin(self, now_ms: int) -> None:
        """The values are there."""
        self.ready = True

    def poll(self, now_ms: int) -> int:
        """Nothing is due."""
        return -1

    def read(self, row: "Row") -> None:
        """Give them."""
        row.put(0, self.awake_ms, 0)
        row.put(1, self.charge_uah(), 0)
        self.ready = False

    def charge_uah(self) -> int:
        """Estimated charge of the last cycle in uAh."""
        milli = self.awake_ms * self._awake_ma + self.link_ms * (self._link_ma - self._awake_ma)
        charge: int = (milli + self.sleep_ms * self._sleep_ua // 1000) // 3600
        return charge


class Sleeper:
    """Runs the duty cycle of a node whose setting "sleep" is on.

    It is the node's row keeper: open_row() and put() see every value, and hand them on to LIVE.
    """

    def __init__(self, node: "Node", vitals: Vitals) -> None:
        self._node = node
        self._vitals = vitals
        sampler = node.sampler
        assert sampler is not None
        if any(channel.bands for channel in sampler.channels):
            raise ValueError("a board that sleeps cannot measure spectra: switch sleep off")
        self.memory = Memory(len(sampler.channels))
        self.woken = False
        self._row = bytearray(self.memory.row_bytes)
        self._live = sampler.live
        self._link_since = -1
        self._awake_since = 0
        self._rows_kept = 0
        rows_max: int = node.settings["sleep_rows"]
        self.rows_wanted = max(1, min(rows_max, self.memory.room, node.settings["batch_rows"]))
        sampler.live = self

    def wake(self) -> bool:
        """Take up what the sleep before left; False after any other start."""
        hal = self._node.hal
        memory = self.memory
        if hal.reset_cause() != DEEPSLEEP_RESET or not memory.unpack(hal.rtc_memory()):
            self.memory = Memory(memory.columns)
            return False
        if memory.boot != self._node.identity.boot:
            self.memory = Memory(memory.columns)
            return False
        self.woken = True
        clock = self._node.clock
        clock.restore(memory.clock)
        clock.advance(memory.uptime_ms)
        clock.slept(memory.sleep_ms)
        self._awake_since = clock.uptime_ms()
        self._vitals.awake_ms = memory.awake_ms
        self._vitals.link_ms = memory.link_ms
        self._vitals.sleep_ms = memory.sleep_ms
        health.set_starts(hal.nvs, 0)
        node = self._node
        node.outbox.resume(memory.seq)
        node.live.counter = memory.live
        node.hello_due = memory.hello_s * 1000
        node.downlink.resume(memory.down, memory.collector, memory.ack_s * 1000)
        return True

    def stay(self, now: int) -> None:
        """After a cold start: stay on line for a first report."""
        self._link_since = now

    def open_row(self, t_ms: int) -> None:
        """A new row: keep the one before, begin this one as missing."""
        low, high = _split(t_ms)
        self._row[:6] = pack("<IH", low, high)
        for column in range(self.memory.columns):
            self._row[6 + 5 * column : 11 + 5 * column] = b"\x00\x00\x00\x00\x06"
        if self._live is not None:
            self._live.open_row(t_ms)

    def put(self, column: int, value: "int | None", quality: int) -> None:
        """A value of the open row."""
        if value is not None and -0x80000000 <= value <= 0x7FFFFFFF:
            self._row[6 + 5 * column : 11 + 5 * column] = pack("<iB", value, quality)
        if self._live is not None:
            self._live.put(column, value, quality)

    def step(self, now: int) -> bool:
        """After each step of the node: report or sleep; False while neither is due yet."""
        node = self._node
        sampler = node.sampler
        if sampler is None or sampler.row_open:
            return False
        if sampler.rows > self._rows_kept:
            self._rows_kept = sampler.rows
            self.memory.rows += self._row
            if self.memory.count >= self.rows_wanted:
                self._report(now)
            elif self._link_since < 0:
                self._sleep(now)
                return True
        return self._link_since >= 0 and self._reporting(now)

    def _report(self, now: int) -> None:
        """Make frames of all rows, and go on line."""
        node = self._node
        self._build()
        node.flush(now)
        node.outbox.sync()
        if self._link_since < 0:
            node.link.open(now)
        self._link_since = now

    def _build(self) -> None:
        """Put the rows from RTC memory, with the newest, into the batch."""
        sampler = self._node.sampler
        assert sampler is not None
        batch = sampler.batch
        batch.start(0, sampler.interval_ms)
        for at in range(0, len(self.memory.rows), self.memory.row_bytes):
            low, high = unpack_from("<IH", self.memory.rows, at)
            batch.add_row(low | high << 32)
            for column in range(self.memory.columns):
                value, quality = unpack_from("<iB", self.memory.rows, at + 6 + 5 * column)
                batch.put(column, None if quality == 6 else value, quality)
        self.memory.rows = bytearray()

    def _reporting(self, now: int) -> bool:
        """On line: until everything is acknowledged, or the time for it is over."""
        node = self._node
        outbox = node.outbox
        answered = 0 < outbox.issued <= outbox.settled.upto(node.identity.boot)
        update = node.downlink.update
        busy = node.downlink.trial is not None or (update is not None and update.going(now))
        if (answered and not busy) or (now - self._link_since >= REPORT_MS and not busy):
            self._sleep(now)
            return True
        return False

    def _sleep(self, now: int) -> None:
        """Write RTC memory and sleep until shortly before the next instant."""
        node = self._node
        sampler = node.sampler
        assert sampler is not None
        lead_ms = 0
        for slot in sampler.slots:
            lead_ms = max(lead_ms, slot.lead_ms)
        instant = sampler.next_instant(now + lead_ms + START_MS + LEAST_SLEEP_MS)
        memory = self.memory
        node.outbox.end()
        memory.sleep_ms = instant - lead_ms - START_MS - now
        memory.uptime_ms = now
        memory.boot = node.identity.boot
        memory.seq = node.outbox.seq
        memory.live = node.live.counter
        memory.down = node.downlink.seq
        memory.collector = node.downlink.collector
        memory.ack_s = max(0, node.downlink.ack_ms) // 1000
        memory.hello_s = node.hello_due // 1000
        memory.clock = node.clock.state()
        memory.awake_ms = now - self._awake_since + START_MS
        memory.link_ms = now - self._link_since if self._link_since >= 0 else 0
        node.link.close()
        node.hal.rtc_memory(memory.pack())
        node.hal.deepsleep(memory.sleep_ms)
