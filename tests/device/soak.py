"""A whole street node in virtual time: real drivers on canned buses, a real link; prints its heap.

Arguments: settings as JSON, virtual hours, hours between two prints. A print is a JSON line with
hour and heap_bytes: what is in use after a collection.
"""

import gc
import json
import sys
import time

from pocket import NODE, PocketHal

START_MS = 0


class Clock:
    """Virtual time: it moves when the node sleeps."""

    now_ms = START_MS


class CannedUart:
    """A PMS5003 in active mode: a frame each second, whose count changes."""

    def __init__(self):
        self._frame = bytearray(b"BM\x00\x1c" + bytes(28))
        self._sent_ms = 0
        self._left = 0

    def any(self):
        if not self._left and Clock.now_ms - self._sent_ms >= 1000:
            self._sent_ms = Clock.now_ms
            frame = self._frame
            wander = Clock.now_ms // 1000 % 7
            for index in range(12):
                frame[5 + 2 * index] = (120 - 10 * index if index > 5 else 9) + wander
            total = 0
            for index in range(30):
                total += frame[index]
            frame[30] = total >> 8
            frame[31] = total & 255
            self._left = 32
        return self._left

    def readinto(self, buffer, count=-1):
        left = self.any()
        if not left:
            return None
        count = min(len(buffer), left)
        buffer[:count] = self._frame[32 - left : 32 - left + count]
        self._left = left - count
        return count

    def write(self, data):
        return len(data)


def crc8(data):
    crc = 0xFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x31 if crc & 0x80 else crc << 1) & 0xFF
    return crc


class CannedI2c:
    """A BME280 at 0x76 and an SHT4x at 0x44 with readings that wander."""

    LOW = bytes.fromhex("706b43671803000a7d8e43d6d00b270b8c00f9ff8c3cf8c670174b00")[:26]
    HIGH = bytes.fromhex("72010013290300")

    def __init__(self):
        self._word = bytearray(6)

    def _step(self):
        return Clock.now_ms // 60000 % 50

    def readfrom_mem(self, address, register, count):
        if address != 0x76:
            raise OSError(19)
        if register == 0xD0:
            return b"\x60"
        if register == 0x88:
            return self.LOW
        if register == 0xE1:
            return self.HIGH
        return bytes(count)

    def readfrom_mem_into(self, address, register, buffer):
        if address != 0x76:
            raise OSError(19)
        buffer[:] = bytes((0x65, 0x5A, 0xC0, 0x7E, 0xED, 0, 0x6A, self._step()))

    def writeto(self, address, data):
        if address != 0x44:
            raise OSError(19)
        return len(data)

    def writeto_mem(self, address, register, data):
        pass

    def readfrom_into(self, address, buffer):
        if address != 0x44:
            raise OSError(19)
        word = bytes((0x66, self._step()))
        self._word[:2] = self._word[3:5] = word
        self._word[2] = self._word[5] = crc8(word)
        buffer[:] = self._word[: len(buffer)]


class CannedI2s:
    """A microphone that gives a little sound now and then (a week of sound would take a week)."""

    _given_ms = -1

    def readinto(self, buffer):
        if Clock.now_ms == self._given_ms or Clock.now_ms % 10000 > 1000:
            return 0
        self._given_ms = Clock.now_ms
        for index in range(0, len(buffer), 97):
            buffer[index] = index & 255
        return len(buffer)


class SoakHal(PocketHal):
    def __init__(self, board):
        PocketHal.__init__(self, None, NODE)
        self.board = board
        self._uart = CannedUart()
        self._i2c = CannedI2c()

    def ticks_ms(self):
        return Clock.now_ms & 0x3FFFFFFF

    def ticks_diff(self, a, b):
        return ((a - b + 0x20000000) & 0x3FFFFFFF) - 0x20000000

    def uart(self, name, **_):
        return self._uart

    def i2c(self, name):
        return self._i2c

    def i2s(self, spec):
        return CannedI2s()


BOARD = {
    "board": "street",
    "i2s": {"mic": {"id": 0, "sck": 26, "ws": 25, "sd": 33}},
    "sensors": [
        {"driver": "pms5003", "bus": "uart:pms"},
        {"driver": "bme280", "bus": "i2c:main", "options": {"address": 0x76}},
        {"driver": "sht41", "bus": "i2c:main", "instance": 1, "options": {"address": 0x44}},
    ],
}
if "quiet" not in sys.argv:
    BOARD["sensors"].append({"driver": "ics43434", "bus": "i2s:mic"})


def main():
    from firmware.node import Node
    from firmware.settings import Settings

    given = json.loads(sys.argv[1])
    hours = int(sys.argv[2])
    every = int(sys.argv[3])
    settings = Settings()
    for name in given:
        settings.set(name, given[name])
    del given
    node = Node(SoakHal(BOARD), BOARD, settings)
    node.start()
    hour = 0
    while hour <= hours:
        wait = node.step()
        if not node.link.connected:
            time.sleep_ms(2)  # a connection takes true time
            wait = min(wait, 20)
        elif Clock.now_ms - node.link._sent_ms < 300 or node.transport._asked >= 0:
            time.sleep_ms(1)  # so does an answer
            wait = min(wait, 20)
        else:
            wait = max(wait, 500)
        Clock.now_ms += max(1, wait)
        if Clock.now_ms >= hour * 3600000:
            gc.collect()
            print(
                json.dumps(
                    {
                        "hour": hour,
                        "heap_bytes": gc.mem_alloc(),
                        "rows": node.sampler.rows,
                        "issued": node.outbox.issued,
                        "settled": node.outbox.settled.upto(node.identity.boot),
                        "connects": getattr(node.transport, "connects", 0),
                        "reason": str(node.transport.reason),
                    }
                )
            )
            hour += every


main()
