"""osn-board: from a bare ESP32 to a trusted node."""

import importlib
import sys
from collections.abc import Mapping
from typing import Any

import click

COMMANDS: Mapping[str, tuple[str, str]] = {
    "list": ("ports", "Show the ports, with chip, MAC and what is on them."),
    "flash": ("flash", "Write MicroPython and the firmware to one board or all."),
    "provision": ("provision", "Give a board its identity, key and settings."),
    "selftest": ("selftest", "Test every part of a board; write record and sheet."),
    "tray": ("tray", "Full screen: plug in, and it flashes, provisions, tests, prints."),
    "prove": ("prove", "Measure on the board in hand what no simulator can know."),
    "calibrate": ("calibrate", "Noise against a source, other sensors beside a reference."),
    "monitor": ("monitor", "Decode live what a board says on its serial line."),
    "identify": ("care", "Blink a board's LED."),
    "repl": ("care", "Talk to a board's MicroPython prompt."),
    "update": ("care", "Bring a board's firmware up to date over USB; its data stay."),
    "rekey": ("rekey", "Hand a board the next key, which the collector made."),
    "wipe": ("care", "Take identity, settings and data from a board."),
    "sheet": ("sheet", "Write the wiring sheet of a type of board."),
    "bundle": ("bundle", "Make a signed update for boards in the field."),
    "boards": ("sheet", "List the types of boards."),
}
"""Command -> (module in hardware.commands, one line of help)."""


class LazyGroup(click.Group):
    """Imports a command when it is called, so that `osn-board --help` needs nothing else."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Runs a command; an output that takes nothing ends it with 1 and the reason."""
        try:
            return super().main(*args, **extra)
        except OSError as fault:
            from hardware.faults import unforeseen

            advice = unforeseen(fault).advice
            click.echo(f"{advice.happened}.\n{advice.to_do}.", err=True)
            sys.exit(int(advice.code))

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"hardware.commands.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="opencities-osn", prog_name="osn-board")
def main() -> None:
    """The technician's tool: flash, provision, test and look after boards.

    Exit codes: 0 done, 1 failed, 2 wrong use, 3 no port, 4 not in boot mode, 5 wrong chip, 6 wrong
    image, 7 board silent, 8 already provisioned, 9 a test failed, 10 interrupted.
    """


if __name__ == "__main__":
    main()
