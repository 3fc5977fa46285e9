"""osn-board calibrate noise, osn-board calibrate colocation"""

import json
from pathlib import Path

import click

from hardware import calibrate, meter
from hardware.commands import common


@click.group("calibrate")
def calibrate_command() -> None:
    """Calibrate a noise meter against a source, or other sensors beside a reference."""


@calibrate_command.command("noise")
@click.option("--source", "source_db", default=calibrate.SOURCE_DB, help="Level of the source, dB.")
@click.option("--seconds", default=20, type=click.IntRange(5, 600), help="How long to measure.")
@common.port_option
@common.json_option
def noise(source_db: float, seconds: int, named: tuple[str, ...], as_json: bool) -> None:
    """Put the calibrator (94 dB, 1 kHz) on the microphone; the constant is kept on the board.

    \b
    Example:
      osn-board calibrate noise --port /dev/ttyUSB0
    """
    with common.reported(as_json):
        port = common.one_port(named)
        found = calibrate.noise_offset(meter.levels_db(port, seconds), source_db)
        total_db = meter.keep_offset(port, found.offset_db)
    if as_json:
        click.echo(
            json.dumps({"offset_db": total_db, "uncertainty_db": round(found.uncertainty_db, 4)})
        )
    else:
        click.echo(
            f"Corrected by {found.offset_db:+.2f} dB (standard uncertainty "
            f"{found.uncertainty_db:.2f} dB, {found.seconds} s); the constant is now "
            f"{total_db:+.1f} dB."
        )


@calibrate_command.command("colocation")
@click.argument("sensor_csv", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("reference_csv", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--node", required=True, help="The node's address, 8 hexadecimal digits.")
@click.option("--quantity", required=True, help="Name in the registry, such as pm2_5.")
@click.option("--sensor-columns", nargs=2, default=("time", "value"), help="Time and value.")
@click.option("--reference-columns", nargs=2, default=("time", "value"), help="Time and value.")
@click.option("--interval", "interval_s", default=3600.0, help="Means over so many seconds.")
@common.json_option
def colocation(
    sensor_csv: Path,
    reference_csv: Path,
    node: str,
    quantity: str,
    sensor_columns: tuple[str, str],
    reference_columns: tuple[str, str],
    interval_s: float,
    as_json: bool,
) -> None:
    """Fit offset and slope from a time beside a reference instrument, with their uncertainties.

    Prints a [[correction]] for the collector's configuration; raw readings stay as they are.

    \b
    Example:
      osn-collector export --node a1b2c3d4 --quantity pm2_5 --format csv > sensor.csv
      osn-board calibrate colocation sensor.csv station.csv --node a1b2c3d4 --quantity pm2_5
    """
    with common.reported(as_json):
        pairs = calibrate.pair_up(
            calibrate.read_series(sensor_csv, *sensor_columns),
            calibrate.read_series(reference_csv, *reference_columns),
            interval_s,
        )
        line = calibrate.fit(pairs)
    if as_json:
        click.echo(json.dumps({name: getattr(line, name) for name in line.__slots__}))
    else:
        click.echo(calibrate.correction_toml(node, quantity, line), nl=False)
