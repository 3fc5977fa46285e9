"""doctor: look at everything, save what can be saved."""

import json
import sqlite3
import sys
from pathlib import Path

import click

from collector.commands.common import config_option, fail, load_config
from collector.commands.tables import progress_bar
from collector.doctor.checkup import examine
from collector.doctor.salvage import (
    damaged_rows,
    log_fault,
    page_faults,
    repair_ledger,
    replace_quarantine,
)
from collector.doctor.salvage import repair as save
from collector.exit_codes import EXIT_ALARM
from collector.ownership import acting_as_owner, give_back, owner_of
from collector.settings import Config
from collector.single import AlreadyRunning


@click.command()
@click.option("--repair", is_flag=True, help="Save what a damaged archive holds into a new one.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a finding.")
@config_option
def doctor(repair: bool, as_json: bool, config_file: Path) -> None:
    """Look at pages, log, ledger, keys, disk, clock, card wear, brokers and serial ports.

    Exit code 3 when something is not well. --repair needs the collector stopped; a damaged file is
    set aside, never deleted, and boards send again what they still hold.

    \b
    Example:
      osn-collector doctor
      osn-collector doctor --repair
    """
    config = load_config(config_file)
    if repair:
        try:
            for path in give_back(config.collector.data):
                click.echo(f"{path} given to {owner_of(config.collector.data).name}")
            with acting_as_owner(config.collector.data):
                _repair(config)
        except (AlreadyRunning, sqlite3.Error, OSError) as error:
            fail(f"{error}; stop the collector first, and keep the file as it is")
    well = True
    for finding in examine(config):
        well = well and finding.well
        if as_json:
            click.echo(json.dumps(finding._asdict()))
        else:
            click.echo(f"{'ok' if finding.well else '! '} {finding.what}: {finding.text}")
    sys.exit(0 if well else EXIT_ALARM)


def _repair(config: Config) -> None:
    archive, quarantine = config.collector.archive, config.collector.quarantine
    damaged = archive.exists() and (page_faults(archive) or log_fault(archive))
    if damaged:
        with progress_bar("saving frames") as advance:
            saved = save(config, advance)
        click.echo(
            f"{saved.frames} frames saved, {saved.unreadable} unreadable; "
            f"the damaged archive is {saved.aside}"
        )
    healed = repair_ledger(config) if archive.exists() and damaged_rows(archive) else []
    for damage in healed:
        click.echo(f"made again from the frames: ledger of {damage}")
    if quarantine.exists() and page_faults(quarantine):
        click.echo(f"the damaged quarantine is {replace_quarantine(config)}; another is begun")
    elif not damaged and not healed:
        click.echo("archive and quarantine are whole; there is nothing to repair")
