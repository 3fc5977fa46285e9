"""quarantine and decode: what is not trusted, and what frames say."""

import json
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import click

from collector.archive import quarantine as held_frames
from collector.commands.common import config_option, fail, load_config
from collector.commands.nodes import open_nodes
from collector.commands.tables import show_table
from collector.nodes import NodeError, parse_node
from collector.operate.control import ControlError, NotRunning, ask
from collector.operate.times import show_time
from collector.settings import Config
from protocol.reasons import ALL

FRAME_CHARACTERS_MAX = 20_000


@click.group()
def quarantine() -> None:
    """List, explain and submit again what was refused."""


@quarantine.command("list")
@config_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_held(config_file: Path, as_json: bool) -> None:
    """Show which nodes were refused, how often and why."""
    rows = _claimed(load_config(config_file))
    if as_json:
        for row in rows:
            click.echo(
                json.dumps(
                    {
                        "node": _name(row.node),
                        "reason": row.reason,
                        "frames": row.frames,
                        "last": show_time(row.last_ms),
                    }
                )
            )
        return
    show_table(
        f"{sum(row.frames for row in rows)} frames refused",
        ("node", "reason", "#frames", "last", "meaning"),
        [
            (_name(row.node), row.reason, str(row.frames), show_time(row.last_ms),
             explain_reason(row.reason))
            for row in rows
        ],
    )  # fmt: skip


@quarantine.command()
@click.argument("node")
@config_option
@click.option("--limit", type=click.IntRange(1, 64), default=3, show_default=True)
def explain(node: str, config_file: Path, limit: int) -> None:
    """Show a claimed node's newest refused frames field by field."""
    from protocol.explain import explain as explain_frame

    config = load_config(config_file)
    _, keys = open_nodes(config)
    address = _address(node)
    with _open(config) as connection:
        found = list(held_frames.held(connection, address))[-limit:]
    if not found:
        fail(f"quarantine holds nothing of {node}")
    known = keys.get(address)
    for frame in found:
        click.echo(f"{show_time(frame.received_ms)} by {frame.source}: {frame.reason}")
        click.echo(explain_frame(frame.raw, known.current.secret if known else None))
        click.echo()


@quarantine.command()
@click.argument("node")
@config_option
def submit(node: str, config_file: Path) -> None:
    """Give a node's held frames to the running collector again.

    This happens by itself when a node gets its key; use it after a newer version was installed.
    """
    config = load_config(config_file)
    try:
        answer = ask(config.collector.data, "resubmit", node=node)
    except (NotRunning, ControlError) as error:
        fail(str(error))
    click.echo(f"{answer['frames']} frames submitted")


@click.command()
@click.argument("frame", default="-")
@click.option("--node-key", "use_keys", is_flag=True, help="Check the tag with the node's key.")
@config_option
def decode(frame: str, use_keys: bool, config_file: Path) -> None:
    """Explain a frame, given in hex or read from standard input, field by field.

    \b
    Example:
      osn-collector decode a10b... --node-key
    """
    from protocol.explain import explain as explain_frame

    text = sys.stdin.read(FRAME_CHARACTERS_MAX) if frame == "-" else frame
    try:
        raw = bytes.fromhex("".join(text.split()))
    except ValueError:
        fail("not hex digits")
    secret = None
    if use_keys and len(raw) >= 8:
        _, keys = open_nodes(load_config(config_file))
        node = int.from_bytes(raw[4:8], "little")
        known = keys.get(node)
        if known is None:
            fail(f"no key of node {node:08x} here")
        secret = known.current.secret
    click.echo(explain_frame(raw, secret))


def explain_reason(reason: str) -> str:
    """What a refusal's short word means."""
    own = {
        "unknown_node": "no key here; osn-collector nodes adopt or import",
        "tag": "forged, altered on the way, or under another key",
        "downgrade": "not authenticated",
    }
    return own.get(reason, ALL.get(reason, ""))


def _claimed(config: Config) -> list[held_frames.Claimed]:
    with _open(config) as connection:
        return held_frames.claimed(connection)


@contextmanager
def _open(config: Config) -> Iterator[sqlite3.Connection]:
    from collector.archive.archive import open_reader

    file = config.collector.quarantine
    if not file.exists():
        fail("nothing was refused yet")
    try:
        with closing(open_reader(file)) as connection:
            yield connection
    except sqlite3.Error as error:
        fail(f"{file}: {error}; `osn-collector doctor --repair` sets it aside")


def _name(node: int) -> str:
    return "?" if node == held_frames.NO_NODE else f"{node:08x}"


def _address(text: str) -> int:
    if text == "?":
        return held_frames.NO_NODE
    try:
        return parse_node(text)
    except NodeError as error:
        fail(str(error))
