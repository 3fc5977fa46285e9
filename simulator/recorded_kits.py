"""What a Smart Citizen Kit writes to its SD card.

Comma-separated, four head lines (short names, units, descriptions, sensor ids), then a row for each
minute: a time in UTC and a value for each column, `null` where there is none. Columns are known by
their sensor ids, which are those of the kit's platform.
"""

import csv
from typing import NamedTuple, TextIO

from simulator.recordings import Reader, Row, number, parse_time

HEAD_LINES = 4


class Column(NamedTuple):
    """Whose column it is: the type of sensor that replays it, and the registry's quantity."""

    sensor_type: str
    quantity: str


COLUMNS = {
    "53": Column("ICS43434", "laeq"),
    "55": Column("SHT31", "temperature"),
    "56": Column("SHT31", "humidity"),
    "89": Column("PMS5003", "pm1"),
    "87": Column("PMS5003", "pm2_5"),
    "88": Column("PMS5003", "pm10"),
    "182": Column("SPS30", "pm1"),
    "183": Column("SPS30", "pm2_5"),
    "184": Column("SPS30", "pm4"),
    "185": Column("SPS30", "pm10"),
    "193": Column("SPS30", "pm1"),
    "194": Column("SPS30", "pm2_5"),
    "195": Column("SPS30", "pm4"),
    "196": Column("SPS30", "pm10"),
}
"""By sensor id; a SEN5x (193 and on) is replayed by the SPS30 that is inside of it."""


def is_ours(head: str) -> bool:
    """Whether a file that begins so comes from a kit."""
    return head.upper().startswith("TIME,") and "LEQ" not in head.upper()


def read(reader: Reader, file: str, name: str, lines: TextIO) -> None:
    """Read one file; all files of a folder are one kit's."""
    table = csv.reader(lines)
    heads = [row for _, row in zip(range(HEAD_LINES), table, strict=False)]
    ids = [cell.strip() for cell in heads[-1]] if len(heads) == HEAD_LINES else []
    known = {place: COLUMNS[id] for place, id in enumerate(ids) if id in COLUMNS}
    if not known:
        reader.fault(file, 0, "its fourth line holds no sensor id that a device model replays")
        return
    reader.files.append(file)
    for place, id in enumerate(ids):
        if id and place not in known:
            reader.fault(file, 4, f"no device model replays {heads[0][place]} (sensor {id})")
    for cells in table:
        if cells:
            _take(reader, file, table.line_num, cells, known)


def _take(reader: Reader, file: str, line: int, cells: list[str], known: dict[int, Column]) -> None:
    try:
        time_ms = parse_time(cells[0])
    except ValueError:
        reader.fault(file, line, f"time {cells[0]!r} is not ISO 8601")
        return
    rows: dict[str, dict[str, float]] = {}
    for place, column in known.items():
        text = cells[place].strip() if place < len(cells) else ""
        if text in ("", "null"):
            continue
        value = number(text)
        if value is None:
            reader.fault(file, line, f"{column.quantity} {text!r} is not a number")
        else:
            rows.setdefault(column.sensor_type, {})[column.quantity] = value
    if not rows:
        reader.fault(file, line, "no value in this row")
    for sensor_type, values in rows.items():
        reader.keep("kit", sensor_type, sensor_type, Row(time_ms, values))
