"""A firmware bundle: what is in it, and how it gets into a slice or a folder.

How it begins is in protocol/bundle.py; then comes a ROMFS image of the slot's files. The image's
numbers have 7 bits a byte, the higher ones first; after 3 bytes of magic and its length come
records: kind, length, content. A folder's is its name (length and text) and records, a file's its
name and one record of data.
"""

from hashlib import sha256

from firmware import slices
from firmware.slots import ENTRY
from protocol.bundle import MAGIC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.types import File, Files, Nvs, Rom

ROMFS = b"\xd2\xcd\x31"
DATA, FOLDER, FILE = 2, 4, 5  # kinds of records
DEPTH_MAX = 4
PIECE_BYTES = 512
# sys.implementation._mpy >> 10 of MicroPython and mpy-cross's names for it.
ARCHITECTURES = ("", "x86", "x64", "armv6", "armv6m", "armv7m", "armv7em", "armv7emsp",
                 "armv7emdp", "xtensa", "xtensawin", "rv32imc")  # fmt: skip


class BundleError(ValueError):
    """A bundle that cannot be used; its text says why."""


def architecture() -> str:
    """This machine's, as mpy-cross names it; "" where .mpy files are not at home."""
    import sys

    number = getattr(sys.implementation, "_mpy", 0) >> 10
    return ARCHITECTURES[number] if number < len(ARCHITECTURES) else "?"


def digest(files: "Files", path: str) -> bytes:
    """SHA-256 of a file."""
    total = sha256()
    handle = files.open(path, "rb")
    try:
        while True:
            piece = handle.read(PIECE_BYTES)
            if not piece:
                result: bytes = total.digest()
                return result
            total.update(piece)
    finally:
        handle.close()


class Reader:
    """Takes a bundle apart, piece after piece."""

    def __init__(self, handle: "File") -> None:
        self._handle = handle
        self.at = 0
        self.last = ""  # path of the newest file
        if self.take(len(MAGIC)) != MAGIC:
            raise BundleError("not a bundle")
        architecture_named = self._text(self.take(1)[0])
        self.version = self._text(self.take(1)[0])
        here = architecture()
        if architecture_named not in ("", here):
            raise BundleError("for %s, and this is %s" % (architecture_named, here))

    def take(self, length: int) -> bytes:
        """The next bytes."""
        data = self._handle.read(length)
        if len(data) != length:
            raise BundleError("cut short")
        self.at += length
        return data

    def _text(self, length: int) -> str:
        return str(self.take(length), "utf-8")

    def number(self) -> int:
        """The next number of the image."""
        value = 0
        while True:
            byte = self.take(1)[0]
            value = value << 7 | byte & 127
            if byte < 128:
                return value
            if value >> 23:
                raise BundleError("damaged")

    def unpack(self, files: "Files", folder: str, end: int, depth: int = 0) -> None:
        """Unpack the records up to end into a folder, which is there."""
        if depth > DEPTH_MAX:
            raise BundleError("too deep")
        while self.at < end:
            kind = self.number()
            length = self.number()
            stop = self.at + length
            if kind not in (FOLDER, FILE) or stop > end:
                raise BundleError("damaged")
            name = self._text(self.number())
            if not name or "/" in name or ".." in name:
                raise BundleError("a path leaves the folder")
            path = folder + "/" + name
            if kind == FOLDER:
                files.mkdir(path)
                self.unpack(files, path, stop, depth + 1)
            else:
                self._copy(files, path, stop)
                self.last = path

    def _copy(self, files: "Files", path: str, stop: int) -> None:
        kind = self.number()
        size = self.number()
        if kind != DATA or self.at + size != stop:
            raise BundleError("damaged")
        target = files.open(path, "wb")
        try:
            while self.at < stop:
                target.write(self.take(min(stop - self.at, PIECE_BYTES)))
        finally:
            target.close()


def fill_slice(files: "Files", path: str, rom: "Rom", nvs: "Nvs", slot: str) -> str:
    """Put a bundle's image into a slot's slice, and remove the slot's folder; the version.

    Raises BundleError, and OSError of the flash.
    """
    handle = files.open(path, "rb")
    try:
        reader = Reader(handle)
        _empty(files, slot)
        slices.fill(rom, nvs, slot, handle)
        return reader.version
    finally:
        handle.close()


def unpack_into(files: "Files", path: str, folder: str) -> str:
    """Unpack a bundle into a folder, which is emptied first; its version.

    Raises BundleError, and OSError of the file system. The entry file comes last in a bundle, so
    that a folder that has it is complete.
    """
    handle = files.open(path, "rb")
    try:
        reader = Reader(handle)
        if reader.take(len(ROMFS)) != ROMFS:
            raise BundleError("damaged")
        _empty(files, folder)
        files.mkdir(folder)
        length = reader.number()
        reader.unpack(files, folder, reader.at + length)
        if not reader.last.startswith(folder + "/" + ENTRY + "."):
            raise BundleError("the entry is not the last file")
        return reader.version
    finally:
        handle.close()


def _empty(files: "Files", folder: str) -> None:
    """Remove a slot's folder; its entry goes first, without which it does not count as filled."""
    for suffix in (".mpy", ".py"):
        _remove(files, folder + "/" + ENTRY + suffix)
    remove_tree(files, folder)


def _remove(files: "Files", path: str) -> None:
    try:
        files.remove(path)
    except OSError:
        pass


def remove_tree(files: "Files", folder: str) -> None:
    """Remove a folder with all that is in it, or nothing where there is none."""
    try:
        names = files.listdir(folder)
    except OSError:
        return
    for name in names:
        path = folder + "/" + name
        if files.stat(path)[0] & 0x4000:
            remove_tree(files, path)
        else:
            files.remove(path)
    files.rmdir(folder)
