"""PostgreSQL without its server: rows, settings; the rest meets the real one."""

import pytest

from collector.secret import Secret
from collector.sinks import postgres
from collector.sinks.base import MemoryIds, NotSent


def sink_for(**more) -> postgres.Postgres:
    config = postgres.Config(database="osn", user="osn", **more)
    return postgres.build(config, "database", MemoryIds())


def test_rows_of_copy(reading, mobile) -> None:
    sink = sink_for()
    fixed, moving = reading("laeq", 55.4), reading("pm10", 7.0, 1, node=mobile)
    sink._channels = {fixed.channel: 1, moving.channel: 2}
    assert sink._rows([fixed, moving]).decode().splitlines() == [
        "1\t2026-02-02T02:40:00.000Z\t55.4\t0\t60000\t2.2\t41.4",
        "2\t2026-02-02T02:41:00.000Z\t7.0\t0\t0\t\\N\t\\N",
    ]


async def test_a_server_that_is_away() -> None:
    sink = sink_for(port=1, password=Secret("hidden"))
    with pytest.raises(NotSent) as away:
        await sink.prepare([])
    assert "hidden" not in str(away.value)
    assert "Connection refused" in str(away.value)
    await sink.close()
