"""The node as a whole: what it samples is framed, kept, sent, and freed on ACK."""

import struct

from firmware.node import Node
from protocol import wire
from protocol.decoder import decode
from protocol.envelope import sections
from protocol.frame import FrameBuilder, open_frame, parse_header
from protocol.mac import Mac
from protocol.sections import Info
from tests.firmware import boards


def types(link: boards.Link) -> list[int]:
    return [parse_header(frame)[0] for frame in link.up]


def downlink(node: Node, type_: int, seq: int, tag: int, body: bytes) -> bytes:
    builder = FrameBuilder(240, Mac(boards.DOWN))
    builder.begin(type_, boards.NODE, node.identity.boot, seq)
    builder.open(tag)
    builder.raw(body)
    builder.close()
    return bytes(builder.buf[: builder.finish()])


def ack(node: Node, seq: int, upto: int, mask: int = 0) -> bytes:
    body = struct.pack("<IIII", 77, node.identity.boot, upto, mask)
    return downlink(node, wire.T_ACK, seq, wire.S_ACK, body)


def test_live_goes_out_first_and_data_wait_for_its_answer() -> None:
    node = boards.make_node(sample_interval_s=1, report_interval_s=2, spool_sync_s=0)
    node.start()
    boards.run(node, 4_900)
    link = node.hal.transport
    assert types(link) == [wire.T_LIVE]
    link.down.append(ack(node, 1, 0))
    boards.run(node, 1_000)
    assert types(link)[:4] == [wire.T_LIVE, wire.T_HELLO, wire.T_DATA, wire.T_DATA]


def test_every_frame_is_authentic_and_numbered_without_gaps() -> None:
    node = boards.make_node(sample_interval_s=1, report_interval_s=2, spool_sync_s=0, window=32)
    node.start()
    boards.run(node, 20_000)
    seqs = []
    for frame in node.hal.transport.up:
        open_frame(memoryview(frame), Mac(boards.UP))
        kind, _, _, address, boot, seq = parse_header(frame)
        assert (address, boot) == (boards.NODE, boards.BOOT + 1)
        if kind != wire.T_LIVE:
            seqs.append(seq)
    firsts = list(dict.fromkeys(seqs))
    assert firsts == list(range(1, len(firsts) + 1))
    assert len(firsts) >= 6


def hellos(node: Node) -> list[Info | None]:
    """INFO of every HELLO that a node's link took."""
    node.start()
    boards.run(node, 70_000)
    sent = [decode(raw) for raw in node.hal.transport.up]  # type: ignore[attr-defined]
    return [frame.info for frame in sent if frame.type == wire.T_HELLO]


def test_a_hello_names_where_a_former_key_ended_and_only_then() -> None:
    first = hellos(boards.make_node())
    assert first
    assert {info.key_switch for info in first if info} == {None}
    hal = boards.MemoryHal()
    node = boards.make_node(hal)
    hal.nvs.set_blob("switch", struct.pack("<II", boards.BOOT, 0xFFFFFFFF))
    hal.nvs.commit()
    assert {info.key_switch for info in hellos(node) if info} == {(boards.BOOT, 0xFFFFFFFF)}


def test_acknowledged_frames_are_not_sent_again() -> None:
    node = boards.make_node(sample_interval_s=1, report_interval_s=2, spool_sync_s=0)
    node.start()
    boards.run(node, 8_000)
    link = node.hal.transport
    link.down.append(ack(node, 1, node.outbox.issued))
    boards.run(node, 100)
    link.up.clear()
    link.down.clear()
    boards.run(node, 30_000)
    sent = [parse_header(frame)[5] for frame in link.up if frame[1] & 31 == wire.T_DATA]
    assert min(sent) > 4


def test_time_sets_the_clock_and_is_told_in_the_next_data() -> None:
    node = boards.make_node(sample_interval_s=1, report_interval_s=5, spool_sync_s=0)
    node.start()
    boards.run(node, 100)
    live = node.hal.transport.up[0]
    state = decode(live).state
    assert state is not None
    uptime = state.uptime_ms
    unix = 1_800_000_000_000
    answer = uptime.to_bytes(6, "little") + struct.pack("<I", 1)
    answer += unix.to_bytes(6, "little") + (unix + 50).to_bytes(6, "little")
    node.hal.transport.down.append(downlink(node, wire.T_TIME, 1, wire.S_TIME, answer))
    boards.run(node, 20)
    assert node.clock.synchronised
    now = node.clock.uptime_ms()
    assert abs(node.clock.unix_ms(now) - unix - now) <= node.clock.error_ms(now) + 1
    node.hal.transport.down.append(ack(node, 2, 0))
    boards.run(node, 6_000)
    tags = [
        [tag for tag, _, _ in sections(open_frame(memoryview(frame), Mac(boards.UP)))]
        for frame in node.hal.transport.up
        if frame[1] & 31 == wire.T_DATA
    ]
    assert tags[0] == [wire.S_CLOCK, wire.S_SAMPLES]


def test_a_silent_sensor_stays_missing_and_holds_nobody_up() -> None:
    silent = boards.Ramp()
    silent.silent = True
    silent.CHANNELS = ((1, None), (2, None))
    node = boards.make_node(sensors=[silent, boards.Ramp()], sample_interval_s=5)
    node.start()
    boards.run(node, 62_000)
    assert node.sampler.rows == 12
    assert node.sampler.missed == 0
