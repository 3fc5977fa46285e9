"""A replay's report for people."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from simulator.replay_report import ReplayReport


@contextmanager
def progress_bar() -> Iterator[Callable[[float], None]]:
    """A bar on the terminal; nothing where there is none."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda part: None
        return
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("replaying", total=1.0)
        yield lambda part: bar.update(task, completed=part)


def show(report: ReplayReport) -> None:
    """Print the report as a table, with what was wrong in the recording."""
    console = Console()
    table = Table(title=f"{report.first} to {report.last}", title_justify="left")
    table.add_column("quantity")
    for name in ("rows", "stored", "delivered", "missing", "extra", "difference", "time"):
        table.add_column(name, justify="right")
    for name, quantity in report.quantities.items():
        table.add_row(
            name,
            *(str(n) for n in (quantity.rows, quantity.stored, quantity.delivered)),
            *(str(n) for n in (quantity.missing, quantity.extra)),
            f"{quantity.largest_difference:g}",
            f"{quantity.largest_time_difference_ms} ms",
        )
    console.print(table)
    where = "on the MicroPython VM" if report.virtual_machine else "under CPython"
    console.print(f"{len(report.nodes)} node(s) {where}, {report.duration_s} s")
    if report.faults_total:
        console.print(f"{report.faults_total} line(s) of the recording could not be used:")
        for fault in report.faults[:5]:
            console.print(f"  {fault['file']}:{fault['line']}: {fault['reason']}")
    out = sum(quantity.out_of_range for quantity in report.quantities.values())
    if out:
        console.print(f"{out} value(s) beyond what the sensor can say:")
        for each in report.out_of_range[:5]:
            console.print(
                f"  {each['time']} {each['quantity']} {each['recorded']:g}"
                f" -> {each['delivered']:g} ({each['quality']})"
            )
    console.print("everything arrived" if report.ok else "NOT everything arrived as recorded")
