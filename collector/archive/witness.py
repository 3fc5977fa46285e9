"""A small file beside the archive that remembers how far it had come.

A backup of the archive that is put back is older than what was acknowledged since. The witness
stays where it is, so the archive finds out at its next start.
"""

import json
import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)


class Witness:
    """What the archive's newest snapshot was: the collector's id and the newest frame id."""

    def __init__(self, path: Path, durable: bool = True) -> None:
        self.path = path
        self._fresh = path.with_name(path.name + ".new")
        self._durable = durable
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

    def write(self, collector: int, newest_id: int) -> None:
        """Remembers a snapshot that is committed; a failure is logged, for it loses nothing."""
        self.collector, self.newest_id = collector, newest_id
        text = json.dumps({"collector": collector, "newest_id": newest_id})
        try:
            file = os.open(self._fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            try:
                os.write(file, text.encode())
                if self._durable:
                    os.fsync(file)
            finally:
                os.close(file)
            self._fresh.replace(self.path)
        except OSError as error:
            log.warning("%s: %s", self.path, error.strerror)

    def _read(self) -> None:
        try:
            content = json.loads(self.path.read_text())
            self.collector = int(content["collector"])
            self.newest_id = int(content["newest_id"])
        except (OSError, ValueError, KeyError, TypeError):
            self.collector = self.newest_id = 0
