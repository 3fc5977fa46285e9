"""A disk under SQLite that records what is written and fails on command.

A VFS of the very SQLite library that Python uses: the system's own, with `xOpen`, `xWrite`,
`xTruncate` and `xSync` led through here. What was recorded can be laid out again as a disk that
lost its power, or its process, at any of these points.
"""

import _sqlite3
import ctypes
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

SQLITE_OK = 0
SQLITE_FULL = 13
IOERR_WRITE = 778
IOERR_FSYNC = 1034
IOERR_TRUNCATE = 1546

WRITE, TRUNCATE, SYNC, DELETE, MARK = "write", "truncate", "sync", "delete", "mark"

_library = ctypes.CDLL(_sqlite3.__file__)
_library.sqlite3_vfs_find.restype = ctypes.c_void_p
_library.sqlite3_vfs_find.argtypes = [ctypes.c_char_p]
_library.sqlite3_vfs_register.argtypes = [ctypes.c_void_p, ctypes.c_int]
_library.sqlite3_vfs_unregister.argtypes = [ctypes.c_void_p]

_Open = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p
)
_Delete = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int)
_Write = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int64
)
_Truncate = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int64)
_Sync = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)


class _Vfs(ctypes.Structure):
    _fields_ = (
        ("iVersion", ctypes.c_int),
        ("szOsFile", ctypes.c_int),
        ("mxPathname", ctypes.c_int),
        ("pNext", ctypes.c_void_p),
        ("zName", ctypes.c_char_p),
        ("pAppData", ctypes.c_void_p),
        ("xOpen", _Open),
        ("xDelete", _Delete),
        ("rest", ctypes.c_void_p * 14),
    )


class _Methods(ctypes.Structure):
    _fields_ = (
        ("iVersion", ctypes.c_int),
        ("xClose", ctypes.c_void_p),
        ("xRead", ctypes.c_void_p),
        ("xWrite", _Write),
        ("xTruncate", _Truncate),
        ("xSync", _Sync),
        ("rest", ctypes.c_void_p * 13),
    )


class _File(ctypes.Structure):
    _fields_ = (("methods", ctypes.POINTER(_Methods)),)


@dataclass(frozen=True, slots=True)
class Op:
    """One thing done to the disk, or a mark that the test set between two."""

    kind: str
    path: str = ""
    offset: int = 0
    data: bytes = b""
    note: object = None


@dataclass(slots=True)
class Disk:
    """What was done so far, and which operations are to fail."""

    ops: list[Op] = field(default_factory=list)
    recording: bool = True
    touched: int = 0
    fail_from: int | None = None
    fail_count: int = 0
    write_error: int = SQLITE_FULL
    failed: int = 0

    def mark(self, note: object) -> None:
        """Notes something between two operations, such as an acknowledgement."""
        self.ops.append(Op(MARK, note=note))

    def fail(self, first: int, count: int, write_error: int = SQLITE_FULL) -> None:
        """Lets `count` operations fail, after `first` more have passed."""
        self.fail_from, self.fail_count = self.touched + first, count
        self.write_error = write_error

    def _outcome(self, error: int) -> int:
        number = self.touched
        self.touched += 1
        if self.fail_from is None or not 0 <= number - self.fail_from < self.fail_count:
            return SQLITE_OK
        self.failed += 1
        return error

    def _note(self, op: Op) -> None:
        if self.recording:
            self.ops.append(op)


class _Shim:
    """The functions that SQLite calls; they live as long as the process."""

    def __init__(self) -> None:
        self.disk: Disk | None = None
        self._names: dict[int, str] = {}
        self._tables: dict[int, tuple[_Methods, _Methods]] = {}
        self._originals: dict[int, _Methods] = {}
        self._real = _Vfs.from_address(_library.sqlite3_vfs_find(None))
        self._vfs = _Vfs.from_buffer_copy(self._real)
        self._vfs.zName = b"osn-faulty"
        self._keep = (
            _Open(self._open), _Delete(self._delete), _Write(self._write),
            _Truncate(self._truncate), _Sync(self._sync),
        )  # fmt: skip
        self._vfs.xOpen, self._vfs.xDelete = self._keep[:2]

    def install(self, disk: Disk) -> None:
        self.disk = disk
        _library.sqlite3_vfs_register(ctypes.addressof(self._vfs), 1)

    def remove(self) -> None:
        self.disk = None
        _library.sqlite3_vfs_unregister(ctypes.addressof(self._vfs))
        _library.sqlite3_vfs_register(ctypes.addressof(self._real), 1)

    def _open(self, vfs: int, name: int | None, file: int, flags: int, out: int) -> int:
        # the name goes on as the pointer that it is: SQLite keeps it as long as the file is open
        code = self._real.xOpen(ctypes.addressof(self._real), name, file, flags, out)
        if code == SQLITE_OK:
            opened = _File.from_address(file)
            address = ctypes.addressof(opened.methods.contents)
            if address not in self._tables:
                table = _Methods.from_buffer_copy(opened.methods.contents)
                table.xWrite, table.xTruncate, table.xSync = self._keep[2:]
                self._tables[address] = (opened.methods.contents, table)
            self._names[file] = ctypes.string_at(name).decode() if name else ""
            self._originals[file] = self._tables[address][0]
            opened.methods = ctypes.pointer(self._tables[address][1])
        return code

    def _delete(self, vfs: int, name: int, sync: int) -> int:
        code = self._real.xDelete(ctypes.addressof(self._real), name, sync)
        if code == SQLITE_OK and self.disk is not None:
            self.disk._note(Op(DELETE, ctypes.string_at(name).decode()))
        return code

    def _write(self, file: int, data: int, length: int, offset: int) -> int:
        disk = self.disk
        if disk is not None:
            code = disk._outcome(disk.write_error)
            if code != SQLITE_OK:
                return code
            disk._note(Op(WRITE, self._names[file], offset, ctypes.string_at(data, length)))
        return int(self._originals[file].xWrite(file, data, length, offset))

    def _truncate(self, file: int, size: int) -> int:
        disk = self.disk
        if disk is not None:
            code = disk._outcome(IOERR_TRUNCATE)
            if code != SQLITE_OK:
                return code
            disk._note(Op(TRUNCATE, self._names[file], size))
        return int(self._originals[file].xTruncate(file, size))

    def _sync(self, file: int, flags: int) -> int:
        disk = self.disk
        if disk is not None:
            code = disk._outcome(IOERR_FSYNC)
            if code != SQLITE_OK:
                return code
            disk._note(Op(SYNC, self._names[file]))
        return int(self._originals[file].xSync(file, flags))


_shim = _Shim()


@contextmanager
def faulty_disk() -> Iterator[Disk]:
    """Every database opened inside goes through the returned disk."""
    disk = Disk()
    _shim.install(disk)
    try:
        yield disk
    finally:
        _shim.remove()


@dataclass(slots=True)
class _Image:
    """A file as the disk surely holds it, and what was written since its last sync."""

    synced: bytearray = field(default_factory=bytearray)
    since: list[Op] = field(default_factory=list)


def _apply(content: bytearray, op: Op) -> None:
    if op.kind == TRUNCATE:
        del content[op.offset :]
        content.extend(bytes(op.offset - len(content)))
        return
    if len(content) < op.offset:
        content.extend(bytes(op.offset - len(content)))
    content[op.offset : op.offset + len(op.data)] = op.data


def lay_out(ops: list[Op], folder: Path, lost: str, randomness: random.Random) -> None:
    """Files as a crash after these operations leaves them.

    `lost` says what becomes of writes that no sync followed: "nothing" (the process was killed),
    "unsynced" (all of them are gone), "some" (any of them are gone, the last one is torn).
    """
    images: dict[str, _Image] = {}
    for op in ops:
        if op.kind == MARK:
            continue
        image = images.setdefault(op.path, _Image())
        if op.kind == DELETE:
            del images[op.path]
        elif op.kind == SYNC:
            for earlier in image.since:
                _apply(image.synced, earlier)
            image.since.clear()
        else:
            image.since.append(op)
    for path, image in images.items():
        content = image.synced
        for op in _surviving(image.since, lost, randomness):
            _apply(content, op)
        (folder / Path(path).name).write_bytes(content)


def _surviving(since: list[Op], lost: str, randomness: random.Random) -> list[Op]:
    if lost == "nothing":
        return since
    if lost == "unsynced" or not since:
        return []
    kept = [op for op in since if randomness.random() < 0.5]
    last = since[-1]
    if last.kind == WRITE:
        torn = last.data[: randomness.randrange(len(last.data))]
        kept.append(Op(WRITE, last.path, last.offset, torn))
    return kept
