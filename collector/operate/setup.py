"""The first configuration: from a few answers to files that work, every default safe."""

import json
import tomllib
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from collector.ownership import make_data_folder
from collector.private_file import write_bytes
from collector.settings import SerialSettings, host_fault
from collector.structure import KeyFault

EXAMPLE_SINK = """
# Nothing is published until a network stands here. Each has a page in docs/sinks/.
# [[sink]]
# type = "sensorthings"
# name = "city"
# url = "https://sensors.example/v1.1"
# [sink.privacy]
# grid_m = 4000      # places in cells of 4 km, where nodes have smaller ones
"""


class SetupError(ValueError):
    """Answers that do not make a configuration; the message says which."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What a first configuration depends on."""

    name: str = "collector"
    data: str = "/var/lib/osn-collector"
    broker: str = "here"
    """here: a mosquitto on this machine; none; or another broker's host name."""
    serial: str = ""
    """A port or pattern of ports, "" for none."""
    zone: str = "UTC"
    """Time zone of the place."""


def read_answers(file: Path) -> Answers:
    """Answers from a TOML file; SetupError names what is wrong."""
    try:
        given = tomllib.loads(file.read_text())
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SetupError(f"{file}: {error}") from error
    return make_answers(given, str(file))


def make_answers(given: Mapping[str, object], source: str) -> Answers:
    """Answers from names and texts; SetupError for another name or kind."""
    known = [field.name for field in fields(Answers)]
    for key, value in given.items():
        if key not in known:
            raise SetupError(f"{source}: unknown answer {key!r}; known are: {', '.join(known)}")
        if not isinstance(value, str) or not value.isprintable():
            raise SetupError(f"{source}: {key} must be a text")
    zone = given.get("zone", "UTC")
    if zone not in zoneinfo.available_timezones():
        raise SetupError(f"{source}: {zone!r} is not a time zone such as Europe/Madrid")
    for key in ("name", "data", "broker"):
        if not str(given.get(key, "x")).strip():
            raise SetupError(f"{source}: {key} must not be empty")
    broker = str(given.get("broker", "here"))
    if broker not in ("here", "none") and (fault := host_fault(broker)):
        raise SetupError(f"{source}: broker: {fault}; its port can be set in the configuration")
    serial = str(given.get("serial", ""))
    if serial:
        try:
            SerialSettings(port=serial)
        except KeyFault as fault:
            raise SetupError(f"{source}: serial {fault}") from fault
    return Answers(**{key: str(value) for key, value in given.items()})


def configuration(answers: Answers) -> str:
    """The configuration file's text."""
    parts = [
        "# Made by `osn-collector init`. Check changes with: osn-collector check-config FILE\n"
        "[collector]\n"
        f"name = {json.dumps(answers.name)}\n"
        f"data = {json.dumps(answers.data)}\n"
        f"zone = {json.dumps(answers.zone)}\n"
    ]
    if answers.broker == "here":
        parts.append(
            "\n[[mqtt]]\n"
            'name = "local"\n'
            'host = "127.0.0.1"\n'
            'user = "osn-collector"\n'
            'password = { file = "broker/collector.password" }\n'
        )
    elif answers.broker != "none":
        parts.append(
            "\n[[mqtt]]\n"
            f"name = {json.dumps(answers.broker)}\n"
            f"host = {json.dumps(answers.broker)}\n"
            "tls = true\n"
            'user = "osn-collector"\n'
            'password = { file = "broker.password" }   # put the password into this file\n'
        )
    if answers.serial:
        parts.append(
            f'\n[[serial]]\nname = "usb"\nport = {json.dumps(answers.serial)}\nrepl = true\n'
        )
    parts.append(EXAMPLE_SINK)
    return "".join(parts)


def write_configuration(file: Path, answers: Answers) -> None:
    """Writes a new configuration; SetupError when there is one."""
    if file.exists():
        raise SetupError(f"{file} exists; edit it, or move it away first")
    write_bytes(file, configuration(answers).encode(), 0o640)
    make_data_folder(file.parent / Path(answers.data), file)
    if answers.broker not in ("here", "none"):
        secret = file.parent / "broker.password"
        if not secret.exists():
            write_bytes(secret, b"change-me\n", 0o600)
