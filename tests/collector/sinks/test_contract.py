"""What every sink must hold: through a server that fails in every way it can, each reading is in
the end accepted once or explicitly rejected, none is lost, and duplicates occur only where the
network cannot prevent them, and are counted.
"""

import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from collector.archive import archive
from collector.archive.writer import InlineWriter, WriteFailed
from collector.forward import delivery
from collector.forward.forwarder import Forwarder
from collector.forward.selection import policy_of
from collector.sinks import build_sink, kinds
from collector.sinks._http import HttpSettings
from collector.sinks._mqtt import MqttSettings
from collector.sinks.base import DeliverySettings, MemoryIds
from collector.sinks.secret import Secret
from simulator.upstream import build
from simulator.upstream._fast_loop import run_fast
from simulator.upstream.base import HTTP_FAULTS, Upstream
from simulator.upstream.opensensemap import OpenSenseMap
from simulator.upstream.street import (
    QUANTITIES,
    START_MS,
    Street,
    frozen_times,
    renderer_for,
    street_nodes,
)

FRAMES = 1042 if os.environ.get("OSN_REQUIRE_INTEGRATION") == "1" else 20
READINGS = FRAMES * 12 * len(QUANTITIES)
SPEED = 400.0
NODES = street_nodes(3)
HTTP = dict.fromkeys(HTTP_FAULTS, 0.03)
QUICK = HttpSettings(timeout_s=600)


@dataclass
class Network:
    """How one sink meets its fake network."""

    config: Callable[[Any, str, Path], Any]
    faults: Mapping[str, float] = field(default_factory=lambda: HTTP)
    make: Callable[[Mapping[str, float]], Upstream] | None = None
    duplicates: bool = False


def mqtt(url: str) -> MqttSettings:
    parts = urlsplit(url)
    return MqttSettings(host=str(parts.hostname), port=parts.port, timeout_s=60)


def boxes(faults: Mapping[str, float], newer: bool) -> Upstream:
    upstream = OpenSenseMap(faults, newer=newer)
    upstream.now_s = lambda: START_MS / 1000 + 10**7
    titles = {
        "PM10": "µg/m³",
        "PM2.5": "µg/m³",
        "PM1": "µg/m³",
        "Temperatur": "°C",
        "rel. Luftfeuchte": "%",
        "Luftdruck": "hPa",
        "Schallpegel": "dB",
        "LAFmax": "dB",
    }
    for number, _ in enumerate(NODES):
        sensors = {f"{number:08x}{i:016x}": item for i, item in enumerate(titles.items())}
        upstream.add_box(f"{number:024x}", "secret-token", sensors)
    return upstream


def box_config(module: Any, url: str, folder: Path) -> Any:
    found = {
        node.hex: module.Box(id=f"{number:024x}", token=Secret("secret-token"))
        for number, node in enumerate(NODES)
    }
    return module.Config(url=url, boxes=found, requests_per_minute=60, http=QUICK)


UIDS = {node.hex: f"raspi-{node.hex}" for node in NODES}
ALL_FRESH = DeliverySettings(fresh_s=1e9)

NETWORKS = {
    "jsonl": Network(lambda m, url, folder: m.Config(file=folder / "out.jsonl"), {}),
    "sensorthings": Network(
        lambda m, url, folder: m.Config(url=f"{url}/v1.1", batch=300, http=QUICK),
        HTTP | {"row_error": 0.002},
    ),
    "sensor_community": Network(
        lambda m, url, folder: m.Config(
            url=f"{url}/v1/push-sensor-data/", uids=UIDS, backfill=True, http=QUICK
        ),
        HTTP | {"bad_value": 0.002},
        duplicates=True,
    ),
    "madavi": Network(
        lambda m, url, folder: m.Config(
            url=f"{url}/data.php", interval_s=1, http=QUICK, delivery=ALL_FRESH
        ),
        duplicates=True,
    ),
    "opensensemap": Network(
        box_config, HTTP | {"bad_value": 0.002}, lambda faults: boxes(faults, newer=False)
    ),
    "opensensemap (newer server)": Network(
        box_config, HTTP | {"bad_value": 0.002}, lambda faults: boxes(faults, newer=True)
    ),
    "smart_citizen": Network(
        lambda m, url, folder: m.Config(
            url=url,
            token=Secret("t"),
            devices={n.hex: m.Device(id=i + 1) for i, n in enumerate(NODES)},
            http=QUICK,
        ),
    ),
    "smart_citizen (MQTT)": Network(
        lambda m, url, folder: m.Config(
            mqtt=mqtt(url), devices={n.hex: m.Device(token=Secret(f"t{n.hex}")) for n in NODES}
        ),
        {"refuse": 0.03, "drop_before": 0.01, "drop_after": 0.01},
        lambda faults: build("mqtt", faults),
        duplicates=True,
    ),
    "ngsi_ld": Network(
        lambda m, url, folder: m.Config(url=url, http=QUICK),
        HTTP | {"bad_instance": 0.002, "bad_entity": 0.002},
    ),
    "sentilo": Network(
        lambda m, url, folder: m.Config(
            url=url,
            token=Secret("t"),
            provider="osn",
            types=dict.fromkeys(QUANTITIES, "any"),
            http=QUICK,
        ),
        HTTP | {"bad_value": 0.002, "limit": 0.01},
    ),
    "ckan": Network(
        lambda m, url, folder: m.Config(
            url=url, token=Secret("t"), package="osn", batch=300, http=QUICK
        ),
        HTTP | {"bad_record": 0.002},
    ),
    "influxdb": Network(
        lambda m, url, folder: m.Config(
            url=url, token=Secret("t"), org="o", bucket="osn", batch=300, http=QUICK
        ),
        HTTP | {"bad_point": 0.002},
    ),
    "influxdb (version 1)": Network(
        lambda m, url, folder: m.Config(url=url, version=1, database="osn", batch=300, http=QUICK),
        HTTP | {"bad_point": 0.002},
    ),
    "mqtt": Network(
        lambda m, url, folder: m.Config(mqtt=mqtt(url)),
        {"refuse": 0.03, "drop_before": 0.001, "drop_after": 0.001},
        duplicates=True,
    ),
    "home_assistant": Network(
        lambda m, url, folder: m.Config(mqtt=mqtt(url), delivery=ALL_FRESH),
        {"refuse": 0.03, "drop_before": 0.005, "drop_after": 0.005},
        duplicates=True,
    ),
}


class MortalWriter(InlineWriter):
    """A writer that stops writing when its process is killed."""

    dead = False

    async def write(self, operation: Any, *, frames: int = 0, urgent: bool = False) -> Any:
        if self.dead:
            raise WriteFailed("killed")
        return await super().write(operation, frames=frames, urgent=urgent)


class Late:
    """A clock on which all readings of the street are past."""

    def unix_ms(self) -> int:
        return START_MS + FRAMES * 720_000

    def monotonic_ms(self) -> int:
        return 0

    def synchronised(self) -> bool:
        return True


@pytest.fixture
def street_db(tmp_path: Path) -> Path:
    path = tmp_path / "archive.db"
    connection = archive.open_archive(path, durable=False)
    Street(NODES).fill(connection, FRAMES)
    connection.close()
    return path


async def deliver(
    kind: str, network: Network, upstream: Upstream | None, folder: Path, kills: int
) -> dict[str, int]:
    """Forwards the whole street, killed `kills` times on the way; returns the ledger's totals."""
    import asyncio
    import importlib

    module = importlib.import_module(f"collector.sinks.{kind}")
    chance = random.Random(7)
    ids = MemoryIds()

    async def run(url: str) -> dict[str, int]:
        config = network.config(module, url, folder)
        for life in range(kills + 1):
            writer = MortalWriter(
                lambda: archive.open_archive(folder / "archive.db", durable=False)
            )
            sink = build_sink(kind, kind, config, ids)
            policy = policy_of(config.delivery, sink.capabilities)
            forwarder = Forwarder(
                sink,
                writer,
                renderer_for(sink, NODES, policy),
                frozen_times(),
                Late(),
                policy,
                nodes=NODES,
                chance=random.Random(life),
                window_readings=1000,
            )
            running = asyncio.create_task(forwarder.run())
            idle = asyncio.create_task(forwarder.idle())
            if life < kills:
                await asyncio.wait([idle], timeout=chance.uniform(0.1, 4) * SPEED / 100)
                writer.dead = True
            else:
                await settled(forwarder, running)
            idle.cancel()
            running.cancel()
            await asyncio.gather(running, idle, return_exceptions=True)
            totals = await writer.read(totals_of)
            await writer.close()
        return totals

    if upstream is None:
        return await run("")
    async with upstream.serving() as url:
        return await run(url)


async def settled(forwarder: Forwarder, running: Any) -> None:
    """Waits until every frame is done."""
    import asyncio

    idle = asyncio.create_task(forwarder.idle())
    await asyncio.wait([idle, running], return_when=asyncio.FIRST_COMPLETED)
    while forwarder.status().open_frames:
        assert not running.done(), running.exception()
        await asyncio.sleep(5)
    await forwarder.idle()


def totals_of(connection: Any) -> dict[str, int]:
    totals: dict[str, int] = {}
    for counts in delivery.counts(connection).values():
        for key, readings in counts.items():
            totals[key.outcome] = totals.get(key.outcome, 0) + readings
    totals["claims"] = connection.execute("SELECT count(*) FROM inflight").fetchone()[0]
    totals["ranges"] = connection.execute("SELECT count(*) FROM done").fetchone()[0]
    totals["partial"] = connection.execute("SELECT count(*) FROM partial").fetchone()[0]
    return totals


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("kills", [0, 3], ids=["running", "killed"])
def test_every_reading_is_accepted_once_or_rejected(name: str, kills: int, street_db: Path) -> None:
    kind, network = name.split(" ")[0], NETWORKS[name]
    if kind == "jsonl":
        upstream = None
    elif network.make:
        upstream = network.make(network.faults)
    else:
        upstream = build(kind, network.faults, seed=kills)
    totals = run_fast(deliver(kind, network, upstream, street_db.parent, kills), SPEED)

    delivered, rejected = totals.get("delivered", 0), totals.get("rejected", 0)
    assert delivered + rejected + totals.get("left_out", 0) == READINGS
    assert (totals["claims"], totals["ranges"], totals["partial"]) == (0, 1, 0)
    if upstream is None:
        lines = (street_db.parent / "out.jsonl").read_text().splitlines()
        assert len(lines) == len(set(lines)) == delivered == READINGS
        return
    states = [key for key in upstream.stored if b"osn/ha/status" not in str(key).encode()]
    if kind not in ("home_assistant", "madavi") and name != "smart_citizen (MQTT)":
        assert len(states) == delivered, "stored there and delivered by the ledger"
    copies = upstream.stored.total() - len(upstream.stored)
    if network.duplicates:
        if kind != "home_assistant":
            assert copies <= totals.get("possible_duplicate", copies if "MQTT" in name else 0)
    else:
        assert copies == 0
    if any(fault.startswith(("bad_", "row_")) for fault in network.faults):
        assert rejected > 0


def test_every_kind_of_sink_is_in_the_suite() -> None:
    tried = {name.split(" ")[0] for name in NETWORKS}
    assert tried | {"postgres"} == set(kinds()), "postgres meets its real server instead"
