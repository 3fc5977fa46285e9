"""A simulated node's folder: what provisioning and wiring leave on a board."""

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from firmware import identity
from firmware.identity import Identity
from simulator.hosted_board import MemoryNvs


def identity_of(address: int, uuid: str, key: bytes, boot: int) -> Identity:
    """A board's identity; boot is the Unix second of provisioning."""
    return Identity(address, boot, UUID(uuid).bytes, key)


def into_memory(who: Identity) -> MemoryNvs:
    """The NVS of a hosted board."""
    nvs = MemoryNvs()
    identity.save(nvs, who)
    return nvs


def into_folder(
    folder: Path,
    who: Identity,
    board: Mapping[str, Any],
    settings: Mapping[str, int | str],
    schedule_ms: Sequence[int] = (),
) -> None:
    """The folder of a board that runs on the VM; see simulator/shims/esp32.py for the NVS file.

    What is already there of NVS and flash stays, so a node goes on where it was.
    """
    flash = folder / "flash"
    flash.mkdir(parents=True, exist_ok=True)
    (folder / "board.json").write_text(json.dumps(board), encoding="utf-8")
    nvs = folder / "nvs-osn.json"
    if not nvs.exists():
        nvs.write_text(json.dumps({identity.KEY: who.pack().hex()}), encoding="utf-8")
    (flash / "provision.json").write_text(json.dumps(dict(settings)), encoding="utf-8")
    if schedule_ms:
        packed = b"".join(struct.pack("<IH", t & 0xFFFFFFFF, t >> 32) for t in schedule_ms)
        (folder / "schedule.bin").write_bytes(packed)
