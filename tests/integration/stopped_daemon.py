"""The daemon, with the sink `influxdb` as if its network had other traits.

$TEST_TRAITS is JSON: `idempotent` and `reads_back` as the network's, `stop_s` how long a stop waits
for a request under way.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from collector.cli import main
from collector.forward import lanes
from collector.readings.observation import Observation
from collector.sinks import influxdb

ordinary = influxdb.InfluxDb.__init__


def with_traits(self: influxdb.InfluxDb, *arguments: Any) -> None:
    ordinary(self, *arguments)
    self.capabilities = replace(self.capabilities, readback_delay_s=0.1, **traits)


async def read_back(self: influxdb.InfluxDb, batch: Sequence[Observation]) -> Sequence[bool] | None:
    answer = await self._http.request(
        "POST", "/held", body="\n".join(map(influxdb.line, batch)).encode()
    )
    found: list[bool] = answer.json()
    return found


if __name__ == "__main__":
    traits = json.loads(os.environ["TEST_TRAITS"])
    lanes.STOP_S = traits.pop("stop_s")
    influxdb.InfluxDb.__init__ = with_traits  # type: ignore[method-assign]
    influxdb.InfluxDb.read_back = read_back  # type: ignore[method-assign]
    main()
