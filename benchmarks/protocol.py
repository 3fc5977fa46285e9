"""The protocol measured: bytes a reading against other formats, speed and heap.

`make bench-protocol`, or python -m benchmarks.protocol; the last line is one JSON object. Sizes
are payloads. Recordings come from OSN_DATA; what is modelled is named beside the table.
"""

import json
import math
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from benchmarks import protocol_heap
from benchmarks import protocol_speed as speed
from benchmarks.protocol_data import Series, folder, measured, second_levels, spectra, street
from benchmarks.protocol_formats import AIRROHR, FORMATS, deflated
from protocol.builder import FrameBuilder
from protocol.mac import Mac
from protocol.registry import REGISTRY
from protocol.samples import Batch, Channel
from simulator import vm

COUNTS = (1, 6, 12, 60)
NOISE_ROWS = 12
MESSAGES_MAX = 300
LARGE = 1000


def chunks(series: Series, count: int, limit: int) -> list[tuple[int, Sequence[tuple[int, ...]]]]:
    """(first row, rows) of consecutive messages of count rows, spread over the series."""
    starts = range(0, len(series.rows) - count + 1, count)
    step = max(1, len(starts) // limit)
    return [(at, series.rows[at : at + count]) for at in starts[::step]]


def ours(series: Series, count: int, key: bytes | None) -> list[bytes]:
    """Frames of the board's encoder over the whole series."""
    channels = [Channel(q, 0, e) for q, e in zip(series.quantities, series.exponents, strict=True)]
    builder = FrameBuilder(1024, Mac(key) if key else None)
    batch = Batch(channels, count)
    found: list[bytes] = []
    for first, rows in chunks(series, count, 10**9):
        batch.start(first * series.period_ms, series.period_ms)
        for at, row in enumerate(rows):
            batch.add_row((first + at) * series.period_ms)
            for column, raw in enumerate(row):
                batch.put(column, raw)
        while batch.rows:
            builder.begin(1, 0xA1B2C3D4, 1764000000, len(found) + 1)
            batch.drop_rows(batch.encode(builder))
            found.append(bytes(builder.buf[: builder.finish()]))
    return found


def entropy(series: Series) -> list[float]:
    """Bits of order-0 entropy of each channel's differences."""
    found = []
    for column in range(len(series.quantities)):
        steps = Counter(b[column] - a[column] for a, b in pairwise(series.rows))
        total = steps.total()
        found.append(-sum(n / total * math.log2(n / total) for n in steps.values()))
    return found


def size_table(series: Series) -> dict[str, dict[int, float]]:
    """Print bytes a reading of all formats; by format and samples a message."""
    width = len(series.quantities)
    print(f"\n## {series.name}: {len(series.rows):,} rows of {width} channels")
    print("Channels:", ", ".join(REGISTRY[q].name for q in series.quantities))
    print(f"Modelled: {series.modelled}.")
    print("Bytes a reading, payload [each message deflated, level 9]:\n")
    print(f"| {'format':36} | " + " | ".join(f"n = {count:<10}" for count in COUNTS) + " |")
    print(f"|{'-' * 38}|" + f"{'-' * 16}|" * len(COUNTS))
    table: dict[str, dict[int, float]] = {}
    rows: dict[str, dict[int, list[bytes]]] = {"frame v1, authenticated": {}, "frame v1, CRC": {}}
    for count in COUNTS:
        rows["frame v1, authenticated"][count] = ours(series, count, speed.KEY)
        rows["frame v1, CRC"][count] = ours(series, count, None)
    for name, by_count in rows.items():
        table[name] = print_sizes(name, by_count, len(series.rows), width)
    for name, encoder in FORMATS.items():
        if name.startswith("airRohr") and not knows(series):
            continue
        sizes = {}
        texts = []
        for count in COUNTS:
            picked = chunks(series, count, MESSAGES_MAX)
            messages = [message for at, part in picked for message in encoder(series, at, part)]
            readings = len(picked) * count * width
            sizes[count] = sum(map(len, messages)) / readings
            texts.append(f"{sizes[count]:6.2f} [{deflated(messages) / readings:5.2f}]")
        print(f"| {name:36} | " + " | ".join(texts) + " |")
        table[name] = sizes
    bits = entropy(series)
    print(
        f"\nEntropy of the differences, bits: {', '.join(f'{each:.2f}' for each in bits)}; ", end=""
    )
    print(f"mean {sum(bits) / width:.2f}, that is {sum(bits) / width / 8:.3f} bytes a reading.")
    return table


def knows(series: Series) -> bool:
    """Whether airRohr's JSON has a name for every channel."""
    return all(quantity in AIRROHR for quantity in series.quantities)


def print_sizes(
    name: str, by_count: dict[int, list[bytes]], rows: int, width: int
) -> dict[int, float]:
    sizes, texts = {}, []
    for count, frames in by_count.items():
        readings = rows // count * count * width
        sizes[count] = sum(map(len, frames)) / readings
        texts.append(f"{sizes[count]:6.2f} [{deflated(frames) / readings:5.2f}]")
    print(f"| {name:36} | " + " | ".join(texts) + " |")
    return sizes


def noise() -> float:
    """Bytes a second of LAeq with 31 bands, 12 rows a frame."""
    levels, source = second_levels(folder(), 2400)
    data = spectra(levels)
    batch = Batch([Channel(32), Channel(0x42, 0, None, 31, 13)], NOISE_ROWS)
    builder = FrameBuilder(1024, Mac(speed.KEY))
    total = 0
    for at in range(0, len(data) - NOISE_ROWS + 1, NOISE_ROWS):
        batch.start(at * 1000, 1000)
        for second in range(at, at + NOISE_ROWS):
            batch.add_row(second * 1000)
            batch.put(0, data[second][0])
            batch.put_vector(1, data[second][1])
        while batch.rows:
            builder.begin(1, 1, 2, 3)
            batch.drop_rows(batch.encode(builder))
            total += builder.finish()
    steps = [
        (after[1][band] - before[1][band]) / 2
        for before, after in pairwise(data)
        for band in (0, 30)
    ]
    deviation = math.sqrt(sum(step * step for step in steps) / len(steps))
    bytes_per_s = total / (len(data) // NOISE_ROWS * NOISE_ROWS)
    print("\n## Noise: LAeq and 31 third octaves each second, half decibels, 12 rows a frame")
    print(
        f"LAeq is {source}; the bands are modelled around it: a deviation of 5 s, correlation 0.7"
    )
    print("between neighbours, and the estimator's own noise; their steps are")
    print(f"{deviation:.1f} dB rms in the outermost bands. {bytes_per_s:.2f} bytes a second.")
    return bytes_per_s


def decoding(series: Series) -> dict[str, float]:
    """Print and return decode rates."""
    print("\n## Decoding in CPython, one core, tag checked")
    found: dict[str, float] = {}
    for count in (1, 12, 60):
        frames = speed.frames_of(series, count, 60)
        fast, declared = speed.decode_rates(frames, 6.0)
        readings = fast * count * len(series.quantities)
        print(
            f"{count:3} x {len(series.quantities)}: {fast:9,.0f} frames/s, {readings:11,.0f} "
            f"readings/s; construct {declared:7,.0f} frames/s"
        )
        if count == 12:
            found = {"fast_frames_per_s": fast, "fast_readings_per_s": readings}
            found["construct_frames_per_s"] = declared
    return found


def hostility() -> dict[str, float]:
    """Print the times of hostile frames; the worst by the rule of 1 us a value and 1 ms."""
    print("\n## Hostile frames: at most 1 us a declared value and 1 ms")
    worst_large = worst_share = 0.0
    for name, values, microseconds in speed.hostile_times(0.8):
        share = microseconds / (values + 1000)
        print(f"{name:36} {values:7,} values {microseconds:10,.0f} us, {share:4.0%} of what it may")
        worst_share = max(worst_share, share)
        if values >= LARGE:
            worst_large = max(worst_large, microseconds / values)
    return {"fast_us_per_value_max": worst_large, "hostile_share_max": worst_share}


def board(series: Series) -> dict[str, float]:
    """Print and return what encoding takes on the MicroPython VM."""
    print("\n## The board's half on the MicroPython VM (64 bits)")
    if vm.find() is None:
        print("no MicroPython VM here: not measured")
        return {}
    times = {count: speed.encode_us(series, count) for count in (1, 12, 60)}
    for count, microseconds in times.items():
        print(f"encode {count:3} x {len(series.quantities)}: {microseconds:8,.0f} us, tag included")
    return {"encode_us": times[12], **heap()}


def heap() -> dict[str, float]:
    """Print and return the heap that the board's half takes, on both VMs where both are here."""
    measured = speed.heap()
    result: dict[str, float] = {}
    for bits, parts in measured.items():
        listed = ", ".join(f"{name} {n:,} B" for name, n in parts.items())
        print(f"heap on {bits} bits, .mpy as on a board: {listed}")
        buffers = parts["frame_buffer"] + parts["batch"]
        print(f"  module of samples and buffers: {parts['encoder'] + buffers:,} B")
        print(f"  all it takes to encode and sign: {protocol_heap.encoding_bytes(parts):,} B")
        result[f"heap_bytes_{bits}"] = protocol_heap.encoding_bytes(parts)
        result[f"heap_bytes_module_{bits}"] = parts["encoder"] + buffers
    board_parts = measured.get(32)
    if board_parts is None:
        print("no 32-bit VM: python -m tests.protocol.wasm fetches it")
    else:
        result["heap_bytes"] = protocol_heap.encoding_bytes(board_parts)
        result["heap_bytes_board_half"] = sum(board_parts.values())
    return result


def main() -> int:
    """Everything, from one run."""
    if folder() is None:
        print("OSN_DATA is not set: the recording is a seeded one of the same shape")
    recorded, simulated = measured(folder()), street()
    slow, fast = size_table(recorded), size_table(simulated)
    signed_slow, signed_fast = (t["frame v1, authenticated"] for t in (slow, fast))
    result: dict[str, float] = {
        "signed_148s_n12": signed_slow[12],
        "signed_148s_n60": signed_slow[60],
        "signed_10s_n12": signed_fast[12],
        "signed_10s_n60": signed_fast[60],
        "noise31_bytes_per_s": noise(),
        "ratio_airrohr_json": slow["airRohr JSON, a message a sample"][12] / signed_slow[12],
        "ratio_sparkplug": slow["Sparkplug B"][12] / signed_slow[12],
        "ratio_compact_json": slow["compact JSON"][12] / signed_slow[12],
    }
    result |= decoding(recorded) | hostility() | board(recorded)
    print()
    print(json.dumps({key: round(value, 4) for key, value in result.items()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
