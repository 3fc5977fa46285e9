"""The noise meter of a board on the bench: its levels second by second, and its constant."""

import json
from collections.abc import Mapping
from typing import Any

from hardware.faults import BenchError, Exit
from hardware.install import SLOT
from hardware.selftest import PREPARE
from hardware.session import Session, session

SETTING = "noise_calibration_cdb"
LEVELS = """
from firmware import sensors
from firmware.settings import Settings
from protocol.quantity import LAEQ
settings = Settings(hal.files)
settings.load()
class Row:
 def put(self, channel, value, quality=0):
  if quantities[channel] == LAEQ:
   print(json.dumps([value, quality]))
 def put_vector(self, channel, values, quality=0):
  pass
entry = [e for e in board['sensors'] if e['bus'].startswith('i2s:')][0]
start = hal.ticks_ms()
def now():
 return hal.ticks_diff(hal.ticks_ms(), start)
meter = sensors.from_board(entry, hal, now())
meter.calibrate(settings[{setting!r}] / 100)
quantities = [c[0] for c in meter.CHANNELS]
due = {settle_ms}
seconds = 0
while seconds < {seconds}:
 meter.poll(now())
 if now() >= due:
  meter.begin(now())
  while not meter.ready:
   meter.poll(now())
   hal.sleep_ms(2)
  if due > {settle_ms}:
   meter.read(Row())
   seconds += 1
  meter.ready = False
  due += 1000
 hal.sleep_ms(5)
"""
KEEP = """
from firmware.settings import Settings
settings = Settings(hal.files)
settings.load()
total = settings[{setting!r}] + {change}
settings.set({setting!r}, total)
settings.save()
print(total)
"""
SETTLE_MS = 4000


def levels_db(port: str, seconds: int) -> list[float]:
    """LAeq of each second, in dB. Raises BenchError when the meter doubts what it hears."""
    with session(port, timeout_s=seconds + 15) as opened:
        _has_meter(opened)
        code = PREPARE.format(slot=SLOT) + LEVELS.format(
            setting=SETTING, seconds=seconds, settle_ms=SETTLE_MS
        )
        lines = opened.run(code, timeout_s=seconds + 30).splitlines()
    answers = [json.loads(line) for line in lines if line.startswith("[")]
    doubtful = [quality for _, quality in answers if quality]
    if doubtful or not answers:
        raise BenchError(
            Exit.TEST_FAILED,
            f"The meter doubts {len(doubtful)} of {len(answers)} seconds",
            "Look at the microphone with `osn-board selftest`",
        )
    return [value / 10 for value, _ in answers]


def keep_offset(port: str, offset_db: float) -> float:
    """Add an offset to the constant that the board keeps; returns the new constant in dB."""
    with session(port) as opened:
        code = KEEP.format(setting=SETTING, change=round(offset_db * 100))
        return int(opened.run(PREPARE.format(slot=SLOT) + code)) / 100


def _has_meter(opened: Session) -> None:
    board: Mapping[str, Any] = json.loads(opened.run("print(open('board.json').read())"))
    if not any(entry["bus"].startswith("i2s:") for entry in board["sensors"]):
        raise BenchError(
            Exit.USAGE,
            f"Board {board['board']} on {opened.port} has no microphone",
            "Choose another port",
        )
