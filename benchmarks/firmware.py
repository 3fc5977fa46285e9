"""What the firmware costs a board: heap, .mpy size, time, flash, and how fast it is back on line.

    make bench-firmware

heap_peak_bytes and heap_growth_bytes are of the VM's 64-bit objects, after a collection, over
SOAK_HOURS of virtual time of a whole street node with TLS; the largest seen, and the last hour less
the first. The VM has a heap of SOAK_HEAP (128K), and runs the code in place, as from mapped
flash; SOAK_LOADED=1 loads it into the heap, which then wants 200K. Times are of this machine.
"""

import json
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.firmware_soak import soak
from benchmarks.street import street_sensors
from firmware.node import Node
from firmware.settings import Settings
from hardware import boardfile
from hardware.cross import ARCHITECTURES, ROOT, files_for, sizes
from simulator import vm
from simulator.faults.filesystem import MemoryFiles
from tests.firmware import boards

SOAK_HOURS = int(os.environ.get("SOAK_HOURS", "4"))
HEAP = os.environ.get("SOAK_HEAP", "128K")
IN_PLACE = os.environ.get("SOAK_LOADED") is None
DAYS = 14
MINUTES = DAYS * 1440
# Frame bytes and appends a day of each board at its default settings; noise at 1 s rows.
PROFILES = {
    "street": (215, 288, 30),
    "indoor": (150, 288, 30),
    "mobile": (190, 288, 30),
    "classic": (90, 288, 30),
    "noise": (1000, 1440, 7),
}


def fourteen_days() -> tuple[int, int]:
    """(bytes in the spool, frames dropped) of a street node that is cut off for 14 days."""
    hal = boards.MemoryHal(MemoryFiles(capacity_blocks=512))
    hal.transport.accepts = False
    boards.provision(hal.nvs)
    node = Node(hal, {"board": "street"}, Settings(), sensors=street_sensors())  # type: ignore[arg-type]
    node.start()
    for minute in range(1, MINUTES + 1):
        hal.now_ms = minute * 60_000
        node.step()
        node.step()
    node.outbox.sync()
    stored = sum(len(data) for path, data in hal.files.content.items() if "spool/" in path)
    return stored, sum(node.outbox.drops.counts)


def on_the_vm(profile: str) -> dict[str, Any]:
    """Encode and spool times, erases a day and years of one profile."""
    script = ROOT / "tests" / "device" / "bench_node.py"
    done = vm.run(script, *map(str, PROFILES[profile]), heap="16M", timeout_s=120)
    if done.returncode:
        raise RuntimeError(done.stderr)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def mpy_bytes() -> int:
    """What the largest of the boards gets, on the larger of the architectures."""
    largest = 0
    with tempfile.TemporaryDirectory() as folder:
        for architecture in ARCHITECTURES:
            compiled = sizes(Path(folder) / architecture, architecture)
            for name in boardfile.names():
                drivers = [placed.driver for placed in boardfile.load(name).sensors]
                largest = max(largest, sum(compiled[path] for path in files_for(drivers)))
    return largest


def reconnect_s() -> float:
    """From the broker's return to the node's link, on the VM, after 10 s of absence."""
    from tests.integration.conftest import Mosquitto
    from tests.integration.test_firmware_mqtt import Run

    program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    if program is None:
        raise RuntimeError("mosquitto is not installed: apt install mosquitto")
    with tempfile.TemporaryDirectory() as folder:
        broker = Mosquitto(program, Path(folder))
        broker.start()
        started = time.monotonic()
        run = Run(Path(folder), 22, broker_port=broker.port)
        gone = threading.Timer(3, broker.kill)
        gone.start()
        gone.join()
        time.sleep(10)
        broker.start()
        back_ms = (time.monotonic() - started) * 1000
        events, _ = run.ended()
        broker.kill()
    links = [event["at_ms"] for event in events if event["connected"]]
    return round(max(0.0, links[-1] - back_ms) / 1000, 1)


def main() -> None:
    """Measure everything; the last line is JSON."""
    stored, dropped = fourteen_days()
    print(f"{DAYS} days of a street node: {stored} bytes in flash, {dropped} frames dropped")
    measured = {name: on_the_vm(name) for name in PROFILES}
    for name, row in measured.items():
        print(f"{name}: {row['erases_per_day']} erases a day, {row['years']} years")
    every_hours = 1 if SOAK_HOURS < 48 else 24
    timeout_s = 600 + 20 * SOAK_HOURS
    lines = soak(HEAP, SOAK_HOURS, every_hours, in_place=IN_PLACE, timeout_s=timeout_s)
    for line in lines:
        print(line)
    heaps = [line["heap_bytes"] for line in lines]
    result = {
        "heap_peak_bytes": max(heaps),
        "heap_growth_bytes": heaps[-1] - heaps[1],
        "mpy_bytes": mpy_bytes(),
        "encode_us": measured["street"]["encode_us"],
        "spool_us": measured["street"]["spool_us"],
        "reconnect_s": reconnect_s(),
        "spool_bytes_14_days": stored,
        "erases_per_day": measured["street"]["erases_per_day"],
        "flash_years_min": min(row["years"] for row in measured.values()),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
