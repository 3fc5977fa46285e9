"""command, configure and update: what boards are asked to do."""

import base64
import json
import sys
from pathlib import Path
from typing import Any

import click

from collector.commands.common import Number, config_option, fail, hint, load_config
from collector.commands.nodes import find_node, open_nodes
from collector.commands.tables import show_table
from collector.exit_codes import EXIT_ALARM, EXIT_UNANSWERED
from collector.nodes import NodeRegistry, node_text
from collector.operate.control import ControlError, NotRunning, ask
from collector.settings import Config
from protocol import names
from protocol.setting_names import BY_KEY, SETTINGS, fault_of

BUNDLE_BYTES_MAX = 1_000_000
DIGITS_MAX = 20
DANGEROUS = ("drop-spool", "other-slot", "safe-mode")
COMMANDS = [name.replace(" ", "-") for name in names.COMMANDS.values()]


@click.command()
@click.argument("node")
@click.argument("name", type=click.Choice(COMMANDS))
@click.argument("numbers", type=int, nargs=-1)
@click.option("--wait", "wait_s", type=Number(0, 50), default=30, show_default=True,
              help="Seconds to wait for the answer.")  # fmt: skip
@click.option("--yes", is_flag=True, help="Do not ask before commands that lose something.")
@config_option
def command(
    node: str, name: str, numbers: tuple[int, ...], wait_s: float, yes: bool, config_file: Path
) -> None:
    """Ask NODE to do something and show its answer.

    resend takes a boot and the first and last number. A board that sleeps gets the command when it
    wakes, within a day; exit code 4 says that it has not answered yet.

    \b
    Example:
      osn-collector command Plaza identify
      osn-collector command a1b2c3d4 resend 1764000000 1 500
    """
    if name in DANGEROUS and not yes:
        click.confirm(f"{name} loses something on the board. Go on?", abort=True)
    config = load_config(config_file)
    address = _address(config, node)
    found = _ask(config, "command", node=address, name=name, numbers=list(numbers), wait_s=wait_s)
    _show_answer(found)


@click.command()
@click.argument("node")
@click.argument("settings", nargs=-1, required=True)
@click.option("--wait", "wait_s", type=Number(0, 50), default=30, show_default=True)
@config_option
def configure(node: str, settings: tuple[str, ...], wait_s: float, config_file: Path) -> None:
    """Change settings of NODE, as NAME=VALUE by the table in docs/settings.md.

    The board checks them as a whole. Network settings are tried once and taken back when no
    acknowledgement comes over them. Keys and passwords cannot be sent.

    \b
    Example:
      osn-collector configure Plaza sample_interval_s=60 report_interval_s=300
    """
    config = load_config(config_file)
    entries = [_setting(text) for text in settings]
    found = _ask(config, "configure", node=_address(config, node), entries=entries, wait_s=wait_s)
    _show_answer(found)


@click.command()
@click.argument("target", required=False)
@click.argument(
    "file", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False)
)
@click.option("--stop", is_flag=True, help="Offer nothing more.")
@click.option("--go-on", is_flag=True, help="Go on after a stop, without the boards that failed.")
@click.option("--json", "as_json", is_flag=True, help="Everything, as one JSON object.")
@config_option
def update(
    target: str | None,
    file: Path | None,
    stop: bool,
    go_on: bool,
    as_json: bool,
    config_file: Path,
) -> None:
    """Roll the signed firmware FILE out to TARGET, a node or `all`; alone it shows how far it is.

    One board gets it first, then a tenth, then all. The roll-out stops when a board does not come
    back with the new version within an hour, or refuses it. It goes on by itself after a restart of
    the collector, and each board where it stopped. `osn-board bundle` makes FILE; the signing key
    never lies here. Exit code 3 says that it was stopped.

    \b
    Example:
      osn-collector update all street-1.4.0.bundle
      osn-collector update
    """
    config = load_config(config_file)
    registry, keys = open_nodes(config)
    if stop or go_on:
        found = _ask(config, "rollout", action="stop" if stop else "go-on")
    elif target is None:
        found = _ask(config, "rollout", action="show")
    elif file is None:
        fail("give the bundle's file too: osn-collector update TARGET FILE")
    else:
        raw = file.read_bytes()
        if len(raw) > BUNDLE_BYTES_MAX:
            fail(f"{file}: longer than a firmware bundle")
        nodes = (
            [info.id for info in registry if info.state == "active" and info.node in keys]
            if target == "all"
            else [node_text(find_node(registry, target))]
        )
        found = _ask(
            config, "rollout", action="begin", file=base64.b64encode(raw).decode(), nodes=nodes
        )
    if as_json:
        click.echo(json.dumps(found))
    else:
        _show_rollout(found, registry)
    rollout = found["rollout"]
    sys.exit(EXIT_ALARM if rollout is not None and rollout["stopped"] else 0)


def _show_rollout(found: dict[str, Any], registry: NodeRegistry) -> None:
    rollout = found["rollout"]
    boards = {board["node"]: board for board in rollout["boards"]} if rollout else {}
    if rollout is None:
        click.echo("no roll-out")
    else:
        state = rollout["stopped"] or ("done" if rollout["over"] else f"stage {rollout['stage']}")
        click.echo(f"version {rollout['version']}, {rollout['size']} bytes: {state}")
    addresses = sorted({*found["versions"], *boards, *(info.id for info in registry)})
    show_table(
        "",
        ("node", "name", "runs", "stage", "update", "#of bytes"),
        [_row(address, found, boards.get(address), registry) for address in addresses],
    )


def _row(
    address: str, found: dict[str, Any], board: dict[str, Any] | None, registry: NodeRegistry
) -> tuple[str, ...]:
    info = registry.get(int(address, 16))
    head = (address, info.name if info else "", found["versions"].get(address, "?"))
    if board is None:
        return (*head, "", "", "")
    words = board["state"] + (f": {board['reason']}" if board["reason"] else "")
    return (*head, str(board["stage"]), words, str(board["offset"]))


def _show_answer(found: dict[str, Any]) -> None:
    if found["state"] in ("waiting", "sent"):
        click.echo("no answer yet; it is asked again whenever the board is heard, for a day")
        sys.exit(EXIT_UNANSWERED)
    click.echo(f"{found['state']}: {found['answer']}")
    sys.exit(0 if found["state"] == "done" else 1)


def _setting(text: str) -> tuple[int, int | str]:
    """NAME=VALUE, or NUMBER=VALUE for a setting of another build."""
    name, equals, value = text.partition("=")
    if not equals:
        fail(f"{text!r} is not NAME=VALUE; docs/settings.md has the names")
    if name.isascii() and name.isdigit():
        key = int(name)
        given = value if key in BY_KEY and SETTINGS[BY_KEY[key]].is_text else _number(value)
        if fault := fault_of(key, given):
            fail(f"{BY_KEY.get(key, f'setting {key}')} {fault}, not {value!r}")
        return key, given
    setting = SETTINGS.get(name)
    if setting is None:
        fail(f"{name!r} is not a setting that can be sent{hint(name, SETTINGS)}")
    given = value if setting.is_text else _number(value)
    if fault := setting.fault(given):
        fail(f"{name} {fault}, not {value!r}")
    return setting.key, given


def _number(text: str) -> int | str:
    """The whole number that a text is, else the text."""
    digits = text.removeprefix("-")
    whole = digits.isascii() and digits.isdigit() and len(digits) <= DIGITS_MAX
    return int(text) if whole else text


def _address(config: Config, node: str) -> str:
    registry, _ = open_nodes(config)
    return node_text(find_node(registry, node))


def _ask(config: Config, do: str, **request: Any) -> dict[str, Any]:
    try:
        found: dict[str, Any] = ask(config.collector.data, do, **request)
        return found
    except (NotRunning, ControlError) as error:
        fail(str(error))
