"""Calibration: a noise meter against a 94 dB source, other sensors beside a reference."""

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hardware.faults import BenchError, Exit

SOURCE_DB = 94.0
SPREAD_MAX_DB = 0.3
OFFSET_MAX_DB = 6.0
SECONDS_MIN = 5
PAIRS_MIN = 30
ROWS_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class NoiseCalibration:
    """What has to be added to the meter's levels, with its standard uncertainty (both in dB)."""

    offset_db: float
    uncertainty_db: float
    seconds: int


def noise_offset(levels_db: Sequence[float], source_db: float = SOURCE_DB) -> NoiseCalibration:
    """From one-second levels with the source on the microphone.

    A 1 kHz source reads the same A, C and Z weighted (IEC 61672-1: 0 dB at 1 kHz). Raises
    BenchError when the levels are too few, not steady, or too far off for this source.
    """
    if len(levels_db) < SECONDS_MIN:
        raise _bad(f"only {len(levels_db)} s were measured", f"Leave it on for {SECONDS_MIN} s")
    mean_db = sum(levels_db) / len(levels_db)
    deviation_db = _deviation(levels_db, mean_db)
    if deviation_db > SPREAD_MAX_DB:
        raise _bad(
            f"the level moves by {deviation_db:.2f} dB",
            "Seat the calibrator on the microphone, keep it still, and repeat",
        )
    offset_db = source_db - mean_db
    if abs(offset_db) > OFFSET_MAX_DB:
        raise _bad(
            f"the meter reads {mean_db:.1f} dB where {source_db:.1f} dB are",
            "Check that the calibrator is on and set to 1 kHz, and that it seals the port",
        )
    return NoiseCalibration(offset_db, deviation_db / math.sqrt(len(levels_db)), len(levels_db))


@dataclass(frozen=True, slots=True)
class Line:
    """reference = slope * sensor + offset, with standard uncertainties and residual spread."""

    slope: float
    slope_uncertainty: float
    offset: float
    offset_uncertainty: float
    residual: float
    pairs: int


def fit(pairs: Iterable[tuple[float, float]]) -> Line:
    """Ordinary least squares of the reference on the sensor, (sensor, reference) each.

    Uncertainties are the standard errors of the estimates. Raises BenchError with too few pairs or
    a sensor that did not move.
    """
    points = [pair for pair in pairs if math.isfinite(pair[0]) and math.isfinite(pair[1])]
    count = len(points)
    if count < PAIRS_MIN:
        raise _bad(f"only {count} pairs of values", f"At least {PAIRS_MIN} are needed")
    mean_x = sum(x for x, _ in points) / count
    mean_y = sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    if spread <= 1e-12 * max(1.0, mean_x * mean_x) * count:
        raise _bad("the sensor gave one value only", "Measure while the air changes")
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    offset = mean_y - slope * mean_x
    squares = sum((y - slope * x - offset) ** 2 for x, y in points)
    residual = math.sqrt(squares / (count - 2))
    return Line(
        slope,
        residual / math.sqrt(spread),
        offset,
        residual * math.sqrt(1 / count + mean_x * mean_x / spread),
        residual,
        count,
    )


def read_series(path: Path, time_column: str, value_column: str) -> list[tuple[float, float]]:
    """(Unix seconds, value) rows of a CSV file, in order of time; rows without value are left out.

    Times are ISO 8601; one without a zone is refused, for nobody knows what it means.
    """
    rows: list[tuple[float, float]] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            for name in (time_column, value_column):
                if name not in (reader.fieldnames or ()):
                    known = ", ".join(reader.fieldnames or ())
                    raise _bad(f"{path} has no column {name}", f"It has: {known}")
            for row in reader:
                if len(rows) >= ROWS_MAX:
                    raise _bad(f"{path} has more than {ROWS_MAX} rows", "Cut it into parts")
                if row[value_column]:
                    rows.append((_seconds(row[time_column], path), float(row[value_column])))
    except (OSError, UnicodeDecodeError) as fault:
        raise _bad(f"{path} cannot be read", str(fault)) from fault
    except ValueError as fault:
        raise _bad(f"{path} line {len(rows) + 2}: {fault}", "Mend the line") from fault
    return sorted(rows)


def pair_up(
    sensor: Sequence[tuple[float, float]],
    reference: Sequence[tuple[float, float]],
    interval_s: float,
) -> list[tuple[float, float]]:
    """(mean of sensor, mean of reference) for each interval in which both have values."""
    means_sensor = _means(sensor, interval_s)
    means_reference = _means(reference, interval_s)
    both = sorted(means_sensor.keys() & means_reference.keys())
    return [(means_sensor[key], means_reference[key]) for key in both]


def correction_toml(node: str, quantity: str, line: Line) -> str:
    """The [[correction]] for the collector's configuration."""
    return (
        "[[correction]]\n"
        'formula = "linear-1"\n'
        f'quantity = "{quantity}"\n'
        f'nodes = ["{node}"]\n'
        f"parameters = {{ slope = {line.slope:.6g}, offset = {line.offset:.6g} }}\n"
        f"# {line.pairs} pairs; standard uncertainty of slope {line.slope_uncertainty:.2g}, "
        f"of offset {line.offset_uncertainty:.2g}; residual {line.residual:.3g}\n"
    )


def _means(rows: Sequence[tuple[float, float]], interval_s: float) -> dict[int, float]:
    sums: dict[int, tuple[float, int]] = {}
    for time_s, value in rows:
        total, count = sums.get(int(time_s // interval_s), (0.0, 0))
        sums[int(time_s // interval_s)] = (total + value, count + 1)
    return {key: total / count for key, (total, count) in sums.items()}


def _seconds(text: str, path: Path) -> float:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"the time {text} names no zone (write Z or +01:00)")
    return moment.timestamp()


def _deviation(values: Sequence[float], mean: float) -> float:
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))


def _bad(what: str, to_do: str) -> BenchError:
    return BenchError(Exit.TEST_FAILED, f"No calibration: {what}", to_do)
