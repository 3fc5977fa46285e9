"""The MQTT transport on the MicroPython VM against a real mosquitto, through faults."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from simulator import vm as micropython
from tests.firmware.boards import BOOT
from tests.firmware.pier import Pier

SCRIPT = Path(__file__).parent.parent / "device" / "mqtt_node.py"
QUICK = {
    "sample_interval_s": 1,
    "report_interval_s": 1,
    "spool_sync_s": 0,
    "broker_host": "127.0.0.1",
}


class Run:
    """A node on the VM in the background; ended() gives its events and its summary."""

    def __init__(self, folder: Path, seconds: int, *options: str, **settings: Any) -> None:
        executable = micropython.find()
        assert executable is not None
        arguments = [json.dumps({**QUICK, **settings}), str(seconds), *options]
        self.process = subprocess.Popen(
            micropython.command(executable, SCRIPT, *arguments, heap="512K"),
            env=micropython.environment(),
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ended(self) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        output, errors = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, errors
        lines = [json.loads(line) for line in output.splitlines()]
        return lines[:-1], lines[-1]


@pytest.fixture
def node(vm: Any, tmp_path: Path) -> Iterator[Any]:
    """Starts nodes on the VM in a folder of their own, and ends them with the test."""
    runs: list[Run] = []

    def start(seconds: int, *options: str, **settings: Any) -> Run:
        runs.append(Run(tmp_path, seconds, *options, **settings))
        return runs[-1]

    yield start
    for run in runs:
        run.process.kill()
        run.process.wait()


def test_frames_go_up_and_acks_and_time_come_down(node: Any, mosquitto: Any) -> None:
    broker = mosquitto()
    with Pier(broker.port) as pier:
        before_ms = int(time.time() * 1000)
        events, summary = node(4, broker_port=broker.port).ended()
    assert [event["connected"] for event in events][-1] is True
    assert summary["rows"] >= 3
    assert pier.seqs(BOOT + 1) == set(range(1, summary["issued"] + 1))
    assert summary["settled"] >= summary["issued"] - 1
    assert summary["refused"] == 0
    assert summary["synchronised"]
    assert summary["error_ms"] < 500
    assert abs(summary["unix_ms"] - before_ms - 4000) < 1500
