"""osn-board flash"""

from dataclasses import replace

import click

from hardware.commands import common, several
from hardware.faults import BenchError, Exit
from hardware.images import ImageCache


@click.command("flash")
@common.board_option
@click.option("--image", "image_name", help="MicroPython image; a name from the cache will do.")
@click.option("--firmware-only", is_flag=True, help="Leave the image; install the firmware.")
@common.port_option
@common.all_option
@common.rewire_option
@common.json_option
def flash_command(
    board_name: str,
    image_name: str | None,
    firmware_only: bool,
    named: tuple[str, ...],
    every: bool,
    rewire: bool,
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
        plan = replace(common.plan(board_name), rewire=rewire)
        if not firmware_only:
            if image_name is None:
                raise BenchError(
                    Exit.USAGE, "No image is named", "Give --image, or --firmware-only"
                )
            plan = replace(plan, image=ImageCache().find(image_name))
        chosen = common.chosen_ports(named, every)
        several.put_on_all(chosen, plan, as_json)
