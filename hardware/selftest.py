"""The acceptance test of a board: every part of it found, answering and plausible."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hardware import session as sessions
from hardware.faults import BenchError
from hardware.install import SLOT
from hardware.session import Session
from protocol import names, wire
from protocol.registry import REGISTRY

PREPARE = """
import sys, json, time, os
slot = os.getcwd().rstrip('/') + '/{slot}'
if slot not in sys.path:
 sys.path.insert(0, slot)
from firmware.hal import BoardHal
with open('board.json') as f:
 board = json.load(f)
try:
 hal
except NameError:
 hal = BoardHal(board)
"""
SENSOR = """
from firmware import sensors
class Row:
 def __init__(self):
  self.got = []
 def put(self, channel, value, quality=0):
  self.got.append((channel, value, quality))
def ask(entry, wait_ms):
 start = hal.ticks_ms()
 sensor = sensors.from_board(entry, hal, 0)
 row = Row()
 while True:
  now = hal.ticks_diff(hal.ticks_ms(), start)
  if not row.got:
   sensor.begin(now)
  while not sensor.ready and now < wait_ms:
   pause = sensor.poll(now)
   hal.sleep_ms(10 if pause < 0 else max(1, min(pause, 50)))
   now = hal.ticks_diff(hal.ticks_ms(), start)
  row.got = []
  sensor.read(row)
  if now >= wait_ms or any(q not in (2, 6) for _, _, q in row.got):
   break
 c = sensor.CHANNELS
 values = [[c[i][0], c[i][1], v, q] for i, v, q in row.got]
 print(json.dumps([values, sensor.bus_errors, sensor.checksum_errors]))
"""
FLASH = """
import hashlib
data = bytes(range(256)) * 16
with open('selftest.bin', 'wb') as f:
 f.write(data)
with open('selftest.bin', 'rb') as f:
 print(f.read() == data)
"""
WIFI = """
import network
w = network.WLAN(network.STA_IF)
w.active(True)
print(json.dumps([[n[0].decode(), n[3]] for n in w.scan()]))
"""
LINK = """
from firmware.node import Node
from firmware.settings import Settings
settings = Settings(hal.files)
settings.load()
node = Node(hal, board, settings)
node.start()
start = hal.ticks_ms()
while hal.ticks_diff(hal.ticks_ms(), start) < {wait_ms} and not node.downlink.collector:
 hal.sleep_ms(max(1, min(node.step(), 50)))
t = node.transport
print(json.dumps([node.downlink.collector, bool(t and t.connected), str(t.reason) if t else '']))
"""
ANSWER_MS = 4000
LINK_MS = 30000
BAD = (wire.Q_FAULT, wire.Q_MISSING)


@dataclass(frozen=True, slots=True)
class Result:
    """One check: state is "passed", "failed" or "skipped"; detail says what was seen."""

    check: str
    state: str
    detail: str


Report = Callable[[Result], None]


def sensors(opened: Session, board: Mapping[str, Any]) -> Iterator[Result]:
    """Ask every sensor of the board file for values."""
    opened.run(PREPARE.format(slot=SLOT) + SENSOR)
    for entry in board["sensors"]:
        if entry["bus"].startswith("i2s:"):
            continue
        name = f"{entry['driver']} on {entry['bus']}"
        try:
            answer = json.loads(opened.run(f"ask({entry!r}, {ANSWER_MS})"))
        except BenchError as fault:
            yield Result(name, "failed", fault.advice.happened)
            continue
        yield judge(name, *answer)


def judge(name: str, values: list[list[Any]], bus_errors: int, checksum_errors: int) -> Result:
    """A sensor passes when it answers and what it says is plausible."""
    answered = [value for value in values if value[3] not in BAD]
    if not answered:
        seen = f"no answer ({bus_errors} bus errors, {checksum_errors} bad checksums)"
        if not bus_errors and not checksum_errors and name.startswith("neo6m"):
            return Result(name, "passed", "answers, no fix yet")
        return Result(name, "failed", f"{seen}: check its plug and its supply")
    text = ", ".join(_value_text(*value) for value in answered)
    doubtful = [value for value in answered if value[3] > 1]
    return Result(name, "failed" if doubtful else "passed", text)


def _value_text(quantity: int, exponent: int | None, value: int, quality: int) -> str:
    row = REGISTRY[quantity]
    flag = f" ({names.name(names.QUALITIES, quality)})" if quality != wire.Q_OK else ""
    return f"{row.name} {row.value(value, exponent):g} {row.unit}{flag}"


def flash(port: str, restart: Callable[[], None]) -> Result:
    """Write, read back, cut the power (a hard reset) at once, and read again."""
    try:
        with sessions.session(port) as opened:
            if opened.run(FLASH).strip() != "True":
                return Result("flash", "failed", "what was written reads differently")
        restart()
        with sessions.session(port) as opened:
            wanted = hashlib.sha256(bytes(range(256)) * 16).hexdigest()
            found = opened.digests(["selftest.bin"])["selftest.bin"]
            opened.remove("selftest.bin")
    except BenchError as fault:
        return Result("flash", "failed", fault.advice.happened)
    if found != wanted:
        return Result("flash", "failed", "a file written before a reset was damaged by it")
    return Result("flash", "passed", "4096 bytes written, whole after a reset")


def wifi(opened: Session, ssid: str) -> Result:
    """The network that the board shall use is in reach."""
    try:
        found = json.loads(opened.run(PREPARE.format(slot=SLOT) + WIFI))
    except BenchError as fault:
        return Result("Wi-Fi", "failed", fault.advice.happened)
    levels = [rssi for name, rssi in found if name == ssid]
    if not ssid:
        return Result("Wi-Fi", "skipped", f"no network configured; {len(found)} in reach")
    if not levels:
        return Result("Wi-Fi", "failed", f"{ssid} is not among the {len(found)} in reach")
    strong = max(levels) >= -80
    return Result("Wi-Fi", "passed" if strong else "failed", f"{ssid} at {max(levels)} dBm")


def acknowledged(opened: Session, wait_ms: int = LINK_MS) -> Result:
    """Run the firmware until a collector has acknowledged a frame."""
    try:
        code = PREPARE.format(slot=SLOT) + LINK.format(wait_ms=wait_ms)
        collector, connected, reason = json.loads(opened.run(code).splitlines()[-1])
    except BenchError as fault:
        return Result("broker", "failed", fault.advice.happened)
    if collector:
        return Result("broker", "passed", f"a frame was acknowledged by collector {collector:08x}")
    if connected:
        return Result(
            "broker",
            "failed",
            "connected, but no collector acknowledged: import the record there first",
        )
    return Result("broker", "failed", reason or "no connection")


def wait_for_prompt(port: str, timeout_s: float = 15) -> None:
    """Wait until the board answers again after a reset. Raises BenchError."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        try:
            with sessions.session(port, timeout_s=3):
                return
        except BenchError:
            if time.monotonic() > deadline_s:
                raise
