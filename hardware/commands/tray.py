"""osn-board tray"""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import click
from rich.live import Live
from rich.table import Table

from hardware import bench, ports
from hardware.commands import common
from hardware.faults import BenchError, Exit
from hardware.images import ImageCache

LOOK_EVERY_S = 0.5
COLOURS = {"working": "cyan", "ready": "green", "failed": "red", "gone": "bright_black"}


@dataclass(slots=True)
class Row:
    """One port of the tray."""

    port: str
    state: str = "working"
    step: str = "found"
    part: float = 0.0
    node: str = ""
    detail: str = ""


class Tray:
    """Works on every board that is plugged in, each in a thread of its own.

    work(port, row) does the whole job and returns the node's address; look() names the ports that
    are there now. A board that is pulled out and plugged in again is worked on anew.
    """

    def __init__(self, work: Callable[[str, Row], str], look: Callable[[], Iterable[str]]) -> None:
        self.rows: dict[str, Row] = {}
        self._work = work
        self._look = look
        self._threads: dict[str, threading.Thread] = {}

    def turn(self) -> None:
        """Look at the ports once: start what is new, mark what has gone."""
        present = set(self._look())
        for port, row in self.rows.items():
            if port not in present and not self._busy(port):
                row.state, row.step = "gone", "next board, please"
        for port in sorted(present):
            known = self.rows.get(port)
            if (known is None or known.state == "gone") and not self._busy(port):
                self._start(port)

    def busy(self) -> bool:
        """Whether any board is being worked on."""
        return any(self._busy(port) for port in self.rows)

    def count(self, state: str) -> int:
        """How many rows are in a state."""
        return sum(row.state == state for row in self.rows.values())

    def table(self) -> Table:
        """What the technician sees."""
        shown = Table(
            title="Plug in; green is done. Ctrl-C ends.",
            caption=f"{self.count('ready')} ready, {self.count('failed')} failed",
            expand=True,
        )
        for head in ("port", "state", "step", "done", "node", "what to do"):
            shown.add_column(head)
        for port in sorted(self.rows):
            row = self.rows[port]
            colour = COLOURS[row.state]
            state = f"[{colour}]{row.state}[/]"
            shown.add_row(port, state, row.step, f"{row.part:.0%}", row.node, row.detail)
        return shown

    def _busy(self, port: str) -> bool:
        thread = self._threads.get(port)
        return thread is not None and thread.is_alive()

    def _start(self, port: str) -> None:
        row = self.rows[port] = Row(port)
        thread = threading.Thread(target=self._run, args=(port, row), daemon=True)
        self._threads[port] = thread
        thread.start()

    def _run(self, port: str, row: Row) -> None:
        try:
            row.node = self._work(port, row)
            row.state, row.step, row.part = "ready", "take it off", 1.0
        except BenchError as fault:
            row.state, row.detail = "failed", str(fault)
        except Exception as fault:
            row.state, row.detail = "failed", f"{type(fault).__name__}: {fault}"
            raise


def job(plan: bench.Plan, name_pattern: str) -> Callable[[str, Row], str]:
    """The whole job on one board: flash, install, provision, test, print."""

    def work(port: str, row: Row) -> str:
        def show(step: str, part: float) -> None:
            row.step, row.part = step, part

        if plan.image is not None:
            bench.flash(port, plan, show)
        bench.put_firmware(port, plan, show)
        name = name_pattern.format(port=Path(port).name, time=time.strftime("%Y%m%d-%H%M%S"))
        identity = bench.give_identity(port, plan, name, progress=show)
        results = bench.run_selftest(port, plan, show)
        bench.paper(plan, identity, name, results, bench.facts(port))
        failed = [result for result in results if result.state == "failed"]
        if failed:
            raise BenchError(
                Exit.TEST_FAILED,
                f"{failed[0].check}: {failed[0].detail}",
                "Mend it, then test again",
            )
        return identity.address

    return work


@click.command("tray")
@common.board_option
@common.bench_option
@click.option("--image", "image_name", help="MicroPython image; without it only the firmware.")
@click.option("--name", "name_pattern", default="{time}-{port}", help="Name of each node.")
@click.option("--once", is_flag=True, help="End when all boards that are plugged in are done.")
@common.port_option
def tray_command(
    board_name: str,
    bench_file: Path | None,
    image_name: str | None,
    name_pattern: str,
    once: bool,
    named: tuple[str, ...],
) -> None:
    """A row per port: plug in, and it flashes, provisions, tests, prints, turns green; next.

    \b
    Example:
      osn-board tray --board street --bench bench.toml --image ESP32_GENERIC-v1.28.0.bin
    """
    with common.reported():
        plan = common.plan(board_name, bench_file)
        if image_name is not None:
            plan = replace(plan, image=ImageCache().find(image_name))
        look: Callable[[], Iterable[str]] = (lambda: named) if named else ports.ports
        tray = Tray(job(plan, name_pattern), look)
        with Live(tray.table(), screen=not once, auto_refresh=False) as live:
            tray.turn()
            while not once or tray.busy():
                live.update(tray.table(), refresh=True)
                time.sleep(LOOK_EVERY_S)
                if not once:
                    tray.turn()
            live.update(tray.table(), refresh=True)
        if tray.count("failed"):
            raise BenchError(Exit.TEST_FAILED, f"{tray.count('failed')} failed", "See the table")
