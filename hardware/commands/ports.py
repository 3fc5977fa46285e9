"""osn-board list"""

import json

import click

from hardware import ports
from hardware.commands.common import json_option, port_option, reported, table


@click.command("list")
@port_option
@json_option
def list_command(named: tuple[str, ...], as_json: bool) -> None:
    """Show the ports, with chip, MAC and what is on them.

    \b
    Examples:
      osn-board list
      osn-board list --port /dev/ttyUSB0 --json
    """
    with reported(as_json):
        found = [entry.row() for entry in ports.describe_all(named)]
    if as_json:
        for row in found:
            click.echo(json.dumps(row))
    elif found:
        table(list(found), "Boards")
    else:
        click.echo("No board is plugged in (or its cable carries no data).")
