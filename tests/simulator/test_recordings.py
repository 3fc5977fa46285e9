"""Archive files are read whole, and what cannot be used is named."""

import gzip
from pathlib import Path

import pytest

from simulator.recordings import RecordingError, cut, parse_time, read_recording
from simulator.replay_plan import (
    LEAD_MS,
    NEVER_MS,
    RecordedSchedule,
    RecordedStimulus,
    make_plans,
    spread,
)
from simulator.sample_recording import BME_HEAD, KIT_HEAD, ROUGH, SDS_HEAD, write_recording


def dust(stamp: str, p1: str = "2.60", p2: str = "1.30", sensor: int = 1, place: int = 9) -> str:
    return f"{sensor};SDS011;{place};56.9;-2.2;{stamp};{p1};;;{p2};;"


def write(path: Path, head: str, *rows: str) -> None:
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")


def test_rows_are_sorted_and_files_joined(tmp_path: Path) -> None:
    write(tmp_path / "b.csv", SDS_HEAD, dust("2019-02-02T00:00:05"), dust("2019-02-01T00:00:05"))
    write(tmp_path / "a.csv", SDS_HEAD, dust("2019-02-01T12:00:00"))
    recording = read_recording(tmp_path)
    (track,) = recording.tracks
    assert [row.time_ms for row in track.rows] == [
        parse_time(t) for t in ("2019-02-01T00:00:05", "2019-02-01T12:00:00", "2019-02-02T00:00:05")
    ]
    assert track.rows[0].values == {"pm10": 2.6, "pm2_5": 1.3}


def test_compressed_files_are_read(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "a.csv.gz", "wt", encoding="utf-8") as file:
        file.write(f"{SDS_HEAD}\n{dust('2019-02-01T12:00:00')}\n")
    assert len(read_recording(tmp_path).tracks[0].rows) == 1


def test_what_cannot_be_used_is_named_with_file_and_line(tmp_path: Path) -> None:
    write(
        tmp_path / "a.csv",
        SDS_HEAD,
        dust("2019-02-01T12:00:00"),
        dust("yesterday"),
        dust("2019-02-01T12:00:03", p1="nan"),
        dust("2019-02-01T12:00:05", p1="", p2=""),
        "7;DHT99;9;0;0;2019-02-01T12:00:00;1;;;2;;",
    )
    write(tmp_path / "notes.csv", "a;b", "1;2")
    recording = read_recording(tmp_path)
    named = {(fault.file, fault.line) for fault in recording.faults}
    assert named == {("a.csv", 3), ("a.csv", 4), ("a.csv", 5), ("a.csv", 6), ("notes.csv", 0)}
    assert recording.faults_total == 5
    assert [sorted(row.values) for row in recording.tracks[0].rows] == [
        ["pm10", "pm2_5"],
        ["pm2_5"],
    ]


def test_a_folder_without_a_recording_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="SDS011"):
        read_recording(tmp_path)
    with pytest.raises(RecordingError, match="does not exist"):
        read_recording(tmp_path / "nowhere")


def test_cut_keeps_the_first_part(tmp_path: Path) -> None:
    write_recording(tmp_path, seed=1, days=3)
    whole = read_recording(tmp_path)
    day = cut(whole, 1)
    assert day.first_ms == whole.first_ms
    midnight_ms = parse_time("2019-02-02T00:00:00")
    assert midnight_ms - 3_600_000 < day.last_ms < midnight_ms
    with pytest.raises(RecordingError, match="no row"):
        cut(whole, 0.00001)


def test_rows_of_one_second_get_instants_of_their_own_within_it(tmp_path: Path) -> None:
    stamps = ["2019-02-01T12:00:00"] * 3 + ["2019-02-01T12:00:01"]
    write(tmp_path / "a.csv", SDS_HEAD, *(dust(t, p2=str(n)) for n, t in enumerate(stamps)))
    rows = read_recording(tmp_path).tracks[0].rows
    start_ms = rows[0].time_ms
    assert [(at - start_ms, row.values["pm2_5"]) for at, row in spread(rows)] == [
        (0, 0.0), (333, 1.0), (666, 2.0), (1000, 3.0),
    ]  # fmt: skip


def test_each_pair_of_sensors_at_a_location_is_a_node(tmp_path: Path) -> None:
    stamp = "2019-02-01T12:00:00"
    write(tmp_path / "a.csv", SDS_HEAD, *(dust(stamp, sensor=n, place=5) for n in (1, 2)))
    write(tmp_path / "b.csv", BME_HEAD, f"3;BME280;5;1;2;{stamp};99630.02;;;-2.76;88.13")
    write(tmp_path / "c.csv", SDS_HEAD, dust(stamp, sensor=4, place=6))
    plans = make_plans(read_recording(tmp_path))
    sensors = [(p.location, [t.sensor_id for t in p.tracks]) for p in plans]
    assert sensors == [("5", ["3", "1"]), ("5", ["2"]), ("6", ["4"])]
    assert len({p.address for p in plans}) == 3
    assert [e["driver"] for e in plans[0].board()["sensors"]] == ["bme280", "sds011"]


def test_the_stimulus_is_the_row_of_the_last_instant(tmp_path: Path) -> None:
    write(
        tmp_path / "a.csv",
        SDS_HEAD,
        dust("2019-02-01T12:00:00"),
        dust("2019-02-01T12:03:00", p1="", p2="7"),
    )
    write(tmp_path / "b.csv", BME_HEAD, "3;BME280;9;1;2;2019-02-01T12:01:00;;;;-2.76;88.13")
    (plan,) = make_plans(read_recording(tmp_path))
    stimulus = RecordedStimulus(plan, plan.start_ms)
    at = LEAD_MS
    assert stimulus.value("pm10", at) == 2.6
    assert stimulus.value("temperature", at) is None
    assert stimulus.value("temperature", at + 60_047) == -2.76
    assert stimulus.value("pressure", at + 60_047) is None
    assert stimulus.value("pm10", at + 60_047) is None
    assert (stimulus.value("pm10", at + 180_000), stimulus.value("pm2_5", at + 180_000)) == (
        None,
        7,
    )
    assert stimulus.value("pm10", 0) == 2.6


def test_the_schedule_gives_the_next_recorded_instant() -> None:
    schedule = RecordedSchedule([1_000, 2_500])
    assert [schedule.next_ms(t) for t in (0, 999, 1_000, 2_499, 2_500)] == [
        1_000, 1_000, 2_500, 2_500, NEVER_MS,
    ]  # fmt: skip


def test_the_generated_recording_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_recording(tmp_path / name, seed=4, days=2, nodes=2, quirks=ROUGH)
    one, two = (sorted((tmp_path / n).iterdir()) for n in ("one", "two"))
    assert [p.read_bytes() for p in one] == [p.read_bytes() for p in two]
    assert len(make_plans(read_recording(tmp_path / "one"))) == 2


def test_bad_rows_of_levels_are_named(tmp_path: Path) -> None:
    head = "datetime,LEQ dB -A"
    write(tmp_path / "l.csv", head, "2025-03-21 00:00:30,47.3", "10/20/2021 0:00,50", "x", "")
    write(tmp_path / "m.csv", head, "2025-03-21 00:00:30,", "2025-03-21 00:01:30,48")
    recording = read_recording(tmp_path)
    assert [len(track.rows) for track in recording.tracks] == [1, 1]
    assert {(f.file, f.line) for f in recording.faults} == {
        ("l.csv", 3),
        ("l.csv", 4),
        ("m.csv", 2),
    }


def test_a_kits_columns_are_known_by_their_ids(tmp_path: Path) -> None:
    rows = ["2024-12-09T12:20:05Z,21.49,42.12,-1,40.77,null,2,3,x", "never,1,1,1,1,1,1,1,1"]
    write(tmp_path / "24-12-09.CSV", *KIT_HEAD, *rows)
    recording = read_recording(tmp_path)
    found = {track.driver: track.rows[0].values for track in recording.tracks}
    assert found == {
        "sht31": {"temperature": 21.49, "humidity": 42.12},
        "ics43434": {"laeq": 40.77},
        "pms5003": {"pm1": 2.0, "pm2_5": 3.0},
    }
    assert {f.line for f in recording.faults} == {4, 5, 6}


def test_a_kit_without_ids_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "24-12-09.CSV", *KIT_HEAD[:3])
    with pytest.raises(RecordingError, match="fourth line"):
        read_recording(tmp_path)
