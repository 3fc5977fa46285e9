"""osn-board prove"""

import json
from pathlib import Path

import click

from hardware import prove
from hardware.commands import common
from hardware.session import check_port


@click.command("prove")
@click.argument("output", type=click.Path(path_type=Path, dir_okay=False), default="proof.json")
@click.option("--minutes", default=10.0, type=click.FloatRange(0.01, 120), help="For the drift.")
@click.option("--frames", default=prove.FRAMES, type=click.IntRange(1, 100_000), help="On serial.")
@common.port_option
@common.json_option
def prove_command(
    output: Path, minutes: float, frames: int, named: tuple[str, ...], as_json: bool
) -> None:
    """Measure on the board in hand what no simulator can know (15 minutes, no Internet).

    Heap with Wi-Fi, flash times, cycles of the meter, drift of the clock, frames on serial,
    a power cut. The file names nobody: no names, keys or networks. Please send it in.

    \b
    Example:
      osn-board prove street-proof.json --port /dev/ttyUSB0
    """
    with common.reported(as_json), common.Bars(shown=not as_json) as bars:
        port = common.one_port(named)
        check_port(port)
        # A quarter of an hour is too long to find out only then that it cannot be written.
        with output.open("a", encoding="utf-8"):
            pass
        found = prove.prove(port, minutes, frames, lambda step, part: bars.show(port, step, part))
        output.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    click.echo(json.dumps(found) if as_json else f"{output}: please send it in")
