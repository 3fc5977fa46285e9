"""The wiring of a board as WireViz YAML, and its drawing."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from hardware.boardfile import BoardFile, Placed
from hardware.parts import parts

COLOURS = {
    "supply": "RD",
    "ground": "BK",
    "tx": "YE",
    "rx": "GN",
    "sda": "BU",
    "scl": "WH",
    "sck": "GY",
    "ws": "VT",
    "sd": "TQ",
    "set": "BN",
    "led": "PK",
}
LOW_SUPPLY = "OG"
LED_PINS = (("1", "anode", "led"), ("2", "cathode", "ground"))


def yaml(board: BoardFile) -> str:
    """WireViz YAML: the module with the pins that are used, each sensor, a cable to each."""
    module_pins = _module_pins(board)
    lines = ["connectors:", *_connector(board.chip_facts.title, board.module, module_pins)]
    cables = ["cables:"]
    connections = ["connections:"]
    for number, (name, title, pins, ends) in enumerate(_devices(board), 1):
        lines += _connector(name, title, {pin: label for pin, label, _ in pins})
        wires = [(pin, ends[role], role) for pin, _, role in pins if role in ends]
        cables += [
            f"  W{number}:",
            f"    wirecount: {len(wires)}",
            f"    colors: {_list([_colour(end, role) for _, end, role in wires])}",
        ]
        connections += [
            f"  - - {json.dumps(board.chip_facts.title)}: {_list([end for _, end, _ in wires])}",
            f"    - W{number}: [1-{len(wires)}]",
            f"    - {json.dumps(name)}: {_list([pin for pin, _, _ in wires])}",
        ]
    options = ["options:", "  fontname: Helvetica", "  bgcolor: WH"]
    return "\n".join([*options, *lines, *cables, *connections]) + "\n"


def _module_pins(board: BoardFile) -> dict[str, str]:
    """Names of the module's pins, rails first, and what each is for."""
    found = {name: f"{rail.volt:g} V" for name, rail in board.rails.items()}
    found["GND"] = "ground"
    for pin, role, user in sorted(board.uses()):
        if role != "led" or board.led_wired:
            found[f"GPIO {pin}"] = user if role == "led" else f"{user} {role}"
    return found


def _devices(
    board: BoardFile,
) -> Iterator[tuple[str, str, tuple[tuple[str, str, str], ...], dict[str, str]]]:
    """(name, title, pins, the module's pin for each role) of what is wired to the module."""
    drivers = [placed.driver for placed in board.sensors]
    for index, placed in enumerate(board.sensors):
        part = parts()[placed.driver]
        name = placed.driver.upper()
        if drivers.count(placed.driver) > 1:
            name += f" {index + 1}"
        yield name, part.title, part.pins, _ends(board, placed)
    if board.led is not None and board.led_wired:
        yield "LED", "LED and 1 kOhm", LED_PINS, {"led": f"GPIO {board.led}", "ground": "GND"}


def _ends(board: BoardFile, placed: Placed) -> dict[str, str]:
    ends = {"supply": placed.rail, "ground": "GND"}
    for pin, role, user in board.uses():
        if user in (placed.bus, placed.driver):
            ends[role] = f"GPIO {pin}"
    return ends


def _connector(name: str, title: str, pins: dict[str, str]) -> list[str]:
    return [
        f"  {json.dumps(name)}:",
        f"    type: {json.dumps(title)}",
        "    show_pincount: false",
        f"    pins: {_list(list(pins))}",
        f"    pinlabels: {_list(list(pins.values()))}",
    ]


def _colour(end: str, role: str) -> str:
    return LOW_SUPPLY if role == "supply" and end != "5V" else COLOURS[role]


def _list(items: list[str]) -> str:
    """A YAML list; WireViz takes numbers for numbers, so they are written as such."""
    return json.dumps([int(item) if item.isdecimal() else item for item in items])


class NoWireviz(RuntimeError):
    """What drawing needs is not installed."""


def draw(text: str) -> str:
    """The drawing of WireViz YAML as SVG. Raises NoWireviz with what to install."""
    scripts = Path(sys.executable).parent
    wireviz = shutil.which("wireviz", path=os.pathsep.join((str(scripts), os.defpath)))
    if wireviz is None:
        raise NoWireviz("wireviz is not installed: pip install 'opencities-osn[docs]'")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "wiring.yml").write_text(text, encoding="utf-8")
        path = os.pathsep.join((str(_dot(work, scripts)), os.environ.get("PATH", os.defpath)))
        result = subprocess.run(
            [wireviz, "-f", "s", "wiring.yml"],
            cwd=work,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        drawing = work / "wiring.svg"
        if result.returncode or not drawing.exists():
            raise NoWireviz(f"wireviz failed: {result.stdout}{result.stderr}".strip())
        return _robust(drawing.read_text(encoding="utf-8"))


def _robust(drawing: str) -> str:
    """Letters a little smaller than their boxes were made for: not every machine has the font."""
    drawing = drawing.replace('font-size="14.00"', 'font-size="12.50"')
    drawing = drawing.replace("Helvetica,sans-Serif", "Helvetica,Arial,Liberation Sans,sans-serif")
    return "\n".join(line.rstrip() for line in drawing.splitlines()) + "\n"


def _dot(work: Path, scripts: Path) -> Path:
    """A folder with dot in it: graphviz-pure's under that name, for the same drawing everywhere."""
    pure = scripts / "graphviz-pure"
    if pure.exists():
        (work / "bin").mkdir()
        (work / "bin" / "dot").symlink_to(pure)
        return work / "bin"
    system = shutil.which("dot")
    if system is None:
        raise NoWireviz("no dot: pip install 'opencities-osn[docs]', or apt install graphviz")
    return Path(system).parent
