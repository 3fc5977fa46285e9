"""Home Assistant: discovery that it accepts, the newest state only."""

from collector.sinks import home_assistant
from collector.sinks.base import Accepted, MemoryIds
from simulator.upstream.home_assistant import HomeAssistant


def sink_for(url: str) -> home_assistant.HomeAssistant:
    settings = home_assistant.PublisherSettings(port=int(url.rsplit(":", 1)[1]), timeout_s=5)
    config = home_assistant.Config(mqtt=settings)
    return home_assistant.build(config, "home", MemoryIds())


async def test_announces_and_updates(reading, node) -> None:
    server = HomeAssistant()
    names = (
        "pm1", "pm2_5", "pm4", "pm10", "co2", "voc_index", "temperature", "humidity", "pressure",
        "laeq", "lcpeak", "battery_voltage", "rssi",
    )  # fmt: skip
    async with server.serving() as url:
        sink = sink_for(url)
        await sink.prepare([node])
        batch = [reading(name, 50.0) for name in names]
        await sink.provision([o.channel for o in batch])
        said = await sink.send(batch)
        await sink.close()
    assert said == [Accepted()] * len(names)
    assert server.ignored == []
    assert len(server.entities) == len(names)
    states = {id.rsplit("_", 1)[-1]: entity["state"] for id, entity in server.entities.items()}
    assert states["voltage"] == 0.05, "volts, not millivolts"
    assert server.retained["osn/ha/status"] == b"offline"


async def test_a_new_channel_is_added_to_its_device(reading, node) -> None:
    server = HomeAssistant()
    async with server.serving() as url:
        sink = sink_for(url)
        for name in ("pm10", "laeq"):
            await sink.provision([reading(name, 1.0).channel])
            await sink.send([reading(name, 1.0)])
        await sink.close()
    assert len(server.entities) == 2
    assert server.ignored == []


async def test_after_a_lost_connection_it_is_announced_again(reading) -> None:
    server = HomeAssistant()
    async with server.serving() as url:
        sink = sink_for(url)
        await sink.provision([reading("pm10", 1.0).channel])
        await sink._client.close()
        server.retained.clear()
        await sink.send([reading("pm10", 2.0)])
        assert server.retained["osn/ha/status"] == b"online"
        assert any(topic.endswith("/config") for topic in server.retained)
        await sink.close()


def test_bands_have_no_entity_and_there_is_no_backlog(reading) -> None:
    sink = sink_for("mqtt://127.0.0.1:1")
    assert sink.upstream_name(reading("bands_z", 1.0, band=17).channel) is None
    assert sink.capabilities.latest_only
    assert not sink.capabilities.backlog
