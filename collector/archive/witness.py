"""A small file beside the archive that remembers how far it had come.

A backup of the archive that is put back, or a file that was copied without its write-ahead log, is
older than what was acknowledged since. The witness stays where it is, so the archive finds out at
its next start. It follows every commit; only the disk is not waited for each time, so a power cut
may take back its last half minute.
"""

import json
import logging
import os
import sqlite3
from pathlib import Path

from collector.archive import archive, identity
from collector.archive.identity import Identity

log = logging.getLogger(__name__)


class Witness:
    """The collector's id and the newest frame id of what an archive has committed."""

    def __init__(self, path: Path, durable: bool = True) -> None:
        self.path = path
        self._durable = durable
        self._file: int | None = None
        self._failed = False
        self.collector = 0
        self.newest_id = 0
        self._read()

    @classmethod
    def beside(cls, archive: Path | str, durable: bool = True) -> "Witness | None":
        """The witness of an archive; None for one in memory."""
        return None if str(archive) == ":memory:" else cls(Path(f"{archive}.witness"), durable)

    def is_ahead(self, collector: int, newest_id: int) -> bool:
        """True when this archive has held more than it does now."""
        return self.collector == collector and self.newest_id > newest_id

    def follow(self, connection: sqlite3.Connection) -> None:
        """Remembers what is committed now; a failure is logged once, for it loses nothing."""
        collector, newest_id = identity.read(connection).collector, archive.newest_id(connection)
        if (collector, newest_id) == (self.collector, self.newest_id):
            return
        self.collector, self.newest_id = collector, newest_id
        # of one length, so that it is written over in place, within one sector of the disk
        text = f'{{"collector": {collector:>10}, "newest_id": {newest_id:>19}}}\n'
        try:
            if self._file is None:
                self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
                os.ftruncate(self._file, len(text))
            os.pwrite(self._file, text.encode(), 0)
            self._failed = False
        except OSError as error:
            if not self._failed:
                log.warning("%s: %s", self.path, error.strerror)
            self._failed = True

    def sync(self) -> None:
        """Waits until the disk has it."""
        if self._file is None or not self._durable:
            return
        try:
            os.fsync(self._file)
        except OSError as error:
            log.warning("%s: %s", self.path, error.strerror)

    def close(self) -> None:
        """Closes the file, with all of it on the disk."""
        self.sync()
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _read(self) -> None:
        try:
            content = json.loads(self.path.read_text())
            self.collector = int(content["collector"])
            self.newest_id = int(content["newest_id"])
        except (OSError, ValueError, KeyError, TypeError):
            self.collector = self.newest_id = 0


def identify(connection: sqlite3.Connection, witness: Witness | None) -> tuple[Identity, bool]:
    """What an archive is at a start; another, and True, when it is older than its witness."""
    known = identity.read(connection)
    if witness is None:
        return known, False
    if witness.is_ahead(known.collector, archive.newest_id(connection)):
        log.warning(
            "the archive is older than what this collector acknowledged: it was restored, or lost "
            "its -wal file. It goes on under another id, and boards send again what they have"
        )
        known = known.another()
    elif witness.newest_id and archive.is_unused(connection):
        log.warning(
            "the archive that was here is gone, with %d frames; a new one begins, and boards send "
            "again what they have",
            witness.newest_id,
        )
        known = Identity(known.collector, (witness.collector,))
    else:
        return known, False
    identity.put(connection, known)
    archive.raise_ids_above(connection, witness.newest_id)
    return known, True
