"""What every sink must hold: through a server that fails in every way it can, each reading is in
the end accepted once or explicitly rejected, none is lost, and duplicates occur only where the
network cannot prevent them, and are counted.

`make contract-sinks` tries it with 100,000 readings for each network and prints a table.
"""

import argparse
import asyncio
import importlib
import random
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from collector.archive import archive
from collector.archive.inline_writer import InlineWriter
from collector.archive.writer import WriteFailed
from collector.forward import book_tables
from collector.forward.forwarder import Forwarder
from collector.forward.selection import policy_of
from collector.secret import Secret
from collector.sinks import build_sink
from collector.sinks._http import HttpSettings
from collector.sinks._mqtt import PublisherSettings
from collector.sinks.base import DeliverySettings, MemoryIds
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

READINGS_A_FRAME = 12 * len(QUANTITIES)
SPEED = 400.0
STUCK_S = 1000.0
LAST_FRAMES_MAX = 6
FRONT_S = 100.0
FRONT_AGAIN_READINGS = 50
FRONT_LOOKS = 100_000
COLUMNS = {
    "network": 28,
    "readings": 9,
    "accepted": 9,
    "rejected": 9,
    "left out": 9,
    "again": 6,
    "counted": 8,
    "seconds": 8,
    "result": 0,
}
NODES = street_nodes(3)
HTTP = dict.fromkeys(HTTP_FAULTS, 0.03)
QUICK = HttpSettings(timeout_s=600)


@dataclass
class Network:
    """How one sink meets its fake network."""

    config: Callable[[Any, str, Path], Any]
    faults: Mapping[str, float] = field(default_factory=lambda: HTTP)
    make: Callable[[Mapping[str, float]], Upstream] | None = None
    duplicates: Literal["counted", "refreshed"] | None = None
    """What the network's facts allow: none, counted ones, or the same state again."""
    several_in_one: bool = False
    """Whether a document there holds several readings, so that numbers cannot be compared."""
    cannot_tell: frozenset[str] = frozenset()
    """Fronts whose answer is all that the network's own success says."""


def mqtt(url: str) -> PublisherSettings:
    parts = urlsplit(url)
    return PublisherSettings(host=str(parts.hostname), port=parts.port, timeout_s=60)


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
        duplicates="counted",
    ),
    "madavi": Network(
        lambda m, url, folder: m.Config(
            url=f"{url}/data.php", interval_s=1, http=QUICK, delivery=ALL_FRESH
        ),
        duplicates="counted",
        several_in_one=True,
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
        duplicates="refreshed",
        several_in_one=True,
    ),
    "ngsi_ld": Network(
        lambda m, url, folder: m.Config(url=url, http=QUICK),
        HTTP | {"bad_instance": 0.002, "bad_entity": 0.002},
        duplicates="counted",
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
        cannot_tell=frozenset({"nothing"}),
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
        duplicates="counted",
    ),
    "home_assistant": Network(
        lambda m, url, folder: m.Config(mqtt=mqtt(url), delivery=ALL_FRESH),
        {"refuse": 0.03, "drop_before": 0.005, "drop_after": 0.005},
        duplicates="refreshed",
        several_in_one=True,
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

    def __init__(self, frames: int) -> None:
        self._frames = frames

    def unix_ms(self) -> int:
        return START_MS + self._frames * 720_000

    def monotonic_ms(self) -> int:
        return 0

    def synchronised(self) -> bool:
        return True


async def deliver(
    kind: str, network: Network, upstream: Upstream | None, folder: Path, frames: int, kills: int
) -> dict[str, int]:
    """Forwards the whole street, killed `kills` times on the way; returns the ledger's totals."""
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
                Late(frames),
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
                await settled(forwarder, running, upstream)
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


async def settled(forwarder: Forwarder, running: Any, upstream: Upstream | None) -> None:
    """Waits until every frame is done.

    The last reading of a channel is not believed to be bad, for nothing like it comes after it. So
    when nothing but such readings is left, the network takes them.
    """
    idle = asyncio.create_task(forwarder.idle())
    await asyncio.wait([idle, running], return_when=asyncio.FIRST_COMPLETED)
    open_frames, since_s = -1, 0.0
    loop = asyncio.get_running_loop()
    while found := forwarder.status().open_frames:
        assert not running.done(), running.exception()
        if found != open_frames:
            open_frames, since_s = found, loop.time()
        if upstream is not None and loop.time() - since_s > STUCK_S:
            assert found <= LAST_FRAMES_MAX, forwarder.status()
            mend(upstream)
        await asyncio.sleep(5)
    await forwarder.idle()


def mend(upstream: Upstream) -> None:
    """Nothing is wrong with a reading from now on."""
    for fault in upstream.faults:
        if fault.startswith(("bad_", "row_")):
            upstream.faults[fault] = 0.0


def totals_of(connection: Any) -> dict[str, int]:
    totals: dict[str, int] = {}
    for counts in book_tables.counts(connection).values():
        for key, readings in counts.items():
            totals[key.outcome] = totals.get(key.outcome, 0) + readings
    totals["claims"] = connection.execute("SELECT count(*) FROM inflight").fetchone()[0]
    totals["ranges"] = connection.execute("SELECT count(*) FROM done").fetchone()[0]
    totals["partial"] = connection.execute("SELECT count(*) FROM partial").fetchone()[0]
    return totals


@dataclass
class Result:
    """What became of a street's readings. `stored`, `copies` and `bad` are the network's own count:
    what it holds, what it holds again, and which readings it finds fault with.
    """

    readings: int
    totals: dict[str, int]
    stored: int
    copies: int
    bad: int
    seconds: float

    def __getattr__(self, outcome: str) -> int:
        return self.totals.get(outcome, 0)


def try_out(name: str, frames: int, kills: int, folder: Path) -> Result:
    """Forwards a street of this many frames to one network; raises AssertionError when it fails."""
    kind, network = name.split(" ")[0], NETWORKS[name]
    connection = archive.open_archive(folder / "archive.db", durable=False)
    Street(NODES).fill(connection, frames)
    connection.close()
    if kind == "jsonl":
        upstream = None
    elif network.make:
        upstream = network.make(network.faults)
    else:
        upstream = build(kind, network.faults, seed=kills)
    started_s = time.monotonic()
    totals = run_fast(deliver(kind, network, upstream, folder, frames, kills), SPEED)
    stored, copies = held(upstream, folder)
    seconds = time.monotonic() - started_s
    bad = len(upstream.refused) if upstream else 0
    result = Result(frames * READINGS_A_FRAME, totals, stored, copies, bad, seconds)
    judge(name, network, result)
    if any(fault.startswith(("bad_", "row_")) for fault in network.faults):
        assert result.rejected > 0
    return result


def try_fronts(name: str, fronts: Sequence[str], frames: int, folder: Path) -> None:
    """Forwards a street while a front answers for the network, at first and again in the middle.

    Nothing may be lost by that: when the network answers for itself, it gets every reading. All
    fronts are tried at once, each before a network of its own.
    """

    for front in fronts:
        (folder / front).mkdir()
        connection = archive.open_archive(folder / front / "archive.db", durable=False)
        Street(NODES).fill(connection, frames)
        connection.close()

    async def main() -> list[BaseException | None]:
        tries = (behind_a_front(name, front, frames, folder / front) for front in fronts)
        return await asyncio.gather(*tries, return_exceptions=True)

    faults = zip(fronts, run_fast(main(), SPEED), strict=True)
    assert not (found := {front: repr(fault) for front, fault in faults if fault}), found


async def behind_a_front(name: str, front: str, frames: int, folder: Path) -> None:
    kind, network = name.split(" ")[0], NETWORKS[name]
    upstream = network.make({}) if network.make else build(kind, {})
    fronting = asyncio.create_task(come_and_go(upstream, front))
    try:
        totals = await deliver(kind, network, upstream, folder, frames, 0)
    finally:
        fronting.cancel()
    result = Result(frames * READINGS_A_FRAME, totals, *held(upstream, folder), 0, 0.0)
    judge(name, network, result)
    assert result.rejected == 0, f"buried: {result.rejected}"
    assert upstream.faults_made[front], "the front has answered"


async def come_and_go(upstream: Upstream, front: str) -> None:
    """The front stands there at first, and again once the network has got some readings."""
    await stand(upstream, front)
    await until(lambda: upstream.stored.total() >= FRONT_AGAIN_READINGS)
    await stand(upstream, front)


async def stand(upstream: Upstream, front: str) -> None:
    """The front answers for a while, from its first request on."""
    before = upstream.faults_made[front]
    upstream.front = front
    await until(lambda: upstream.faults_made[front] > before)
    await asyncio.sleep(FRONT_S)
    upstream.front = None


async def until(happened: Callable[[], bool]) -> None:
    for _ in range(FRONT_LOOKS):
        if happened():
            return
        await asyncio.sleep(0.2)


def held(upstream: Upstream | None, folder: Path) -> tuple[int, int]:
    """How many readings the network holds, and how many it holds again."""
    if upstream is None:
        lines = (folder / "out.jsonl").read_text().splitlines()
        return len(set(lines)), len(lines) - len(set(lines))
    states = [key for key in upstream.stored if b"osn/ha/status" not in str(key).encode()]
    return len(states), upstream.stored.total() - len(upstream.stored)


def judge(name: str, network: Network, result: Result) -> None:
    """The contract."""
    totals = result.totals
    assert result.delivered + result.rejected + result.left_out == result.readings, totals
    assert (totals["claims"], totals["ranges"], totals["partial"]) == (0, 1, 0), totals
    if not network.several_in_one:
        assert result.stored == result.delivered, "stored there and delivered by the ledger"
    if network.duplicates is None:
        assert result.copies == 0
    elif network.duplicates == "counted":
        assert result.copies <= result.possible_duplicate
    assert result.rejected <= result.bad, "rejected although the network finds no fault with it"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help="default: all")
    parser.add_argument("--readings", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=0, help="how often the collector is killed")
    options = parser.parse_args()
    if unknown := set(options.networks) - set(NETWORKS):
        parser.error(f"unknown: {', '.join(unknown)}; there are: {', '.join(NETWORKS)}")
    frames = -(-options.readings // READINGS_A_FRAME)
    print(*(head.ljust(width) for head, width in COLUMNS.items()), flush=True)
    widths = list(COLUMNS.values())
    failures = 0
    for name in options.networks or NETWORKS:
        with tempfile.TemporaryDirectory() as folder:
            try:
                row = try_out(name, frames, options.kills, Path(folder))
            except AssertionError as failure:
                failures += 1
                print(name.ljust(widths[0]), f"FAILED: {failure}", flush=True)
                continue
        counts = (
            row.readings, row.delivered, row.rejected, row.left_out, row.copies,
            row.possible_duplicate, f"{row.seconds:.1f}",
        )  # fmt: skip
        cells = (name, *map(str, counts), "ok")
        print(*(cell.ljust(w) for cell, w in zip(cells, widths, strict=True)), flush=True)
    print(f"{len(options.networks or NETWORKS) - failures} passed, {failures} failed")
    return failures > 0


if __name__ == "__main__":
    sys.exit(main())
