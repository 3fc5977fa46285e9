"""What a replay has to show: every row of the recording, once, at its second, with its value."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from simulator.recordings import Recording, parse_time
from simulator.replay_plan import INTERVAL_MEANS, NodePlan, heard, in_range, resolution

NAMED_MAX = 100
SAME_SECOND_MS = 1000


@dataclass(frozen=True, slots=True)
class Told:
    """One reading as the archive or a sink has it."""

    node: int
    quantity: str
    time_ms: int
    value: float
    quality: str = "ok"


@dataclass(slots=True)
class QuantityReport:
    """How one quantity came through."""

    rows: int = 0
    stored: int = 0
    delivered: int = 0
    missing: int = 0
    extra: int = 0
    not_ok: int = 0
    out_of_range: int = 0
    largest_difference: float = 0.0
    resolution: float = 0.0
    largest_time_difference_ms: int = 0


@dataclass(slots=True)
class ReplayReport:
    """The whole account of a replay; ok when nothing is missing, extra or different."""

    ok: bool = False
    virtual_machine: bool = False
    nodes: list[dict[str, Any]] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    faults: list[dict[str, Any]] = field(default_factory=list)
    faults_total: int = 0
    first: str = ""
    last: str = ""
    quantities: dict[str, QuantityReport] = field(default_factory=dict)
    out_of_range: list[dict[str, Any]] = field(default_factory=list)
    ledger: dict[str, int] = field(default_factory=dict)
    duration_s: float = 0.0

    def as_json(self) -> str:
        """The report as a file."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"


def iso(time_ms: int) -> str:
    """A Unix time in ms as ISO 8601 in UTC."""
    stamp = datetime.fromtimestamp(time_ms / 1000, UTC)
    return stamp.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read_jsonl(path: Path) -> Iterator[Told]:
    """Readings that the sink `jsonl` has written."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            yield Told(
                int(record["node"], 16),
                record["quantity"],
                parse_time(record["time"]),
                float(record["value"]),
                record.get("quality", "ok"),
            )


def compare(
    plans: list[NodePlan], recording: Recording, stored: Iterable[Told], delivered: Iterable[Told]
) -> ReplayReport:
    """Hold what came out against what went in."""
    report = ReplayReport(files=recording.files, faults_total=recording.faults_total)
    report.first, report.last = iso(recording.first_ms), iso(recording.last_ms)
    report.faults = [asdict(fault) for fault in recording.faults]
    wanted = {q for plan in plans for track in plan.tracks for q, _, _ in track.values()}
    quantities = {name: QuantityReport() for name in sorted(wanted)}
    stored_counts: dict[str, int] = defaultdict(int)
    for told in stored:
        stored_counts[told.quantity] += 1
    by_channel: dict[tuple[int, str], list[Told]] = defaultdict(list)
    for told in delivered:
        if told.quantity in wanted:
            by_channel[told.node, told.quantity].append(told)
    for name, quantity in quantities.items():
        quantity.stored = stored_counts[name]
    for plan in plans:
        _compare_node(plan, by_channel, quantities, report)
    for (_, name), strays in by_channel.items():
        quantities[name].delivered += len(strays)
        quantities[name].extra += len(strays)
    report.quantities = quantities
    report.ok = all(_is_whole(quantity) for quantity in quantities.values())
    return report


def _is_whole(quantity: QuantityReport) -> bool:
    return (
        quantity.missing == quantity.extra == 0
        and quantity.rows == quantity.stored == quantity.delivered
        and quantity.largest_difference <= quantity.resolution + 1e-9
        and quantity.largest_time_difference_ms < SAME_SECOND_MS
    )


def _compare_node(
    plan: NodePlan,
    by_channel: dict[tuple[int, str], list[Told]],
    quantities: dict[str, QuantityReport],
    report: ReplayReport,
) -> None:
    report.nodes.append(
        {
            "node": f"{plan.address:08x}",
            "location": plan.location,
            "sensors": {t.sensor_id: t.sensor_type for t in plan.tracks},
            "samples": len(plan.instants_ms),
        }
    )
    for track in plan.tracks:
        channels: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for name, time_ms, value in track.values():
            channels[name].append((time_ms, value))
        for name, rows in channels.items():
            told = sorted(by_channel.pop((plan.address, name), []), key=lambda t: t.time_ms)
            if name in INTERVAL_MEANS:
                told = _recorded_only(plan, name, told, quantities[name])
            quantities[name].resolution = max(
                quantities[name].resolution, resolution(track.driver, name)
            )
            quantities[name].rows += len(rows)
            quantities[name].delivered += len(told)
            _match(plan, track.driver, name, rows, told, quantities[name], report)


def _recorded_only(
    plan: NodePlan, name: str, told: list[Told], quantity: QuantityReport
) -> list[Told]:
    """Without what a meter says at an instant at which only other sensors have a value."""
    others = {at for at, row in plan.rows.items() if name not in row}
    kept = [reading for reading in told if reading.time_ms not in others]
    quantity.stored -= len(told) - len(kept)
    return kept


def _match(
    plan: NodePlan,
    driver: str,
    name: str,
    rows: list[tuple[int, float]],
    told: list[Told],
    quantity: QuantityReport,
    report: ReplayReport,
) -> None:
    """Pair rows and readings in the order of time; what has no partner is missing or extra."""
    position = 0
    for time_ms, value in rows:
        while position < len(told) and told[position].time_ms <= time_ms - SAME_SECOND_MS:
            quantity.extra += 1
            position += 1
        if position == len(told) or told[position].time_ms >= time_ms + SAME_SECOND_MS:
            quantity.missing += 1
            continue
        reading = told[position]
        position += 1
        quantity.largest_time_difference_ms = max(
            quantity.largest_time_difference_ms, abs(reading.time_ms - time_ms)
        )
        quantity.not_ok += reading.quality != "ok"
        if in_range(driver, name, value):
            quantity.largest_difference = max(
                quantity.largest_difference,
                round(abs(reading.value - heard(driver, name, value)), 6),
            )
            continue
        quantity.out_of_range += 1
        if len(report.out_of_range) < NAMED_MAX:
            report.out_of_range.append(
                {
                    "node": f"{plan.address:08x}",
                    "quantity": name,
                    "time": iso(time_ms),
                    "recorded": value,
                    "delivered": reading.value,
                    "quality": reading.quality,
                }
            )
    quantity.extra += len(told) - position
