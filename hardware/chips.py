"""What each chip's pins can do; from the data sheets of ESP32, ESP32-S3 and ESP32-C3."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Chip:
    """Pins of a chip as GPIO numbers. peak_ma is what its supply must be able to give (Wi-Fi)."""

    name: str
    title: str
    pins: frozenset[int]
    flash: frozenset[int]
    strapping: frozenset[int]
    input_only: frozenset[int]
    console: frozenset[int]
    uarts: int
    i2cs: int
    i2ss: int
    average_ma: float
    peak_ma: float


def _pins(*spans: tuple[int, int]) -> frozenset[int]:
    return frozenset(pin for low, high in spans for pin in range(low, high + 1))


CHIPS = {
    chip.name: chip
    for chip in (
        Chip(
            "esp32",
            "ESP32",
            _pins((0, 19), (21, 23), (25, 27), (32, 39)),
            flash=_pins((6, 11)),
            strapping=frozenset({0, 2, 5, 12, 15}),
            input_only=_pins((34, 39)),
            console=frozenset({1, 3}),
            uarts=3,
            i2cs=2,
            i2ss=2,
            average_ma=60,
            peak_ma=500,
        ),
        Chip(
            "esp32s3",
            "ESP32-S3",
            _pins((0, 21), (26, 48)),
            flash=_pins((26, 37)),
            strapping=frozenset({0, 3, 45, 46}),
            input_only=frozenset(),
            console=frozenset({19, 20, 43, 44}),
            uarts=3,
            i2cs=2,
            i2ss=2,
            average_ma=60,
            peak_ma=500,
        ),
        Chip(
            "esp32c3",
            "ESP32-C3",
            _pins((0, 21)),
            flash=_pins((11, 17)),
            strapping=frozenset({2, 8, 9}),
            input_only=frozenset(),
            console=frozenset({18, 19, 20, 21}),
            uarts=2,
            i2cs=1,
            i2ss=1,
            average_ma=40,
            peak_ma=500,
        ),
    )
}
