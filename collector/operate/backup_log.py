"""Which backups were made, so that a node that leaves can be told where it still is."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from collector.operate.times import show_time
from collector.private_file import PrivateFileError, update_json
from collector.settings import Config

LOG_NAME = "backups.json"
LOGGED_MAX = 1_000


def backups_made(config: Config) -> list[dict[str, Any]]:
    """Where backups went, as far as this collector knows: file and time."""
    try:
        made = json.loads((config.collector.data / LOG_NAME).read_text()).get("backups", [])
    except (OSError, ValueError, AttributeError):
        return []
    return [entry for entry in made if isinstance(entry, dict)]


def note_backup(config: Config, target: Path, now_ms: int) -> None:
    """Remembers a backup; a failure is not one of the backup's."""
    entry = {"file": str(target.resolve()), "made": show_time(now_ms)}

    def add(document: dict[str, Any]) -> dict[str, Any]:
        return {"backups": [*document.get("backups", []), entry][-LOGGED_MAX:]}

    with suppress(OSError, PrivateFileError):
        update_json(config.collector.data / LOG_NAME, add, mode=0o600)
