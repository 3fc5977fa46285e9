"""The nodes that this collector serves: who they are and where they stand.

The registry is a JSON file beside the archive. It holds exact places, so it is readable by the
collector alone; keys live in a file of their own (`keys.py`). A place leaves the house only
through `privacy.py`.
"""

import asyncio
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from collector import grid
from collector.private_file import PrivateFileError, Watched, update_json
from protocol.node_name import NAME_CHARACTERS_MAX, legible, name_fault

NodeState = Literal["active", "revoked", "erased"]
NODES_MAX = 10_000
UNSIGNED_32_MAX = 0xFFFFFFFF
_HEX = re.compile(r"[0-9a-f]{8}")
_STATES = ("active", "revoked", "erased")


class NodeError(ValueError):
    """A node or a record that cannot be used; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Site:
    """An exact place, WGS 84 degrees; the elevation above sea level when known."""

    latitude: float
    longitude: float
    elevation_m: float | None = None


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """A node: link address, world-wide identity, name, board, exact site, first boot."""

    node: int
    uuid: str
    name: str
    board: str = ""
    site: Site | None = None
    mobile: bool = False
    exact: bool = False
    """Its owner wants the exact place published."""
    cell_m: int = grid.DEFAULT_M
    """Otherwise the size of the finest cell in which its place is told, to anybody."""
    boot: int = 0
    state: NodeState = "active"

    @property
    def id(self) -> str:
        """The link address as eight hex digits."""
        return node_text(self.node)


def node_text(node: int) -> str:
    """Link address as it stands in topics, files and on labels."""
    return f"{node:08x}"


def parse_node(text: str) -> int:
    """Link address from eight hex digits; NodeError otherwise."""
    lowered = text.strip().lower()
    if not _HEX.fullmatch(lowered):
        raise NodeError(f"{text!r} is not a node address: eight hex digits, such as a1b2c3d4")
    return int(lowered, 16)


def parse_new_record(record: Any) -> NodeInfo:
    """NodeInfo from a record that comes in from outside; NodeError names the field at fault.

    Stricter than `parse_record`, which has to read what was let in before.
    """
    info = parse_record(record)
    for field, text in (("name", _text(record, "name", "")), ("board", info.board)):
        if fault := name_fault(text):
            raise NodeError(
                f"node {info.id}: {field} {legible(text)[:NAME_CHARACTERS_MAX]!r} {fault}"
            )
    return info


def parse_record(record: Any) -> NodeInfo:
    """NodeInfo from one record of the registry; NodeError names the field at fault.

    A name that could not be given today is read, with what cannot be printed replaced.
    """
    if not isinstance(record, dict):
        raise NodeError("a node record must be an object")
    node = parse_node(_text(record, "node"))
    label = f"node {node_text(node)}"
    state = record.get("state", "active")
    if state not in _STATES:
        raise NodeError(f"{label}: state must be one of {', '.join(_STATES)}")
    boot = record.get("boot", 0)
    if not isinstance(boot, int) or isinstance(boot, bool) or not 0 <= boot <= UNSIGNED_32_MAX:
        raise NodeError(f"{label}: boot must be a number from 0 to {UNSIGNED_32_MAX}")
    try:
        identity = str(uuid.UUID(_text(record, "uuid")))
    except ValueError as error:
        raise NodeError(f"{label}: uuid: {error}") from error
    return NodeInfo(
        node=node,
        uuid=identity,
        name=_name(record, node),
        board=legible(_text(record, "board", "")),
        site=_site(record.get("site"), label),
        mobile=_flag(record, "mobile", label),
        exact=_flag(record, "exact", label),
        cell_m=_cell(record, label),
        boot=boot,
        state=state,
    )


def as_record(info: NodeInfo) -> dict[str, Any]:
    """The JSON form that `parse_record` takes."""
    record: dict[str, Any] = {
        "node": info.id,
        "uuid": info.uuid,
        "name": info.name,
        "board": info.board,
        "mobile": info.mobile,
        "exact": info.exact,
        "cell_m": info.cell_m,
        "boot": info.boot,
        "state": info.state,
    }
    if info.site is not None:
        record["site"] = {
            "latitude": info.site.latitude,
            "longitude": info.site.longitude,
            "elevation_m": info.site.elevation_m,
        }
    return record


class NodeRegistry:
    """All nodes by address, in a file or, without a path, in memory only."""

    def __init__(self, path: Path | None = None, nodes: Iterable[NodeInfo] = ()) -> None:
        self.path = path
        self._nodes = {info.node: info for info in nodes}
        self._file = None if path is None else Watched(path, _parse_document)
        if path is not None:
            self.reload()

    def __iter__(self) -> Iterator[NodeInfo]:
        return iter(sorted(self._nodes.values(), key=lambda info: info.node))

    def __len__(self) -> int:
        return len(self._nodes)

    def get(self, node: int) -> NodeInfo | None:
        """The node of this address, or None."""
        return self._nodes.get(node)

    def find(self, text: str) -> NodeInfo:
        """The node of this address, name or UUID; NodeError when none or several fit."""
        wanted = text.strip().lower()
        if _HEX.fullmatch(wanted):
            known = self._nodes.get(int(wanted, 16))
            if known is not None:
                return known
        fits = [n for n in self if wanted in (n.name.lower(), n.uuid)]
        if len(fits) == 1:
            return fits[0]
        if fits:
            addresses = ", ".join(n.id for n in fits)
            raise NodeError(f"{text!r} is the name of several nodes: {addresses}; give the address")
        raise NodeError(f"no node {text!r} here; `osn-collector nodes list` shows them")

    def reload(self) -> bool:
        """Reads the file again when it changed; True when it did."""
        nodes = None if self._file is None else self._file.changed()
        if nodes is None:
            return False
        self._nodes = nodes
        return True

    async def exchange(self) -> bool:
        """The same off the event loop; PrivateFileError leaves what was read in force."""
        nodes = None if self._file is None else await asyncio.to_thread(self._file.changed)
        if nodes is None:
            return False
        self._nodes = nodes
        return True

    def put(self, *infos: NodeInfo) -> None:
        """Adds or replaces nodes; NodeError when one would take another's UUID."""

        def change(nodes: dict[int, NodeInfo]) -> None:
            _check_identities(nodes, infos)
            nodes.update({info.node: info for info in infos})

        self._change(change)

    def check(self, *infos: NodeInfo) -> None:
        """NodeError when `put` would refuse these, or they would take a name that is in use."""
        _check_identities(self._nodes, infos)
        _check_names(self._nodes, infos)

    def misnamed(self) -> list[NodeInfo]:
        """Nodes of a file whose names could not be given today."""
        return [info for info in self if info.state != "erased" and name_fault(info.name)]

    def twins(self) -> list[list[NodeInfo]]:
        """Nodes that a file gives one UUID; networks take them for one."""
        by_uuid: dict[str, list[NodeInfo]] = {}
        for info in self:
            if info.state != "erased":
                by_uuid.setdefault(info.uuid, []).append(info)
        return [several for several in by_uuid.values() if len(several) > 1]

    def set_state(self, node: int, state: NodeState) -> None:
        """Marks a node; NodeError when it is unknown."""

        def change(nodes: dict[int, NodeInfo]) -> None:
            if node not in nodes:
                raise NodeError(f"no node {node_text(node)} here")
            nodes[node] = replace(nodes[node], state=state)

        self._change(change)

    def remove(self, node: int) -> None:
        """Forgets a node's name and place."""
        self._change(lambda nodes: nodes.pop(node, None))

    def _change(self, change: Callable[[dict[int, NodeInfo]], object]) -> None:
        if self.path is None:
            change(self._nodes)
            return
        path = self.path

        def rewrite(document: dict[str, Any]) -> dict[str, Any]:
            nodes = _parse_document(document, path)
            change(nodes)
            if len(nodes) > NODES_MAX:
                raise NodeError(f"more than {NODES_MAX} nodes; run a second collector")
            return {"version": 1, "nodes": [as_record(nodes[key]) for key in sorted(nodes)]}

        update_json(path, rewrite, mode=0o600)
        self.reload()


def _check_identities(nodes: Mapping[int, NodeInfo], infos: Iterable[NodeInfo]) -> None:
    """NodeError when these would take a UUID that another node has; who has one keeps it."""
    owners = {info.uuid: info.node for info in nodes.values() if info.state != "erased"}
    for info in infos:
        known = nodes.get(info.node)
        if known is not None and known.uuid == info.uuid and known.state != "erased":
            continue
        owner = owners.setdefault(info.uuid, info.node)
        if owner != info.node:
            raise NodeError(
                f"nodes {node_text(owner)} and {info.id} have one UUID ({info.uuid}): networks "
                "would take them for one; provision one of the boards again"
            )


def _check_names(nodes: Mapping[int, NodeInfo], infos: Iterable[NodeInfo]) -> None:
    """NodeError for a name by which another active node is found; who has one keeps it."""
    owners: dict[str, int] = {}
    for info in nodes.values():
        if info.state == "active":
            owners |= dict.fromkeys((info.name.lower(), info.id, info.uuid), info.node)
    for info in infos:
        known = nodes.get(info.node)
        if known is not None and known.name == info.name:
            continue
        wanted = info.name.lower()
        owner = owners.setdefault(wanted, info.node)
        if owner != info.node:
            raise NodeError(
                f"node {info.id}: the name {info.name!r} is that of node {node_text(owner)}; "
                f"osn-collector nodes set {node_text(owner)} --name ANOTHER first"
            )
        if _HEX.fullmatch(wanted) and wanted != info.id:
            raise NodeError(f"node {info.id}: {info.name!r} is the address of another node")


def _parse_document(document: dict[str, Any], path: Path) -> dict[int, NodeInfo]:
    if document.get("version", 1) != 1:
        raise PrivateFileError(f"{path}: written by a newer version of this program")
    records = document.get("nodes", [])
    if not isinstance(records, list):
        raise PrivateFileError(f"{path}: nodes must be a list")
    try:
        return {info.node: info for info in map(parse_record, records)}
    except NodeError as error:
        raise PrivateFileError(f"{path}: {error}") from error


def _text(record: dict[str, Any], field: str, default: str | None = None) -> str:
    value = record.get(field, default)
    if not isinstance(value, str):
        raise NodeError(f"{field} is missing or not a text")
    return value


def _flag(record: dict[str, Any], field: str, label: str) -> bool:
    value = record.get(field, False)
    if not isinstance(value, bool):
        raise NodeError(f"{label}: {field} must be true or false")
    return value


def _cell(record: dict[str, Any], label: str) -> int:
    wish_m = record.get("cell_m", grid.DEFAULT_M)
    return grid.size_for(_number(wish_m, 1, grid.SIZES_M[-1], f"{label}: cell_m"))


def _name(record: dict[str, Any], node: int) -> str:
    return legible(_text(record, "name", "").strip()) or node_text(node)


def _site(value: Any, label: str) -> Site | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise NodeError(f"{label}: site must be an object with latitude and longitude")
    latitude = _number(value.get("latitude"), -90, 90, f"{label}: site.latitude")
    longitude = _number(value.get("longitude"), -180, 180, f"{label}: site.longitude")
    elevation = value.get("elevation_m")
    if elevation is not None:
        elevation = _number(elevation, -500, 9000, f"{label}: site.elevation_m")
    return Site(latitude, longitude, elevation)


def _number(value: Any, low: float, high: float, label: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise NodeError(f"{label} must be a number from {low} to {high}")
    return float(value)
