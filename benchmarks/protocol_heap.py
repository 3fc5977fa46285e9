"""How much heap the board's half takes on MicroPython, from .mpy as boards load them."""

import re
import subprocess
from itertools import pairwise
from pathlib import Path

from hardware import cross
from simulator import vm
from tests.protocol import wasm

PARTS = {
    "builder": "import protocol.mac, protocol.builder",
    "encoder": "import protocol.samples",
    "frame_buffer": "from protocol.builder import FrameBuilder\nfrom protocol.mac import Mac\n"
    "builder = FrameBuilder(1024, Mac(bytes(32)))",
    "batch": "from protocol.samples import Batch, Channel\n"
    "batch = Batch([Channel(q) for q in (1, 2, 3, 16, 17, 18, 24, 32)], 12)",
    "downlink": "import protocol.frame, protocol.downlink, protocol.cobs",
}
ENCODING = ("builder", "encoder", "frame_buffer", "batch")
# Parts of their own: the WebAssembly VM collects when the part that asked for it has ended.
MARK = (
    "gc.collect()\n",
    "gc.collect()\n",
    "print('heap', gc.mem_alloc())\nmicropython.qstr_info()\n",
)


# Names share a pool that doubles when it is full: an open one with room, so that no part pays for
# all of it. What a part's names take of it is added by their number; not counted are names of
# one byte that the WebAssembly port makes when it reads files.
SETTLE = """import gc, micropython
builder = batch = protocol = Batch = Channel = FrameBuilder = Mac = None
class Names:
 pass
def settle():
 for number in range(700):
  setattr(Names, "a name %d" % number if number > 64 else chr(number + 1), 0)
settle()
Names = settle = None
"""


def stage(folder: Path) -> Path:
    """Fill folder with the compiled files and a script that prints the heap part by part."""
    files = [path for path in cross.board_files() if path.parts[0] == "protocol"]
    cross.compile_files(files, folder, "x64")
    parts = [SETTLE]
    program = cross.leaner()
    for code in ("pass", "pass", *PARTS.values()):
        whole = program.client(code) if "from " in code else code
        parts += [f"{whole}\n", *MARK]
    (folder / "heap.py").write_text("# ---\n".join(parts), encoding="utf-8")
    return folder


def on_64_bits(folder: Path) -> dict[str, int]:
    """Bytes of heap by part on the VM of this machine; needs stage()."""
    executable = vm.find()
    assert executable is not None
    run = subprocess.run(
        [str(executable), "-X", "heapsize=256K", str(folder / "heap.py")],
        env={"MICROPYPATH": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    return _differences(run.stdout, 10)


def on_32_bits(folder: Path) -> dict[str, int]:
    """The same on the WebAssembly VM, whose objects are those of a board."""
    run = wasm.run(folder, "heap.py")
    if run.returncode:
        raise RuntimeError(run.stdout + run.stderr)
    return _differences(run.stdout, 6)


def encoding_bytes(parts: dict[str, int]) -> int:
    """All that a board needs to encode and sign: modules, keys, frame of 1,024 B, batch 12 x 8."""
    return sum(parts[name] for name in ENCODING)


def _differences(output: str, entry_bytes: int) -> dict[str, int]:
    """Bytes by part from what the script prints."""
    heap = [int(number) for number in re.findall(r"heap (\d+)", output)]
    names = [int(number) for number in re.findall(r"n_qstr=(\d+)", output)]
    marks = [h + entry_bytes * n for h, n in zip(heap, names, strict=True)][1:]
    steps = [after - before for before, after in pairwise(marks)]
    return dict(zip(PARTS, steps, strict=True))
