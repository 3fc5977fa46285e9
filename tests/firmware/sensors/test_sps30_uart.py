"""SPS30 on its serial line against its model."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.sensors import sps30_uart
from protocol import wire
from simulator.devices.base import Steady
from simulator.devices.bench import Bench, Sample

AIR = {"pm1": 6.5, "pm2_5": 9.2, "pm4": 11.0, "pm10": 13.3}


def flags(got: dict[str, Sample]) -> set[int]:
    return {sample.quality for sample in got.values()}


@pytest.mark.parametrize(
    ("command", "data", "frame"),
    [
        (0x00, b"\x01\x03", "7e00000201 03f97e"),
        (0x01, b"", "7e000100fe7e"),
        (0x03, b"", "7e000300fc7e"),
        (0x10, b"", "7e001000ef7e"),
        (0x11, b"", "7e007d3100ee7e"),
        (0x56, b"", "7e005600a97e"),
    ],
)
def test_frames_of_the_data_sheet(command: int, data: bytes, frame: str) -> None:
    assert sps30_uart.request(command, data) == bytes.fromhex(frame)


@given(st.binary(max_size=60))
def test_stuffing_is_undone(data: bytes) -> None:
    body = bytes((0, 3, 0, len(data))) + data
    frame = sps30_uart.stuffed(body)
    assert frame.count(b"\x7e") == 2
    assert b"\x11" not in frame
    assert b"\x13" not in frame
    assert sps30_uart.unstuffed(frame[1:-1]) == body


def test_a_broken_frame_is_refused() -> None:
    frame = bytearray(sps30_uart.stuffed(b"\x00\x03\x00\x02\x01\x02"))
    frame[5] ^= 1
    assert sps30_uart.unstuffed(bytes(frame[1:-1])) is None
    assert sps30_uart.unstuffed(b"") is None


def test_a_reading() -> None:
    bench = Bench("sps30_uart", Steady(**AIR))
    assert flags(bench.sample(20_000)) == {wire.Q_WARMING}
    got = bench.sample(60_000)
    for name, value in AIR.items():
        assert abs(got[name].value - value) <= 0.02 * value + 0.1
    assert flags(got) == {wire.Q_OK}
    assert bench.answered_after_ms <= 200


def test_duty_cycle_sleeps_between_instants() -> None:
    bench = Bench("sps30_uart", Steady(**AIR), options={"warm_up_s": 20})
    bench.advance(30_000)
    assert bench.device.asleep
    for minute in (5, 10, 15):
        assert flags(bench.sample(minute * 60_000)) == {wire.Q_OK}
        bench.advance(minute * 60_000 + 2000)
        assert bench.device.asleep


@pytest.mark.parametrize("fault", ["fan", "laser"])
def test_its_own_status_is_a_fault(fault: str) -> None:
    bench = Bench("sps30_uart", Steady(**AIR), faults=(fault,))
    assert flags(bench.sample(60_000)) == {wire.Q_FAULT}


@pytest.mark.parametrize("fault", ["silent", "bad_checksum", "slow", "torn"])
def test_what_it_cannot_trust_is_missing_and_comes_back(fault: str) -> None:
    bench = Bench("sps30_uart", Steady(**AIR))
    bench.sample(60_000)
    bench.device.break_down(fault)
    assert flags(bench.sample(120_000)) == {wire.Q_MISSING}
    bench.device.mend()
    bench.sample(240_000)
    assert flags(bench.sample(300_000)) == {wire.Q_OK}


def test_a_sensor_that_lost_power_is_started_again() -> None:
    bench = Bench("sps30_uart", Steady(**AIR))
    bench.sample(60_000)
    bench.device.power_cycle(90_000)
    assert flags(bench.sample(120_000)) == {wire.Q_MISSING}
    assert flags(bench.sample(180_000)) == {wire.Q_OK}
