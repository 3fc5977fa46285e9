"""A flash file system in memory that can lose power at any operation and lose what was not synced.

It has the interface of the firmware's Files. Two behaviours: COPY_ON_WRITE is littlefs (a file has
its old content until it is flushed or closed), IN_PLACE is harsher (opening for writing truncates
at once, and any part of what was written may have reached the flash).
"""

import errno
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum


class PowerCut(BaseException):
    """The board lost power. Not an Exception, so that no handler of the firmware swallows it."""


class Behaviour(Enum):
    """What an open file looks like in flash before it is flushed."""

    COPY_ON_WRITE = "copy on write"
    IN_PLACE = "in place"


class Outcome(Enum):
    """How far the operation got during which the power went."""

    NOTHING = 0
    PART = 1
    ALL = 2


class Call(Enum):
    """What the firmware may ask of a file system, and be refused."""

    OPEN = "open"
    WRITE = "write"
    SYNC = "sync"
    REMOVE = "remove"
    RENAME = "rename"
    FOLDER = "folder"
    READ = "read"
    LOOK = "look"


CHANGES = frozenset(Call) - {Call.READ, Call.LOOK}
TAKES_ROOM = frozenset((Call.OPEN, Call.WRITE, Call.SYNC, Call.FOLDER))


@dataclass
class Faults:
    """What is to go wrong.

    Power goes at operation cut_at (1 is the first), which gets as far as outcome. All calls of the
    kinds in refused fail, and so do refuse_count calls of any kind from call refuse_at on, after
    they got as far as outcome. full: what takes room fails.
    """

    cut_at: int | None = None
    outcome: Outcome = Outcome.NOTHING
    refused: frozenset[Call] = frozenset()
    refuse_at: int | None = None
    refuse_count: int = 1
    full: bool = False


@dataclass
class MemoryFiles:
    """Files by path in memory; blocks of block_bytes, capacity_blocks of them."""

    behaviour: Behaviour = Behaviour.COPY_ON_WRITE
    faults: Faults = field(default_factory=Faults)
    capacity_blocks: int = 512
    block_bytes: int = 4096
    content: dict[str, bytes] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    operations: int = 0
    calls: int = 0
    dead: bool = False
    dirty: "list[MemoryFile]" = field(default_factory=list)

    def survivors(self) -> "MemoryFiles":
        """The file system as the next boot finds it."""
        return MemoryFiles(
            self.behaviour,
            Faults(),
            self.capacity_blocks,
            self.block_bytes,
            dict(self.content),
            set(self.folders),
        )

    def listdir(self, path: str) -> list[str]:
        self.count_look(Call.LOOK)
        if path and path not in self.folders:
            raise OSError(errno.ENOENT, path)
        prefix = path + "/" if path else ""
        names = [*self.content, *self.folders]
        inside = [name[len(prefix) :] for name in names if name.startswith(prefix)]
        return [name for name in inside if name and "/" not in name]

    def open(self, path: str, mode: str) -> "MemoryFile":
        if "r" in mode:
            self.count_look(Call.READ)
            if path not in self.content:
                raise OSError(errno.ENOENT, path)
            return MemoryFile(self, path, mode, self.content[path])
        old = self.content.get(path, b"")
        with_old = old if "a" in mode else b""
        for happens in self.count_operation(Call.OPEN):
            fresh = path not in self.content or self.behaviour is Behaviour.IN_PLACE
            if fresh and happens is not Outcome.NOTHING:
                self.content[path] = with_old
        return MemoryFile(self, path, mode, with_old)

    def remove(self, path: str) -> None:
        self._exists(path)
        for happens in self.count_operation(Call.REMOVE):
            if happens is not Outcome.NOTHING:
                del self.content[path]

    def rename(self, old: str, new: str) -> None:
        self._exists(old)
        for happens in self.count_operation(Call.RENAME):
            if happens is not Outcome.NOTHING:
                self.content[new] = self.content.pop(old)

    def mkdir(self, path: str) -> None:
        self._alive()
        if path in self.folders:
            raise OSError(errno.EEXIST, path)
        for happens in self.count_operation(Call.FOLDER):
            if happens is not Outcome.NOTHING:
                self.folders.add(path)

    def rmdir(self, path: str) -> None:
        if path not in self.folders or self.listdir(path):
            raise OSError(errno.ENOTEMPTY, path)
        for happens in self.count_operation(Call.FOLDER):
            if happens is not Outcome.NOTHING:
                self.folders.remove(path)

    def stat(self, path: str) -> tuple[int, ...]:
        self.count_look(Call.LOOK)
        if path in self.folders:
            return (0x4000, 0, 0, 0, 0, 0, 0, 0, 0, 0)
        self._exists(path)
        return (0x8000, 0, 0, 0, 0, 0, len(self.content[path]), 0, 0, 0)

    def statvfs(self, path: str) -> tuple[int, ...]:
        self.count_look(Call.LOOK)
        used = sum(-(-len(data) // self.block_bytes) or 1 for data in self.content.values())
        free = self.capacity_blocks - used
        block = self.block_bytes
        return (block, block, self.capacity_blocks, free, free, 0, 0, 0, 0, 255)

    def sync(self) -> None:
        self._alive()

    def _refuses(self, call: Call) -> bool:
        faults = self.faults
        if call in faults.refused:
            return True
        first = faults.refuse_at
        return first is not None and first <= self.calls < first + faults.refuse_count

    def _exists(self, path: str) -> None:
        self._alive()
        if path not in self.content:
            raise OSError(errno.ENOENT, path)

    def _alive(self) -> None:
        if self.dead:
            raise PowerCut

    def count_look(self, call: Call) -> None:
        """Count a call that changes nothing. Raises OSError when it is refused."""
        self._alive()
        self.calls += 1
        if self._refuses(call):
            raise OSError(errno.EIO, f"flash refuses: {call.value}")

    def count_operation(self, call: Call = Call.WRITE) -> Iterator[Outcome]:
        """Count an operation that changes flash: yields what happens, then the power may go."""
        self._alive()
        self.calls += 1
        if self._refuses(call):
            yield self.faults.outcome
            raise OSError(errno.EIO, f"flash refuses: {call.value}")
        if self.faults.full and call in TAKES_ROOM:
            raise OSError(errno.ENOSPC, "flash is full")
        self.operations += 1
        if self.operations != self.faults.cut_at:
            yield Outcome.ALL
            return
        yield self.faults.outcome
        self.dead = True
        for handle in list(self.dirty):
            handle.lose_power(self.faults.outcome)
        raise PowerCut


class MemoryFile:
    """An open file: a reader of what was durable when it was opened, or a writer."""

    def __init__(self, files: MemoryFiles, path: str, mode: str, data: bytes) -> None:
        self._files = files
        self._path = path
        self._text = "b" not in mode
        self._writing = "r" not in mode
        self._data = bytearray(data)
        self._durable = len(data)
        self._at = len(data) if self._writing else 0
        self._changed = self._writing and "w" in mode
        self._closed = False
        if self._writing:
            files.dirty.append(self)

    def read(self, size: int = -1) -> bytes:
        self._files.count_look(Call.READ)
        end = len(self._data) if size < 0 else self._at + size
        chunk = bytes(self._data[self._at : end])
        self._at += len(chunk)
        return chunk.decode() if self._text else chunk  # type: ignore[return-value]

    def readinto(self, buffer: bytearray | memoryview) -> int:
        chunk = self.read(len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, len(self._data))[whence]
        return self._at

    def write(self, data: bytes | bytearray | memoryview | str) -> int:
        raw = data.encode() if isinstance(data, str) else bytes(data)
        for happens in self._files.count_operation():
            if happens is Outcome.PART:
                self._data += raw[: len(raw) // 2]
            elif happens is Outcome.ALL:
                self._data += raw
            self._changed = self._changed or happens is not Outcome.NOTHING
        return len(raw)

    def flush(self) -> None:
        if self._writing and self._changed:
            for happens in self._files.count_operation(Call.SYNC):
                if happens is Outcome.ALL:
                    self._keep(len(self._data))
                elif happens is Outcome.PART:
                    self.lose_power(happens)
            self._changed = False

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            self.flush()
        finally:
            if self in self._files.dirty:
                self._files.dirty.remove(self)

    def __enter__(self) -> "MemoryFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def lose_power(self, outcome: Outcome) -> None:
        """What of this open file is in flash after the cut."""
        if not self._changed or self._files.behaviour is Behaviour.COPY_ON_WRITE:
            return
        fresh = len(self._data) - self._durable
        kept = {Outcome.NOTHING: 0, Outcome.PART: fresh // 2, Outcome.ALL: fresh}[outcome]
        self._keep(self._durable + kept)

    def _keep(self, length: int) -> None:
        self._files.content[self._path] = bytes(self._data[:length])
        self._durable = length
