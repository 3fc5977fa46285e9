"""nodes: who may send, under which name and key, and where they stand."""

import json
from pathlib import Path
from typing import Any

import click

from collector.commands.common import config_option, fail, load_config
from collector.keys import KeyRing, parse_key
from collector.nodes import NodeError, NodeInfo, NodeRegistry, as_record, parse_record
from collector.private_file import PrivateFileError
from collector.settings import Config

RECORD_CHARACTERS_MAX = 10_000


@click.group()
def nodes() -> None:
    """List, import, adopt, revoke, rotate and erase nodes."""


def open_nodes(config: Config) -> tuple[NodeRegistry, KeyRing]:
    """Registry and keys of a configuration; ends the command when a file is at fault."""
    try:
        return NodeRegistry(config.collector.nodes), KeyRing(config.collector.keys)
    except PrivateFileError as error:
        fail(str(error))


def find_node(registry: NodeRegistry, text: str) -> int:
    """Address of a node given by address, name or UUID; ends the command when there is none."""
    try:
        return registry.find(text).node
    except NodeError as error:
        fail(str(error))


@nodes.command("list")
@config_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_nodes(config_file: Path, as_json: bool) -> None:
    """Show every node with its state and key."""
    registry, keys = open_nodes(load_config(config_file))
    for info in registry:
        if as_json:
            click.echo(json.dumps(as_record(info), ensure_ascii=False))
        else:
            click.echo(f"{info.id}  {info.state:8}  {_key_word(keys, info):9}  {info.name}")
    if not len(registry) and not as_json:
        click.echo("no nodes yet: osn-collector nodes import FILE")


@nodes.command("import")
@click.argument("file", type=click.File("r", encoding="utf-8"))
@config_option
def import_nodes(file: Any, config_file: Path) -> None:
    """Take over provisioned boards, a JSON record a line, as `osn-board provision` writes them.

    All lines are checked before anything is changed. The same record twice is harmless.

    \b
    Example:
      osn-collector nodes import tray-7.jsonl
    """
    registry, keys = open_nodes(load_config(config_file))
    records = [_parse_line(number, line) for number, line in enumerate(file, 1) if line.strip()]
    try:
        for info, secret in records:
            _check_new(registry, keys, info, secret)
        for info, secret in records:
            keys.add(info.node, secret)
        registry.put(*(info for info, _ in records))
    except (NodeError, PrivateFileError) as error:
        fail(str(error))
    click.echo(f"{len(records)} node{'s' if len(records) != 1 else ''} imported")


def _parse_line(number: int, line: str) -> tuple[NodeInfo, bytes]:
    try:
        if len(line) > RECORD_CHARACTERS_MAX:
            raise NodeError("longer than a node record")
        record = json.loads(line)
        info = parse_record(record)
        return info, parse_key(record.get("key", ""))
    except NodeError as error:
        fail(f"line {number}: {error}")
    except ValueError:
        fail(f"line {number}: not JSON")


def _check_new(registry: NodeRegistry, keys: KeyRing, info: NodeInfo, secret: bytes) -> None:
    known = registry.get(info.node)
    if known is not None and known.uuid != info.uuid:
        raise NodeError(
            f"node {info.id} is already {known.name} ({known.uuid}); provision the board again"
        )
    held = keys.get(info.node)
    if held is not None and held.current.secret != secret:
        raise NodeError(
            f"node {info.id} has another key; use `osn-collector nodes rotate {info.id}`"
        )


def _key_word(keys: KeyRing, info: NodeInfo) -> str:
    held = keys.get(info.node)
    if held is None:
        return "no key"
    if held.revoked:
        return "revoked"
    return "key" if held.previous is None else "rotating"
