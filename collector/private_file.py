"""Small JSON files that the daemon and the command line share: locked, atomic, durable.

A change takes a lock file, reads, changes, writes a new file beside, syncs it, renames it over the
old one and syncs the folder, so that after a power cut either the old or the new content is there.
"""

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

from collector.ownership import make_folders, owner_of

JSON_BYTES_MAX = 64 * 1024 * 1024

Document = dict[str, Any]


class PrivateFileError(ValueError):
    """A file that cannot be used; the message names the file and what to do."""


def read_json(path: Path, *, private: bool = False) -> Document | None:
    """Returns the document, or None when the file does not exist.

    With `private` a file that others than its owner may read is refused.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
            if private and mode & 0o077:
                raise PrivateFileError(
                    f"{path}: mode {mode:04o} lets others read it; run: chmod 600 {path}"
                )
            raw = file.read(JSON_BYTES_MAX + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PrivateFileError(f"{path}: {error.strerror}") from error
    if len(raw) > JSON_BYTES_MAX:
        raise PrivateFileError(f"{path}: longer than {JSON_BYTES_MAX} bytes")
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise PrivateFileError(f"{path}: not JSON ({error}); restore it from a backup") from error
    if not isinstance(document, dict):
        raise PrivateFileError(f"{path}: not a JSON object; restore it from a backup")
    return document


def write_bytes(path: Path, content: bytes, mode: int) -> None:
    """Replaces the file atomically and durably; it is never readable beyond `mode`."""
    make_folders(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            _give_to_folder_owner(file.fileno(), path.parent)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _give_to_folder_owner(handle: int, folder: Path) -> None:
    """What root writes into the daemon's folder belongs to the daemon."""
    if os.geteuid() == 0:
        os.fchown(handle, *owner_of(folder))


def sync_folder(folder: Path) -> None:
    """Makes names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock that belongs to `path`; waits for another holder."""
    make_folders(path.parent)
    handle = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _give_to_folder_owner(handle, path.parent)
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def update_json(path: Path, change: Callable[[Document], Document], *, mode: int) -> Document:
    """Reads (an empty object when missing), changes and writes under the lock; returns the new."""
    with locked(path):
        document = change(read_json(path, private=mode & 0o077 == 0) or {})
        text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False)
        write_bytes(path, text.encode() + b"\n", mode)
    return document


def stamp(path: Path) -> tuple[int, int, int, int] | None:
    """What changes with the file: (inode, modification time ns, size, mode)."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size, status.st_mode


Stamp = tuple[int, int, int, int]
T = TypeVar("T")


class Watched(Generic[T]):
    """What a private JSON file says, read again when another process has changed it.

    A file that is gone, cannot be read, or that `parse` refuses leaves what was read before in
    force, and is tried again.
    """

    def __init__(self, path: Path, parse: Callable[[Document, Path], T]) -> None:
        self._path = path
        self._parse = parse
        self._stamp: Stamp | None = None

    def changed(self) -> T | None:
        """The new content, or None while the file is as it was; raises only PrivateFileError."""
        try:
            now = stamp(self._path)
            if now == self._stamp:
                return None
            if now is None:
                raise PrivateFileError(f"{self._path}: is gone; restore it from a backup")
            content = self._parse(read_json(self._path, private=True) or {}, self._path)
        except PrivateFileError:
            raise
        except OSError as error:
            raise PrivateFileError(f"{self._path}: {error.strerror}") from error
        except Exception:
            # the cause is left out: its text could hold what the file holds
            raise PrivateFileError(
                f"{self._path}: cannot be read; restore it from a backup"
            ) from None
        self._stamp = now
        return content
