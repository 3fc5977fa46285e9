"""The demonstration's screen: one table that lives, and the ledger at the end."""

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from protocol import wire
from protocol.registry import REGISTRY
from simulator.demo.ledger import Account
from simulator.demo.watch import Traffic, Watch, name_of

SHOWN = (
    "pm2_5", "pm10", "temperature", "humidity", "pressure", "laeq", "latitude", "longitude",
)  # fmt: skip
KEYS = "w Wi-Fi   b broker   s SD card full   f forged frame   p power cut   q end"
DROP_REASONS = {
    wire.DROP_SPOOL_FULL: "spool full",
    wire.DROP_UNWRITABLE: "flash unwritable",
}


class Status:
    """What the orchestrator knows and the screen shows."""

    def __init__(self) -> None:
        self.broker = ""
        self.collector = ""
        self.network = ""
        self.boards = ""
        self.left_s = 0.0
        self.stored = 0
        self.delivered = 0
        self.keys = False


def values_text(traffic: Traffic) -> Text:
    """The newest values, the most telling first."""
    text = Text()
    by_name = {
        name_of(*channel): (channel, told)
        for channel, told in traffic.values.items()
        if told[0] is not None
    }
    ordered = [name for name in SHOWN if name in by_name]
    for name in ordered:
        (quantity, _), (value, quality) = by_name[name]
        row = REGISTRY[quantity]
        style = "" if quality == 0 else "yellow"
        text.append(f"{name} ", style="dim")
        text.append(f"{value:g} {row.unit}  ", style=style)
    return text


def screen(
    names: dict[int, str], powered: dict[int, bool], watch: Watch, status: Status
) -> RenderableType:
    """The whole live table."""
    table = Table(expand=True, title_justify="left", pad_edge=False)
    table.add_column("board", no_wrap=True)
    table.add_column("last values", ratio=1)
    for head in ("frames", "acked", "waiting", "resent", "B/frame"):
        table.add_column(head, justify="right", no_wrap=True)
    for node, name in names.items():
        traffic = watch.boards.get(node, Traffic())
        waiting = max(0, traffic.issued - traffic.acknowledged)
        table.add_row(
            Text(name, style="bold" if powered.get(node) else "red"),
            values_text(traffic) if powered.get(node) else Text("no power", style="red"),
            str(len(traffic.seen)),
            str(traffic.acknowledged),
            Text(str(waiting), style="yellow" if waiting > 5 else ""),
            str(traffic.resent),
            f"{traffic.size_bytes / traffic.frames:.0f}" if traffic.frames else "-",
        )
    flow = Text.assemble(
        ("boards ", "dim"), status.boards, ("  ->  broker ", "dim"), status.broker,
        ("  ->  collector ", "dim"), status.collector, ("  ->  SensorThings ", "dim"),
        status.network,
    )  # fmt: skip
    totals = Text.assemble(
        ("frames stored ", "dim"), f"{status.stored}", ("   readings delivered ", "dim"),
        f"{status.delivered}", ("   left ", "dim"), f"{status.left_s:.0f} s",
    )  # fmt: skip
    lines: list[RenderableType] = [flow, table, totals]
    lines += [Text(event, style="cyan") for event in watch.events]
    if status.keys:
        lines.append(Text(KEYS, style="dim"))
    return Panel(Group(*lines), title="Open Cities sensor network", title_align="left")


def ledger_table(account: Account) -> RenderableType:
    """Readings produced, stored, delivered; and why the rest was not."""
    table = Table(
        title="Ledger",
        title_justify="left",
        show_footer=True,
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    rows = list(account.boards.values())

    def total(numbers: Sequence[int]) -> str:
        return str(sum(numbers))

    table.add_column("board", footer="all", no_wrap=True)
    columns: list[tuple[str, list[int]]] = [
        ("frames", [len(row.produced) for row in rows]),
        ("stored", [len(row.produced & row.stored) for row in rows]),
        ("dropped", [sum(row.dropped.values()) for row in rows]),
        ("readings", [row.readings_produced for row in rows]),
        ("stored", [row.readings_stored for row in rows]),
        ("delivered", [row.settled["delivered"] for row in rows]),
        ("withheld", [sum(row.settled.values()) - row.settled["delivered"] for row in rows]),
    ]
    if any(row.on_board for row in rows):
        columns.insert(2, ("on board", [row.on_board for row in rows]))
    for head, numbers in columns:
        table.add_column(head, footer=total(numbers), justify="right", no_wrap=True)
    for index, row in enumerate(rows):
        table.add_row(row.name, *(str(numbers[index]) for _, numbers in columns))
    lines: list[RenderableType] = [table]
    for row in rows:
        for reason, frames in row.dropped.items():
            lines.append(Text(f"{row.name}: {frames} frames dropped, {DROP_REASONS.get(reason)}"))
        for why, count in sorted(row.reasons.items()):
            lines.append(Text(f"{row.name}: {count} readings withheld, {why}"))
    lines.append(
        Text(f"the SensorThings server holds {account.held} readings, {account.doubled} twice")
    )
    verdict = "It adds up." if account.adds_up else "It does NOT add up."
    lines.append(Text(verdict, style="bold green" if account.adds_up else "bold red"))
    return Group(*lines)
