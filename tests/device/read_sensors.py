"""Reads an SDS011 and a BME280 through the shims at three instants, and prints what they said."""

import time

from machine import I2C, UART, reset_cause, unique_id

from firmware.sensors.bme280 import Bme280
from firmware.sensors.sds011 import Sds011


class Row:
    def __init__(self):
        self.values = {}

    def put(self, index, value, quality):
        self.values[index] = (value, quality)


def ask(sensor):
    start = time.ticks_ms()
    sensor.begin(start)
    while not sensor.ready:
        sensor.poll(time.ticks_ms())
        time.sleep_ms(10)
    row = Row()
    sensor.read(row)
    return [row.values[index] for index in range(len(row.values))]


print("cause", reset_cause(), "id", unique_id().hex())
dust = Sds011(UART(1, 9600, tx=17, rx=16), {}, time.ticks_ms())
weather = Bme280(I2C(0, scl=22, sda=21), {}, time.ticks_ms())
for _ in range(3):
    time.sleep_ms(60000)
    print(time.ticks_ms() // 60000, ask(dust), ask(weather))
