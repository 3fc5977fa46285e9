"""What several networks tell together of a place: `python -m benchmarks.places`. Last line: JSON.

For random places and sets of cell sizes: the part of the smallest cell that still fits all answers,
on average and at worst, with a grid of its own for each size (as it was before decision 023) and
with the nested one. Also what an answer of each grid tells together, for nodes told by both.
"""

import json
import math
import random
from collections.abc import Callable
from statistics import mean

from collector import grid

PLACES = 1_000
POINTS = 12
"""By POINTS points are tried in each smallest cell."""
SETS = ((500, 1_000, 2_000), (900, 1_000, 1_100), (250, 500, 1_000, 4_000))

Tell = Callable[[float, float, int], object]


def own_grid(latitude: float, longitude: float, grid_m: int) -> tuple[int, int]:
    """Row and column of the grid that each size had for itself."""
    rows = max(1, round(180 * grid.METRES_PER_DEGREE / grid_m))
    row = min(rows - 1, int((latitude + 90) / 180 * rows))
    columns = own_columns(rows, row, grid_m)
    return row, int((longitude + 180) % 360 / 360 * columns)


def own_columns(rows: int, row: int, grid_m: int) -> int:
    """Columns of a row of that grid."""
    middle = (row + 0.5) * 180 / rows - 90
    around_m = 360 * grid.METRES_PER_DEGREE * math.cos(math.radians(middle))
    return max(1, round(around_m / grid_m))


def nested(latitude: float, longitude: float, grid_m: int) -> grid.Cell:
    """The cell that is told now."""
    return grid.cell_of(latitude, longitude, grid.size_for(grid_m))


def part_left(
    tells: list[tuple[Tell, int]], smallest: tuple[Tell, int], place: tuple[float, float]
) -> float:
    """The part of a place's cell in the smallest grid that fits all answers."""
    tell, size_m = smallest
    answer = tell(*place, size_m)
    answers = [each(*place, wish_m) for each, wish_m in tells]
    reach = 1.2 * grid.size_for(size_m) / grid.METRES_PER_DEGREE
    wide = reach / math.cos(math.radians(place[0]))
    inside = fitting = 0
    for up in range(-2 * POINTS, 2 * POINTS + 1):
        for along in range(-2 * POINTS, 2 * POINTS + 1):
            near = place[0] + up * reach / POINTS / 2, place[1] + along * wide / POINTS / 2
            if tell(*near, size_m) == answer:
                inside += 1
                fitting += all(
                    each(*near, wish_m) == told
                    for (each, wish_m), told in zip(tells, answers, strict=True)
                )
    return fitting / inside


def shares(tells: list[tuple[Tell, int]], smallest: tuple[Tell, int]) -> tuple[float, float]:
    """Mean and smallest part left in percent, for places where people live."""
    chance = random.Random(1)
    places = [(chance.uniform(-60, 70), chance.uniform(-179, 179)) for _ in range(PLACES)]
    parts = [part_left(tells, smallest, place) for place in places]
    return round(100 * mean(parts), 1), round(100 * min(parts), 1)


def main() -> None:
    """Prints a line for each set, then all as JSON."""
    found = {}
    for sizes_m in SETS:
        name = ", ".join(str(size_m) for size_m in sizes_m)
        for word, tell in (("own grids", own_grid), ("nested", nested)):
            tells: list[tuple[Tell, int]] = [(tell, size_m) for size_m in sizes_m]
            found[f"{name}: {word}"] = shares(tells, (tell, min(sizes_m)))
    for size_m in (250, 500, 1_000, 2_000, 5_000):
        found[f"{size_m}: told by both grids"] = shares(
            [(own_grid, size_m), (nested, size_m)], (own_grid, size_m)
        )
    for name, (average, worst) in found.items():
        print(f"{name:40} {average:6.1f} % on average, {worst:6.1f} % at worst")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
