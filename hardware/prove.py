"""What no simulator can know, measured on the board in hand; nothing in it names anybody."""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from hardware import bench, selftest
from hardware.faults import BenchError
from hardware.install import SLOT
from hardware.selftest import PREPARE
from hardware.session import Session, check_version, session

Progress = Callable[[str, float], None]
WRITES = 50
BLOCKS = 200
FRAMES = 10_000

HEAP = """
import gc
gc.collect()
before = gc.mem_free()
idf = hal.idf_heap()
import network
w = network.WLAN(network.STA_IF)
w.active(True)
hal.sleep_ms(500)
idf_wifi = hal.idf_heap()
import ssl
print(json.dumps([before, idf, idf_wifi]))
"""
FLASH = """
import time
longest = total = 0
data = bytes(400)
for _ in range({writes}):
 t = time.ticks_us()
 with open('prove.bin', 'ab') as f:
  f.write(data)
 d = time.ticks_diff(time.ticks_us(), t)
 longest = max(longest, d)
 total += d
os.remove('prove.bin')
print(json.dumps([total // {writes}, longest]))
"""
METER = """
import time, machine
from array import array
from firmware.noise.loader import load
from firmware.noise.microphones import FLAT
from firmware.noise.state import BLOCK, new_state
weigh, takes_bytes = load()
state = new_state(FLAT.coefficients)
block = array('i', [0] * BLOCK)
t = time.ticks_us()
for _ in range({blocks}):
 weigh(0, 0, block, state)
d = time.ticks_diff(time.ticks_us(), t)
print(json.dumps([d // {blocks}, machine.freq(), takes_bytes]))
"""
GAPS = """
import time
t = time.ticks_ms()
hal.sleep_ms(1000)
print(json.dumps(time.ticks_diff(time.ticks_ms(), t)))
"""
TICKS = "import time\nprint(time.ticks_ms())"
FRAME = """
import sys
from protocol.frame import FrameBuilder
from protocol.mac import Mac
from protocol import cobs, wire
def frames(first, count):
 builder = FrameBuilder(256, Mac(bytes(32)))
 out = bytearray(400)
 for seq in range(first, first + count):
  builder.begin(wire.T_LOG, 1, 1, seq)
  builder.open(wire.S_TEXT)
  builder.raw(b'frame %d' % seq)
  builder.close()
  n = builder.finish()
  m = cobs.encode_into(builder.buf, n, out)
  print(''.join('%02x' % b for b in out[:m]))
"""
TICKS_PERIOD = 1 << 30


def prove(
    port: str, minutes: float, frames: int = FRAMES, progress: Progress = lambda step, part: None
) -> dict[str, Any]:
    """Measure everything; a part that fails says so in its place. Takes `minutes` for the drift."""
    found: dict[str, Any] = {}
    with session(port) as opened:
        found["micropython"] = dict(check_version(opened, None))
        found["machine"] = opened.run("import sys\nprint(sys.implementation._machine)").strip()
        opened.run(PREPARE.format(slot=SLOT))
        board: Mapping[str, Any] = json.loads(opened.run("print(json.dumps(board))"))
        found["board"] = board["board"]
        first = _ticks(opened)
        parts: list[tuple[str, Callable[[], Any]]] = [
            ("heap", lambda: _named(opened.run(HEAP), "free", "idf_free", "idf_free_with_wifi")),
            (
                "flash_us",
                lambda: _named(opened.run(FLASH.format(writes=WRITES)), "mean", "longest"),
            ),
            ("sleep_of_1000_ms", lambda: json.loads(opened.run(GAPS))),
            ("serial", lambda: _serial(opened, frames, progress)),
        ]
        if any(entry["bus"].startswith("i2s:") for entry in board["sensors"]):
            parts.append(("meter_block", lambda: _meter(opened)))
        for number, (name, part) in enumerate(parts):
            progress(name, number / len(parts))
            found[name] = _tried(part)
        _wait(first[0], minutes * 60, progress)
        found["clock_ppm"] = _drift(first, _ticks(opened))
    found["power_cut"] = selftest.flash(port, lambda: bench.restart(port)).state
    return found


def _tried(part: Callable[[], Any]) -> Any:
    try:
        return part()
    except BenchError as fault:
        return {"failed": fault.advice.happened}


def _named(text: str, *names: str) -> dict[str, Any]:
    return dict(zip(names, json.loads(text), strict=True))


def _meter(opened: Session) -> dict[str, Any]:
    block_us, frequency, machine_code = json.loads(opened.run(METER.format(blocks=BLOCKS)))
    return {
        "us": block_us,
        "cycles": block_us * frequency // 1_000_000,
        "machine_code": machine_code,
        "core_percent": round(block_us / 100, 2),
    }


def _serial(opened: Session, frames: int, progress: Progress) -> dict[str, Any]:
    """Frames made on the board, sent as hexadecimal lines, and counted here."""
    from protocol.decoder import decode
    from protocol.serial_stream import RawFrame, SerialStream
    from protocol.wire import FrameError

    opened.run(FRAME)
    stream = SerialStream()
    good: set[int] = set()
    start_s = time.monotonic()
    step = 100
    for first in range(1, frames + 1, step):
        for line in opened.run(f"frames({first}, {min(step, frames + 1 - first)})").split():
            for item in stream.feed(bytes.fromhex(line)):
                if isinstance(item, RawFrame):
                    try:
                        good.add(decode(item.raw).seq)
                    except FrameError:
                        continue
        progress("serial", first / frames)
    return {
        "frames": frames,
        "arrived_whole": len(good),
        "frames_per_s": round(frames / (time.monotonic() - start_s), 1),
    }


def _ticks(opened: Session) -> tuple[float, int]:
    before_s = time.monotonic()
    ticks = int(opened.run(TICKS))
    return (before_s + time.monotonic()) / 2, ticks


def _drift(first: tuple[float, int], last: tuple[float, int]) -> float:
    """Parts per million that the board's clock runs fast against this computer's."""
    elapsed_s = last[0] - first[0]
    board_s = ((last[1] - first[1]) % TICKS_PERIOD) / 1000
    return round((board_s - elapsed_s) / elapsed_s * 1e6, 1)


def _wait(start_s: float, duration_s: float, progress: Progress) -> None:
    while (passed_s := time.monotonic() - start_s) < duration_s:
        progress("clock", passed_s / duration_s)
        time.sleep(min(1.0, duration_s - passed_s))
