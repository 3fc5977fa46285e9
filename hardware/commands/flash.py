"""osn-board flash"""

import json
import sys
from dataclasses import replace

import click

from hardware import bench
from hardware.commands import common
from hardware.faults import BenchError, Exit
from hardware.images import ImageCache
from hardware.install import Installed


@click.command("flash")
@common.board_option
@click.option("--image", "image_name", help="MicroPython image; a name from the cache will do.")
@click.option("--firmware-only", is_flag=True, help="Leave the image; install the firmware.")
@common.port_option
@common.all_option
@common.json_option
def flash_command(
    board_name: str,
    image_name: str | None,
    firmware_only: bool,
    named: tuple[str, ...],
    every: bool,
    as_json: bool,
) -> None:
    """Erase, write the MicroPython image, and install the firmware, on up to 8 boards at once.

    Images are kept in a cache, so that later calls need neither the file nor the Internet. What is
    already on a board is not sent again: after an interruption run the same command.

    \b
    Examples:
      osn-board flash --board street --image ESP32_GENERIC-v1.28.0.bin
      osn-board flash --board street --image ESP32_GENERIC-v1.28.0.bin --all
      osn-board flash --board noise --firmware-only --port /dev/ttyACM0
    """
    with common.reported(as_json):
        plan = common.plan(board_name)
        if not firmware_only:
            if image_name is None:
                raise BenchError(
                    Exit.USAGE, "No image is named", "Give --image, or --firmware-only"
                )
            plan = replace(plan, image=ImageCache().find(image_name))
        chosen = common.chosen_ports(named, every)
        outcomes = _flash_all(chosen, plan, as_json)
    for outcome in outcomes.values():
        if isinstance(outcome, BenchError):
            sys.exit(int(outcome.advice.code))


def _flash_all(
    chosen: list[str], plan: bench.Plan, as_json: bool
) -> dict[str, Installed | BenchError]:
    with common.Bars(shown=not as_json) as bars:

        def work(port: str) -> Installed:
            def show(step: str, part: float) -> None:
                bars.show(port, step, part)

            if plan.image is not None:
                bench.flash(port, plan, show)
            return bench.put_firmware(port, plan, show)

        return bench.in_parallel(chosen, work, lambda port, end: _tell(port, end, as_json))


def _tell(port: str, outcome: Installed | BenchError, as_json: bool) -> None:
    facts: dict[str, str | int]
    if isinstance(outcome, BenchError):
        advice = outcome.advice
        facts = {"port": port, "error": advice.happened, "to_do": advice.to_do}
        text = f"{port}: {outcome}"
    else:
        facts = {
            "port": port,
            "installed_bytes": outcome.carried_bytes,
            "in_place": outcome.in_place,
        }
        text = f"{port}: ready, {common.told(outcome)}"
    click.echo(json.dumps(facts) if as_json else text)
