"""Who the board is: node address, UUID, key and boot number in one checksummed NVS record."""

from binascii import crc32
from struct import pack, unpack_from

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.types import Nvs

KEY = "identity"
SWITCH = "switch"  # in NVS: boot u32, seq u32; written with the next key
VERSION = 1
SIZE = 62  # version u8, reserved u8, node u32, boot u32, uuid 16 B, key 32 B, CRC-32


class Identity:
    """node and boot are 32-bit numbers, uuid is 16 bytes, key is 32 bytes."""

    def __init__(self, node: int, boot: int, uuid: bytes, key: bytes) -> None:
        if len(uuid) != 16 or len(key) != 32:
            raise ValueError("uuid must have 16 bytes and key 32")
        self.node = node
        self.boot = boot
        self.uuid = uuid
        self.key = key

    def pack(self) -> bytes:
        """The record as kept in NVS."""
        record = pack("<BBII", VERSION, 0, self.node, self.boot) + self.uuid + self.key
        return record + pack("<I", crc32(record))


def unpack(record: "bytes | bytearray") -> "Identity | None":
    """The identity in a record, or None when the record is not whole."""
    if len(record) != SIZE or record[0] != VERSION:
        return None
    if unpack_from("<I", record, SIZE - 4)[0] != crc32(record[: SIZE - 4]):
        return None
    _, _, node, boot = unpack_from("<BBII", record, 0)
    return Identity(node, boot, bytes(record[10:26]), bytes(record[26:58]))


def load(nvs: "Nvs") -> "Identity | None":
    """The board's identity, or None when it was never provisioned or the record is damaged."""
    record = bytearray(SIZE)
    try:
        length = nvs.get_blob(KEY, record)
    except OSError:
        return None
    return unpack(record) if length == SIZE else None


def save(nvs: "Nvs", identity: Identity) -> None:
    """Write the record. NVS replaces a blob as one transaction."""
    nvs.set_blob(KEY, identity.pack())
    nvs.commit()


def key_switch(nvs: "Nvs") -> bytes:
    """The (boot, seq) after which no frame is under a former key, 8 bytes; b"" if there is none."""
    record = bytearray(8)
    try:
        nvs.get_blob(SWITCH, record)
    except OSError:
        return b""
    return bytes(record)


def next_boot(nvs: "Nvs", identity: Identity) -> None:
    """Count a cold boot: the new number is in NVS before any frame can carry it."""
    identity.boot = (identity.boot + 1) & 0xFFFFFFFF
    save(nvs, identity)
