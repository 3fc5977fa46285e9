"""Intake: what is taken, what is refused, and what is acknowledged when."""

import asyncio
from pathlib import Path

import pytest

from collector.archive import archive, quarantine
from collector.intake.intake import IntakeLimits
from collector.ledger.ledger_boot import CONFLICT_VERSIONS_MAX, CONFLICTS_MAX
from collector.transports.base import Source
from protocol import compose, wire
from protocol.decoder import open_frame
from protocol.sections import Info
from tests.collector.core import BOOT, NODE, Bench, BenchClock, Board


@pytest.fixture
def board() -> Board:
    return Board()


@pytest.fixture
def bench(tmp_path: Path, board: Board) -> Bench:
    return Bench(tmp_path, [board])


async def test_a_frame_is_acknowledged_after_its_commit_and_not_before(
    bench: Bench, board: Board
) -> None:
    assert bench.words(board.data(1)) == ["accepted"]
    assert bench.acks() == []
    await bench.intake.flush()
    assert bench.stored() == [(NODE, BOOT, 1)]
    assert bench.acked() == (1, 0)
    assert bench.commits == [1]


async def test_the_archive_holds_the_very_bytes(bench: Bench, board: Board) -> None:
    raw = board.data(7, t0_ms=5_000)
    await bench.take(raw)
    frame = archive.frame_by_id(bench.inline.connection, 1)
    assert frame == (
        1,
        NODE,
        BOOT,
        7,
        wire.T_DATA,
        archive.OK,
        bench.clock.unix_ms(),
        5_000,
        35_000,
        raw,
    )


async def test_an_ack_shows_gaps_in_its_mask(bench: Bench, board: Board) -> None:
    await bench.take(*(board.data(seq) for seq in (1, 2, 4, 6, 36, 37)))
    upto, mask = bench.acked()
    assert upto == 2
    assert mask == 1 << 0 | 1 << 2  # 4 and 6; 36 is beyond the 32 bits after 4
    await bench.take(board.data(3))
    assert bench.acked() == (4, 1 << 0 | 1 << 30 | 1 << 31)


async def test_duplicates_are_silent_while_pending_and_acknowledged_when_durable(
    bench: Bench, board: Board
) -> None:
    raw = board.data(1)
    assert bench.words(raw, raw) == ["accepted", "pending"]
    await bench.intake.flush()
    assert len(bench.acks()) == 1
    assert await bench.take(raw) == ["duplicate"]
    assert len(bench.acks()) == 2
    assert bench.stored() == [(NODE, BOOT, 1)]


async def test_a_board_that_hears_no_answer_is_noticed(bench: Bench, board: Board) -> None:
    deaf = bench.intake.hearing.deaf
    frames = [board.data(seq) for seq in range(1, 5)]
    await bench.take(*frames)
    for wait_s in (10, 20, 40):
        assert not deaf(NODE)
        bench.clock.pass_ms(wait_s * 1000)
        await bench.take(*frames)
    assert deaf(NODE)
    bench.clock.pass_ms(80_000)
    assert deaf(NODE), "its next resend is not late yet"
    await bench.take(*frames, board.data(5))
    assert deaf(NODE)
    bench.clock.pass_ms(230_000)
    assert not deaf(NODE), "it stopped"


async def test_a_board_that_hears_late_or_through_two_links_is_not_called_deaf(
    bench: Bench, board: Board
) -> None:
    for seq in range(1, 50):
        await bench.take(board.data(seq))
        bench.clock.pass_ms(20_000)
        await bench.take(board.data(seq), board.data(max(1, seq - 1)))
        assert not bench.intake.hearing.deaf(NODE)


async def test_a_frame_that_no_ack_can_cover_makes_nobody_deaf(bench: Bench, board: Board) -> None:
    await bench.take(board.data(1), board.data(40))
    for _ in range(5):
        bench.clock.pass_ms(20_000)
        await bench.take(board.data(40))
    assert not bench.intake.hearing.deaf(NODE)
    await bench.take(board.data(1, rows=((7, 7),)))
    for _ in range(5):
        bench.clock.pass_ms(20_000)
        await bench.take(board.data(1))
    assert not bench.intake.hearing.deaf(NODE)


async def test_serial_and_mqtt_carry_the_same_node_and_it_is_stored_once(
    bench: Bench, board: Board
) -> None:
    raw = board.data(1)
    bench.receive(raw, source=Source("mqtt", NODE))
    bench.receive(raw, source=Source("serial"))
    await bench.intake.flush()
    bench.receive(raw, source=Source("serial"))
    await bench.intake.flush()
    assert bench.stored() == [(NODE, BOOT, 1)]
    assert [down.source.transport for down in bench.raw_down] == ["mqtt", "serial"]


async def test_an_authentic_frame_that_cannot_be_decoded_is_archived_and_acknowledged(
    bench: Bench, board: Board
) -> None:
    newer_section = compose.compose(wire.T_DATA, NODE, BOOT, 1, [(0xF0, b"tomorrow")], board.up)
    newer_type = compose.compose(9, NODE, BOOT, 2, [], board.up)
    damaged = compose.compose(wire.T_DATA, NODE, BOOT, 3, [(wire.S_SAMPLES, b"\x01")], board.up)
    assert await bench.take(newer_section, newer_type, damaged) == ["accepted"] * 3
    assert bench.acked() == (3, 0)
    states = [f.state for f in archive.frames(bench.inline.connection, 1, 9, 9)]
    assert states == [archive.UNDECODED] * 3


@pytest.mark.parametrize("type", sorted({*range(32)} - {wire.T_LIVE}))
async def test_every_type_that_goes_up_is_acknowledged_and_none_that_goes_down(
    tmp_path: Path, type: int
) -> None:
    board = Board()
    bench = Bench(tmp_path, [board])
    word = "accepted" if 1 <= type <= 15 else "type"
    assert await bench.take(compose.compose(type, NODE, BOOT, 1, [], board.up)) == [word]
    known = bench.storage.ledger.known_boot(NODE, BOOT)
    assert (known is not None and 1 in known.received) == (word == "accepted")


async def test_an_unknown_quantity_is_kept_as_integers(bench: Bench, board: Board) -> None:
    raw = board.data(1)
    experimental = bytearray(raw[wire.HEADER : -8])
    assert await bench.take(raw) == ["accepted"]
    assert experimental
    frame = next(archive.frames(bench.inline.connection, 1, 1, 1))
    assert frame.state == archive.OK


def forged(board: Board) -> dict[str, bytes]:
    raw = board.data(1)
    stranger = Board(node=0x0BADCAFE)
    plain = compose.compose(wire.T_DATA, NODE, BOOT, 1, [], None)
    return {
        "tag": raw[:-1] + bytes([raw[-1] ^ 1]),
        "short": raw[:12],
        "long": raw + bytes(5000),
        "magic": b"\x00" + raw[1:],
        "version": b"\xa2" + raw[1:],
        "incompatible": raw[:1] + bytes([raw[1] | 0x80]) + raw[2:],
        "length": raw + b"\0",
        "downgrade": plain,
        "unknown_node": stranger.data(1),
    }


@pytest.mark.parametrize(
    "reason",
    [
        "tag", "short", "long", "magic", "version", "incompatible", "length", "downgrade",
        "unknown_node",
    ],
)  # fmt: skip
async def test_what_is_not_authentic_goes_to_quarantine_unacknowledged(
    bench: Bench, board: Board, reason: str
) -> None:
    raw = forged(board)[reason]
    assert await bench.take(raw) == [reason]
    await bench.storage.quarantine.flush()
    assert bench.stored() == []
    assert bench.acks() == []
    connection = quarantine.open_quarantine(bench.folder / "quarantine.db")
    held = list(quarantine.held(connection))
    connection.close()
    assert [(frame.reason, frame.raw) for frame in held] == [(reason, raw)]


async def test_every_altered_byte_is_refused(bench: Bench, board: Board) -> None:
    raw = board.data(1)
    for position in range(len(raw)):
        changed = bytearray(raw)
        changed[position] ^= 0x10
        assert bench.words(bytes(changed)) != ["accepted"]


@pytest.mark.parametrize(
    ("source", "reason"),
    [(Source("mqtt", NODE, retained=True), "retained"), (Source("mqtt", NODE + 1), "topic")],
)
async def test_retained_and_foreign_messages_are_ignored_and_counted(
    bench: Bench, board: Board, source: Source, reason: str
) -> None:
    [decision] = bench.receive(board.data(1), source=source)
    await bench.intake.flush()
    assert decision.reason == reason
    assert bench.intake.counters.refused[reason] == 1
    assert bench.storage.quarantine.counted == 0
    assert bench.stored() == []


async def test_a_retained_or_replayed_live_is_ignored(bench: Bench, board: Board) -> None:
    live = board.live(60_000, [(BOOT, 1, 3)])
    [kept] = bench.receive(live, source=Source("mqtt", NODE, retained=True))
    assert kept.reason == "retained"
    assert bench.words(live) == ["live"]
    bench.clock.pass_ms(3_600_000)
    answers = len(bench.down)
    assert bench.words(live) == ["live_replayed"]
    assert len(bench.down) == answers


async def test_a_live_of_an_earlier_boot_is_ignored(bench: Bench, board: Board) -> None:
    later = Board(boot=BOOT + 1)
    assert bench.words(later.live(1_000)) == ["live"]
    assert bench.words(board.live(9_000_000)) == ["live_of_old_boot"]


async def test_live_is_answered_with_time_and_ack(bench: Bench, board: Board) -> None:
    received = bench.clock.unix_ms()
    bench.receive(board.live(60_000, [(BOOT, 1, 3)]))
    [time] = bench.times()
    assert (time.uptime_ms, time.counter, time.received_ms) == (60_000, 1, received)
    assert time.sent_ms >= time.received_ms
    assert bench.acked() == (0, 0)
    down = bench.raw_down[0]
    open_frame(down.raw, bench.keys.down(NODE))
    assert len(down.raw) <= wire.DOWNLINK_MAX


async def test_no_time_from_a_clock_that_is_not_synchronised(tmp_path: Path, board: Board) -> None:
    bench = Bench(tmp_path, [board], BenchClock(synchronised=False))
    bench.receive(board.live(60_000))
    assert bench.times() == []
    assert bench.acks() != []
    assert bench.storage.timeline.time_of(NODE, BOOT, 60_000) is None


async def test_receipts_without_a_clock_are_dated_once_it_is_right(
    tmp_path: Path, board: Board
) -> None:
    clock = BenchClock(synchronised=False)
    bench = Bench(tmp_path, [board], clock)
    truth_ms = clock.unix_ms()
    clock.step_ms(-50 * 365 * 86_400_000)
    await bench.take(board.data(1))
    [frame] = archive.frames(bench.inline.connection, 1, 1, 1)
    assert frame.received_ms < 0
    clock.step_ms(50 * 365 * 86_400_000)
    clock.pass_ms(600_000)
    clock.right = True
    bench.receive(board.live(60_000))
    clock.pass_ms(120_000)
    await bench.take(board.data(2))
    first, second = archive.frames(bench.inline.connection, 1, 2, 2)
    assert first.received_ms == truth_ms
    assert second.received_ms == truth_ms + 720_000


@pytest.mark.parametrize("step_ms", [3_600_000, -3_600_000, 10 * 365 * 86_400_000, -86_400_000])
async def test_a_clock_that_jumps_is_doubted_for_a_minute(
    bench: Bench, board: Board, step_ms: int
) -> None:
    bench.receive(board.live(60_000))
    before = bench.storage.timeline.time_of(NODE, BOOT, 60_000)
    bench.clock.step_ms(step_ms)
    bench.clock.pass_ms(30_000)
    bench.receive(board.live(90_000))
    assert len(bench.times()) == 1
    assert bench.storage.timeline.time_of(NODE, BOOT, 60_000) == before
    bench.clock.step_ms(-step_ms)
    bench.clock.pass_ms(30_000)
    bench.receive(board.live(120_000))
    assert len(bench.times()) == 1
    bench.clock.pass_ms(61_000)
    bench.receive(board.live(181_000))
    assert len(bench.times()) == 2


async def test_a_conflict_is_archived_alarmed_and_stops_that_boots_ack(
    bench: Bench, board: Board
) -> None:
    await bench.take(board.data(1), board.data(2))
    twin = board.data(2, rows=[(1, 1)])
    assert await bench.take(twin) == ["conflict"]
    assert [alarm.kind for alarm in bench.alarms] == ["conflict"]
    frames = list(archive.frames(bench.inline.connection, 1, 9, 9))
    assert [(f.seq, f.state) for f in frames] == [(1, 0), (2, 0), (2, archive.CONFLICT)]
    await bench.take(board.data(3), board.data(4))
    assert bench.acked() == (1, 0)
    assert await bench.take(twin, board.data(2)) == ["duplicate", "duplicate"]
    assert len(bench.stored()) == 5
    boot = bench.storage.ledger.known_boot(NODE, BOOT)
    assert boot is not None
    boot.resolve_conflicts()
    await bench.take(board.data(5))
    assert bench.acked() == (5, 0)


async def test_a_conflict_within_one_group_loses_neither_frame(bench: Bench, board: Board) -> None:
    twin = board.data(1, rows=[(1, 1)])
    assert await bench.take(board.data(1), twin, twin) == ["accepted", "conflict", "pending"]
    assert len(bench.stored()) == 2
    assert bench.acked() == (0, 0)


@pytest.mark.parametrize("groups", [1, 3])
async def test_conflicts_are_bounded_however_many_come_in_one_group(
    bench: Bench, board: Board, groups: int
) -> None:
    numbers, versions = CONFLICTS_MAX + 3, CONFLICT_VERSIONS_MAX + 2
    await bench.take(*(board.data(seq) for seq in range(1, numbers + 1)))
    frames = [
        board.data(seq, rows=[(1, version)])
        for seq in range(1, numbers + 1)
        for version in range(versions)
    ]
    part = -(-len(frames) // groups)
    for first in range(0, len(frames), part):
        await bench.take(*frames[first : first + part])
    await bench.take(*frames)
    boot = bench.storage.ledger.known_boot(NODE, BOOT)
    assert boot is not None
    assert [len(tags) for tags in boot.conflicts.values()] == [
        CONFLICT_VERSIONS_MAX
    ] * CONFLICTS_MAX
    assert len(bench.stored()) == numbers + CONFLICTS_MAX * CONFLICT_VERSIONS_MAX


async def test_a_conflict_with_a_frame_of_long_ago_is_found_in_the_archive(
    bench: Bench, board: Board
) -> None:
    old = board.data(1)
    await bench.take(*(board.data(seq) for seq in range(1, 201)))
    await bench.storage.snapshot()
    assert await bench.take(old) == ["unsure"]
    assert bench.alarms == []
    twin = board.data(1, rows=[(1, 1)], t0_ms=77 * 3_600_000)
    assert await bench.take(twin) == ["unsure"]
    await bench.intake.flush()
    assert [alarm.kind for alarm in bench.alarms] == ["conflict"]
    assert len(bench.stored()) == 201


async def test_a_random_board_is_counted_and_not_stored(bench: Bench, board: Board) -> None:
    words = bench.words(*(board.data(seq * 100_000) for seq in range(1, 200)))
    assert set(words) == {"seq_too_far"}
    words = [bench.words(Board(boot=boot).data(1))[0] for boot in range(1, 200)]
    assert words.count("too_many_boots") == 199 - 63
    scattered = Board(boot=BOOT + 1)
    bench.clock.pass_ms(3_600_000)
    words = bench.words(*(scattered.data(seq) for seq in range(2, 5_000, 2)))
    assert words.count("too_many_ranges") == len(words) - words.count("accepted")
    assert words.count("accepted") <= 1_024


async def test_a_flood_of_one_node_leaves_the_others_alone(tmp_path: Path) -> None:
    loud, quiet = Board(node=1), Board(node=2)
    bench = Bench(tmp_path, [loud, quiet], limits=IntakeLimits(node_burst=50, node_frames_per_s=10))
    words = bench.words(*(loud.data(seq) for seq in range(1, 101)))
    assert words == ["accepted"] * 50 + ["flood"] * 50
    assert bench.words(quiet.data(1)) == ["accepted"]
    bench.clock.pass_ms(1_000)
    assert bench.words(*(loud.data(seq) for seq in range(51, 65))).count("accepted") == 10


async def test_what_waits_in_memory_is_bounded(tmp_path: Path, board: Board) -> None:
    bench = Bench(tmp_path, [board], limits=IntakeLimits(waiting_frames=10))
    words = bench.words(*(board.data(seq) for seq in range(1, 21)))
    assert words == ["accepted"] * 10 + ["busy"] * 10
    await bench.intake.flush()
    assert bench.acked() == (10, 0)


async def test_nothing_is_taken_while_the_disk_is_full_and_it_resumes(
    bench: Bench, board: Board
) -> None:
    await bench.take(board.data(1))
    bench.intake.accepting = False
    assert await bench.take(board.data(2), board.data(1)) == ["disk_full", "duplicate"]
    assert bench.acked() == (1, 0)
    bench.intake.accepting = True
    assert await bench.take(board.data(2)) == ["accepted"]
    assert bench.acked() == (2, 0)


async def test_a_reinstalled_collector_is_heard(tmp_path: Path, board: Board) -> None:
    bench = Bench(tmp_path, [board])
    bench.receive(board.live(60_000, [(BOOT, 5, 9)], downlink_seq=70_000, collector=0xDEAD))
    assert bench.down == [], "a crash could forget such a number: first it is written"
    await bench.intake.flush()
    assert [frame.type for frame in bench.down] == [wire.T_TIME, wire.T_ACK]
    assert {frame.seq > 70_000 for frame in bench.down} == {True}


async def test_downlink_numbers_rise_over_a_crash(bench: Bench, board: Board) -> None:
    await bench.take(board.data(1))
    await bench.storage.snapshot()
    for seq in range(2, 50):
        await bench.take(board.data(seq))
    highest = max(frame.seq for frame in bench.down)
    after = await bench.again([board], clean=False)
    await after.take(board.data(50))
    assert after.down[0].seq > highest


async def test_rotation_asks_for_the_key_of_each_position(tmp_path: Path, board: Board) -> None:
    bench = Bench(tmp_path, [board])
    renewed = Board(secret=b"n" * 32)
    bench.keys.rotate(NODE, renewed.secret)
    assert await bench.take(board.data(1), board.data(2)) == ["accepted"] * 2
    assert await bench.take(renewed.data(3)) == ["accepted"]
    assert await bench.take(board.data(4)) == ["tag"]
    later = renewed.live(60_000, [(BOOT, 4, 3)], counter=9)
    assert bench.words(later) == ["live"]
    keys = bench.keys.get(NODE)
    assert keys is not None
    assert keys.previous is None


async def test_a_hello_tells_where_the_former_key_ended(tmp_path: Path, board: Board) -> None:
    bench = Bench(tmp_path, [board])
    renewed = Board(boot=BOOT + 1, secret=b"n" * 32)
    bench.keys.rotate(NODE, renewed.secret)
    assert await bench.take(renewed.data(9)) == ["accepted"]
    stolen = board.data(3, boot=BOOT + 1)
    assert await bench.take(stolen) == ["accepted"], "so far nobody knows better"
    info = wire.S_INFO, compose.info_section(Info(key_switch=(BOOT, 0xFFFFFFFF)))
    hello = compose.compose(wire.T_HELLO, NODE, BOOT + 1, 12, [info], renewed.up)
    assert await bench.take(hello) == ["accepted"]
    assert await bench.take(board.data(4, boot=BOOT + 1)) == ["tag"]
    assert await bench.take(renewed.data(4), board.data(70)) == ["accepted"] * 2


async def test_a_cancelled_intake_ends_even_when_its_group_just_filled(
    tmp_path: Path, board: Board
) -> None:
    bench = Bench(tmp_path, [board], limits=IntakeLimits(group_frames=2, group_interval_s=60))
    running = asyncio.create_task(bench.intake.run())
    bench.receive(board.data(1))
    for _ in range(5):
        await asyncio.sleep(0)
    bench.receive(board.data(2))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(5):
            await running
