"""status and ledger: how the collector is, and where every reading went."""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from collector.commands.common import config_option, fail, load_config
from collector.commands.nodes import find_node, open_nodes
from collector.commands.tables import progress_bar, show_table
from collector.doctor.worries import worries
from collector.exit_codes import EXIT_ALARM
from collector.nodes import NodeRegistry
from collector.operate.accounts import NodeAccount, accounts
from collector.operate.control import ControlError, NotRunning, ask
from collector.operate.status import DROP_REASONS, Status, of_archive
from collector.operate.times import show_age
from collector.settings import Config
from collector.storage.archive_view import NoArchive, open_view

READINGS_SHOWN = 6


@click.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="Everything, as one JSON object.")
def status(config_file: Path, as_json: bool) -> None:
    """Show nodes, their last readings, networks, backlog and storage.

    Asks the running collector; without one it reads the archive. Exit code 3 says that something
    needs a person: an alarm, a link that is down, a network or one of its addresses that is held
    up, a node without a key, an unknown board, a clock that is not synchronised.

    \b
    Example:
      osn-collector status
      osn-collector status --json | jq .sinks
    """
    config = load_config(config_file)
    found = gather(config)
    if as_json:
        click.echo(json.dumps(found))
    else:
        _show(found)
    sys.exit(EXIT_ALARM if worries(found) else 0)


def gather(config: Config) -> Status:
    """The status from the running collector, else from its archive."""
    try:
        found: Status = ask(config.collector.data, "status")
        return found
    except NotRunning:
        pass
    except ControlError as error:
        fail(str(error))
    registry, keys = open_nodes(config)
    try:
        with open_view(config) as view:
            return of_archive(view, config, registry, keys, time.time_ns() // 1_000_000)
    except NoArchive as error:
        fail(str(error))


def _show(found: Status) -> None:
    head = found["collector"]
    running = "running" if found["running"] else "not running"
    click.echo(f"collector {head['name']} ({head['id']}), {running}")
    storage = found["storage"]
    free = storage["free_bytes"]
    click.echo(
        f"archive {storage['archive_bytes'] / 1e6:.1f} MB, {storage['newest_frame']} frames"
        + ("" if free is None else f", {free / 1e9:.1f} GB free")
        + _wear(storage)
    )
    show_table(
        "\nnodes",
        ("node", "name", "heard", "readings", "#battery", "#rssi", "time", "#stored", "#missing"),
        [_node_row(node, found["now_ms"]) for node in found["nodes"]],
    )
    if found["transports"]:
        show_table(
            "\nlinks",
            ("name", "state", "#frames in", "#frames out"),
            [
                (
                    link["name"],
                    "connected" if link["connected"] else link["reason"],
                    str(link["received"]),
                    str(link["sent"]),
                )
                for link in found["transports"]
            ],
        )
    show_table(
        "\nnetworks",
        ("name", "#delivered", "#rejected", "#left out", "#expired", "#frames to send", "state"),
        [_sink_row(sink) for sink in found["sinks"]],
    )
    for line in worries(found):
        click.echo(f"! {line}")


def _wear(storage: Status) -> str:
    per_day = storage.get("written_per_day_bytes")
    return "" if per_day is None else f", {per_day / 1e6:.0f} MB written a day"


def _node_row(node: Status, now_ms: int) -> Sequence[str]:
    shown = [
        f"{reading['quantity']} {reading['value']:g}"
        for reading in node["readings"][:READINGS_SHOWN]
        if reading["quality"] == "ok"
    ]
    battery = node["health"].get("battery_voltage")
    rssi = node["health"].get("rssi")
    frames = node["frames"]
    missing = frames["outstanding"] + frames["dropped"] + frames["lost"]
    return (
        node["node"],
        node["name"],
        show_age(now_ms - node["seen_ms"]) if node["seen_ms"] > 0 else "never",
        ", ".join(shown),
        "" if battery is None else f"{battery / 1000:.2f} V",
        "" if rssi is None else f"{rssi:.0f}",
        "" if node["time"] is None else f"{node['time']['source']} {node['time']['error_ms']} ms",
        str(frames["stored"]),
        str(missing),
    )


def _sink_row(sink: Status) -> Sequence[str]:
    readings = sink["readings"]
    closed = len(sink.get("closed_addresses", {}))
    state = sink.get("blocked_reason") or (f"{closed} addresses held up" if closed else "ok")
    return (
        sink["name"],
        str(readings.get("delivered", 0)),
        str(readings.get("rejected", 0)),
        str(readings.get("left_out", 0)),
        str(readings.get("expired", 0)),
        str(sink["open_frames"]),
        state,
    )


@click.command()
@click.argument("nodes", nargs=-1)
@config_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object a node.")
def ledger(nodes: tuple[str, ...], config_file: Path, as_json: bool) -> None:
    """Account for every frame and reading of NODES, or of all.

    Exit code 3 when something is lost, in conflict, unaccounted for, or counted too often.

    \b
    Example:
      osn-collector ledger
      osn-collector ledger a1b2c3d4 --json
    """
    config = load_config(config_file)
    registry, _ = open_nodes(config)
    chosen = [find_node(registry, text) for text in nodes]
    try:
        with open_view(config) as view, progress_bar("reading the archive") as advance:
            found = accounts(view, [sink.name for sink in config.sinks], chosen, advance)
    except NoArchive as error:
        fail(str(error))
    if as_json:
        for account in found:
            click.echo(json.dumps(_plain(account, registry)))
    else:
        _show_ledger(found, registry)
    sys.exit(EXIT_ALARM if any(account.alarming for account in found) else 0)


def _plain(account: NodeAccount, registry: NodeRegistry) -> dict[str, Any]:
    plain = asdict(account)
    info = registry.get(account.node)
    plain["node"] = f"{account.node:08x}"
    plain["name"] = info.name if info else plain["node"]
    plain["dropped"] = {DROP_REASONS.get(k, str(k)): v for k, v in account.dropped.items()}
    plain["alarming"] = account.alarming
    return plain


def _show_ledger(found: list[NodeAccount], registry: NodeRegistry) -> None:
    show_table(
        "frames",
        ("node", "name", "#produced", "#stored", "#on the board", "#dropped", "#lost", "#erased"),
        [
            (
                f"{account.node:08x}",
                info.name if (info := registry.get(account.node)) else "",
                *(
                    str(getattr(account.frames, key))
                    for key in ("produced", "stored", "outstanding", "dropped", "lost", "erased")
                ),
            )
            for account in found
        ],
    )
    show_table(
        "\nreadings",
        ("node", "network", "#stored", "#delivered", "#rejected", "#left out", "#expired",
         "#to send", "#unaccounted"),
        [
            (
                f"{account.node:08x}",
                name,
                str(account.readings),
                *(
                    str(getattr(sink, key))
                    for key in ("delivered", "rejected", "left_out", "expired", "to_send",
                                "unaccounted")
                ),
            )
            for account in found
            for name, sink in account.sinks.items()
        ],
    )  # fmt: skip
    for account in found:
        for line in _notes(account):
            click.echo(f"{account.node:08x}: {line}")


def _notes(account: NodeAccount) -> list[str]:
    notes = [
        f"dropped by the board: {frames} frames, {DROP_REASONS.get(reason, str(reason))}"
        for reason, frames in account.dropped.items()
    ]
    if account.conflicts:
        notes.append(f"{account.conflicts} conflicts: two boards with one identity")
    if account.undecoded:
        notes.append(f"{account.undecoded} frames wait for a newer version that can decode them")
    if account.undated:
        notes.append(f"{account.undated} frames wait for a time")
    for name, sink in account.sinks.items():
        notes += [f"{name}: {count} {reason}" for reason, count in sorted(sink.reasons.items())]
        if sink.possible_duplicates:
            notes.append(f"{name}: {sink.possible_duplicates} readings may be there twice")
        if sink.surplus:
            notes.append(
                f"{name}: its books count {sink.surplus} readings more than were stored; "
                "please report this"
            )
    return notes
