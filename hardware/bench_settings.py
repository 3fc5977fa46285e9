"""The [settings] of a bench file, held against the board's table before a board is touched."""

import difflib
import string
from collections.abc import Iterator, Mapping
from typing import Any

from hardware.boardfile import BoardFile
from protocol.setting_names import LOCAL, SETTINGS

KNOWN = {**SETTINGS, **LOCAL}
PASSPHRASE_LEAST = 8
PSK_DIGITS = 64
TRANSPORTS = ("mqtt", "serial")
OTHERS = frozenset(("revision", "broker_user", "broker_password"))
"""Settings that are no choice of a technician: the collector's, and what follows from the key."""


def plain(settings: Mapping[str, Any]) -> dict[str, int | str]:
    """Settings as a board keeps them: true and false of a switch as 1 and 0."""
    return {
        name: int(value) if isinstance(value, bool) and _is_switch(name) else value
        for name, value in settings.items()
    }


def faults(settings: Mapping[str, Any], has_ca: bool) -> Iterator[str]:
    """Everything that no board would take, in words; has_ca: the bench file names a CA."""
    for name, value in settings.items():
        if name not in KNOWN:
            yield f"there is no setting {name!r}{meant(name, KNOWN)}"
        elif name in OTHERS:
            yield f"{name} is not set here: it follows from the board's key, or is the collector's"
        elif isinstance(value, bool) and not _is_switch(name):
            yield f"{name} {KNOWN[name].fault(-1 << 40)}, not true or false"
        elif not isinstance(value, int | str):
            yield f"{name} is neither number nor text"
        elif why := KNOWN[name].fault(value) or _own_fault(name, value):
            yield f"{name} {why}"
    if settings.get("broker_tls") in (1, True) and not has_ca:
        yield "broker_tls wants a CA: name its file with ca = ..., above [settings]"


def board_faults(settings: Mapping[str, int | str], board: BoardFile) -> Iterator[str]:
    """What this type of board cannot do, in words."""
    port = settings.get("serial_port", "repl")
    if port != "repl" and port not in board.uart:
        ports = ", ".join(["repl", *board.uart])
        yield f"serial_port {port!r}: board {board.name} has {ports}"
    if settings.get("sleep") == 1:
        for placed in board.sensors:
            if placed.options.get("bands") is not None:
                yield f"sleep: {placed.driver} measures bands, which a sleeping board cannot"


def meant(name: str, known: Mapping[str, object]) -> str:
    """A question after the name that was probably meant, or nothing."""
    close = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {close[0]}?" if close else ""


def _is_switch(name: str) -> bool:
    return name in KNOWN and (KNOWN[name].lowest, KNOWN[name].highest) == (0, 1)


def _own_fault(name: str, value: int | str) -> str:
    """What is wrong with a value that keeps to its limits."""
    if name == "wifi_password" and value:
        return _password_fault(str(value))
    if name == "transport" and value not in TRANSPORTS:
        return f"is one of {', '.join(TRANSPORTS)}"
    if name in ("broker_host", "wifi_ssid") and value != str(value).strip():
        return "begins or ends with a blank"
    if name == "broker_host" and not value:
        return "is empty: leave it out, or name the broker"
    if name == "broker_host" and (":" in str(value) or "/" in str(value)):
        return "is a name or an IPv4 address alone; the port is broker_port"
    if name.startswith("home_zone_") and value:
        return _zone_fault(str(value))
    return ""


def _password_fault(password: str) -> str:
    length = len(password.encode())
    if length == PSK_DIGITS and not set(password) <= set(string.hexdigits):
        return "of 64 characters is a key: hexadecimal digits only"
    if length < PASSPHRASE_LEAST:
        return "has 8 to 63 characters, or is a key of 64 hexadecimal digits"
    return ""


def _zone_fault(zone: str) -> str:
    try:
        latitude, longitude, radius_m = (float(part) for part in zone.split(","))
    except ValueError:
        return "is: latitude, longitude, radius in metres"
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180 and radius_m > 0):
        return "lies nowhere: latitude, longitude, radius in metres"
    return ""
