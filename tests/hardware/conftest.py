"""A simulated board on a port, for the technician's tool."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simulator.pty_board import PtyBoard
from simulator.wiring import Wiring

MakeBoard = Callable[..., PtyBoard]
BARE: dict[str, Any] = {"board": "bare", "chip": "esp32", "sensors": []}
WEATHER = {"temperature": 20.0, "humidity": 50.0, "pressure": 101_325.0}


class Calm:
    """A stimulus of quiet, clean air."""

    def value(self, quantity_name: str, now_ms: int) -> float | None:
        return WEATHER.get(quantity_name, 5.0)


@pytest.fixture
def plug_in(tmp_path: Path, vm: object) -> MakeBoard:
    """Makes a board with a MicroPython on it; the same name means the same flash."""

    def make(name: str = "one", board: dict[str, Any] | None = None, **options: Any) -> PtyBoard:
        wired = board or BARE
        return PtyBoard(
            tmp_path / name,
            wired["chip"],
            wired,
            lambda clock: Wiring(wired, Calm(), 1, clock),
            **{"flashed": True, **options},
        )

    return make
