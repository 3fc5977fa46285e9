"""The daemon, and the check of its configuration."""

import logging
import sys
from pathlib import Path

import click

from collector import grid
from collector.commands.common import config_option, fail_for, load_config
from collector.exit_codes import EXIT_CONFIG
from collector.named_files import unusable_files


@click.command()
@config_option
@click.option("--log-level", type=click.Choice(["debug", "info", "warning"]), default="info")
def run(config_file: Path, log_level: str) -> None:
    """Receive, archive, acknowledge and forward, until told to stop.

    \b
    Example:
      osn-collector run --config /etc/osn-collector/collector.toml
    """
    config = load_config(config_file, EXIT_CONFIG)
    logging.basicConfig(
        level=log_level.upper(), format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    from collector.daemon import run_daemon

    sys.exit(run_daemon(config))


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, readable=False))
def check_config(file: Path) -> None:
    """Name every fault of a configuration file and of the files it names, with line and reason.

    Run as root it looks with the eyes of the service: the owner of the data folder.

    \b
    Example:
      osn-collector check-config /etc/osn-collector/collector.toml
    """
    config = load_config(file)
    fail_for(file, unusable_files(config))
    click.echo(
        f"{file}: good ({len(config.mqtt)} mqtt, {len(config.serial)} serial, "
        f"{len(config.sinks)} sinks)"
    )
    for entry in config.sinks:
        wish_m = entry.privacy.grid_m
        if wish_m and grid.size_for(wish_m) != wish_m:
            size_m = grid.size_for(wish_m)
            click.echo(f"{entry.name}: cells of {wish_m} m there are not: {size_m} m is taken")
