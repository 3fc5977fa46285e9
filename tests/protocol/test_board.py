"""The board's half on MicroPython, as sources and as boards get it: bytes, allocation, heap."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import protocol_heap as heap
from tests.protocol import stage, wasm

TESTS = Path(__file__).parent.parent
VECTORS = TESTS / "vectors"
HEAP_MAX_BYTES = 10_900
VmRun = Callable[..., subprocess.CompletedProcess[str]]


def verdict(run: subprocess.CompletedProcess[str]) -> tuple[int, int]:
    """(failed, of) that a device script prints last."""
    assert run.returncode == 0, run.stdout + run.stderr
    words = run.stdout.strip().splitlines()[-1].split()
    assert words[::2] == ["failed", "of"], run.stdout + run.stderr
    failed, count = int(words[1]), int(words[3])
    assert failed == 0, run.stdout
    return failed, count


@pytest.fixture(scope="session", params=["sources", "shipped"])
def staged(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the protocol, its scripts and vectors: as written, and as compiled."""
    fill = stage.sources if request.param == "sources" else stage.shipped
    return fill(tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="session")
def wasm_run() -> wasm.Run:
    """Runs a device script on the 32-bit VM; skips when node or the package is not there."""
    missing = wasm.missing()
    if missing:
        pytest.skip(missing)
    return wasm.run


def test_vectors_on_the_vm(vm: VmRun, staged: Path) -> None:
    run = vm(staged / stage.DEVICE[0], str(VECTORS), heap="16M", path=[staged])
    assert verdict(run)[1] > 200


def test_encoding_allocates_nothing(vm: VmRun, staged: Path) -> None:
    run = vm(staged / stage.DEVICE[1], str(VECTORS), heap="16M", path=[staged])
    assert verdict(run)[1] > 50


def test_vectors_on_32_bits(wasm_run: wasm.Run, staged: Path) -> None:
    assert verdict(wasm_run(staged, stage.DEVICE[0]))[1] > 200


def test_encoding_allocates_nothing_on_32_bits(wasm_run: wasm.Run, staged: Path) -> None:
    assert verdict(wasm_run(staged, stage.DEVICE[1]))[1] > 50


def test_module_and_buffers_are_small(wasm_run: wasm.Run, tmp_path: Path) -> None:
    parts = heap.on_32_bits(heap.stage(tmp_path))
    assert parts["encoder"] + parts["frame_buffer"] + parts["batch"] <= 8192, parts
    assert heap.encoding_bytes(parts) <= HEAP_MAX_BYTES, parts
