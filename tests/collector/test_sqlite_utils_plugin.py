"""An archive opened with sqlite-utils shows its readings as a view."""

import json
import os
import subprocess
import sys

from tests.collector.house import FRAMES, ROWS, House


def test_sqlite_utils_shows_readings(house: House) -> None:
    archive = house.folder / "data" / "archive.db"
    query = "select quantity, count(*) as n, max(value) as top from reading group by 1 order by 1"
    done = subprocess.run(
        [sys.executable, "-m", "sqlite_utils", "query", str(archive), query],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    rows = {row["quantity"]: (row["n"], row["top"]) for row in json.loads(done.stdout)}
    assert rows["pm2_5"] == (FRAMES * ROWS, 19.0)
    assert rows["humidity"] == (FRAMES * ROWS, 50.0)
