"""Recordings of real sensors: archive files of sensor.community, level series, Smart Citizen kits.

A recording is a set of tracks, one for each sensor, in the order of time. Nothing is repaired
silently: what a file holds that cannot be used is a fault with its file, line and reason.
"""

import csv
import gzip
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

FAULTS_KEPT_MAX = 1000
ROWS_MAX = 5_000_000
DAY_MS = 86_400_000

ARCHIVE_TYPES = ("SDS011", "BME280")
SENSOR_COMMUNITY_COLUMNS = {
    "P0": "pm1",
    "P1": "pm10",
    "P2": "pm2_5",
    "temperature": "temperature",
    "humidity": "humidity",
    "pressure": "pressure",
}
"""Column of the archive's files, and the registry's quantity that it holds in the same unit."""

DRIVERS = {
    "SDS011": "sds011",
    "BME280": "bme280",
    "PMS5003": "pms5003",
    "SPS30": "sps30",
    "SHT31": "sht31",
    "ICS43434": "ics43434",
}
"""Type of a recorded sensor, and the driver that speaks with such a one."""


class RecordingError(ValueError):
    """A folder or file that holds no recording; the message says what was looked for."""


@dataclass(frozen=True, slots=True)
class Row:
    """What one sensor said at one instant: Unix ms, and values in the registry's units."""

    time_ms: int
    values: dict[str, float]


@dataclass(slots=True)
class Track:
    """All rows of one sensor, in the order of time."""

    sensor_id: str
    sensor_type: str
    location: str
    latitude: float
    longitude: float
    rows: list[Row] = field(default_factory=list)

    @property
    def driver(self) -> str:
        """The firmware driver for this type of sensor."""
        return DRIVERS[self.sensor_type]

    def values(self) -> Iterator[tuple[str, int, float]]:
        """Every recorded (quantity, Unix ms, value)."""
        for row in self.rows:
            for quantity, value in row.values.items():
                yield quantity, row.time_ms, value


@dataclass(frozen=True, slots=True)
class Fault:
    """A line, or with line 0 a whole file, that could not be used."""

    file: str
    line: int
    reason: str


@dataclass(slots=True)
class Recording:
    """Tracks of several sensors, the files read, and what was wrong with them."""

    tracks: list[Track]
    files: list[str]
    faults: list[Fault]
    faults_total: int

    @property
    def first_ms(self) -> int:
        return min(track.rows[0].time_ms for track in self.tracks)

    @property
    def last_ms(self) -> int:
        return max(track.rows[-1].time_ms for track in self.tracks)


class Reader:
    """Collects tracks and faults over many files."""

    def __init__(self) -> None:
        self.tracks: dict[tuple[str, str, str], Track] = {}
        self.files: list[str] = []
        self.faults: list[Fault] = []
        self.faults_total = 0
        self._rows = 0

    def fault(self, file: str, line: int, reason: str) -> None:
        self.faults_total += 1
        if len(self.faults) < FAULTS_KEPT_MAX:
            self.faults.append(Fault(file, line, reason))

    def read(self, path: Path) -> None:
        with _open(path) as lines:
            head = lines.readline()
            lines.seek(0)
            read = reader_of(head)
            if read is not None:
                read(self, path.name, path.stem.removesuffix(".csv"), lines)
                return
            table = csv.DictReader(lines, delimiter=";")
            columns = set(table.fieldnames or ())
            missing = {"sensor_id", "sensor_type", "location", "timestamp"} - columns
            if missing:
                self.fault(path.name, 0, f"no known recording: no column {min(missing)}")
                return
            self.files.append(path.name)
            for record in table:
                self._take(path.name, table.line_num, record)

    def _take(self, file: str, line: int, record: dict[str, str | None]) -> None:
        sensor_type = (record.get("sensor_type") or "").strip()
        if sensor_type not in ARCHIVE_TYPES:
            self.fault(file, line, f"no device model replays a sensor of type {sensor_type!r}")
            return
        try:
            time_ms = parse_time(record.get("timestamp") or "")
        except ValueError:
            self.fault(file, line, f"timestamp {record.get('timestamp')!r} is not ISO 8601")
            return
        values: dict[str, float] = {}
        for column, quantity in SENSOR_COMMUNITY_COLUMNS.items():
            text = (record.get(column) or "").strip()
            if not text:
                continue
            value = number(text)
            if value is None:
                self.fault(file, line, f"{column} {text!r} is not a number")
            else:
                values[quantity] = value
        if not values:
            self.fault(file, line, "no value in this row")
            return
        location = (record.get("location") or "").strip()
        sensor_id = (record.get("sensor_id") or "").strip()
        place = number(record.get("lat") or "") or 0.0, number(record.get("lon") or "") or 0.0
        self.keep(location, sensor_type, sensor_id, Row(time_ms, values), place)

    def keep(
        self,
        location: str,
        sensor_type: str,
        sensor_id: str,
        row: "Row",
        place: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        """Append a row to its sensor's track. Raises RecordingError when there are too many."""
        self._rows += 1
        if self._rows > ROWS_MAX:
            raise RecordingError(f"more than {ROWS_MAX} rows: replay a part of this recording")
        key = location, sensor_type, sensor_id
        track = self.tracks.get(key)
        if track is None:
            track = self.tracks[key] = Track(sensor_id, sensor_type, location, *place)
        track.rows.append(row)


def reader_of(head: str) -> "Callable[[Reader, str, str, TextIO], None] | None":
    """What reads a file with this first line; None for an archive file of sensor.community."""
    from simulator import recorded_kits, recorded_levels

    if recorded_kits.is_ours(head):
        return recorded_kits.read
    return recorded_levels.read if recorded_levels.is_ours(head) else None


def read_recording(folder: Path) -> Recording:
    """Read every .csv and .csv.gz below a folder, or one file, each by what its first line says.

    Rows are sorted by time; rows of one second keep the order of the files. Raises RecordingError
    when there is nothing to replay.
    """
    if not folder.exists():
        raise RecordingError(f"{folder} does not exist")
    reader = Reader()
    paths = [folder] if folder.is_file() else sorted(_archive_files(folder))
    for path in paths:
        reader.read(path)
    tracks = [track for _, track in sorted(reader.tracks.items()) if track.rows]
    if not tracks:
        first = f"; {reader.faults[0].file}: {reader.faults[0].reason}" if reader.faults else ""
        raise RecordingError(
            f"{folder} holds no sensor.community archive file (*.csv) of a "
            f"{' or '.join(ARCHIVE_TYPES)}, no level series and no Smart Citizen file{first}"
        )
    for track in tracks:
        track.rows.sort(key=lambda row: row.time_ms)
    return Recording(tracks, reader.files, reader.faults, reader.faults_total)


def parse_time(text: str) -> int:
    """Unix ms of an ISO 8601 time; one without a zone is UTC, as in the archive."""
    stamp = datetime.fromisoformat(text.strip())
    if stamp.tzinfo is None:
        stamp = stamp.replace(tzinfo=UTC)
    return round(stamp.timestamp() * 1000)


def cut(recording: Recording, days: float) -> Recording:
    """The first days of a recording, each from midnight to midnight UTC."""
    first_ms = recording.first_ms
    end_ms = first_ms - first_ms % DAY_MS + round(days * DAY_MS)
    tracks = []
    for track in recording.tracks:
        rows = [row for row in track.rows if row.time_ms < end_ms]
        if rows:
            tracks.append(
                Track(
                    track.sensor_id,
                    track.sensor_type,
                    track.location,
                    track.latitude,
                    track.longitude,
                    rows,
                )
            )
    if not tracks:
        raise RecordingError(f"the first {days:g} day(s) of this recording hold no row")
    return Recording(tracks, recording.files, recording.faults, recording.faults_total)


def _archive_files(folder: Path) -> Iterable[Path]:
    for pattern in ("*.csv", "*.CSV", "*.csv.gz"):
        yield from folder.rglob(pattern)


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", errors="replace", newline="")
    return path.open(encoding="utf-8-sig", errors="replace", newline="")


def number(text: str) -> float | None:
    """A finite number, or None."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
