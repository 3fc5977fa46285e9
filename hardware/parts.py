"""The sensors that boards can carry: hardware/parts.toml, checked."""

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cattrs

PARTS_FILE = Path(__file__).resolve().parent / "parts.toml"
ROLES = frozenset({"supply", "ground", "tx", "rx", "sda", "scl", "sck", "ws", "sd", "set", ""})
NEEDED = {
    "uart": frozenset({"supply", "ground", "tx", "rx"}),
    "i2c": frozenset({"supply", "ground", "sda", "scl"}),
    "i2s": frozenset({"supply", "ground", "sck", "ws", "sd"}),
}


@dataclass(frozen=True, slots=True)
class Part:
    """A sensor: registry names that it measures, currents in mA, pins (number, name, role).

    page is its page below docs/sensors, where that has not the driver's name.
    """

    title: str
    measures: tuple[str, ...]
    bus: str
    supply_v: tuple[float, float]
    average_ma: float
    peak_ma: float
    sleep_ma: float
    plug: str
    pins: tuple[tuple[str, str, str], ...]
    baud: int = 0
    addresses: tuple[int, ...] = ()
    hz_max: int = 0
    page: str = ""

    def faults(self) -> list[str]:
        """What is wrong with this entry."""
        if self.bus not in NEEDED:
            return [f"bus {self.bus!r} is none of {', '.join(NEEDED)}"]
        roles = {role for _, _, role in self.pins}
        found = [f"pin role {role!r} is unknown" for role in sorted(roles - ROLES)]
        found += [f"no pin has the role {role!r}" for role in sorted(NEEDED[self.bus] - roles)]
        if self.bus == "uart" and not self.baud:
            found.append("a UART sensor needs baud")
        if self.bus == "i2c" and not (self.addresses and self.hz_max):
            found.append("an I2C sensor needs addresses and hz_max")
        return found


@functools.cache
def parts() -> Mapping[str, Part]:
    """All parts by driver name. Raises ValueError for a file that is not right."""
    content = tomllib.loads(PARTS_FILE.read_text(encoding="utf-8"))
    converter = cattrs.Converter(forbid_extra_keys=True)
    found = converter.structure(content, dict[str, Part])
    wrong = [f"{name}: {fault}" for name, part in found.items() for fault in part.faults()]
    if wrong:
        raise ValueError("; ".join(wrong))
    return found
