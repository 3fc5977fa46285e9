"""Provisioning records: what the collector has to know of a board, a JSON line each.

The file holds keys: it is made with mode 0600, and is to be deleted after the import.
"""

import json
import os
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hardware.faults import BenchError, Exit

RECORD_MAX_BYTES = 4096
KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Site:
    """Where the board hangs: degrees (WGS 84) and metres; known to the collector alone."""

    latitude: float
    longitude: float
    elevation_m: float = 0.0


@dataclass(frozen=True, slots=True)
class Identity:
    """A node: link address, world-wide identity, key of 32 bytes, first boot number."""

    node: int
    uuid: str
    key: bytes
    boot: int

    @property
    def address(self) -> str:
        """The link address as topics and records spell it."""
        return f"{self.node:08x}"


def record(
    identity: Identity, name: str, board: str, site: Site | None, mobile: bool
) -> dict[str, Any]:
    """The record that `osn-collector nodes import` takes."""
    entry: dict[str, Any] = {
        "node": identity.address,
        "uuid": identity.uuid,
        "key": identity.key.hex(),
        "name": name,
        "board": board,
        "boot": identity.boot,
        "mobile": mobile,
    }
    if site is not None:
        entry["site"] = {
            "latitude": site.latitude,
            "longitude": site.longitude,
            "elevation_m": site.elevation_m,
        }
    return entry


def append(path: Path, entry: Mapping[str, Any]) -> None:
    """Add a record, durable before this returns. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
        os.write(descriptor, (json.dumps(entry, sort_keys=True) + "\n").encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_private(path: Path, content: bytes) -> None:
    """Make a new file of mode 0600, durable before this returns. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def known(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a file, none when it is not there. Raises BenchError for a damaged line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return
    except UnicodeDecodeError as fault:
        raise _damaged(f"{path} is not text") from fault
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            if not isinstance(entry, dict) or len(line) > RECORD_MAX_BYTES:
                raise ValueError("not a record")
        except (ValueError, RecursionError) as fault:
            raise _damaged(f"{path} line {number} is damaged") from fault
        yield entry


def _damaged(happened: str) -> BenchError:
    to_do = "Keep the file, name another one as `records` in the bench file, and ask for help"
    return BenchError(Exit.FAILED, happened, to_do)


def newest(path: Path, node: str) -> dict[str, Any] | None:
    """The last record of a node (8 hexadecimal digits) in a file, or None."""
    found = None
    for entry in known(path):
        if entry.get("node") == node:
            found = entry
    return found


def identity_in(entry: Mapping[str, Any]) -> Identity:
    """The identity of a record. Raises BenchError for a record without one."""
    try:
        key = bytes.fromhex(str(entry["key"]))
        boot = int(entry.get("boot", 0))
        identity = Identity(int(str(entry["node"]), 16), str(uuid.UUID(entry["uuid"])), key, boot)
    except (KeyError, ValueError, TypeError, AttributeError):
        identity = None
    if identity is None or len(identity.key) != KEY_BYTES:
        raise BenchError(
            Exit.FAILED,
            "The record names no node with a key of 64 hexadecimal digits",
            "Take the file that `osn-board provision` or `osn-collector nodes rotate` wrote",
        )
    return identity
