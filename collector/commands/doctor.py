"""doctor: look at everything, save what can be saved."""

import json
import sqlite3
import sys
from pathlib import Path

import click

from collector.commands.common import config_option, fail, load_config
from collector.commands.tables import progress_bar
from collector.doctor.checkup import examine, page_faults
from collector.doctor.checkup import repair as save
from collector.single import AlreadyRunning

EXIT_ALARM = 3


@click.command()
@click.option("--repair", is_flag=True, help="Save what a damaged archive holds into a new one.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a finding.")
@config_option
def doctor(repair: bool, as_json: bool, config_file: Path) -> None:
    """Look at pages, ledger, keys, disk, clock, card wear and links.

    Exit code 3 when something is not well. --repair needs the collector stopped; the damaged
    archive is set aside, never deleted, and boards send again what they still hold.

    \b
    Example:
      osn-collector doctor
      osn-collector doctor --repair
    """
    config = load_config(config_file)
    if repair:
        archive = config.collector.archive
        if not archive.exists() or not page_faults(archive):
            click.echo("the archive's pages are whole; there is nothing to repair")
        else:
            try:
                with progress_bar("saving frames") as advance:
                    saved = save(config, advance)
            except (AlreadyRunning, sqlite3.Error, OSError) as error:
                fail(f"{error}; stop the collector first, and keep the file as it is")
            click.echo(
                f"{saved.frames} frames saved, {saved.unreadable} unreadable; "
                f"the damaged archive is {saved.aside}"
            )
    well = True
    for finding in examine(config):
        well = well and finding.well
        if as_json:
            click.echo(json.dumps(finding._asdict()))
        else:
            click.echo(f"{'ok' if finding.well else '! '} {finding.what}: {finding.text}")
    sys.exit(0 if well else EXIT_ALARM)
