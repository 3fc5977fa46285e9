"""The duty cycle: boot and seq go on through sleep, rows wait in RTC memory, reports are short."""

import random

import pytest

from firmware.node import Node
from firmware.power import Memory, Vitals
from protocol import quantity as q
from protocol import wire
from protocol.decoder import decode
from tests.firmware import boards
from tests.firmware.conversation import Collector

SETTINGS = {"sleep": 1, "sample_interval_s": 600, "sleep_rows": 4, "spool_sync_s": 0}


class Asleep(BaseException):
    """The board went to sleep."""


class SleepyHal(boards.MemoryHal):
    """A board whose ticks start anew at each wake."""

    def deepsleep(self, duration_ms: int) -> None:
        self.slept.append(duration_ms)
        raise Asleep


class Life:
    """A sleeping board over virtual hours, with a collector that answers when it is on line."""

    def __init__(self, answers: bool = True, **settings: int | str) -> None:
        self.hal = SleepyHal()
        self.sensor = boards.Ramp()
        self.answers = answers
        self.settings = {**SETTINGS, **settings}
        self.true_ms = 0
        self.awake_ms: list[int] = []
        self.boots: set[int] = set()
        self.live_downlink = 0
        self.online = 0

    def cycle(self) -> Node:
        """From one wake to the next sleep."""
        self.hal.now_ms = 0
        node = boards.make_node(self.hal, [self.sensor], **self.settings)
        collector = Collector(node)
        collector.seq = self.live_downlink
        up = len(self.hal.transport.up)
        try:
            node.start()
            self.boots.add(node.identity.boot)
            for _ in range(4_000):
                boards.run(node, 200)
                if self.answers and len(self.hal.transport.up) > up:
                    up = len(self.hal.transport.up)
                    collector.ack(self._upto(node))
            raise AssertionError("it never slept")
        except Asleep:
            pass
        self.live_downlink = collector.seq
        self.awake_ms.append(self.hal.now_ms)
        self.true_ms += self.hal.now_ms + self.hal.slept[-1]
        self.hal.cause = 4
        return node

    def _upto(self, node: Node) -> int:
        seqs = {decode(raw).seq for raw in self.hal.transport.up if raw[1] & 31 != wire.T_LIVE}
        upto = 0
        while upto + 1 in seqs:
            upto += 1
        return upto


def test_boot_seq_and_uptime_go_on_through_sleep() -> None:
    life = Life()
    for _ in range(20):
        node = life.cycle()
    assert len(life.boots) == 1
    frames = [decode(raw) for raw in life.hal.transport.up]
    data = {frame.seq: frame for frame in frames if frame.type == wire.T_DATA}
    seqs = sorted({frame.seq for frame in frames if frame.type != wire.T_LIVE})
    assert seqs == list(range(1, len(seqs) + 1))
    times = [t for seq in sorted(data) for s in data[seq].samples for t in s.times_ms]
    assert times == [600_000 * (index + 1) for index in range(len(times))]
    assert len(times) >= 16
    assert node.clock.uptime_ms() == life.true_ms - life.hal.slept[-1]


def test_values_wait_in_rtc_memory_and_arrive_as_they_were() -> None:
    life = Life()
    for _ in range(9):
        life.cycle()
    data = [decode(raw) for raw in life.hal.transport.up if raw[1] & 31 == wire.T_DATA]
    values = [v for f in data for s in f.samples for v in s.columns[0].values]
    assert values[:8] == [2001 + index for index in range(8)]


def test_only_every_fourth_wake_goes_on_line() -> None:
    life = Life()
    life.cycle()
    sent = []
    for _ in range(8):
        before = len(life.hal.transport.up)
        life.cycle()
        sent.append(len(life.hal.transport.up) > before)
    assert sum(sent) == 2


def test_a_wake_without_report_is_short_and_one_without_answer_ends() -> None:
    life = Life(answers=False)
    for _ in range(9):
        life.cycle()
    assert min(life.awake_ms) < 3_000
    assert max(life.awake_ms[1:]) < 35_000


def test_awake_time_and_charge_are_columns_of_data() -> None:
    life = Life()
    for _ in range(9):
        life.cycle()
    data = [decode(raw) for raw in life.hal.transport.up if raw[1] & 31 == wire.T_DATA]
    columns = {c.quantity: c for f in data[1:] for s in f.samples for c in s.columns}
    assert all(1_000 < value < 60_000 for value in columns[q.AWAKE_TIME].values)
    assert all(0 < value < 5_000 for value in columns[q.CHARGE].values)


def test_a_lost_rtc_memory_is_a_new_boot() -> None:
    life = Life()
    for _ in range(3):
        life.cycle()
    life.hal.rtc = b""
    life.cycle()
    life.hal.cause = 1
    life.cycle()
    assert len(life.boots) == 3


def test_many_wakes_are_no_quick_resets() -> None:
    life = Life()
    for _ in range(12):
        node = life.cycle()
    assert not node.safe_mode


def test_rows_are_limited_by_what_rtc_memory_holds() -> None:
    memory = Memory(10)
    assert memory.room == (2048 - 4 - 71) // 56
    memory.rows = bytearray(memory.room * memory.row_bytes)
    assert len(memory.pack()) <= 2048


def test_a_damaged_rtc_memory_is_not_taken() -> None:
    memory = Memory(2)
    memory.boot, memory.seq, memory.uptime_ms = 77, 5, 1 << 40
    memory.rows = bytearray(2 * memory.row_bytes)
    record = memory.pack()
    again = Memory(2)
    assert again.unpack(record)
    assert (again.boot, again.seq, again.uptime_ms, again.count) == (77, 5, 1 << 40, 2)
    noise = random.Random(1)
    for _ in range(200):
        damaged = bytearray(record)
        damaged[noise.randrange(len(damaged))] ^= 1 << noise.randrange(8)
        assert not Memory(2).unpack(bytes(damaged))
    assert not Memory(3).unpack(record)


def test_charge_is_the_sum_of_awake_linked_and_asleep() -> None:
    vitals = Vitals({"power": {"awake_ma": 40, "link_ma": 100, "sleep_ua": 100}})
    vitals.awake_ms, vitals.link_ms, vitals.sleep_ms = 36_000, 18_000, 3_600_000
    assert vitals.charge_uah() == 400 + 300 + 100


def test_a_board_that_sleeps_refuses_spectra() -> None:
    sensor = boards.Ramp()
    sensor.CHANNELS = ((0x40, None, 31, 13),)
    with pytest.raises(ValueError, match="spectra"):
        boards.make_node(boards.MemoryHal(), [sensor], **SETTINGS)
