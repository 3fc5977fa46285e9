"""osn-board monitor"""

import json
import time
from pathlib import Path

import click
import serial

from hardware import faults, monitor, records
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

    With a bench file whose records hold the node's key, frames are checked too.

    \b
    Example:
      osn-board monitor --port /dev/ttyUSB0 --bench bench.toml
    """
    with common.reported(as_json):
        port = common.one_port(named)
        keys = {}
        if bench_file is not None:
            for entry in records.known(common.records_path(bench_file)):
                keys[int(entry["node"], 16)] = bytes.fromhex(entry["key"])
        watch = monitor.Monitor(keys)
        try:
            with serial.serial_for_url(port, baudrate=baud, timeout=0.2, exclusive=True) as line:
                end_s = time.monotonic() + seconds if seconds else None
                while end_s is None or time.monotonic() < end_s:
                    for event in watch.feed(line.read(4096)):
                        click.echo(json.dumps(event.facts) if as_json else event.text)
        except serial.SerialException as fault:
            if not Path(port).exists():
                raise faults.no_port(port) from fault
            raise faults.connection_lost(port) from fault
