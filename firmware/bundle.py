"""A firmware bundle: what is in it, and how it is unpacked into a folder.

File: "OSNB" and a format byte 1, architecture and version (length u8 and text each), number of
files u16; then for each file path length u8, path, size u32, content. Little-endian.
"""

from hashlib import sha256
from struct import unpack

from firmware.slots import ENTRY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.types import File, Files

MAGIC = b"OSNB\x01"
FILES_MAX = 200
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
    """Takes a bundle apart, file after file."""

    def __init__(self, handle: "File") -> None:
        self._handle = handle
        if self._take(len(MAGIC)) != MAGIC:
            raise BundleError("not a bundle")
        self.architecture = self._text()
        self.version = self._text()
        self.count: int = unpack("<H", self._take(2))[0]
        if self.count > FILES_MAX:
            raise BundleError("too many files")

    def _take(self, length: int) -> bytes:
        data = self._handle.read(length)
        if len(data) != length:
            raise BundleError("cut short")
        return data

    def _text(self) -> str:
        return str(self._take(self._take(1)[0]), "utf-8")

    def next_file(self) -> "tuple[str, int]":
        """(path, size) of the next file; its content must be copied before the next call."""
        path = self._text()
        if not path or path.startswith("/") or ".." in path:
            raise BundleError("a path leaves the folder")
        size: int = unpack("<I", self._take(4))[0]
        return path, size

    def copy(self, size: int, target: "File") -> None:
        """Copy a file's content."""
        while size:
            piece = self._take(min(size, PIECE_BYTES))
            target.write(piece)
            size -= len(piece)


def unpack_into(files: "Files", path: str, folder: str) -> str:
    """Unpack a bundle into a folder, which is emptied first; its version.

    Raises BundleError, and OSError of the file system. The entry file comes last in a bundle, so
    that a folder that has it is complete.
    """
    handle = files.open(path, "rb")
    try:
        reader = Reader(handle)
        here = architecture()
        if reader.architecture not in ("", here):
            raise BundleError("for %s, and this is %s" % (reader.architecture, here))
        for suffix in (".mpy", ".py"):  # without its entry a folder does not count as filled
            _remove(files, folder + "/" + ENTRY + suffix)
        remove_tree(files, folder)
        files.mkdir(folder)
        made = [folder]
        name = ""
        for _ in range(reader.count):
            name, size = reader.next_file()
            _make_folders(files, folder + "/" + name, made)
            target = files.open(folder + "/" + name, "wb")
            try:
                reader.copy(size, target)
            finally:
                target.close()
        if not name.startswith(ENTRY + "."):
            raise BundleError("the entry is not the last file")
        return reader.version
    finally:
        handle.close()


def _make_folders(files: "Files", path: str, made: "list[str]") -> None:
    at = path.find("/")
    while at >= 0:
        parent = path[:at]
        if parent not in made:
            files.mkdir(parent)
            made.append(parent)
        at = path.find("/", at + 1)


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
