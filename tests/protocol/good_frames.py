"""Frames of every type that have to be understood, and their keys."""

from collections.abc import Iterator
from struct import pack

from protocol import compose, wire
from protocol.mac import derive
from protocol.samples import Channel
from protocol.sections import Chunk, ClockSet, Descriptor, Info, Offer
from tests.protocol.refusals import samples, sealed, section

NODE_KEY = bytes(range(32))
UP = derive(NODE_KEY, b"up")
DOWN = derive(NODE_KEY, b"dn")
NODE, BOOT = 0xA1B2C3D4, 1764000000
Case = tuple[str, bytes, bytes | None]


def up(name: str, type: int, *sections: tuple[int, bytes]) -> Case:
    return name, compose.compose(type, NODE, BOOT, 7, sections, UP), UP


def data() -> Iterator[Case]:
    clock = compose.clock_section(ClockSet(3_600_000, 1_764_003_600_123, 250, wire.CLOCK_TIME))
    yield up("DATA without sections", wire.T_DATA)
    yield up("DATA with a clock only", wire.T_DATA, clock)
    pm = compose.samples_section([Channel(2)], [[10], [12]], 1000, 60_000)
    level = compose.samples_section([Channel(32)], [[523], [525], [519]], 1000, 1000)
    yield up(
        "DATA with two SAMPLES and a clock",
        wire.T_DATA,
        (wire.S_SAMPLES, pm),
        clock,
        (wire.S_SAMPLES, level),
    )
    yield up("DATA with an unknown section", wire.T_DATA, (wire.S_SAMPLES, pm), (0x3A, b"later"))
    yield up("DATA with text", wire.T_DATA, (wire.S_TEXT, b"hello"))
    none = sealed(samples([], rows=1), key=UP)
    yield "SAMPLES without columns", none, UP
    yield "unauthenticated", sealed(samples([bytes([2, 0, 20])], b"\0"), key=None), None
    yield (
        "an escape that was not needed",
        sealed(samples([bytes([2, 0, 20])], b"\xff\xfe\x00\x00\x00\x08"), key=UP),
        UP,
    )
    yield "count of quality runs is 0", sealed(samples([b"\x02\x4f\x00\x14"]), key=UP), UP
    yield "reserved quality", sealed(samples([b"\x02\x4f\x01\x02\x63\x14"]), key=UP), UP
    wide = [bytes([0x40, 0x2F, 0, 255, 2]), bytes([0x41, 0x2F, 0, 1, 2])]
    yield "16,384 values", sealed(samples(wide, rows=64), key=UP), UP
    yield "64 columns", sealed(samples([bytes([q, 15, q]) for q in range(1, 65)]), key=UP), UP
    yield "64 sections", sealed(section(0x3A, b"") * 64, key=UP), UP
    yield "4,096 bytes", sealed(section(0x3A, bytes(4069)), key=UP), UP


def hello() -> Iterator[Case]:
    info = Info("0.1.0+abc", "street", 1, 1, bytes(range(16)), (1_763_000_000, 41), {200: b"new"})
    channels = [
        Descriptor(2, 0, -1, 2, "pms5003"),
        Descriptor(16, 1, -2, 16, "Außenluft"),
        Descriptor(0xC0, 0, 0, 0, "rain"),
    ]
    yield "HELLO with everything", compose.compose_hello(UP, NODE, BOOT, 1, info, channels), UP
    yield "HELLO without anything", compose.compose_hello(UP, NODE, BOOT, 1, Info()), UP
    clock = compose.clock_section(ClockSet(2**48 - 1, 2**48 - 1, 2**32 - 1, 255))
    yield up("HELLO with the largest clock", wire.T_HELLO, clock)


def live() -> Iterator[Case]:
    yield "LIVE of a new board", compose.compose_live(UP, NODE, BOOT, 1, 1234), UP
    edges = [(BOOT - 2, 1, 0), (BOOT - 1, 0xFFFFFFFF, 0xFFFFFFFF), (BOOT, 8, 7)]
    yield (
        "LIVE that keeps nothing, and the last number",
        compose.compose_live(UP, NODE, BOOT, 3, 5000, edges),
        UP,
    )
    boots = [(BOOT - 31 + each, 1 + each, 40 + each) for each in range(32)]
    yield "LIVE with 32 boots", compose.compose_live(
        UP, NODE, BOOT, 2**32 - 1, 2**48 - 1, boots, [(1, 2**32 - 1), (4, 127), (3, 128)],
        17, 3, 0xC0FFEE, 7, 65535,
    ), UP  # fmt: skip
    health = compose.samples_section([Channel(0x70), Channel(0x71)], [[3712, -67]], 60_000)
    yield (
        "LIVE with health",
        compose.compose_live(
            UP, NODE, BOOT, 2, 60_000, [(BOOT, 8, 7)], extra=[(wire.S_SAMPLES, health)]
        ),
        UP,
    )


def log_and_result() -> Iterator[Case]:
    yield "LOG", compose.compose_log(UP, NODE, BOOT, 3, "sensor 0 silent for 60 s\n"), UP
    yield "LOG without text", compose.compose_log(UP, NODE, BOOT, 3, ""), UP
    yield up("LOG that is not UTF-8", wire.T_LOG, (wire.S_TEXT, b"caf\xe9 \xff"))
    yield (
        "RESULT done",
        compose.compose_result(UP, NODE, BOOT, 4, wire.T_COMMAND, 77, wire.C_IDENTIFY, wire.R_DONE),
        UP,
    )
    yield (
        "RESULT wants an offset",
        compose.compose_result(
            UP, NODE, BOOT, 5, wire.T_UPDATE, 78, 0, wire.R_WANTED, pack("<I", 4096)
        ),
        UP,
    )


def downlink() -> Iterator[Case]:
    at = (DOWN, NODE, BOOT, 9)
    yield "ACK of nothing", compose.compose_ack(*at, 0xC0FFEE, []), DOWN
    yield "ACK with a mask", compose.compose_ack(*at, 1, [(BOOT, 41, 0x80000005)]), DOWN
    entries = [(BOOT + each, 2**32 - 1, 0) for each in range(compose.ACK_ENTRIES_MAX)]
    yield "ACK of 17 boots", compose.compose_ack(*at, 2**32 - 1, entries), DOWN
    yield "TIME", compose.compose_time(*at, 60_000, 2, 1_764_000_060_000, 1_764_000_060_004), DOWN
    settings: list[tuple[int, int | str | bytes]] = [
        (1, 60), (2, -40), (3, 2**31 - 1), (4, -(2**31)), (5, "osn.example"), (6, b"")
    ]  # fmt: skip
    yield "CONFIG", compose.compose_config(*at, 12, settings), DOWN
    yield "CONFIG of nothing", compose.compose_config(*at, 65535, []), DOWN
    for code in (1, 2, 3, 5, 8):
        yield f"COMMAND {code}", compose.compose_command(*at, 13, code), DOWN
    for code in (4, 6):
        yield f"COMMAND {code}", compose.compose_command(*at, 14, code, compose.arguments(2)), DOWN
    resend = compose.arguments(BOOT, 1, 500)
    yield "COMMAND 7", compose.compose_command(*at, 15, 7, resend), DOWN
    yield "COMMAND 99, unknown", compose.compose_command(*at, 16, 99, b"?"), DOWN
    digest = bytes(range(32))
    yield (
        "UPDATE offer",
        compose.compose_update(*at, Offer(3, 123_456, digest, "0.2.0", bytes(64))),
        DOWN,
    )
    yield "UPDATE chunk", compose.compose_update(*at, Chunk(3, 4096, bytes(range(200)))), DOWN
    yield "UPDATE empty chunk", compose.compose_update(*at, Chunk(3, 0, b"")), DOWN


def all_frames() -> Iterator[Case]:
    """(name, frame, key)."""
    yield from data()
    yield from hello()
    yield from live()
    yield from log_and_result()
    yield from downlink()
