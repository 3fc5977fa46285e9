"""The sensors' pages say what happens: every fault of a model, and the flag that it ends in."""

import re
from pathlib import Path

import pytest

from hardware.parts import parts
from protocol import wire
from simulator import devices
from simulator.devices.base import Steady
from simulator.devices.bench import Bench

PAGES = Path(__file__).resolve().parents[3] / "docs" / "sensors"
HEADINGS = ["Wiring", "How it is used", "How it fails and what the data say", "Source"]
WORDS = {
    "ok": wire.Q_OK,
    "warming up": wire.Q_WARMING,
    "fault": wire.Q_FAULT,
    "missing": wire.Q_MISSING,
    "maintenance": wire.Q_MAINTENANCE,
    "suspect": wire.Q_SUSPECT,
}
AIR = {
    "pm1": 60.0,
    "pm2_5": 90.0,
    "pm4": 110.0,
    "pm10": 140.0,
    "temperature": 21.0,
    "humidity": 45.0,
    "pressure": 101_325.0,
    "co2": 700.0,
    "latitude": 52.0,
    "longitude": 5.0,
    "altitude": 3.0,
}
ROW = re.compile(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|$", re.MULTILINE)
DRIVERS = [
    name
    for name in devices.names()
    if issubclass(devices.model(name), devices.UartDevice | devices.I2cDevice)
]


def page(driver: str) -> str:
    return (PAGES / f"{parts()[driver].page or driver}.md").read_text(encoding="utf-8")


CLAIMS = [
    (driver, fault, says)
    for driver in DRIVERS
    for fault, says in ROW.findall(page(driver))
    if fault in devices.model(driver).FAULTS
]


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_page_is_whole(driver: str) -> None:
    text = page(driver)
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == HEADINGS
    assert {fault for fault, _ in ROW.findall(text)} >= devices.model(driver).FAULTS
    assert "Fill in" not in text


@pytest.mark.parametrize(("driver", "fault", "says"), CLAIMS)
def test_a_fault_ends_in_the_flag_that_the_page_names(driver: str, fault: str, says: str) -> None:
    bench = Bench(driver, Steady(**AIR))
    if fault == "stuck":
        bench.sample(30_000)
    bench.device.break_down(fault)
    if fault == "zeros_after_wake":
        got = bench.sample(8_000)
    else:
        for minute in range(1, 66):
            got = bench.sample(minute * 60_000 + 400)
    claimed = {code for word, code in WORDS.items() if re.search(rf"\b{word}\b", says)}
    seen = {sample.quality for sample in got.values()}
    if fault == "zeros_after_wake":
        assert seen <= claimed
    elif fault in {"deaf", "slow"} and driver != "neo6m":
        seen.discard(wire.Q_SUSPECT)  # the steady air of this test
        assert seen <= claimed
    else:
        assert seen == claimed
