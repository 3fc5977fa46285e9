"""osn-board identify, repl, update, wipe"""

import json
import subprocess
import sys
from dataclasses import replace

import click

from hardware import care
from hardware.commands import common, several
from hardware.faults import BenchError, Exit
from hardware.session import open_port, session


@click.command("identify")
@click.option("--seconds", default=10, type=click.IntRange(1, 600), help="How long to blink.")
@common.port_option
@common.json_option
def identify_command(seconds: int, named: tuple[str, ...], as_json: bool) -> None:
    """Blink a board's LED, to see which one hangs on a port.

    \b
    Example:
      osn-board identify --port /dev/ttyUSB3
    """
    with common.reported(as_json):
        port = common.one_port(named)
        with session(port, run_main=True) as opened:
            care.blink(opened, seconds)
    if as_json:
        click.echo(json.dumps({"port": port, "blinked_s": seconds}))


@click.command("repl")
@common.port_option
def repl_command(named: tuple[str, ...]) -> None:
    """Talk to a board's MicroPython prompt (Ctrl-] leaves).

    \b
    Example:
      osn-board repl --port /dev/ttyUSB0
    """
    with common.reported():
        port = common.one_port(named)
        open_port(port).close()
    sys.exit(subprocess.call([sys.executable, "-m", "mpremote", "connect", port, "repl"]))


@click.command("update")
@common.board_option
@common.port_option
@common.all_option
@common.rewire_option
@common.json_option
def update_command(
    board_name: str, named: tuple[str, ...], every: bool, rewire: bool, as_json: bool
) -> None:
    """Bring the firmware of up to 8 boards at once up to date; identity, settings and spool stay.

    A board that fails does not disturb the others; run the same command again.

    \b
    Example:
      osn-board update --board street --all
    """
    with common.reported(as_json):
        plan = replace(common.plan(board_name), rewire=rewire)
        several.put_on_all(common.chosen_ports(named, every), plan, as_json)


@click.command("wipe")
@click.option("--yes", is_flag=True, help="Do not ask.")
@common.port_option
@common.json_option
def wipe_command(yes: bool, named: tuple[str, ...], as_json: bool) -> None:
    """Take identity, key, settings and all unsent readings from a board; the firmware stays.

    \b
    Example:
      osn-board wipe --port /dev/ttyUSB0
    """
    with common.reported(as_json):
        port = common.one_port(named)
        if not yes and as_json:
            raise BenchError(Exit.USAGE, "Nobody is asked with --json", "Add --yes")
        if not yes:
            click.confirm(f"All that the board on {port} has not sent is lost. Go on?", abort=True)
        with session(port) as opened:
            removed = care.wipe(opened)
    facts = {"port": port, "removed_files": removed}
    click.echo(json.dumps(facts) if as_json else f"{port}: wiped, {removed} files removed")
