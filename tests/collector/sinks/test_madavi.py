"""Madavi: a board in one body, prefixes kept."""

from collector.sinks import madavi
from collector.sinks.base import MemoryIds
from simulator.upstream.base import Serving
from simulator.upstream.madavi import Madavi


async def test_a_whole_board_in_one_body(reading) -> None:
    server = Madavi()
    async with Serving(server) as url:
        config = madavi.Config(
            url=f"{url}/data.php", prefixes={"pm10": "SDS_"}, uids={"street 1": "esp32-1"}
        )
        sink = madavi.build(config, "madavi", MemoryIds())
        batch = [reading("pm10", 12.3), reading("temperature", 21.5), reading("laeq", 55.4)]
        (group,) = sink.split(batch)
        await sink.send(group.observations)
        await sink.close()
    ((uid, body),) = server.bodies
    assert uid == "esp32-1"
    assert [row["value_type"] for row in body["sensordatavalues"]] == [
        "SDS_P1", "BME280_temperature", "DNMS_noise_LAeq"
    ]  # fmt: skip


def test_takes_no_backlog() -> None:
    sink = madavi.build(madavi.Config(), "madavi", MemoryIds())
    assert not sink.capabilities.backlog
