"""osn-board tray"""

import contextlib
import json
import select
import sys
import termios
import tty
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console
from rich.live import Live

from hardware import bench, ports
from hardware.commands import common
from hardware.faults import BenchError, Exit
from hardware.images import ImageCache
from hardware.tray import Row, Tray

LOOK_EVERY_S = 0.3


@click.command("tray")
@common.board_option
@common.bench_option
@click.option("--image", "image_name", help="MicroPython image; without it only the firmware.")
@click.option(
    "--name",
    "name_pattern",
    default="{time}-{port}",
    show_default=True,
    help="Name of each new node.",
)
@click.option("--once", is_flag=True, help="End when all boards that are plugged in are done.")
@common.port_option
@common.json_option
def tray_command(
    board_name: str,
    bench_file: Path | None,
    image_name: str | None,
    name_pattern: str,
    once: bool,
    named: tuple[str, ...],
    as_json: bool,
) -> None:
    """A row per port: plug in, and it flashes, provisions, tests, prints, turns green; next.

    A board that was pulled out in the middle goes on where it stopped when it is plugged in again.
    A board that is already a node of other records is left as it is. q ends after the boards in
    work, Ctrl-C at once. Exit code 9 when a board that is still plugged in has failed.

    \b
    Examples:
      osn-board tray --board street --bench bench.toml --image ESP32_GENERIC-v1.28.0.bin
      osn-board tray --board street --bench bench.toml --once --json --port /dev/ttyUSB0
    """
    with common.reported(as_json):
        plan = common.plan(board_name, bench_file)
        _check_pattern(name_pattern)
        if image_name is not None:
            plan = replace(plan, image=ImageCache().find(image_name))

        def work(row: Row) -> None:
            def show(step: str, part: float) -> None:
                row.step, row.part = step, part

            def met(node: str, name: str) -> None:
                row.node, row.name = node, name

            made = bench.whole_job(row.port, plan, name_pattern, show, met)
            row.detail = str(made.label)

        def look() -> list[str]:
            return [port for port in named if Path(port).exists()] if named else ports.ports()

        tray = Tray(work, look, _tell if as_json else lambda row: None)
        run(tray, once, shown=not as_json)
        failed = [row for row in tray.rows.values() if row.state == "failed"]
        if failed:
            raise BenchError(
                Exit.TEST_FAILED,
                f"{len(failed)} of {len(tray.rows)} boards failed",
                "Their rows say what to do",
            )
        if once and not tray.rows:
            raise BenchError(Exit.NO_PORT, "No board is plugged in", "Look at `osn-board list`")


def run(tray: Tray, once: bool, shown: bool) -> None:
    """Look at the ports until `q` and all work is done; once: until what is there is done."""
    console = Console()
    screen = shown and not once and console.is_terminal
    shown_live = shown and console.is_terminal
    with (
        Live(console=console, screen=screen, auto_refresh=False)
        if shown_live
        else contextlib.nullcontext() as live,
        _keys() as pressed,
    ):
        tray.turn()
        while True:
            tray.turn()
            if live is not None:
                live.update(tray.table(), refresh=True)
            if (once or tray.closing) and not tray.busy():
                break
            if "q" in pressed(LOOK_EVERY_S):
                tray.closing = True
        if live is not None:
            live.update(tray.table(), refresh=True)
    if shown and (screen or not shown_live):
        console.print(tray.table())


def _tell(row: Row) -> None:
    facts = {"port": row.port, "node": row.node, "name": row.name, "state": row.state}
    facts["error" if row.state == "failed" else "label"] = row.detail
    click.echo(json.dumps(facts))


def _check_pattern(pattern: str) -> None:
    try:
        pattern.format(port="", time="")
    except (KeyError, IndexError, ValueError) as fault:
        raise BenchError(
            Exit.USAGE,
            f"--name {pattern} cannot be used: {fault}",
            "It may hold {time} and {port}, and nothing else in braces",
        ) from fault


class _Keys:
    """Waits for keys; without a terminal it only waits."""

    def __init__(self, terminal: int | None) -> None:
        self._terminal = terminal

    def __call__(self, wait_s: float) -> str:
        """What was typed within wait_s."""
        sources = [] if self._terminal is None else [self._terminal]
        if select.select(sources, [], [], wait_s)[0]:
            return sys.stdin.read(1)
        return ""


@contextlib.contextmanager
def _keys() -> Iterator[_Keys]:
    """Take keys one by one, unechoed; the terminal is as before afterwards."""
    if not sys.stdin.isatty():
        yield _Keys(None)
        return
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    tty.setcbreak(terminal)
    try:
        yield _Keys(terminal)
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
