"""The board's half on MicroPython: equal bytes, no allocation, little heap."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import protocol_heap as heap
from tests.protocol import wasm

TESTS = Path(__file__).parent.parent
VECTORS = TESTS / "vectors"
VmRun = Callable[..., subprocess.CompletedProcess[str]]


def verdict(run: subprocess.CompletedProcess[str]) -> tuple[int, int]:
    """(failed, of) that a device script prints last."""
    assert run.returncode == 0, run.stdout + run.stderr
    words = run.stdout.strip().splitlines()[-1].split()
    assert words[::2] == ["failed", "of"], run.stdout + run.stderr
    failed, count = int(words[1]), int(words[3])
    assert failed == 0, run.stdout
    return failed, count


def test_vectors_on_the_vm(vm: VmRun) -> None:
    run = vm(TESTS / "device/protocol_vectors.py", str(VECTORS), heap="16M")
    assert verdict(run)[1] > 200


def test_encoding_allocates_nothing(vm: VmRun) -> None:
    run = vm(TESTS / "device/protocol_heap.py", str(VECTORS), heap="16M")
    assert verdict(run)[1] > 50


def test_encoder_and_buffers_are_small(vm: VmRun, tmp_path: Path) -> None:
    measured = heap.measure(tmp_path)
    assert measured["encoder"] + measured["buffers"] <= 8192, measured


@pytest.fixture(scope="session")
def wasm_run() -> wasm.Run:
    """Runs a device script on the 32-bit VM; skips when node or the package is not there."""
    missing = wasm.missing()
    if missing:
        pytest.skip(missing)
    return wasm.run


def test_vectors_on_32_bits(wasm_run: wasm.Run) -> None:
    assert verdict(wasm_run("protocol_vectors.py"))[1] > 200


def test_encoding_allocates_nothing_on_32_bits(wasm_run: wasm.Run) -> None:
    assert verdict(wasm_run("protocol_heap.py"))[1] > 50
