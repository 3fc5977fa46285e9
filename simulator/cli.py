"""osn-simulator: boards, cities, networks and their faults, without any hardware."""

import sys
import tempfile
from pathlib import Path
from typing import NoReturn

import click


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Try the sensor network without hardware.

    \b
    Example:
      osn-simulator demo --seconds 60
    """


def fail(message: str, code: int = 2) -> NoReturn:
    """End with an error for people."""
    click.echo(f"osn-simulator: {message}", err=True)
    sys.exit(code)


@main.command("replay")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--report", "report_file", type=click.Path(path_type=Path), help="JSON report.")
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    help="Leave archive.db and delivered.jsonl here.",
)
@click.option("--vm", is_flag=True, help="Run the firmware on the MicroPython VM; one day.")
@click.option(
    "--days",
    type=click.FloatRange(min=0.01),
    help="Only the first days, from midnight to midnight UTC.",
)
@click.option("--seed", type=int, default=1, show_default=True)
def replay_command(
    folder: Path,
    report_file: Path | None,
    keep: Path | None,
    vm: bool,
    days: float | None,
    seed: int,
) -> None:
    """Feed a recording of real sensors through boards, collector and sink.

    FOLDER, or a file, holds CSV files of the sensor.community archive (SDS011, BME280), series of
    sound levels (datetime, LAeq) or files from a Smart Citizen Kit's SD card. Ends with 1 when a
    row is missing, doubled or different.

    \b
    Example:
      osn-simulator replay recordings/ --report report.json --keep out/
    """
    from simulator.recordings import RecordingError, cut, read_recording

    if vm and days is None:
        days = 1.0
    try:
        recording = read_recording(folder)
        if days is not None:
            recording = cut(recording, days)
    except RecordingError as error:
        fail(str(error))
    from simulator.replay import ReplayOptions, replay
    from simulator.replay_table import progress_bar, show

    with tempfile.TemporaryDirectory(prefix="osn-replay-") as temporary:
        options = ReplayOptions(keep or Path(temporary), vm, seed)
        try:
            with progress_bar() as progress:
                report = replay(recording, options, progress)
        except (RecordingError, FileNotFoundError) as error:
            fail(str(error))
    if report_file is not None:
        report_file.write_text(report.as_json(), encoding="utf-8")
    show(report)
    sys.exit(0 if report.ok else 1)


@main.command()
@click.option("--seconds", type=click.FloatRange(min=1), default=60, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    help="Empty this folder and leave everything in it.",
)
@click.option("--cpython", is_flag=True, help="Run the firmware under CPython, not on the VM.")
@click.option("--embedded-broker", is_flag=True, help="Use amqtt although mosquitto is there.")
def demo(
    seconds: float, seed: int, keep: Path | None, cpython: bool, embedded_broker: bool
) -> None:
    """Show the whole way, live: three boards, broker, collector, an open network.

    Ends by itself with the ledger, and with 1 when the ledger does not add up.

    \b
    Example:
      osn-simulator demo --seconds 60
    """
    import asyncio

    from rich.console import Console

    from simulator.demo.run import DemoOptions, demonstrate

    options = DemoOptions(seconds, seed, keep, cpython, embedded_broker)
    account = asyncio.run(demonstrate(options, Console()))
    sys.exit(0 if account.adds_up else 1)


@main.command()
@click.option("--nodes", type=click.IntRange(1, 20_000), default=500, show_default=True)
@click.option(
    "--rate",
    type=click.FloatRange(min=0.001, max=1),
    default=0.1,
    show_default=True,
    help="Samples of 8 channels a second and board; 1 at most.",
)
@click.option("--report-s", type=click.IntRange(1, 3600), default=60, show_default=True)
@click.option("--seconds", type=click.FloatRange(min=1), default=60, show_default=True)
@click.option("--broker", default="127.0.0.1:1883", show_default=True, help="HOST:PORT")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option(
    "--records",
    "records_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the boards' records for `osn-collector nodes import` and end.",
)
def fleet(
    nodes: int,
    rate: float,
    report_s: int,
    seconds: float,
    broker: str,
    seed: int,
    records_file: Path | None,
) -> None:
    """Load any broker and collector with many boards over real MQTT.

    First write the boards' records and let the collector import them; then run with the same
    --nodes and --seed. Ends with 1 when frames stay without acknowledgement.

    \b
    Example:
      osn-simulator fleet --nodes 500 --records fleet.jsonl
      osn-collector nodes import fleet.jsonl
      osn-simulator fleet --nodes 500 --seconds 120
    """
    import asyncio
    import time

    from simulator.fleet import Fleet, FleetOptions, records

    host, _, port = broker.rpartition(":")
    if not host or not port.isdigit():
        fail(f"--broker {broker}: give HOST:PORT")
    interval_s = max(1, round(1 / rate))
    options = FleetOptions(nodes, interval_s, report_s, seconds, 30.0, host, int(port), seed)
    if records_file is not None:
        lines = "".join(line + "\n" for line in records(options, int(time.time()) - 1))
        records_file.write_text(lines, encoding="utf-8")
        click.echo(f"{nodes} records in {records_file}")
        return

    async def run() -> int:
        total = await Fleet(options).run(click.echo)
        click.echo(total.line())
        return total.open_frames

    sys.exit(1 if asyncio.run(run()) else 0)


@main.command("run")
@click.argument("scenario")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--nodes", type=click.IntRange(1, 10_000), help="Instead of the scenario's number.")
@click.option("--days", type=click.FloatRange(min=0.001), help="Instead of the scenario's hours.")
@click.option("--hours", type=click.FloatRange(min=0.01), help="The same in hours.")
@click.option("--report", "report_file", type=click.Path(path_type=Path, dir_okay=False))
def run_command(
    scenario: str,
    seed: int,
    nodes: int | None,
    days: float | None,
    hours: float | None,
    report_file: Path | None,
) -> None:
    """Run one scenario in virtual time and account for every reading.

    SCENARIO is a name (see `osn-simulator scenarios`) or a TOML file. The same seed gives the
    same report. Ends with 1 when anything is lost, doubled or wrong.

    \b
    Example:
      osn-simulator run power_cuts --seed 7 --report report.json
    """
    import json

    from simulator.city import CityError
    from simulator.faults.plan import PlanError
    from simulator.scenario import ScenarioError
    from simulator.settling import Restless
    from simulator.simulation import RunOptions, simulate
    from simulator.soak import drawn

    try:
        loaded = drawn(scenario, seed)
    except ScenarioError as error:
        fail(str(error))
    if report_file is not None and not report_file.absolute().parent.is_dir():
        fail(f"--report {report_file}: there is no folder {report_file.absolute().parent}")
    if days is not None and hours is not None:
        fail("either --days or --hours, not both")
    options = RunOptions(seed, nodes, hours if days is None else days * 24)
    try:
        verdict, report = simulate(loaded, options)
    except (CityError, PlanError, Restless, KeyError) as error:
        fail(f"{scenario}: {type(error).__name__}: {error}", 1)
    text = json.dumps(report, indent=2, sort_keys=True) + "\n"
    if report_file is not None:
        report_file.write_text(text, encoding="utf-8")
    click.echo(text, nl=False)
    if verdict.unaccounted:
        changed = f" --nodes {nodes}" if nodes else ""
        changed += f" --days {days}" if days else ""
        changed += f" --hours {hours}" if hours else ""
        click.echo(f"FAILED  osn-simulator run {scenario} --seed {seed}{changed}", err=True)
    sys.exit(1 if verdict.unaccounted else 0)


@main.command("node")
@click.option("--board", "board_name", default="street", show_default=True)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where flash and identity lie, to go on later; a new one without it.",
)
@click.option("--broker", default="127.0.0.1:1883", show_default=True, help="HOST:PORT")
@click.option("--seconds", type=click.FloatRange(min=0.1), help="End by itself.")
@click.option("--seed", type=int, default=1, show_default=True)
def node_command(
    board_name: str, folder: Path | None, broker: str, seconds: float | None, seed: int
) -> None:
    """Run one board in the terminal: its console, and its MicroPython prompt after Ctrl-C.

    Ctrl-] leaves. Ctrl-D at the prompt starts the board anew.

    \b
    Example:
      osn-simulator node --board street --folder boards/one
    """
    from hardware import boardfile
    from simulator import node_terminal

    host, _, port = broker.partition(":")
    try:
        board = boardfile.load(board_name)
    except boardfile.BoardError as fault:
        fail(str(fault))
    if not port.isdecimal():
        fail(f"--broker takes HOST:PORT, such as 127.0.0.1:1883, not {broker}")
    settings: dict[str, int | str] = {
        "broker_host": host, "broker_port": int(port), "wifi_ssid": "simulated",
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as temporary:
        home = folder or Path(temporary)
        address = node_terminal.install(home, board, settings)
        click.echo(f"node {address} on {board_name}; Ctrl-C for its prompt, Ctrl-] to leave")
        click.echo(
            f"the collector takes it with: osn-collector nodes import {home / 'record.jsonl'}"
        )
        try:
            node_terminal.run(home, board, seed, seconds)
        except FileNotFoundError as fault:
            fail(str(fault))


@main.command()
def scenarios() -> None:
    """List the scenarios and what each must show."""
    import tomllib

    from simulator.scenario import find, names

    for name in names():
        told = tomllib.loads(find(name).read_text(encoding="utf-8"))
        click.echo(f"{name:20} {told.get('tells', told['title'])}")


@main.command("upstream")
@click.argument("name")
@click.option("--port", type=click.IntRange(0, 65_535), default=0, help="0: a free one.")
@click.option(
    "--fault", "faults", multiple=True, metavar="NAME=SHARE", help="Share of requests; repeatable."
)
@click.option("--seed", type=int, default=0, show_default=True)
def upstream_command(name: str, port: int, faults: tuple[str, ...], seed: int) -> None:
    """Serve a fake open network by itself, until Ctrl-C.

    \b
    Example:
      osn-simulator upstream sensorthings --port 8080
      osn-simulator upstream ckan --fault busy=0.1 --fault drop_after=0.05 --seed 7
    """
    import asyncio

    from simulator.upstream import build
    from simulator.upstream.base import Upstream

    try:
        network = build(name, dict(map(_share, faults)), seed)
    except ValueError as error:
        fail(str(error))
    if not isinstance(network, Upstream):
        fail(f"{name} is no web service: it cannot be served by itself")

    async def serve() -> None:
        async with network.serving(port=port) as url:
            click.echo(f"{name} at {url}")
            await asyncio.get_running_loop().create_future()

    try:
        asyncio.run(serve())
    except KeyboardInterrupt:
        click.echo(f"{sum(network.stored.values())} readings were stored")


def _share(text: str) -> tuple[str, float]:
    """NAME=SHARE as a pair."""
    name, _, share = text.partition("=")
    try:
        number = float(share)
    except ValueError:
        fail(f"{text!r} is not NAME=SHARE, such as busy=0.1")
    if not 0 <= number <= 1:
        fail(f"{text!r}: a share is from 0 to 1")
    return name, number
