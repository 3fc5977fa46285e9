"""Whether an archive needs migrations, and running them in a process of their own."""

import logging
import sqlite3
import subprocess
import sys
from pathlib import Path

from collector.archive.schema import APPLICATION_ID, SCHEMA_VERSION, SchemaError, version

log = logging.getLogger(__name__)


def is_outdated(path: Path) -> bool:
    """True for an archive of an older version; False for a current, a newer or no archive."""
    if not path.exists() or not path.stat().st_size:
        return False
    connection = sqlite3.connect(path, timeout=10)
    try:
        (owner,) = connection.execute("PRAGMA application_id").fetchone()
        return bool(owner == APPLICATION_ID and version(connection) < SCHEMA_VERSION)
    finally:
        connection.close()


def bring_up_to_date(path: Path) -> bool:
    """Migrates an older archive; False when there was nothing to do, SchemaError on failure.

    Takes as long as the archive is large: the ledger and the hourly tables are rewritten, frames
    are not.
    """
    if not is_outdated(path):
        return False
    log.info("%s is of an older version and is brought up to date", path)
    done = subprocess.run(
        [sys.executable, "-m", "collector.archive.migrations", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SchemaError(f"the archive could not be brought up to date: {done.stderr.strip()}")
    log.info("%s", done.stdout.strip())
    return True
