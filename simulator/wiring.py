"""The sensors of a board, wired to its buses as the board file says."""

import random
from collections.abc import Callable, Mapping
from typing import Any

from firmware.noise.stream import DMA_BYTES
from simulator.devices import Device, I2cDevice, Stimulus, UartDevice, build
from simulator.devices.base import ENODEV
from simulator.devices.bus import SimulatedI2c, SimulatedUart
from simulator.devices.microphone import Microphone, SimulatedI2s

Clock = Callable[[], int]


class Wiring:
    """Device models behind the buses of one board; made anew when the board gets power.

    clock gives the models' time in ms; stimulus is asked at that time. Every sensor draws from a
    generator of its own, so one more sensor does not change what the others do.
    """

    def __init__(
        self, board: Mapping[str, Any], stimulus: Stimulus, seed: int, clock: Clock
    ) -> None:
        self.devices: list[Device] = []
        self._board = board
        self._stimulus = stimulus
        self._seed = seed
        self._clock = clock
        self._on_bus: dict[str, list[Device]] = {}
        for number, entry in enumerate(board.get("sensors", ())):
            randomness = random.Random(f"{seed}/{number}/{entry['driver']}")
            device = build(entry, stimulus, randomness, clock())
            self.devices.append(device)
            self._on_bus.setdefault(entry["bus"], []).append(device)
        self._uarts = {name: self._uart(name) for name in board.get("uart", {})}
        self._i2cs = {name: self._i2c(name) for name in board.get("i2c", {})}

    def uart(self, name: str) -> SimulatedUart:
        """The serial line of this name."""
        return self._uarts[name]

    def i2c(self, name: str) -> SimulatedI2c:
        """The I2C bus of this name."""
        return self._i2cs[name]

    def i2s(self, spec: Mapping[str, Any]) -> Any:
        """The microphone on an I2S bus, as machine.I2S; OSError where the board has none."""
        for name, port in self._board.get("i2s", {}).items():
            for device in self._on_bus.get(f"i2s:{name}", ()):
                if port["id"] == spec["id"] and isinstance(device, Microphone):
                    return SimulatedI2s(device, self._clock, spec.get("ibuf", DMA_BYTES))
        raise OSError(ENODEV, f"no microphone at I2S {spec['id']}")

    def _uart(self, name: str) -> SimulatedUart:
        found = [d for d in self._on_bus.get(f"uart:{name}", ()) if isinstance(d, UartDevice)]
        if len(found) > 1:
            raise ValueError(f"uart:{name} has {len(found)} sensors; a serial line takes one")
        return SimulatedUart(found[0] if found else None, self._clock)

    def _i2c(self, name: str) -> SimulatedI2c:
        found = [d for d in self._on_bus.get(f"i2c:{name}", ()) if isinstance(d, I2cDevice)]
        return SimulatedI2c(found, self._clock)
