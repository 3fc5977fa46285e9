"""Sensirion SGP41: raw signals of volatile organic compounds and nitrogen oxides, I2C 0x59.

Where it may run all the time it is read every second and gives the gas indices as well; asked for
raw values alone ("indices": false) it is heated 10 s before the instant and sleeps otherwise.
Source: Sensirion, Datasheet SGP41, version 1.
"""

from firmware.sensors.base import bus_of, first_flag
from firmware.sensors.crc8 import WordSensor
from firmware.sensors.gas_index import NOX, VOC, GasIndex
from protocol import quantity as q
from protocol.wire import Q_FAULT, Q_MISSING, Q_OK, Q_WARMING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.sensors.base import Sensor
    from firmware.sensors.bus import Entry, Hal, I2c, Options, Work

CONDITION = 0x2612
MEASURE = 0x2619
SELF_TEST = 0x280E
SERIAL = 0x3682
HEATER_OFF = 0x3615
PASSED = 0xD400
CONDITIONING_S = 10
MEASURE_MS = 55
PERIOD_MS = 1000
STUCK_AFTER = 30
USUAL_HUMIDITY, USUAL_TEMPERATURE = 5000, 2500


def humidity_ticks(centi_percent: int) -> int:
    """Relative humidity as the sensor wants it."""
    return min(max(centi_percent, 0), 10000) * 65535 // 10000


def temperature_ticks(centi_degrees: int) -> int:
    """Temperature as the sensor wants it."""
    return (min(max(centi_degrees, -4500), 13000) + 4500) * 65535 // 17500


class Sgp41(WordSensor):
    """Channels raw VOC and NOx, and their indices unless option "indices" is false.

    climate: the sensor whose temperature and humidity it compensates for; else 25 degC, 50 %.
    """

    ADDRESS = 0x59
    ANSWER_MS = 1500
    EAGER = False

    def __init__(self, bus: "I2c", options: "Options", now_ms: int = 0) -> None:
        self.indices = options.get("indices", True)
        self.climate: "Sensor | None" = None
        self.healthy = True
        self.voc = GasIndex(VOC)
        self.nox = GasIndex(NOX)
        if self.indices:
            self.CHANNELS = (
                (q.VOC_RAW, None),
                (q.NOX_RAW, None),
                (q.VOC_INDEX, None),
                (q.NOX_INDEX, None),
            )
        else:
            self.CHANNELS = ((q.VOC_RAW, None), (q.NOX_RAW, None))
            self.LEAD_MS = CONDITIONING_S * 1000 + 1000
        super().__init__(bus, options, now_ms)

    def setup(self) -> "Work":
        """Who is there, whether it is healthy; with indices it then measures until it fails."""
        self.send(SERIAL)
        yield 2
        self.words(3)
        self.send(SELF_TEST)
        yield 330
        self.healthy = self.words(1)[0] == PASSED
        if self.indices:
            yield from self._condition()
            while True:
                due_ms = self.now_ms + PERIOD_MS
                yield from self._read()
                self.done()
                yield max(1, due_ms - self.now_ms)

    def measure(self) -> "Work":
        """Heat, measure once, and rest."""
        yield from self._condition()
        yield from self._read()
        self.send(HEATER_OFF)

    def _condition(self) -> "Work":
        """Ten seconds and no more: longer conditioning harms the sensor."""
        self.flag_all(Q_WARMING)
        for _ in range(CONDITIONING_S):
            self.send(CONDITION, *self._air())
            yield PERIOD_MS
            self.put(0, self.words(1)[0], Q_WARMING)
        self.put(1, 0, Q_MISSING)

    def _read(self) -> "Work":
        self.send(MEASURE, *self._air())
        yield MEASURE_MS
        voc, nox = self.words(2)
        flag = Q_OK if self.healthy else Q_FAULT
        flag = first_flag(flag, self.stuck((voc, nox), STUCK_AFTER))
        self.put(0, voc, flag)
        self.put(1, nox, flag)
        if self.indices:
            self._index(2, self.voc, voc, flag)
            self._index(3, self.nox, nox, flag)

    def _index(self, channel: int, gas: GasIndex, raw: int, flag: int) -> None:
        value = gas.update(raw)
        self.put(channel, value, first_flag(flag, Q_OK if gas.learned else Q_WARMING))

    def _air(self) -> "tuple[int, int]":
        """Humidity and temperature around it, in ticks."""
        humidity: "int | None" = None
        temperature: "int | None" = None
        if self.climate is not None:
            humidity = self.climate.fresh(q.HUMIDITY)
            temperature = self.climate.fresh(q.TEMPERATURE)
        return (
            humidity_ticks(USUAL_HUMIDITY if humidity is None else humidity),
            temperature_ticks(USUAL_TEMPERATURE if temperature is None else temperature),
        )


def from_board(entry: "Entry", hal: "Hal", now_ms: int = 0) -> Sgp41:
    """Build it from an entry of board.json."""
    return Sgp41(bus_of(entry, hal), entry.get("options", {}), now_ms)
