"""How fast frames are decoded in CPython, and encoded on the MicroPython VM."""

import hmac
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from struct import pack

from benchmarks import protocol_heap
from benchmarks.protocol_data import Series
from protocol.compose import compose_data
from protocol.decoder import decode_body, open_frame
from protocol.samples import Channel
from protocol.schema import FRAME
from protocol.wire import VALUES_MAX, FrameError
from simulator import vm
from tests.protocol import wasm

KEY = bytes(range(32))

ENCODE = """
import sys, time
from protocol.builder import FrameBuilder
from protocol.mac import Mac
from protocol.samples import Batch, Channel
rows = {rows}
batch = Batch([Channel(q, 0, e) for q, e in {channels}], len(rows))
builder = FrameBuilder(1024, Mac(bytes(32)))
batch.start(0, {period})
for row in range(len(rows)):
    batch.add_row(row * {period})
    for column in range(len(rows[row])):
        batch.put(column, rows[row][column])
best = 1 << 30
for _ in range(60):
    start = time.ticks_us()
    for _ in range(10):
        builder.begin(1, 1, 2, 3)
        batch.encode(builder)
        builder.finish()
    best = min(best, time.ticks_diff(time.ticks_us(), start))
print(best / 10)
"""


def frames_of(series: Series, count: int, frames: int) -> list[bytes]:
    """Authenticated frames of count rows."""
    channels = [Channel(q, 0, e) for q, e in zip(series.quantities, series.exponents, strict=True)]
    found: list[bytes] = []
    for at in range(0, len(series.rows) - count + 1, count):
        if len(found) == frames:
            break
        rows = series.rows[at : at + count]
        start = at * series.period_ms
        frame = compose_data(
            KEY, 0xA1B2C3D4, 1764000000, at + 1, channels, rows, start, series.period_ms
        )
        found.append(frame)
    return found


def best_s(work: Callable[[], object], seconds: float) -> float:
    """The shortest time of a piece of work within so many seconds of trying."""
    best = 1e9
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def decode_rates(frames: Sequence[bytes], seconds: float) -> tuple[float, float]:
    """Frames a second, tag checked: by the fast decoder, and by construct (bits left packed)."""

    def fast() -> None:
        for frame in frames:
            decode_body(open_frame(frame, KEY))

    def declared() -> None:
        for frame in frames:
            open_frame(frame, KEY)
            FRAME.parse(frame)

    return len(frames) / best_s(fast, seconds), len(frames) / best_s(declared, seconds)


def encode_us(series: Series, count: int) -> float:
    """Microseconds for a frame of count rows on the VM, tag included."""
    channels = list(zip(series.quantities, series.exponents, strict=True))
    source = ENCODE.format(
        rows=[list(row) for row in series.rows[:count]], channels=channels, period=series.period_ms
    )
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "encode.py"
        script.write_text(source, encoding="utf-8")
        run = vm.run(script, heap="1M", timeout_s=60)
    if run.returncode:
        raise subprocess.SubprocessError(run.stderr)
    return float(run.stdout)


def heap() -> dict[int, dict[str, int]]:
    """Bytes of heap by part, on the 64-bit VM and, where it is here, the 32-bit one."""
    with tempfile.TemporaryDirectory() as folder:
        staged = protocol_heap.stage(Path(folder))
        found = {64: protocol_heap.on_64_bits(staged)}
        if not wasm.missing():
            found[32] = protocol_heap.on_32_bits(staged)
        return found


def sealed(body: bytes) -> bytes:
    """A DATA frame around any body."""
    frame = pack("<BBHIII", 0xA1, 0x21, len(body), 1, 1, 1) + body
    return frame + hmac.digest(KEY, frame, "sha256")[:8]


def one_section(heads: bytes, bits: bytes, rows: int, columns: int) -> bytes:
    data = bytes(6) + b"\x01" + bytes([rows, columns]) + heads + bits
    return sealed(b"\x81" + len(data).to_bytes(2, "little") + data)


def hostile() -> Iterator[tuple[str, bytes, int]]:
    """(what, frame, declared values): frames made to take long."""
    ids = range(1, 65)
    constant = b"".join(bytes([q, 15, 0]) for q in ids)
    yield "constant columns", one_section(constant, b"", 255, 64), 255 * 64
    quality = b"".join(bytes([q, 0x4F, 16]) + b"\x01\x05\x01\x00" * 8 + b"\0" for q in ids)
    yield "constant columns with quality runs", one_section(quality, b"", 255, 64), 255 * 64
    rice = b"".join(bytes([q, 0, 0]) for q in ids)
    yield "one bit a value", one_section(rice, bytes(254 * 64 // 8), 255, 64), 255 * 64
    single = b"".join(bytes([q, 0x20, 0, 1, 0]) for q in ids)
    yield "vectors of one band", one_section(single, bytes(254 * 64 // 8), 255, 64), 255 * 64
    double = b"".join(bytes([q, 0x20, 0, 2, 0]) for q in range(1, 33))
    yield "vectors of two bands", one_section(double, bytes(509 * 32 // 8), 255, 32), 510 * 32
    steps = b"".join(bytes([q, 14, 254, 0, 0]) for q in range(1, 31))
    packed = int("0000" * 254 * 30, 2).to_bytes(254 * 30 // 2, "big")
    yield "sparse columns, all steps", one_section(steps, packed, 255, 30), 255 * 30
    escapes = one_section(bytes([1, 0, 0]), b"\xff" * ((47 * 254 + 7) // 8 - 1) + b"\xfc", 255, 1)
    yield "escapes", escapes, 255
    many = b"".join(bytes([q, 0, 0]) for q in range(1, 3))
    ones = int(("1" * 47) * 508, 2) << -(47 * 508) % 8
    yield (
        "two columns of escapes",
        one_section(many, ones.to_bytes((47 * 508 + 7) // 8, "big"), 255, 2),
        510,
    )
    long = b"".join(bytes([q, 13, 0]) for q in range(1, 9))
    distinct = "".join(f"0{number % 8192:013b}" for number in range(254 * 8))
    data = int(distinct, 2) << -len(distinct) % 8
    yield (
        "codes never seen before",
        one_section(long, data.to_bytes((len(distinct) + 7) // 8, "big"), 255, 8),
        255 * 8,
    )
    yield "codes cut off", one_section(rice, b"\xff" * 3000, 255, 64), 255 * 64
    sections = b"".join(b"\x81\x09\x00" + bytes(6) + b"\x01\x01\x00" for _ in range(64))
    yield "64 sections", sealed(sections), 1
    yield "1,300 sections", sealed(b"\x3a\x00\x00" * 1300), 1
    bomb = b"".join(bytes([q, 0x2F, 0, 255, 0]) for q in ids)
    yield "a bomb of 4 million values", one_section(bomb, b"", 255, 64), VALUES_MAX


def hostile_times(seconds: float) -> list[tuple[str, int, float]]:
    """(what, declared values, microseconds) for each hostile frame."""
    found = []
    for name, frame, values in hostile():

        def read(frame: bytes = frame) -> None:
            with suppress(FrameError):
                decode_body(open_frame(frame, KEY))

        found.append((name, values, best_s(read, seconds) * 1e6))
    return found
