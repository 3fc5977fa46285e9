"""Series of sound levels: a CSV file with a time and an A-weighted level in each row.

The first line names the columns: `datetime` (or `time`, `timestamp`) and one with LEQ or LAeq
in its name, in dB. A level holds for the time since the row before. Times without a zone are UTC.
"""

from typing import TextIO

from simulator.recordings import Reader, Row, number, parse_time

TIMES = ("datetime", "time", "timestamp")
SENSOR = "ICS43434"


def is_ours(head: str) -> bool:
    """Whether a file that begins so is a series of levels."""
    cells = _cells(head)
    return cells[0] in TIMES and _level_column(cells) is not None


def read(reader: Reader, file: str, name: str, lines: TextIO) -> None:
    """Read one file: a track of its own."""
    column = _level_column(_cells(next(lines)))
    assert column is not None
    reader.files.append(file)
    for line, text in enumerate(lines, 2):
        cells = text.strip().split(",")
        if cells == [""]:
            continue
        try:
            time_ms = parse_time(cells[0])
        except ValueError:
            reader.fault(file, line, f"time {cells[0]!r} is not ISO 8601")
            continue
        level_db = number(cells[column]) if column < len(cells) else None
        if level_db is None:
            reader.fault(file, line, "no level in this row")
            continue
        reader.keep(name, SENSOR, name, Row(time_ms, {"laeq": level_db}))


def _cells(head: str) -> list[str]:
    return [cell.strip().lower() for cell in head.strip().split(",")]


def _level_column(cells: list[str]) -> int | None:
    found = [n for n, cell in enumerate(cells) if cell.startswith(("leq", "laeq"))]
    return found[0] if found else None
