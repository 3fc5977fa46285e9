"""init: from a bare machine to a configuration that works."""

import os
import secrets
import shutil
import socket
import subprocess
from dataclasses import asdict
from pathlib import Path

import click

from collector.commands.broker import COPY, MOSQUITTO
from collector.commands.common import DEFAULT_CONFIG, config_option, fail
from collector.operate.setup import (
    Answers,
    SetupError,
    make_answers,
    read_answers,
    write_configuration,
)
from collector.private_file import write_bytes

SYSTEMD = Path("/run/systemd/system")
ZONE_FILE = Path("/etc/timezone")
SERVICE = "osn-collector.service"


@click.command()
@click.option(
    "--answers",
    "answers_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="TOML file with name, data, broker, serial, zone; nothing is asked then.",
)
@click.option(
    "--nodes",
    "records",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Records of provisioned boards to import.",
)
@config_option
@click.pass_context
def init(
    context: click.Context, answers_file: Path | None, records: Path | None, config_file: Path
) -> None:
    """Ask a few questions and write configuration, broker files and the first nodes.

    \b
    Example:
      osn-collector init
      osn-collector init --answers answers.toml --nodes tray-7.jsonl
    """
    if config_file.exists():
        fail(f"{config_file} exists; edit it, or move it away first")
    try:
        answers = read_answers(answers_file) if answers_file else _ask()
        write_configuration(config_file, answers)
    except (SetupError, OSError) as error:
        fail(str(error))
    click.echo(f"{config_file} written")
    if answers.broker == "here":
        _broker(context, config_file, records)
    elif records is not None:
        _import(context, config_file, records)
    for line in _what_next(answers, config_file, records):
        click.echo(line)


def _ask() -> Answers:
    plain = Answers()
    given = {
        "name": click.prompt("Name of this collector", default=socket.gethostname()),
        "data": click.prompt("Folder for its data", default=plain.data),
        "broker": click.prompt(
            "MQTT broker: here, none, or another's host name", default=plain.broker
        ),
        "serial": click.prompt(
            "Boards on USB: /dev/osn-* for those with USB of their own, a port of "
            "/dev/serial/by-id/ for one behind a bridge chip, or nothing",
            default="",
            show_default=False,
        ),
        "zone": click.prompt("Time zone, for days and nights", default=_zone_here()),
    }
    assert set(given) == set(asdict(plain))
    return make_answers(given, "answers")


def _zone_here() -> str:
    """The machine's time zone as Debian keeps it; UTC where it does not say."""
    try:
        return ZONE_FILE.read_text().strip() or "UTC"
    except OSError:
        return "UTC"


def _is_the_services(config_file: Path) -> bool:
    """Whether the machine's own service reads this file: only then its broker is ours to set."""
    return config_file.absolute() == DEFAULT_CONFIG


def _broker(context: click.Context, config_file: Path, records: Path | None) -> None:
    from collector.commands.broker import broker_config
    from collector.operate.broker_config import CONFIGURATION, make_folder

    folder = config_file.parent / "broker"
    make_folder(folder)
    password = folder / "collector.password"
    if not password.exists():
        write_bytes(password, secrets.token_urlsafe(24).encode() + b"\n", 0o600)
    if records is not None:
        _import(context, config_file, records)
    context.invoke(
        broker_config, folder=folder, hosts=(), tls_port=None, local_port=None,
        config_file=config_file,
    )  # fmt: skip
    copy = MOSQUITTO / COPY
    if not _is_the_services(config_file):
        click.echo(f"mosquitto needs {folder / CONFIGURATION}: include it in its configuration")
    elif MOSQUITTO.is_dir() and not copy.exists() and os.access(MOSQUITTO, os.W_OK):
        shutil.copy(folder / CONFIGURATION, copy)
        click.echo(f"{copy} written, broker-config keeps it up to date; restart mosquitto")


def _import(context: click.Context, config_file: Path, records: Path) -> None:
    from collector.commands.nodes import import_nodes

    with records.open(encoding="utf-8") as opened:
        context.invoke(import_nodes, file=opened, config_file=config_file)


def _what_next(answers: Answers, config_file: Path, records: Path | None) -> list[str]:
    lines = ["next:"]
    if records is None:
        lines.append("  osn-collector nodes import FILE    boards that osn-board has provisioned")
    if answers.broker == "here":
        lines.append(f"  boards need {config_file.parent / 'broker' / 'ca.crt'} for TLS")
    if (
        _is_the_services(config_file)
        and SYSTEMD.is_dir()
        and shutil.which("systemctl")
        and os.geteuid() == 0
    ):
        done = subprocess.run(["systemctl", "enable", "--now", SERVICE], check=False)
        if done.returncode == 0:
            return [*lines, f"  {SERVICE} is running: osn-collector status"]
    return [*lines, f"  systemctl enable --now {SERVICE}", "  osn-collector status"]
