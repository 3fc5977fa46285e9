"""Model of an ESP32's ROM loader and flasher stub, as esptool talks to it.

Serial protocol of Espressif's ROM loaders: SLIP packets; request (0, command, length, checksum),
answer (1, command, length, value) and status bytes. The stub that esptool uploads into RAM is not
executed: once it is started, the model answers as the stub does.
"""

import hashlib
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

SYNC_ANSWERS = 8
SECTOR_BYTES = 4096
CHECKSUM_SEED = 0xEF
PACKET_MAX_BYTES = 65_536

FLASH_BEGIN, FLASH_DATA, FLASH_END = 0x02, 0x03, 0x04
MEM_BEGIN, MEM_END, MEM_DATA, SYNC = 0x05, 0x06, 0x07, 0x08
WRITE_REG, READ_REG, SPI_SET_PARAMS, SPI_ATTACH = 0x09, 0x0A, 0x0B, 0x0D
CHANGE_BAUDRATE = 0x0F
FLASH_DEFL_BEGIN, FLASH_DEFL_DATA, FLASH_DEFL_END = 0x10, 0x11, 0x12
SPI_FLASH_MD5, GET_SECURITY_INFO = 0x13, 0x14
ERASE_FLASH, ERASE_REGION = 0xD0, 0xD1

STATUS_OK = b"\0\0"
STATUS_BAD_MESSAGE = b"\1\5"
STATUS_BAD_CHECKSUM = b"\1\7"
STATUS_BAD_DEFLATE = b"\1\x0b"


@dataclass(frozen=True, slots=True)
class Chip:
    """What makes one chip family differ from another on the wire.

    chip_id is what GET_SECURITY_INFO tells (None: the command is unknown to this ROM);
    spi_base is the address of the SPI flash controller whose W0 register follows at spi_w0.
    """

    name: str
    magic: int
    chip_id: int | None
    mac_low_address: int
    spi_command_address: int
    spi_w0_address: int


CHIPS = {
    "esp32": Chip("esp32", 0x00F01D83, None, 0x3FF5A004, 0x3FF42000, 0x3FF42080),
    "esp32s3": Chip("esp32s3", 0x9, 9, 0x60007044, 0x60002000, 0x60002058),
    "esp32c3": Chip("esp32c3", 0x6921506F, 5, 0x60008844, 0x60002000, 0x60002058),
}
CHIP_MAGIC_ADDRESS = 0x40001000
JEDEC_4_MB = 0x1640EF


def slip_encode(packet: bytes) -> bytes:
    """A packet between SLIP end marks (RFC 1055)."""
    return b"\xc0" + packet.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc") + b"\xc0"


class SlipReader:
    """Packets out of a SLIP byte stream; what is too long to be one is dropped."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Complete packets that data brings to their end."""
        self._buffer += data
        *packets, rest = self._buffer.split(b"\xc0")
        self._buffer = bytearray(rest[-PACKET_MAX_BYTES:])
        for packet in packets:
            if packet:
                yield bytes(packet).replace(b"\xdb\xdc", b"\xc0").replace(b"\xdb\xdd", b"\xdb")


def checksum(data: bytes) -> int:
    """XOR of all bytes, as the ROM computes it over a data block."""
    value = CHECKSUM_SEED
    for byte in data:
        value ^= byte
    return value


class RomLoader:
    """Answers to esptool for one chip with its flash; `booted` is called when it is told to run."""

    def __init__(
        self,
        chip: str,
        mac: bytes = bytes.fromhex("a0b1c2d3e4f5"),
        flash_bytes: int = 4 * 1024 * 1024,
        booted: Callable[[], None] = lambda: None,
    ) -> None:
        self.chip = CHIPS[chip]
        self.flash = bytearray(b"\xff" * flash_bytes)
        self.stub_runs = False
        self.erased_sectors = 0
        self._booted = booted
        self._slip = SlipReader()
        self._registers = {
            CHIP_MAGIC_ADDRESS: self.chip.magic,
            self.chip.mac_low_address: int.from_bytes(mac[2:], "big"),
            self.chip.mac_low_address + 4: int.from_bytes(mac[:2], "big"),
            self.chip.spi_w0_address: JEDEC_4_MB,
        }
        self._offset = 0
        self._remaining_bytes = 0
        self._inflate = zlib.decompressobj()

    def reset(self) -> None:
        """Back in the ROM loader, as after a reset with the boot pin held low."""
        self.stub_runs = False
        self._slip = SlipReader()

    def feed(self, data: bytes) -> bytes:
        """Answers to what came in over the serial line."""
        return b"".join(self._answer(packet) for packet in self._slip.feed(data))

    def _answer(self, packet: bytes) -> bytes:
        if len(packet) < 8 or packet[0] != 0:
            return b""
        command, length, check = struct.unpack_from("<xBHI", packet)
        body = packet[8:]
        if length != len(body):
            return self._reply(command, status=STATUS_BAD_MESSAGE)
        handler = self._handlers().get(command)
        if handler is None:
            return self._reply(command, status=STATUS_BAD_MESSAGE)
        if command in (FLASH_DATA, MEM_DATA, FLASH_DEFL_DATA) and check != checksum(body[16:]):
            return self._reply(command, status=STATUS_BAD_CHECKSUM)
        return handler(command, body)

    def _handlers(self) -> dict[int, Callable[[int, bytes], bytes]]:
        handlers: dict[int, Callable[[int, bytes], bytes]] = {
            SYNC: self._sync,
            READ_REG: self._read_register,
            WRITE_REG: self._write_register,
            MEM_BEGIN: self._acknowledge,
            MEM_DATA: self._acknowledge,
            MEM_END: self._start_stub,
            SPI_SET_PARAMS: self._acknowledge,
            SPI_ATTACH: self._acknowledge,
            CHANGE_BAUDRATE: self._acknowledge,
            FLASH_BEGIN: self._flash_begin,
            FLASH_DATA: self._flash_data,
            FLASH_END: self._flash_end,
            FLASH_DEFL_BEGIN: self._flash_begin,
            FLASH_DEFL_DATA: self._deflated_data,
            FLASH_DEFL_END: self._acknowledge,
            SPI_FLASH_MD5: self._md5,
        }
        if self.chip.chip_id is not None:
            handlers[GET_SECURITY_INFO] = self._security_info
        if self.stub_runs:
            handlers[ERASE_FLASH] = self._erase_flash
            handlers[ERASE_REGION] = self._erase_region
        return handlers

    def _reply(
        self, command: int, value: int = 0, data: bytes = b"", status: bytes = STATUS_OK
    ) -> bytes:
        trailer = status if self.stub_runs else status + b"\0\0"
        body = data + trailer
        return slip_encode(struct.pack("<BBHI", 1, command, len(body), value) + body)

    def _acknowledge(self, command: int, body: bytes) -> bytes:
        return self._reply(command)

    def _sync(self, command: int, body: bytes) -> bytes:
        value = 0 if self.stub_runs else 0x20120707
        return self._reply(command, value) * SYNC_ANSWERS

    def _read_register(self, command: int, body: bytes) -> bytes:
        (address,) = struct.unpack_from("<I", body)
        return self._reply(command, self._registers.get(address, 0))

    def _write_register(self, command: int, body: bytes) -> bytes:
        protected = (self.chip.spi_command_address, self.chip.spi_w0_address)
        for address, value, mask, _ in struct.iter_unpack("<IIII", body[: len(body) // 16 * 16]):
            if address not in protected:
                self._registers[address] = self._registers.get(address, 0) & ~mask | value & mask
        return self._reply(command)

    def _start_stub(self, command: int, body: bytes) -> bytes:
        answer = self._reply(command)
        stay, _ = struct.unpack_from("<II", body)
        if stay:
            return answer
        self.stub_runs = True
        return answer + slip_encode(b"OHAI")

    def _flash_begin(self, command: int, body: bytes) -> bytes:
        size, _, _, offset = struct.unpack_from("<IIII", body)
        if offset + size > len(self.flash):
            return self._reply(command, status=STATUS_BAD_MESSAGE)
        if not self.stub_runs or command == FLASH_BEGIN:
            self._erase(offset, size)
        else:
            self._erase(offset, -(-size // SECTOR_BYTES) * SECTOR_BYTES)
        self._offset, self._remaining_bytes = offset, size
        self._inflate = zlib.decompressobj()
        return self._reply(command)

    def _flash_data(self, command: int, body: bytes) -> bytes:
        return self._program(command, body[16:])

    def _deflated_data(self, command: int, body: bytes) -> bytes:
        try:
            return self._program(command, self._inflate.decompress(body[16:]))
        except zlib.error:
            return self._reply(command, status=STATUS_BAD_DEFLATE)

    def _program(self, command: int, data: bytes) -> bytes:
        end = min(self._offset + len(data), len(self.flash))
        for index in range(self._offset, end):
            self.flash[index] &= data[index - self._offset]
        self._offset = end
        return self._reply(command)

    def _flash_end(self, command: int, body: bytes) -> bytes:
        answer = self._reply(command)
        (stay,) = struct.unpack_from("<I", body)
        if not stay:
            self.reset()
        elif not self.stub_runs:
            self._booted()
        return answer

    def _erase_flash(self, command: int, body: bytes) -> bytes:
        self._erase(0, len(self.flash))
        return self._reply(command)

    def _erase_region(self, command: int, body: bytes) -> bytes:
        offset, size = struct.unpack_from("<II", body)
        self._erase(offset, size)
        return self._reply(command)

    def _erase(self, offset: int, size: int) -> None:
        first = offset // SECTOR_BYTES * SECTOR_BYTES
        last = min(-(-(offset + size) // SECTOR_BYTES) * SECTOR_BYTES, len(self.flash))
        self.flash[first:last] = b"\xff" * (last - first)
        self.erased_sectors += (last - first) // SECTOR_BYTES

    def _md5(self, command: int, body: bytes) -> bytes:
        offset, size = struct.unpack_from("<II", body)
        digest = hashlib.md5(self.flash[offset : offset + size], usedforsecurity=False)
        data = digest.digest() if self.stub_runs else digest.hexdigest().encode()
        return self._reply(command, data=data)

    def _security_info(self, command: int, body: bytes) -> bytes:
        chip_id = self.chip.chip_id or 0
        return self._reply(command, data=struct.pack("<IB7BII", 0, 0, *[0] * 7, chip_id, 0))
