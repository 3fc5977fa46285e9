"""Calibration against a source and beside a reference."""

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.settings import CorrectionSettings
from hardware.calibrate import correction_toml, fit, noise_offset, pair_up, read_series
from hardware.faults import BenchError


def test_the_offset_brings_the_meter_to_the_source() -> None:
    found = noise_offset([92.9, 93.0, 93.1, 93.0, 93.0])
    assert found.offset_db == pytest.approx(1.0)
    assert found.uncertainty_db == pytest.approx(0.0316, abs=1e-3)


@pytest.mark.parametrize(
    ("levels", "words"),
    [([94.0], "only 1 s"), ([90, 94, 98, 91, 97], "moves by"), ([60.0] * 9, "reads 60.0 dB")],
)
def test_a_bad_calibration_is_refused(levels: list[float], words: str) -> None:
    with pytest.raises(BenchError, match=words):
        noise_offset(levels)


@given(slope=st.floats(0.2, 5), offset=st.floats(-20, 20), seed=st.integers(0, 99))
def test_the_fit_finds_the_line_within_its_own_uncertainty(
    slope: float, offset: float, seed: int
) -> None:
    source = random.Random(seed)
    xs = [source.uniform(0, 100) for _ in range(400)]
    line = fit([(x, slope * x + offset + source.gauss(0, 0.5)) for x in xs])
    assert abs(line.slope - slope) < 5 * line.slope_uncertainty
    assert abs(line.offset - offset) < 5 * line.offset_uncertainty
    assert line.residual == pytest.approx(0.5, rel=0.25)


def test_a_sensor_that_did_not_move_gives_no_line() -> None:
    with pytest.raises(BenchError, match="one value only"):
        fit([(7.0, float(y)) for y in range(50)])


def test_series_are_paired_by_interval(tmp_path: Path) -> None:
    sensor = tmp_path / "sensor.csv"
    sensor.write_text(
        "time,value\n2026-01-01T00:10:00Z,2\n2026-01-01T00:50:00Z,4\n2026-01-01T02:00:00Z,9\n"
    )
    reference = tmp_path / "reference.csv"
    reference.write_text("when,pm\n2026-01-01T01:30:00+01:00,30\n2026-01-01T05:00:00+01:00,\n")
    pairs = pair_up(
        read_series(sensor, "time", "value"), read_series(reference, "when", "pm"), 3600
    )
    assert pairs == [(3.0, 30.0)]


def test_a_time_without_a_zone_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "reference.csv"
    path.write_text("time,pm\n2026-01-01T00:00:00Z,1\n2026-01-01T01:00:00,2\n")
    with pytest.raises(BenchError, match="line 3: the time 2026-01-01T01:00:00 names no zone"):
        read_series(path, "time", "pm")


def test_the_collector_takes_the_correction() -> None:
    import tomllib

    line = fit([(float(x), 2.0 * x + 1) for x in range(40)])
    entry = tomllib.loads(correction_toml("a1b2c3d4", "pm2_5", line))["correction"][0]
    settings = CorrectionSettings(**entry)
    assert settings.parameters == pytest.approx({"slope": 2.0, "offset": 1.0})
