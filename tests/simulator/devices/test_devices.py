"""Models and simulated buses by themselves."""

import random

import pytest

from simulator import devices
from simulator.devices.base import ENODEV, Steady
from simulator.devices.bme280 import Bme280, invert, typical_words
from simulator.devices.bus import SimulatedI2c, SimulatedUart
from simulator.devices.sds011 import Sds011
from simulator.devices.sht4x import Sht4x
from simulator.devices.words import crc8, packed, unpacked

AIR = Steady(pm10=10.0, pm2_5=5.0, temperature=20.0, humidity=50.0, pressure=100_000.0)


def test_a_fault_that_it_does_not_have_is_named() -> None:
    device = Sds011(AIR, random.Random(1))
    with pytest.raises(ValueError, match=r"no fault 'thirsty'; it has: .*bad_checksum"):
        device.break_down("thirsty")


def test_faults_are_mended_one_by_one_or_all() -> None:
    device = Sds011(AIR, random.Random(1))
    device.break_down("silent", "slow")
    device.mend("slow")
    assert device.faults == {"silent": 1.0}
    device.mend()
    assert device.faults == {}


def test_a_driver_without_a_model_is_named() -> None:
    with pytest.raises(KeyError, match="no device model for 'sds012'; there are: bme280"):
        devices.model("sds012")


def test_the_same_seed_gives_the_same_bytes() -> None:
    def life(seed: int) -> bytes:
        device = devices.build({"driver": "pms5003"}, AIR, random.Random(seed))
        assert isinstance(device, devices.UartDevice)
        return b"".join(device.transmit(second * 1000) for second in range(60))

    assert life(4) == life(4)
    assert life(4) != life(5)


def test_uart_gives_what_has_come_due_and_loses_what_does_not_fit() -> None:
    now = [0]
    uart = SimulatedUart(Sds011(AIR, random.Random(1)), lambda: now[0], receive_buffer=25)
    assert uart.any() == 0
    assert uart.read() is None
    assert uart.readinto(bytearray(4)) is None
    now[0] = 1000
    assert uart.any() == 10
    buffer = bytearray(4)
    assert uart.readinto(buffer) == 4
    assert buffer == b"\xaa\xc0\x32\x00"
    assert len(uart.read(3) or b"") == 3
    for now[0] in range(2000, 9000, 1000):
        uart.any()
    assert uart.any() == 25


def test_a_uart_with_nothing_at_its_end() -> None:
    uart = SimulatedUart(None, lambda: 0)
    assert uart.write(b"hello") == 5
    assert uart.any() == 0


def test_i2c_finds_devices_by_address() -> None:
    bme = Bme280(AIR, random.Random(1), {"address": 0x77})
    sht = Sht4x(AIR, random.Random(1))
    i2c = SimulatedI2c([bme, sht], lambda: 0)
    assert i2c.scan() == [0x44, 0x77]
    assert i2c.readfrom_mem(0x77, 0xD0, 1) == b"\x60"
    buffer = bytearray(1)
    i2c.readfrom_mem_into(0x77, 0xD0, buffer)
    assert buffer == b"\x60"
    with pytest.raises(OSError, match="0x76") as caught:
        i2c.writeto(0x76, b"\0")
    assert caught.value.errno == ENODEV
    sht.break_down("silent")
    assert i2c.scan() == [0x77]


def test_commands_with_a_wrong_crc_are_not_taken() -> None:
    with pytest.raises(ValueError, match="CRC"):
        unpacked(b"\x00\x01\x00")
    with pytest.raises(ValueError, match="three"):
        unpacked(b"\x00\x01")
    assert unpacked(packed(1, 65_535)) == (1, 65_535)
    assert crc8(b"\xbe\xef") == 0x92


def test_nothing_is_acknowledged_while_a_sensor_is_busy() -> None:
    now = [0]
    i2c = SimulatedI2c([Sht4x(AIR, random.Random(1))], lambda: now[0])
    i2c.writeto(0x44, b"\xfd")
    with pytest.raises(OSError, match="read"):
        i2c.readfrom(0x44, 6)
    now[0] = 9
    assert len(i2c.readfrom(0x44, 6)) == 6
    with pytest.raises(OSError, match="read"):
        i2c.readfrom(0x44, 6)


def test_inversion_finds_the_nearest_count() -> None:
    assert invert(lambda adc: adc * 2.0, 1001.2, 16, 1) == 501
    assert invert(lambda adc: -adc, -77.4, 16, 1) == 77
    assert invert(lambda adc: adc, 1001.0, 20, 16) == 1008
    assert invert(lambda adc: adc, 1e9, 16, 1) == 65_535


@pytest.mark.parametrize("seed", range(20))
def test_calibration_words_reach_the_whole_physical_range(seed: int) -> None:
    words = typical_words(random.Random(seed))
    for temperature in (-40.0, 60.0):
        adc = invert(words.t_fine, temperature * 5120, 20, 8)
        t_fine = words.t_fine(adc)
        assert abs(t_fine / 5120 - temperature) < 0.002
        for pressure in (30_000.0, 110_000.0):
            adc = invert(lambda adc, t=t_fine: words.pressure(adc, t), pressure, 20, 1)
            assert abs(words.pressure(adc, t_fine) - pressure) < 0.2
        for humidity in (0.0, 100.0):
            adc = invert(lambda adc, t=t_fine: words.humidity(adc, t), humidity, 16, 1)
            assert abs(words.humidity(adc, t_fine) - humidity) < 0.01


def test_bme280_keeps_humidity_settings_until_ctrl_meas_is_written() -> None:
    now = [0]
    i2c = SimulatedI2c([Bme280(AIR, random.Random(1))], lambda: now[0])
    i2c.writeto_mem(0x76, 0xF4, b"\x25")
    now[0] += 50
    assert i2c.readfrom_mem(0x76, 0xFD, 2) == b"\x80\x00"
    i2c.writeto_mem(0x76, 0xF2, b"\x01")
    i2c.writeto_mem(0x76, 0xF4, b"\x25")
    assert i2c.readfrom_mem(0x76, 0xF3, 1) == b"\x08"
    now[0] += 50
    assert i2c.readfrom_mem(0x76, 0xF3, 1) == b"\x00"
    assert i2c.readfrom_mem(0x76, 0xFD, 2) != b"\x80\x00"


def test_bme280_resets() -> None:
    i2c = SimulatedI2c([Bme280(AIR, random.Random(1))], lambda: 0)
    i2c.writeto_mem(0x76, 0xF2, b"\x05")
    i2c.writeto_mem(0x76, 0xE0, b"\xb6")
    assert i2c.readfrom_mem(0x76, 0xF2, 1) == b"\x00"


def test_no_device_at_the_whole_place() -> None:
    i2c = SimulatedI2c([Bme280(Steady(), random.Random(1))], lambda: 0)
    assert i2c.scan() == []


def test_registers_are_read_around_the_corner() -> None:
    device = Bme280(AIR, random.Random(1))
    device.write(b"\xff", 0)
    assert len(device.read(4, 0)) == 4
