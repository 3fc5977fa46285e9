"""CKAN: one resource however often it is set up, upserts, 403 for a wrong token."""

import pytest

from collector.secret import Secret
from collector.sinks import ckan
from collector.sinks.base import AccessDenied, MemoryIds, NotSent, Refused
from simulator.upstream.base import Serving
from simulator.upstream.ckan import Ckan


def sink_for(url: str, ids: MemoryIds | None = None, **more) -> ckan.Ckan:
    given = {"token": Secret("t"), "package": "osn", **more}
    return ckan.build(ckan.Config(url=url, **given), "portal", ids or MemoryIds())


async def test_the_resource_is_made_once(reading, node) -> None:
    server = Ckan()
    async with Serving(server) as url:
        for _ in range(3):
            sink = sink_for(url)
            await sink.prepare([node])
            await sink.send([reading("pm10", 7.1), reading("bands_z", 40.0, band=17)])
            await sink.close()
    assert len(server.packages["osn"]) == 1
    assert {key[1] for key in server.stored} == {"pm10", "bands_z@17"}
    assert server.stored.total() == 2, "upserts replace"


async def test_a_resource_that_is_gone_is_looked_for_again(reading) -> None:
    server = Ckan()
    ids = MemoryIds({"resource/osn/observations": "gone"})
    async with Serving(server) as url:
        sink = sink_for(url, ids)
        with pytest.raises(NotSent):
            await sink.send([reading("pm10", 7.1)])
        await sink.send([reading("pm10", 7.1)])
        await sink.close()


async def test_refusals(reading, node) -> None:
    server = Ckan({"bad_record": 1.0}, token="t")
    async with Serving(server) as url:
        sink = sink_for(url)
        with pytest.raises(Refused, match="409"):
            await sink.send([reading("pm10", 7.1)])
        await sink.close()
        for wrong in (sink_for(url, token=Secret("x")), sink_for(url, package="none")):
            with pytest.raises(AccessDenied):
                await wrong.prepare([node])
            await wrong.close()
