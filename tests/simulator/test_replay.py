"""A recording goes through the whole house, and the report notices whatever does not."""

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from simulator.cli import main
from simulator.recordings import Recording, RecordingError, cut, read_recording
from simulator.replay import ReplayOptions, replay
from simulator.replay_plan import make_plans
from simulator.replay_report import Told, compare
from simulator.sample_recording import (
    CLEAN,
    ROUGH,
    Quirks,
    write_kit,
    write_levels,
    write_recording,
)


def generated(folder: Path, quirks: Quirks = CLEAN, nodes: int = 1, days: int = 1) -> Recording:
    write_recording(folder, seed=11, days=days, nodes=nodes, quirks=quirks)
    return read_recording(folder)


def perfect(recording: Recording) -> list[Told]:
    return [
        Told(plan.address, name, time_ms, round(value, 1 if name.startswith("pm") else 2))
        for plan in make_plans(recording)
        for track in plan.tracks
        for name, time_ms, value in track.values()
    ]


def judged(recording: Recording, delivered: list[Told]) -> bool:
    return compare(make_plans(recording), recording, perfect(recording), delivered).ok


def test_every_row_of_a_rough_recording_arrives_once(tmp_path: Path) -> None:
    recording = generated(tmp_path / "in", ROUGH, nodes=2)
    report = replay(recording, ReplayOptions(tmp_path / "out"))
    assert report.ok
    assert report.out_of_range
    assert report.faults
    rows = sum(1 for track in recording.tracks for _ in track.values())
    lines = (tmp_path / "out" / "delivered.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == rows
    assert set(json.loads(lines[0])) == {
        "node", "quantity", "instance", "time", "value", "unit", "quality",
    }  # fmt: skip
    assert (tmp_path / "out" / "archive.db").exists()


def test_a_day_of_the_real_recording_arrives_exactly(
    recordings: Path | None, tmp_path: Path
) -> None:
    folder = recordings / "sensor_community_aberdeen" if recordings else None
    if folder is None or not folder.exists():
        pytest.skip("OSN_DATA names no recordings; the generated ones stand in")
    report = replay(cut(read_recording(folder), 1), ReplayOptions(tmp_path))
    assert report.ok
    found = report.quantities.items()
    assert {name: (q.rows, q.largest_time_difference_ms) for name, q in found} == {
        "humidity": (187, 0), "pm10": (494, 0), "pm2_5": (494, 0), "pressure": (187, 0),
        "temperature": (187, 0),
    }  # fmt: skip


@pytest.mark.usefixtures("vm")
def test_the_virtual_machine_delivers_the_same_lines(tmp_path: Path) -> None:
    recording = cut(generated(tmp_path / "in", ROUGH), 0.15)
    for name, vm in (("vm", True), ("hosted", False)):
        assert replay(recording, ReplayOptions(tmp_path / name, vm)).ok
    lines = [(tmp_path / name / "delivered.jsonl").read_bytes() for name in ("vm", "hosted")]
    assert lines[0] == lines[1]


def test_the_same_seed_delivers_the_same_bytes(tmp_path: Path) -> None:
    recording = cut(generated(tmp_path / "in"), 0.1)
    for name in ("one", "two"):
        replay(recording, ReplayOptions(tmp_path / name, seed=3))
    one, two = ((tmp_path / n / "delivered.jsonl").read_bytes() for n in ("one", "two"))
    assert one == two


def test_a_perfect_delivery_is_ok(tmp_path: Path) -> None:
    recording = generated(tmp_path, ROUGH)
    in_range = [t for t in perfect(recording) if t.value > -100]
    recording_ok = judged(recording, perfect(recording))
    assert recording_ok
    assert judged(recording, in_range) == (len(in_range) == len(perfect(recording)))


@pytest.mark.parametrize("change", ["lost", "doubled", "later", "wrong", "elsewhere"])
def test_the_report_notices_one_bad_reading(tmp_path: Path, change: str) -> None:
    recording = generated(tmp_path)
    delivered = perfect(recording)
    position = random.Random(5).randrange(len(delivered))
    victim = delivered[position]
    if change == "lost":
        del delivered[position]
    elif change == "doubled":
        delivered.append(victim)
    elif change == "later":
        delivered[position] = replace(victim, time_ms=victim.time_ms + 1000)
    elif change == "wrong":
        delivered[position] = replace(victim, value=victim.value + 2)
    else:
        delivered[position] = replace(victim, node=victim.node ^ 1)
    assert not judged(recording, delivered)


def test_the_command_writes_a_report_and_says_what_is_wrong(tmp_path: Path) -> None:
    write_recording(tmp_path / "in", seed=2, days=1)
    report_file = tmp_path / "report.json"
    arguments = ["replay", str(tmp_path / "in"), "--days", "0.05", "--report", str(report_file)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert json.loads(report_file.read_text(encoding="utf-8"))["ok"] is True
    result = CliRunner().invoke(main, ["replay", str(tmp_path / "nowhere")])
    assert result.exit_code == 2
    assert "does not exist" in result.output


def test_a_series_of_levels_goes_through_the_meter(tmp_path: Path) -> None:
    file = tmp_path / "levels.csv"
    write_levels(file, seed=3, rows=180)
    report = replay(read_recording(file), ReplayOptions(tmp_path / "out"))
    assert report.ok
    levels = report.quantities["laeq"]
    assert levels.rows == levels.delivered == 180
    assert levels.largest_difference <= 0.06
    assert levels.largest_time_difference_ms == 0


def test_a_series_of_seconds_goes_through_the_meter(tmp_path: Path) -> None:
    file = tmp_path / "levels.csv"
    write_levels(file, seed=4, rows=300, period_s=1)
    report = replay(read_recording(file), ReplayOptions(tmp_path / "out"))
    assert report.ok
    assert report.quantities["laeq"].rows == 300


def test_a_kit_goes_through_its_sensors_drivers(tmp_path: Path) -> None:
    file = tmp_path / "19-02-01.CSV"
    write_kit(file, seed=5, rows=240)
    recording = read_recording(tmp_path)
    report = replay(recording, ReplayOptions(tmp_path / "out"))
    assert report.ok, report.quantities
    assert set(report.quantities) == {"temperature", "humidity", "laeq", "pm1", "pm2_5", "pm10"}
    assert report.quantities["pm10"].rows < 240
    named = {fault.reason for fault in recording.faults}
    assert named == {
        "no device model replays BATT (sensor 10)",
        "no device model replays PRESS (sensor 58)",
    }


def test_a_changed_level_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "levels.csv"
    write_levels(file, seed=3, rows=5)
    recording = read_recording(file)
    wrong = [replace(one, value=one.value + 0.3) for one in perfect(recording)]
    assert not judged(recording, wrong)


def test_levels_are_not_replayed_on_the_virtual_machine(tmp_path: Path) -> None:
    file = tmp_path / "levels.csv"
    write_levels(file, seed=3, rows=5)
    with pytest.raises(RecordingError, match="CPython only"):
        replay(read_recording(file), ReplayOptions(tmp_path / "out", vm=True))
