"""osn-collector: the daemon and everything that its operator needs around it."""

import importlib
import sys
from collections.abc import Mapping
from typing import Any

import click

_COMMANDS: Mapping[str, tuple[str, str]] = {
    "backup": ("backup", "Write the whole collector into one file, while it runs."),
    "broker-config": ("broker", "Write what mosquitto needs, access list included."),
    "check-config": ("run", "Name every fault of a configuration file."),
    "command": ("boards", "Ask a board to reboot, identify itself, test itself, and more."),
    "configure": ("boards", "Change a board's settings."),
    "decode": ("evidence", "Explain a frame field by field."),
    "doctor": ("doctor", "Look at everything; save what a damaged archive holds."),
    "export": ("export", "Write readings as CSV, JSON lines, SQLite or Parquet."),
    "init": ("init", "Ask a few questions and write the first configuration."),
    "ledger": ("status", "Account for every frame and reading."),
    "levels": ("means", "Write day, evening and night levels (Lden) of each day."),
    "means": ("means", "Write hourly or daily means, with the share that they cover."),
    "nodes": ("nodes", "List, import, adopt, set, revoke, rotate, resolve and erase nodes."),
    "quarantine": ("evidence", "List, explain and submit again what was refused."),
    "restore": ("backup", "Put a backup in place, here or on a new machine."),
    "run": ("run", "Receive, archive, acknowledge and forward, until told to stop."),
    "sinks": ("sinks", "Explain, provision and replay networks."),
    "status": ("status", "Show nodes, readings, networks, backlog and storage."),
    "update": ("boards", "Roll a signed firmware out, one board first."),
    "trace": ("trace", "Show one reading's whole way."),
}
"""Command -> (module in collector.commands, one line of help)."""


class LazyGroup(click.Group):
    """Knows its commands' names and imports a command only when it is called."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Runs a command; what the machine refuses it ends it with 1 and the reason."""
        try:
            return super().main(*args, **extra)
        except OSError as error:
            reason = error.strerror or str(error)
            if error.filename is None:
                click.echo(f"Error: {reason}; the output is not complete", err=True)
            else:
                from collector.commands.common import with_remedy

                click.echo(with_remedy(f"Error: {error.filename}: {reason}"), err=True)
            sys.exit(1)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"collector.commands.{_COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, _COMMANDS[name][1]) for name in self.list_commands(ctx)])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            import difflib

            close = difflib.get_close_matches(args[0], _COMMANDS, 1)
            hint = f" Did you mean {close[0]}?" if close else ""
            ctx.fail(f"No such command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="opencities-osn", prog_name="osn-collector")
def main() -> None:
    """The collector of an Open Cities sensor network.

    It archives what boards send, acknowledges it and forwards it to open sensor networks.
    """
