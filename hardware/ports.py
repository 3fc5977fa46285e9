"""Which serial ports there are, and what hangs on them."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from serial.tools import list_ports

from hardware.faults import BenchError, Exit
from hardware.loader import Loader
from hardware.provision import provisioned_as
from hardware.session import session

FACTS = """
import sys, machine
m = sys.implementation._machine
print(m.split(' with ')[-1] if ' with ' in m else sys.platform)
print('.'.join(str(n) for n in sys.implementation[1][:3]))
print(':'.join('%02x' % b for b in machine.unique_id()))
"""
USB_SERIAL_CHIPS = {0x303A: "ESP32 USB", 0x10C4: "CP210x", 0x1A86: "CH340", 0x0403: "FTDI"}


@dataclass(frozen=True, slots=True)
class Found:
    """A port: its adapter, and what answered there ("" where nothing did)."""

    port: str
    adapter: str
    chip: str
    mac: str
    runs: str
    node: str

    def row(self) -> dict[str, str]:
        """For tables and JSON."""
        return asdict(self)


def ports() -> list[str]:
    """Ports whose adapter is one that ESP32 boards have."""
    return sorted(entry.device for entry in list_ports.comports() if entry.vid in USB_SERIAL_CHIPS)


def adapter(port: str) -> str:
    """The name of a port's USB adapter."""
    for entry in list_ports.comports():
        if entry.device == port:
            return USB_SERIAL_CHIPS.get(entry.vid or 0, entry.description or "")
    return ""


def describe(port: str) -> Found:
    """Ask MicroPython first, then the ROM loader; a silent board is described as such.

    Raises BenchError for what is no port, or may not be opened.
    """
    try:
        with session(port, run_main=True, timeout_s=2) as opened:
            chip, version, mac = opened.run(FACTS).strip().splitlines()
            node = provisioned_as(opened) or "not provisioned"
            return Found(port, adapter(port), chip, mac, f"MicroPython {version}", node)
    except BenchError as fault:
        if fault.advice.code is Exit.NO_PORT:
            raise
    try:
        found = Loader(port).identify()
    except BenchError as fault:
        return Found(port, adapter(port), "", "", fault.advice.happened, "")
    return Found(port, adapter(port), found.chip, found.mac, "boot loader", "")


def describe_all(named: tuple[str, ...]) -> Iterator[Found]:
    """Describe the named ports, or all. Raises BenchError for a named one that is not there."""
    for port in named:
        yield describe(port)
    for port in () if named else ports():
        try:
            yield describe(port)
        except BenchError as fault:
            yield Found(port, adapter(port), "", "", fault.advice.happened, "")
