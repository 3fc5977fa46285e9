"""The one grid in which places are told: cells of 125 m, 250 m ... 128 km, each a union of finer.

Whoever reads several networks may lay their cells over each other; so every larger cell is made of
whole smaller ones, everywhere on Earth, and two cells of one place never share less than the
smaller of them. Cells of 1,000 m are the base: rows of equal height, of which each has as many
columns as cells of about 1,000 m fit around the Earth there:

- finer: a cell is halved in latitude, and each half in longitude where its parts stay at least
  three quarters of their size wide, which they do but within a few cells of a pole;
- coarser: rows go together two by two (the last takes what is left at the north pole), with half as
  many columns as the row nearer to a pole had; a cell belongs to the column that has its middle.

The sphere has 111,195 m to a degree. An elevation is told in steps of a fifth of the cell, nested
in the same way: a street that rises by a fifth is among the steepest there are, so a cell spans a
step where people live, and a map of heights cuts little off it.
"""

import math
from functools import lru_cache
from typing import NamedTuple

METRES_PER_DEGREE = 111_195.0
"""Of latitude, on a sphere of 6,371 km."""
BASE_M = 1_000
FINER_LEVELS = 3
SIZES_M = tuple(BASE_M >> FINER_LEVELS << level for level in range(11))
LEVELS = {size_m: level for level, size_m in enumerate(SIZES_M, -FINER_LEVELS)}
"""How often a size is the base's doubled; below 0: how often it is halved."""
DEFAULT_M = BASE_M
ROWS = round(180 * METRES_PER_DEGREE / BASE_M)
WIDTH_MIN = 0.75
COLUMNS_ALWAYS_HALVED = 64
"""From so many columns on halves are wide enough: a row's half is not much shorter around."""
ELEVATION_STEP_M = 50
"""The step of cells of 250 m, around multiples of itself."""
ELEVATION_LEVEL = -2


class Cell(NamedTuple):
    """One cell: its size, its row from the south pole and its column from 180 degrees west."""

    size_m: int
    row: int
    column: int
    columns: int
    """Of its row."""

    @property
    def middle(self) -> tuple[float, float]:
        """Latitude and longitude of its middle, which lies within it."""
        level = LEVELS[self.size_m]
        if level <= 0:
            rows_up, rows = self.row + 0.5, ROWS << -level
        else:
            first, last = _base_rows(self.row, level)
            rows_up, rows = (first + last + 1) / 2, ROWS
        return rows_up * 180 / rows - 90, (self.column + 0.5) * 360 / self.columns - 180


def size_for(wish_m: float) -> int:
    """The smallest size that is not below the wish, the largest when none is."""
    return next((size_m for size_m in SIZES_M if size_m >= wish_m), SIZES_M[-1])


def cell_of(latitude: float, longitude: float, size_m: int) -> Cell:
    """The cell of one of SIZES_M that holds a place; degrees, latitude from -90 to 90."""
    level = LEVELS[size_m]
    up = (latitude + 90) / 180 * ROWS
    row = min(ROWS - 1, int(up))
    columns = _base_columns(row)
    along = (longitude + 180) % 360 / 360 * columns
    column = min(columns - 1, int(along))
    if level == 0:
        return Cell(BASE_M, row, column, columns)
    if level > 0:
        return _coarser(row, column, columns, level)
    return _finer(Cell(BASE_M, row, column, columns), up - row, along - column, -level)


def _finer(cell: Cell, up: float, along: float, halvings: int) -> Cell:
    """`up` and `along` are the place's parts of the cell, from 0 to 1."""
    size_m, row, column, columns = cell
    for _ in range(halvings):
        size_m //= 2
        half = min(1, int(up * 2))
        row, up = 2 * row + half, up * 2 - half
        if _is_halved(size_m, row, columns):
            half = min(1, int(along * 2))
            column, along = 2 * column + half, along * 2 - half
            columns *= 2
    return Cell(size_m, row, column, columns)


def _is_halved(size_m: int, row: int, columns: int) -> bool:
    if columns >= COLUMNS_ALWAYS_HALVED:
        return True
    latitude = (row + 0.5) * 180 / (ROWS * (BASE_M // size_m)) - 90
    return _around_m(latitude) / (2 * columns) >= WIDTH_MIN * size_m


def _coarser(row: int, column: int, columns: int, levels: int) -> Cell:
    rows = ROWS
    for level in range(1, levels + 1):
        rows //= 2
        row = min(row // 2, rows - 1)
        fewer = _coarse_columns(row, level)
        column = (2 * column + 1) * fewer // (2 * columns)
        columns = fewer
    return Cell(BASE_M << levels, row, column, columns)


@lru_cache(maxsize=65_536)
def _coarse_columns(row: int, level: int) -> int:
    first, last = _base_rows(row, level)
    return max(1, min(_base_columns(first), _base_columns(last)) >> level)


def _base_rows(row: int, level: int) -> tuple[int, int]:
    """First and last base row of a coarser row."""
    last_row = (ROWS >> level) - 1
    return row << level, ROWS - 1 if row == last_row else ((row + 1) << level) - 1


@lru_cache(maxsize=ROWS)
def _base_columns(row: int) -> int:
    return max(1, round(_around_m((row + 0.5) * 180 / ROWS - 90) / BASE_M))


def _around_m(latitude: float) -> float:
    return 360 * METRES_PER_DEGREE * math.cos(math.radians(latitude))


def elevation_told(elevation_m: float, size_m: int) -> float:
    """The middle of the elevation's step for cells of a size: a fifth of it high."""
    level = LEVELS[size_m] - ELEVATION_LEVEL
    step = round(elevation_m / ELEVATION_STEP_M)
    if level < 0:
        above = elevation_m >= step * ELEVATION_STEP_M
        return (step + (0.25 if above else -0.25)) * ELEVATION_STEP_M
    first = step >> level << level
    return (first + ((1 << level) - 1) / 2) * ELEVATION_STEP_M
