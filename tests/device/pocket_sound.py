"""A microphone on the VM: its sound is a file, its clock is the true one, and its DMA runs over."""

import time

from firmware.noise.meter import Meter
from firmware.noise.stream import DMA_MS

WORDS_A_MS = 48
_VALID_TIME = 8


class TapeI2s:
    """machine.I2S whose 32-bit words come from a file, over and over, as time passes.

    What nobody has fetched for longer than the DMA's buffer holds is gone: lost counts it.
    """

    def __init__(self, path):
        self._tape = open(path, "rb")
        self._length = self._tape.seek(0, 2) // 4
        self._started = time.ticks_ms()
        self._at = 0
        self.given = 0
        self.lost = 0
        self.gaps = 0

    def readinto(self, buffer):
        due = time.ticks_diff(time.ticks_ms(), self._started) * WORDS_A_MS
        late = due - self._at - DMA_MS * WORDS_A_MS
        if late > 0:
            self._at += late
            self.lost += late
            self.gaps += 1
        count = min(len(buffer) // 4, due - self._at)
        left = count
        filled = 0
        while left:
            place = self._at % self._length
            piece = min(left, self._length - place)
            self._tape.seek(4 * place)
            self._tape.readinto(memoryview(buffer)[filled : filled + 4 * piece])
            filled += 4 * piece
            self._at += piece
            left -= piece
        self.given += count
        return 4 * count


class CountingMeter(Meter):
    """The meter itself; it also adds up what its rows say that was heard."""

    def __init__(self, tape, now_ms):
        Meter.__init__(self, tape, {"microphone": "ics43434"}, now_ms)
        self._tape = tape
        self._began_ms = now_ms
        self.rows = 0
        self.valid_ms = 0
        self.shortest_ms = 1 << 30
        self.levels = []

    def read(self, row):
        Meter.read(self, row)
        heard = self._values[_VALID_TIME]
        self.rows += 1
        self.valid_ms += heard
        self.shortest_ms = min(self.shortest_ms, heard)
        if heard:
            self.levels.append(self._values[0])

    def account(self):
        """What was there to be heard, what came, what was lost, and what the rows say; in ms."""
        return {
            "rows": self.rows,
            "period_ms": self._last_cut_ms - self._began_ms,
            "given_ms": self._tape.given // WORDS_A_MS,
            "lost_ms": self._tape.lost // WORDS_A_MS,
            "gaps": self._tape.gaps,
            "valid_ms": self.valid_ms,
            "shortest_ms": self.shortest_ms,
            "lowest": min(self.levels),
            "highest": max(self.levels),
        }
