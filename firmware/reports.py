"""Bodies of the frames that a board builds beside DATA: HELLO, LIVE, LOG, RESULT, CLOCK."""

from protocol import quantity, wire
from protocol.builder import Overflow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firmware.clock import Clock
    from protocol.builder import FrameBuilder

TEXT_MAX = 200


def info(
    builder: "FrameBuilder",
    version: str,
    board: str,
    uuid: bytes,
    reset_cause: int,
    key_switch: bytes = b"",
) -> None:
    """INFO: what runs where, under which world-wide identity, and where a former key ended."""
    builder.open(wire.S_INFO)
    _entry(builder, wire.INFO_FIRMWARE, version.encode())
    _entry(builder, wire.INFO_BOARD, board.encode()[:32])
    _entry(builder, wire.INFO_RESET_CAUSE, bytes([reset_cause & 255]))
    _entry(builder, wire.INFO_REGISTRY, bytes([quantity.REVISION & 255, quantity.REVISION >> 8]))
    _entry(builder, wire.INFO_IDENTITY, uuid)
    if key_switch:
        _entry(builder, wire.INFO_KEY_SWITCH, key_switch)
    builder.close()


def _entry(builder: "FrameBuilder", key: int, data: bytes) -> None:
    builder.u8(key)
    builder.u8(len(data))
    builder.raw(data)


def descriptors(builder: "FrameBuilder", sensors: "list[tuple[Any, int]]") -> None:
    """DESCRIPTORS: a row per channel of (sensor, instance) pairs.

    A sensor may say its MODEL, and the NAMES of channels whose quantity is from 0xC0 up.
    """
    builder.open(wire.S_DESCRIPTORS)
    for sensor, instance in sensors:
        names = getattr(sensor, "NAMES", ())
        for index in range(len(sensor.CHANNELS)):
            id, exponent = sensor.CHANNELS[index][:2]
            name = names[index].encode()[:16] if index < len(names) else b""
            builder.u8(id)
            builder.u8(instance)
            builder.u8(quantity.exponent(id) if exponent is None else exponent)
            builder.number(getattr(sensor, "MODEL", 0), 2)
            builder.u8(len(name))
            builder.raw(name)
    builder.close()


def state(
    builder: "FrameBuilder",
    uptime_ms: int,
    downlink_seq: int,
    revision: int,
    collector: int,
    flags: int,
    boots: "list[list[int]]",
    unlisted: int,
    drops: "list[int]",
) -> None:
    """STATE: uptime, what is kept for each boot, what was dropped by reason (1 first)."""
    builder.open(wire.S_STATE)
    builder.number(uptime_ms, 6)
    builder.number(downlink_seq, 4)
    builder.number(revision, 4)
    builder.number(collector, 4)
    builder.u8(flags)
    listed = boots[: wire.BOOTS_MAX]
    builder.number(min(0xFFFF, unlisted + len(boots) - len(listed)), 2)
    builder.u8(len(listed))
    for boot, lowest, highest in listed:
        builder.number(boot, 4)
        builder.number(lowest, 4)
        builder.number(highest, 4)
    counted = 0
    for frames in drops:
        if frames:
            counted += 1
    builder.u8(counted)
    for index in range(len(drops)):
        if drops[index]:
            builder.u8(index + 1)
            builder.uvarint(drops[index])
    builder.close()


def clock(builder: "FrameBuilder", clock: "Clock") -> None:
    """CLOCK: what the uptime is now in Unix time, with error and source."""
    uptime_ms = clock.uptime_ms()
    builder.open(wire.S_CLOCK)
    builder.number(uptime_ms, 6)
    builder.number(clock.unix_ms(uptime_ms), 6)
    builder.number(min(0xFFFFFFFF, clock.error_ms(uptime_ms)), 4)
    builder.u8(clock.source)
    builder.close()


def text(builder: "FrameBuilder", line: str) -> None:
    """TEXT: one line for people, cut at 200 bytes."""
    builder.open(wire.S_TEXT)
    builder.raw(line.encode()[:TEXT_MAX])
    builder.close()


def outcome(
    builder: "FrameBuilder", type: int, id: int, code: int, status: int, data: bytes
) -> None:
    """OUTCOME: what became of a COMMAND, CONFIG or UPDATE."""
    builder.open(wire.S_OUTCOME)
    builder.u8(type)
    builder.number(id, 2)
    builder.number(code, 2)
    builder.u8(status)
    builder.raw(data[:64])
    builder.close()


def samples(builder: "FrameBuilder", batch: "Any") -> int:
    """SAMPLES with as many of the batch's rows as fit; 0 when none does."""
    try:
        written: int = batch.encode(builder)
    except Overflow:
        return 0
    return written
