"""/metrics and /healthz of a collector that runs."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from collector.operate import metrics
from collector.operate.status import Status
from collector.settings import WebSettings
from tests.collector.house import House, Script, an_hour

LINE = re.compile(r"^[a-z_]+\{([a-z_]+=\"(?:[^\"\\]|\\.)*\",?)*\} -?[0-9.e+]+$")


def status_after_an_hour(house: House) -> Status:
    found: list[Status] = []

    async def play(transport: Script, collector: object) -> None:
        from collector.operate.operations import Operations

        await an_hour(transport, collector)  # type: ignore[arg-type]
        found.append(await Operations(collector).status({}))  # type: ignore[arg-type]

    house.live(play)
    return found[0]


def test_every_line_is_in_prometheus_form_and_explained(bare_house: House) -> None:
    text = metrics.render(status_after_an_hour(bare_house))
    names = set()
    for line in text.splitlines():
        if line.startswith("# "):
            continue
        assert LINE.match(line), line
        names.add(line.split("{")[0])
    for name in names:
        assert f"# TYPE {name} " in text
    assert 'osn_node_frames{node="a1b2c3d4",name="Plaza",fate="stored"} 6' in text
    assert 'osn_reading{node="a1b2c3d4",name="Plaza",quantity="pm2_5",instance="0"' in text
    assert 'osn_sink_readings_total{sink="file",outcome="delivered"}' in text
    assert 'osn_frames_refused_total{reason="unknown_node"} 3' in text


def test_places_and_keys_are_not_told(bare_house: House) -> None:
    status = status_after_an_hour(bare_house)
    text = metrics.render(status) + repr(status)
    for secret in ("41.385", "2.1734", "000102030405"):
        assert secret not in text


def test_a_name_cannot_break_out_of_its_label(bare_house: House) -> None:
    bare_house.call("nodes", "set", "Plaza", "--name", 'Pla"za\\')
    assert 'name="Pla\\"za\\\\"' in metrics.render(status_after_an_hour(bare_house))


@asynccontextmanager
async def served(status: Status, port: int) -> AsyncIterator[str]:
    async def gather() -> Status:
        return status

    task = asyncio.create_task(metrics.serve(WebSettings(port=port), gather))
    try:
        async with aiohttp.ClientSession() as session:
            for _ in range(200):
                try:
                    await session.get(f"http://127.0.0.1:{port}/healthz")
                    break
                except aiohttp.ClientConnectionError:
                    await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{port}"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(
    ("accepting", "failing", "code", "words"),
    [
        (True, False, 200, "ok"),
        (False, False, 503, "the disk is nearly full"),
        (True, True, 503, "commits fail: disk I/O error"),
    ],
)
async def test_health_says_whether_the_work_is_done(
    unused_tcp_port: int, accepting: bool, failing: bool, code: int, words: str
) -> None:
    status: Status = {
        "collector": {"accepting": accepting},
        "storage": {"failing": failing, "last_failure": "disk I/O error"},
    }
    async with (
        served(status, unused_tcp_port) as address,
        aiohttp.ClientSession() as session,
        session.get(f"{address}/healthz") as answer,
    ):
        assert answer.status == code
        assert (await answer.text()).strip() == words
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(f"http://127.0.0.1:{unused_tcp_port}/metrics")
