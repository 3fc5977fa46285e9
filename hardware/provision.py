"""Give a board its identity, key and settings, and prove that it has them."""

import json
import secrets
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

from hardware import faults, records
from hardware.faults import BenchError, Exit
from hardware.install import SLOT
from hardware.records import Identity, Site
from hardware.session import Session
from protocol.decoder import decode, open_frame
from protocol.mac import derive
from protocol.node_name import NAME_CHARACTERS_MAX, name_fault
from protocol.wire import FrameError

PREPARE = """
import sys
if {slot!r} not in sys.path:
 sys.path.insert(0, {slot!r})
import esp32
from firmware import identity
nvs = esp32.NVS('osn')
"""
TAKEN = """
import esp32
from binascii import crc32
from struct import unpack_from
r = bytearray(62)
try:
 n = esp32.NVS('osn').get_blob('identity', r)
except OSError:
 n = 0
if n == 62 and r[0] == 1 and unpack_from('<I', r, 58)[0] == crc32(r[:58]):
 print('%08x' % unpack_from('<I', r, 2))
"""
"""Needs no firmware on the board, which may be half installed; layout: firmware/identity.py."""
SAVE = (
    PREPARE
    + """
from binascii import unhexlify as u
identity.save(nvs, identity.Identity({node}, {boot}, u({uuid!r}), u({key!r})))
"""
)
HELLO = (
    PREPARE
    + """
from binascii import hexlify
import machine
from firmware import reports
from firmware.version import VERSION
from protocol import wire
from protocol.frame import FrameBuilder
from protocol.mac import Mac, derive
i = identity.load(nvs)
b = FrameBuilder(256, Mac(derive(i.key, b'up')))
b.begin(wire.T_HELLO, i.node, i.boot, 1)
reports.info(b, VERSION, {board!r}, i.uuid, machine.reset_cause())
print(hexlify(b.view[:b.finish()]).decode())
"""
)
ERASE = """
import esp32
nvs = esp32.NVS('osn')
nvs.erase_key('identity')
try:
 nvs.erase_key('switch')
except OSError:
 pass
nvs.commit()
"""

Random = Callable[[int], bytes]


def new_identity(taken: set[str], random: Random = secrets.token_bytes) -> Identity:
    """A fresh identity whose address is not among those taken; its key is always new."""
    while True:
        node = int.from_bytes(random(4), "little")
        if node and f"{node:08x}" not in taken:
            break
    unique = uuid.UUID(bytes=random(16), version=4)
    return Identity(node, str(unique), random(32), int(time.time()))


def provisioned_as(opened: Session) -> str | None:
    """The address of the identity that a board holds, or None."""
    return opened.run(TAKEN).strip() or None


def provision(
    opened: Session,
    *,
    records_path: Path,
    name: str,
    board: str,
    settings: Mapping[str, int | str],
    site: Site | None = None,
    mobile: bool = False,
    slot: str = SLOT,
) -> Identity:
    """Make an identity, write it and the settings, check the board's HELLO, append the record.

    The record is written before the board gets its key, so that no board is left with a key that
    nobody knows. A board that holds the identity of a record of this name is finished, for an
    interruption may have left it half done. Raises BenchError for one that holds another.
    """
    check_name(name)
    present = provisioned_as(opened)
    if present is not None:
        entry = records.newest(records_path, present)
        if entry is None or (entry.get("name"), entry.get("board")) != (name, board):
            raise faults.already_provisioned(opened.port, present)
        identity = records.identity_in(entry)
    else:
        taken = {str(entry.get("node")) for entry in records.known(records_path)}
        identity = new_identity(taken)
        records.append(records_path, records.record(identity, name, board, site, mobile))
        opened.run(
            SAVE.format(
                slot=board_path(opened, slot),
                node=identity.node,
                boot=identity.boot,
                uuid=uuid.UUID(identity.uuid).hex,
                key=identity.key.hex(),
            )
        )
    put_settings(opened, identity, settings, slot)
    verify(opened, identity, board, slot)
    return identity


def check_name(name: str) -> None:
    """Refuse what `osn-collector nodes import` would refuse later. Raises BenchError."""
    if fault := name_fault(name):
        raise BenchError(
            Exit.USAGE,
            f"{name!r} is no name for a site: {fault}",
            f"Take at most {NAME_CHARACTERS_MAX} printable characters, of any language",
        )


def check_site(site: Site) -> None:
    """Refuse what `osn-collector nodes import` would refuse later. Raises BenchError."""
    given = {
        "latitude": (site.latitude, -90, 90),
        "longitude": (site.longitude, -180, 180),
        "elevation": (site.elevation_m, -500, 9000),
    }
    for name, (value, least, most) in given.items():
        if not least <= value <= most:
            raise BenchError(
                Exit.USAGE, f"{value} is no {name}", f"Give a number from {least} to {most}"
            )


def put_settings(
    opened: Session, identity: Identity, settings: Mapping[str, int | str], slot: str = SLOT
) -> None:
    """Leave settings for the next start of the firmware, with what the broker asks for."""
    base = board_path(opened, slot).rsplit("/", 1)[0]
    content = json.dumps(broker_entry(identity) | dict(settings), sort_keys=True)
    opened.put(f"{base}/provision.json", content.encode())


def broker_entry(identity: Identity) -> dict[str, int | str]:
    """How a node enters the broker: by its address, and a password that follows from its key.

    `osn-collector broker-config` computes the same; see docs/decisions/003-broker-passwords.md.
    """
    password = derive(identity.key, b"broker")[:16].hex()
    return {"broker_user": identity.address, "broker_password": password}


def verify(opened: Session, identity: Identity, board: str, slot: str = SLOT) -> None:
    """Read back an authenticated HELLO and compare it. Raises BenchError when it differs."""
    text = opened.run(HELLO.format(slot=board_path(opened, slot), board=board)).strip()
    try:
        raw = bytes.fromhex(text)
        open_frame(raw, derive(identity.key, b"up"))
        frame = decode(raw)
    except (ValueError, FrameError) as fault:
        raise _unproved(opened, "its HELLO is not authentic") from fault
    info = frame.info
    if info is None or frame.node != identity.node:
        raise _unproved(opened, "it answers for another node")
    if info.identity != uuid.UUID(identity.uuid).bytes or info.board != board:
        raise _unproved(opened, "its HELLO names another identity or board")


def erase(opened: Session) -> None:
    """Take the identity and the key from a board."""
    opened.run(ERASE)


def _unproved(opened: Session, why: str) -> BenchError:
    return BenchError(
        Exit.FAILED,
        f"The board on {opened.port} could not prove its identity: {why}",
        "Wipe it with `osn-board wipe` and provision it again; do not import this record",
    )


def board_path(opened: Session, slot: str) -> str:
    """The folder of a slot as the board names it."""
    return str(opened.value("__import__('os').getcwd()")).rstrip("/") + "/" + slot
