"""Every board file's sensors, built and driven from its board.json in the simulated city."""

from typing import Any

import pytest

from firmware.node import load_sensors
from hardware import boardfile
from protocol import wire
from protocol.registry import REGISTRY
from simulator.wiring import Wiring
from simulator.world import Place, PlaceStimulus, World

NOON_UNIX_MS = 1_767_268_800_000
PERIOD_MS = 60_000


class Hal:
    """A board's buses in virtual time."""

    def __init__(self, board: dict[str, Any]) -> None:
        self.board = board
        self.now_ms = 0
        stimulus = PlaceStimulus(World(seed=3), Place(), NOON_UNIX_MS)
        self._wiring = Wiring(board, stimulus, 5, lambda: self.now_ms)

    def uart(self, name: str) -> Any:
        return self._wiring.uart(name)

    def i2c(self, name: str) -> Any:
        return self._wiring.i2c(name)

    def i2s(self, spec: dict[str, int]) -> Any:
        return self._wiring.i2s(spec)


class Row:
    def __init__(self) -> None:
        self.cells: dict[int, tuple[int, int]] = {}

    def put(self, channel: int, value: int, quality: int = 0) -> None:
        self.cells[channel] = (value, quality)


def live(hal: Hal, sensors: list[Any], until_ms: int) -> dict[tuple[str, int], tuple[float, int]]:
    """Sample all sensors each minute; the last (value, quality) by driver's quantity and place."""
    found: dict[tuple[str, int], tuple[float, int]] = {}
    waiting: set[int] = set()
    while hal.now_ms < until_ms:
        for number, (sensor, instance) in enumerate(sensors):
            if (hal.now_ms + sensor.LEAD_MS) % PERIOD_MS == 0:
                sensor.begin(hal.now_ms)
                waiting.add(number)
            sensor.poll(hal.now_ms)
            if number in waiting and sensor.ready:
                waiting.discard(number)
                row = Row()
                sensor.read(row)
                for index, (value, quality) in row.cells.items():
                    channel = sensor.CHANNELS[index]
                    quantity = REGISTRY[channel[0]]
                    found[quantity.name, instance] = (quantity.value(value, channel[1]), quality)
        hal.now_ms += 20
    return found


@pytest.mark.parametrize("name", boardfile.names())
def test_a_board_measures_its_city(name: str) -> None:
    board = boardfile.load(name)
    # the microphones have tests of their own; a second of sound costs more than all the rest
    entries = [
        entry for entry in board.board_json()["sensors"] if not entry["bus"].startswith("i2s")
    ]
    if not entries:
        assert name == "noise"
        return
    hal = Hal({**board.board_json(), "sensors": entries})
    sensors = load_sensors(hal.board, hal, 0)
    found = live(hal, sensors, 4 * PERIOD_MS)
    air = PlaceStimulus(World(seed=3), Place(), NOON_UNIX_MS)
    assert len(found) == sum(len(sensor.CHANNELS) for sensor, _ in sensors)
    for (quantity, _), (value, quality) in found.items():
        if quantity.endswith("_index"):
            assert quality == wire.Q_WARMING
            continue
        assert quality == wire.Q_OK, quantity
        true = air.value(quantity, 3 * PERIOD_MS)
        if true is not None:
            assert abs(value - true) <= 0.2 * abs(true) + 5, quantity


def test_the_indoor_board_compensates_for_its_own_air() -> None:
    hal = Hal(boardfile.load("indoor").board_json())
    climate, scd41, sgp41 = (sensor for sensor, _ in load_sensors(hal.board, hal, 0))
    assert sgp41.climate is climate
    assert scd41.barometer is None


@pytest.mark.parametrize(("name", "driver"), [("classic", "sds011"), ("mobile", "sps30")])
def test_dust_sensors_of_a_board_that_sleeps_do_so_too(name: str, driver: str) -> None:
    hal = Hal(boardfile.load(name).board_json())
    entry = next(e for e in hal.board["sensors"] if e["driver"] == driver)
    index = hal.board["sensors"].index(entry)

    def warm_up_ms(sleeps: bool) -> int:
        return int(load_sensors(hal.board, hal, 0, sleeps)[index][0].duty_ms)

    assert warm_up_ms(False) == 0
    assert warm_up_ms(True) == 30_000
    entry["options"] = {"warm_up_s": 12}
    assert warm_up_ms(True) == 12_000
