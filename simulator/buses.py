"""The buses of a board: behind them are the sensors, or nothing."""

from typing import Any, Protocol

ENODEV = 19


class Buses(Protocol):
    """The sensors on a board, behind its buses; see simulator/wiring.py."""

    def uart(self, name: str) -> Any: ...

    def i2c(self, name: str) -> Any: ...

    def i2s(self, spec: dict[str, int]) -> Any: ...


class Bare:
    """A board without any bus."""

    def uart(self, name: str) -> Any:
        raise OSError(ENODEV, f"no UART {name}")

    def i2c(self, name: str) -> Any:
        raise OSError(ENODEV, f"no I2C {name}")

    def i2s(self, spec: dict[str, int]) -> Any:
        raise OSError(ENODEV, "no I2S")
