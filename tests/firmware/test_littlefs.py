"""The spool on a real littlefs (the VM's), over a flash chip that loses power."""

from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).parent.parent / "device" / "littlefs_cuts.py"
EVERY = 12


def test_a_power_cut_inside_littlefs_loses_nothing_that_was_durable(vm: Any) -> None:
    result = vm(SCRIPT, "1", str(EVERY), heap="4M", timeout_s=120)
    assert result.returncode == 0, result.stdout + result.stderr
    cuts = int(result.stdout.split()[0])
    assert cuts > 100
