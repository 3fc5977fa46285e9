"""Noise floor and tone test: what a microphone hears in quiet, and of a tone that somebody plays.

The board measures with its own meter, with the spectrum switched on, second by second.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import log10
from typing import Any

from hardware.faults import BenchError
from hardware.install import SLOT
from hardware.selftest import PREPARE, Result
from hardware.session import Session

LISTEN = """
from firmware import sensors
from firmware.settings import Settings
from protocol.quantity import LAEQ
class Second:
 def put(self, channel, value, quality=0):
  if quantities[channel] == LAEQ:
   self.level = value
   self.quality = quality
 def put_vector(self, channel, values, quality=0):
  self.bands = [v for v in values]
settings = Settings(hal.files)
settings.load()
start = hal.ticks_ms()
def now():
 return hal.ticks_diff(hal.ticks_ms(), start)
meter = sensors.from_board({entry!r}, hal, now())
meter.calibrate(settings['noise_calibration_cdb'] / 100)
quantities = [c[0] for c in meter.CHANNELS]
def second(count):
 row = Second()
 row.level = row.quality = 0
 row.bands = []
 for i in range(count + 1):
  due = now() if i == 0 else due + 1000
  while now() < due:
   meter.poll(now())
   hal.sleep_ms(5)
  meter.begin(now())
  while not meter.ready:
   meter.poll(now())
   hal.sleep_ms(2)
  meter.read(row)
  meter.ready = False
  if i:
   print(json.dumps([row.level, row.quality, row.bands]))
"""
SETTLE = "end = now() + {settle_ms}\nwhile now() < end:\n meter.poll(now())\n hal.sleep_ms(5)"
SETTLE_MS = 3000
QUIET_S = 3
TONE_S = 3
WAIT_S = 60
FLOOR_MAX_DB = 45.0
FAINT_DB = 15.0
"""A tone has to stand so far above the quiet room's own level in its band to be taken for one."""
TOLERANCE_DB = 5.0
"""Uncalibrated microphone 1 dB, a telephone's or speaker's level read from a simple meter 4 dB."""
PURE_DB = 10.0
FIRST_BAND = 13
BANDS = 31
DOUBTS = {2: "no sound", 6: "no sound", 8: "sound that it does not trust"}


@dataclass(frozen=True, slots=True)
class Tone:
    """What somebody plays: frequency, and level at the microphone."""

    frequency_hz: float
    level_db: float

    @property
    def band(self) -> int:
        """The place of its one-third-octave band among the board's 31, from 20 Hz."""
        return round(10 * log10(self.frequency_hz)) - FIRST_BAND


@dataclass(frozen=True, slots=True)
class Second:
    """One second: A-weighted level, the meter's own judgement (0: ok), levels of the bands."""

    level_db: float
    quality: int
    bands_db: Sequence[float]


def listen(
    opened: Session,
    entry: Mapping[str, Any],
    tone: Tone | None,
    tell: Callable[[str], None] = lambda text: None,
    wait_s: int = WAIT_S,
) -> Iterator[Result]:
    """Noise floor, then the tone; tell is given what the technician has to do, when it is due."""
    name = f"{entry['driver']} on {entry['bus']}"
    wanted = {**entry, "options": {**entry["options"], "bands": "z"}}
    try:
        tell("Keep quiet: the microphone's noise floor is measured")
        opened.run(PREPARE.format(slot=SLOT) + LISTEN.format(entry=wanted))
        opened.run(SETTLE.format(settle_ms=SETTLE_MS), timeout_s=SETTLE_MS / 1000 + 15)
        quiet = _seconds(opened, QUIET_S)
        yield judge_floor(f"{name}, noise floor", quiet)
        if tone is None:
            return
        tell(
            f"Play a tone of {tone.frequency_hz:g} Hz with {tone.level_db:g} dB at the microphone, "
            f"and leave it on for {TONE_S + 1} s; there are {wait_s} s to begin"
        )
        heard = _hear(opened, quiet, tone, wait_s)
    except BenchError as fault:
        yield Result(name, "failed", fault.advice.happened)
        return
    yield judge_tone(f"{name}, tone", quiet, heard, tone)


def _hear(opened: Session, quiet: Sequence[Second], tone: Tone, wait_s: int) -> list[Second]:
    """The seconds after a loud sound has begun; the last second where none does."""
    floor_db = max(second.level_db for second in quiet)
    for _ in range(wait_s):
        (last,) = _seconds(opened, 1)
        if last.level_db > floor_db + FAINT_DB:
            return _seconds(opened, TONE_S)
    return [last]


def _seconds(opened: Session, count: int) -> list[Second]:
    text = opened.run(f"second({count})", timeout_s=count + 10)
    rows = [json.loads(line) for line in text.splitlines() if line.startswith("[")]
    return [
        Second(level / 10, quality, [value / 2 for value in bands])
        for level, quality, bands in rows
    ]


def judge_floor(name: str, quiet: Sequence[Second]) -> Result:
    """A microphone in a quiet room hears little, and its meter trusts what it hears."""
    doubt = next((second.quality for second in quiet if second.quality in DOUBTS), None)
    if doubt is not None:
        return Result(name, "failed", f"{DOUBTS[doubt]}: check the microphone's wires and supply")
    lowest_db = min(second.level_db for second in quiet)
    seen = f"{lowest_db:.1f} dB(A)"
    if lowest_db > FLOOR_MAX_DB:
        return Result(
            name, "failed",
            f"{seen}, more than {FLOOR_MAX_DB:g}: find a quieter room, or another microphone",
        )  # fmt: skip
    return Result(name, "passed", seen)


def judge_tone(name: str, quiet: Sequence[Second], heard: Sequence[Second], tone: Tone) -> Result:
    """The tone's band has its level, and stands above all others but its neighbours."""
    band = tone.band
    level_db = _mean(heard, band)
    before_db = _mean(quiet, band)
    if level_db < before_db + FAINT_DB:
        loudest = max(range(BANDS), key=lambda place: _mean(heard, place) - _mean(quiet, place))
        rise_db = _mean(heard, loudest) - _mean(quiet, loudest)
        if rise_db > FAINT_DB:
            return Result(
                name, "failed",
                f"a sound at {_center_hz(loudest):.0f} Hz, none at {tone.frequency_hz:g} Hz: play "
                "the right tone; if it was right, the microphone's clock is wrong",
            )  # fmt: skip
        return Result(name, "failed", f"no tone was heard at {tone.frequency_hz:g} Hz: play it")
    others = [_mean(heard, place) for place in range(BANDS) if abs(place - band) > 1]
    seen = f"{level_db:.1f} dB at {tone.frequency_hz:g} Hz, {tone.level_db:g} played"
    if max(others) > level_db - PURE_DB:
        return Result(name, "failed", f"{seen}, but not pure: play it without distortion or music")
    if abs(level_db - tone.level_db) > TOLERANCE_DB:
        return Result(
            name, "failed",
            f"{seen}: compare with a meter at the microphone, look for a blocked or leaking port",
        )  # fmt: skip
    return Result(name, "passed", seen)


def _mean(seconds: Sequence[Second], place: int) -> float:
    """Energy mean of a band's level."""
    total = sum(10.0 ** (second.bands_db[place] / 10) for second in seconds)
    return 10 * log10(total / len(seconds))


def _center_hz(place: int) -> float:
    return float(10.0 ** ((FIRST_BAND + place) / 10))
