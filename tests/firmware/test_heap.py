"""The whole street node, with all its drivers and TLS at hand, lives in its heap."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmarks.firmware_soak import MOSQUITTO_PATH, compile_for_vm, run_on_vm, soak, start_in_place

IN_USE_MAX_BYTES = 122_000  # what a command or an update loads comes on top
SETTINGS = json.dumps({"broker_host": "localhost", "broker_tls": 1})


@pytest.mark.parametrize(("heap", "in_place"), [("128K", True), ("200K", False)])
def test_the_street_node_starts_in_its_heap(
    vm: Any, tmp_path: Path, heap: str, in_place: bool
) -> None:
    compile_for_vm(tmp_path / "mpy")
    (tmp_path / "ca.der").write_bytes(b"\x30\x00")
    script: list[str | Path] = [tmp_path / "mpy" / "run.py"]
    if in_place:
        script = start_in_place(tmp_path)
    (line,) = run_on_vm(tmp_path / "mpy", tmp_path, [*script, SETTINGS, "0", "1"], heap, 60)
    assert line["hour"] == 0


@pytest.mark.integration
@pytest.mark.usefixtures("vm")
def test_the_street_node_reports_over_tls_in_its_heap() -> None:
    if shutil.which("mosquitto", path=MOSQUITTO_PATH) is None:
        pytest.skip("mosquitto is not installed: apt install mosquitto")
    last = soak("128K", 1, 1, in_place=True, timeout_s=240)[-1]
    assert last["connects"] == 1
    assert last["issued"] >= 12
    assert last["settled"] >= last["issued"] - 1
    assert last["heap_bytes"] <= IN_USE_MAX_BYTES
