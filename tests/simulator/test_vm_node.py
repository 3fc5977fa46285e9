"""The real MicroPython VM behind the bridge: sensors, stepped time, resets, ends."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from simulator.devices.base import Steady
from simulator.virtual_loop import VirtualLoop, run
from simulator.vm_node import RealTimeVmNode, SteppedVmNode
from simulator.wiring import Wiring

DEVICE = Path(__file__).parent.parent / "device"
BOARD = {
    "board": "classic",
    "chip": "esp32",
    "uart": {"dust": {"id": 1, "tx": 17, "rx": 16, "baud": 9600}},
    "i2c": {"main": {"id": 0, "sda": 21, "scl": 22, "hz": 100_000}},
    "sensors": [
        {"driver": "sds011", "bus": "uart:dust", "instance": 0, "options": {}},
        {"driver": "bme280", "bus": "i2c:main", "instance": 0, "options": {}},
    ],
}
AIR = Steady(pm10=12.3, pm2_5=4.5, temperature=-2.76, humidity=88.13, pressure=99_630.0)


def power(loop: VirtualLoop, folder: Path, script: Path) -> SteppedVmNode:
    def buses(clock: Any) -> Wiring:
        return Wiring(BOARD, AIR, 1, clock)

    node = SteppedVmNode(loop, folder, BOARD, buses, b"\x24\x0a\xc4\x00\x01\x02", script=script)
    node.power_on()
    return node


def console(folder: Path) -> str:
    return (folder / "console.log").read_text(encoding="utf-8")


async def until_ended(node: SteppedVmNode) -> None:
    for _ in range(10_000):
        await asyncio.sleep(1)
        if node.failure is not None:
            return
    raise AssertionError("the firmware did not end")


@pytest.mark.usefixtures("vm")
def test_drivers_read_the_device_models_through_the_shims(tmp_path: Path) -> None:
    async def main(loop: VirtualLoop) -> None:
        node = power(loop, tmp_path, DEVICE / "read_sensors.py")
        await until_ended(node)

    run(main)
    lines = console(tmp_path).splitlines()
    assert lines[0] == "cause 1 id 240ac4000102"
    assert len(lines) == 4
    for minute, line in enumerate(lines[1:], 1):
        said = line.split(" ", 1)
        assert int(said[0]) == minute
        assert "[(123, 0), (45, 0)] [(-276, 0), (88" in line


@pytest.mark.usefixtures("vm")
def test_a_reset_starts_the_firmware_again_with_its_cause(tmp_path: Path) -> None:
    script = tmp_path / "resets.py"
    script.write_text(
        "import machine, time\n"
        "print(machine.reset_cause(), machine.RTC().memory())\n"
        "time.sleep_ms(500)\n"
        "if machine.reset_cause() == machine.PWRON_RESET:\n"
        "    machine.RTC().memory(b'kept')\n"
        "    machine.deepsleep(5000)\n"
        "if machine.reset_cause() == machine.DEEPSLEEP_RESET:\n"
        "    machine.reset()\n",
        encoding="utf-8",
    )
    ends: list[int] = []

    async def main(loop: VirtualLoop) -> None:
        node = power(loop, tmp_path / "node", script)
        node.on_end = lambda _: ends.append(loop.now_ms)
        await until_ended(node)

    run(main)
    assert console(tmp_path / "node").splitlines() == ["1 b''", "4 b'kept'", "2 b'kept'"]
    assert ends == [6_500]


@pytest.mark.usefixtures("vm")
def test_a_loop_that_polls_the_clock_without_sleeping_is_an_error(tmp_path: Path) -> None:
    script = tmp_path / "busy.py"
    script.write_text("import time\nwhile time.ticks_ms() < 1000: pass\n", encoding="utf-8")

    async def main(loop: VirtualLoop) -> SteppedVmNode:
        node = power(loop, tmp_path / "node", script)
        await until_ended(node)
        return node

    node = run(main)
    assert node.failure is not None
    assert "stepped time stands still" in str(node.failure)


@pytest.mark.usefixtures("vm")
def test_nvs_keeps_what_was_committed(tmp_path: Path) -> None:
    script = tmp_path / "nvs.py"
    script.write_text(
        "import esp32, machine\n"
        "nvs = esp32.NVS('osn')\n"
        "found = bytearray(8)\n"
        "try:\n"
        "    print(nvs.get_blob('a', found), found[:3])\n"
        "except OSError as error:\n"
        "    print('none', error.errno)\n"
        "    nvs.set_blob('a', b'abc')\n"
        "    nvs.commit()\n"
        "    nvs.set_blob('a', b'lost')\n"
        "    machine.reset()\n",
        encoding="utf-8",
    )

    async def main(loop: VirtualLoop) -> None:
        await until_ended(power(loop, tmp_path / "node", script))

    run(main)
    assert console(tmp_path / "node").splitlines() == ["none -4354", "3 bytearray(b'abc')"]


@pytest.mark.usefixtures("vm")
async def test_power_given_twice_starts_once_and_goes_for_good(tmp_path: Path) -> None:
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))

    def buses(clock: Any) -> Wiring:
        return Wiring(BOARD, AIR, 1, clock)

    script = DEVICE / "read_sensors.py"
    node = RealTimeVmNode(tmp_path, BOARD, buses, b"\x24\x0a\xc4\x00\x01\x02", script=script)
    node.power_on()
    node.power_on()
    assert node.starts == 1
    node.power_off()
    for _ in range(20):
        await asyncio.sleep(0)
    assert not node.powered
    assert faults == []
