"""Machine code of viper functions, taken out of an .mpy file as mpy-cross writes it."""

import subprocess
from pathlib import Path

MPY_VERSION = 6
ARCH_XTENSAWIN = 10
_BYTECODE, _NATIVE, _VIPER, _ASM = range(4)
_NO_DATA = (0, 1, 2, 3, 4)  # function table, None, False, True, Ellipsis
_WITH_END = (5, 6)  # str, bytes
_TUPLE = 10


class _Reader:
    def __init__(self, data: bytes, place: int) -> None:
        self.data = data
        self.place = place

    def number(self) -> int:
        value = 0
        while True:
            byte = self.data[self.place]
            self.place += 1
            value = value << 7 | byte & 127
            if byte < 128:
                return value

    def skip_name(self) -> None:
        length = self.number()
        if not length & 1:
            self.place += (length >> 1) + 1

    def skip_object(self) -> None:
        kind = self.data[self.place]
        self.place += 1
        if kind in _NO_DATA:
            return
        length = self.number()
        if kind == _TUPLE:
            for _ in range(length):
                self.skip_object()
        else:
            self.place += length + (kind in _WITH_END)

    def codes(self, found: list[bytes]) -> None:
        head = self.number()
        kind, has_children, length = head & 3, head >> 2 & 1, head >> 3
        code = self.data[self.place : self.place + length]
        self.place += length
        if kind in (_NATIVE, _VIPER, _ASM):
            found.append(code)
        if kind in (_VIPER, _ASM):
            self.number()
            if kind == _ASM:
                self.number()
                self.number()
        if has_children:
            for _ in range(self.number()):
                self.codes(found)


def viper_functions(mpy: bytes) -> list[bytes]:
    """Machine code of the viper functions of an .mpy for xtensawin, in their order.

    Raises ValueError for another format or architecture.
    """
    if mpy[:1] != b"M" or mpy[1] != MPY_VERSION or mpy[2] >> 2 & 0x1F != ARCH_XTENSAWIN:
        raise ValueError(f"not an .mpy of version {MPY_VERSION} for xtensawin: {mpy[:4].hex()}")
    reader = _Reader(mpy, 4)
    names, objects = reader.number(), reader.number()
    for _ in range(names):
        reader.skip_name()
    for _ in range(objects):
        reader.skip_object()
    found: list[bytes] = []
    reader.codes(found)
    if reader.place != len(mpy):
        raise ValueError(f"{len(mpy) - reader.place} bytes left over")
    return found


def compile_file(mpy_cross: Path, source: Path, target: Path, architecture: str) -> bytes:
    """The .mpy of one of the board's files. Raises CalledProcessError when it does not compile."""
    subprocess.run(
        [str(mpy_cross), f"-march={architecture}", "-O3", "-o", str(target), str(source)],
        check=True,
        capture_output=True,
    )
    return target.read_bytes()
