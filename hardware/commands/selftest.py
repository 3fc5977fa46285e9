"""osn-board selftest"""

import json
import sys
from pathlib import Path

import click

from hardware import bench, records
from hardware.commands import common
from hardware.faults import BenchError, Exit
from hardware.provision import provisioned_as
from hardware.records import Identity
from hardware.selftest import Result
from hardware.session import session
from hardware.tone import Tone

MARKS = {"passed": ("ok", "green"), "failed": ("FAILED", "red"), "skipped": ("skipped", "yellow")}


@click.command("selftest")
@common.board_option
@common.bench_option
@click.option(
    "--tone-db", type=click.FloatRange(60, 110),
    help="Test a microphone with a tone of this level, which you will be asked to play.",
)  # fmt: skip
@click.option(
    "--tone-hz", type=click.FloatRange(63, 8000), default=1000, show_default=True,
    help="Its frequency.",
)  # fmt: skip
@common.port_option
@common.json_option
def selftest_command(
    board_name: str,
    bench_file: Path | None,
    tone_db: float | None,
    tone_hz: float,
    named: tuple[str, ...],
    as_json: bool,
) -> None:
    """Test every part of a board, then write the acceptance record and the sheet for printing.

    Every sensor of the board file must answer plausibly; the Wi-Fi of the bench file must be in
    reach; the flash must keep what was written over a reset; a frame must be acknowledged. Exit
    code 9 when something failed. The board must be provisioned, and its record in the bench file's
    `records`, for the acceptance record is authenticated with its key.

    A microphone must be quiet in a quiet room. With --tone-db you are asked to play a tone, from a
    telephone or a calibrator; its level at the microphone and its frequency are judged.

    \b
    Examples:
      osn-board selftest --board street --bench bench.toml
      osn-board selftest --board noise --bench bench.toml --tone-db 80
    """
    with common.reported(as_json):
        plan = common.plan(board_name, bench_file)
        port = common.one_port(named)
        identity, name = _identity(port, plan.records)
        results = bench.run_selftest(
            port,
            plan,
            report=lambda result: _tell(result, as_json),
            tone=Tone(tone_hz, tone_db) if tone_db is not None else None,
            tell=lambda text: click.echo(json.dumps({"to_do": text}) if as_json else f"-> {text}"),
        )
        made = bench.paper(plan, identity, name, results, bench.facts(port))
    failed = any(result.state == "failed" for result in results)
    if as_json:
        click.echo(
            json.dumps({"passed": not failed, "sheet": str(made.sheet), "label": str(made.label)})
        )
    else:
        click.echo(f"Sheet: {made.sheet}, label: {made.label}")
    if failed:
        sys.exit(int(Exit.TEST_FAILED))


def _identity(port: str, path: Path) -> tuple[Identity, str]:
    """The identity that the board holds, with the key from the records."""
    with session(port) as opened:
        address = provisioned_as(opened)
    entry = records.newest(path, address) if address is not None else None
    if entry is not None:
        return records.identity_in(entry), str(entry["name"])
    happened = f"Node {address} is not in {path}" if address else "The board has no identity"
    raise BenchError(
        Exit.FAILED, happened, "Provision the board first, and name its records in the bench file"
    )


def _tell(result: Result, as_json: bool) -> None:
    if as_json:
        click.echo(
            json.dumps({"check": result.check, "state": result.state, "seen": result.detail})
        )
        return
    word, colour = MARKS[result.state]
    click.echo(f"{click.style(f'{word:>8}', fg=colour)}  {result.check}: {result.detail}")
