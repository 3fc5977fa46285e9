"""Run a driver on the MicroPython VM over what the same driver and its model said on CPython.

argv: a JSON file: {"entry": board entry, "events": [...]}. Every call of the bus must be the next
of the events, byte by byte; then the answer of then is given.
"""

import json
import sys
from binascii import hexlify, unhexlify

from firmware import sensors

with open(sys.argv[1]) as source:
    script = json.load(source)
events = script["events"]
at = 0


def take(kind):
    global at
    event = events[at]
    at += 1
    assert event[0] == kind, (at, kind, event)
    return event


def text(argument):
    if isinstance(argument, (bytes, bytearray, memoryview)):
        return hexlify(bytes(argument)).decode()
    return argument


class Bus:
    def call(self, name, arguments, buffer=None):
        event = take("bus")
        assert event[1] == name, (at, name, event)
        assert event[2] == [text(argument) for argument in arguments], (at, name, arguments, event)
        if event[3] == "error":
            raise OSError(event[4])
        if event[3] == "bytes":
            data = unhexlify(event[4])
            if buffer is None:
                return data
            buffer[: len(data)] = data
            return len(data)
        return event[4]

    def any(self):
        return self.call("any", [])

    def readinto(self, buffer):
        return self.call("readinto", [len(buffer)], buffer)

    def write(self, data):
        return self.call("write", [data])

    def writeto(self, address, data):
        return self.call("writeto", [address, data])

    def readfrom_into(self, address, buffer):
        self.call("readfrom_into", [address, len(buffer)], buffer)

    def readfrom_mem(self, address, register, count):
        return self.call("readfrom_mem", [address, register, count])

    def readfrom_mem_into(self, address, register, buffer):
        self.call("readfrom_mem_into", [address, register, len(buffer)], buffer)

    def writeto_mem(self, address, register, data):
        return self.call("writeto_mem", [address, register, data])


class Hal:
    def uart(self, name):
        return Bus()

    def i2c(self, name):
        return Bus()


class Row:
    def __init__(self):
        self.cells = []

    def put(self, channel, value, quality=0):
        self.cells.append([channel, value, quality])


sensor = sensors.from_board(script["entry"], Hal(), 0)
samples = 0
while at < len(events):
    event = events[at]
    at += 1
    if event[0] == "begin":
        sensor.begin(event[1])
    elif event[0] == "poll":
        wait = sensor.poll(event[1])
        done = take("polled")
        assert done[1] == wait, (at, wait, done)
    elif event[0] == "read":
        row = Row()
        assert sensor.ready
        sensor.read(row)
        assert row.cells == event[1], (row.cells, event)
        samples += 1
    else:
        raise AssertionError((at, event))
print("samples", samples, "errors", sensor.bus_errors, sensor.checksum_errors)
