"""Recipes for the encoder: channels and rows, made without randomness from outside."""

from collections.abc import Iterator
from typing import Any

Recipe = dict[str, Any]
INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1


class Numbers:
    """A small linear congruential generator: the same numbers on every machine for ever."""

    def __init__(self, seed: int) -> None:
        self.state = seed

    def below(self, limit: int) -> int:
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.state >> 33) % limit

    def near(self, spread: int) -> int:
        return self.below(2 * spread + 1) - spread


def recipe(
    name: str,
    channels: list[list[Any]],
    rows: list[list[Any]],
    *,
    t0: int = 1000,
    period: int = 60_000,
    times: list[int] | None = None,
    size: int = 1024,
) -> Recipe:
    """channels are [quantity, instance, exponent, bands, first band]; a value is a number, null,
    [number or null, quality], or {"bands": [...], "quality": code} for a vector."""
    instants = times or [t0 + period * row for row in range(len(rows))]
    return {
        "name": name,
        "channels": channels,
        "period_ms": period,
        "size": size,
        "rows": [[instant, row] for instant, row in zip(instants, rows, strict=True)],
    }


def scalar(quantity: int, instance: int = 0, exponent: int | None = None) -> list[Any]:
    return [quantity, instance, exponent, 0, 0]


def one(name: str, values: list[Any], **options: Any) -> Recipe:
    """A recipe of one scalar column."""
    return recipe(name, [scalar(18)], [[value] for value in values], **options)


def walk(numbers: Numbers, count: int, start: int, spread: int) -> list[int]:
    values = [start]
    while len(values) < count:
        values.append(values[-1] + numbers.near(spread))
    return values


def all_recipes() -> Iterator[Recipe]:
    yield from plain()
    yield from extremes()
    yield from codings()
    yield from qualities()
    yield from heads()
    yield from times()
    yield from vectors()
    yield from splits()


def plain() -> Iterator[Recipe]:
    numbers = Numbers(1)
    air = [scalar(quantity) for quantity in (1, 2, 3, 16, 17, 18, 24, 32)]
    spreads = (9, 5, 4, 12, 60, 8, 6, 25)
    starts = (213, 124, 88, 1853, 5521, 101325, 431, 523)
    for count in (1, 2, 12, 60):
        columns = [
            walk(numbers, count, start, spread)
            for start, spread in zip(starts, spreads, strict=True)
        ]
        rows = [list(row) for row in zip(*columns, strict=True)]
        yield recipe(f"street {count} x 8", air, rows, period=148_000)
    yield one("one value", [101325])
    yield one("one value 0", [0])
    yield one("two values", [101325, 101326])
    yield one("constant", [7] * 12)
    yield one("255 rows", walk(numbers, 255, 0, 3))


def extremes() -> Iterator[Recipe]:
    yield one("smallest to largest", [INT32_MIN, INT32_MAX, INT32_MIN])
    yield one("largest to smallest and 0", [INT32_MAX, INT32_MIN, 0, INT32_MAX])
    yield one("half the ring", [0, INT32_MIN, 0, 2**30, -(2**30), 2**30])
    yield one("powers of two", [0, *(2**power for power in range(31))])
    yield one("negative powers of two", [0, *(-(2**power) for power in range(32))])
    yield one("powers of two less one", [2**power - 1 for power in range(32)])
    yield one("steps of growing powers", [sum(2**p for p in range(k)) for k in range(31)])
    yield one("above int32", [5, 2**31, 5, 2**40])
    yield one("below int32", [5, -(2**31) - 1, 5, -(2**50)])
    yield recipe(
        "longitude over the date line",
        [scalar(0x80), scalar(0x81), scalar(0x82), scalar(0x83)],
        [
            [-1713400, 17999990, 120, 25],
            [-1713402, 17999998, 121, 26],
            [-1713403, -17999994, 121, 24],
            [-1713405, -17999986, 119, 25],
        ],
        period=10_000,
    )


def codings() -> Iterator[Recipe]:
    numbers = Numbers(2)
    for k in range(14):
        values = [0]
        for _ in range(20):
            values.append(values[-1] + numbers.near(2**k))
        yield one(f"Rice around k = {k}", values)
    yield one("unary 14 and 15", [0, 0, 0, 7, 0, 8, 1, 1, 1, -7, 1, 9, 0, 1])
    spike = [3, 4, 3, 5, 3, 4, 2, 3, 4, 3, 4, 3]
    yield one("a spike among small steps", [*spike, 1_000_000, *spike])
    yield one("sparse, one step", [5] * 20 + [6] * 20)
    yield one("sparse, first and last row", [5, *([6] * 30), 4])
    yield one("sparse, long gap", [5] * 200 + [9] * 54 + [8])
    yield one("sparse, large steps", [0] * 10 + [70_000] * 10 + [INT32_MIN] * 10)
    yield one("sparse, the largest step", [0] * 9 + [INT32_MIN])
    yield one("a quarter of steps is sparse", [0, 1, 1, 1, 1] * 3)
    yield one("just too many steps for sparse", [0, 1, 1, 1, 0, 0, 0, 1])


def qualities() -> Iterator[Recipe]:
    yield one("every quality", [[10 + code, code] for code in range(9)])
    yield one("quality at the end", [1, 2, 3, [4, 8]])
    yield one("quality at the beginning", [[1, 1], [2, 1], 3, 4])
    yield one("quality alternating", [[row, row % 2 * 5] for row in range(255)])
    yield one("one run over all", [[row, 7] for row in range(255)])
    yield one("missing in the middle", [5, None, None, 8])
    yield one("missing at first", [None, None, 8, 9])
    yield one("all missing", [None] * 5)
    yield one("fault without a value", [5, [None, 2], 6])
    yield one("single missing", [None])
    yield recipe(
        "a column that was never put",
        [scalar(2), scalar(16)],
        [[5, None], [6, None], [7, None]],
    )


def heads() -> Iterator[Recipe]:
    yield recipe(
        "instances",
        [scalar(16, 0), scalar(16, 1), scalar(16, 255)],
        [[1, 2, 3], [2, 2, 2]],
    )
    for exponent in (-9, -1, 0, 9):
        yield recipe(f"exponent {exponent}", [scalar(2, 0, exponent)], [[1], [2]])
    yield recipe(
        "all options of a scalar",
        [scalar(16, 3, -1)],
        [[[200, 1]], [[201, 0]], [[202, 2]]],
    )
    yield recipe("experimental quantity", [scalar(0xC0, 0, 0), scalar(0xFE, 9, -3)], [[1, -1]])
    yield recipe("unknown quantity", [scalar(0x60)], [[41], [42], [44]])
    yield recipe("63 channels", [scalar(q) for q in range(1, 64)], [list(range(63))] * 2)
    yield recipe(
        "health",
        [scalar(quantity) for quantity in range(0x70, 0x7D)],
        [[3712, -67, 84_016, 86_400, 1, 412, 3, 0, 61, 1200, 0, 120_000, 2]],
    )


def times() -> Iterator[Recipe]:
    values = [[5], [6], [8], [7], [7]]
    yield recipe(
        "irregular times",
        [scalar(2)],
        values,
        times=[1000, 149_020, 296_950, 445_070, 593_000],
        period=148_000,
    )
    yield recipe("another period", [scalar(2)], values, times=[0, 147, 294, 441, 588], period=100)
    yield recipe(
        "one gap in the grid",
        [scalar(2)],
        values,
        times=[0, 60_000, 240_000, 300_000, 360_000],
    )
    yield recipe("the same instant", [scalar(2)], values, times=[7, 7, 7, 8, 8], period=1)
    yield recipe("late uptime", [scalar(2)], values, t0=2**47)
    yield recipe("last uptime", [scalar(2)], values[:1], t0=2**48 - 1)
    yield recipe("period 0", [scalar(2)], values[:1], period=0)
    yield recipe("a clock that goes back", [scalar(2)], values, times=[9, 8, 10, 7, 11], period=1)


def vectors() -> Iterator[Recipe]:
    numbers = Numbers(3)
    bands = [0x42, 0, None, 31, 13]

    def spectrum(level: int) -> Recipe:
        return {
            "bands": [level + abs(15 - band) * -2 + numbers.near(4) for band in range(31)],
            "quality": 0,
        }

    for count in (1, 2, 12):
        rows = [[520 + numbers.near(20), spectrum(90 + numbers.near(9))] for _ in range(count)]
        yield recipe(f"noise {count} x (LAeq, 31 bands)", [scalar(32), bands], rows, period=1000)
    flat = {"bands": [64] * 31, "quality": 0}
    yield recipe("constant spectrum", [bands], [[flat]] * 5)
    yield recipe("spectrum of one band", [[0x40, 0, None, 1, 20]], [[{"bands": [5]}]])
    wild = {"bands": [INT32_MIN, INT32_MAX, 0, INT32_MAX, INT32_MIN]}
    wild_again = {"bands": [INT32_MAX, INT32_MIN, INT32_MAX, 0, 1]}
    yield recipe("extremes in a vector", [[0x40, 0, None, 5, 251]], [[wild], [wild_again], [wild]])
    yield recipe(
        "vector with all options",
        [[0x41, 2, -2, 3, 40]],
        [[{"bands": [4000, 4100, 3900], "quality": 4}], [{"bands": [4010, 4090, 3905]}]],
    )
    histogram = [0] * 220
    for _ in range(600):
        histogram[60 + numbers.below(30) + numbers.below(40)] += 1
    yield recipe("histogram", [[0x48, 0, None, 220, 36]], [[{"bands": histogram}]], period=60_000)


def splits() -> Iterator[Recipe]:
    numbers = Numbers(4)
    air = [scalar(quantity) for quantity in (1, 2, 3, 16, 17, 18, 24, 32)]
    noise = [[numbers.below(2**32) - 2**31 for _ in air] for _ in range(60)]
    yield recipe("60 x 8 of pure noise", air, noise)
    hiss = [numbers.below(2**32) - 2**31 for _ in range(255)]
    yield recipe("a row of 255 bands of noise", [[0x40, 0, None, 255, 0]], [[{"bands": hiss}]])
    both = [[5, {"bands": hiss}], [6, {"bands": hiss[::-1]}]]
    yield recipe(
        "two rows too large for a frame", [scalar(2), [0x40, 0, None, 255, 0]], both, period=1000
    )
    columns = [scalar(1 + q % 192, q // 192) for q in range(63)]
    wide = [[numbers.below(2**32) - 2**31 for _ in columns] for _ in range(3)]
    yield recipe("63 columns into small frames", columns, wide, size=240)
    yield recipe(
        "irregular rows in several frames",
        air,
        noise[:40],
        times=[row * 60_000 + numbers.below(500) for row in range(40)],
    )
