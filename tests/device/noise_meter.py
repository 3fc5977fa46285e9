"""Runs the whole meter over a file of samples in virtual time; a JSON row for each period.

Arguments: samples, options as JSON, length of a period in ms, "wide" as in noise_blocks.py.
"""

import json
import sys

if sys.argv[4:] == ["wide"]:
    import wide_viper

    wide_viper.install()

from firmware.noise import reasons
from firmware.noise.meter import Meter

STEP_MS = 20
BYTES_A_MS = 192


class Tape:
    """A port that gives what has come due of a file."""

    def __init__(self, file):
        self.file = file
        self.now_ms = 0
        self.taken = 0
        self.ended = False

    def readinto(self, buffer):
        wanted = min(len(buffer), self.now_ms * BYTES_A_MS - self.taken)
        if wanted <= 0:
            return 0
        data = self.file.read(wanted)
        self.ended = self.ended or len(data) < wanted
        self.taken += len(data)
        buffer[: len(data)] = data
        return len(data)


class Row:
    def __init__(self):
        self.values = []

    def put(self, channel, value, quality=0):
        self.values.append([value, quality])

    def put_vector(self, channel, values, quality=0):
        self.values.append([list(values), quality])


period_ms = int(sys.argv[3])
with open(sys.argv[1], "rb") as samples:
    tape = Tape(samples)
    meter = Meter(tape, json.loads(sys.argv[2]), 0)
    asked_ms = period_ms
    while not tape.ended:
        tape.now_ms += STEP_MS
        if tape.now_ms >= asked_ms:
            meter.begin(tape.now_ms)
            asked_ms += period_ms
        meter.poll(tape.now_ms)
        if meter.ready:
            row = Row()
            meter.read(row)
            print(json.dumps([row.values, reasons.names(meter.reasons)]))
