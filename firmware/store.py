"""A small record kept twice, so that a power cut leaves the old one or the new one whole."""

from binascii import crc32
from errno import ENOENT
from struct import pack, unpack_from

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.types import Files

_HEAD = 8
_MAGIC = 0x524F  # "OR"
DATA_MAX = 4096


class Store:
    """Saves data under PATH.0 and PATH.1 in turn; load() gives the newest whole one.

    Slot: magic u16, length u16, generation u32, data, CRC-32 of all before (little-endian).
    """

    def __init__(self, files: "Files", path: str) -> None:
        self._files = files
        self._path = path
        self._generation = 0

    def load(self, surely: bool = False) -> "bytes | None":
        """The newest whole data, or None when there is none.

        surely: raises OSError when flash refuses to be read, for the newest may be there.
        """
        newest = None
        for slot in (0, 1):
            try:
                found = self._read(slot)
            except OSError as fault:
                if surely and fault.args[0] != ENOENT:
                    raise
                continue
            if found is not None and (newest is None or found[0] > newest[0]):
                newest = found
        if newest is None:
            return None
        self._generation = newest[0]
        return newest[1]

    def save(self, data: "bytes | bytearray") -> None:
        """Write data over the older slot. Raises OSError, ValueError when data is too long."""
        if len(data) > DATA_MAX:
            raise ValueError("record too long")
        generation = self._generation + 1
        record = pack("<HHI", _MAGIC, len(data), generation) + data
        record += pack("<I", crc32(record))
        handle = self._files.open(self._name(generation & 1), "wb")
        try:
            handle.write(record)
        finally:
            handle.close()
        self._generation = generation

    def clear(self) -> None:
        """Remove both slots."""
        for slot in (0, 1):
            try:
                self._files.remove(self._name(slot))
            except OSError:
                pass
        self._generation = 0

    def _name(self, slot: int) -> str:
        return self._path + ".%d" % slot

    def _read(self, slot: int) -> "tuple[int, bytes] | None":
        handle = self._files.open(self._name(slot), "rb")
        try:
            record = handle.read(_HEAD + DATA_MAX + 4)
        finally:
            handle.close()
        if len(record) < _HEAD + 4:
            return None
        magic, length, generation = unpack_from("<HHI", record, 0)
        end = _HEAD + length
        if magic != _MAGIC or end + 4 != len(record):
            return None
        if unpack_from("<I", record, end)[0] != crc32(record[:end]):
            return None
        return generation, bytes(record[_HEAD:end])
