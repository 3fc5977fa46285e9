"""A board without hardware on the VM: real clock, files of the working folder, real sockets."""

import gc
import os
import random
import time

from firmware import identity
from firmware.files import BoardFiles

NODE = 0xA1B2C3D4
BOOT = 1764000000
KEY = bytes(range(32))
UUID = bytes(range(16))


class PocketNvs:
    def __init__(self):
        self.kept = {}

    def get_blob(self, key, buffer):
        if key not in self.kept:
            raise OSError(-0x1102)
        data = self.kept[key]
        buffer[: len(data)] = data
        return len(data)

    def set_blob(self, key, value):
        self.kept[key] = bytes(value)

    def commit(self):
        pass


class PocketHal:
    def __init__(self, wlan=None, node=NODE):
        self.node = node
        self.files = BoardFiles()
        self.nvs = PocketNvs()
        identity.save(self.nvs, identity.Identity(node, BOOT, UUID, KEY))
        self.wlan = wlan
        self.fed = 0
        self.rtc_s = self.rtc_sets = 0

    def ticks_ms(self):
        return time.ticks_ms()

    def ticks_diff(self, a, b):
        return time.ticks_diff(a, b)

    def ticks_add(self, a, b):
        return time.ticks_add(a, b)

    def sleep_ms(self, duration_ms):
        time.sleep_ms(duration_ms)

    def random_bits(self, count):
        return random.getrandbits(count)

    def unique_id(self):
        return b"\x24\x0a\xc4\x00\x00\x01"

    def reset(self):
        raise SystemExit

    def reset_cause(self):
        return 1

    def free_heap(self):
        return gc.mem_free()

    def idf_heap(self):
        return None

    def watchdog_feed(self):
        self.fed += 1

    def rom(self):
        return None

    def set_rtc(self, unix_s):
        self.rtc_s = unix_s
        with open("rtc", "w") as told:
            told.write(str(unix_s))
        self.rtc_sets += 1

    def rtc_memory(self, data=None):
        return b""

    def link(self, settings):
        from firmware.transports.mqtt import MqttTransport
        from firmware.transports.wifi import Wifi

        return MqttTransport(settings, Wifi(settings, self.wlan), self, self.node)


class Counter:
    """A sensor whose value is the number of its reading."""

    LEAD_MS = 0
    CHANNELS = ((16, None), (17, None))
    bus_errors = 0
    checksum_errors = 0

    def __init__(self):
        self.ready = False
        self.count = 0

    def begin(self, now_ms):
        self.ready = True

    def poll(self, now_ms):
        return -1

    def read(self, row):
        self.count += 1
        row.put(0, self.count)
        row.put(1, 5000)
        self.ready = False


class Fix:
    """A GPS that stands still."""

    LEAD_MS = 0
    CHANNELS = ((0x80, None), (0x81, None), (0x82, None), (0x83, None))
    PLACE = (5_237_000, 489_000, 20, 40)
    bus_errors = 0
    checksum_errors = 0

    def __init__(self):
        self.ready = False

    def begin(self, now_ms):
        self.ready = True

    def poll(self, now_ms):
        return -1

    def read(self, row):
        for channel in range(4):
            row.put(channel, self.PLACE[channel])
        self.ready = False


class Wlan:
    """network.WLAN whose access point is the file "network": it says "up" or a status."""

    def __init__(self):
        self._joined = False

    def _up(self):
        try:
            with open("network") as state:
                return state.read()
        except OSError:
            return "up"

    def active(self, on=None):
        return True

    def config(self, **_):
        pass

    def connect(self, name, password):
        self._joined = True

    def disconnect(self):
        self._joined = False

    def isconnected(self):
        return self._joined and self._up() == "up"

    def status(self, what=None):
        return -60 if what else int(self._up())


def empty_folder():
    for name in os.listdir("."):
        if name.startswith(("drops.", "settings.")):
            os.remove(name)


class Told(Counter):
    """A clock chip that says a time, right or wrong."""

    CHANNELS = ((20, None),)

    def __init__(self, unix_s):
        Counter.__init__(self)
        self.unix_ms = unix_s * 1000
        self.now_ms = 0
        self.told = False

    def begin(self, now_ms):
        self.now_ms = now_ms
        self.ready = True

    def read(self, row):
        self.count += 1
        row.put(0, 200)
        self.ready = False

    def take_time(self):
        if self.told or not self.count:
            return None
        self.told = True
        return self.unix_ms, self.now_ms, 10000, 2
