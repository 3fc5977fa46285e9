"""The whole street node, with all its drivers and TLS at hand, starts in its heap."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.firmware_soak import compile_for_vm, run_on_vm, start_in_place

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
