"""trace: one reading's whole way."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from collector.commands.common import config_option, fail, load_config
from collector.commands.nodes import find_node, open_nodes
from collector.operate.times import date_time, parse_time, show_time
from collector.operate.trace import Trace
from collector.operate.trace import trace as find
from collector.readings.observation import PLACE_QUANTITIES
from collector.storage.archive_view import NoArchive, UndatedBoot, open_view
from protocol.registry import REGISTRY
from protocol.wire import HEADER

PLACE_NAMES = {REGISTRY[quantity].name for quantity in PLACE_QUANTITIES}
TYPES = {1: "DATA", 2: "HELLO", 4: "LOG", 5: "RESULT"}


@click.command()
@click.argument("node")
@click.argument("time")
@config_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object a frame.")
def trace(node: str, time: str, config_file: Path, as_json: bool) -> None:
    """Show one reading's whole way: frame, receipt, acknowledgement, each network's answer.

    NODE is an address, a name or a UUID; TIME is ISO 8601, UTC unless it says otherwise. Of each
    boot the sample nearest to the time is shown, within an hour. Boots that nothing dates are named
    when they may have run then.

    \b
    Example:
      osn-collector trace a1b2c3d4 2026-03-01T12:00:00Z
    """
    config = load_config(config_file)
    registry, _ = open_nodes(config)
    address = find_node(registry, node)
    try:
        unix_ms = parse_time(time)
        with open_view(config) as view:
            found = find(view, address, unix_ms, [sink.name for sink in config.sinks])
            undated = [boot for boot in view.undated(address) if boot.may_hold(unix_ms)]
    except (ValueError, NoArchive) as error:
        fail(str(error))
    if not found and not undated:
        fail(f"no readings of {address:08x} within an hour of {show_time(unix_ms)}")
    for traced in found:
        info = registry.get(address)
        if as_json:
            click.echo(json.dumps(_plain(traced, with_raw=info is None or not info.mobile)))
        else:
            click.echo("\n".join(_lines(traced)))
    for boot in undated:
        click.echo(json.dumps({"undated": boot._asdict()}) if as_json else _undated_line(boot))


def _undated_line(boot: UndatedBoot) -> str:
    earliest = "" if boot.earliest_ms is None else f" after {show_time(boot.earliest_ms)}"
    latest = "" if boot.latest_ms is None else f" before {show_time(boot.latest_ms)}"
    when = (earliest + latest) or " at a time that nothing bounds"
    return (
        f"undated   boot {boot.boot}: {boot.frames} frames,{when}; "
        "stored, not forwarded until a LIVE or a clock dates them"
    )


def _lines(traced: Trace) -> list[str]:
    frame = traced.frame
    kind = TYPES.get(frame.type, str(frame.type))
    lines = [f"node {frame.node:08x}  boot {frame.boot}  sample at uptime {traced.uptime_ms} ms"]
    if traced.stamp is not None:
        lines.append(
            f"time      {show_time(traced.stamp.unix_ms)} "
            f"+- {traced.stamp.error_ms} ms, from {traced.stamp.source}"
        )
    for reading in traced.readings:
        name = reading.quantity if reading.band is None else f"{reading.quantity}@{reading.band}"
        name += f".{reading.instance}" if reading.instance else ""
        value, integer = "no value", ""
        if reading.value is not None:
            value, integer = f"{reading.value:g} {reading.unit}", f"integer {reading.raw}, "
        lines.append(
            f"reading   {name} = {value} ({reading.quality}; "
            f"{integer}column {reading.index}, sample {reading.sample})"
        )
    lines += [
        f"frame     {kind} seq {frame.seq}, {len(frame.raw)} bytes, "
        f"header {frame.raw[:HEADER].hex()}, trailer {frame.raw[-8:].hex()}",
        f"received  {_receipt(frame.received_ms)}",
        f"archive   row {frame.id}, {traced.state}",
        f"ACK       {'covered' if traced.acknowledged else 'not covered yet'}",
    ]
    for answer in traced.answers:
        detail = f": {answer.detail}" if answer.detail else ""
        lines.append(f"sink      {answer.sink}: {answer.state}{detail}")
    return lines


def _receipt(received_ms: int) -> str:
    return show_time(received_ms) if received_ms >= 0 else "while the clock was not synchronised"


def _plain(traced: Trace, *, with_raw: bool) -> dict[str, object]:
    """For machines; a raw frame that holds the exact way of a node stays here."""
    plain = asdict(traced)
    placed = any(reading.quantity in PLACE_NAMES for reading in traced.readings)
    raw = traced.frame.raw.hex() if with_raw and not placed else None
    plain["frame"] = {**traced.frame._asdict(), "raw": raw}
    plain["stamp"] = traced.stamp._asdict() if traced.stamp else None
    plain["time"] = date_time(traced.stamp.unix_ms) if traced.stamp else None
    return plain
