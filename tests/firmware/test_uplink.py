"""The uplink: what goes out when, and what an ACK frees."""

import itertools
import random

import pytest

from firmware.drops import Drops
from firmware.spool import Spool
from firmware.uplink import (
    HOLD_MS,
    RESEND_FIRST_MS,
    RESEND_LAST_MS,
    Settled,
    Uplink,
)
from protocol import wire
from protocol.frame import parse_header
from simulator.faults.filesystem import MemoryFiles
from tests.firmware.test_spool import is_whole, make_frame

BOOT = 9


class Bench:
    """An uplink over a spool in memory; now is moved by hand."""

    def __init__(self, frames: int, window: int = 8, files: MemoryFiles | None = None) -> None:
        self.files = files or MemoryFiles()
        self.settled = Settled()
        drops = Drops(self.files, "drops")
        self.spool = Spool(
            self.files, "spool", drops, is_whole, self.settled.covers, 64_000, 2_048, 4
        )
        self.spool.start()
        noise = random.Random(1)
        self.uplink = Uplink(
            self.spool,
            self.settled,
            noise.getrandbits,
            memoryview(bytearray(wire.FRAME_MAX)),
            window,
        )
        self.now = 0
        self.add(1, frames)

    def add(self, first: int, last: int) -> None:
        for seq in range(first, last + 1):
            assert self.spool.append(make_frame(BOOT, seq, 120))
        self.spool.sync()

    def send_all(self) -> list[int]:
        """Everything that may go out now, as seqs."""
        seqs = []
        while (frame := self.uplink.next(self.now)) is not None:
            seqs.append(parse_header(frame)[5])
            self.uplink.mark_sent(self.now)
        return seqs

    def ack(self, upto: int, mask: int = 0) -> None:
        self.uplink.acknowledge(BOOT, upto, mask, self.now)
        self.uplink.settle()


def test_no_more_than_the_window_is_in_flight() -> None:
    bench = Bench(20)
    assert bench.send_all() == list(range(1, 9))
    assert bench.send_all() == []
    bench.ack(3)
    assert bench.send_all() == [9, 10, 11]


def test_frames_out_of_order_are_freed_by_the_mask() -> None:
    bench = Bench(20)
    bench.send_all()
    bench.ack(2, 0b1011)  # 4, 5 and 7 arrived
    assert bench.send_all() == list(range(9, 14))
    bench.now += RESEND_FIRST_MS
    bench.ack(2, 0b1011)
    assert set(bench.send_all()) & {3, 4, 5, 6, 7} == {3, 6}


def test_resends_wait_ten_seconds_and_double_to_five_minutes() -> None:
    bench = Bench(1)
    times = []
    while bench.now < 3_600_000:
        if bench.send_all():
            times.append(bench.now)
        bench.now += 100
    gaps = [second - first for first, second in itertools.pairwise(times)]
    assert RESEND_FIRST_MS <= gaps[0] <= RESEND_FIRST_MS * 5 // 4 + 200
    for index, gap in enumerate(gaps):
        least = min(RESEND_LAST_MS, RESEND_FIRST_MS << index)
        assert least <= gap <= least * 5 // 4 + 200
    assert len(gaps) < 20


def test_resends_of_two_boards_drift_apart() -> None:
    first, second = Bench(1), Bench(1)
    second.uplink._random_bits = random.Random(2).getrandbits
    for bench in (first, second):
        bench.send_all()
    due = [bench.uplink.wait_ms(0) for bench in (first, second)]
    assert due[0] != due[1]


def test_data_wait_for_the_ack_of_live_but_not_for_ever() -> None:
    bench = Bench(3)
    bench.uplink.connected(bench.now)
    assert bench.send_all() == []
    assert bench.uplink.wait_ms(bench.now) == HOLD_MS
    bench.now += HOLD_MS
    assert bench.send_all() == [1, 2, 3]
    again = Bench(3)
    again.uplink.connected(0)
    again.ack(2)
    assert again.send_all() == [3]


def test_after_a_reconnect_only_what_the_ack_shows_missing_is_sent() -> None:
    bench = Bench(8)
    bench.send_all()
    bench.now = 60_000
    bench.uplink.connected(bench.now)
    bench.now += 200
    bench.ack(5)
    bench.now += HOLD_MS
    assert bench.send_all() == [6, 7, 8]


def test_a_collector_that_comes_back_gets_the_rest_at_once() -> None:
    bench = Bench(8)
    bench.send_all()
    for _ in range(6):
        bench.now += 400_000
        bench.send_all()
    bench.now += 40_000
    assert bench.send_all() == []
    bench.ack(0)
    assert bench.send_all() == list(range(1, 9))


def test_a_frame_that_is_never_acknowledged_is_not_hammered() -> None:
    bench = Bench(40)
    bench.send_all()
    sent = 0
    for second in range(3_600):
        bench.now = 1_000 * second
        if second % 2 == 0:
            bench.ack(0, 0xFFFFFFFF)
        sent += bench.send_all().count(1)
    assert sent < 25


def test_nothing_is_sent_beyond_what_a_mask_can_acknowledge() -> None:
    bench = Bench(60, window=32)
    sent = bench.send_all()
    bench.ack(0, 0xFFFFFFFF << 1 & 0xFFFFFFFF)
    while fresh := bench.send_all():
        sent += fresh
        bench.ack(0, 0xFFFFFFFE)
    assert max(sent) <= 34


def test_a_board_rests_while_what_follows_is_out_of_the_masks_reach() -> None:
    bench = Bench(60, window=32)
    bench.send_all()
    while bench.ack(0, 0xFFFFFFFE) or bench.send_all():
        pass
    assert bench.uplink.wait_ms(bench.now) >= RESEND_FIRST_MS // 2
    bench.ack(34)
    assert bench.uplink.wait_ms(bench.now) == 0
    assert min(bench.send_all()) == 35


def test_what_a_restart_finds_acknowledged_is_not_sent() -> None:
    bench = Bench(30)
    again = Bench(0, files=bench.files.survivors())
    again.uplink.connected(0)
    again.ack(25)
    assert again.send_all() == list(range(26, 31))


def test_acknowledged_segments_are_renamed() -> None:
    bench = Bench(60)
    assert all(name.endswith(".s1") for name in bench.files.listdir("spool"))
    while bench.send_all():
        bench.ack(max(entry[1] for entry in bench.uplink._flight))
    names = sorted(bench.files.listdir("spool"))
    assert [name[-3:] for name in names] == [".a1"] * (len(names) - 1) + [".s1"]


def hurry(bench: Bench, seq: int) -> None:
    """Append an answer that goes ahead, as the outbox does."""
    assert bench.spool.append(make_frame(BOOT, seq, 40))
    bench.uplink.ahead(BOOT, seq, bench.spool.last, bench.spool.written - 42)


def test_an_answer_goes_ahead_of_a_backlog_and_keeps_its_turn() -> None:
    bench = Bench(200)
    assert bench.send_all() == list(range(1, 9))
    hurry(bench, 201)
    assert bench.send_all() == []  # not durable yet
    bench.spool.sync()
    assert bench.send_all() == [201]
    seen: list[int] = []
    for upto in range(8, 201, 8):
        bench.ack(upto)
        seen += bench.send_all()
    assert seen == list(range(9, 202))
    bench.ack(201)
    assert bench.spool.boots == []


def test_a_lost_answer_is_sent_four_times_ahead_of_its_turn() -> None:
    bench = Bench(200)
    bench.send_all()
    hurry(bench, 201)
    bench.spool.sync()
    times = []
    for bench.now in range(0, 3_600_000, 1_000):
        if 201 in bench.send_all():
            times.append(bench.now)
    assert len(times) == 4
    assert times[1] - times[0] >= RESEND_FIRST_MS


def test_an_answer_without_backlog_is_sent_once() -> None:
    bench = Bench(3)
    assert bench.send_all() == [1, 2, 3]
    hurry(bench, 4)
    bench.spool.sync()
    assert bench.send_all() == [4]


def test_an_answer_whose_segment_was_dropped_is_forgotten() -> None:
    bench = Bench(600)  # more than the spool holds
    hurry(bench, 601)
    bench.spool.sync()
    bench.add(602, 1400)
    assert bench.spool.boots[0][1] > 601
    assert 601 not in bench.send_all()


def test_an_answer_that_flash_did_not_take_goes_ahead_from_ram() -> None:
    bench = Bench(200)
    bench.send_all()
    bench.uplink.hold(make_frame(BOOT, 201, 40), BOOT, 201)
    bench.uplink.ahead(BOOT, 201, -1, 0)
    assert bench.send_all() == [201]


def test_frames_in_ram_are_sent_after_those_in_flash_and_freed_by_ack() -> None:
    bench = Bench(2)
    for seq in (3, 4):
        assert bench.uplink.hold(make_frame(BOOT, seq), BOOT, seq) is None
    assert bench.uplink.kept_from(BOOT) == 3
    assert bench.send_all() == [1, 2, 3, 4]
    bench.ack(3)
    assert bench.uplink.kept_from(BOOT) == 4
    bench.now += RESEND_FIRST_MS * 2
    assert bench.send_all() == [4]


def test_ram_holds_four_frames_and_says_which_had_to_go() -> None:
    bench = Bench(0)
    for seq in range(1, 5):
        assert bench.uplink.hold(make_frame(BOOT, seq), BOOT, seq) is None
    assert bench.uplink.hold(make_frame(BOOT, 5), BOOT, 5) == (BOOT, 1)
    assert bench.send_all() == [2, 3, 4, 5]


@pytest.mark.parametrize("seed", range(5))
def test_a_lossy_link_delivers_every_frame_in_the_end(seed: int) -> None:
    bench = Bench(100)
    noise = random.Random(seed)
    got: set[int] = set()
    sends = 0
    while len(got) < 100 and bench.now < 7_200_000:
        for seq in bench.send_all():
            sends += 1
            if noise.random() < 0.6:
                got.add(seq)
        if noise.random() < 0.5:
            upto = 0
            while upto + 1 in got:
                upto += 1
            bench.ack(upto, sum(1 << b for b in range(32) if upto + 2 + b in got))
        bench.now += 1_000
    assert len(got) == 100
    assert sends < 300
