"""Runs driven by the world: events in the air, sensors and drivers in the loop, truth kept."""

import pytest

from firmware.sampling import Slot
from simulator import city
from simulator.city import CityError, Heard, city_of
from simulator.oracle import Verdict
from simulator.simulation import RunOptions, simulate
from simulator.soak import drawn
from simulator.world import HOUR_MS

BOARDS = ["street", "mobile", "classic", "indoor", "noise"]


def short(name: str, nodes: int = 5) -> Verdict:
    return simulate(drawn(name, 3), RunOptions(3, nodes=nodes, hours=0.2))[0]


@pytest.mark.parametrize("name", ["city_day", "new_years_eve"])
def test_every_reading_of_every_board_is_what_its_driver_and_the_world_said(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: set[str] = set()
    found_at = Heard._found_at

    def noting(heard: Heard, uptime_ms: int, quantity_name: str) -> list[float]:
        compared.add(quantity_name)
        return found_at(heard, uptime_ms, quantity_name)

    monkeypatch.setattr(Heard, "_found_at", noting)
    verdict = short(name)
    assert verdict.findings == []
    assert verdict.readings_delivered > 2_000
    assert compared == set(city.TOLERANCES)


def test_a_driver_that_says_what_is_not_so_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    put = Slot.put

    def warmer(slot: Slot, channel: int, value: int | None, quality: int = 0) -> None:
        wrong = type(slot.sensor).__name__ == "Bme280" and channel == 0 and value is not None
        put(slot, channel, value + 100 if wrong and value is not None else value, quality)

    monkeypatch.setattr(Slot, "put", warmer)
    findings = short("city_day", nodes=3).findings
    assert findings
    assert all("temperature is" in text for text in findings)


def test_a_value_that_changes_after_the_driver_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    listen = Heard.listen

    def listening(heard: Heard, node: object) -> None:
        listen(heard, node)  # type: ignore[arg-type]
        said = node.sampler.batch.put  # type: ignore[attr-defined]

        def changing(channel: int, value: int | None, quality: int = 0, band: int = 0) -> None:
            said(channel, value, quality, band)
            for origin, (noted, code) in list(heard._said.items())[-1:]:
                if isinstance(noted, int):
                    heard._said[origin] = noted + 1, code

        node.sampler.batch.put = changing  # type: ignore[attr-defined]

    monkeypatch.setattr(Heard, "listen", listening)
    findings = short("city_day", nodes=1).findings
    assert findings
    assert "not what the driver said" in findings[0]


def test_events_happen_at_their_hour_of_each_day_of_the_run() -> None:
    table = {"boards": BOARDS, "start_hour": 23}
    fireworks = [{"kind": "fireworks", "hour": 23.5, "minutes": 60}]
    town = city_of(table, fireworks, 1, hours=30)
    for day in range(2):
        for after_hours, loud in ((0.25, False), (1.0, True), (2.0, False)):
            at_ms = town.began_ms + round((24 * day + after_hours) * HOUR_MS)
            assert (town.world.strength("fireworks", at_ms) > 0) == loud
    assert [town.board(number)["board"] for number in range(6)] == [*BOARDS, "street"]
    assert town.place(1).route is not None
    assert town.place(5).school


@pytest.mark.parametrize(
    ("table", "events", "said"),
    [
        ({"boards": ["nowhere"]}, [], "nowhere"),
        ({"boards": BOARDS}, [{"kind": "hail", "hour": 1, "minutes": 1}], "no event 'hail'"),
        ({}, [], "boards"),
    ],
)
def test_a_city_that_cannot_be_is_named(
    table: dict[str, object], events: list[dict[str, object]], said: str
) -> None:
    with pytest.raises(CityError, match=said):
        city_of(table, events, 1, 1.0)
