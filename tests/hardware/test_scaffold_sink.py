"""`make new-sink`: what it writes is whole, and fails until it is filled in."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from hardware.scaffold import ROOT, scaffold

ROOMS = ("collector", "protocol", "simulator", "hardware", "docs/sinks", "tests/collector/sinks")


def run_tests(root: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
            "-k", "paper and not killed", "tests/collector/sinks", *more,
        ],
        cwd=root,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )  # fmt: skip


def test_a_new_sink_fails_until_it_is_filled_in(tmp_path: Path) -> None:
    ignore = shutil.ignore_patterns("__pycache__")
    for room in ROOMS:
        shutil.copytree(ROOT / room, tmp_path / room, ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    touched = scaffold("sink", "paper_net", tmp_path)
    assert len(touched) == 6
    before = run_tests(tmp_path, "--deselect", "tests/collector/sinks/test_contract.py")
    assert before.returncode == 1
    assert "test_nothing_is_left_to_fill_in" in before.stdout

    sink = tmp_path / "collector/sinks/paper_net.py"
    text = (
        sink.read_text().replace("NAMES.get(channel.key)", "channel.key").replace("Fill in", "Done")
    )
    sink.write_text(text.replace("idempotent=False", "idempotent=True"))
    server = tmp_path / "simulator/upstream/paper_net.py"
    text = server.read_text().replace("Fill in", "Done")
    server.write_text(text.replace('row["time"]] += 1', 'row["time"]] = 1'))
    page = tmp_path / "docs/sinks/paper_net.md"
    page.write_text(
        page.read_text()
        .replace("Fill in", "Done")
        .replace("<!-- names -->", "Every quantity can be sent")
    )
    after = run_tests(tmp_path)
    assert after.returncode == 0, after.stdout[-3000:]
