"""What sensor.community and Madavi share: the names and requests of the airRohr firmware.

A request holds the readings that one sensor or board took at one time.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from collector.readings.observation import Channel, Observation
from collector.sinks._http import HttpClient, HttpSettings
from collector.sinks._values import decimal
from collector.sinks.base import Capabilities, Group, Rate, Sink

SOFTWARE = "OSN-1"
FRESH_S = 300.0
NETWORK_RATE = Rate(per_s=2.0, burst=10)


class Pin(NamedTuple):
    """A value_type of sensor.community and the pin its sensor is registered under."""

    value_type: str
    pin: int


PINS: Mapping[str, Pin] = {
    "pm1": Pin("P0", 1),
    "pm2_5": Pin("P2", 1),
    "pm4": Pin("P4", 1),
    "pm10": Pin("P1", 1),
    "number_0_5": Pin("N05", 1),
    "number_1": Pin("N1", 1),
    "number_2_5": Pin("N25", 1),
    "number_4": Pin("N4", 1),
    "number_10": Pin("N10", 1),
    "particle_size": Pin("TS", 1),
    "temperature": Pin("temperature", 11),
    "humidity": Pin("humidity", 11),
    "pressure": Pin("pressure", 11),
    "co2": Pin("co2_ppm", 17),
    "laeq": Pin("noise_LAeq", 15),
    "lafmin": Pin("noise_LA_min", 15),
    "lafmax": Pin("noise_LA_max", 15),
}
"""As the airRohr firmware sends them."""


def pin_of(channel: Channel) -> Pin | None:
    """A channel's row; None for quantities, second sensors and corrected values without one."""
    return None if channel.instance or channel.formula else PINS.get(channel.quantity.name)


def live(interval_s: float) -> Capabilities:
    """Of a network that dates readings by their arrival, and takes one each `interval_s`."""
    return Capabilities(
        backlog=False,
        latest_only=True,
        interval_s=interval_s,
        fresh_s=FRESH_S,
        network_rate=NETWORK_RATE,
        address_rate=Rate(per_s=1 / interval_s, burst=3),
    )


class AirRohrSink(Sink):
    """Posts to one server. Subclasses say where a channel goes and what it is called there."""

    def __init__(self, name: str, capabilities: Capabilities, url: str, http: HttpSettings) -> None:
        self.name = name
        self.capabilities = capabilities
        self._http = HttpClient(url, http, {})

    def address(self, channel: Channel) -> str:
        """Whom a channel's readings are sent as; one request is for one address."""
        raise LookupError(f"{type(self).__name__} has no addresses")

    def value_type(self, channel: Channel) -> str | None:
        """The name of a channel's values there, None when it cannot be sent."""
        raise LookupError(f"{type(self).__name__} names no channels")

    def split(self, observations: Sequence[Observation]) -> Iterable[Group]:
        groups: dict[tuple[int, str], list[Observation]] = {}
        for observation in observations:
            key = (observation.time_ms, self.address(observation.channel))
            groups.setdefault(key, []).append(observation)
        for (_, address), readings in sorted(groups.items(), key=lambda item: item[0]):
            yield Group(address, readings)

    def document(self, batch: Sequence[Observation]) -> dict[str, Any]:
        """A request's body, without a time."""
        return {
            "software_version": SOFTWARE,
            "sensordatavalues": [
                {"value_type": self.value_type(o.channel), "value": decimal(o.value)} for o in batch
            ],
        }

    async def close(self) -> None:
        await self._http.close()
