"""InfluxDB: floats as floats, tags escaped, partial writes found by halving."""

from dataclasses import replace

import pytest

from collector.secret import Secret
from collector.sinks import influxdb
from collector.sinks.base import AccessDenied, DeliverySettings, MemoryIds, NotSent, Refused
from collector.structure import KeyFault
from simulator.upstream.base import Serving
from simulator.upstream.influxdb import InfluxDb


def version_1(url: str, **more) -> influxdb.InfluxDb:
    config = influxdb.Config(url=url, version=1, database="osn", **more)
    return influxdb.build(config, "influx", MemoryIds())


def version_2(url: str, token: str = "t", bucket: str = "osn") -> influxdb.InfluxDb:
    config = influxdb.Config(url=url, org="o", bucket=bucket, token=Secret(token))
    return influxdb.build(config, "influx", MemoryIds())


def test_a_line(reading) -> None:
    assert influxdb.line(reading("pressure", 101325)) == (
        "air,node=a1b2c3d4 pressure=101325.0 1770000000000"
    )
    spectrum = influxdb.line(reading("bands_z", 40.5, instance=1, band=17, quality=8), flagged=True)
    assert ",band=17," in spectrum
    assert ",instance=1," in spectrum
    assert ' bands_z=40.5,bands_z_quality="suspect" ' in spectrum


async def test_a_quality_that_changes_replaces_the_one_before(reading) -> None:
    server = InfluxDb(databases=("osn",))
    async with Serving(server) as url:
        sink = version_1(url, delivery=DeliverySettings(qualities=("ok", "suspect")))
        for quality in (8, 0):
            await sink.send([reading("pm10", 7.1, quality=quality)])
        await sink.close()
    assert server.stored.total() == 1
    assert list(server.texts.values()) == ['"ok"']


async def test_what_a_node_is_called_is_told_apart_from_its_readings(reading, node) -> None:
    server = InfluxDb(databases=("osn",))
    odd = replace(node, name='a "b\\', uuid=node.uuid)
    async with Serving(server) as url:
        sink = version_1(url)
        await sink.provision([reading("pm10", 1.0).channel, reading("laeq", 1.0).channel])
        await sink.provision([reading("pm10", 1.0, node=odd).channel])
        await sink.close()
    assert server.stored.total() == 0
    assert server.texts["osn_node,node=a1b2c3d4", "name", None] == '"a \\"b\\\\"'
    assert server.texts["osn_node,node=a1b2c3d4", "board", None] == '"street"'


async def test_both_versions(reading, node) -> None:
    server = InfluxDb(token="t", databases=("osn",))
    async with Serving(server) as url:
        for sink in (version_1(url), version_2(url)):
            await sink.prepare([node])
            await sink.send([reading("pm10", 7.1), reading("pm10", 7.2, 1)])
            await sink.close()
    assert server.stored.total() == 2, "the same points overwrite"


async def test_a_database_is_made_when_told_so(reading, node) -> None:
    server = InfluxDb(databases=())
    async with Serving(server) as url:
        sink = version_1(url)
        with pytest.raises(AccessDenied, match="no such database"):
            await sink.send([reading("pm10", 7.1)])
        await sink.close()
        sink = version_1(url, create_database=True)
        await sink.prepare([node])
        await sink.send([reading("pm10", 7.1)])
        server.databases.clear()
        with pytest.raises(NotSent, match="made again"):
            await sink.send([reading("pm10", 7.1)])
        await sink.send([reading("pm10", 7.1)])
        await sink.close()


async def test_a_partial_write_is_a_refusal_to_be_halved(reading) -> None:
    server = InfluxDb({"bad_point": 1.0}, token="t")
    async with Serving(server) as url:
        for sink in (version_1(url), version_2(url)):
            with pytest.raises(Refused):
                await sink.send([reading("pm10", 7.1)])
            await sink.close()
        for wrong in (version_2(url, token="x"), version_2(url, bucket="none")):
            with pytest.raises(AccessDenied):
                await wrong.send([reading("pm10", 7.1)])
            await wrong.close()


def test_what_each_version_needs() -> None:
    with pytest.raises(KeyFault, match="database"):
        influxdb.Config(version=1)
    with pytest.raises(KeyFault, match="org"):
        influxdb.Config()
