"""Node keys: which key may speak for a frame, and rotation with an overlap.

A node has one key, or two during a rotation. Frames that lie in a board's spool stay under the key
they were built with; so the old key holds for every (boot, seq) below the switch, until the board
shows that nothing older is kept. The switch is what the board's HELLO names, or, before that has
come, the smallest (boot, seq) seen under the new key.
Retired keys stay in the file, sealed: they prove old frames and accept nothing.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from collector.nodes import NodeError, NodeRegistry, node_text, parse_node
from collector.private_file import PrivateFileError, Watched, update_json
from protocol.mac import derive

KEY_BYTES = 32
SEALED_MAX = 64

Position = tuple[int, int]
"""(boot, seq), in the order in which a board counts."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A node's secret and the two keys that come from it."""

    secret: bytes = field(repr=False)
    up: bytes = field(repr=False)
    down: bytes = field(repr=False)

    @classmethod
    def of(cls, secret: bytes) -> "KeyPair":
        """Derives both directions; NodeError when the secret is not 32 bytes."""
        if len(secret) != KEY_BYTES:
            raise NodeError(f"a node key has {KEY_BYTES} bytes, this one {len(secret)}")
        return cls(secret, derive(secret, b"up"), derive(secret, b"dn"))


@dataclass(frozen=True, slots=True)
class NodeKeys:
    """Current key, the one that it replaces (until retired), the switch, and sealed ones."""

    current: KeyPair
    previous: KeyPair | None = None
    switch: Position | None = None
    sealed: tuple[bytes, ...] = field(default=(), repr=False)
    revoked: bool = False

    def up(self, position: Position) -> list[bytes]:
        """K_up of every key that may have signed a frame at this position, likeliest first."""
        if self.revoked:
            return []
        if self.previous is None:
            return [self.current.up]
        if self.switch is None:
            return [self.previous.up, self.current.up]
        if position < self.switch:
            return [self.previous.up, self.current.up]
        return [self.current.up]

    def down(self) -> bytes | None:
        """K_down of the key that the board holds now."""
        if self.revoked:
            return None
        if self.previous is not None and self.switch is None:
            return self.previous.down
        return self.current.down


Change = Callable[[dict[int, NodeKeys]], object]
Shown = dict[tuple[int, str], Change]


class KeyRing:
    """Keys of all nodes, in a file of mode 0600 or, without a path, in memory only.

    `accepted` and `settled`, which frames bring about, touch no file: see `exchange`. All other
    changes are an operator's and are in the file when they return.
    """

    def __init__(self, path: Path | None = None, secrets: dict[int, bytes] | None = None) -> None:
        self.path = path
        self._nodes = {
            node: NodeKeys(KeyPair.of(secret)) for node, secret in (secrets or {}).items()
        }
        self._shown: Shown = {}
        """Changes that the file does not hold yet: the last of each kind for each node."""
        self.shown = asyncio.Event()
        """Set when there is something for `exchange` to write."""
        self._file = None if path is None else Watched(path, _parse)
        if path is not None:
            self.reload()

    def __contains__(self, node: object) -> bool:
        return node in self._nodes

    def get(self, node: int) -> NodeKeys | None:
        """All keys of a node, or None."""
        return self._nodes.get(node)

    def nodes(self) -> list[int]:
        """Addresses that have a key, revoked ones too."""
        return sorted(self._nodes)

    def up(self, node: int, boot: int, seq: int) -> list[bytes]:
        """Keys that may have signed this frame of the node; empty when none may."""
        keys = self._nodes.get(node)
        return [] if keys is None else keys.up((boot, seq))

    def down(self, node: int) -> bytes | None:
        """The key for frames to the node, or None when it is unknown or revoked."""
        keys = self._nodes.get(node)
        return None if keys is None else keys.down()

    def accepted(
        self, node: int, boot: int, seq: int, key_up: bytes, named: Position | None = None
    ) -> None:
        """Notes under which key a frame held; during a rotation this finds the switch.

        named: the last position that may be under the former key, if the frame says so.
        """
        keys = self._nodes.get(node)
        if keys is None or keys.previous is None or key_up != keys.current.up:
            return
        position = (boot, seq)
        if named is not None:
            position = min(position, (named[0], named[1] + 1))
        if keys.switch is None or position < keys.switch:
            self._show(node, "switch", keys, lambda now: replace(now, switch=position))

    def settled(self, node: int, oldest_kept: Position | None) -> None:
        """Retires the old key once the board keeps no frame from before the switch."""
        keys = self._nodes.get(node)
        if keys is None or keys.previous is None or keys.switch is None:
            return
        if oldest_kept is None or oldest_kept >= keys.switch:
            self._show(node, "retired", keys, _retire)

    def add(self, node: int, secret: bytes) -> None:
        """Gives a new node its key; NodeError when it has another."""
        pair = KeyPair.of(secret)

        def change(nodes: dict[int, NodeKeys]) -> None:
            known = nodes.get(node)
            if known is not None and known.current.secret != secret:
                raise NodeError(
                    f"node {node_text(node)} has another key; "
                    "use `osn-collector nodes rotate`, or `nodes erase` it first"
                )
            nodes[node] = NodeKeys(pair) if known is None else replace(known, revoked=False)

        self._change(change)

    def rotate(self, node: int, secret: bytes) -> None:
        """Announces the next key; the one in force stays valid for what was built under it."""
        pair = KeyPair.of(secret)

        def change(nodes: dict[int, NodeKeys]) -> None:
            known = nodes.get(node)
            if known is None:
                raise NodeError(f"node {node_text(node)} has no key here to rotate")
            if known.current.secret == secret:
                return
            if known.previous is not None and known.switch is None:
                raise NodeError(
                    f"node {node_text(node)} has a rotation under way whose new key was never "
                    "seen; finish it on the board, or undo it: nodes rotate --undo"
                )
            retired = _retire(known)
            nodes[node] = NodeKeys(pair, known.current, None, retired.sealed, known.revoked)

        self._change(change)

    def undo_rotation(self, node: int) -> None:
        """Takes a rotation back whose new key no frame has shown yet."""

        def change(nodes: dict[int, NodeKeys]) -> None:
            known = nodes.get(node)
            if known is None or known.previous is None or known.switch is not None:
                raise NodeError(f"node {node_text(node)} has no rotation that can be undone")
            nodes[node] = NodeKeys(known.previous, sealed=known.sealed, revoked=known.revoked)

        self._change(change)

    def revoke(self, node: int) -> None:
        """Refuses a node from now on; its keys stay sealed in the file."""

        def change(nodes: dict[int, NodeKeys]) -> None:
            if node not in nodes:
                raise NodeError(f"node {node_text(node)} has no key here")
            nodes[node] = replace(nodes[node], revoked=True)

        self._change(change)

    def remove(self, node: int) -> None:
        """Destroys all keys of a node."""
        self._change(lambda nodes: nodes.pop(node, None))

    def reload(self) -> bool:
        """Reads the file again when it changed; True when it did."""
        nodes = None if self._file is None else self._file.changed()
        if nodes is None:
            return False
        self._nodes = nodes
        return True

    async def exchange(self) -> bool:
        """Writes what frames have shown and reads what others have changed, off the event loop.

        True when the keys are others now. PrivateFileError when the file cannot be used: what was
        read stays in force, and what is not written is kept for the next time.
        """
        if self._file is None:
            return False
        shown, self._shown = self._shown, {}
        self.shown.clear()
        try:
            nodes, fault = await asyncio.to_thread(self._exchange, shown)
        except BaseException:
            self._shown = shown | self._shown
            raise
        if fault:
            self._shown = shown | self._shown
        if nodes is not None:
            for change in self._shown.values():
                change(nodes)
            self._nodes = nodes
        if fault:
            raise PrivateFileError(fault)
        return nodes is not None

    def _exchange(self, shown: Shown) -> tuple[dict[int, NodeKeys] | None, str]:
        """The file's new content, if any, and why it could not be used, "" when it could."""
        assert self._file is not None
        fault = ""
        try:
            if shown:
                self._rewrite(lambda nodes: None, shown, new=False)
        except (PrivateFileError, OSError) as error:
            fault = str(error)
        try:
            return self._file.changed(), fault
        except PrivateFileError as error:
            return None, fault or str(error)

    def _show(
        self, node: int, kind: str, seen: NodeKeys, change: Callable[[NodeKeys], NodeKeys]
    ) -> None:
        """Changes in memory what a frame has shown of a rotation; `exchange` writes it.

        Keys that an operator has changed since are left alone.
        """

        def apply(nodes: dict[int, NodeKeys]) -> None:
            now = nodes.get(node)
            if now is not None and (now.current, now.previous) == (seen.current, seen.previous):
                nodes[node] = change(now)

        apply(self._nodes)
        if self.path is not None:
            self._shown[node, kind] = apply
            self.shown.set()

    def _change(self, change: Change) -> None:
        if self.path is None:
            change(self._nodes)
            return
        self._rewrite(change, self._shown)
        self._shown = {}
        self.reload()

    def _rewrite(self, change: Change, shown: Shown, *, new: bool = True) -> None:
        """Changes the file under its lock, first by what frames have shown."""
        path = self.path
        assert path is not None

        def rewrite(document: dict[str, Any]) -> dict[str, Any]:
            if not document and not new:
                raise PrivateFileError(f"{path}: is gone; restore it from a backup")
            nodes = _parse(document, path)
            for each in (*shown.values(), change):
                each(nodes)
            return {
                "version": 1,
                "nodes": {node_text(node): _as_record(nodes[node]) for node in sorted(nodes)},
            }

        update_json(path, rewrite, mode=0o600)


def _retire(keys: NodeKeys) -> NodeKeys:
    if keys.previous is None:
        return keys
    sealed = (*keys.sealed, keys.previous.secret)[-SEALED_MAX:]
    return NodeKeys(keys.current, None, None, sealed, keys.revoked)


def _as_record(keys: NodeKeys) -> dict[str, Any]:
    record: dict[str, Any] = {"key": keys.current.secret.hex()}
    if keys.previous is not None:
        record["previous"] = keys.previous.secret.hex()
    if keys.switch is not None:
        record["switch"] = list(keys.switch)
    if keys.sealed:
        record["sealed"] = [secret.hex() for secret in keys.sealed]
    if keys.revoked:
        record["revoked"] = True
    return record


def _parse(document: dict[str, Any], path: Path) -> dict[int, NodeKeys]:
    if document.get("version", 1) != 1:
        raise PrivateFileError(f"{path}: written by a newer version of this program")
    nodes: dict[int, NodeKeys] = {}
    records = document.get("nodes", {})
    if not isinstance(records, dict):
        raise PrivateFileError(f"{path}: holds no nodes; restore it from a backup")
    for text, record in records.items():
        try:
            nodes[parse_node(text)] = _parse_keys(record)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            # the cause is left out: its text could hold the key itself
            raise PrivateFileError(
                f"{path}: the keys of node {text!r} cannot be read; restore them from a backup"
            ) from None
    return nodes


def _parse_keys(record: dict[str, Any]) -> NodeKeys:
    previous = record.get("previous")
    switch = record.get("switch")
    return NodeKeys(
        current=KeyPair.of(parse_key(record["key"])),
        previous=None if previous is None else KeyPair.of(parse_key(previous)),
        switch=None if switch is None else (int(switch[0]), int(switch[1])),
        sealed=tuple(parse_key(text) for text in record.get("sealed", ())),
        revoked=bool(record.get("revoked", False)),
    )


def open_files(nodes: Path, keys: Path) -> tuple[NodeRegistry, KeyRing]:
    """Nodes and keys of a collector that starts.

    PrivateFileError when a file cannot be used, also when that of nodes is gone and there are keys:
    whatever these nodes send would be left out at every network, as nobody's.
    """
    registry, ring = NodeRegistry(nodes), KeyRing(keys)
    if ring.nodes() and not nodes.exists():
        raise PrivateFileError(
            f"{nodes}: is gone, and {keys} has keys of {len(ring.nodes())} nodes; restore it from "
            "a backup, or import their records again"
        )
    return registry, ring


def broker_password(secret: bytes) -> str:
    """The password by which a node may enter the broker; it follows from the node's key."""
    return derive(secret, b"broker")[:16].hex()


def parse_key(text: str) -> bytes:
    """A node key from 64 hex digits; the error never shows the text."""
    try:
        secret = bytes.fromhex(text)
    except (ValueError, TypeError):
        secret = b""
    if len(secret) != KEY_BYTES:
        raise NodeError("key must be 64 hex digits")
    return secret
