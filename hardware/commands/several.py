"""Image and firmware for several boards at once, each told of as soon as it is ready or failed."""

import json
import sys

import click

from hardware import bench
from hardware.commands import common
from hardware.faults import BenchError
from hardware.install import Installed


def put_on_all(ports: list[str], plan: bench.Plan, as_json: bool) -> None:
    """Write the image, if there is one, and the firmware; leaves with a failed board's code."""
    with common.Bars(shown=not as_json) as bars:

        def work(port: str) -> Installed:
            def show(step: str, part: float) -> None:
                bars.show(port, step, part)

            if plan.image is not None:
                bench.flash(port, plan, show)
            return bench.put_firmware(port, plan, show)

        outcomes = bench.in_parallel(ports, work, lambda port, end: _tell(port, end, as_json))
    for outcome in outcomes.values():
        if isinstance(outcome, BenchError):
            sys.exit(int(outcome.advice.code))


def _tell(port: str, outcome: Installed | BenchError, as_json: bool) -> None:
    facts: dict[str, str | int]
    if isinstance(outcome, BenchError):
        advice = outcome.advice
        facts = {
            "port": port,
            "error": advice.happened,
            "to_do": advice.to_do,
            "code": int(advice.code),
        }
        text = f"{port}: {outcome}"
    else:
        facts = {
            "port": port,
            "installed_bytes": outcome.carried_bytes,
            "in_place": outcome.in_place,
        }
        text = f"{port}: ready, {common.told(outcome)}"
    click.echo(json.dumps(facts) if as_json else text)
