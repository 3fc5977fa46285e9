"""osn-board monitor"""

import contextlib
import json
from pathlib import Path

import click

from hardware import monitor, records
from hardware.commands import common


@click.command("monitor")
@common.bench_option
@click.option("--baud", default=115_200, help="The board's serial rate.")
@click.option("--seconds", type=float, help="End after so long; for ever without it.")
@common.port_option
@common.json_option
def monitor_command(
    bench_file: Path | None,
    baud: int,
    seconds: float | None,
    named: tuple[str, ...],
    as_json: bool,
) -> None:
    """Decode live what a board says on its serial line: frames, readings, console.

    With a bench file whose records hold the node's key, frames are checked too. Watching does not
    restart the board. Ctrl-C ends it; when the cable comes out it ends with code 10.

    \b
    Examples:
      osn-board monitor --port /dev/ttyUSB0 --bench bench.toml
      osn-board monitor --port /dev/ttyUSB0 --seconds 60 --json > minute.jsonl
    """
    with common.reported(as_json):
        port = common.one_port(named)
        keys = {}
        if bench_file is not None:
            for entry in records.known(common.bench_facts(bench_file).records):
                identity = records.identity_in(entry)
                keys[identity.node] = identity.key
        with contextlib.suppress(KeyboardInterrupt):
            for event in monitor.watch(port, monitor.Monitor(keys), baud, seconds):
                click.echo(json.dumps(event.facts) if as_json else event.text)
