"""nodes: who may send, under which name and key, and where they stand."""

import json
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from collector import grid
from collector.commands.common import config_option, fail, load_config, read_text
from collector.keys import KeyRing, parse_key
from collector.nodes import (
    NodeError,
    NodeInfo,
    NodeRegistry,
    as_record,
    node_text,
    parse_new_record,
    parse_record,
)
from collector.ownership import make_data_folder
from collector.private_file import PrivateFileError
from collector.readings.privacy import size_told
from collector.settings import Config

RECORD_CHARACTERS_MAX = 10_000
RECORDS_MAX = 10_000


@click.group()
def nodes() -> None:
    """List, import, adopt, set, revoke, rotate, resolve and erase nodes."""


def nodes_to_change(config: Config) -> tuple[NodeRegistry, KeyRing]:
    """The same for a command that adds the first nodes, perhaps before the first start."""
    try:
        make_data_folder(config.collector.data, config.file)
    except OSError as error:
        fail(f"{config.collector.data}: {error.strerror}")
    return open_nodes(config)


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


@contextmanager
def faults_end_it() -> Iterator[None]:
    """Ends the command with the message of a node's or a file's fault."""
    try:
        yield
    except (NodeError, PrivateFileError) as error:
        fail(str(error))


@nodes.command("list")
@config_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, without keys.")
def list_nodes(config_file: Path, as_json: bool) -> None:
    """Show every node with its state and key."""
    registry, keys = open_nodes(load_config(config_file))
    for info in registry:
        if as_json:
            record = {**as_record(info), "key_state": _key_word(keys, info)}
            click.echo(json.dumps(record, ensure_ascii=False))
        else:
            click.echo(f"{info.id}  {info.state:8}  {_key_word(keys, info):9}  {info.name}")
    if not len(registry) and not as_json:
        click.echo("no nodes yet: osn-collector nodes import FILE")


@nodes.command("import")
@click.argument("file", type=click.File("r", encoding="utf-8"))
@config_option
def import_nodes(file: Any, config_file: Path) -> None:
    """Take over provisioned boards, a JSON record a line, as `osn-board provision` writes them.

    All lines are checked before anything is changed. The same record twice is harmless. A running
    collector sees new nodes within seconds and looks again at what it held of them. Delete FILE
    afterwards: it holds keys.

    \b
    Example:
      osn-collector nodes import tray-7.jsonl
    """
    registry, keys = nodes_to_change(load_config(config_file))
    try:
        records = [_parse_line(number, line) for number, line in enumerate(file, 1) if line.strip()]
    except UnicodeDecodeError:
        fail(f"{file.name}: not UTF-8 text")
    if not records:
        fail(f"{file.name}: no records in it")
    if len(records) > RECORDS_MAX:
        fail(f"{len(records)} records; at most {RECORDS_MAX} at once")
    with faults_end_it():
        for info, secret in records:
            _check_new(registry, keys, info, secret)
        _check_together(records)
        registry.check(*(info for info, _ in records))
        registry.put(*(_keep_choices(registry, info) for info, _ in records))
        for info, secret in records:  # last: whose frames are believed has to have a name
            keys.add(info.node, secret)
    click.echo(f"{len(records)} node{'s' if len(records) != 1 else ''} imported")


@nodes.command()
@click.argument("address")
@click.option("--name", required=True, help="What people call it; networks see it too.")
@click.option("--uuid", "identity", required=True, help="World-wide identity, from the label.")
@click.option("--board", default="", help="Hardware type, such as street.")
@click.option("--latitude", type=float, help="Degrees north, WGS 84.")
@click.option("--longitude", type=float, help="Degrees east, WGS 84.")
@click.option("--elevation-m", type=float, help="Metres above sea level.")
@click.option("--mobile", is_flag=True, help="It moves; positions come from the board.")
@click.option(
    "--cell-m",
    type=click.IntRange(1, grid.SIZES_M[-1]),
    default=grid.DEFAULT_M,
    show_default=True,
    help="Size of the finest cell in which its place is ever told.",
)
@click.option(
    "--key-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="File with the key as 64 hex digits; asked for without echo when left out.",
)
@config_option
def adopt(
    address: str,
    name: str,
    identity: str,
    board: str,
    latitude: float | None,
    longitude: float | None,
    elevation_m: float | None,
    mobile: bool,
    cell_m: int,
    key_file: Path | None,
    config_file: Path,
) -> None:
    """Take in a single node, for instance one whose frames wait in quarantine.

    \b
    Example:
      osn-collector nodes adopt a1b2c3d4 --name "Plaza Mayor" \\
        --uuid 6f9619ff-8b86-4d01-b42d-00cf4fc964ff --latitude 41.38 --longitude 2.17
    """
    config = load_config(config_file)
    registry, keys = nodes_to_change(config)
    if (latitude is None) != (longitude is None):
        fail("--latitude and --longitude go together")
    text = read_text(key_file) if key_file else click.prompt("Key (64 hex digits)", hide_input=True)
    record: dict[str, Any] = {
        "node": address,
        "uuid": identity,
        "name": name,
        "board": board,
        "mobile": mobile,
        "cell_m": cell_m,
    }
    if latitude is not None:
        record["site"] = {
            "latitude": latitude,
            "longitude": longitude,
            "elevation_m": elevation_m,
        }
    with faults_end_it():
        info = parse_new_record(record)
        secret = parse_key(text.strip())
        _check_new(registry, keys, info, secret)
        registry.check(info)
        registry.put(info)
        keys.add(info.node, secret)
    click.echo(f"node {info.id} adopted; a running collector looks at what it held of it")


@nodes.command("set")
@click.argument("node")
@click.option("--name", help="Another name; networks that were told the old one keep it.")
@click.option("--latitude", type=float, help="Degrees north; together with --longitude.")
@click.option("--longitude", type=float, help="Degrees east.")
@click.option("--elevation-m", type=float, help="Metres above sea level.")
@click.option("--exact/--coarse", default=None, help="Whether its exact place may be published.")
@click.option(
    "--cell-m",
    type=click.IntRange(1, grid.SIZES_M[-1]),
    help="Size of the finest cell in which its place is told: 125, 250, 500, 1000 ... 128000.",
)
@click.option("--irreversible", is_flag=True, help="Its owner knows that a finer place stays told.")
@config_option
def set_node(
    node: str,
    name: str | None,
    latitude: float | None,
    longitude: float | None,
    elevation_m: float | None,
    exact: bool | None,
    cell_m: int | None,
    irreversible: bool,
    config_file: Path,
) -> None:
    """Change a node's name, place, or how exactly its place is published.

    A finer cell, or the exact place, is its owner's to allow and cannot be taken back: networks
    keep what they were told. So it wants --irreversible.

    \b
    Example:
      osn-collector nodes set a1b2c3d4 --cell-m 250 --irreversible
    """
    registry, _ = open_nodes(load_config(config_file))
    with faults_end_it():
        known = registry.find(node)
        record = as_record(known)
        if name is not None:
            record["name"] = name
        if exact is not None:
            record["exact"] = exact
        if cell_m is not None:
            record["cell_m"] = cell_m
            if exact is None:
                record["exact"] = False
        if latitude is not None or longitude is not None or elevation_m is not None:
            site = record.get("site") or {}
            changes = {
                "latitude": latitude,
                "longitude": longitude,
                "elevation_m": elevation_m,
            }
            record["site"] = site | {k: v for k, v in changes.items() if v is not None}
        info = parse_record(record)
        if name is not None:
            parse_new_record(record)
        registry.check(info)
        before_m, after_m = size_told(known), size_told(info)
        if after_m < before_m and not irreversible:
            fail(
                f"{_cell_words(after_m)} instead of {_cell_words(before_m)} can never be taken "
                "back: networks keep it. If the node's owner wants that, add --irreversible"
            )
        registry.put(info)
    click.echo(json.dumps(as_record(info), ensure_ascii=False))
    if cell_m is not None and info.cell_m != cell_m:
        click.echo(f"cells of {cell_m} m there are not: {info.cell_m} m is taken", err=True)
    if after_m > before_m:
        click.echo(f"{_cell_words(before_m)} stays known where it was told", err=True)


@nodes.command()
@click.argument("node")
@config_option
@click.confirmation_option(prompt="Refuse this node's frames from now on?")
def revoke(node: str, config_file: Path) -> None:
    """Refuse a node, for instance a stolen one; what it has sent stays.

    Its frames go to quarantine and are not acknowledged. `nodes import` with the same record takes
    it back. Run broker-config afterwards, so that the broker refuses it too.
    """
    registry, keys = open_nodes(load_config(config_file))
    address = find_node(registry, node)
    with faults_end_it():
        keys.revoke(address)
        registry.set_state(address, "revoked")
    click.echo(f"node {node_text(address)} is refused from now on")


@nodes.command()
@click.argument("node")
@click.option(
    "--undo", is_flag=True, help="Take back a rotation whose key never reached the board."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where the record for `osn-board` goes.  [default: NODE.jsonl]",
)
@config_option
def rotate(node: str, undo: bool, out: Path | None, config_file: Path) -> None:
    """Make a node's next key, to be handed over by USB.

    The record goes to a file of mode 0600, never to the screen. Frames under the old key stay
    valid until the board shows that it keeps none; a board that is never given the new key goes on
    under the old one.

    \b
    Example:
      osn-collector nodes rotate a1b2c3d4
    """
    registry, keys = open_nodes(load_config(config_file))
    address = find_node(registry, node)
    info = registry.get(address)
    assert info is not None
    if undo:
        with faults_end_it():
            keys.undo_rotation(address)
        click.echo(f"node {info.id} keeps its key")
        return
    file = out or Path(f"{info.id}.jsonl")
    if file.exists():
        fail(f"{file} exists; name another file with --out")
    secret = secrets.token_bytes(32)
    record = {**as_record(info), "key": secret.hex()}
    with _private_unless_refused(file, json.dumps(record, ensure_ascii=False) + "\n"):
        keys.rotate(address, secret)
    click.echo(f"{file}: hand it to the board by USB, then delete it")


@nodes.command()
@click.argument("node")
@config_option
@click.confirmation_option(prompt="Let acknowledgements pass this node's conflicts?")
def resolve(node: str, config_file: Path) -> None:
    """Decide an identity conflict after one of the two boards was taken away.

    Until then no ACK passes the first frame that two boards have sent under one number.
    """
    from collector.operate.control import ControlError, NotRunning, ask

    config = load_config(config_file)
    registry, _ = open_nodes(config)
    address = find_node(registry, node)
    try:
        answer = ask(config.collector.data, "resolve", node=node_text(address))
    except (NotRunning, ControlError) as error:
        fail(str(error))
    click.echo(f"{answer['conflicts']} conflicts decided")


@nodes.command()
@click.argument("node")
@config_option
@click.confirmation_option(prompt="Remove all readings, keys and the place of this node for ever?")
def erase(node: str, config_file: Path) -> None:
    """Remove a node that leaves: its frames, keys, name and place.

    Frames are overwritten on disk; only the numbers of its frames stay, so that what its board
    sends again is acknowledged and not stored. Networks keep what they were given: the ones that
    can delete it are named.
    """
    from collector.operate.leaving import leave

    config = load_config(config_file)
    registry, keys = open_nodes(config)
    try:
        address = registry.find(node).node
    except NodeError as error:
        try:
            address = parse_record({"node": node, "uuid": "0" * 32, "name": ""}).node
        except NodeError:
            fail(str(error))
    with faults_end_it():
        for line in leave(config, registry, keys, address):
            click.echo(line)


def _cell_words(size_m: int) -> str:
    return f"a cell of {size_m} m" if size_m else "the exact place"


def _parse_line(number: int, line: str) -> tuple[NodeInfo, bytes]:
    try:
        if len(line) > RECORD_CHARACTERS_MAX:
            raise NodeError("longer than a node record")
        record = json.loads(line)
        info = parse_new_record(record)
        return info, parse_key(record.get("key", ""))
    except NodeError as error:
        fail(f"line {number}: {error}")
    except (ValueError, RecursionError):
        fail(f"line {number}: not JSON")


def _check_new(registry: NodeRegistry, keys: KeyRing, info: NodeInfo, secret: bytes) -> None:
    known = registry.get(info.node)
    if known is not None and known.uuid != info.uuid and known.state != "erased":
        raise NodeError(
            f"node {info.id} is already {known.name} ({known.uuid}); provision the board again"
        )
    held = keys.get(info.node)
    if held is not None and held.current.secret != secret:
        raise NodeError(
            f"node {info.id} has another key; use `osn-collector nodes rotate {info.id}`"
        )


def _check_together(records: Sequence[tuple[NodeInfo, bytes]]) -> None:
    """NodeError when a file has two different records of one address."""
    seen: dict[int, tuple[str, bytes]] = {}
    for info, secret in records:
        if seen.setdefault(info.node, (info.uuid, secret)) != (info.uuid, secret):
            raise NodeError(f"node {info.id} is there twice, with different UUIDs or keys")


def _keep_choices(registry: NodeRegistry, info: NodeInfo) -> NodeInfo:
    """A node imported again keeps what its owner chose here."""
    known = registry.get(info.node)
    if known is None or known.uuid != info.uuid:
        return info
    return replace(info, exact=known.exact, cell_m=known.cell_m, site=info.site or known.site)


@contextmanager
def _private_unless_refused(file: Path, text: str) -> Iterator[None]:
    """Writes a new file of mode 0600, then lets a change be made; without the change it goes."""
    import os

    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w") as opened:
            opened.write(text)
            opened.flush()
            os.fsync(handle)
        with faults_end_it():
            yield
    except BaseException:
        file.unlink(missing_ok=True)
        raise


def _key_word(keys: KeyRing, info: NodeInfo) -> str:
    held = keys.get(info.node)
    if held is None:
        return "no key"
    if held.revoked:
        return "revoked"
    return "key" if held.previous is None else "rotating"
