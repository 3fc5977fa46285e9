"""A collector in one file: archive as it is now, and sealed with a passphrase what must be secret.

The file is a tar with `manifest.json`, `archive.db` and `private.sealed` (configuration folder,
nodes and keys). It is made while the collector runs. A restored archive takes a new collector id:
boards then see that another memory acknowledges, and send again what they still hold.
"""

import base64
import io
import json
import sqlite3
import tarfile
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collector.archive import archive, identity, schema
from collector.keys import KeyRing
from collector.nodes import NodeRegistry
from collector.operate.backup_log import note_backup
from collector.operate.broker_config import BROKER_READS, let_broker_read
from collector.operate.sealing import seal, unseal
from collector.ownership import acting_as_owner, give_back, make_data_folder, make_folders
from collector.private_file import PrivateFileError, write_bytes
from collector.settings import Config
from collector.single import AlreadyRunning, FolderLock

MANIFEST, ARCHIVE, SEALED = "manifest.json", "archive.db", "private.sealed"
FORMAT = 1
ASIDE = ".before-"
FOLDER_MODE = 0o751
USUAL_MODES = {
    **dict.fromkeys(("collector.toml", *BROKER_READS), 0o640),
    **dict.fromkeys(("mosquitto.conf", "ca.crt", "server.crt"), 0o644),
}
"""For backups that do not say; all else is for its owner alone."""
FILES_MAX = 200
FILE_BYTES_MAX = 1_000_000
PAGES_AT_ONCE = 2_000

Progress = Callable[[int, int], None]


class BackupError(RuntimeError):
    """A backup that cannot be made or used; the message says why."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore brought back."""

    made_ms: int
    frames: int
    nodes: int
    files: list[Path]


def make_backup(
    config: Config, target: Path, passphrase: str, progress: Progress | None = None
) -> int:
    """Writes the backup; returns its size in bytes. Raises BackupError."""
    if target.exists():
        raise BackupError(f"{target} exists; give the name of a new file")
    if not target.absolute().parent.is_dir():
        raise BackupError(f"no folder {target.parent}; make it, or give another")
    unfinished = target.with_name(target.name + ".unfinished")
    copy = target.with_name(target.name + ".archive")
    now_ms = time.time_ns() // 1_000_000
    try:
        with _private(unfinished) as raw, tarfile.open(fileobj=raw, mode="w") as tar:
            newest = _copy_archive(config.collector.archive, copy, progress)
            manifest = {"format": FORMAT, "made_ms": now_ms, "newest_frame": newest}
            _add(tar, MANIFEST, json.dumps(manifest).encode())
            _add(tar, SEALED, seal(_private_files(config), passphrase))
            if copy.exists():
                tar.add(copy, ARCHIVE)
        unfinished.replace(target)
    except OSError as error:
        raise BackupError(f"{error.filename or target}: {error.strerror}") from error
    except sqlite3.Error as error:
        raise BackupError(
            f"{config.collector.archive} or its copy: {error}; `osn-collector doctor` looks closer"
        ) from error
    except PrivateFileError as error:
        raise BackupError(str(error)) from error
    finally:
        unfinished.unlink(missing_ok=True)
        copy.unlink(missing_ok=True)
    note_backup(config, target, now_ms)
    return target.stat().st_size


def restore_backup(
    file: Path, config_file: Path, passphrase: str, *, replace: bool = False
) -> Restored:
    """Puts a backup in place; everything is checked before anything is written.

    Without `replace` a place that holds an archive or another configuration is refused; with it
    what was there is kept under other names. Raises BackupError.
    """
    try:
        with tarfile.open(file) as tar:
            manifest = json.loads(_read(tar, MANIFEST))
            if manifest.get("format") != FORMAT:
                raise BackupError(f"{file}: made by another version of this program")
            private = json.loads(unseal(_read(tar, SEALED), passphrase))
            config_text = base64.b64decode(private["config"]["collector.toml"])
            data = _data_folder(config_text, config_file)
            _check_free(config_file, config_text, data, replace=replace)
            make_folders(config_file.absolute().parent)
            make_data_folder(data, config_file)
            give_back(data)
            fresh = data / "archive.db.restoring"
            with acting_as_owner(data):
                lock = FolderLock(data)
                _unpack_archive(tar, fresh)
    except tarfile.ReadError as error:
        raise BackupError(f"{file}: not a backup, or cut off") from error
    except (OSError, tarfile.TarError, KeyError, ValueError, sqlite3.Error) as error:
        raise BackupError(f"{file}: {error}") from error
    except AlreadyRunning as error:
        raise BackupError(f"{error}; stop the collector first") from error
    try:
        return _put(private, manifest, fresh, config_file, data)
    finally:
        lock.release()


def _put(
    private: dict[str, Any], manifest: dict[str, Any], fresh: Path, config_file: Path, data: Path
) -> Restored:
    """Sets aside what is there and puts the backup's files in its place."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    files = _put_config(private, config_file, stamp)
    with acting_as_owner(data):
        files += _put_data(private["data"], data, stamp)
        frames = _put_archive(fresh, data, stamp)
    if frames is not None:
        files.append(data / "archive.db")
    nodes = json.loads(base64.b64decode(private["data"].get("nodes.json", "e30="))).get("nodes", [])
    return Restored(manifest["made_ms"], frames or 0, len(nodes), files)


def _put_data(files: dict[str, str], data: Path, stamp: str) -> list[Path]:
    written = []
    for name in ("nodes.json", "keys.json"):
        _set_aside(data / name, stamp)
        if name in files:
            write_bytes(data / name, base64.b64decode(files[name]), 0o600)
            written.append(data / name)
    return written


def _put_archive(fresh: Path, data: Path, stamp: str) -> int | None:
    """How many frames the archive holds that is in place now; None when there is none."""
    for leftover in sorted(data.glob("archive.db*")):
        if leftover != fresh and ASIDE not in leftover.name:
            _set_aside(leftover, stamp)
    if not fresh.exists():
        return None
    frames = _renew(fresh)
    fresh.replace(data / "archive.db")
    return frames


@contextmanager
def _private(path: Path) -> Iterator[io.BufferedWriter]:
    path.unlink(missing_ok=True)
    path.touch(0o600)
    with path.open("wb") as raw:
        yield raw


def _copy_archive(source: Path, copy: Path, progress: Progress | None) -> int:
    """A consistent copy while the collector writes; returns its newest frame's id."""
    if not source.exists():
        return 0
    copy.unlink(missing_ok=True)
    copy.touch(0o600)
    with closing(archive.open_reader(source)) as reader, closing(sqlite3.connect(copy)) as writer:

        def tell(status: int, remaining: int, total: int) -> None:
            if progress is not None:
                progress(total - remaining, total)

        reader.execute("BEGIN")
        reader.backup(writer, pages=PAGES_AT_ONCE, progress=tell)
        writer.execute("PRAGMA journal_mode = DELETE")
        return archive.newest_id(writer)


def _private_files(config: Config) -> bytes:
    folder = config.file.parent
    found: dict[str, str] = {"collector.toml": _base64(config.file)}
    modes: dict[str, int] = {"collector.toml": _mode(config.file)}
    for path in sorted(folder.rglob("*")):
        inside = path.is_file() and not path.is_symlink()
        ours = config.collector.data in path.parents or path.name.startswith(".")
        if not inside or ours or path == config.file or path.stat().st_size > FILE_BYTES_MAX:
            continue
        if len(found) >= FILES_MAX:
            raise BackupError(
                f"{folder}: more than {FILES_MAX} files; is this a folder of its own?"
            )
        name = str(path.relative_to(folder))
        found[name], modes[name] = _base64(path), _mode(path)
    NodeRegistry(config.collector.nodes)
    KeyRing(config.collector.keys)
    data = {
        path.name: _base64(path)
        for path in (config.collector.nodes, config.collector.keys)
        if path.exists()
    }
    return json.dumps({"config": found, "modes": modes, "data": data}).encode()


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    info.mode = 0o600
    info.mtime = int(time.time())
    tar.addfile(info, io.BytesIO(content))


def _read(tar: tarfile.TarFile, name: str) -> bytes:
    member = tar.extractfile(name)
    if member is None:
        raise BackupError(f"{name} is missing: not a backup of this program")
    return member.read(FILES_MAX * FILE_BYTES_MAX)


def _data_folder(config_text: bytes, config_file: Path) -> Path:
    data = tomllib.loads(config_text.decode()).get("collector", {}).get("data")
    return config_file.parent / Path(data or "/var/lib/osn-collector")


def _check_free(config_file: Path, config_text: bytes, data: Path, *, replace: bool) -> None:
    if replace:
        return
    if (data / "archive.db").exists():
        raise BackupError(f"{data} holds an archive; --replace sets it aside")
    if config_file.exists() and not _holds(config_file, config_text):
        raise BackupError(f"{config_file} is another configuration; --replace sets it aside")


def _holds(file: Path, content: bytes) -> bool:
    with file.open("rb") as opened:
        return opened.read(len(content) + 1) == content


def _unpack_archive(tar: tarfile.TarFile, fresh: Path) -> None:
    fresh.unlink(missing_ok=True)
    if ARCHIVE not in tar.getnames():
        return
    member = tar.extractfile(ARCHIVE)
    assert member is not None
    fresh.touch(0o600)
    with fresh.open("wb") as output:
        while block := member.read(1 << 20):
            output.write(block)
    with closing(sqlite3.connect(fresh)) as connection:
        found = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != ("ok",):
            fresh.unlink()
            raise BackupError(f"the archive in it is damaged: {found[0]}")
        if schema.version(connection) > schema.SCHEMA_VERSION:
            fresh.unlink()
            raise BackupError("it was made by a newer version of this program; install that one")


def _put_config(private: dict[str, Any], config_file: Path, stamp: str) -> list[Path]:
    written = []
    modes = private.get("modes", {})
    for name, text in private["config"].items():
        relative = Path(name)
        if relative.is_absolute() or ".." in relative.parts:
            raise BackupError(f"{name}: a backup names files within its folder only")
        path = config_file if name == "collector.toml" else config_file.parent / relative
        content = base64.b64decode(text)
        if path.exists() and path.read_bytes() == content:
            continue
        _set_aside(path, stamp)
        make_folders(path.parent, FOLDER_MODE)
        write_bytes(path, content, int(modes.get(name, USUAL_MODES.get(path.name, 0o600))) & 0o644)
        written.append(path)
    for folder in {path.parent for path in written if path.name in BROKER_READS}:
        let_broker_read(folder)
    return written


def _set_aside(path: Path, stamp: str) -> None:
    if path.exists():
        path.rename(path.with_name(f"{path.name}{ASIDE}{stamp}"))


def _renew(path: Path) -> int:
    """Gives a restored archive its new collector id; returns how many frames it holds."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        identity.put(connection, identity.read(connection).another())
        connection.execute("COMMIT")
        (frames,) = connection.execute("SELECT count(*) FROM frame").fetchone()
        return int(frames)
