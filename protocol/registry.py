"""The registry: one row for each quantity, appended to and never changed.

Code for the board (quantity.py), the tables of docs/protocol.md and the sinks' mappings come
from these rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

REVISION = 1
EXPERIMENTAL = 0xC0
ESCAPE = 0xFF

Kind = Literal["air", "noise", "health", "position", "time"]
Shape = Literal["scalar", "bands", "classes"]
Aggregate = Literal["mean", "energy", "max", "min", "sum", "last", "none"]


@dataclass(frozen=True, slots=True)
class Quantity:
    """What an integer on the wire stands for.

    value = integer * 10**exponent / divisor, in unit. aggregate says how several values become
    one. low and high bound what is plausible. definition is a public vocabulary's page, or "".
    """

    id: int
    name: str
    title: str
    kind: Kind
    unit: str
    exponent: int
    low: float
    high: float
    aggregate: Aggregate = "mean"
    shape: Shape = "scalar"
    divisor: int = 1
    definition: str = ""
    note: str = ""

    def value(self, raw: int, exponent: int | None = None) -> float:
        """The value of an integer on the wire, in unit; exponent defaults to the row's."""
        return scaled(raw, self.exponent if exponent is None else exponent, self.divisor)

    @property
    def measure(self) -> "Unit":
        """The unit in words and in the codes of other systems."""
        return UNITS[self.unit]

    @property
    def step(self) -> float:
        """The smallest difference that the default exponent can tell."""
        return scaled(1, self.exponent, self.divisor)


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit: its symbol here, in words, in UCUM, and in UN/CEFACT common codes (or "")."""

    symbol: str
    name: str
    ucum: str
    unece: str = ""


_POWERS = (1, 10, 100, 1000, 10**4, 10**5, 10**6, 10**7, 10**8, 10**9)


def scaled(raw: int, exponent: int, divisor: int = 1) -> float:
    """raw * 10**exponent / divisor as the nearest float; exponent -9 to 9."""
    if exponent >= 0:
        return raw * _POWERS[exponent] / divisor
    return raw / (divisor * _POWERS[-exponent])


_UNITS = (
    Unit("ug/m3", "microgram per cubic metre", "ug/m3", "GQ"),
    Unit("1/0.1L", "particles per 0.1 litre", "{#}/(100.mL)"),
    Unit("1/cm3", "particles per cubic centimetre", "{#}/cm3"),
    Unit("um", "micrometre", "um", "4H"),
    Unit("degC", "degree Celsius", "Cel", "CEL"),
    Unit("%", "percent", "%", "P1"),
    Unit("Pa", "pascal", "Pa", "PAL"),
    Unit("ppm", "parts per million", "[ppm]", "59"),
    Unit("1", "one", "1", "C62"),
    Unit("ticks", "raw signal", "{ticks}"),
    Unit("dB", "decibel", "dB", "2N"),
    Unit("counts", "counts", "{counts}"),
    Unit("ms", "millisecond", "ms", "C26"),
    Unit("s", "second", "s", "SEC"),
    Unit("mV", "millivolt", "mV", "2Z"),
    Unit("dBm", "decibel milliwatt", "dB[mW]", "DBM"),
    Unit("B", "byte", "By", "AD"),
    Unit("uAh", "microampere hour", "uA.h"),
    Unit("deg", "degree", "deg", "DD"),
    Unit("m", "metre", "m", "MTR"),
)
UNITS: Mapping[str, Unit] = MappingProxyType({unit.symbol: unit for unit in _UNITS})

_POLLUTANT = "http://dd.eionet.europa.eu/vocabulary/aq/pollutant/"
_CF = "http://vocab.nerc.ac.uk/standard_name/"


def _mass(id: int, name: str, title: str, definition: str = "", note: str = "") -> Quantity:
    return Quantity(id, name, title, "air", "ug/m3", -1, 0, 1000, definition=definition, note=note)


def _count(id: int, name: str, size: str) -> Quantity:
    title = f"Number concentration > {size} um"
    return Quantity(id, name, title, "air", "1/0.1L", 0, 0, 65535, note="Plantower")


def _number(id: int, name: str, size: str) -> Quantity:
    title = f"Number concentration 0.3 to {size} um"
    return Quantity(id, name, title, "air", "1/cm3", -1, 0, 3000, note="Sensirion")


def _level(id: int, name: str, title: str, aggregate: Aggregate = "energy") -> Quantity:
    return Quantity(id, name, title, "noise", "dB", -1, 10, 140, aggregate)


def _bands(id: int, name: str, title: str, exponent: int, divisor: int) -> Quantity:
    note = "first_band = 10 log10(f/Hz): 13 is 20 Hz, 43 is 20 kHz"
    return Quantity(
        id, name, title, "noise", "dB", exponent, -20, 140, "energy", "bands", divisor, note=note
    )


_ROWS = (
    Quantity(0, "time_residual", "Time residual", "time", "ms", 0, -(2.0**31), 2.0**31, "none"),
    _mass(1, "pm10", "PM10 mass concentration", _POLLUTANT + "5"),
    _mass(2, "pm2_5", "PM2.5 mass concentration", _POLLUTANT + "6001"),
    _mass(3, "pm1", "PM1 mass concentration", _POLLUTANT + "6002"),
    _mass(4, "pm4", "PM4 mass concentration"),
    _count(5, "count_0_3", "0.3"),
    _count(6, "count_0_5", "0.5"),
    _count(7, "count_1", "1"),
    _count(8, "count_2_5", "2.5"),
    _count(9, "count_10", "10"),
    _mass(10, "pm10_cf1", "PM10, factory calibration CF=1", note="Plantower"),
    _mass(11, "pm2_5_cf1", "PM2.5, factory calibration CF=1", note="Plantower"),
    _mass(12, "pm1_cf1", "PM1, factory calibration CF=1", note="Plantower"),
    _count(13, "count_5", "5"),
    Quantity(14, "particle_size", "Typical particle size", "air", "um", -2, 0, 10),
    Quantity(
        16, "temperature", "Air temperature", "air", "degC", -2, -40, 85,
        definition=_CF + "air_temperature/",
    ),
    Quantity(
        17, "humidity", "Relative humidity", "air", "%", -2, 0, 100,
        definition=_CF + "relative_humidity/",
    ),
    Quantity(
        18, "pressure", "Air pressure", "air", "Pa", 0, 30000, 110000,
        definition=_CF + "air_pressure/",
    ),
    _number(19, "number_0_5", "0.5"),
    _number(20, "number_1", "1"),
    _number(21, "number_2_5", "2.5"),
    _number(22, "number_4", "4"),
    _number(23, "number_10", "10"),
    Quantity(
        24, "co2", "Carbon dioxide", "air", "ppm", 0, 350, 40000,
        definition=_CF + "mole_fraction_of_carbon_dioxide_in_air/",
    ),
    Quantity(25, "voc_index", "VOC index", "air", "1", 0, 0, 500),
    Quantity(26, "nox_index", "NOx index", "air", "1", 0, 0, 500),
    Quantity(27, "voc_raw", "VOC raw signal", "air", "ticks", 0, 0, 65535),
    Quantity(28, "nox_raw", "NOx raw signal", "air", "ticks", 0, 0, 65535),
    _level(32, "laeq", "LAeq, equivalent continuous level, A-weighted"),
    _level(33, "lafmax", "LAFmax, highest fast level, A-weighted", "max"),
    _level(34, "lafmin", "LAFmin, lowest fast level, A-weighted", "min"),
    _level(35, "la10", "LA10, level exceeded 10 % of the time", "none"),
    _level(36, "la50", "LA50, level exceeded 50 % of the time", "none"),
    _level(37, "la90", "LA90, level exceeded 90 % of the time", "none"),
    _level(38, "lceq", "LCeq, equivalent continuous level, C-weighted"),
    _level(39, "lcpeak", "LCpeak, highest peak, C-weighted", "max"),
    _bands(0x40, "bands_z", "One-third-octave levels, unweighted", -1, 1),
    _bands(0x41, "bands_a", "One-third-octave levels, A-weighted", -1, 1),
    _bands(0x42, "bands_z_half", "One-third-octave levels, unweighted, half decibels", 0, 2),
    _bands(0x43, "bands_a_half", "One-third-octave levels, A-weighted, half decibels", 0, 2),
    Quantity(
        0x48, "level_histogram", "Histogram of fast levels", "noise", "counts", 0, 0, 2.0**31,
        "sum", "classes", note="class c counts levels from c/2 to (c+1)/2 dB",
    ),
    Quantity(0x49, "valid_time", "Valid measurement time", "noise", "ms", 0, 0, 2.0**31, "sum"),
    Quantity(
        0x4A, "time_above", "Time above the level threshold", "noise", "ms", 0, 0, 2.0**31, "sum"
    ),
    Quantity(0x70, "battery_voltage", "Battery voltage", "health", "mV", 0, 0, 30000, "last"),
    Quantity(0x71, "rssi", "Received signal strength", "health", "dBm", 0, -130, 0, "last"),
    Quantity(0x72, "free_heap", "Free heap", "health", "B", 0, 0, 2.0**31, "min"),
    Quantity(0x73, "uptime", "Uptime", "health", "s", 0, 0, 2.0**31, "last"),
    Quantity(0x74, "reset_cause", "Reset cause", "health", "1", 0, 0, 255, "last"),
    Quantity(0x75, "chip_temperature", "Chip temperature", "health", "degC", -1, -40, 125),
    Quantity(0x76, "queue_depth", "Frames in the spool", "health", "1", 0, 0, 2.0**31, "last"),
    Quantity(0x77, "bus_errors", "Bus errors since boot", "health", "1", 0, 0, 2.0**31, "last"),
    Quantity(0x78, "awake_time", "Awake time in the period", "health", "ms", 0, 0, 2.0**31, "sum"),
    Quantity(0x79, "charge", "Charge used in the period", "health", "uAh", 0, 0, 2.0**31, "sum"),
    Quantity(
        0x7A, "checksum_errors", "Checksum errors since boot", "health", "1", 0, 0, 2.0**31, "last"
    ),
    Quantity(
        0x7B, "native_heap", "Free heap of the system below", "health", "B", 0, 0, 2.0**31, "min"
    ),
    Quantity(
        0x7C, "link_failures", "Failed connections since boot", "health", "1", 0, 0, 2.0**31, "last"
    ),
    Quantity(0x80, "latitude", "Latitude (WGS 84)", "position", "deg", -5, -90, 90, "none"),
    Quantity(0x81, "longitude", "Longitude (WGS 84)", "position", "deg", -5, -180, 180, "none"),
    Quantity(0x82, "altitude", "Altitude above sea level", "position", "m", -1, -500, 9000, "none"),
    Quantity(
        0x83, "horizontal_accuracy", "Horizontal accuracy", "position", "m", -1, 0, 1e6, "none"
    ),
)  # fmt: skip

REGISTRY: Mapping[int, Quantity] = MappingProxyType({row.id: row for row in _ROWS})
_BY_NAME = {row.name: row for row in _ROWS}

SENSOR_MODELS: Mapping[int, str] = MappingProxyType(
    {
        0: "unknown",
        1: "sds011",
        2: "pms5003",
        3: "pms7003",
        4: "sps30",
        5: "sen5x",
        16: "bme280",
        17: "bmp280",
        18: "sht31",
        19: "sht4x",
        20: "bme680",
        32: "scd4x",
        33: "sgp40",
        34: "sgp41",
        48: "inmp441",
        49: "ics43434",
        50: "sph0645",
        64: "neo6m",
        65: "ds3231",
        80: "board",
    }
)


def by_name(name: str) -> Quantity:
    """The row of that name; raises KeyError with the name when there is none."""
    return _BY_NAME[name]
