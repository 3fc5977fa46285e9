"""The firmware in stepped time: what a node is comes from the files of its folder.

schedule.bin, when it is there, holds the sampling instants: u48 ms of uptime each.
"""

import json
import struct
import time

import _host
from stepped_link import SteppedLink

from firmware.hal import BoardHal
from firmware.node import Node
from firmware.settings import Settings
from simulator import bridge

NEVER_MS = 1 << 46


class Instants:
    """Sampling instants of a recording; see simulator/replay_plan.py."""

    def __init__(self, data):
        self._data = data
        self._count = len(data) // 6
        self._at = 0

    def _instant(self, index):
        low, high = struct.unpack_from("<IH", self._data, 6 * index)
        return low | high << 32

    def next_ms(self, after_uptime_ms):
        at = self._at
        while at < self._count and self._instant(at) <= after_uptime_ms:
            at += 1
        while at and self._instant(at - 1) > after_uptime_ms:
            at -= 1
        self._at = at
        return self._instant(at) if at < self._count else NEVER_MS


class SteppedHal(BoardHal):
    """A board in a recording's time, on the simulated network, with the host's seed for chance."""

    built_s = 1_388_534_400

    def random_bits(self, count):
        return struct.unpack("<I", _host.call(bridge.RANDOM, 0, count)[1])[0]

    def link(self, settings):
        return SteppedLink()


def schedule():
    try:
        with open(_host.NODE_FOLDER + "/schedule.bin", "rb") as stored:
            return Instants(stored.read())
    except OSError:
        return None


def main():
    with open(_host.NODE_FOLDER + "/board.json") as stored:
        board = json.load(stored)
    hal = SteppedHal(board)
    settings = Settings(hal.files)
    settings.load()
    node = Node(hal, board, settings, schedule())
    node.start()
    while True:
        time.sleep_ms(max(1, node.step()))


main()
