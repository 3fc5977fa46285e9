"""What a board says on its serial line, put into words as it comes."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import serial

from hardware import faults
from hardware.session import patiently
from protocol import wire
from protocol.decoder import Frame, decode, open_frame
from protocol.mac import derive
from protocol.reading import readings
from protocol.registry import REGISTRY
from protocol.serial_stream import ConsoleLine, SerialStream
from protocol.wire import FrameError

TYPES = {
    wire.T_DATA: "DATA",
    wire.T_HELLO: "HELLO",
    wire.T_LIVE: "LIVE",
    wire.T_LOG: "LOG",
    wire.T_RESULT: "RESULT",
}
READINGS_MAX = 12
READ_S = 0.2
READ_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened on the line, as text and as JSON facts."""

    text: str
    facts: Mapping[str, Any]


class Monitor:
    """Bytes in, events out; keys by node let frames be checked."""

    def __init__(self, keys: Mapping[int, bytes]) -> None:
        self._keys = {node: derive(key, b"up") for node, key in keys.items()}
        self._stream = SerialStream()

    def feed(self, data: bytes) -> Iterator[Event]:
        """Events that are complete after these bytes."""
        for item in self._stream.feed(data) if data else self._stream.flush():
            if isinstance(item, ConsoleLine):
                yield Event(f"  | {item.text}", {"console": item.text})
            else:
                yield self._frame(item.raw)

    def _frame(self, raw: bytes) -> Event:
        try:
            frame = decode(raw)
        except FrameError as fault:
            return Event(f"refused: {fault}", {"refused": str(fault), "bytes": len(raw)})
        checked = self._check(raw, frame)
        name = TYPES.get(frame.type, f"type {frame.type}")
        values = _values(frame)
        head = (
            f"{name:<6} {frame.node:08x} boot {frame.boot} seq {frame.seq} {len(raw)} B {checked}"
        )
        text = "\n".join([head, *(f"       {name} = {value}" for name, value in values)])
        facts = {
            "frame": name, "node": f"{frame.node:08x}", "boot": frame.boot, "seq": frame.seq,
            "bytes": len(raw), "checked": checked, "values": dict(values),
        }  # fmt: skip
        return Event(text if not frame.text else f"{head}\n       {frame.text}", facts)

    def _check(self, raw: bytes, frame: Frame) -> str:
        key = self._keys.get(frame.node)
        if key is None:
            return "not checked"
        try:
            open_frame(raw, key)
        except FrameError as fault:
            return f"NOT AUTHENTIC ({fault})"
        return "authentic"


def watch(port: str, monitor: Monitor, baud: int, seconds: float | None) -> Iterator[Event]:
    """Events of a port as they come, for so many seconds or for ever.

    The modem lines are left low, so that the board is not reset. Raises BenchError.
    """
    line = serial.Serial(baudrate=baud, timeout=READ_S, exclusive=True)
    line.port, line.dtr, line.rts = port, False, False
    patiently(port, line.open)
    end_s = None if seconds is None else time.monotonic() + seconds
    try:
        while end_s is None or time.monotonic() < end_s:
            yield from monitor.feed(line.read(max(1, min(line.in_waiting, READ_BYTES))))
    except (OSError, TypeError) as fault:
        raise faults.connection_lost(port) from fault
    finally:
        line.close()
    yield from monitor.feed(b"")


def _values(frame: Frame) -> list[tuple[str, str]]:
    """The newest value of each scalar channel, at most a dozen."""
    newest: dict[str, str] = {}
    for reading in readings(frame):
        row = REGISTRY.get(reading.quantity)
        if row is None or reading.band is not None:
            continue
        suffix = f"[{reading.instance}]" if reading.instance else ""
        flag = "" if reading.quality == 0 else f" (quality {reading.quality})"
        value = "no value" if reading.value is None else f"{reading.value:g} {row.unit}"
        newest[row.name + suffix] = value + flag
    return list(newest.items())[:READINGS_MAX]
