"""osn-board provision"""

import json
from pathlib import Path

import click

from hardware import bench
from hardware.commands import common
from hardware.faults import BenchError, Exit
from hardware.provision import check_site
from hardware.records import Site


@click.command("provision")
@common.board_option
@common.bench_option
@click.option("--name", required=True, help="The site's name, for people.")
@click.option("--latitude", type=click.FloatRange(-90, 90), help="Degrees, WGS 84.")
@click.option("--longitude", type=click.FloatRange(-180, 180), help="Degrees, WGS 84.")
@click.option("--elevation", "elevation_m", type=float, default=0.0, help="Metres.")
@common.port_option
@common.json_option
def provision_command(
    board_name: str,
    bench_file: Path | None,
    name: str,
    latitude: float | None,
    longitude: float | None,
    elevation_m: float,
    named: tuple[str, ...],
    as_json: bool,
) -> None:
    """Give a board its identity, key and settings, check its HELLO, and append the record.

    The record (in the bench file's `records`, boards.jsonl by default) holds the key and the place;
    the board never gets the place, and nobody gets to see the key. Take the record to the collector
    with `osn-collector nodes import FILE`, then delete it.

    \b
    Examples:
      osn-board provision --board street --bench bench.toml --name "Carrer Gran 7" \\
          --latitude 41.4036 --longitude 2.1744
      osn-board provision --board mobile --bench bench.toml --name "Bus 24"
    """
    with common.reported(as_json):
        if (latitude is None) != (longitude is None):
            raise BenchError(
                Exit.USAGE, "--latitude and --longitude go together", "Give both, or none"
            )
        site = None
        if latitude is not None and longitude is not None:
            site = Site(latitude, longitude, elevation_m)
            check_site(site)
        plan = common.plan(board_name, bench_file)
        identity = bench.give_identity(common.one_port(named), plan, name, site)
    facts = {"node": identity.address, "uuid": identity.uuid, "records": str(plan.records)}
    if as_json:
        click.echo(json.dumps(facts))
    else:
        click.echo(f"Node {identity.address} ({identity.uuid}) is provisioned and proved itself.")
        click.echo(f"Its record is in {plan.records}: osn-collector nodes import {plan.records}")
