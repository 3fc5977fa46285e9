"""Board files (hardware/boards/*.toml): what is wired to which pin, checked; makes board.json."""

import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cattrs

from hardware.chips import CHIPS, Chip
from hardware.parts import Part, parts

FOLDER = Path(__file__).resolve().parent / "boards"
PICTURES = (FOLDER / "pictures", FOLDER.parent.parent / "docs" / "boards")
OUTPUTS = frozenset({"tx", "sda", "scl", "sck", "ws", "led", "set"})


class BoardError(ValueError):
    """A board file that cannot be used; the message has a line for each fault."""


@dataclass(frozen=True, slots=True)
class Uart:
    """A serial line, pins as the chip sees them."""

    id: int
    tx: int
    rx: int
    baud: int


@dataclass(frozen=True, slots=True)
class I2c:
    """An I2C bus."""

    id: int
    sda: int
    scl: int
    hz: int = 100_000


@dataclass(frozen=True, slots=True)
class I2s:
    """A microphone's bus."""

    id: int
    sck: int
    ws: int
    sd: int


@dataclass(frozen=True, slots=True)
class Rail:
    """A supply. limit_ma is what it can give; source is another rail, or what feeds it."""

    volt: float
    limit_ma: float
    source: str


@dataclass(frozen=True, slots=True)
class Placed:
    """A sensor on a bus ("uart:NAME", "i2c:NAME", "i2s:NAME") and a rail."""

    driver: str
    bus: str
    rail: str
    instance: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """A line of the bill of materials."""

    what: str
    maker: str
    number: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class Power:
    """What the board draws at 5 V without its sensors, where the firmware's guess is off."""

    awake_ma: int
    link_ma: int
    sleep_ua: int


@dataclass(frozen=True, slots=True)
class BoardFile:
    """A type of board. allow gives, for a strapping or console pin, why it may be used.

    led_wired: the LED is not on the module but has to be wired, with its resistor.
    """

    name: str
    title: str
    chip: str
    module: str
    rails: Mapping[str, Rail]
    chip_rail: str
    sensors: Sequence[Placed]
    bill: Sequence[Item]
    uart: Mapping[str, Uart] = field(default_factory=dict)
    i2c: Mapping[str, I2c] = field(default_factory=dict)
    i2s: Mapping[str, I2s] = field(default_factory=dict)
    led: int | None = None
    led_wired: bool = False
    mobile: bool = False
    power: Power | None = None
    allow: Mapping[str, str] = field(default_factory=dict)
    notes: str = ""

    @property
    def chip_facts(self) -> Chip:
        return CHIPS[self.chip]

    def board_json(self) -> dict[str, Any]:
        """What the firmware and the simulator read."""
        found: dict[str, Any] = {
            "board": self.name,
            "chip": self.chip,
            "uart": {name: cattrs.unstructure(bus) for name, bus in self.uart.items()},
            "i2c": {name: cattrs.unstructure(bus) for name, bus in self.i2c.items()},
            "i2s": {name: cattrs.unstructure(bus) for name, bus in self.i2s.items()},
            "sensors": [
                {
                    "driver": placed.driver,
                    "bus": placed.bus,
                    "instance": placed.instance,
                    "options": dict(placed.options),
                }
                for placed in self.sensors
            ],
        }
        if self.led is not None:
            found["led"] = self.led
        if self.mobile:
            found["mobile"] = True
        if self.power is not None:
            found["power"] = cattrs.unstructure(self.power)
        return found

    def drivers(self) -> tuple[str, ...]:
        """The drivers that the board needs, each once."""
        return tuple(dict.fromkeys(placed.driver for placed in self.sensors))

    def uses(self) -> Iterator[tuple[int, str, str]]:
        """Every use of a pin: (GPIO, role, what uses it)."""
        for kind, buses in (("uart", self.uart), ("i2c", self.i2c), ("i2s", self.i2s)):
            for name, bus in buses.items():
                for role in ("tx", "rx", "sda", "scl", "sck", "ws", "sd"):
                    if hasattr(bus, role):
                        yield getattr(bus, role), role, f"{kind}:{name}"
        for placed in self.sensors:
            if "set_pin" in placed.options:
                yield placed.options["set_pin"], "set", placed.driver
        if self.led is not None:
            yield self.led, "led", "led"

    def pin_rows(self) -> list[dict[str, str]]:
        """The pin table: GPIO, signal, and what is at its other end."""
        rows = []
        for pin, role, user in sorted(self.uses()):
            ends = [
                f"{parts()[placed.driver].title} {name}"
                for placed in self.sensors
                if user in (placed.bus, placed.driver)
                for _, name, end in parts()[placed.driver].pins
                if end == role
            ]
            rows.append(
                {"GPIO": str(pin), "signal": f"{user} {role}", "goes to": ", ".join(ends) or "-"}
            )
        return rows

    def wiring_picture(self) -> Path | None:
        """The drawing of the wiring (SVG); None where it was not built."""
        for folder in PICTURES:
            if (folder / f"{self.name}.svg").exists():
                return folder / f"{self.name}.svg"
        return None

    def load_ma(self, rail: str) -> float:
        """The largest current that a rail has to give, with all that hangs on it."""
        total = sum(parts()[p.driver].peak_ma for p in self.sensors if p.rail == rail)
        total += self.chip_facts.peak_ma if self.chip_rail == rail else 0
        fed = [name for name, other in self.rails.items() if other.source == rail]
        return total + sum(self.load_ma(name) for name in fed)

    def faults(self) -> list[str]:
        """Everything that is wrong, in words."""
        if self.chip not in CHIPS:
            return [f"chip {self.chip!r} is none of {', '.join(CHIPS)}"]
        unknown = [p.driver for p in self.sensors if p.driver not in parts()]
        if unknown:
            known = ", ".join(sorted(parts()))
            return [f"no part {driver!r} in parts.toml; there are: {known}" for driver in unknown]
        return [
            *_pin_faults(self),
            *_unit_faults(self),
            *_bus_faults(self),
            *_channel_faults(self),
            *_rail_faults(self),
        ]


def _pin_faults(board: BoardFile) -> Iterator[str]:
    chip = board.chip_facts
    users: dict[int, list[str]] = {}
    for pin, role, user in board.uses():
        what = f"{user} {role}"
        users.setdefault(pin, []).append(what)
        if pin not in chip.pins:
            yield f"{what}: {chip.title} has no GPIO {pin}"
        elif pin in chip.flash:
            yield f"{what}: GPIO {pin} belongs to the flash or PSRAM"
        elif pin in chip.input_only and role in OUTPUTS:
            yield f"{what}: GPIO {pin} is input only"
        elif pin in chip.strapping and str(pin) not in board.allow:
            yield f"{what}: GPIO {pin} is a strapping pin; say under [allow] why it may be used"
        elif pin in chip.console and str(pin) not in board.allow:
            yield f"{what}: GPIO {pin} is the console's; say under [allow] why it may be used"
    for pin, names in users.items():
        if len(names) > 1:
            yield f"GPIO {pin} is used {len(names)} times: {', '.join(names)}"
    for name in board.allow:
        if not name.isdecimal() or int(name) not in users:
            yield f"allow: GPIO {name} is not used"


def _unit_faults(board: BoardFile) -> Iterator[str]:
    chip = board.chip_facts
    for kind, buses, count in (
        ("uart", board.uart, chip.uarts),
        ("i2c", board.i2c, chip.i2cs),
        ("i2s", board.i2s, chip.i2ss),
    ):
        numbers = [bus.id for bus in buses.values()]
        for number, times in Counter(numbers).items():
            if times > 1:
                yield f"{kind} unit {number} is used {times} times"
            if not 0 <= number < count:
                yield f"{kind} unit {number}: {chip.title} has {count}"


def _bus_faults(board: BoardFile) -> Iterator[str]:
    taken: dict[str, str] = {}
    for placed in board.sensors:
        part = parts()[placed.driver]
        kind, _, name = placed.bus.partition(":")
        buses: Mapping[str, Any] = {"uart": board.uart, "i2c": board.i2c, "i2s": board.i2s}.get(
            kind, {}
        )
        if kind != part.bus:
            yield f"{placed.driver} is a sensor for {part.bus}, not {placed.bus!r}"
            continue
        if name not in buses:
            yield f"{placed.driver}: there is no bus {placed.bus!r}"
            continue
        place = placed.bus
        if kind == "uart" and buses[name].baud != part.baud:
            yield f"{placed.driver} speaks at {part.baud} baud, {placed.bus} at {buses[name].baud}"
        if kind == "i2c":
            address = placed.options.get("address", part.addresses[0])
            place = f"{placed.bus} 0x{address:02x}"
            if address not in part.addresses:
                yield f"{placed.driver} cannot have the address 0x{address:02x}"
            if buses[name].hz > part.hz_max:
                yield f"{placed.driver} stands {part.hz_max} Hz, {placed.bus} has {buses[name].hz}"
        if place in taken:
            yield f"{placed.driver} and {taken[place]} are both at {place}"
        taken[place] = placed.driver


def _channel_faults(board: BoardFile) -> Iterator[str]:
    taken: dict[tuple[str, int], str] = {}
    for placed in board.sensors:
        for quantity in parts()[placed.driver].measures:
            other = taken.setdefault((quantity, placed.instance), placed.driver)
            if other is not placed.driver:
                yield (
                    f"{placed.driver} and {other} both give {quantity} as instance "
                    f"{placed.instance}: give one of them another instance"
                )


def _rail_faults(board: BoardFile) -> Iterator[str]:
    if board.chip_rail not in board.rails:
        yield f"chip_rail: there is no rail {board.chip_rail!r}"
    for name, rail in board.rails.items():
        seen = {name}
        source = rail.source
        while source in board.rails:
            if source in seen:
                yield f"rail {name} feeds itself"
                return
            seen.add(source)
            source = board.rails[source].source
    for placed in board.sensors:
        part: Part = parts()[placed.driver]
        rail_of = board.rails.get(placed.rail)
        if rail_of is None:
            yield f"{placed.driver}: there is no rail {placed.rail!r}"
        elif not part.supply_v[0] <= rail_of.volt <= part.supply_v[1]:
            low, high = part.supply_v
            yield f"{placed.driver} needs {low} to {high} V, rail {placed.rail} has {rail_of.volt}"
    for name, rail in board.rails.items():
        load = board.load_ma(name)
        if load > rail.limit_ma:
            yield f"rail {name}: {load:g} mA at worst, it gives {rail.limit_ma:g}"


def names(folder: Path = FOLDER) -> list[str]:
    """All board files."""
    return sorted(path.stem for path in folder.glob("*.toml"))


def read(path: Path) -> BoardFile:
    """The board file at path. Raises OSError, or BoardError with a line for each fault."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as fault:
        raise BoardError(f"{path.name}: {fault}") from fault
    converter = cattrs.Converter(forbid_extra_keys=True)
    try:
        board = converter.structure(content, BoardFile)
    except (cattrs.BaseValidationError, ValueError, TypeError) as fault:
        lines = cattrs.transform_error(fault, path="board")
        raise BoardError("\n".join(f"{path.name}: {line}" for line in lines)) from fault
    wrong = board.faults()
    if board.name != path.stem:
        wrong.append(f"its name is {board.name!r}; it must be the file's")
    if wrong:
        raise BoardError("\n".join(f"{path.name}: {fault}" for fault in wrong))
    return board


def load(name: str, folder: Path = FOLDER) -> BoardFile:
    """The board of that name. Raises OSError, or BoardError with a line for each fault."""
    if name not in names(folder):
        raise BoardError(f"no board {name!r}; there are: {', '.join(names(folder))}")
    return read(folder / f"{name}.toml")
