"""Sound does not leave: by the code's structure, and by running it."""

import ast
import builtins
import os
import random
import socket
import struct
from array import array
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from firmware.noise.bands import Bands
from firmware.noise.stream import BUFFER_MS, DMA_BYTES, DMA_MS
from protocol.wire import Q_OK
from tests.firmware.noise.bench import Bench

ROOT = Path(__file__).parents[3]
NOISE = sorted((ROOT / "firmware/noise").glob("*.py"))
MAY_IMPORT = {"array", "math", "micropython", "errno", "typing", "collections.abc"}
OURS = ("firmware.noise", "firmware.sensors.bus", "firmware.types", "protocol.")
WAYS_OUT = {"open", "print", "exec", "eval", "__import__", "compile", "write", "send", "sendall",
            "sendto", "dump", "dumps", "publish", "set_blob", "memory", "connect"}  # fmt: skip
BUFFERS_MAX_MS = 200


@pytest.mark.parametrize("path", NOISE, ids=lambda path: path.stem)
def test_the_meter_imports_nothing_that_writes_and_calls_no_way_out(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        elif isinstance(node, ast.Call):
            called = node.func
            name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
            assert name not in WAYS_OUT, f"{path.name}:{node.lineno} calls {name}()"
            continue
        else:
            continue
        for name in names:
            ours = name.startswith(OURS) or name in ("protocol", "firmware.noise.plain")
            assert ours or name in MAY_IMPORT, f"{path.name} imports {name}"


def test_nobody_else_in_the_firmware_reaches_for_the_sound() -> None:
    """The buffers are private names of one module; no other file of the board's names them."""
    private = {"_buffers", "_blocks"}
    for path in (ROOT / "firmware").rglob("*.py"):
        if path.parent.name == "noise" and path.stem == "stream":
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert not private & attributes, path
        if path.parent.name != "noise":
            assert "readinto" not in attributes or "i2s" not in path.read_text(encoding="utf-8"), (
                path
            )


def test_all_buffers_together_hold_less_than_200_ms() -> None:
    assert pytest.approx(DMA_MS, abs=1) == DMA_BYTES / 8 / 48
    assert DMA_MS + 2 * BUFFER_MS < BUFFERS_MAX_MS


def arrays_of(thing: Any, seen: set[int]) -> list[Any]:
    """Everything array-like that an object of the meter's holds, however deep."""
    if id(thing) in seen:
        return []
    seen.add(id(thing))
    if isinstance(thing, array | bytearray | memoryview):
        return [thing]
    if isinstance(thing, list | tuple):
        return [found for part in thing for found in arrays_of(part, seen)]
    if type(thing).__module__.startswith("firmware.noise"):
        return [found for part in vars(thing).values() for found in arrays_of(part, seen)]
    return []


class Marked:
    """Sound in which every sample is different and can be recognised."""

    def __init__(self) -> None:
        self.codes = np.random.default_rng(8).integers(-(1 << 21), 1 << 21, 48_000)

    def samples(self, first: int, count: int) -> Any:
        return self.codes[(first + np.arange(count)) % len(self.codes)] / (1 << 23)


def test_a_running_meter_opens_nothing_and_gives_no_sample_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = Marked()
    bench = Bench(source=source, options={"bands": "z", "histogram": True})
    bench.period(3000)

    def forbidden(*_: Any, **__: Any) -> None:
        raise AssertionError("the meter reached for the outside")

    with monkeypatch.context() as patch:
        patch.setattr(builtins, "open", forbidden)
        patch.setattr(builtins, "print", forbidden)
        patch.setattr(os, "open", forbidden)
        patch.setattr(os, "write", forbidden)
        patch.setattr(socket, "socket", forbidden)
        period = bench.period(4000)
    assert period.quality == Q_OK
    given = len(period.levels) + sum(len(vector) for vector in period.vectors)
    assert given < 300, "a second of sound is 48,000 samples; its numbers are few"
    levels = {round(value * 10) for value in period.levels.values()}
    assert not levels & set(source.codes[:4800].tolist()) - set(range(-2000, 2000))


def test_older_sound_is_overwritten() -> None:
    """What a second ago could be heard is nowhere in the meter's memory any more."""
    source = Marked()
    bench = Bench(source=source, options={"bands": "z"})
    bench.run(2500)
    memory = b"".join(bytes(found) for found in arrays_of(bench.meter, set()))
    now = bench.now_ms * 48
    recent = source.samples(now - 48 * 40, 48 * 20) * (1 << 23)
    older = source.samples(now - 48 * 700, 48 * 400) * (1 << 23)

    def kept(codes: Any) -> int:
        pairs = zip(codes[:-1:4], codes[1::4], strict=False)
        return sum(struct.pack("<ii", int(a) << 8, int(b) << 8) in memory for a, b in pairs)

    assert kept(recent) > 200
    assert kept(older) == 0


def test_nothing_finer_than_a_second_is_the_default() -> None:
    from firmware.setting_rules import TABLE

    (line,) = [row for row in TABLE.splitlines() if row.startswith("sample_interval_s ")]
    assert int(line.split()[3]) >= 1


def test_the_low_tier_keeps_sums_not_sound() -> None:
    """No array of the spectrum's holds more than 200 ms of any tier's samples in time order."""
    from firmware.noise import spectrum_reference
    from firmware.noise.microphones import FLAT

    bands = Bands(spectrum_reference, FLAT, False)
    randomness = random.Random(2)
    lows = []
    for _ in range(60):
        bands.add(array("i", [randomness.randrange(-(1 << 28), 1 << 28) for _ in range(480)]))
        lows.append(list(bands._slow_samples)[:7])
    spectra = {id(bands._slow), id(bands._book)}
    memory = [a for a in arrays_of(bands, set()) if id(a) not in spectra]
    past = {value for group in lows[:-20] for value in group if abs(value) > 1 << 16}
    held = {value for a in memory if not isinstance(a, bytearray) for value in a.tolist()}
    assert len(past & held) <= 1
