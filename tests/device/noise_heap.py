"""Runs the meter for seconds of sound under heap_lock(): a heap allocation would raise MemoryError.

Prints "no allocation" and the levels that were measured. Argument "wide" as in noise_blocks.py.
"""

import sys
from array import array

import micropython

if sys.argv[1:] == ["wide"]:
    import wide_viper

    wide_viper.install()

from firmware.noise.meter import Meter

BYTES_A_STEP = 3840  # 20 ms


class Port:
    """A machine.I2S that is non-blocking: fill() is the DMA."""

    def __init__(self):
        self.target = None
        self.filled = 0
        self.handler = None
        self.noise = 1

    def irq(self, handler):
        self.handler = handler

    def readinto(self, buffer):
        self.target = buffer
        self.filled = 0
        return 0

    def fill(self, count):
        target = self.target
        place = self.filled
        noise = self.noise
        for _ in range(count // 4):
            noise = (noise * 1541 + 3) & 0xFFFFF
            target[place] = 0
            target[place + 1] = noise & 0xFF
            target[place + 2] = (noise >> 8) & 0xFF
            target[place + 3] = 0 if noise & 0x80000 else 255
            place += 4
        self.noise = noise
        self.filled = place
        if place == len(target):
            self.handler(self)


class Row:
    def __init__(self):
        self.values = []

    def put(self, channel, value, quality=0):
        self.values.append(value)

    def put_vector(self, channel, values, quality=0):
        self.values.append(len(values))


port = Port()
meter = Meter(port, {"bands": "z", "histogram": True, "threshold_db": 50}, 0)
array("i", [1])
now_ms = 0
while now_ms < 3000:
    now_ms += 20
    port.fill(BYTES_A_STEP)
    micropython.heap_lock()
    try:
        meter.service(now_ms)
    finally:
        micropython.heap_unlock()
print("no allocation")
meter.begin(now_ms)
now_ms += 400
meter.poll(now_ms)
row = Row()
meter.read(row)
print(row.values)
