"""A new sensor: what is written fails until it is filled in, and holds then."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hardware.scaffold import ROOT, ScaffoldError, class_name, scaffold

FOLDERS = (
    "firmware",
    "simulator",
    "protocol",
    "hardware",
    "docs/sensors",
    "tests/firmware/sensors",
)
CHECK = "tests/firmware/sensors/test_thermo.py", "tests/firmware/sensors/test_pages.py"
FILLED = {
    "firmware/sensors/thermo.py": (
        ("ADDRESS = 0x00", "ADDRESS = 0x48"),
        ("IDENTITY, IDENTITY_VALUE = 0x00, 0x00", "IDENTITY, IDENTITY_VALUE = 0x0F, 0x75"),
        ("RESULT_BYTES = 0x00, 0", "RESULT_BYTES = 0x00, 3"),
        ('LIMITS: "tuple[tuple[int, int], ...]" = ()', "LIMITS = ((-4000, 12500),)"),
        (
            "    raise OSError(EIO)\n\n\nclass",
            "    if data[0] ^ data[1] ^ data[2]:\n        raise OSError(EIO)\n"
            "    return ((data[0] << 8 | data[1]) - 10000,)\n\n\nclass",
        ),
        (
            'CHANNELS: "tuple[tuple[int, int | None], ...]" = ()',
            "CHANNELS = ((TEMPERATURE, None),)",
        ),
        ("\nTYPE_CHECKING", "from protocol.quantity import TEMPERATURE\n\nTYPE_CHECKING"),
    ),
    "simulator/devices/thermo.py": (
        ("QUANTITIES: tuple[str, ...] = ()", 'QUANTITIES = ("temperature",)'),
        ('get("address", 0x00)', 'get("address", 0x48)'),
        (
            '        raise OSError(ENODEV, "nothing to say yet")\n',
            '        warmth = self.sense("temperature", now_ms)\n'
            "        if warmth is None:\n"
            '            raise OSError(ENODEV, "nothing to say")\n'
            "        raw = round(warmth * 100) + 10000 + self.random.randint(-1, 1)\n"
            "        return bytes((raw >> 8, raw & 255, raw >> 8 ^ raw & 255))\n",
        ),
        (
            "        if self._last is None",
            '        if self._pointer == 0x0F:\n            return b"\\x75"\n'
            "        if self._last is None",
        ),
    ),
    "tests/firmware/sensors/test_thermo.py": (
        ('EXAMPLE = b""', 'EXAMPLE = b"\\x30\\xd4\\xe4"'),
        ("EXAMPLE_VALUES: tuple[int, ...] = ()", "EXAMPLE_VALUES = (2500,)"),
        ("AIR: dict[str, float] = {}", 'AIR = {"temperature": 21.5}'),
        ("NEAR: dict[str, float] = {}", 'NEAR = {"temperature": 0.02}'),
    ),
    "hardware/parts.toml": (("measures = []", 'measures = ["temperature"]'),),
}


def run(tree: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *CHECK]
    return subprocess.run(
        [*command, "-k", "thermo", "--import-mode=importlib"],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for folder in FOLDERS:
        ignored = shutil.ignore_patterns("__pycache__", "*.svg")
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignored)
    return tmp_path


def test_a_new_sensor_fails_until_it_is_filled_in(tree: Path) -> None:
    touched = scaffold("sensor", "thermo", tree)
    assert {path.relative_to(tree).as_posix() for path in touched} == {
        "firmware/sensors/thermo.py",
        "firmware/sensors/__init__.py",
        "simulator/devices/thermo.py",
        "simulator/devices/__init__.py",
        "tests/firmware/sensors/test_thermo.py",
        "docs/sensors/thermo.md",
        "hardware/parts.toml",
    }
    before = run(tree)
    assert before.returncode == 1, before.stdout + before.stderr
    failed = [line for line in before.stdout.splitlines() if line.startswith("FAILED")]
    assert len(failed) >= 6
    assert sum("test_thermo.py" in line for line in failed) == 5

    for name, changes in FILLED.items():
        text = (tree / name).read_text(encoding="utf-8")
        for old, new in changes:
            assert old in text, (name, old)
            text = text.replace(old, new, 1)
        (tree / name).write_text(text, encoding="utf-8")
    page = tree / "docs/sensors/thermo.md"
    page.write_text(page.read_text(encoding="utf-8").replace("Fill in", "Said"), encoding="utf-8")
    after = run(tree)
    assert after.returncode == 0, after.stdout + after.stderr


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        ("sensor", "SHT85", "no name for a module"),
        ("sensor", "../sht85", "no name for a module"),
        ("sensor", "", "no name for a module"),
        ("sensor", "bme280", "is there already"),
        ("satellite", "sht85", "no kind 'satellite'; there are: sensor"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_is_written(
    tree: Path, kind: str, name: str, words: str
) -> None:
    before = {path: path.read_bytes() for path in tree.rglob("*") if path.is_file()}
    with pytest.raises(ScaffoldError, match=words):
        scaffold(kind, name, tree)
    assert {path: path.read_bytes() for path in tree.rglob("*") if path.is_file()} == before


def test_class_names() -> None:
    assert class_name("sht85") == "Sht85"
    assert class_name("gas_clock") == "GasClock"
